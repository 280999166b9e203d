"""Closes the record of a run whose execution ended without doing so: aborted by hand, out of time, or crashed.

An abort is a person's stop, so the run's training job is stopped. A crash is ours: its training job may still make
the model, so it is left alone, and the run is closed when that is over. An event is a wake-up call here too: what
is recorded is read anew, so the same event twice closes a run once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from lambdas import run_report, turns
from lambdas.dependencies import Dependencies, dependencies
from lambdas.observability import logger, metrics, traced
from lambdas.record_outcome import close, count, figures_of
from nightspot import ledger
from nightspot.aws.run_table import RUNNING
from nightspot.ledger import JobView
from nightspot.phases import phases_of
from nightspot.planning import run_id_of
from nightspot.redaction import redact
from nightspot.run import Action, Attempt, Outcome, Run, Step
from nightspot.summary import summarise
from nightspot.words import clock

_EXECUTION_CHANGED = "Step Functions Execution Status Change"
_A_RUNS_TRAINING_JOB = re.compile(r"nightspot-.+-(?P<run_id>\d{8}-[0-9a-f]{6})-\d+")
# CreateTrainingJob may be under way when its execution is aborted: the job shows itself within this time or never.
FRESH = timedelta(minutes=1)
GOES_ON = frozenset({"InProgress", "Stopping"})  # TrainingJobStatus
NEWEST_RUNS = 60  # of a job, among which one that has just ended is looked for
_MOST_CAUSE = 300  # characters


class NotOverYetError(Exception):
    """The training job cannot be told to be over yet; Lambda's asynchronous retry brings the event back."""


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
class _Ended:
    """An execution that is over. `said`: its error and cause, redacted; empty where it has none."""

    how: ExecutionEnd
    at: datetime
    said: str = ""


@logger.inject_lambda_context
@traced
@metrics.log_metrics
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"closed": whether}`. A run whose outcome is on record is left as it is, but for the bill that comes late.

    Raises NotOverYetError and TransientAwsError, with which Lambda brings the event back.
    """
    metrics.add_metric(name="SomethingEnded", unit=MetricUnit.Count, value=1)
    given = ClosingEvent.model_validate(event)
    use = use or dependencies()
    if given.detail_type == _EXECUTION_CHANGED:
        return {"closed": _execution_ended(ExecutionDetail.model_validate(given.detail), use)}
    name = TrainingJobDetail.model_validate(given.detail).training_job_name
    return {"closed": _training_job_ended(name, use)}


def _execution_ended(detail: ExecutionDetail, use: Dependencies) -> bool:
    if detail.status not in OUTCOME_OF:
        return _left(detail.execution_arn, f"it is {detail.status}")
    run = use.table.run(run_id_of(detail.execution_arn, _moment(detail.start_ms)))
    if run is None:
        return _left(detail.execution_arn, "no run of it was planned")
    at = use.now() if detail.stop_ms is None else _moment(detail.stop_ms)
    return _settle(run, _Ended(ExecutionEnd(detail.status), at, _said(detail.error, detail.cause)), use)


def _training_job_ended(name: str, use: Dependencies) -> bool:
    """Complete the bill of a run that was closed before its training job was over.

    Where the execution's own event was lost, this one closes the run.
    """
    match = _A_RUNS_TRAINING_JOB.fullmatch(name)
    run = use.table.run(match["run_id"]) if match else None
    if run is None:
        return _left(name, "it is no run's training job")
    if run.outcome is not None:
        attempt = next((a for a in run.attempts if a.training_job_name == name and a.is_open), None)
        return _left(name, "the run knows its end") if attempt is None else _complete(run, attempt, use)
    ended = _how_it_ended(run.execution_arn, use)
    return _left(name, "its run goes on") if ended is None else _settle(run, ended, use)


def _settle(run: Run, ended: _Ended, use: Dependencies) -> bool:
    """Give the run an outcome, or finish the recording of the one that it has."""
    if run.outcome is None:
        if not _close_open(run, ended, use):
            return _left(run.run_id, "its training job may still make the model")
    elif _is_on_record(run, use):
        return _left(run.run_id, "its outcome is on record")
    else:
        # It ended between its last decision and the recording, or that crashed.
        close(run, use, has_crashed=_has_crashed(ended))
    metrics.add_metric(name="RunLeftOpen", unit=MetricUnit.Count, value=1)
    return True


def _close_open(run: Run, ended: _Ended, use: Dependencies) -> bool:
    """False where nobody wanted the end, and a training job goes on that the run can still be saved by."""
    now = use.now()
    attempt = run.open_attempt
    view = None if attempt is None else _view(attempt, now, use)
    if view is not None and view.status in GOES_ON:
        if ended.how is not ExecutionEnd.ABORTED:
            return False
        view = _stopped(view, use)
    seen = _folded(run, view, now, use)
    last = seen.last_attempt
    is_model_there = last is not None and not last.is_open and last.failure is None
    step = Step(
        # One number is left to a decision that was under way when the execution ended: written later than this, it
        # would open the record again.
        number=seen.steps + 2,
        at=now,
        action=Action.FINISH,
        because=_because(ended, attempt, view),
        attempt=attempt.number if attempt else None,
        training_job_name=attempt.training_job_name if attempt else None,
        outcome=Outcome.SUCCEEDED if is_model_there else OUTCOME_OF[ended.how],
    )
    after = ledger.book(seen, step)
    # Before the record: what fails from here on, the event's repetition does again.
    turns.give_back(after, use)
    use.table.record_step(run, after, replace(step, progress=seen.progress))
    _record_phases(after, attempt, view, use)
    logger.warning(step.because, extra={"job": after.job, "run": after.run_id, "action": step.action.value})
    close(after, use, has_crashed=_has_crashed(ended))
    return True


def _has_crashed(ended: _Ended) -> bool:
    return ended.how is not ExecutionEnd.ABORTED


def _view(attempt: Attempt, now: datetime, use: Dependencies) -> JobView | None:
    """The training job as it is; None where there never was one. Raises NotOverYetError where it may still come."""
    name = attempt.training_job_name
    view = use.training_jobs.describe(name)
    if view is None and now - attempt.asked_at < FRESH:
        raise NotOverYetError(f"{name} may still be asked for")
    return view


def _stopped(view: JobView, use: Dependencies) -> JobView | None:
    """The training job as it is once it has been asked to stop."""
    if view.status != "InProgress":
        return view
    use.training_jobs.stop(view.training_job_name)
    return use.training_jobs.describe(view.training_job_name)


def _complete(run: Run, attempt: Attempt, use: Dependencies) -> bool:
    """Add to the record what the training job's end tells: its bill, and how far it came."""
    view = use.training_jobs.describe(attempt.training_job_name)
    after = _folded(run, view, use.now(), use)
    if any(a.number == attempt.number and a.is_open for a in after.attempts):
        raise NotOverYetError(attempt.training_job_name)
    use.table.record_step(run, after, use.table.steps(run.run_id)[-1])
    _record_phases(after, attempt, view, use)
    use.table.record_outcome(after)
    known = figures_of(run, summarise(run))
    new = figures_of(after, summarise(after))
    count(after, {name: figure for name, figure in new.items() if known[name][1] is None})
    run_report.written(after, use)
    logger.info("the bill of a closed run is whole", extra={"job": after.job, "run": after.run_id})
    return False


def _folded(run: Run, view: JobView | None, now: datetime, use: Dependencies) -> Run:
    progress = None
    if run.checkpoint_s3_uri is not None and run.attempts:
        progress = use.checkpoints.progress(run.checkpoint_s3_uri)
    jobs = {} if view is None else {view.training_job_name: view}
    return ledger.fold(run, ledger.Observation(jobs=jobs, progress=progress), now)


def _record_phases(run: Run, attempt: Attempt | None, view: JobView | None, use: Dependencies) -> None:
    if attempt is not None and view is not None:
        use.table.record_phases(run, {attempt.number: phases_of(view)})


def _because(ended: _Ended, attempt: Attempt | None, view: JobView | None) -> str:
    said = f" ({ended.said})" if ended.said else ""
    begins = f"The execution {WORDS_OF[ended.how]} in Step Functions at {clock(ended.at)}{said}"
    if attempt is None:
        return f"{begins}; no training job was open."
    name = attempt.training_job_name
    if view is None:
        return f"{begins}; training job {name} was never there."
    if view.status == "Completed":
        return f"{begins}; training job {name} has completed all the same."
    if view.status not in GOES_ON:
        return f"{begins}; training job {name} was over by then."
    return f"{begins}; training job {name} was asked to stop. Its cost is counted once it is over."


def _how_it_ended(execution_arn: str, use: Dependencies) -> _Ended | None:
    """None: it goes on, or Step Functions does not say otherwise."""
    if use.executions.is_running(execution_arn) is not False:
        return None
    try:
        execution = use.step_functions.describe_execution(executionArn=execution_arn)
    except ClientError as error:
        # Forgotten 90 days after its end.
        logger.info("the execution is not known", extra={"execution": execution_arn, "error": str(error)})
        return _Ended(ExecutionEnd.FAILED, use.now())
    if execution["status"] not in OUTCOME_OF:
        return None
    at = execution.get("stopDate") or use.now()
    said = _said(execution.get("error"), execution.get("cause"))
    return _Ended(ExecutionEnd(execution["status"]), at.astimezone(UTC), said)


def _is_on_record(run: Run, use: Dependencies) -> bool:
    newest = use.table.history(run.job, limit=NEWEST_RUNS)
    return any(
        summary["run_id"] == run.run_id and summary["outcome"] not in {None, RUNNING} for summary in newest
    )


def _said(error: str | None, cause: str | None) -> str:
    words = redact(": ".join(part for part in (error, cause) if part))
    return words if len(words) <= _MOST_CAUSE else f"{words[: _MOST_CAUSE - 1]}…"


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _left(what: str, why: str) -> bool:
    logger.info("left alone", extra={"what": what, "why": why})
    return False
