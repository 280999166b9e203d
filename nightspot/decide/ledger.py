"""Folds what was seen into the ledger, and books what was decided.

Level-triggered: only the newest truth counts, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nightspot.decide import durable, ladder
from nightspot.failures.classify import Fault, classify, of_start, says_it_exists
from nightspot.failures.codes import FailureClass
from nightspot.formats.statuses import ENDED, Secondary, Status
from nightspot.job.markets import Market
from nightspot.run.model import (
    Action,
    Attempt,
    AttemptState,
    Doubt,
    Phase,
    Progress,
    Run,
    Rung,
    Step,
    StopCall,
    evolve,
)

# A training job shows itself seconds after it was asked for; one that is not there after this long never will be.
UNSEEN_SECONDS = 15 * 60
NEVER_SEEN = Fault("Nightspot.NeverSeen", "SageMaker does not know the training job that was asked for.")
# A stop that was accepted has ended the container after 120 s; this much more for the upload.
BLIND_STOP_SECONDS = 120

# By how much a limit of SageMaker's and the times that it shows may differ.
CLOCK_SECONDS = 5

_TERMINAL = ENDED | {Status.DELETING}
STATES: Mapping[str, AttemptState] = {
    Secondary.STARTING: AttemptState.WAITING,
    Secondary.PENDING: AttemptState.WAITING,
    Secondary.LAUNCHING_ML_INSTANCES: AttemptState.WAITING,
    Secondary.PREPARING_TRAINING_STACK: AttemptState.WAITING,
    Secondary.INTERRUPTED: AttemptState.WAITING,
    Secondary.RESTARTING: AttemptState.WAITING,
    Secondary.DOWNLOADING: AttemptState.STARTING,
    Secondary.DOWNLOADING_TRAINING_IMAGE: AttemptState.STARTING,
    Secondary.TRAINING: AttemptState.TRAINING,
    Secondary.UPDATING: AttemptState.TRAINING,
    Secondary.UPLOADING: AttemptState.TRAINING,
    Secondary.STOPPING: AttemptState.STOPPING,
}
_WITH_A_MACHINE = {
    Secondary.DOWNLOADING,
    Secondary.DOWNLOADING_TRAINING_IMAGE,
    Secondary.TRAINING,
    Secondary.UPDATING,
    Secondary.UPLOADING,
}


@dataclass(frozen=True)
class Transition:
    """One entry of SecondaryStatusTransitions."""

    status: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True)
class JobView:
    """DescribeTrainingJob, as far as the ledger cares. Seconds are None where SageMaker leaves them out.

    AWS does not say when it fills in `training_seconds` and `billable_seconds`: they may be old until
    the job is over.
    """

    training_job_name: str
    status: str
    secondary_status: str
    transitions: tuple[Transition, ...] = ()
    failure_reason: str | None = None
    training_seconds: float | None = None
    billable_seconds: float | None = None
    ended_at: datetime | None = None
    model_artifact: str | None = None
    market: Market | None = None  # None: the answer does not say
    instance_type: str | None = None
    max_runtime_seconds: float | None = None  # StoppingCondition
    max_pending_seconds: float | None = None


@dataclass(frozen=True)
class Observation:
    """The world at one look: training jobs by name (None: not there), progress, the last call's fault.

    A job that is not among `jobs` could not be looked at: SageMaker gave no answer. unreadable: why S3 or a key
    refused the progress, redacted.
    """

    jobs: Mapping[str, JobView | None]
    progress: Progress | None = None
    fault: Fault | None = None
    unreadable: str | None = None


def fold(run: Run, seen: Observation, now: datetime) -> Run:
    """`run` with what was seen.

    Folding the same observation twice changes nothing more, except that a start in doubt is counted each time.
    """
    before = run
    if seen.progress is not None:
        run = durable.with_progress(run, seen.progress)
    if seen.unreadable is not None and run.progress_unreadable is None:
        run = evolve(run, progress_unreadable=seen.unreadable)
    for attempt in run.attempts:
        if attempt.is_open or attempt.unsettled:
            run = run.with_attempt(_fold_attempt(run, attempt, seen, now))
    return durable.with_delay(durable.fold(before, run), now)


def _fold_attempt(run: Run, attempt: Attempt, seen: Observation, now: datetime) -> Attempt:
    name = attempt.training_job_name
    view = seen.jobs.get(name)
    if attempt.unsettled:
        return _settled(attempt, view, now)
    if view is None or view.status == Status.IN_PROGRESS:
        attempt = _with_stop_call(attempt, seen.fault)
    if view is not None:
        known = evolve(attempt, rung=_rung_of(run, attempt, view), unseen_since=None)
        return _fold_view(known, view, now)
    if not attempt.was_created:
        attempt = _with_ask(attempt, seen.fault, now)
    if name in seen.jobs:
        attempt = evolve(attempt, unseen_since=None)
        return _fold_missing(attempt, now) if attempt.is_open else attempt
    attempt = evolve(attempt, unseen_since=attempt.unseen_since or now)
    return _left_behind(attempt, now) if _must_be_left(run, attempt, now) else attempt


def _with_stop_call(attempt: Attempt, fault: Fault | None) -> Attempt:
    """`attempt` with what became of the StopTrainingJob that the last decision asked for, if it did."""
    if attempt.stop_call is not StopCall.ASKED:
        return attempt
    if fault is None:
        return evolve(attempt, stop_call=StopCall.ACCEPTED)
    return evolve(attempt, stop_call=StopCall.REFUSED, stop_faults=attempt.stop_faults + 1)


def _with_ask(attempt: Attempt, fault: Fault | None, now: datetime) -> Attempt:
    """`attempt` with what became of the CreateTrainingJob that the last decision asked for."""
    if fault is None:
        return attempt
    if says_it_exists(fault):
        return evolve(attempt, doubt=None)
    failure, in_doubt = of_start(fault)
    if not in_doubt or fault == NEVER_SEEN:
        return _refused(attempt, failure.failure, failure.reason, now)
    calls = 1 + (attempt.doubt.calls if attempt.doubt else 0)
    return evolve(attempt, doubt=Doubt(failure.failure, failure.reason, calls))


def _refused(attempt: Attempt, failure: FailureClass, reason: str | None, now: datetime) -> Attempt:
    return evolve(
        attempt,
        state=AttemptState.ENDED,
        ended_at=now,
        failure=failure,
        failure_reason=reason,
        ended_waiting=True,
        unseen_since=None,
        doubt=None,
    )


def _rung_of(run: Run, attempt: Attempt, view: JobView) -> Rung:
    """The rung that the training job is really on.

    One that was in doubt may have been asked for on two rungs under one name, and the first of them came through.
    """
    return run.rung_of(view.market, view.instance_type) or attempt.rung


def _must_be_left(run: Run, attempt: Attempt, now: datetime) -> bool:
    """Whether a stopped job must be taken for ended unseen, because on-demand could not wait any longer."""
    asked = attempt.stop_requested_at
    if asked is None or attempt.stop_call is not StopCall.ACCEPTED:
        return False
    if (now - asked).total_seconds() < run.stop_seconds + BLIND_STOP_SECONDS:
        return False
    repair = ladder.repair_rung(run, now)
    return repair is not None and (run.deadline - now).total_seconds() <= ladder.seconds_needed(run, repair)


def _left_behind(attempt: Attempt, now: datetime) -> Attempt:
    reason = "It was asked to stop, and SageMaker did not answer whether it has."
    ended = _refused(attempt, FailureClass.STOPPED_BY_NIGHTSPOT, reason, now)
    return evolve(ended, unsettled=True, ended_waiting=attempt.state is not AttemptState.TRAINING)


def _settled(attempt: Attempt, view: JobView | None, now: datetime) -> Attempt:
    """An attempt that was closed unseen, with its bill, once its training job is seen to be over."""
    if view is None or view.status not in _TERMINAL:
        return attempt
    return evolve(_fold_view(attempt, view, now), unsettled=False)


def _fold_missing(attempt: Attempt, now: datetime) -> Attempt:
    """An attempt that SageMaker does not know: in doubt for a quarter of an hour after it was last asked for."""
    if (now - attempt.last_asked_at).total_seconds() < UNSEEN_SECONDS:
        return attempt
    why = attempt.doubt or classify(fault=NEVER_SEEN)
    return _refused(attempt, why.failure, why.reason, now)


def _fold_view(attempt: Attempt, view: JobView, now: datetime) -> Attempt:
    state = _state_of(attempt, view)
    # A job may have left this state and come back between two looks: its own history counts first.
    since = _state_since(view, state) or (attempt.state_since if state is attempt.state else None)
    attempt = evolve(
        attempt,
        state=state,
        state_since=since or now,
        status=view.status,
        secondary_status=view.secondary_status,
        interruptions=sum(1 for t in view.transitions if t.status == Secondary.INTERRUPTED),
        trained_seconds=_trained_seconds(view, now),
        worked_seconds=_seconds_in(view, now, AttemptState.TRAINING) if view.transitions else None,
        queued_seconds=_queued_seconds(view, attempt),
        ready_seconds=_ready_seconds(view, attempt),
        waited_seconds=_waited_seconds(view, attempt, now),
        billable_seconds=view.billable_seconds if view.status in _TERMINAL else None,
        model_artifact=view.model_artifact,
        doubt=None,
        max_runtime_seconds=view.max_runtime_seconds,
    )
    return _fold_end(attempt, view, now) if state is AttemptState.ENDED else attempt


def _state_of(attempt: Attempt, view: JobView) -> AttemptState:
    if view.status in _TERMINAL:
        return AttemptState.ENDED
    if view.status == Status.STOPPING:
        return AttemptState.STOPPING
    # AWS: "Valid values for SecondaryStatus are subject to change." Where it is missing or not known, the newest
    # transition that is known counts, and without one nothing changes.
    shown = (view.secondary_status, *(transition.status for transition in reversed(view.transitions)))
    known = AttemptState.WAITING if attempt.state is AttemptState.ASKED else attempt.state
    return next((STATES[status] for status in shown if status in STATES), known)


def _state_since(view: JobView, state: AttemptState) -> datetime | None:
    """When the newest unbroken row of transitions in `state` began."""
    since = None
    for transition in reversed(view.transitions):
        if STATES.get(transition.status) is not state:
            break
        since = transition.started_at
    return since


def _fold_end(attempt: Attempt, view: JobView, now: datetime) -> Attempt:
    ended_at = view.ended_at or (view.transitions[-1].ended_at if view.transitions else None) or now
    attempt = evolve(attempt, ended_at=ended_at)
    if view.status == Status.COMPLETED:
        return evolve(attempt, failure=None, failure_reason=None)
    phase = _last_phase(view)
    failure = classify(
        status=view.status,
        secondary_status=view.secondary_status,
        failure_reason=view.failure_reason,
        transitions=[transition.status for transition in view.transitions],
        stop_requested=attempt.stop_requested_at is not None,
    )
    queued_out = failure.failure is FailureClass.STOPPED_BY_PERSON and _pending_limit_has_passed(
        attempt, view
    )
    return evolve(
        attempt,
        failure=FailureClass.NO_CAPACITY if queued_out else failure.failure,
        failure_reason=failure.reason or None,
        failed_in=phase,
        ended_waiting=phase is None or STATES[phase] is AttemptState.WAITING,
    )


# fact: sagemaker.maxpending.end
def _pending_limit_has_passed(attempt: Attempt, view: JobView) -> bool:
    """Whether the job queued for all of its MaxPendingTimeInSeconds: SageMaker stops it then, without a reason."""
    limit = view.max_pending_seconds
    had_no_machine = not any(t.status in _WITH_A_MACHINE for t in view.transitions)
    return limit is not None and had_no_machine and attempt.waited_seconds >= limit - CLOCK_SECONDS


def _last_phase(view: JobView) -> str | None:
    phases = [t.status for t in view.transitions if t.status in STATES and t.status != Secondary.STOPPING]
    return phases[-1] if phases else None


def _trained_seconds(view: JobView, now: datetime) -> float:
    is_final = view.status in _TERMINAL or not view.transitions
    if view.training_seconds is not None and is_final:
        return view.training_seconds
    return sum(
        ((t.ended_at or now) - t.started_at).total_seconds()
        for t in view.transitions
        if t.status in _WITH_A_MACHINE
    )


def _queued_seconds(view: JobView, attempt: Attempt) -> float | None:
    machines = [t.started_at for t in view.transitions if t.status in _WITH_A_MACHINE]
    return max(0.0, (machines[0] - attempt.asked_at).total_seconds()) if machines else None


def _ready_seconds(view: JobView, attempt: Attempt) -> float | None:
    starts = [t.started_at for t in view.transitions if STATES.get(t.status) is AttemptState.TRAINING]
    return max(0.0, (starts[0] - attempt.asked_at).total_seconds()) if starts else None


def _waited_seconds(view: JobView, attempt: Attempt, now: datetime) -> float:
    if not view.transitions:
        end = view.ended_at or now
        return max(0.0, (end - attempt.asked_at).total_seconds() - (view.training_seconds or 0.0))
    return _seconds_in(view, now, AttemptState.WAITING)


def _seconds_in(view: JobView, now: datetime, state: AttemptState) -> float:
    return sum(
        ((t.ended_at or now) - t.started_at).total_seconds()
        for t in view.transitions
        if STATES.get(t.status) is state
    )


def book(run: Run, step: Step, training_job_name: str | None = None) -> Run:
    """`run` with the decision booked: a start opens an attempt, a stop is remembered as Nightspot's own."""
    run = evolve(run, steps=step.number, said_late=run.said_late or step.late)
    if step.action is Action.START:
        if step.rung is None or step.attempt is None or training_job_name is None:
            raise ValueError("a start names its rung, its attempt and its training job")
        is_first = all(attempt.rung.market is Market.SPOT for attempt in run.attempts)
        if is_first and step.rung.market is Market.ON_DEMAND:
            run = evolve(run, fell_back_reason=step.reason)
        in_doubt = run.open_attempt
        if in_doubt is not None and in_doubt.number == step.attempt:
            return run.with_attempt(evolve(in_doubt, rung=step.rung, asked_last_at=step.at))
        attempt = Attempt(
            number=step.attempt,
            rung=step.rung,
            training_job_name=training_job_name,
            asked_at=step.at,
            safe_point=durable.safe_point(run),
            step_before=run.progress.step if run.progress else None,
        )
        return evolve(run.with_attempt(attempt), stop_reason=None)
    if step.action is Action.STOP and run.open_attempt is not None:
        stopped = evolve(run.open_attempt, stop_requested_at=step.at, stop_call=StopCall.ASKED)
        # A stop that is asked for again has the reason of the first.
        return evolve(run.with_attempt(stopped), stop_reason=run.stop_reason or step.reason)
    if step.action is Action.FINISH:
        return evolve(run, outcome=step.outcome, outcome_because=step.because)
    return run


def with_found(run: Run, view: JobView) -> Run:
    """`run` with an attempt that its record lacks, open: SageMaker has the training job that is named as its next.

    An attempt before it that is open on record has ended by then, since one at most is open: its end is read later.
    """
    born = view.transitions[0].started_at if view.transitions else run.started_at
    before = run.open_attempt
    if before is not None:
        reason = "The next attempt was started before its end was on record."
        ended = _refused(before, FailureClass.UNKNOWN, reason, born)
        run = run.with_attempt(evolve(ended, unsettled=True, ended_waiting=False))
    found = Attempt(
        number=len(run.attempts) + 1,
        rung=run.rung_of(view.market, view.instance_type) or run.rungs[0],
        training_job_name=view.training_job_name,
        asked_at=born,
        safe_point=durable.safe_point(run),
        step_before=run.progress.step if run.progress else None,
    )
    return run.with_attempt(found)


def ended_at(run: Run) -> datetime | None:
    """When the last attempt ended; None while one is open or before the first."""
    last = run.last_attempt
    return last.ended_at if last is not None and not last.is_open else None


def margin_seconds(run: Run) -> float | None:
    """Seconds between the model's completion and the deadline (negative: late); None without a model."""
    last = run.last_attempt
    if last is None or last.is_open or last.failure is not None or last.ended_at is None:
        return None
    return (run.deadline - last.ended_at) / timedelta(seconds=1)


def phases_of(view: JobView) -> tuple[Phase, ...]:
    """The job's history in the ledger's states, oldest first; a status that is not known tells nothing."""
    phases: list[Phase] = []
    for transition in view.transitions:
        state = STATES.get(transition.status)
        if state is None:
            continue
        if phases and phases[-1].state is state:
            phases[-1] = replace(phases[-1], ended_at=transition.ended_at)
        else:
            phases.append(Phase(state, transition.started_at, transition.ended_at))
    return tuple(phases)
