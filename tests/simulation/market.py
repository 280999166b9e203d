"""When there are machines: Spot capacity by instance type, and the queue before on-demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.simulation.clock import MINUTE

HORIZON = 10 * 24 * 3600.0

Mood = Literal["plenty", "empty", "late", "dies", "flickers", "coming and going"]
MOODS: tuple[Mood, ...] = ("plenty", "empty", "late", "dies", "flickers", "coming and going")

Interval = tuple[float, float]


def spot_intervals(mood: Mood, random: Random, window: float) -> list[Interval]:
    """When a type has Spot capacity, over a run whose deadline is `window` seconds away."""
    if mood == "plenty":
        return [(0.0, HORIZON)]
    if mood == "empty":
        return []
    if mood == "late":
        return [(random.uniform(0.05, 0.9) * window, HORIZON)]
    if mood == "dies":
        return [(0.0, random.uniform(0.05, 0.9) * window)]
    life, gap = (20 * MINUTE, 10 * MINUTE) if mood == "flickers" else (70 * MINUTE, 40 * MINUTE)
    intervals, at = [], random.choice((0.0, random.expovariate(1 / gap)))
    while at < 2 * window:
        end = at + random.expovariate(1 / life) + 30
        intervals.append((at, end))
        at = end + random.expovariate(1 / gap) + 30
    return intervals


@dataclass(frozen=True)
class Market:
    """`spot`: capacity by instance type; `queues`: seconds before an on-demand machine; `quotas`: by name."""

    spot: Mapping[str, list[Interval]]
    queues: Mapping[str, float]
    quotas: Mapping[str, int]
    no_capacity: Mapping[str, float]  # on-demand types that fail with CapacityError after so many seconds

    def available_from(self, instance_type: str, now: float) -> float | None:
        """When a Spot machine is next to be had; None: never."""
        for begin, end in self.spot.get(instance_type, ()):
            if end > now:
                return max(begin, now)
        return None

    def given_from(self, instance_type: str, now: float) -> float | None:
        """When an on-demand machine asked for now is to be had; None: never."""
        return now + self.queues.get(instance_type, 0.0)

    def taken_back_at(self, instance_type: str, now: float) -> float | None:
        """When a Spot machine given now is interrupted; None: it is left alone."""
        for begin, end in self.spot.get(instance_type, ()):
            if begin <= now < end:
                return end if end < HORIZON else None
        return now
