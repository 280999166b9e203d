"""How a run of a deployed job is started from outside: through the API, or as an execution of the workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from nightspot.aws.runs.api_client import ApiClient
from nightspot.aws.runs.executions import Starter, fresh_name, keyed_name
from nightspot.client.sources import Source
from nightspot.job.cautions import warnings_of_start
from nightspot.job.model import Job
from nightspot.job.overrides import apply_overrides, read_overrides
from nightspot.record.model import RunRecord

MACHINE_OUTPUT = "StateMachineArn"  # of the stack


class UnknownJobError(Exception):
    """No deployed job has this name; the text names those that there are."""


class NotRetryableError(Exception):
    """A run that cannot be retried; the text tells why."""


@dataclass(frozen=True)
class StartedRun:
    """A run that has begun, wherever it was asked for."""

    run_id: str
    job: str
    execution_arn: str
    started_at: datetime  # aware UTC
    is_new: bool
    resume_from: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self, console: str | None) -> dict[str, Any]:
        """What `--json` prints of it; `console` is the execution's page."""
        return {
            "run_id": self.run_id,
            "job": self.job,
            "execution_arn": self.execution_arn,
            "started_at": self.started_at.isoformat(),
            "is_new": self.is_new,
            "resume_from": self.resume_from,
            "console": console,
        }


def started_of(body: Mapping[str, Any], resume_from: str | None = None) -> StartedRun:
    """The run that the API says it has started."""
    return StartedRun(
        str(body["run_id"]),
        str(body["job"]),
        str(body["execution_arn"]),
        datetime.fromisoformat(body["started_at"]).astimezone(UTC),
        bool(body["is_new"]),
        resume_from,
        tuple(str(each) for each in body.get("warnings") or ()),
    )


def post_start(
    api: ApiClient,
    path: str,
    overrides: Mapping[str, Any],
    *,
    key: str | None = None,
    resume_from: str | None = None,
) -> StartedRun:
    """Ask the API for a start, or for a retry; without `key`, under one of this call alone.

    Raises what `ApiClient.post` raises.
    """
    answer = api.post(path, overrides, idempotency_key=key or token_hex(16))
    return started_of(answer.body, resume_from)


def start_path(job: str) -> str:
    """The API's address for starts of a job."""
    return f"/jobs/{quote(job, safe='')}/runs"


def retry_path(run_id: str) -> str:
    """The API's address for retries of a run."""
    return f"/runs/{quote(run_id, safe='')}/retry"


def start_execution(
    step_functions: Any,
    table: Any,
    machine_arn: str,
    job: str,
    overrides: Mapping[str, Any],
    *,
    requested_by: str,
    key: str | None = None,
    resume_from: str | None = None,
) -> StartedRun:
    """Start a run as an execution of the state machine; the same key again is the same run.

    `step_functions` is boto3's client, `table` the deployment's RunTable. Raises what `Starter.start` raises.
    """
    name = keyed_name(job, key) if key else fresh_name(job, datetime.now(UTC), token_hex(3))
    starter = Starter(step_functions, machine_arn)
    begun = starter.start(job, overrides, name=name, resume_from=resume_from, requested_by=requested_by)
    # A key may have started it before an update of the code, with an id of the first form.
    known = None if begun.is_new else table.run_of_execution(begun.execution_arn, begun.started_at)
    run_id = begun.run_id if known is None else known.run_id
    return StartedRun(run_id, job, begun.execution_arn, begun.started_at, begun.is_new, resume_from)


def now() -> datetime:
    """When a start is asked for: aware UTC."""
    return datetime.now(UTC)


def check_with_jobs(jobs: Mapping[str, Job], job: str, overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """Hold the job's name and the overrides against what is deployed, so that a mistake costs nothing.

    Returns the warnings of a start now, as the API answers them. Raises UnknownJobError and InvalidOverridesError.
    """
    if job not in jobs:
        near = get_close_matches(job, jobs, n=1)
        mean = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(sorted(jobs)) or "none, for there are none"
        raise UnknownJobError(f"job: {job!r}: must be one of {known}{mean}")
    asked = apply_overrides(jobs[job], read_overrides(overrides))
    return tuple(str(each) for each in warnings_of_start(asked, now()))


def check_retryable(record: RunRecord) -> None:
    """Raises NotRetryableError for a run that goes on, or has its model."""
    run_id = record.run_id
    if not record.is_over:
        raise NotRetryableError(
            f"run: {run_id!r}: is still going on; `nightspot stop {run_id}` ends it, then it can be retried"
        )
    if record.has_model:
        raise NotRetryableError(
            f"run: {run_id!r}: has succeeded, so nothing is left to train; `nightspot run` starts a new one"
        )


def check_checkpoints(source: Source, record: RunRecord) -> None:
    """Refuse what lambdas/run_input.py would refuse, and leave no record of: a second retry of a run.

    Raises NotRetryableError.
    """
    prefix, run_id = record.checkpoints, record.run_id
    for other in source.runs(record.job, None) if prefix is not None else ():
        if other.checkpoints != prefix or other.run_id == run_id:
            continue
        if other.has_model:
            raise NotRetryableError(
                f"run: {run_id!r}: run {other.run_id} went on from its checkpoints and has succeeded"
            )
        if not other.is_over:
            raise NotRetryableError(
                f"run: {run_id!r}: run {other.run_id} continues from its checkpoints already"
            )
