"""Settles a run as soon as an event tells that its execution, or a training job of it, is over.

An abort is a person's stop: the run is closed. A crash is ours: another execution continues the run. What an
event does not bring about, the reconciler does some minutes later: no event is worth a dead letter.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, BeforeValidator, Field

from nightspot.aws.faults import NotYetError
from nightspot.aws.runs.executions import CONTINUE_RUN, said
from nightspot.decide.audit import AuditKind, Execution, ExecutionState
from nightspot.formats.event_times import read_event_ms
from nightspot.formats.run_ids import read_training_job_name
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import count, entry, logger, not_ours
from nightspot.lambdas.settling import Settled, settle

_EXECUTION_CHANGED = "Step Functions Execution Status Change"
# PlanRun may be at work just then, and record a run that nobody waits for any more. Lambda brings the event back
# after one and after two further minutes, so its last return is beyond this.
PLANNING = timedelta(minutes=2)


# fact: stepfunctions.execution.event
ENDS = frozenset({ExecutionState.ABORTED, ExecutionState.TIMED_OUT, ExecutionState.FAILED})
EventMs = Annotated[int | None, BeforeValidator(read_event_ms)]


# fact: stepfunctions.execution.event.*
class ExecutionDetail(BaseModel):
    """The detail of an execution's status change, as far as closing needs it. Times are epoch milliseconds.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    execution_arn: str = Field(alias="executionArn")
    status: str
    start_ms: Annotated[int, BeforeValidator(read_event_ms)] = Field(alias="startDate")
    stop_ms: EventMs = Field(alias="stopDate", default=None)
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

    training_job_name: str = Field(alias="TrainingJobName")


class ClosingEvent(BaseModel):
    """EventBridge's event: an execution that ended, or a training job that did."""

    detail_type: str = Field(alias="detail-type")
    detail: dict[str, Any]
    time_ms: EventMs = Field(alias="time", default=None)


def read_end(detail: ExecutionDetail) -> Execution | None:
    """The end that an event tells of; None where it went well, or goes on."""
    if detail.status not in ENDS:
        return None
    at = None if detail.stop_ms is None else _moment(detail.stop_ms)
    words = said(detail.error, detail.cause)
    return Execution(detail.execution_arn, ExecutionState(detail.status), at, words)


@entry("SomethingEnded")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"closed": whether, "repaired": [kinds]}`. A run of which nothing is unfinished is left as it is.

    Raises NotYetError, with which Lambda brings a young event back; an old one is left to the reconciler, counted
    as LeftToReconciler.
    """
    given = ClosingEvent.model_validate(event)
    use = use or dependencies()
    try:
        settled = _settled(given, use)
        if use.harvest_cassettes and given.detail_type != _EXECUTION_CHANGED:
            _harvest(given, event, use)
    except NotYetError as error:
        if given.time_ms is not None and use.now() - _moment(given.time_ms) < use.event_life:
            raise
        count("LeftToReconciler")
        logger.warning("left to the reconciler", extra={"error": repr(error)})
        settled = Settled()
    return {"closed": settled.has_closed, "repaired": [each.kind.value for each in settled.repaired]}


def _harvest(given: ClosingEvent, event: dict[str, Any], use: Dependencies) -> None:
    # Few deployments want it: it is no part of any other call.
    from nightspot.lambdas.harvesting import keep_cassette  # noqa: PLC0415

    keep_cassette(TrainingJobDetail.model_validate(given.detail).training_job_name, event, use)


def _settled(given: ClosingEvent, use: Dependencies) -> Settled:
    if given.detail_type == _EXECUTION_CHANGED:
        return _execution_ended(ExecutionDetail.model_validate(given.detail), use)
    name = TrainingJobDetail.model_validate(given.detail).training_job_name
    named = read_training_job_name(name)
    if named is None or named.is_drill:
        return _left(name, "it is no run's training job")
    settled = settle(named.run_id, use)
    if not settled.is_known:
        not_ours(name)
    return settled


def _execution_ended(detail: ExecutionDetail, use: Dependencies) -> Settled:
    ended = read_end(detail)
    if ended is None:
        return _left(detail.execution_arn, f"it is {detail.status}")
    # Its own run, or the one that it went on with.
    run = (
        use.table.run_of_execution(detail.execution_arn, detail.started_at)
        if detail.continues is None
        else use.table.run(detail.continues)
    )
    if run is None:
        if _may_still_be_planned(ended, use):
            raise NotYetError(f"the run of {detail.execution_arn} may still be planned")
        return _left(detail.execution_arn, "no run of it was planned")
    settled = settle(run.run_id, use, heard=ended)
    if any(each.kind is AuditKind.JOB_MAY_COME for each in settled.left):
        raise NotYetError(settled.left[0].sentence)
    return settled


def _may_still_be_planned(ended: Execution, use: Dependencies) -> bool:
    # An execution fails after its first function has: an input that was refused makes no run.
    if ended.state is ExecutionState.FAILED or ended.ended_at is None:
        return False
    return use.now() - ended.ended_at < PLANNING


def _left(what: str, why: str) -> Settled:
    logger.info("left alone", extra={"what": what, "why": why})
    return Settled()


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
