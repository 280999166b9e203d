"""Virtual time: a clock that jumps from one planned event to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 11, 21, tzinfo=UTC)
MINUTE, HOUR = 60.0, 3600.0
# Events that come due while an AWS call takes its time run inside it; deeper than this they wait.
MOST_NESTED = 5


@dataclass(order=True)
class Planned:
    """Something that is going to happen. `is_background`: the world may end while it is still to come."""

    when: float
    number: int
    do: Callable[[], None] = field(compare=False)
    is_background: bool = field(compare=False, default=False)
    cancelled: bool = field(compare=False, default=False)


class Clock:
    """Seconds since `START`. Events of one moment happen in the order in which they were planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[Planned] = []
        self._numbers = count()
        self._foreground = 0
        self._nested = 0

    def at(self, when: float, do: Callable[[], None], *, background: bool = False) -> Planned:
        """Plan `do` for `when`, or for now where that is over."""
        planned = Planned(max(when, self.now), next(self._numbers), do, background)
        heapq.heappush(self._planned, planned)
        self._foreground += not background
        return planned

    def after(self, seconds: float, do: Callable[[], None], *, background: bool = False) -> Planned:
        """Plan `do` for so many seconds from now."""
        return self.at(self.now + seconds, do, background=background)

    def cancel(self, planned: Planned | None) -> None:
        """Let `planned` not happen. Does nothing for one that has happened."""
        if planned is not None and not planned.cancelled:
            planned.cancelled = True
            self._foreground -= not planned.is_background

    def moment(self, seconds: float | None = None) -> datetime:
        """The time of day, now or at `seconds`."""
        return START + timedelta(seconds=self.now if seconds is None else seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass inside an event; what comes due meanwhile happens inside it."""
        until = self.now + seconds
        if self._nested < MOST_NESTED:
            self._nested += 1
            try:
                while self._planned and self._planned[0].when <= until:
                    self._next()
            finally:
                self._nested -= 1
        self.now = max(self.now, until)

    def pass_until(self, until: float, is_over: Callable[[], bool]) -> None:
        """The same up to a moment, or until `is_over`; at any depth."""
        while not is_over() and self._planned and self._planned[0].when <= until:
            self._next()
        if not is_over():
            self.now = max(self.now, until)

    def run(self, until: float, *, quiet_seconds: float = 0.0) -> None:
        """Let everything happen up to `until`, or until for `quiet_seconds` only background events did."""
        quiet_since: float | None = None
        while self._planned and self._planned[0].when <= until:
            if self._foreground:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.now
            elif self._planned[0].when > quiet_since + quiet_seconds:
                break
            self._next()

    def _next(self) -> None:
        planned = heapq.heappop(self._planned)
        if planned.cancelled:
            return
        planned.cancelled = True
        self._foreground -= not planned.is_background
        self.now = max(self.now, planned.when)
        planned.do()
