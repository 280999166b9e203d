"""Which nights are played: on which markets, where in them they begin, their luck, and what a policy plans with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nightspot.formats.figures import format_duration
from nightspot.formats.statuses import Status
from nightspot.job.cautions import window_seconds
from nightspot.job.markets import Fallback, Market
from nightspot.job.model import Job, dig
from nightspot.learn import history
from nightspot.learn.estimators import upper_limit
from nightspot.market.fitting import generate, profiles
from nightspot.market.model import Belief, MarketAvailability, MarketValueError, Prices, Truth
from nightspot.market.traces import Trace, load_trace, load_traces, pool
from nightspot.plan.planning import Known, plan_run
from nightspot.record.model import AttemptRecord, RunRecord, RunState
from nightspot.run.model import STOP_SECONDS, Run, evolve

HOUR = 3600.0
SIGMA = 0.6  # of the logarithm of a random change-over
DRAWN_CHANGEOVERS = 24  # a launch beyond them takes the last one again
SHORTEST_WORK_SECONDS = 60.0
INSTANCE_TYPE = "simulated"


class BacktestError(ValueError):
    """A setting that cannot be played. Names the setting, its value and the rule."""


@dataclass(frozen=True)
class BacktestSetting:
    """What kind of nights are played.

    `changeover_seconds` is that of both markets, unless on-demand has one of its own; `spot_ratio` is over
    on-demand's price, None: the market's own prices. `on_demand_speed` is that of the fastest on-demand rung of the
    ladder that ours plays: only with it is a window known to be too short for anybody.
    """

    work_seconds: float = 4 * HOUR
    window_seconds: float = 8 * HOUR
    changeover_seconds: float = 0.1 * HOUR
    spot_ratio: float | None = 0.30
    starts: int = 300
    seed: int = 7
    random_changeover: bool = False
    work_error: float = 0.0  # standard deviation of the true work, over the expected
    checkpoint_seconds: float = 0.0
    stop_seconds: float = 0.0
    detection_seconds: float = 0.0
    on_demand_queue_seconds: float = 0.0
    on_demand_changeover_seconds: float | None = None
    on_demand_speed: float = 1.0
    on_demand_waits_seconds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("work_seconds", "window_seconds", "on_demand_speed"):
            _check(name, getattr(self, name), lambda value: value > 0, "must be finite and greater than 0")
        for name in (
            "changeover_seconds",
            "checkpoint_seconds",
            "stop_seconds",
            "detection_seconds",
            "on_demand_queue_seconds",
            "on_demand_changeover_seconds",
        ):
            value = getattr(self, name)
            if value is not None:
                _check(name, value, lambda value: value >= 0, "must be finite and at least 0")
        for wait in self.on_demand_waits_seconds:
            _check("on_demand_waits_seconds", wait, lambda value: value >= 0, "must be finite and at least 0")
        _check("work_error", self.work_error, lambda value: 0 <= value <= 0.3, "must be between 0 and 0.3")
        if self.spot_ratio is not None:
            _check("spot_ratio", self.spot_ratio, lambda value: 0 < value <= 1, "must be over 0, at most 1")
        _check("starts", self.starts, lambda value: value >= 1, "must be at least 1")
        # As `ladder.seconds_needed` compares. The first rung has speed 1: where on-demand is slower, Spot may do.
        work = self.work_seconds / max(1.0, self.on_demand_speed)
        needed = work + self.changeover_of(Market.ON_DEMAND) + self.on_demand_queue_seconds
        if self.window_seconds < needed:
            raise BacktestError(
                f"window_seconds: {format_duration(self.window_seconds)} must hold the work and an on-demand"
                f" start, {format_duration(needed)}: no policy could be in time"
            )

    def changeover_of(self, market: Market) -> float:
        """The change-over in this market, in seconds; the median one where it is random."""
        own = self.on_demand_changeover_seconds
        return self.changeover_seconds if market is Market.SPOT or own is None else own

    @property
    def is_exact(self) -> bool:
        return not self.random_changeover and self.work_error == 0


@dataclass(frozen=True)
class Zone:
    """A market to draw nights from, with its prices where it has any."""

    name: str
    changes: MarketAvailability
    gap_seconds: float = 1.0  # nights start on its multiples
    prices: Prices | None = None
    on_demand_usd_per_hour: float | None = None
    start: datetime | None = None  # when it begins, aware; None: nobody knows, or it is made up


@dataclass(frozen=True)
class Sample:
    """One night to play, and what a policy plans with."""

    offset_seconds: float
    truth: Truth
    belief: Belief


def check(setting: BacktestSetting, zones: Sequence[Zone]) -> None:
    """Raise BacktestError unless such nights can be played on all of these zones, before any is."""
    if not zones:
        raise BacktestError("zones: none given; must be at least one")
    if setting.work_seconds < SHORTEST_WORK_SECONDS:
        raise BacktestError(
            f"work_seconds: {setting.work_seconds:g} s must be at least {SHORTEST_WORK_SECONDS:g} s"
        )
    for zone in zones:
        if _room(setting, zone) < 1:
            raise BacktestError(
                f"window_seconds: {format_duration(setting.window_seconds)} must be shorter than what is known of"
                f" {zone.name}, {format_duration(zone.changes.length_seconds)}"
            )
        if setting.spot_ratio is None:
            own_prices(zone)


def _room(setting: BacktestSetting, zone: Zone) -> int:
    """How many moments of the zone a night can start at."""
    return math.floor((zone.changes.length_seconds - setting.window_seconds) / zone.gap_seconds)


def samples_of(setting: BacktestSetting, zone: Zone) -> Iterator[Sample]:
    """The nights that a zone gives: the same for the same setting, zone and seed."""
    check(setting, (zone,))
    room = _room(setting, zone)
    random = np.random.default_rng([setting.seed, *zone.name.encode()])
    for start in random.integers(0, room, size=setting.starts):
        offset = float(start) * zone.gap_seconds
        yield Sample(offset, *_night(setting, zone, offset, random))


def own_prices(zone: Zone) -> tuple[Prices, float]:
    """The Spot prices of a zone and its on-demand price, in USD per hour. Raises BacktestError without any."""
    if zone.prices is None or zone.on_demand_usd_per_hour is None:
        raise BacktestError(f"spot_ratio: must be a number, because {zone.name} has no prices of its own")
    return zone.prices, zone.on_demand_usd_per_hour


def _night(
    setting: BacktestSetting, zone: Zone, offset: float, random: np.random.Generator
) -> tuple[Truth, Belief]:
    market = zone.changes.window(offset, setting.window_seconds)
    return truth_of(setting, market, _prices(setting, zone, offset), random), _belief(setting, random)


def truth_of(
    setting: BacktestSetting, market: MarketAvailability, prices: Prices, random: np.random.Generator
) -> Truth:
    """A night on this market, from its start on: the work and the start-ups that `random` draws for it."""
    work = setting.work_seconds
    if setting.work_error:
        work *= max(0.1, 1 + setting.work_error * float(random.standard_normal()))
    return Truth(
        market=market,
        prices=prices,
        work_seconds=work,
        window_seconds=setting.window_seconds,
        spot_changeover_seconds=_changeovers(setting, Market.SPOT, random, DRAWN_CHANGEOVERS),
        on_demand_changeover_seconds=_changeovers(setting, Market.ON_DEMAND, random, DRAWN_CHANGEOVERS),
        on_demand_queue_seconds=_queues(setting, random),
        checkpoint_seconds=setting.checkpoint_seconds,
        stop_seconds=setting.stop_seconds,
        detection_seconds=setting.detection_seconds,
    )


def _prices(setting: BacktestSetting, zone: Zone, offset: float) -> Prices:
    if setting.spot_ratio is not None:
        return Prices.flat(setting.spot_ratio)
    prices, on_demand = own_prices(zone)
    return prices.window(offset).over(on_demand)


def _changeovers(
    setting: BacktestSetting, market: Market, random: np.random.Generator, count: int
) -> tuple[float, ...]:
    if not setting.random_changeover:
        return (setting.changeover_of(market),)
    draws = setting.changeover_of(market) * np.exp(SIGMA * random.standard_normal(count))
    return tuple(float(draw) for draw in draws)


def _queues(setting: BacktestSetting, random: np.random.Generator) -> tuple[float, ...]:
    waits = setting.on_demand_waits_seconds
    if not waits:
        return (setting.on_demand_queue_seconds,)
    drawn = random.integers(len(waits), size=DRAWN_CHANGEOVERS)
    return tuple(setting.on_demand_queue_seconds + waits[int(n)] for n in drawn)


def _belief(setting: BacktestSetting, random: np.random.Generator) -> Belief:
    """What past nights have taught: the true figures where nothing is random."""
    # What a stop, a wait in the queue and slow news take is planned for as it is.
    beside = setting.on_demand_queue_seconds + setting.detection_seconds
    if setting.is_exact:
        return Belief(
            setting.work_seconds,
            setting.changeover_of(Market.SPOT),
            setting.changeover_of(Market.ON_DEMAND) + beside,
            setting.stop_seconds,
        )
    past = _past_nights(setting, random)
    on_demand, spot = (
        history.change_over_seconds(past, market, INSTANCE_TYPE, math.ceil(setting.changeover_of(market)))
        for market in (Market.ON_DEMAND, Market.SPOT)
    )
    works = [run.work_seconds or setting.work_seconds for run in past]
    work = upper_limit(works).value if setting.work_error else setting.work_seconds
    return Belief(work, spot, on_demand + beside, setting.stop_seconds)


_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)  # when past runs began is of no account here


def _past_nights(setting: BacktestSetting, random: np.random.Generator) -> list[RunRecord]:
    works = setting.work_seconds * (1 + setting.work_error * random.standard_normal(history.LEARNT_FROM))
    starts = [_changeovers(setting, market, random, history.LEARNT_FROM) for market in Market]
    rows = [row if len(row) == history.LEARNT_FROM else row * history.LEARNT_FROM for row in starts]
    return [
        RunRecord(
            job="backtest",
            run_id=f"{night}",
            started_at=_LONG_AGO,
            outcome=RunState.SUCCEEDED,
            work_seconds=max(1.0, float(works[night])),
            attempts=tuple(
                AttemptRecord(
                    number=number,
                    training_job_name=market.value,
                    asked_at=_LONG_AGO,
                    market=market,
                    instance_type=INSTANCE_TYPE,
                    status=Status.COMPLETED,
                    ready_seconds=row[night],
                )
                for number, (market, row) in enumerate(zip(Market, rows, strict=True), start=1)
            ),
        )
        for night in range(history.LEARNT_FROM)
    ]


def _check(name: str, value: float, holds: Callable[[float], bool], rule: str) -> None:
    if not (math.isfinite(value) and holds(value)):
        raise BacktestError(f"{name}: {value:g} {rule}")


GENERATED_DAYS = 31
GENERATED_PER_PROFILE = 3
# Without a checkpoint nothing survives a reclaim, however long it has trained: SageMaker's longest job.
NEVER_SAVED_SECONDS = 28 * 24 * 3600.0
REGION = "eu-west-1"  # whose prices set the rungs of a ladder against each other


def from_traces(path: Path, *, pooled: bool = False) -> tuple[Zone, ...]:
    """A zone for each trace below a folder, or of one file; pooled: all of them as one.

    Raises MarketValueError for a folder that cannot be read, holds none or a malformed one, and for traces that
    cannot be pooled.
    """
    try:
        if not path.is_file():
            next(path.iterdir(), None)
        traces = (load_trace(path),) if path.is_file() else load_traces(path)
    except OSError as error:
        raise MarketValueError(f"{path}: cannot be read: {error.strerror}") from error
    return (_zone(pool(traces)),) if pooled else tuple(_zone(trace) for trace in traces)


def generated(seed: int, *, pooled: bool = False) -> tuple[Zone, ...]:
    """Three made-up zones of 31 days for each shipped profile, or all of them as one; without prices."""
    zones = tuple(
        Zone(
            f"{name}-{number}",
            generate(
                market,
                seconds=GENERATED_DAYS * 24 * 3600.0,
                randomness=np.random.default_rng([seed, *name.encode(), number]),
                name=f"{name}-{number}",
            ),
        )
        for name, market in profiles().items()
        for number in range(1, GENERATED_PER_PROFILE + 1)
    )
    return (pooled_zone(zones),) if pooled else zones


def pooled_zone(zones: Sequence[Zone]) -> Zone:
    """The market of one who takes any of these zones: up where one of them is, cut to the shortest.

    As in `traces.pool`, a machine is only lost where no zone has another: this flatters.
    """
    length = min(zone.changes.length_seconds for zone in zones)
    starts = np.unique(np.concatenate([zone.changes.starts_seconds for zone in zones]))
    up = np.zeros(len(starts), dtype=np.bool_)
    for zone in zones:
        changes = zone.changes
        up |= changes.up[np.searchsorted(changes.starts_seconds, starts, side="right") - 1]
    name = "+".join(zone.name for zone in zones)
    changes = MarketAvailability.merged(starts, up, length_seconds=length, name=name)
    return Zone(name, changes, max(zone.gap_seconds for zone in zones))


def plan_of(job: Job, *, price: Callable[[str, str], float | None]) -> Run:
    """The plan that ours plays for `job`: its whole ladder. `price`: see `planning.Price`.

    Prices set the rungs of the ladder against each other. The budget and `fallback` are left out: a backtest asks
    what the nights cost until the model is there. Raises BacktestError for a job without rungs in both markets.
    """
    for market in Market:
        if not job.capacity.rungs_of(market):
            rule = "must name an instance type, because both markets are compared"
            raise BacktestError(f"capacity.{market.value}: none: {rule}")
    started_at = datetime(2026, 1, 1, tzinfo=UTC)  # decides nothing that a backtest reads
    run = plan_run(job, started_at=started_at, execution_arn=job.name, region=REGION, known=Known(price))
    return evolve(run, fallback=Fallback.ON_DEMAND)


def setting_of(
    job: Job | None = None, *, spot_ratio: float | None = 0.30, **given: float | None
) -> BacktestSetting:
    """The setting of what was `given` (fields of Setting; None: not given), else of the job, else the default.

    A job's nights last from its schedule's start to its deadline (the shortest of a year), and its change-overs,
    checkpoints and stops take what is planned for. Raises BacktestError as Setting does, and where neither the job
    nor `given` says how long a night is.
    """
    known = {name: value for name, value in given.items() if value is not None}
    fields: dict[str, Any] = {} if job is None else _of_job(job)
    if "changeover_seconds" in known:
        fields.pop("on_demand_changeover_seconds", None)
    fields |= known
    if fields.get("window_seconds", 0.0) is None:
        raise BacktestError(
            "window_seconds: must be given, because no schedule starts the job at one time of day and its deadline"
            " has no `within`"
        )
    return BacktestSetting(spot_ratio=spot_ratio, **fields)


def _of_job(job: Job) -> dict[str, Any]:
    saves = dig(job.training_job, "CheckpointConfig", "S3Uri") is not None
    return {
        "work_seconds": float(job.work_seconds),
        "window_seconds": window_seconds(job),
        "changeover_seconds": float(job.change_over.spot_seconds),
        "on_demand_changeover_seconds": float(job.change_over.on_demand_seconds),
        "checkpoint_seconds": float(job.checkpoint_every_seconds) if saves else NEVER_SAVED_SECONDS,
        "stop_seconds": float(STOP_SECONDS),
        "on_demand_speed": max((rung.speed for rung in job.capacity.on_demand), default=1.0),
    }


def _zone(trace: Trace) -> Zone:
    prices = trace.prices() if trace.spot_price_changes else None
    return Zone(
        trace.name, trace.changes(), trace.gap_seconds, prices, trace.on_demand_usd_per_hour, trace.start
    )
