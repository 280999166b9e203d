"""What must be true of runs, training jobs and locks, and what repairs it where it is not. Pure.

The reconciler repairs what is found here, `nightspot audit` prints it, the simulator holds histories against it.
Like a decision, a check knows nothing of events: it looks at what is there now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from nightspot.costs.account import lacks_bill
from nightspot.decide import ladder
from nightspot.decide.ledger import JobView
from nightspot.failures.codes import FailureClass
from nightspot.formats.statuses import GOES_ON, Status
from nightspot.run.model import Attempt, Run
from nightspot.run.reasons import clock

MOST_RESTARTS = 3  # of a run; what crashes more often than that crashes again
# After a crash the first restart comes at once, and the others when an outage may be over.
RESTART_AFTER = (timedelta(0), timedelta(minutes=5), timedelta(minutes=30))
# A run decides at least once an hour, whatever it waits for. What is silent for so long is stuck.
SILENT = timedelta(hours=2, minutes=30)
# CreateTrainingJob may be under way when its execution ends: the job shows itself within this time or never.
MAY_COME = timedelta(minutes=1)
# A training job that is younger belongs to a decision that nobody else may have seen yet.
FRESH = timedelta(minutes=2)
# After so long nothing more is heard of a start in doubt, or of a bill.
DOUBT = timedelta(minutes=30)
BILL = timedelta(days=2)
# The reconciler tries a delivery every five minutes. What it has tried in vain for so long, a person should know.
OVERDUE = timedelta(minutes=15)
# A run that starts later, nobody waits for, and news that is older is no news.
GIVEN_UP = timedelta(days=1)


class AuditKind(StrEnum):
    """What can be wrong. Closed: `REPAIR_OF` has what repairs each."""

    LOOP_GONE = "loop_gone"  # its execution crashed, and another one can go on with it
    RESTART_LATER = "restart_later"  # the same, but not yet
    JOB_UNWATCHED = "job_unwatched"  # it is restarted no more, and its training job may still make the model
    JOB_MAY_COME = "job_may_come"  # its execution ended when a training job had just been asked for
    JOB_UNSEEN = "job_unseen"  # the same, and SageMaker does not say how its training job is
    RECORD_OPEN = "record_open"  # its execution is over for good, and its record says that it is running
    OUTCOME_UNRECORDED = "outcome_unrecorded"  # its last decision named an outcome, and its record has none
    END_UNTOLD = "end_untold"  # its end is on record, and EventBridge has not taken the notice
    BILL_INCOMPLETE = "bill_incomplete"  # SageMaker says more about what it cost than its record does
    JOB_ORPHANED = "job_orphaned"  # a training job of a run that is over, or of an attempt that had ended
    JOB_OF_UNKNOWN_RUN = "job_of_unknown_run"  # named as ours are; another deployment's, most likely
    LOOP_SILENT = "loop_silent"  # its execution goes on, and decides nothing
    LOCK_LEFT = "lock_left"  # held by a run that is over
    TWO_MACHINES = "two_machines"  # two training jobs write to one checkpoint prefix
    UNREADABLE = "unreadable"  # its record cannot be read
    START_PENDING = "start_pending"  # Step Functions has not taken the start of a scheduled run
    NOTICE_PENDING = "notice_pending"  # a message has not reached every channel
    DELIVERY_OVERDUE = "delivery_overdue"  # either of the two, for a while
    DELIVERY_GIVEN_UP = "delivery_given_up"  # either of the two, for too long


class Repair(StrEnum):
    """What is done about a finding. Each can be done twice, and by two at once, without harm."""

    RESTART = "restart"
    CLOSE = "close"
    RECORD = "record"
    TELL = "tell"
    ADD_BILL = "add_bill"
    STOP_JOB = "stop_job"
    WAKE = "wake"
    FREE_LOCK = "free_lock"
    DELIVER = "deliver"
    GIVE_UP = "give_up"
    NONE = "none"


REPAIR_OF: Mapping[AuditKind, Repair] = {
    AuditKind.LOOP_GONE: Repair.RESTART,
    AuditKind.RESTART_LATER: Repair.NONE,
    AuditKind.JOB_UNWATCHED: Repair.NONE,
    AuditKind.JOB_MAY_COME: Repair.NONE,
    AuditKind.JOB_UNSEEN: Repair.NONE,
    AuditKind.RECORD_OPEN: Repair.CLOSE,
    AuditKind.OUTCOME_UNRECORDED: Repair.RECORD,
    AuditKind.END_UNTOLD: Repair.TELL,
    AuditKind.BILL_INCOMPLETE: Repair.ADD_BILL,
    AuditKind.JOB_ORPHANED: Repair.STOP_JOB,
    AuditKind.JOB_OF_UNKNOWN_RUN: Repair.NONE,
    AuditKind.LOOP_SILENT: Repair.WAKE,
    AuditKind.LOCK_LEFT: Repair.FREE_LOCK,
    AuditKind.TWO_MACHINES: Repair.NONE,
    AuditKind.UNREADABLE: Repair.NONE,
    AuditKind.START_PENDING: Repair.DELIVER,
    AuditKind.NOTICE_PENDING: Repair.DELIVER,
    AuditKind.DELIVERY_OVERDUE: Repair.DELIVER,
    AuditKind.DELIVERY_GIVEN_UP: Repair.GIVE_UP,
}
WORDS: Mapping[Repair, str] = {
    Repair.RESTART: "start a new execution that continues the run",
    Repair.CLOSE: "stop its training job where somebody wanted the end, and record the end",
    Repair.RECORD: "record the outcome that was decided",
    Repair.TELL: "send the notice of its end",
    Repair.ADD_BILL: "add what SageMaker says to the record",
    Repair.STOP_JOB: "stop the training job",
    Repair.WAKE: "wake the run, so that it decides",
    Repair.FREE_LOCK: "free the lock",
    Repair.DELIVER: "deliver it",
    Repair.GIVE_UP: "forget it; the log has it",
}
# What is to be done where nothing is repaired.
ADVICE: Mapping[AuditKind, str] = {
    AuditKind.RESTART_LATER: "wait: the reconciler restarts it then",
    AuditKind.JOB_UNWATCHED: "wait for its end, or end it with nightspot stop",
    AuditKind.JOB_MAY_COME: "wait a minute",
    AuditKind.JOB_UNSEEN: "wait until SageMaker answers",
    AuditKind.JOB_OF_UNKNOWN_RUN: "nothing, where another deployment in this account and region has started it",
    AuditKind.TWO_MACHINES: "end one of the two runs with nightspot stop",
    AuditKind.UNREADABLE: "look at it with the version that wrote it, and stop its training job by hand",
}
# What passes by itself, or is not ours.
_NOTES = frozenset(
    {AuditKind.RESTART_LATER, AuditKind.JOB_MAY_COME, AuditKind.JOB_UNSEEN, AuditKind.JOB_OF_UNKNOWN_RUN}
)
# What SageMaker often says minutes after a run's end, and what a moment's outage delays: nothing that a person must
# hear of.
_ROUTINE = frozenset({AuditKind.BILL_INCOMPLETE, AuditKind.START_PENDING, AuditKind.NOTICE_PENDING})


@dataclass(frozen=True)
class AuditFinding:
    """Something that is not as it should be. `subject`: the execution, job, lock or delivery it is about."""

    kind: AuditKind
    run_id: str | None
    job: str | None
    subject: str
    sentence: str

    @property
    def repair(self) -> Repair:
        return REPAIR_OF[self.kind]

    @property
    def remedy(self) -> str:
        """The same in words; where nothing is done, what a person can do."""
        return ADVICE[self.kind] if self.repair is Repair.NONE else WORDS[self.repair]

    @property
    def is_wrong(self) -> bool:
        """False for what is only worth knowing."""
        return self.kind not in _NOTES

    @property
    def rings(self) -> bool:
        """Whether a person should hear of it, though it is repaired."""
        return self.is_wrong and self.kind not in _ROUTINE


class ExecutionState(StrEnum):
    """Step Functions' status of an execution, and what it is for one that has none."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"
    FORGOTTEN = (
        "forgotten"  # Step Functions does not know it: 90 days after its end, or just before it is shown
    )
    NOT_SAID = "not said"  # AWS does not answer


@dataclass(frozen=True)
class Execution:
    """An execution as Step Functions shows it. `said`: its error and cause, redacted; empty where it has none."""

    arn: str
    state: ExecutionState
    ended_at: datetime | None = None
    said: str = ""

    @property
    def is_over(self) -> bool:
        """True where it is known to decide nothing more."""
        return self.state not in {ExecutionState.RUNNING, ExecutionState.NOT_SAID}

    @property
    def is_crash(self) -> bool:
        """True where no person ended it."""
        return self.is_over and self.state is not ExecutionState.ABORTED


@dataclass(frozen=True)
class UnsentEnd:
    """The end of a run whose notice EventBridge has not taken, as far as anybody knows."""

    since: datetime  # aware UTC
    is_counted: bool = False  # its metrics are emitted: only the notice is lacking


@dataclass(frozen=True)
class RunLook:
    """A run and all around it on which a check turns. What no check needs is not looked at."""

    run: Run
    is_recorded: bool  # its outcome is in its job's history, where people read
    unrecorded: frozenset[str] = frozenset()  # training jobs of which the history has less than the ledger
    is_planned: bool = True  # its plan was made to the end, so that another execution can go on with it
    untold: UnsentEnd | None = None
    may_train_unseen: bool = False  # SageMaker does not say whether it started more than is on record
    execution: Execution | None = None  # the newest; None: not looked at
    restarts: int = 0  # executions that were started to go on with it
    last_decision_at: datetime | None = None
    # Of attempts that nobody watches and others that are not settled, by training job; None: SageMaker has none of
    # this name. One that is not in it was not looked at.
    jobs: Mapping[str, JobView | None] = field(default_factory=dict)

    def attempt_of(self, training_job_name: str) -> Attempt | None:
        """The attempt of a training job; None where the ledger does not know it."""
        return next((a for a in self.run.attempts if a.training_job_name == training_job_name), None)


@dataclass(frozen=True)
class ListedJob:
    """A training job that goes on, as ListTrainingJobs shows it. `run_id` is what its name says."""

    name: str
    status: str
    run_id: str


@dataclass(frozen=True)
class HeldLock:
    """A lock, by its key (a job, or a checkpoint prefix), and its owner."""

    key: str
    run_id: str
    execution: Execution | None = None  # of an owner that is not on record
    planned_at: datetime | None = (
        None  # when its owner's plan took it, where nothing else is known of that run
    )


class Delivery(StrEnum):
    """What a function may have to leave to the reconciler."""

    START = "START"  # of a scheduled run; its name is the execution's
    NOTICE = "NOTICE"  # that becomes messages; its name is the messages' key


@dataclass(frozen=True)
class Pending:
    """An event, as JSON text, that its function could not deliver."""

    delivery: Delivery
    name: str
    since: datetime  # aware UTC
    event: str

    @property
    def subject(self) -> str:
        return f"{self.delivery.value}#{self.name}"


@dataclass(frozen=True)
class Snapshot:
    """What was seen of a deployment at one moment (aware UTC)."""

    at: datetime
    runs: tuple[RunLook, ...] = ()
    listed: tuple[ListedJob, ...] = ()
    locks: tuple[HeldLock, ...] = ()
    done_plans: tuple[HeldLock, ...] = ()  # locks of plans that are on record, or have let go of them
    pending: tuple[Pending, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)  # run id -> why
    unseen: Mapping[str, str] = field(default_factory=dict)  # what AWS did not show just now -> why


def findings(snapshot: Snapshot) -> tuple[AuditFinding, ...]:
    """Everything in a snapshot that is not as it should be."""
    looks = {look.run.run_id: look for look in snapshot.runs}
    found = [finding for look in snapshot.runs for finding in of_run(look, snapshot.at)]
    found += _of_listed(snapshot, looks)
    found += [
        finding for lock in snapshot.locks for finding in _of_lock(lock, looks.get(lock.run_id), snapshot.at)
    ]
    found += [
        AuditFinding(
            AuditKind.UNREADABLE, run_id, None, run_id, f"The record of run {run_id} cannot be read: {why}"
        )
        for run_id, why in snapshot.unreadable.items()
    ]
    found += [_of_pending(pending, snapshot.at) for pending in snapshot.pending]
    return tuple(found)


def of_run(look: RunLook, now: datetime) -> tuple[AuditFinding, ...]:
    """What is not as it should be with one run and its training jobs, what comes first first."""
    return (*_of_record(look, now), *_of_jobs(look, now))


def is_finished(look: RunLook, now: datetime) -> bool:
    """Whether nothing of the run is unfinished, and nobody has to look at it again."""
    if not look.is_recorded or look.untold is not None or look.unrecorded:
        return False
    return not any(_goes_on(view) for view in look.jobs.values()) and all(
        _is_settled(look, attempt, now) for attempt in look.run.attempts
    )


def is_whole(run: Run) -> bool:
    """Whether the ledger of a run that is over lacks nothing: every attempt ended, every bill known."""
    return run.outcome is not None and not any(is_unsettled(attempt) for attempt in run.attempts)


def is_unsettled(attempt: Attempt) -> bool:
    """Whether SageMaker may still have something to say of the attempt."""
    return attempt.is_open or lacks_bill(attempt) or is_doubtful(attempt)


# Refusals after which SageMaker may have made the training job all the same.
_DOUBTFUL = frozenset({FailureClass.SERVICE_FAULT, FailureClass.THROTTLED, FailureClass.UNKNOWN})


def is_doubtful(attempt: Attempt) -> bool:
    """Whether the attempt was closed without its training job's end being seen, or whether there is one at all."""
    was_never_seen = not attempt.is_open and not attempt.was_created and attempt.failure in _DOUBTFUL
    return attempt.unsettled or was_never_seen


def restart_at(look: RunLook, now: datetime) -> datetime | None:
    """When another execution may go on with a run whose own has crashed; None where none ever will."""
    if look.execution is None or not look.is_planned or look.restarts >= MOST_RESTARTS:
        return None
    ended_at = look.execution.ended_at or look.last_decision_at or look.run.started_at
    at = ended_at + RESTART_AFTER[look.restarts]
    return at if max(at, now) < ladder.give_up_at(look.run) else None


def _of_record(look: RunLook, now: datetime) -> Iterator[AuditFinding]:
    run, execution = look.run, look.execution
    if execution is None or execution.state is ExecutionState.NOT_SAID:
        return
    if execution.state is ExecutionState.RUNNING:
        last = look.last_decision_at or run.started_at
        if now - last > SILENT:
            since = f"has decided nothing since {clock(last, now)}, though its execution is running."
            yield _about(look, AuditKind.LOOP_SILENT, execution.arn, f"Run {run.run_id} {since}")
    elif run.outcome is None:
        if not _may_just_have_begun(look, execution, now):
            yield _of_gone(look, execution, now)
    elif not look.is_recorded:
        said = f"Run {run.run_id} ended as {run.outcome.value}, and its record says that it is running."
        yield _about(look, AuditKind.OUTCOME_UNRECORDED, execution.arn, said)
    elif look.untold is not None:
        said = f"The end of run {run.run_id} is on record, and nobody was notified."
        yield _about(look, AuditKind.END_UNTOLD, execution.arn, said)


def _may_just_have_begun(look: RunLook, execution: Execution, now: datetime) -> bool:
    # Step Functions may not show an execution for some seconds.
    last = look.last_decision_at or look.run.started_at
    return execution.state is ExecutionState.FORGOTTEN and now - last < FRESH


def _of_gone(look: RunLook, execution: Execution, now: datetime) -> AuditFinding:
    """What is wrong with a run without an outcome whose execution is over."""
    run, attempt = look.run, look.run.open_attempt
    how = f"The execution of run {run.run_id} is over ({execution.state.value}) without an outcome"
    is_wanted = not execution.is_crash or run.stop_asked_by is not None
    if not is_wanted and (at := restart_at(look, now)) is not None:
        # Clocks differ by seconds: the first comes at once, whatever they say.
        if now < at and look.restarts > 0:
            return _about(
                look, AuditKind.RESTART_LATER, execution.arn, f"{how}; it is restarted at {clock(at, now)}."
            )
        number = f"restart {look.restarts + 1} of {MOST_RESTARTS} at most"
        return _about(look, AuditKind.LOOP_GONE, execution.arn, f"{how}; {number}.")
    if look.may_train_unseen:
        said = (
            f"{how}, and SageMaker does not say whether it has started a training job that is not on record."
        )
        return _about(look, AuditKind.JOB_UNSEEN, execution.arn, said)
    if attempt is None:
        return _about(look, AuditKind.RECORD_OPEN, execution.arn, f"{how}, and no training job is open.")
    name, view = attempt.training_job_name, look.jobs.get(attempt.training_job_name)
    if name not in look.jobs:
        said = f"{how}, and SageMaker does not say how training job {name} is."
        return _about(look, AuditKind.JOB_UNSEEN, name, said)
    if view is None and now - attempt.asked_at < MAY_COME:
        return _about(look, AuditKind.JOB_MAY_COME, name, f"{how}, and training job {name} may still come.")
    if _goes_on(view) and not is_wanted:
        said = f"{how} and is not restarted any more; training job {name} may still make the model."
        return _about(look, AuditKind.JOB_UNWATCHED, name, said)
    return _about(look, AuditKind.RECORD_OPEN, execution.arn, f"{how}.")


def _of_jobs(look: RunLook, now: datetime) -> Iterator[AuditFinding]:
    incomplete = sorted(look.unrecorded)
    for name, view in look.jobs.items():
        attempt = look.attempt_of(name)
        if view is not None and _goes_on(view):
            if view.status == Status.IN_PROGRESS and _is_orphan(look, attempt, view, now):
                yield _about(look, AuditKind.JOB_ORPHANED, name, f"Training job {name} trains for nobody.")
        elif look.is_recorded and attempt is not None and _says_more(attempt, view, now):
            incomplete.append(name)
    for name in dict.fromkeys(incomplete):
        said = f"The record of run {look.run.run_id} lacks the end of training job {name}, or its bill."
        yield _about(look, AuditKind.BILL_INCOMPLETE, name, said)


def _is_orphan(look: RunLook, attempt: Attempt | None, view: JobView, now: datetime) -> bool:
    born = view.transitions[0].started_at if view.transitions else attempt.asked_at if attempt else None
    if born is not None and now - born < FRESH:
        return False
    # A training job that an open run does not know is one that its restart asks for again, by the same name.
    return look.is_recorded or (attempt is not None and not attempt.is_open)


def _says_more(attempt: Attempt, view: JobView | None, now: datetime) -> bool:
    """Whether SageMaker says more about a training job that is over, or was never there, than the ledger."""
    if view is None:
        return attempt.is_open and now - attempt.asked_at >= MAY_COME
    return (
        attempt.is_open or is_doubtful(attempt) or (lacks_bill(attempt) and view.billable_seconds is not None)
    )


def _is_settled(look: RunLook, attempt: Attempt, now: datetime) -> bool:
    if attempt.is_open:
        return False
    if is_doubtful(attempt):
        is_absent = attempt.training_job_name in look.jobs and look.jobs[attempt.training_job_name] is None
        return is_absent and now - attempt.asked_at >= DOUBT
    return not lacks_bill(attempt) or now - (attempt.ended_at or attempt.asked_at) >= BILL


def _of_listed(snapshot: Snapshot, looks: Mapping[str, RunLook]) -> Iterator[AuditFinding]:
    machines: dict[str, list[str]] = {}
    for job in snapshot.listed:
        look = looks.get(job.run_id)
        if look is not None and look.run.checkpoint_s3_uri is not None and job.status == Status.IN_PROGRESS:
            machines.setdefault(look.run.checkpoint_s3_uri, []).append(job.name)
        if look is None and job.run_id not in snapshot.unreadable:
            said = f"Training job {job.name} is of no run of this table: another deployment's, most likely."
            yield AuditFinding(AuditKind.JOB_OF_UNKNOWN_RUN, job.run_id, None, job.name, said)
    for prefix, names in machines.items():
        if len(names) > 1:
            said = f"{' and '.join(sorted(names))} write to {prefix} at the same time."
            yield AuditFinding(AuditKind.TWO_MACHINES, None, None, prefix, said)


def is_plan_over(execution: Execution, planned_at: datetime | None, now: datetime) -> bool:
    """Whether nothing takes a lock any more for a run that is not on record.

    Its function may be at work after the execution's end, and Step Functions may not show what has just begun: what
    a plan noted is left for a while. `planned_at` is None for a lock that only a person's audit looks at.
    """
    if planned_at is None:
        return execution.is_over
    newest = max(planned_at, execution.ended_at or planned_at)
    return execution.is_over and now - newest >= FRESH


def _of_lock(lock: HeldLock, owner: RunLook | None, now: datetime) -> Iterator[AuditFinding]:
    if owner is None:
        is_left = lock.execution is not None and is_plan_over(lock.execution, lock.planned_at, now)
    else:
        # While its end is recorded and told, the lock is just being freed.
        is_over = owner.execution is not None and owner.execution.is_over
        is_left = owner.is_recorded and (owner.untold is None or is_over)
    if is_left:
        said = f"The lock of {lock.key} is held by run {lock.run_id}, which is over."
        job = None if owner is None else owner.run.job
        yield AuditFinding(AuditKind.LOCK_LEFT, lock.run_id, job, lock.key, said)


def _of_pending(pending: Pending, now: datetime) -> AuditFinding:
    is_start, age = pending.delivery is Delivery.START, now - pending.since
    if age >= GIVEN_UP:
        kind = AuditKind.DELIVERY_GIVEN_UP
    elif age >= OVERDUE:
        kind = AuditKind.DELIVERY_OVERDUE
    else:
        kind = AuditKind.START_PENDING if is_start else AuditKind.NOTICE_PENDING
    what = "Execution {} could not be started" if is_start else "Notice {} could not be sent as a message"
    said = f"{what.format(pending.name)}; it has waited since {clock(pending.since, now)}."
    return AuditFinding(kind, None, None, pending.subject, said)


def _goes_on(view: JobView | None) -> bool:
    return view is not None and view.status in GOES_ON


def _about(look: RunLook, kind: AuditKind, subject: str, sentence: str) -> AuditFinding:
    return AuditFinding(kind, look.run.run_id, look.run.job, subject, sentence)
