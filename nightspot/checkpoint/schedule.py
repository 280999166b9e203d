"""Decides whether it is time for the next checkpoint."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from .errors import SettingError
from .interval import SLOWED_SHARE, interval_seconds
from .settings import at_least_one, positive_seconds
from .slowing import Slowing

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

    @property
    def by_the_clock(self) -> bool:
        """Whether processes that train together can come to different answers."""
        return self.steps is None


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


class Schedule:
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
