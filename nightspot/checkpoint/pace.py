"""Decides how long a step takes, from what this process has done itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Pace:
    """Steps are timed from `since`, when `step` of them were done.

    `known_seconds` is the last figure measured, if need be by the process that saved the
    checkpoint this one was restored from; None before the first.
    """

    since: datetime
    step: int
    known_seconds: float | None = None

    def seconds_per_step(self, step: int, now: datetime) -> float | None:
        """Mean time per step up to now; the last known figure while nothing can be measured."""
        elapsed_seconds = (now - self.since).total_seconds()
        # A clock that was set back says nothing about the pace.
        if step <= self.step or elapsed_seconds <= 0:
            return self.known_seconds
        return elapsed_seconds / (step - self.step)
