"""Decides what an execution that ended without telling its run's outcome means for the run, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from lambdas.dependencies import Dependencies
from lambdas.observability import logger
from nightspot.ledger import JobView
from nightspot.redaction import redact
from nightspot.run import Attempt, Outcome, Run
from nightspot.words import clock, stop_asked

GOES_ON = frozenset({"InProgress", "Stopping"})  # TrainingJobStatus
_MOST_CAUSE = 300  # characters


class ExecutionEnd(StrEnum):
    """How an execution ends that has not told its run's outcome, in Step Functions' words."""

    ABORTED = "ABORTED"
    TIMED_OUT = "TIMED_OUT"
    FAILED = "FAILED"


OUTCOME_OF: Mapping[ExecutionEnd, Outcome] = {
    ExecutionEnd.ABORTED: Outcome.STOPPED,
    ExecutionEnd.TIMED_OUT: Outcome.FAILED,
    ExecutionEnd.FAILED: Outcome.FAILED,
}
WORDS_OF: Mapping[ExecutionEnd, str] = {
    ExecutionEnd.ABORTED: "was aborted by hand",
    ExecutionEnd.TIMED_OUT: "ran into its time limit",
    ExecutionEnd.FAILED: "failed",
}


class ExecutionDetail(BaseModel):
    """The detail of an execution's status change, as far as closing needs it. Times are epoch milliseconds.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    model_config = ConfigDict(extra="ignore")

    execution_arn: str = Field(alias="executionArn")
    status: str
    start_ms: int = Field(alias="startDate")
    stop_ms: int | None = Field(alias="stopDate", default=None)
    error: str | None = None
    cause: str | None = None


class TrainingJobDetail(BaseModel):
    """The detail of a training job's end."""

    model_config = ConfigDict(extra="ignore")

    training_job_name: str = Field(alias="TrainingJobName")


class ClosingEvent(BaseModel):
    """EventBridge's event: an execution that ended, or a training job that did."""

    model_config = ConfigDict(extra="ignore")

    detail_type: str = Field(alias="detail-type")
    detail: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """An execution that is over. `said`: its error and cause, redacted; empty where it has none."""

    how: ExecutionEnd
    at: datetime
    said: str = ""

    @property
    def is_crash(self) -> bool:
        """True where no person ended it."""
        return self.how is not ExecutionEnd.ABORTED


def read_end(detail: ExecutionDetail, now: datetime) -> Ended | None:
    """The end that an event tells of; None where it went well, or goes on."""
    if detail.status not in OUTCOME_OF:
        return None
    at = now if detail.stop_ms is None else moment(detail.stop_ms)
    return Ended(ExecutionEnd(detail.status), at, _said(detail.error, detail.cause))


def look_up_end(execution_arn: str, use: Dependencies) -> Ended | None:
    """The same as Step Functions says now; None too where it does not say otherwise."""
    if use.executions.is_running(execution_arn) is not False:
        return None
    try:
        execution = use.step_functions.describe_execution(executionArn=execution_arn)
    except ClientError as error:
        # Forgotten 90 days after its end.
        logger.info("the execution is not known", extra={"execution": execution_arn, "error": str(error)})
        return Ended(ExecutionEnd.FAILED, use.now())
    if execution["status"] not in OUTCOME_OF:
        return None
    at = execution.get("stopDate") or use.now()
    said = _said(execution.get("error"), execution.get("cause"))
    return Ended(ExecutionEnd(execution["status"]), at.astimezone(UTC), said)


def because(run: Run, ended: Ended, attempt: Attempt | None, view: JobView | None) -> str:
    """The end in a sentence or two. `attempt`: the one that was open, and `view` its training job."""
    said = f" ({ended.said})" if ended.said else ""
    begins = f"The execution {WORDS_OF[ended.how]} in Step Functions at {clock(ended.at)}{said}"
    wish = f" {stop_asked(run)}" if run.stop_asked_by is not None else ""
    return f"{begins}; {_of_training_job(attempt, view)}{wish}"


def _of_training_job(attempt: Attempt | None, view: JobView | None) -> str:
    if attempt is None:
        return "no training job was open."
    name = attempt.training_job_name
    if view is None:
        return f"training job {name} was never there."
    if view.status == "Completed":
        return f"training job {name} has completed all the same."
    if view.status not in GOES_ON:
        return f"training job {name} was over by then."
    return f"training job {name} was asked to stop. Its cost is counted once it is over."


def moment(epoch_ms: int) -> datetime:
    """EventBridge's epoch milliseconds, in UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _said(error: str | None, cause: str | None) -> str:
    words = redact(": ".join(part for part in (error, cause) if part))
    return words if len(words) <= _MOST_CAUSE else f"{words[: _MOST_CAUSE - 1]}…"
