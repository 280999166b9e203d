"""The CreateTrainingJob request of an attempt: the user's own, with what a rung and a run have to change."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from math import ceil, floor
from typing import Any

from nightspot.decide import ladder, limits
from nightspot.job.markets import Market, wait_limit_seconds
from nightspot.run.model import Run, Rung

DEFAULT_CHECKPOINT_PATH = "/opt/ml/checkpoints"
# What an attempt changes of the user's request. The ledger carries these alone through the state machine, whose
# payloads hold 256 KiB, and the rest of the request goes beside it.
CHANGED = ("CheckpointConfig", "EnableManagedSpotTraining", "ResourceConfig", "StoppingCondition")


def split(training_job: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The user's request in two: what every attempt changes, and what it leaves as it is.

    The workflow puts them together again: its `Start the training job` adds to Environment and Tags what
    `create_training_job` returns, and replaces the rest.
    """
    changed = {name: value for name, value in training_job.items() if name in CHANGED}
    if (wait := wait_limit_seconds(training_job)) is not None:
        # It may come from the algorithm, which the ledger does not know.
        changed["StoppingCondition"] = {**changed.get("StoppingCondition", {}), "MaxWaitTimeInSeconds": wait}
    return changed, {name: value for name, value in training_job.items() if name not in CHANGED}


def training_job_name(run: Run, attempt: int) -> str:
    """The attempt's name: the same for the same attempt, so that asking twice cannot start two jobs."""
    return f"nightspot-{run.job}-{run.run_id}-{attempt}"


def checkpoint_prefix(training_job: Mapping[str, Any], run_id: str) -> str | None:
    """The run's own prefix below the user's. None where the request names none.

    One prefix per run, because with a shared one tonight's job finds last night's finished checkpoint and
    trains nothing; shared by all attempts of the run, because that is how they resume.
    """
    uri = training_job.get("CheckpointConfig", {}).get("S3Uri")
    return None if uri is None else f"{uri.rstrip('/')}/{run_id}"


def create_training_job(run: Run, rung: Rung, attempt: int, now: datetime) -> dict[str, Any]:
    """The request for `attempt` on `rung` as AWS writes it, as far as `run.training_job` holds it (`split`)."""
    request: dict[str, Any] = copy.deepcopy(dict(run.training_job))
    request["TrainingJobName"] = training_job_name(run, attempt)
    request.setdefault("ResourceConfig", {})["InstanceType"] = rung.instance_type
    if run.checkpoint_s3_uri is not None:
        config = request.setdefault("CheckpointConfig", {})
        config["S3Uri"] = run.checkpoint_s3_uri
        config.setdefault("LocalPath", DEFAULT_CHECKPOINT_PATH)
    stopping = request.setdefault("StoppingCondition", {})
    stopping["MaxRuntimeInSeconds"] = _max_runtime_seconds(run, rung)
    if rung.market is Market.SPOT:
        request["EnableManagedSpotTraining"] = True
        wait = wait_limit_seconds(run.training_job) or _max_wait_seconds(run, stopping, now)
        stopping["MaxWaitTimeInSeconds"] = wait
        # The wait counts waiting and running, and SageMaker refuses one that is shorter.
        stopping["MaxRuntimeInSeconds"] = min(stopping["MaxRuntimeInSeconds"], wait)
        # It bounds the queueing of a job without Spot.
        stopping.pop("MaxPendingTimeInSeconds", None)
    else:
        request.pop("EnableManagedSpotTraining", None)
        # SageMaker rejects it on a job without Spot.
        stopping.pop("MaxWaitTimeInSeconds", None)
    request["Environment"] = {
        **request.get("Environment", {}),
        "NIGHTSPOT_RUN_ID": run.run_id,
        "NIGHTSPOT_ATTEMPT": str(attempt),
    }
    if rung.mean_life_seconds is not None:
        # How often checkpoints are worth their time hangs on it.
        request["Environment"]["NIGHTSPOT_MEAN_LIFE_SECONDS"] = f"{rung.mean_life_seconds:.0f}"
    request["Tags"] = [
        *request.get("Tags", []),
        {"Key": "nightspot:job", "Value": run.job},
        {"Key": "nightspot:run", "Value": run.run_id},
        {"Key": "nightspot:attempt", "Value": str(attempt)},
        {"Key": "nightspot:market", "Value": rung.market.value},
    ]
    return request


def _max_runtime_seconds(run: Run, rung: Rung) -> int:
    """The attempt's limit, or what the rest of the budget pays for: it holds even if the workflow has crashed."""
    limit = limits.runtime_limit_seconds(run, rung)
    paid = ladder.paid_seconds(run, rung)
    if paid is not None and paid < limit:
        limit = paid + run.stop_seconds
    return max(1, floor(limit))


def _max_wait_seconds(run: Run, stopping: Mapping[str, Any], now: datetime) -> int:
    """Waiting up to the deadline plus a whole run: the net below the policy, which stops a wait in time.

    It counts waiting and running, and must never kill a job that is training past the deadline.
    """
    max_runtime: int = stopping["MaxRuntimeInSeconds"]
    until_deadline = max(0, ceil((run.deadline - now).total_seconds()))
    return min(limits.LONGEST_SECONDS, until_deadline + max_runtime)
