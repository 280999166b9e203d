"""Decides the next step of a run: what its ledger says comes first, the rest is the rule's (`rule`)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from nightspot.decide import ladder, limits, steps
from nightspot.decide.ladder import CAPACITY_PAUSE_SECONDS, MOST_ATTEMPTS, ON_DEMAND_FROM, SPREAD_FROM
from nightspot.decide.rule import LEAST_SECONDS, SHORTEST_LOOK_SECONDS, STOPPING_LOOK_SECONDS, decide
from nightspot.failures.classify import Response
from nightspot.failures.codes import FailureClass
from nightspot.formats.statuses import Secondary
from nightspot.job.markets import Fallback, Market
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Run, Step, StopCall, evolve
from nightspot.run.reasons import Figures, Reason

# While the run that this one replaces is still ending: the longer that takes, the less is a minute.
TURN_PAUSE_SECONDS, LONGEST_TURN_PAUSE_SECONDS = 60, 300
# Failures of CreateTrainingJob that leave it in doubt whether the training job exists, and that may pass.
_ASK_AGAIN = frozenset({FailureClass.SERVICE_FAULT, FailureClass.THROTTLED})
# A training job shows itself within a minute. One that does not is asked for again every so often, for so long:
# what became of the call may have been lost with the execution that made it.
SILENT_SECONDS = 5 * 60
MOST_SILENT_SECONDS = 30 * 60
UNSEEN_LOOK_SECONDS = 60
REFUSED_CALL_PAUSE_SECONDS = (15, 30, 60, 120, 240, 300)  # after CreateTrainingJob and StopTrainingJob
# A start that has been in doubt for half an hour is no longer in a hurry, and every call costs four transitions.
LONG_DOUBT_CALLS, LONG_DOUBT_PAUSE_SECONDS = 10, 900
SERVICE_FAULT_PAUSE_SECONDS = 60
MOST_SERVICE_FAULTS = 2
NO_MACHINE = frozenset({FailureClass.NO_CAPACITY, FailureClass.QUOTA_TEMPORARY, FailureClass.WAIT_LIMIT})
# While SageMaker does not answer, what it does not say may be the news that is waited for. After half an hour a
# minute no longer matters, and a day of looks each minute would fill an execution's history (25,000 events).
BLIND_LOOK_SECONDS, LONG_BLIND_LOOK_SECONDS = 60, 300
LONG_BLIND_SECONDS = 30 * 60
# A stop that hangs is looked at every five minutes, and more seldom once nothing but its end is waited for.
LONG_STOP_LOOK_SHARE, LONGEST_STOPPING_LOOK_SECONDS = 1 / 12, 900
# Why a failure ends the run; the others that do are of a cause that Nightspot does not understand.
_ENDS: Mapping[FailureClass, Reason] = {
    FailureClass.USER_CODE: Reason.USER_FAULT,
    FailureClass.OUT_OF_MEMORY: Reason.USER_FAULT,
    FailureClass.CONFIGURATION: Reason.USER_FAULT,
    FailureClass.PERMISSION: Reason.USER_FAULT,
    FailureClass.STOPPED_BY_PERSON: Reason.STOPPED_BY_PERSON,
    FailureClass.RUNTIME_LIMIT: Reason.NO_PROGRESS,
}


def next_step(run: Run, now: datetime) -> Step:
    """The next step of `run` at `now` (aware UTC). Pure; a start's request is filled in by `requests`."""
    attempt = run.open_attempt
    if attempt is not None and _may_be_asked_again(attempt, now) and not why_it_must_end(run):
        return _ask_again(run, attempt, now)
    if attempt is not None:
        step = _while_open(run, attempt, now)
        return (
            step if attempt.unseen_since is None else _while_blind(step, attempt, attempt.unseen_since, now)
        )
    last = run.last_attempt
    if last is not None and last.failure is None:
        name = last.training_job_name
        return _finish(run, now, Outcome.SUCCEEDED, Reason.COMPLETED, {"training_job_name": name})
    if last is None and run.refused_because is not None:
        # Nobody's wish undoes what the plan has found.
        return steps.finish(run, now, Outcome.REFUSED, Reason.REFUSED, {"text": run.refused_because})
    wanted = why_it_must_end(run)
    if wanted is not None:
        return _finish(run, now, Outcome.STOPPED, *wanted)
    if last is None or last.failure is None:
        return _first(run, now)
    return _after_failure(run, last, last.failure, now)


def why_it_must_end(run: Run) -> tuple[Reason, Figures] | None:
    """Why nothing more is wanted of the run; None where nobody wants its end."""
    if run.replaced_by is not None:
        return Reason.REPLACED, {"other_run": run.replaced_by}
    return None if run.stop_asked_by is None else (Reason.STOP_REQUESTED, steps.asked_to_stop(run))


# --- a training job is open ---------------------------------------------------------------------------------


def _may_be_asked_again(attempt: Attempt, now: datetime) -> bool:
    if attempt.doubt is not None:
        return attempt.doubt.failure in _ASK_AGAIN
    if attempt.state is not AttemptState.ASKED:
        return False
    silent_seconds = (now - attempt.last_asked_at).total_seconds()
    asked_seconds = (attempt.last_asked_at - attempt.asked_at).total_seconds()
    return silent_seconds >= SILENT_SECONDS and asked_seconds < MOST_SILENT_SECONDS


def _ask_again(run: Run, attempt: Attempt, now: datetime) -> Step:
    """The same attempt once more: SageMaker's rule that names are unique keeps it from being two training jobs.

    On the rung that is right by now, which may be another one. What is asked for no more is in doubt until the
    ledger closes it: a run never ends, and never goes on, beside a training job that may still show itself.
    """
    said = steps.in_doubt(attempt)
    remaining = ask_pause_left(run, attempt, now)
    if remaining >= LEAST_SECONDS:
        figures = {**said, "wait_seconds": remaining}
        return steps.watch(run, attempt, now, remaining, Reason.ASK_AGAIN, figures)
    if now < ladder.give_up_at(run):
        others = tuple(a for a in run.attempts if a.number != attempt.number)
        step = _start_best(evolve(run, attempts=others), now, after=said)
        if step.action is Action.START:
            return step
    return steps.watch(run, attempt, now, UNSEEN_LOOK_SECONDS, Reason.IN_DOUBT, said)


def _while_open(run: Run, attempt: Attempt, now: datetime) -> Step:
    if attempt.state is AttemptState.STOPPING or attempt.stop_requested_at is not None:
        return _while_stopping(run, attempt, now)
    if attempt.secondary_status == Secondary.UPLOADING:
        # All its work is done. Its MaxRuntimeInSeconds bounds what the rest can cost.
        late = now > run.deadline
        said = {**steps.what(attempt), **steps.progress(run)}
        return steps.watch(run, attempt, now, SHORTEST_LOOK_SECONDS, Reason.UPLOADING, said, late=late)
    wanted = why_it_must_end(run)
    if wanted is None:
        return _within_budget(run, attempt, now, _by_rule(run, attempt, now))
    reason, figures = wanted
    if attempt.state is AttemptState.ASKED:
        # The refusal to stop what is not there would be taken for the end of what may still come.
        return steps.watch(run, attempt, now, UNSEEN_LOOK_SECONDS, reason, {**figures, "is_not_shown": True})
    return steps.stop(run, attempt, now, reason, figures)


def _by_rule(run: Run, attempt: Attempt, now: datetime) -> Step:
    if attempt.state is AttemptState.ASKED:
        return steps.watch(run, attempt, now, UNSEEN_LOOK_SECONDS, Reason.NOT_SHOWN_YET, {})
    situation = ladder.situation_of(run, now)
    done = decide(situation)
    figures = steps.of_open_job(run, attempt, now, situation, done)
    if done.action is Action.STOP:
        return steps.stop(run, attempt, now, done.reason, figures)
    return steps.watch(run, attempt, now, done.wait_seconds, done.reason, figures, late=done.is_late)


def _within_budget(run: Run, attempt: Attempt, now: datetime, step: Step) -> Step:
    """`step`, but no machine is kept for longer than the budget pays for it, not even unseen."""
    paid = ladder.paid_seconds(run, attempt.rung)
    if paid is None or step.action is not Action.WATCH or step.wait_seconds is None:
        return step
    if paid < LEAST_SECONDS:
        figures = {**steps.what(attempt), **steps.progress(run), **steps.budget(run)}
        return steps.stop(run, attempt, now, Reason.BUDGET_USED_UP, figures)
    return evolve(step, wait_seconds=min(step.wait_seconds, int(paid)))


def _while_blind(step: Step, attempt: Attempt, since: datetime, now: datetime) -> Step:
    """`step`, decided on what was last seen, and soon looked at again.

    A job that is being stopped is looked at each minute until the run is late: until then it may have to be taken
    for ended, and people told, at a moment that no step knows.
    """
    step = evolve(step, figures={**step.figures, "unseen_since_at": since.isoformat()})
    if step.action is not Action.WATCH or step.wait_seconds is None:
        return step
    is_long = (now - since).total_seconds() >= LONG_BLIND_SECONDS
    is_urgent = attempt.stop_requested_at is not None and not step.late
    longest = LONG_BLIND_LOOK_SECONDS if is_long and not is_urgent else BLIND_LOOK_SECONDS
    return evolve(step, wait_seconds=min(step.wait_seconds, longest))


def _while_stopping(run: Run, attempt: Attempt, now: datetime) -> Step:
    """A stop is never given up: what it waits for is another machine, and it may cost the deadline."""
    asked = attempt.stop_requested_at
    late = _stop_makes_late(run, now)
    if attempt.state is AttemptState.STOPPING or asked is None:
        look_seconds = _stopping_look_seconds(run, attempt, now, late=late)
        return steps.watch(run, attempt, now, look_seconds, Reason.STOPPING, {}, late=late)
    waited = (now - asked).total_seconds()
    figures: Figures
    if attempt.stop_call is StopCall.REFUSED:
        pause = stop_pause_seconds(attempt)
        reason, figures = Reason.STOP_REFUSED, {"refusals": attempt.stop_faults}
    else:
        pause = float(STOPPING_LOOK_SECONDS)
        reason, figures = Reason.STOP_OVERDUE, {"asked_at": asked.isoformat(), "waited_seconds": waited}
    left = pause - waited
    if left >= LEAST_SECONDS:
        return steps.watch(run, attempt, now, left, reason, {**figures, "wait_seconds": left}, late=late)
    return steps.stop(run, attempt, now, reason, figures, late=late)


def _stopping_look_seconds(run: Run, attempt: Attempt, now: datetime, *, late: bool) -> float:
    """How soon a job that is stopping is looked at again: its end wakes the run, so a look is for a lost event.

    Where a stop hangs for hours, that a look has nothing to tell any more (the run is late, and has said so, or its
    end is wanted) lets it grow with the wait: a lost event costs a twelfth of what the stop has cost already.
    """
    since = attempt.stop_requested_at or attempt.state_since
    if since is None or not (late or why_it_must_end(run)):
        return STOPPING_LOOK_SECONDS
    grown = (now - since).total_seconds() * LONG_STOP_LOOK_SHARE
    return min(max(grown, STOPPING_LOOK_SECONDS), LONGEST_STOPPING_LOOK_SECONDS)


def _stop_makes_late(run: Run, now: datetime) -> bool:
    """Whether the run is late already because the training job that it stops is not over yet."""
    situation = ladder.situation_of(run, now)
    repair = None if why_it_must_end(run) else situation.repair()
    return repair is not None and not situation.is_in_time(repair)


# --- none is open -------------------------------------------------------------------------------------------


def _first(run: Run, now: datetime) -> Step:
    if run.waits_for_run is not None:
        figures = {"other_run": run.waits_for_run}
        waited = (now - run.started_at).total_seconds()
        seconds = min(max(waited / 5, TURN_PAUSE_SECONDS), LONGEST_TURN_PAUSE_SECONDS)
        return steps.pause(run, now, seconds, Reason.WAITING_FOR_TURN, figures)
    return _start_best(run, now, after={})


def _finish(run: Run, now: datetime, outcome: Outcome, reason: Reason, figures: Figures) -> Step:
    return steps.finish(run, now, outcome, reason, {**figures, **steps.left_out(run)})


def _after_failure(run: Run, last: Attempt, failure: FailureClass, now: datetime) -> Step:
    said = steps.ended(last, failure.value, with_text=True)
    answer = limits.response_to(last, run)
    if answer is Response.FINISH or limits.is_paid_time_used_up(run):
        return _end(run, last, failure, answer, now)
    if len(run.attempts) >= MOST_ATTEMPTS:
        figures = {**said, "attempts": len(run.attempts)}
        return _finish(run, now, Outcome.FAILED, Reason.TOO_MANY_ATTEMPTS, figures)
    if now >= ladder.give_up_at(run):
        return _finish(run, now, Outcome.FAILED, Reason.GAVE_UP, {**said, **steps.deadline(run)})
    if answer is Response.RETRY and is_final_fault(run, last):
        return _finish(run, now, Outcome.FAILED, Reason.REPEATED_FAULT, said)
    remaining = pause_left(run, last, answer, now)
    if remaining >= LEAST_SECONDS:
        return steps.pause(run, now, remaining, Reason.BACK_OFF, {**said, "wait_seconds": remaining})
    return _start_best(run, now, after=steps.ended(last, failure.value))


def _end(run: Run, last: Attempt, failure: FailureClass, answer: Response, now: datetime) -> Step:
    """The end of a run whose failure is no matter of the market, or whose paid time is used up."""
    said = {**steps.ended(last, failure.value, with_text=True), **steps.progress(run)}
    outcome = Outcome.STOPPED if failure is FailureClass.STOPPED_BY_PERSON else Outcome.FAILED
    is_limit = failure is FailureClass.RUNTIME_LIMIT or answer is not Response.FINISH
    if is_limit and limits.is_paid_time_used_up(run):
        figures = {**said, "limit_seconds": limits.paid_cap_seconds(run) or 0}
        return _finish(run, now, outcome, Reason.PAID_TIME_USED_UP, figures)
    limit_seconds = last.max_runtime_seconds or last.trained_seconds
    figures = {**said, "limit_seconds": limit_seconds} if is_limit else said
    return _finish(run, now, outcome, _ENDS.get(failure, Reason.NOT_CAPACITY), figures)


def _start_best(run: Run, now: datetime, after: Figures) -> Step:
    """The start that is right at `now`; `after`: the figures of what it follows."""
    situation = ladder.situation_of(run, now)
    done = decide(situation)
    if done.rung is None:
        return _give_up(run, now, after)
    paid = ladder.paid_seconds(run, done.rung)
    look_seconds = done.wait_seconds if paid is None else min(done.wait_seconds, paid)
    figures = {**after, **steps.of_start(run, situation, done.rung, done)}
    return steps.start(run, now, done.rung, done.reason, figures, look_seconds, late=done.is_late)


def _give_up(run: Run, now: datetime, after: Figures) -> Step:
    last = run.last_attempt
    if last is not None and last.failure is not None and limits.is_refusal_of_spot(last):
        # No other rung could show that the fault was in Spot alone.
        return _end(run, last, last.failure, Response.FINISH, now)
    gone = {out.rung.key for out in ladder.left_out(run)}
    usable = [rung for rung in run.rungs if rung.key not in gone]
    fits = [rung for rung in usable if ladder.within_budget(run, rung)]
    if usable and not fits:
        figures = {**after, **steps.budget(run)}
        return _finish(run, now, Outcome.FAILED, Reason.BUDGET_TOO_SMALL, figures)
    if usable and run.fallback is Fallback.NEVER:
        figures = {**after, **steps.deadline(run)}
        return _finish(run, now, Outcome.SKIPPED, Reason.FALLBACK_FORBIDDEN, figures)
    if len(fits) < len(usable):
        figures = {**after, **steps.budget(run)}
        return _finish(run, now, Outcome.FAILED, Reason.NO_AFFORDABLE_RUNG, figures)
    return _finish(run, now, Outcome.FAILED, Reason.NO_RUNG_LEFT, after)


# --- how long a run pauses before it asks again, and which faults are final ---------------------------------


def is_final_fault(run: Run, last: Attempt) -> bool:
    """True where a service fault must not be answered again: the third, or the same one in the same phase.

    Counted since a newer checkpoint was last seen: what has come further is not at the same point again.
    """
    since = next((n for n, a in enumerate(reversed(run.attempts), 1) if _has_new_steps(a)), len(run.attempts))
    faults = [a for a in run.attempts[-since:] if a.failure is FailureClass.SERVICE_FAULT]
    same = [
        a
        for a in faults
        if a.failed_in == last.failed_in and a.failure_reason == last.failure_reason and a.failed_in
    ]
    return len(faults) > MOST_SERVICE_FAULTS or len(same) > 1


def _has_new_steps(attempt: Attempt) -> bool:
    """Whether a newer checkpoint was seen during it.

    An estimate by training time is not enough: a script that saves nothing would train for its fault for ever.
    """
    return attempt.step_after is not None and attempt.step_after > (attempt.step_before or 0)


def pause_left(run: Run, last: Attempt, answer: Response, now: datetime) -> float:
    """Seconds until the next start may come; a pause never outlasts the last safe moment for Spot."""
    # A wait that ran out was a pause itself.
    since = last.asked_at if last.failure is FailureClass.WAIT_LIMIT else last.ended_at or now
    until = since + timedelta(seconds=_pause_seconds(run, last, answer, since))
    if last.rung.market is Market.SPOT and not ladder.ladder_of(run).meanwhile_seconds:
        until = min(until, ladder.spot_leave_at(run, last.rung, ladder.repair_rung(run, now)))
    return (until - now).total_seconds()


def stop_pause_seconds(attempt: Attempt) -> float:
    """How long after a StopTrainingJob that AWS refused it is called again."""
    return _growing(attempt.stop_faults)


def ask_pause_left(run: Run, attempt: Attempt, now: datetime) -> float:
    """Seconds until CreateTrainingJob is called again for an attempt that is in doubt.

    The pause never outlasts the last safe moment for Spot: then the same attempt asks for on-demand.
    """
    calls = attempt.doubt.calls if attempt.doubt else 0
    pause = LONG_DOUBT_PAUSE_SECONDS if calls > LONG_DOUBT_CALLS else _growing(calls)
    until = attempt.last_asked_at + timedelta(seconds=_jittered(pause, attempt))
    if attempt.rung.market is Market.SPOT:
        until = min(until, ladder.spot_leave_at(run, attempt.rung, ladder.repair_rung(run, now)))
    return (until - now).total_seconds()


def _growing(faults: int) -> float:
    return float(REFUSED_CALL_PAUSE_SECONDS[min(max(faults, 1), len(REFUSED_CALL_PAUSE_SECONDS)) - 1])


def _jittered(longest: float, attempt: Attempt) -> float:
    # Jitter without randomness, so that the decision stays pure: half to whole, by the training job's name.
    return longest * (0.5 + zlib.crc32(attempt.training_job_name.encode()) % 1000 / 2000)


def _pause_seconds(run: Run, last: Attempt, answer: Response, since: datetime) -> float:
    if answer is Response.BACK_OFF:
        return _jittered(_growing(_trailing(run, frozenset({FailureClass.THROTTLED}))), last)
    if answer is Response.RETRY:
        return SERVICE_FAULT_PAUSE_SECONDS
    if last.failure in NO_MACHINE and (last.failure is not FailureClass.WAIT_LIMIT or last.ended_waiting):
        return _capacity_pause_seconds(run, last, since)
    return 0


def _capacity_pause_seconds(run: Run, last: Attempt, since: datetime) -> float:
    """After an attempt that had no machine: a pause after each round of the ladder's types."""
    rungs = ladder.ladder_of(run)
    if last.rung.market is Market.ON_DEMAND and rungs.is_spots_turn:
        return 0  # Spot is asked in the pause
    if last.rung.market is Market.SPOT and rungs.meanwhile_seconds:
        return rungs.meanwhile_seconds
    rounds, rest = divmod(_trailing(run, NO_MACHINE), len(rungs.eligible(last.rung.market)) or 1)
    pause = 0 if rest else CAPACITY_PAUSE_SECONDS[min(rounds, len(CAPACITY_PAUSE_SECONDS)) - 1]
    if len(run.attempts) < SPREAD_FROM:
        return pause
    if last.rung.market is Market.ON_DEMAND:
        return rungs.spread(pause, len(run.attempts))
    left = (ON_DEMAND_FROM if rungs.eligible(Market.ON_DEMAND) else MOST_ATTEMPTS) - len(run.attempts)
    if left <= 0:
        return 0
    leave_at = ladder.spot_leave_at(run, last.rung, ladder.repair_rung(run, since))
    return max(pause, (leave_at - since).total_seconds() / left)


def _trailing(run: Run, failures: frozenset[FailureClass]) -> int:
    """How many of the newest attempts on end failed so, back to one that trained; the newest is the first."""
    row = 1
    for attempt, newer in zip(run.attempts[-2::-1], run.attempts[::-1], strict=False):
        if attempt.failure not in failures or newer.trained_seconds > 0:
            break
        row += 1
    return row
