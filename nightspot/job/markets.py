"""The closed words of a job file and how long Spot is waited for: plain data, without the file's models."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from nightspot.formats.figures import HOUR_SECONDS, format_duration


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
    """Where training goes on after an interruption."""

    FROM_CHECKPOINT = "from_checkpoint"
    FROM_START = "from_start"


class Policy(StrEnum):
    """How much of the time to the deadline a run gives to Spot."""

    PATIENT = "patient"  # Spot is waited for as long as on-demand can still repair the wait in time
    EAGER = "eager"  # each Spot type gets its patience once, then on-demand: the model is wanted soon
    ON_DEMAND = "on_demand"  # on-demand from the start


# For algorithms that do not checkpoint: built-in ones, and those of the Marketplace.
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
# fact: sagemaker.wait.nocheckpoints.seconds
LONGEST_WITHOUT_CHECKPOINTS_SECONDS = HOUR_SECONDS


def wait_limit_seconds(training_job: Mapping[str, Any]) -> int | None:
    """The MaxWaitTimeInSeconds that a job must have: its author's own, or AWS's most; None: any.

    Of an image nobody can tell whether it is a built-in algorithm's; AWS refuses what it cannot do.
    """
    wait: int | None = training_job.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
    named = training_job.get("AlgorithmSpecification", {}).get("AlgorithmName") is not None
    if named and not _keeps_checkpoints(training_job):
        return min(wait or LONGEST_WITHOUT_CHECKPOINTS_SECONDS, LONGEST_WITHOUT_CHECKPOINTS_SECONDS)
    return wait


def why_too_short(training_job: Mapping[str, Any], work_seconds: float) -> str | None:
    """Why a job that starts over at each interruption can never be done on Spot; None where it can."""
    wait = wait_limit_seconds(training_job)
    if wait is None or work_seconds < wait or _keeps_checkpoints(training_job):
        return None
    return (
        f"MaxWaitTimeInSeconds lets a job without checkpoints wait and train for {format_duration(wait)}, and it "
        f"needs {format_duration(work_seconds)}"
    )


def _keeps_checkpoints(training_job: Mapping[str, Any]) -> bool:
    return training_job.get("CheckpointConfig", {}).get("S3Uri") is not None
