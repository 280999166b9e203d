"""Decides the next step of a run: wait for Spot while a failed Spot start can still be repaired in time.

The rule (greedy with a safety net, Wu et al., "Can't Be Late", NSDI'24, with SageMaker's job as the unit):
let R be the time left, W the upper estimate of the work left from the durable checkpoint, d the change-over onto a
rung, l the work that a reclaim can take. Spot is asked for, and waited for, while
R >= W + l + d_spot + stop + d_on_demand; past that moment on-demand takes over from the checkpoint.
A Spot job that trains at full pace is left alone, because its slack does not shrink.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from nightspot.decide import backoff, ladder, limits, steps, watching
from nightspot.failures.classify import Answer
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Run, Rung, Step, evolve
from nightspot.run.reasons import Figures, Reason

MOST_ATTEMPTS = 90  # keeps the ledger below Step Functions' 256 KiB of variables
# While the run that this one replaces is still ending: the longer that takes, the less is a minute.
TURN_PAUSE_SECONDS, LONGEST_TURN_PAUSE_SECONDS = 60, 300
# Failures of CreateTrainingJob that leave it in doubt whether the training job exists, and that may pass.
_ASK_AGAIN = frozenset({FailureClass.SERVICE_FAULT, FailureClass.THROTTLED})
# A training job shows itself within a minute. One that does not is asked for again every so often, for so long:
# what became of the call may have been lost with the execution that made it.
SILENT_SECONDS = 5 * 60
MOST_SILENT_SECONDS = 30 * 60
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
    if attempt is not None and _may_be_asked_again(attempt, now) and not watching.why_it_must_end(run):
        return _ask_again(run, attempt, now)
    if attempt is not None:
        return watching.while_open(run, attempt, now)
    last = run.last_attempt
    if last is not None and last.failure is None:
        name = last.training_job_name
        return _finish(run, now, Outcome.SUCCEEDED, Reason.COMPLETED, {"training_job_name": name})
    if last is None and run.refused_because is not None:
        # Nobody's wish undoes what the plan has found.
        return steps.finish(run, now, Outcome.REFUSED, Reason.REFUSED, {"text": run.refused_because})
    wanted = watching.why_it_must_end(run)
    if wanted is not None:
        return _finish(run, now, Outcome.STOPPED, *wanted)
    if last is None or last.failure is None:
        return _first(run, now)
    return _after_failure(run, last, last.failure, now)


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
    remaining = backoff.ask_pause_left(run, attempt, now)
    if remaining >= steps.LEAST_SECONDS:
        figures = {**said, "wait_seconds": remaining}
        return steps.watch(run, attempt, now, remaining, Reason.ASK_AGAIN, figures)
    if now < ladder.give_up_at(run):
        others = tuple(a for a in run.attempts if a.number != attempt.number)
        step = _start_best(evolve(run, attempts=others), now, after=said)
        if step.action is Action.START:
            return step
    return steps.watch(run, attempt, now, watching.UNSEEN_LOOK_SECONDS, Reason.IN_DOUBT, said)


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
    if answer is Answer.FINISH or limits.is_paid_time_used_up(run):
        return _end(run, last, failure, answer, now)
    if len(run.attempts) >= MOST_ATTEMPTS:
        figures = {**said, "attempts": len(run.attempts)}
        return _finish(run, now, Outcome.FAILED, Reason.TOO_MANY_ATTEMPTS, figures)
    if now >= ladder.give_up_at(run):
        return _finish(run, now, Outcome.FAILED, Reason.GAVE_UP, {**said, **steps.deadline(run)})
    if answer is Answer.RETRY and backoff.is_final_fault(run, last):
        return _finish(run, now, Outcome.FAILED, Reason.REPEATED_FAULT, said)
    remaining = backoff.pause_left(run, last, answer, now)
    if remaining >= steps.LEAST_SECONDS:
        return steps.pause(run, now, remaining, Reason.BACK_OFF, {**said, "wait_seconds": remaining})
    return _start_best(run, now, after=steps.ended(last, failure.value))


def _end(run: Run, last: Attempt, failure: FailureClass, answer: Answer, now: datetime) -> Step:
    """The end of a run whose failure is no matter of the market, or whose paid time is used up."""
    said = {**steps.ended(last, failure.value, with_text=True), **steps.progress(run)}
    outcome = Outcome.STOPPED if failure is FailureClass.STOPPED_BY_PERSON else Outcome.FAILED
    is_limit = failure is FailureClass.RUNTIME_LIMIT or answer is not Answer.FINISH
    if is_limit and limits.is_paid_time_used_up(run):
        figures = {**said, "limit_seconds": limits.paid_cap_seconds(run) or 0}
        return _finish(run, now, outcome, Reason.PAID_TIME_USED_UP, figures)
    limit_seconds = last.max_runtime_seconds or last.trained_seconds
    figures = {**said, "limit_seconds": limit_seconds} if is_limit else said
    return _finish(run, now, outcome, _ENDS.get(failure, Reason.NOT_CAPACITY), figures)


def _start_best(run: Run, now: datetime, after: Figures) -> Step:
    """The start that is right at `now`; `after`: the figures of what it follows."""
    spot, repair = ladder.next_rung(run, Market.SPOT), ladder.repair_rung(run, now)
    if spot is not None and not (repair is not None and ladder.has_had_enough_of_spot(run)):
        leave_at = ladder.spot_leave_at(run, spot, repair)
        left = (leave_at - now).total_seconds()
        if left >= steps.LEAST_SECONDS:
            figures = {
                **after,
                **steps.work_left(run, now, repair or spot),
                "type": spot.instance_type,
                "leave_at": leave_at.isoformat(),
                **steps.over_budget(run, Market.SPOT),
            }
            look_seconds = min(watching.first_look_seconds(run, spot), left)
            return steps.start(run, now, spot, Reason.WAIT_FOR_SPOT, figures, look_seconds)
    if repair is None:
        return _give_up(run, now, after)
    work = steps.work_left(run, now, repair)
    late = (run.deadline - now).total_seconds() < ladder.seconds_needed(run, repair)
    figures = {
        **after,
        **work,
        "left_seconds": max(0.0, (run.deadline - now).total_seconds()),
        "on_demand_type": repair.instance_type,
        "is_late": late,
        **steps.deadline(run),
        **steps.over_budget(run, Market.ON_DEMAND),
        **steps.paid_time_short(run, repair),
    }
    look_seconds = watching.first_look_seconds(run, repair)
    return steps.start(run, now, repair, _why_on_demand(run, spot), figures, look_seconds, late=late)


def _why_on_demand(run: Run, spot: Rung | None) -> Reason:
    """Why on-demand is started, although a run prefers Spot. `spot`: the Spot rung whose turn it would be."""
    if not run.rungs_of(Market.SPOT) or run.policy is Policy.ON_DEMAND:
        return Reason.ON_DEMAND_ONLY
    if run.resume_is_broken:
        return Reason.RESUME_BROKEN
    if spot is None:
        is_worn = any(ladder.is_worn_out(run, attempt) for attempt in run.attempts)
        return Reason.THRASHING if is_worn else Reason.NO_SPOT_LEFT
    if ladder.has_had_enough_of_spot(run):
        return Reason.PATIENCE_OVER
    return Reason.TOO_SLOW if run.stop_reason is Reason.TOO_SLOW else Reason.LAST_SAFE_MOMENT


def _give_up(run: Run, now: datetime, after: Figures) -> Step:
    usable = [rung for rung in run.rungs if rung.key not in {out.rung.key for out in ladder.left_out(run)}]
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
