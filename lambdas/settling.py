"""Repairs what is unfinished of a run: for the events of CloseRun, the reconciler and `nightspot audit` alike.

Level-triggered like a decision: it looks at what is there, repairs the first thing that is wrong, and looks again.
Every repair can be repeated; one invocation at a time repairs a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from botocore.exceptions import ClientError

from nightspot.aws.faults import NotYetError, TransientAwsError
from nightspot.aws.runs.looks import Looks
from nightspot.decide import audit, ledger
from nightspot.decide.audit import AuditFinding, Execution, ExecutionState, Repair, RunLook
from nightspot.decide.ledger import JobView, phases_of
from nightspot.decide.steps import asked_to_stop
from nightspot.failures.codes import FailureClass
from nightspot.failures.redaction import redact
from nightspot.formats.run_ids import read_training_job_name
from nightspot.formats.statuses import GOES_ON, Status
from nightspot.lambdas import turns
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import count, logger
from nightspot.lambdas.record_outcome import close, count_figures, figures_of, tell_end, write_report
from nightspot.record.summary import summarise
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Run, Step, evolve
from nightspot.run.reasons import Reason, clock, sentence

# fact: lambda.async.return.seconds
TURN = timedelta(seconds=90)  # longer than an invocation, shorter than until an event's last return


# How an execution ends that has not told its run's outcome.
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


@dataclass(frozen=True)
class Settled:
    """What was repaired of a run, and what is still not as it should be."""

    repaired: tuple[AuditFinding, ...] = ()
    left: tuple[AuditFinding, ...] = ()
    is_known: bool = True  # whether the table has the run

    @property
    def has_closed(self) -> bool:
        """Whether its end was put on record, or told, just now."""
        return any(each.repair in {Repair.CLOSE, Repair.RECORD, Repair.TELL} for each in self.repaired)


def looks_of(use: Dependencies) -> Looks:
    """What looks at the deployment."""
    return Looks(use.table, use.lock, use.executions, use.training_jobs, use.environment)


def settle(
    run_id: str, use: Dependencies, *, heard: Execution | None = None, listed: Iterable[str] = ()
) -> Settled:
    """Repair what can be repaired of a run. `heard` and `listed`: see `Looks.of_run`.

    Raises NotYetError (somebody else repairs it just now, or AWS gives no answer) and ClientError; the call can be
    repeated after both.
    """
    names = tuple(listed)

    def look() -> RunLook | None:
        return looks_of(use).of_run(run_id, heard=heard, listed=names)

    # Most looks find nothing, and take no turn.
    first = look()
    if first is None:
        return Settled(is_known=False)
    found = audit.of_run(first, use.now())
    if not any(map(_can_be_repaired, found)) and not _is_to_be_forgotten(first, use):
        return Settled(left=found)
    with _alone(run_id, use):
        return _settle(look, use)


def free_lock(finding: AuditFinding, use: Dependencies) -> None:
    """Free a lock that a run holds which is over, unless it is another run's by now."""
    if finding.run_id is None:
        return
    if use.lock.release(finding.subject, finding.run_id):
        logger.warning(finding.sentence, extra={"lock": finding.subject, "run": finding.run_id})
    use.table.open_runs.has_planned(finding.run_id, finding.subject)


def _settle(look: Callable[[], RunLook | None], use: Dependencies) -> Settled:
    repaired: list[AuditFinding] = []
    while (seen := look()) is not None:
        found = audit.of_run(seen, use.now())
        finding = next((f for f in found if _can_be_repaired(f) and f not in repaired), None)
        if finding is None:
            if _is_to_be_forgotten(seen, use):
                _forget(seen.run, use)
            # What is still there was tried in vain.
            return Settled(tuple(each for each in repaired if each not in found), found)
        _REPAIRS[finding.repair](seen, finding, use)
        logger.warning(
            finding.sentence,
            extra={"job": finding.job, "run": finding.run_id, "repair": finding.repair.value},
        )
        repaired.append(finding)
    return Settled(tuple(repaired))


def _can_be_repaired(finding: AuditFinding) -> bool:
    return finding.repair in _REPAIRS


def _is_to_be_forgotten(look: RunLook, use: Dependencies) -> bool:
    return audit.is_finished(look, use.now()) and use.table.open_runs.get(look.run.run_id) is not None


def _forget(run: Run, use: Dependencies) -> None:
    _free(run, use)
    use.table.open_runs.forget(run.run_id)


@contextmanager
def _alone(run_id: str, use: Dependencies) -> Iterator[None]:
    turns_of = use.table.close_turns
    until = use.now() + TURN
    if not turns_of.take(run_id, now=use.now(), until=until):
        raise NotYetError(f"run {run_id} is being settled")
    try:
        yield
    finally:
        turns_of.give_back(run_id, until=until)


def _restart(look: RunLook, finding: AuditFinding, use: Dependencies) -> None:
    number = look.restarts + 1
    arn = use.executions.restart(look.run, number, like=finding.subject)
    count("RunRestarted")
    logger.info("run restarted", extra={"job": look.run.job, "run": look.run.run_id, "execution_arn": arn})


def _close(look: RunLook, finding: AuditFinding, use: Dependencies) -> None:
    """Give the run an outcome. Whose end somebody wanted, its training job is asked to stop first."""
    run, execution, now = look.run, look.execution, use.now()
    if execution is None:
        raise ValueError(f"{finding.sentence} Its execution was not looked at.")
    attempt = run.open_attempt
    view = None if attempt is None else look.jobs.get(attempt.training_job_name)
    if view is not None and view.status == Status.IN_PROGRESS:
        use.training_jobs.stop(view.training_job_name)
        view = use.training_jobs.describe(view.training_job_name)
    seen = _folded(run, attempt, view, now, use)
    outcome = _outcome(seen, execution)
    figures = {"text": _because(run, execution, attempt, view)}
    step = Step(
        # One number is left to a decision that was under way when the execution ended: written later than this, it
        # would open the record again.
        number=seen.steps + 2,
        at=now,
        action=Action.FINISH,
        because=sentence(Reason.EXECUTION_ENDED, figures),
        reason=Reason.EXECUTION_ENDED,
        figures=figures,
        attempt=attempt.number if attempt else None,
        training_job_name=attempt.training_job_name if attempt else None,
        outcome=outcome,
    )
    after = replace(ledger.book(seen, step), crashed=outcome is Outcome.FAILED)
    use.table.record_step(run, after, replace(step, progress=seen.progress))
    _record_phases(after, attempt, view, use)
    _record(replace(look, run=after), finding, use)


def _record(look: RunLook, _finding: AuditFinding, use: Dependencies) -> None:
    is_crash = look.execution is not None and look.execution.is_crash
    _free(look.run, use)
    close(look.run, use, has_crashed=is_crash)
    count("RunLeftOpen")


def _tell(look: RunLook, _finding: AuditFinding, use: Dependencies) -> None:
    _free(look.run, use)
    is_counted = look.untold is not None and look.untold.is_counted
    tell_end(look.run, use, has_crashed=look.run.crashed, counted=is_counted)


def _add_bill(look: RunLook, finding: AuditFinding, use: Dependencies) -> None:
    """Add to the record what a training job's end tells: its bill, and how far it came."""
    run, view = look.run, look.jobs.get(finding.subject)
    attempt = look.attempt_of(finding.subject)
    known = use.table.summary(run)
    last = use.table.last_step(run.run_id)
    if attempt is None or known is None or last is None:
        return
    after = _with_bill(run, attempt, view, use) if finding.subject in look.jobs else run
    _record_phases(after, attempt, view, use)
    use.table.record_step(run, after, last)
    write_report(after, use)
    # The summary last: it is what tells that the bill is on record, and counted with it.
    use.table.record_outcome(after)
    before, new = figures_of(run, known), figures_of(after, summarise(after))
    count_figures(after, {figure: new[figure] for figure in new if before[figure][1] is None})


def _with_bill(run: Run, attempt: Attempt, view: JobView | None, use: Dependencies) -> Run:
    if view is not None and not attempt.is_open and not audit.is_doubtful(attempt):
        return run.with_attempt(evolve(attempt, billable_seconds=view.billable_seconds))
    if not attempt.is_open:
        # It was given up unseen, and stopped when it showed itself.
        stopped = attempt.stop_requested_at or attempt.ended_at
        attempt = evolve(attempt, unsettled=True, stop_requested_at=stopped)
        run = run.with_attempt(attempt)
    return _folded(run, attempt, view, use.now(), use)


def _stop_job(look: RunLook, finding: AuditFinding, use: Dependencies) -> None:
    use.training_jobs.stop(finding.subject)
    count("OrphanStopped")
    # Until its bill is on record. A run that was closed long ago is noted no more.
    use.table.open_runs.note(_with_attempt_of(look, finding.subject, use))


def _with_attempt_of(look: RunLook, name: str, use: Dependencies) -> Run:
    """The run with a training job that its record lacks: its execution ended before that could be written."""
    run, view, named = look.run, look.jobs.get(name), read_training_job_name(name)
    last = use.table.last_step(run.run_id)
    if look.attempt_of(name) is not None or view is None or named is None or last is None or not run.rungs:
        return run
    if named.attempt != len(run.attempts) + 1:
        return run
    now = use.now()
    attempt = Attempt(
        number=named.attempt,
        rung=run.rung_of(view.market, view.instance_type) or run.rungs[0],
        training_job_name=name,
        asked_at=view.transitions[0].started_at if view.transitions else now,
        state=AttemptState.ENDED,
        status=view.status,
        ended_at=now,
        stop_requested_at=now,
        failure=FailureClass.STOPPED_BY_NIGHTSPOT,
        failure_reason="The run was over before its start was on record.",
        unsettled=True,
    )
    after = run.with_attempt(attempt)
    use.table.record_step(run, after, last)
    use.table.record_outcome(after)
    return after


def _wake(look: RunLook, _finding: AuditFinding, use: Dependencies) -> None:
    turns.wake(look.run, use)


_REPAIRS: Mapping[Repair, Callable[[RunLook, AuditFinding, Dependencies], None]] = {
    Repair.RESTART: _restart,
    Repair.CLOSE: _close,
    Repair.RECORD: _record,
    Repair.TELL: _tell,
    Repair.ADD_BILL: _add_bill,
    Repair.STOP_JOB: _stop_job,
    Repair.WAKE: _wake,
}


def _outcome(run: Run, execution: Execution) -> Outcome:
    last = run.last_attempt
    if last is not None and not last.is_open and last.failure is None:
        return Outcome.SUCCEEDED
    # Whoever had asked for the end has it, crash or not.
    return Outcome.STOPPED if run.stop_asked_by is not None else OUTCOME_OF[execution.state]


def _because(run: Run, execution: Execution, attempt: Attempt | None, view: JobView | None) -> str:
    """The end in a sentence or two. `attempt`: the one that was open, and `view` its training job."""
    at = f" at {clock(execution.ended_at, run.started_at)}" if execution.ended_at is not None else ""
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
    if view.status == Status.COMPLETED:
        return f"training job {name} has completed all the same."
    if view.status not in GOES_ON:
        return f"training job {name} was over by then."
    return f"training job {name} was asked to stop. Its cost is counted once it is over."


def _folded(run: Run, attempt: Attempt | None, view: JobView | None, now: datetime, use: Dependencies) -> Run:
    """`run` as its training job and its checkpoints are; a training job that is not there will never be."""
    progress = unreadable = None
    if run.checkpoint_s3_uri is not None and run.attempts:
        try:
            progress = use.checkpoints.progress(run.checkpoint_s3_uri)
        except (TransientAwsError, ClientError) as error:
            # What is known of it already has to do.
            unreadable = None if isinstance(error, TransientAwsError) else redact(str(error))
            logger.warning("the progress cannot be read", extra={"run": run.run_id, "error": str(error)})
    jobs = {} if attempt is None else {attempt.training_job_name: view}
    fault = ledger.NEVER_SEEN if view is None else None
    return ledger.fold(run, ledger.Observation(jobs, progress, fault, unreadable), now)


def _record_phases(run: Run, attempt: Attempt | None, view: JobView | None, use: Dependencies) -> None:
    if attempt is not None and view is not None:
        use.table.record_phases(run, {attempt.number: phases_of(view)})


def _free(run: Run, use: Dependencies) -> None:
    """Free whatever the run holds, also what it took after its last record."""
    use.lock.release(run.job, run.run_id)
    if run.checkpoint_s3_uri is not None:
        use.lock.release(run.checkpoint_s3_uri, run.run_id)
