"""The events that end runs, and how the end of an execution that has not told its run's outcome is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from nightspot.aws.runs.executions import CONTINUE_RUN, said
from nightspot.decide.audit import GOES_ON, Execution, ExecutionState
from nightspot.decide.ledger import JobView
from nightspot.decide.steps import asked_to_stop
from nightspot.run.model import Attempt, Outcome, Run
from nightspot.run.reasons import Reason, clock, sentence

# The ends of which an event is told: how an execution ends that has not told its run's outcome.
OUTCOME_OF: Mapping[ExecutionState, Outcome] = {
    ExecutionState.ABORTED: Outcome.STOPPED,
    ExecutionState.TIMED_OUT: Outcome.FAILED,
    ExecutionState.FAILED: Outcome.FAILED,
    ExecutionState.FORGOTTEN: Outcome.FAILED,
    ExecutionState.SUCCEEDED: Outcome.FAILED,
}
WORDS_OF: Mapping[ExecutionState, str] = {
    ExecutionState.ABORTED: "was aborted by hand in Step Functions",
    ExecutionState.TIMED_OUT: "ran into its time limit in Step Functions",
    ExecutionState.FAILED: "failed in Step Functions",
    ExecutionState.FORGOTTEN: "is no longer known to Step Functions",
    ExecutionState.SUCCEEDED: "ended in Step Functions without recording the run",
}
ENDS = frozenset({ExecutionState.ABORTED, ExecutionState.TIMED_OUT, ExecutionState.FAILED})


class ExecutionDetail(BaseModel):
    """The detail of an execution's status change, as far as closing needs it. Times are epoch milliseconds.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    model_config = ConfigDict(extra="ignore")

    execution_arn: str = Field(alias="executionArn")
    status: str
    start_ms: int = Field(alias="startDate")
    stop_ms: int | None = Field(alias="stopDate", default=None)
    input: str | None = None
    error: str | None = None
    cause: str | None = None

    @property
    def continues(self) -> str | None:
        """The id of the run that it went on with; None where it had a run of its own."""
        try:
            given = json.loads(self.input or "")
        except (ValueError, RecursionError):
            given = None
        run_id = given.get(CONTINUE_RUN) if isinstance(given, dict) else None
        return run_id if isinstance(run_id, str) else None

    @property
    def started_at(self) -> datetime:
        """When it started, aware UTC."""
        return _moment(self.start_ms)


class TrainingJobDetail(BaseModel):
    """The detail of a training job's end."""

    model_config = ConfigDict(extra="ignore")

    training_job_name: str = Field(alias="TrainingJobName")


class ClosingEvent(BaseModel):
    """EventBridge's event: an execution that ended, or a training job that did."""

    model_config = ConfigDict(extra="ignore")

    detail_type: str = Field(alias="detail-type")
    detail: dict[str, Any]
    time: AwareDatetime | None = None


def read_end(detail: ExecutionDetail) -> Execution | None:
    """The end that an event tells of; None where it went well, or goes on."""
    if detail.status not in ENDS:
        return None
    at = None if detail.stop_ms is None else _moment(detail.stop_ms)
    words = said(detail.error, detail.cause)
    return Execution(detail.execution_arn, ExecutionState(detail.status), at, words)


def because(run: Run, execution: Execution, attempt: Attempt | None, view: JobView | None) -> str:
    """The end in a sentence or two. `attempt`: the one that was open, and `view` its training job."""
    at = f" at {clock(execution.ended_at)}" if execution.ended_at is not None else ""
    words = f" ({execution.said})" if execution.said else ""
    restarts = f" after {run.restarts} restarts" if run.restarts else ""
    begins = f"The execution {WORDS_OF[execution.state]}{at}{restarts}{words}"
    wish = f" {sentence(Reason.STOP_REQUESTED, asked_to_stop(run))}" if run.stop_asked_by is not None else ""
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


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
