"""Folds what was seen into the ledger, and books what was decided.

Level-triggered: only the newest truth counts, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from nightspot.decide import ladder
from nightspot.failures.classify import Fault, classify, of_start, says_it_exists
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.run import estimates
from nightspot.run.model import (
    BEFORE_THE_FIRST,
    Action,
    Attempt,
    AttemptState,
    Doubt,
    Phase,
    Progress,
    Resume,
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

_TERMINAL = {"Completed", "Failed", "Stopped", "Deleting"}
STATES = {
    "Starting": AttemptState.WAITING,
    "Pending": AttemptState.WAITING,
    "LaunchingMLInstances": AttemptState.WAITING,
    "PreparingTrainingStack": AttemptState.WAITING,
    "Interrupted": AttemptState.WAITING,
    "Restarting": AttemptState.WAITING,
    "Downloading": AttemptState.STARTING,
    "DownloadingTrainingImage": AttemptState.STARTING,
    "Training": AttemptState.TRAINING,
    "Updating": AttemptState.TRAINING,
    "Uploading": AttemptState.TRAINING,
    "Stopping": AttemptState.STOPPING,
}
_WITH_A_MACHINE = {"Downloading", "DownloadingTrainingImage", "Training", "Updating", "Uploading"}


@dataclass(frozen=True)
class Transition:
    """One entry of SecondaryStatusTransitions."""

    status: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True)
class JobView:
    """DescribeTrainingJob, as far as the ledger cares. Seconds are None where SageMaker leaves them out."""

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

    A job that is not among `jobs` could not be looked at: SageMaker gave no answer.
    """

    jobs: Mapping[str, JobView | None]
    progress: Progress | None = None
    fault: Fault | None = None


def fold(run: Run, seen: Observation, now: datetime) -> Run:
    """`run` with what was seen.

    Folding the same observation twice changes nothing more, except that a start in doubt is counted each time.
    """
    before = run
    if seen.progress is not None:
        run = evolve(run, progress=own_or_inherited(run, seen.progress))
    for attempt in run.attempts:
        if attempt.is_open or attempt.unsettled:
            run = run.with_attempt(_fold_attempt(run, attempt, seen, now))
    return with_proof(before, with_fruits(before, _fold_progress(run)))


def _fold_attempt(run: Run, attempt: Attempt, seen: Observation, now: datetime) -> Attempt:
    name = attempt.training_job_name
    view = seen.jobs.get(name)
    if attempt.unsettled:
        return _settled(attempt, view, now)
    if view is None or view.status == "InProgress":
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


def own_or_inherited(run: Run, progress: Progress) -> Progress:
    """`progress`, marked where it is still what the run that `run` resumes has left: its attempts are not ours."""
    return (
        evolve(progress, attempt=BEFORE_THE_FIRST)
        if run.inherited is not None and _written_by(progress) == _written_by(run.inherited)
        else progress
    )


def _written_by(progress: Progress) -> tuple[object, ...]:
    # Nobody else writes there: the file is another one as soon as a process of this run has begun.
    return (
        progress.step,
        progress.saved_at,
        progress.process_started_at,
        progress.attempt,
        progress.resumed_from_step,
    )


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
        interruptions=sum(1 for t in view.transitions if t.status == "Interrupted"),
        trained_seconds=_trained_seconds(view, now),
        worked_seconds=_seconds_in(view, now, AttemptState.TRAINING) if view.transitions else None,
        queued_seconds=_queued_seconds(view, attempt),
        ready_seconds=_ready_seconds(view, attempt),
        waited_seconds=_waited_seconds(view, attempt, now),
        billable_seconds=view.billable_seconds,
        model_artifact=view.model_artifact,
        doubt=None,
        max_runtime_seconds=view.max_runtime_seconds,
    )
    return _fold_end(attempt, view, now) if state is AttemptState.ENDED else attempt


def _state_of(attempt: Attempt, view: JobView) -> AttemptState:
    if view.status in _TERMINAL:
        return AttemptState.ENDED
    if view.status == "Stopping":
        return AttemptState.STOPPING
    # AWS: "Valid values for SecondaryStatus are subject to change." What is not known changes nothing.
    known = AttemptState.WAITING if attempt.state is AttemptState.ASKED else attempt.state
    return STATES.get(view.secondary_status, known)


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
    if view.status == "Completed":
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


def _pending_limit_has_passed(attempt: Attempt, view: JobView) -> bool:
    """Whether the job queued for all of its MaxPendingTimeInSeconds: SageMaker stops it then, without a reason."""
    limit = view.max_pending_seconds
    had_no_machine = not any(t.status in _WITH_A_MACHINE for t in view.transitions)
    return limit is not None and had_no_machine and attempt.waited_seconds >= limit - CLOCK_SECONDS


def _last_phase(view: JobView) -> str | None:
    phases = [t.status for t in view.transitions if t.status in STATES and t.status != "Stopping"]
    return phases[-1] if phases else None


def _trained_seconds(view: JobView, now: datetime) -> float:
    if view.training_seconds is not None:
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


def _fold_progress(run: Run) -> Run:
    progress = run.progress
    attempt = run.last_attempt
    if progress is None or attempt is None or not attempt.was_created:
        return run
    attempt = evolve(attempt, step_after=progress.step)
    if progress.attempt == attempt.number:
        resumed = progress.resumed_from_step
        pace = attempt.seconds_per_step if _pace_is_older(progress) else progress.seconds_per_step
        known = [each for each in (pace, attempt.best_seconds_per_step) if each is not None]
        attempt = evolve(
            attempt,
            resumed_from_step=attempt.resumed_from_step if resumed is None else resumed,
            seconds_per_step=pace,
            best_seconds_per_step=min(known, default=None),
        )
    return run.with_attempt(attempt)


def with_fruits(before: Run, run: Run) -> Run:
    """`run` with the interruptions counted between which nothing new became durable: a market that only takes."""
    attempt = run.last_attempt
    if attempt is None or not attempt.was_created:
        return run
    known = next((a.interruptions for a in before.attempts if a.number == attempt.number), 0)
    counted = fruits(attempt, known, safe_point(run))
    return run if counted is attempt else run.with_attempt(counted)


def fruits(attempt: Attempt, known_interruptions: int, point: float) -> Attempt:
    """`attempt` with what has come of its interruptions, `point` being how far the durable checkpoint is now."""
    if point > attempt.safe_point:
        seconds = attempt.trained_seconds
        return evolve(attempt, safe_point=point, safe_seconds=seconds, fruitless_interruptions=0)
    more = attempt.interruptions - known_interruptions
    return (
        evolve(attempt, fruitless_interruptions=attempt.fruitless_interruptions + more) if more else attempt
    )


def safe_point(run: Run) -> float:
    """How far the durable checkpoint is: its step, or a fraction of the work where no steps are visible."""
    return float(run.progress.step) if run.progress else estimates.durable_fraction(run)


def _pace_is_older(progress: Progress) -> bool:
    """True where the pace was carried over from the attempt that was resumed, perhaps on another machine."""
    return progress.seconds_per_step is None or progress.step == progress.resumed_from_step


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
            safe_point=safe_point(run),
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


def with_proof(before: Run, run: Run) -> Run:
    """`run` with its last attempt's resume judged; `before` is the ledger of the look before this one.

    The library writes the progress file as soon as it has restored, and names the step. So a process that takes up
    the training shows as a file whose `resumed_from` is new.
    """
    attempt = run.last_attempt
    if attempt is None or not attempt.was_created or run.checkpoint_s3_uri is None:
        return _with_furthest(run)
    verdict = _judge(before, run, attempt)
    if verdict is not attempt.resume:
        run = run.with_attempt(evolve(attempt, resume=verdict))
    return _with_furthest(run)


def _with_furthest(run: Run) -> Run:
    step = run.progress.step if run.progress else 0
    return evolve(run, furthest_step=step) if step > run.furthest_step else run


def _judge(before: Run, run: Run, attempt: Attempt) -> Resume | None:
    if attempt.resume is Resume.BROKEN:
        return Resume.BROKEN
    progress = run.progress
    if progress is None or progress.attempt is None:
        was_cut = (
            attempt.interruptions > 0
            or run.inherited_fraction > 0
            or any(a.trained_seconds > 0 for a in run.attempts[:-1])
        )
        has_trained = attempt.worked_seconds is None or attempt.worked_seconds > 0
        return Resume.NOT_VISIBLE if was_cut and has_trained and progress is None else attempt.resume
    if before.furthest_step == 0:
        return attempt.resume  # nothing had been saved that could have been resumed from
    if progress.attempt != attempt.number:
        # Its own first word may take as long as its first checkpoint.
        silent = (attempt.worked_seconds or 0.0) > 2 * run.checkpoint_every_seconds
        return Resume.NOT_VISIBLE if silent and attempt.step_before else attempt.resume
    return _of_file(before, run, attempt, progress)


def _of_file(before: Run, run: Run, attempt: Attempt, progress: Progress) -> Resume | None:
    """The verdict on a progress file that the attempt itself has written."""
    slack = _steps_of_an_interval(run, attempt, progress)
    if progress.step + slack < before.furthest_step:
        return Resume.BROKEN
    if not _is_of_a_new_process(before.progress, progress):
        return attempt.resume
    if progress.resumed_from_step is None:
        return Resume.BROKEN
    return Resume.PROVEN if progress.resumed_from_step + slack >= before.furthest_step else Resume.BROKEN


def _is_of_a_new_process(known: Progress | None, progress: Progress) -> bool:
    """Whether another process has written the file than the one that was seen before."""
    if known is None:
        return True
    if progress.process_started_at is not None and known.process_started_at is not None:
        return progress.process_started_at != known.process_started_at
    # An older library does not say; a start from nothing within one job is then seen by its lower steps only.
    resumed = progress.resumed_from_step
    return known.attempt != progress.attempt or resumed not in (None, known.resumed_from_step)


def _steps_of_an_interval(run: Run, attempt: Attempt, progress: Progress) -> int:
    """How far back a restored step may lie: one checkpoint, because SageMaker uploads files in no promised order.

    Where the pace is not known, anything but a start from nothing is believed.
    """
    pace = attempt.best_seconds_per_step or progress.seconds_per_step
    if not pace:
        return max(0, run.furthest_step - 1)
    return ceil(run.checkpoint_every_seconds / pace)
