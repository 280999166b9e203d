"""Decides whether it is time for the next checkpoint."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from .errors import SettingError
from .interval import interval_seconds
from .settings import at_least_one, positive_seconds

# Until a save has been measured. The first one then comes after minutes, and corrects it.
_ASSUMED_COST_SECONDS = 1.0
_COSTS_REMEMBERED = 5


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
        self._step, self._since = 0, started
        self._costs: deque[float] = deque(maxlen=_COSTS_REMEMBERED)

    @property
    def interval_seconds(self) -> float | None:
        """From one save to the next; None where steps decide."""
        if self._every.steps is not None:
            return None
        if self._every.seconds is not None:
            return self._every.seconds
        return interval_seconds(self._mean_cost_seconds(), self._mean_life_seconds)

    def is_due(self, step: int, now: datetime) -> bool:
        """Whether to save after this step."""
        if self._every.steps is not None:
            # Counted in whole intervals, so that one is due too where steps come by twos and threes.
            return step // self._every.steps > self._step // self._every.steps
        elapsed_seconds = (now - self._since).total_seconds()
        if elapsed_seconds < 0:
            # The clock was set back; without a new mark nothing would be due until it has caught up.
            self._since = now
        return step > self._step and elapsed_seconds >= (self.interval_seconds or 0.0)

    def begin(self, step: int, now: datetime) -> None:
        """The next interval begins here: something was saved or restored."""
        self._step, self._since = step, now

    def learn(self, cost_seconds: float) -> None:
        """A save took this long: the loop stood still, or was at risk, for that time."""
        if cost_seconds >= 0:
            self._costs.append(cost_seconds)

    def _mean_cost_seconds(self) -> float:
        return sum(self._costs) / len(self._costs) if self._costs else _ASSUMED_COST_SECONDS
