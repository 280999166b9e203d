"""What an interval between saves is worth: the useful share of the time that Spot machines were up.

Plays the library's own Schedule over the lives of machines on availability traces, beside fixed intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import numpy.typing as npt

from nightspot.checkpoint.core.schedule import Cost, Every, SaveSchedule
from nightspot.checkpoint.core.settings import DEFAULT_MEAN_LIFE_SECONDS
from nightspot.job.markets import Market
from nightspot.learn import history
from nightspot.market.samples import Zone
from nightspot.record.model import AttemptRecord, RunRecord

FloatArray = npt.NDArray[np.float64]

DAY_SECONDS = 24 * 3600.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)  # decides nothing
INSTANCE_TYPE = "traced"
SEARCHED_SECONDS = np.geomspace(20, 6 * 3600, 120)
# A life of n samples ended anywhere in a gap, and began anywhere in one: the sum is a triangle, two gaps wide.
# Without it the best fixed interval is one that divides the gap, which no machine knows of.
POINTS = 9
STEP_SECONDS = 0.001  # short beside every interval; the loop's pace is measured in whole steps


@dataclass(frozen=True)
class Setting:
    """What a save and a change-over take; `slowed` is the share of the writing that a loop loses beside it."""

    save: Cost
    slowed: float = 0.0
    change_over_seconds: float = 360.0  # from the machine to the first step, restore included


@dataclass(frozen=True, eq=False)
class Lives:
    """Machines of one zone: (n,) when each was had, (POINTS, n) how long it trained, (n,) the learnt mean life."""

    started_seconds: FloatArray
    trained_seconds: FloatArray
    up_seconds: float
    mean_life_seconds: tuple[float | None, ...]


@dataclass(frozen=True)
class Shares:
    """Useful share of the time up, from 0 to 1, by how the interval is chosen."""

    zone: str
    up_seconds: float
    half_hour: float
    five_minutes: float
    auto: float
    auto_default: float
    best: float
    best_seconds: float

    @property
    def gap_points(self) -> float:
        """How far auto is below the best fixed interval; negative where it is above."""
        return 100 * (self.best - self.auto)


def shares_of(zone: Zone, setting: Setting) -> Shares:
    """All ways of choosing, on the lives of one zone."""
    lives = lives_of(zone, setting.change_over_seconds)
    ends = float(lives.trained_seconds.max())
    found = [_share(lives, fixed(every, setting, ends)) for every in SEARCHED_SECONDS]
    best = int(np.argmax(found))
    return Shares(
        zone.name,
        lives.up_seconds,
        _share(lives, fixed(1800.0, setting, ends)),
        _share(lives, fixed(300.0, setting, ends)),
        _share_by_life(lives, setting, ends),
        _share(lives, auto(DEFAULT_MEAN_LIFE_SECONDS, setting, ends)),
        found[best],
        float(SEARCHED_SECONDS[best]),
    )


def together(shares: Sequence[Shares], name: str) -> Shares:
    """All zones as one, weighted by the time they were up; `best` is then each zone's own best."""
    up = np.array([each.up_seconds for each in shares])

    def mean(field: str) -> float:
        return float((np.array([getattr(each, field) for each in shares]) * up).sum() / up.sum())

    fields = ("half_hour", "five_minutes", "auto", "auto_default", "best", "best_seconds")
    return Shares(name, float(up.sum()), *(mean(field) for field in fields))


def lives_of(zone: Zone, change_over_seconds: float) -> Lives:
    """The machines of a zone, as a run would have had them that takes each and keeps it until it is lost."""
    changes = zone.changes
    up = changes.up
    started, lasted = changes.starts_seconds[up], changes.stretch_seconds[up]
    shifts = np.linspace(-1, 1, POINTS + 2)[1:-1] * zone.gap_seconds
    trained = np.maximum(lasted[None, :] + shifts[:, None] - change_over_seconds, 0.0)
    learnt = tuple(learnt_lives(started, lasted, changes.length_seconds))
    known = tuple(learnt[int(each // DAY_SECONDS)] for each in started)
    return Lives(started, trained, float(lasted.sum()), known)


def learnt_lives(started: FloatArray, lasted: FloatArray, length: float) -> Iterator[float | None]:
    """What a deployment knows each day of the mean life, in seconds, from one run on each day before."""
    past: list[RunRecord] = []
    ended = started + lasted
    for midnight in np.arange(0, length, DAY_SECONDS):
        yield history.mean_life_seconds(past, INSTANCE_TYPE)
        next_midnight = midnight + DAY_SECONDS
        trained = np.maximum(np.minimum(ended, next_midnight) - np.maximum(started, midnight), 0.0).sum()
        # At the end of a trace nothing was taken back; it is only not known any further.
        taken = ((ended >= midnight) & (ended < min(next_midnight, length))).sum()
        past.append(_run(float(trained), int(taken)))


def fixed(every_seconds: float, setting: Setting, ends: float) -> tuple[FloatArray, FloatArray]:
    """When saves are durable, and what work each holds, both in seconds of training time, up to `ends`."""
    # One save is in flight at most: a shorter interval waits for the one before.
    every = max(every_seconds, setting.save.beside_seconds)
    saves = np.arange(1, ends // every + 2)
    durable = saves * (every + setting.save.held_up_seconds) + setting.save.beside_seconds
    return durable, saves * every - (saves - 1) * _slowed(setting)


@cache
def auto(mean_life: float, setting: Setting, ends: float) -> tuple[FloatArray, FloatArray]:
    """As `fixed`, where the library's schedule decides; before the first save it goes by the restore's time."""
    schedule = SaveSchedule(Every(), mean_life, BEGIN)
    schedule.assume(setting.save)
    held_up, beside = setting.save.held_up_seconds, setting.save.beside_seconds
    now = work = lost = 0.0
    durable, kept = [], []
    _step_done(schedule, work, now)
    while now <= ends:
        interval = max(schedule.interval_seconds or 0.0, beside)
        now += interval
        work += interval - lost
        _step_done(schedule, work, now)
        now += held_up
        schedule.begin(_steps(work), BEGIN + timedelta(seconds=now))
        schedule.learn(held_up, beside)
        lost = _slowed(setting)
        _step_done(schedule, work + beside - lost, now + beside)
        durable.append(now + beside)
        kept.append(work)
    return np.array(durable), np.array(kept)


def _step_done(schedule: SaveSchedule, work_seconds: float, now_seconds: float) -> None:
    schedule.is_due(_steps(work_seconds), BEGIN + timedelta(seconds=now_seconds))


def _steps(work_seconds: float) -> int:
    return round(work_seconds / STEP_SECONDS)


def _share_by_life(lives: Lives, setting: Setting, ends: float) -> float:
    useful = 0.0
    known = [DEFAULT_MEAN_LIFE_SECONDS if each is None else each for each in lives.mean_life_seconds]
    for mean_life in set(known):
        chosen = np.array([each == mean_life for each in known])
        useful += _useful(lives.trained_seconds[:, chosen], auto(mean_life, setting, ends))
    return useful / lives.up_seconds


def _share(lives: Lives, saves: tuple[FloatArray, FloatArray]) -> float:
    return _useful(lives.trained_seconds, saves) / lives.up_seconds


def _useful(trained: FloatArray, saves: tuple[FloatArray, FloatArray]) -> float:
    """What the last save before each end holds, summed over the lives, averaged over when they may have ended."""
    durable, kept = saves
    held = np.append(0.0, kept)[np.searchsorted(durable, trained, side="right")]
    weights = 1 - np.abs(np.linspace(-1, 1, POINTS + 2)[1:-1])
    return float((held.sum(axis=1) * weights).sum() / weights.sum())


def _slowed(setting: Setting) -> float:
    return setting.slowed * setting.save.beside_seconds


def _run(trained_seconds: float, interruptions: int) -> RunRecord:
    attempt = AttemptRecord.model_construct(
        market=Market.SPOT,
        instance_type=INSTANCE_TYPE,
        status="Stopped",
        trained_seconds=trained_seconds,
        interruptions=interruptions,
    )
    return RunRecord.model_construct(attempts=(attempt,) if trained_seconds else ())
