"""How long a request lets its job wait and train on Spot. Plain data, without the file's models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightspot.formats.durations import HOUR_SECONDS, format_duration

# For algorithms that do not checkpoint: built-in ones, and those of the Marketplace.
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
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
