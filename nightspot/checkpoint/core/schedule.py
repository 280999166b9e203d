"""When the next checkpoint is due: the interval that loses and pays least, measured while training."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from .errors import SettingError
from .ranks import Gather, Rank
from .settings import StopRequests, at_least_one, mean_life_from, positive_seconds

LEAST_COSTS = 5  # a save takes at most a sixth of the time
LEAST_WRITES = 2  # beside training, the disk and the upload to S3 rest as long as they work
MOST_SECONDS = 3600.0  # and nobody loses more than an hour

# What a loop loses while its state is written beside it, as a share of the writing, until it is measured: next
# to nothing where a GPU does the work, most of it where all cores train.
SLOWED_SHARE = 0.1

# A Weibull distribution's, as fitted to real Spot machines in nightspot/market/spot_lives.json (0.54 to 0.74,
# by zones): below 1 the young die first, and one that has lived for hours will live for hours.
LIFE_SHAPE = 0.65
# Machine, container and restored prefix are there before the process that counts its age.
_BEFORE_THE_PROCESS_SECONDS = 360.0

# Below it Young's approximation is within 4 % of Daly's, and the share of useful time of both the
# same to 0.01 points.
_SMALL_SHARE = 1 / 200
_LEAST_COST_SECONDS = 0.001  # what a clock shows as nothing was not free


def interval_seconds(
    cost_seconds: float,
    mean_life_seconds: float,
    *,
    beside_seconds: float = 0.0,
    slowed_share: float = SLOWED_SHARE,
    age_seconds: float | None = None,
) -> float:
    """The best interval, in seconds of training between two saves, within bounds.

    cost_seconds: how long a save holds up the loop.
    beside_seconds: how long it is then written beside the loop. That alone delays when work is safe, by the
        same time at any interval, and so does not count as a cost; what it slows the loop by does.
    slowed_share: how much of that time the loop loses by going slower, from 0 to 1.
    age_seconds: how long this process has been training, where machines die as Spot machines do
        (`life_at_age`); None where age does not matter.

    Never shorter than 5 times what a save costs, nor than twice the writing; never longer than an hour;
    where these contradict each other, an hour. On real Spot traces these figures keep within a point of the
    useful share of the best fixed interval: docs/checkpoint_speed.md. Raises SettingError unless costs are
    numbers from 0 on, the share one from 0 to 1 and the life one greater than 0.
    """
    _check_cost("beside_seconds", beside_seconds)
    _check_cost("cost_seconds", cost_seconds)
    if not 0 <= slowed_share <= 1:
        raise SettingError(f"slowed_share={slowed_share!r}: must be a number from 0 to 1")
    cost = cost_seconds + slowed_share * beside_seconds
    life = mean_life_seconds if age_seconds is None else life_at_age(age_seconds, mean_life_seconds)
    least = max(LEAST_COSTS * cost, LEAST_WRITES * beside_seconds)
    return min(MOST_SECONDS, max(least, best_interval_seconds(cost, life)))


def best_interval_seconds(cost_seconds: float, mean_life_seconds: float) -> float:
    """The interval that loses the least time, where machines live for M seconds and a save costs d.

    Young: sqrt(2 d M). "A first order approximation to the optimum checkpoint interval",
    Communications of the ACM 17(9), 1974, https://doi.org/10.1145/361147.361115.
    Where d is more than M / 200, Daly's higher order: with x = sqrt(d / 2M), sqrt(2 d M) times
    (1 + x / 3 + x² / 9), less d; and M itself from d = 2M on. "A higher order estimate of the
    optimum checkpoint interval for restart dumps", Future Generation Computer Systems 22(3), 2006,
    equation 37, https://doi.org/10.1016/j.future.2004.11.016.

    Raises SettingError unless the cost is a number from 0 on and the life one greater than 0.
    """
    _check_cost("cost_seconds", cost_seconds)
    _check_life(mean_life_seconds)
    cost = max(cost_seconds, _LEAST_COST_SECONDS)
    young = math.sqrt(2 * cost * mean_life_seconds)
    if cost <= mean_life_seconds * _SMALL_SHARE:
        return young
    if cost >= 2 * mean_life_seconds:
        return mean_life_seconds
    x = math.sqrt(cost / (2 * mean_life_seconds))
    return young * (1 + x / 3 + x * x / 9) - cost


def life_at_age(age_seconds: float, mean_life_seconds: float) -> float:
    """The mean life, in seconds, that goes with the risk of a Spot machine whose process has this age.

    The reciprocal of the hazard of Weibull lives with `LIFE_SHAPE`: a fraction of the mean at the start, more
    than it after hours. Young's and Daly's formulas take it for M, so that intervals grow with age ("Lazy
    Checkpointing", Tiwari, Gupta and Vazhkudai, DSN 2014). An age below 0, of a clock set back, is 0.
    Raises SettingError unless the life is a number greater than 0.
    """
    _check_life(mean_life_seconds)
    scale = mean_life_seconds / math.gamma(1 + 1 / LIFE_SHAPE)
    age = max(age_seconds, 0.0) + _BEFORE_THE_PROCESS_SECONDS
    return float(scale / LIFE_SHAPE * (age / scale) ** (1 - LIFE_SHAPE))


def _check_cost(field: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise SettingError(f"{field}={seconds!r}: must be a number of seconds, 0 or more")


def _check_life(mean_life_seconds: float) -> None:
    if not 0 < mean_life_seconds < math.inf:
        raise SettingError(
            f"mean_life_seconds={mean_life_seconds!r}: must be a number of seconds greater than 0"
        )


# Until a save has been measured. The first one then comes after minutes, and corrects it.
_ASSUMED_COST_SECONDS = 1.0
_COSTS_REMEMBERED = 5


@dataclass(frozen=True)
class Cost:
    """What a save took: so long it held up the loop, and so long it was then written beside it."""

    held_up_seconds: float
    beside_seconds: float = 0.0


@dataclass(frozen=True)
class Every:
    """A fixed number of steps, or of seconds, or (both None) as long as serves the training best."""

    steps: int | None = None
    seconds: float | None = None


def every_from(every_steps: int | None, every_seconds: float | None, interval: str | None) -> Every:
    """The setting as given, "auto" if nothing is; SettingError for two of them or a bad one."""
    given = {"every_steps": every_steps, "every_seconds": every_seconds, "interval": interval}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise SettingError(f"{' and '.join(names)}: only one of them can be given")
    if interval not in (None, "auto"):
        raise SettingError(f"interval={interval!r}: must be 'auto'; else every_steps or every_seconds")
    if every_steps is not None:
        return Every(steps=at_least_one("every_steps", every_steps))
    if every_seconds is not None:
        return Every(seconds=positive_seconds("every_seconds", every_seconds))
    return Every()


class SaveSchedule:
    """Remembers the last save (or restore, or start) and what saves have cost."""

    def __init__(self, every: Every, mean_life_seconds: float, started: datetime) -> None:
        self._every = every
        self._mean_life_seconds = mean_life_seconds
        self._started = started
        self._step, self._since = 0, started
        self._costs: deque[Cost] = deque(maxlen=_COSTS_REMEMBERED)
        self._assumed = Cost(_ASSUMED_COST_SECONDS)
        self._slowing = Slowing()
        self._slowed_shares: deque[float] = deque(maxlen=_COSTS_REMEMBERED)

    @property
    def interval_seconds(self) -> float | None:
        """From the last save to the next; None where steps decide."""
        if self._every.steps is not None:
            return None
        if self._every.seconds is not None:
            return self._every.seconds
        cost = self._mean_cost()
        return interval_seconds(
            cost.held_up_seconds,
            self._mean_life_seconds,
            beside_seconds=cost.beside_seconds,
            slowed_share=median(self._slowed_shares) if self._slowed_shares else SLOWED_SHARE,
            age_seconds=(self._since - self._started).total_seconds(),
        )

    def is_due(self, step: int, now: datetime) -> bool:
        """Whether to save after this step."""
        if self._every.steps is not None:
            # Counted in whole intervals, so that one is due too where steps come by twos and threes.
            return step // self._every.steps > self._step // self._every.steps
        slowed_share = self._slowing.step(step, now)
        if slowed_share is not None:
            self._slowed_shares.append(slowed_share)
        elapsed_seconds = (now - self._since).total_seconds()
        if elapsed_seconds < 0:
            # The clock was set back; without a new mark nothing would be due until it has caught up.
            self._since = now
        return step > self._step and elapsed_seconds >= (self.interval_seconds or 0.0)

    def begin(self, step: int, now: datetime) -> None:
        """The next interval begins here: something was saved or restored."""
        self._step, self._since = step, now
        self._slowing.begin(step, now)

    def assume(self, cost: Cost) -> None:
        """Until a save has been measured, go by this: a restore moves and checks the same bytes."""
        if cost.held_up_seconds >= 0 and cost.beside_seconds >= 0:
            self._assumed = cost

    def learn(self, cost_seconds: float, beside_seconds: float = 0.0) -> None:
        """A save held up the loop for so long, and was then written beside it for so long."""
        # A clock that was set back measured nothing.
        if cost_seconds >= 0 and beside_seconds >= 0:
            self._costs.append(Cost(cost_seconds, beside_seconds))
            self._slowing.written(beside_seconds)

    def _mean_cost(self) -> Cost:
        # One look at the queue: a save beside training adds to it from its own thread.
        costs = tuple(self._costs) or (self._assumed,)
        return Cost(
            sum(cost.held_up_seconds for cost in costs) / len(costs),
            sum(cost.beside_seconds for cost in costs) / len(costs),
        )


_Moment = tuple[int, datetime]  # so many steps were done then


class Slowing:
    """Compares the steps beside a write with those before it, both from the end of one step to that of another.

    What a script does after a save and at no other time, such as an evaluation, looks the same as slow steps;
    the share is never taken for more than all of the writing, which is what waiting for it would cost.
    """

    def __init__(self) -> None:
        self._quiet: _Moment | None = None  # since when nothing has been written
        self._last: _Moment | None = None
        self._begun: _Moment | None = None
        self._seconds_per_step: float | None = None
        self._written_seconds: float | None = None

    def begin(self, step: int, now: datetime) -> None:
        """A save was handed over after this step."""
        self._seconds_per_step = _seconds_per_step(self._quiet, self._last)
        self._quiet, self._begun = None, (step, now)

    def written(self, seconds: float) -> None:
        """It is durable, after so long; from any thread."""
        self._written_seconds = seconds

    def step(self, step: int, now: datetime) -> float | None:
        """A step is done. Gives the share of the writing that was lost, from 0 to 1, once after each write."""
        self._last = (step, now)
        seconds = self._written_seconds
        if seconds is None:
            self._quiet = self._quiet or (None if self._begun else self._last)
            return None
        begun, self._begun, self._written_seconds = self._begun, None, None
        if not seconds or begun is None or self._seconds_per_step is None or step <= begun[0]:
            return None
        lost_seconds = (now - begun[1]).total_seconds() - (step - begun[0]) * self._seconds_per_step
        return min(1.0, max(0.0, lost_seconds / seconds))


def _seconds_per_step(first: _Moment | None, last: _Moment | None) -> float | None:
    if first is None or last is None or last[0] <= first[0] or last[1] <= first[1]:
        return None
    return (last[1] - first[1]).total_seconds() / (last[0] - first[0])


# What the ranks tell each other: the highest number wins.
_NOT_DUE, _DUE, _ASKED_TO_STOP = range(3)


class Due:
    """Answers for one rank; with `gather` for all of them.

    every: the settings every_steps, every_seconds and interval. Raises SettingError.
    """

    def __init__(
        self,
        every: tuple[int | None, float | None, str | None],
        total_steps: int | None,
        process: Rank,
        gather: Gather | None,
        environ: Mapping[str, str],
        now: Callable[[], datetime],
        started: datetime,
    ) -> None:
        self.stop = StopRequests(environ)
        self._every = every_from(*every)
        self._schedule = SaveSchedule(self._every, mean_life_from(environ), started)
        self._total_steps = total_steps
        self._process = process
        self._gather = gather
        self._now = now
        self._last_step: int | None = None
        self._agreed = False
        self.should_stop = False
        if any(each is not None for each in every):
            self._check_clocks_cannot_differ()

    @property
    def interval_seconds(self) -> float | None:
        """From one save to the next; None where steps decide."""
        return self._schedule.interval_seconds

    @property
    def stop_requested(self) -> bool:
        """Whether this process is asked to end, or was agreed to be."""
        return self._agreed or self.stop.requested

    @property
    def asked_to_stop(self) -> bool:
        """Whether the next save is the last: with `gather` only once all ranks know."""
        return self._agreed if self._gather is not None else self.stop.requested

    def is_due(self, step: int) -> bool:
        """Whether to save after this step; with `gather`, a collective call."""
        self._check_clocks_cannot_differ()
        wish = self._wish(step)
        if self._gather is not None:
            wish = max(self._gather(wish))
            self._agreed = self._agreed or wish == _ASKED_TO_STOP
        return wish != _NOT_DUE

    def saved(self, step: int, *, was_asked: bool) -> None:
        """The state after this step is saved, or was handed over to be."""
        self.begin(step)
        self.should_stop = self.should_stop or was_asked

    def begin(self, step: int) -> None:
        """The next interval begins here."""
        self._last_step = step
        self._schedule.begin(step, self._now())

    def assume(self, seconds: float, *, beside: bool) -> None:
        """Until a save is measured: it takes this long, or is written beside training for so long."""
        self._schedule.assume(Cost(0.0, seconds) if beside else Cost(seconds))

    def learn(self, cost_seconds: float, beside_seconds: float = 0.0) -> None:
        """A save held up the loop for so long, and was then written beside it for so long."""
        self._schedule.learn(cost_seconds, beside_seconds)

    def _wish(self, step: int) -> int:
        # A rank that never writes has nothing to save, unless the others ask it along.
        if not self._process.writes and self._gather is None:
            return _NOT_DUE
        if not self.should_stop and self.stop.requested:
            return _ASKED_TO_STOP
        at_the_end = step == self._total_steps and step != self._last_step
        return _DUE if at_the_end or self._schedule.is_due(step, self._now()) else _NOT_DUE

    def _check_clocks_cannot_differ(self) -> None:
        alone = self._process.files_per_step == 1 or self._gather is not None
        if self._every.steps is None and not alone:
            raise SettingError(
                f"world_size={self._process.world_size}: ranks that go by their own clocks would save different "
                "steps; must have every_steps, or gather to decide as one"
            )
