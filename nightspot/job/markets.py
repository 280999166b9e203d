"""The two words of a job file that every decision reads: how an instance is bought, and what follows Spot."""

from __future__ import annotations

from enum import StrEnum


class Market(StrEnum):
    """How an instance is bought."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"


class Fallback(StrEnum):
    """What follows when Spot cannot make the deadline."""

    ON_DEMAND = "on_demand"
    NEVER = "never"
