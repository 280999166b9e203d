"""Decides whether to save now and whether to leave: by the schedule, by a stop request, by all ranks as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from .errors import SettingError
from .ranks import Gather, Seat
from .schedule import Cost, Schedule, every_from
from .settings import mean_life_from
from .stopping import StopRequests

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
        seat: Seat,
        gather: Gather | None,
        environ: Mapping[str, str],
        now: Callable[[], datetime],
        started: datetime,
    ) -> None:
        self.stop = StopRequests(environ)
        self._every = every_from(*every)
        self._schedule = Schedule(self._every, mean_life_from(environ), started)
        self._total_steps = total_steps
        self._seat = seat
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
        if not self._seat.writes and self._gather is None:
            return _NOT_DUE
        if not self.should_stop and self.stop.requested:
            return _ASKED_TO_STOP
        at_the_end = step == self._total_steps and step != self._last_step
        return _DUE if at_the_end or self._schedule.is_due(step, self._now()) else _NOT_DUE

    def _check_clocks_cannot_differ(self) -> None:
        alone = self._seat.files_per_step == 1 or self._gather is not None
        if self._every.by_the_clock and not alone:
            raise SettingError(
                f"world_size={self._seat.world_size}: ranks that go by their own clocks would save different "
                "steps; must have every_steps, or gather to decide as one"
            )
