"""Decides how much a save that is written beside training slows the loop, from the pace of its steps."""

from __future__ import annotations

from datetime import datetime

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
