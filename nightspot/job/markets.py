"""The closed words of a job file and of its overrides: a decision reads them without the file's models."""

from __future__ import annotations

from enum import StrEnum


class Market(StrEnum):
    """How an instance is bought."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"

    @property
    def label(self) -> str:
        """As a sentence names it: "Spot", "on-demand"."""
        return "Spot" if self is Market.SPOT else "on-demand"

    def of(self, instance_type: str) -> str:
        """ "Spot ml.p4d.24xlarge"."""
        return f"{self.label} {instance_type}"


class MarketChoice(StrEnum):
    """Which markets a run may buy in: one of them alone, or those of the job's own ladder."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"
    AUTO = "auto"


class Fallback(StrEnum):
    """What follows when Spot cannot make the deadline."""

    ON_DEMAND = "on_demand"
    NEVER = "never"


class Concurrency(StrEnum):
    """What happens to a run that begins while an earlier one of the same job is still open."""

    FORBID = "forbid"  # the newer run is refused
    ALLOW = "allow"  # both go on, side by side
    REPLACE = "replace"  # the newer run stops the older one and goes on


class Interruptible(StrEnum):
    """Where training goes on after a reclaim."""

    FROM_CHECKPOINT = "from_checkpoint"
    FROM_START = "from_start"


class Policy(StrEnum):
    """How much of the time to the deadline a run gives to Spot."""

    PATIENT = "patient"  # Spot is waited for as long as on-demand can still repair the wait in time
    EAGER = "eager"  # each Spot type gets its patience once, then on-demand: the model is wanted soon
    ON_DEMAND = "on_demand"  # on-demand from the start
