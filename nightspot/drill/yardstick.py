"""Decides when two trainings show the same numbers: to the bit, or within what was asked for or seen to vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nightspot.drill.lives import Metrics, Training

# Two trainings show only a part of how far a job that is not deterministic can vary.
_ALLOWANCE = 4.0


@dataclass(frozen=True)
class Yardstick:
    """Numbers are the same within `tolerance`, relative to the larger one; 0 is to the bit."""

    tolerance: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether only equal numbers are the same."""
        return self.tolerance == 0

    def same(self, a: float | None, b: float | None) -> bool:
        """Whether two values of one metric are the same; None, a number that is not finite, is only like None."""
        if a is None or b is None:
            return a is b
        return a == b or abs(a - b) <= self.tolerance * max(abs(a), abs(b))


def apart(one: Training, other: Training) -> float:
    """The largest relative distance of any metric of any step, or at the end; 0 where all are equal."""
    return max((_distance(a, b) for a, b in _pairs(one, other)), default=0.0)


def of_two(one: Training, other: Training) -> Yardstick:
    """What two undisturbed trainings of a job that is not deterministic allow a third."""
    return Yardstick(_ALLOWANCE * apart(one, other))


def _pairs(one: Training, other: Training) -> Iterator[tuple[float | None, float | None]]:
    theirs = other.steps
    for step, seen in one.steps.items():
        if step in theirs:
            yield from _common(seen.metrics, theirs[step].metrics)
    yield from _common(one.final_metrics, other.final_metrics)


def _common(a: Metrics, b: Metrics) -> Iterator[tuple[float | None, float | None]]:
    return ((a[name], b[name]) for name in a if name in b)


def _distance(a: float | None, b: float | None) -> float:
    if a == b:
        return 0.0
    if a is None or b is None:
        return 1.0
    return abs(a - b) / max(abs(a), abs(b))
