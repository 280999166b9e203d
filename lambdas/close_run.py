"""Closes the record of a run whose execution ended without doing so: aborted by hand, out of time, or crashed.

An abort is a person's stop, so the run's training job is stopped. A crash is ours: its training job may still make
the model, so it is left alone, and the run is closed when that is over. An event is a wake-up call here too: what
is recorded is read anew, one invocation at a time, so the same event twice closes a run once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas import run_report, turns
from lambdas.dependencies import Dependencies, dependencies
from lambdas.execution_end import (
    GOES_ON,
    OUTCOME_OF,
    ClosingEvent,
    Ended,
    ExecutionDetail,
    ExecutionEnd,
    TrainingJobDetail,
    because,
    look_up_end,
    moment,
    read_end,
)
from lambdas.observability import logger, metrics, traced
from lambdas.record_outcome import close, count, figures_of
from nightspot import ledger
from nightspot.ledger import JobView
from nightspot.phases import phases_of
from nightspot.run import Action, Attempt, Outcome, Run, Step
from nightspot.run_ids import read_training_job_name
from nightspot.summary import RUNNING, summarise

_EXECUTION_CHANGED = "Step Functions Execution Status Change"
# CreateTrainingJob may be under way when its execution is aborted: the job shows itself within this time or never.
FRESH = timedelta(minutes=1)
# PlanRun may be at work just then, and record a run that nobody waits for any more. Lambda brings the event back
# after one and after two further minutes, so its last return is beyond this.
PLANNING = timedelta(minutes=2)
TURN = timedelta(seconds=90)  # longer than an invocation, shorter than until the event's last return
NEWEST_RUNS = 60  # of a job, among which one that has just ended is looked for


class NotOverYetError(Exception):
    """The run cannot be closed yet; Lambda's asynchronous retry brings the event back."""


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
    ended = read_end(detail, use.now())
    if ended is None:
        return _left(detail.execution_arn, f"it is {detail.status}")
    run = use.table.run_of_execution(detail.execution_arn, moment(detail.start_ms))
    if run is None:
        if detail.stop_ms is not None and _may_still_be_planned(ended, use):
            raise NotOverYetError(f"the run of {detail.execution_arn} may still be planned")
        return _left(detail.execution_arn, "no run of it was planned")
    with _alone(run.run_id, use) as run:
        return _settle(run, ended, use)


def _may_still_be_planned(ended: Ended, use: Dependencies) -> bool:
    # An execution fails after its first function has: an input that was refused makes no run.
    return ended.how is not ExecutionEnd.FAILED and use.now() - ended.at < PLANNING


def _training_job_ended(name: str, use: Dependencies) -> bool:
    """Complete the bill of a run that was closed before its training job was over.

    Where the execution's own event was lost, or could not be dealt with to its end, this one closes the run.
    """
    named = read_training_job_name(name)
    run = use.table.run(named.run_id) if named is not None else None
    if run is None:
        return _left(name, "it is no run's training job")
    is_closed = run.outcome is not None and _is_told(run, use)
    ended = None if is_closed else look_up_end(run.execution_arn, use)
    if ended is None and _without_bill(name, run, use) is None:
        return _left(name, "the run knows its end" if is_closed else "its run goes on")
    with _alone(run.run_id, use) as run:
        has_closed = ended is not None and _settle(run, ended, use)
        # The closing may have seen the bill; else it is from before the training job was over.
        _complete_bill(name, run.run_id, use)
        return has_closed


@contextmanager
def _alone(run_id: str, use: Dependencies) -> Iterator[Run]:
    """The run as it is while nobody else closes it. Raises NotOverYetError while somebody does."""
    turns_of = use.table.close_turns
    until = use.now() + TURN
    if not turns_of.take(run_id, now=use.now(), until=until):
        raise NotOverYetError(f"run {run_id} is being closed")
    try:
        run = use.table.run(run_id)
        if run is None:
            raise NotOverYetError(f"run {run_id} is gone")
        yield run
    finally:
        turns_of.give_back(run_id, until=until)


def _settle(run: Run, ended: Ended, use: Dependencies) -> bool:
    """Give the run an outcome, or finish the recording of the one that it has."""
    if run.outcome is None:
        if not _close_open(run, ended, use):
            return _left(run.run_id, "its training job may still make the model")
    elif _is_told(run, use):
        return _left(run.run_id, "its outcome is on record")
    else:
        # It ended between its last decision and the recording, or that crashed.
        _close(run, ended, use)
    metrics.add_metric(name="RunLeftOpen", unit=MetricUnit.Count, value=1)
    return True


def _close(run: Run, ended: Ended, use: Dependencies) -> None:
    """Record and tell; what dies on the way is told by the event's return, rather twice than never."""
    close(run, use, has_crashed=ended.is_crash)


def _close_open(run: Run, ended: Ended, use: Dependencies) -> bool:
    """False where a training job goes on that the run can still be saved by: after a crash, not after an abort."""
    now = use.now()
    run = replace(run, stop_asked_by=run.stop_asked_by or use.table.stop_asked_by(run.run_id))
    attempt = run.open_attempt
    view = None if attempt is None else _view(attempt, now, use)
    if view is not None and view.status in GOES_ON:
        if not ended.is_crash or run.stop_asked_by is not None:
            view = _stopped(view, use)
        if ended.is_crash and view is not None and view.status in GOES_ON:
            return False
    seen = _folded(run, attempt, view, now, use)
    outcome = _outcome(seen, ended)
    step = Step(
        # One number is left to a decision that was under way when the execution ended: written later than this, it
        # would open the record again.
        number=seen.steps + 2,
        at=now,
        action=Action.FINISH,
        because=because(run, ended, attempt, view),
        attempt=attempt.number if attempt else None,
        training_job_name=attempt.training_job_name if attempt else None,
        outcome=outcome,
    )
    after = replace(ledger.book(seen, step), crashed=outcome is Outcome.FAILED)
    # Before the record: what fails from here on, the event's repetition does again.
    turns.give_back(after, use)
    use.table.record_step(run, after, replace(step, progress=seen.progress))
    _record_phases(after, attempt, view, use)
    logger.warning(step.because, extra={"job": after.job, "run": after.run_id, "action": step.action.value})
    _close(after, ended, use)
    return True


def _outcome(run: Run, ended: Ended) -> Outcome:
    last = run.last_attempt
    if last is not None and not last.is_open and last.failure is None:
        return Outcome.SUCCEEDED
    # Whoever had asked for the end has it, crash or not.
    return Outcome.STOPPED if run.stop_asked_by is not None else OUTCOME_OF[ended.how]


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


def _without_bill(name: str, run: Run, use: Dependencies) -> tuple[Attempt, Mapping[str, Any]] | None:
    """The attempt of the training job `name` and the run's summary, where that is from before the job was over."""
    summary = _recorded(run, use)
    attempt = next((a for a in run.attempts if a.training_job_name == name), None)
    if summary is None or attempt is None:
        return None
    told = next((a for a in summary["attempts"] if a["number"] == attempt.number), None)
    return (attempt, summary) if told is not None and told["ended_at"] is None else None


def _complete_bill(name: str, run_id: str, use: Dependencies) -> None:
    """Add to the record what the training job's end tells: its bill, and how far it came."""
    run = use.table.run(run_id)
    lacking = None if run is None else _without_bill(name, run, use)
    if run is None or lacking is None:
        return
    attempt, known_summary = lacking
    view = use.training_jobs.describe(name)
    after = run if view is None else _folded(run, attempt, view, use.now(), use)
    if any(a.number == attempt.number and a.is_open for a in after.attempts):
        raise NotOverYetError(name)
    _record_phases(after, attempt, view, use)
    use.table.record_step(run, after, use.table.steps(run_id)[-1])
    run_report.written(after, use)
    # The summary last: it is what tells that the bill is on record, and counted with it.
    use.table.record_outcome(after)
    known, new = figures_of(run, known_summary), figures_of(after, summarise(after))
    count(after, {figure: new[figure] for figure in new if known[figure][1] is None})
    logger.info("the bill of a closed run is whole", extra={"job": after.job, "run": run_id})


def _folded(run: Run, attempt: Attempt | None, view: JobView | None, now: datetime, use: Dependencies) -> Run:
    """`run` as its training job and its checkpoints are; a training job that is not there will never be."""
    progress = None
    if run.checkpoint_s3_uri is not None and run.attempts:
        progress = use.checkpoints.progress(run.checkpoint_s3_uri)
    jobs = {} if attempt is None else {attempt.training_job_name: view}
    fault = ledger.NEVER_SEEN if view is None else None
    return ledger.fold(run, ledger.Observation(jobs=jobs, progress=progress, fault=fault), now)


def _record_phases(run: Run, attempt: Attempt | None, view: JobView | None, use: Dependencies) -> None:
    if attempt is not None and view is not None:
        use.table.record_phases(run, {attempt.number: phases_of(view)})


def _is_told(run: Run, use: Dependencies) -> bool:
    """Whether the run's end is on record, and nobody died while telling it."""
    return _recorded(run, use) is not None and use.table.close_turns.untold(run.run_id) is None


def _recorded(run: Run, use: Dependencies) -> Mapping[str, Any] | None:
    """The summary of the run that is over; None while none says so."""
    newest = use.table.history(run.job, limit=NEWEST_RUNS)
    own = next((summary for summary in newest if summary["run_id"] == run.run_id), None)
    return None if own is None or own["outcome"] in {None, RUNNING} else own


def _left(what: str, why: str) -> bool:
    logger.info("left alone", extra={"what": what, "why": why})
    return False
