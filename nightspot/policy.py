"""Decides the next step of a run: wait for Spot while a failed Spot start can still be repaired in time.

The rule (greedy with a safety net, Wu et al., "Can't Be Late", NSDI'24, with SageMaker's job as the unit):
let R be the time left, W the upper estimate of the work left from the durable checkpoint, d the change-over onto a
rung, l the work that a reclaim can take. Spot is asked for, and waited for, while
R >= W + l + d_spot + stop + d_on_demand; past that moment on-demand takes over from the checkpoint.
A Spot job that trains at full pace is left alone, because its slack does not shrink.
"""

from __future__ import annotations

from datetime import datetime

from nightspot import backoff, ladder, limits, steps, watching, words
from nightspot.costs import spent_usd
from nightspot.durations import format_duration
from nightspot.failures import Answer
from nightspot.job import Fallback, Market
from nightspot.run import Action, Attempt, AttemptState, FailureClass, Outcome, Run, Step, evolve

MOST_ATTEMPTS = 90  # keeps the ledger below Step Functions' 256 KiB of variables
# While the run that this one replaces is still ending: the longer that takes, the less is a minute.
TURN_PAUSE_SECONDS, LONGEST_TURN_PAUSE_SECONDS = 60, 300
# Failures of CreateTrainingJob that leave it in doubt whether the training job exists, and that may pass.
_ASK_AGAIN = frozenset({FailureClass.SERVICE_FAULT, FailureClass.THROTTLED})
# A training job shows itself within a minute. One that does not is asked for again every so often, for so long:
# what became of the call may have been lost with the execution that made it.
SILENT_SECONDS = 5 * 60
MOST_SILENT_SECONDS = 30 * 60


def next_step(run: Run, now: datetime) -> Step:
    """The next step of `run` at `now` (aware UTC). Pure; a start's request is filled in by `requests`."""
    attempt = run.open_attempt
    if attempt is not None and _may_be_asked_again(attempt, now) and not watching.why_it_must_end(run):
        return _ask_again(run, attempt, now)
    if attempt is not None:
        return watching.while_open(run, attempt, now)
    last = run.last_attempt
    if last is not None and last.failure is None:
        return _finish(run, now, Outcome.SUCCEEDED, f"Training job {last.training_job_name} has completed.")
    if last is None and run.refused_because is not None:
        # Nobody's wish undoes what the plan has found.
        return steps.finish(run, now, Outcome.REFUSED, run.refused_because)
    if run.replaced_by is not None:
        because = f"Run {run.replaced_by} of the same job takes this one's place."
        return _finish(run, now, Outcome.STOPPED, because)
    if run.stop_asked_by is not None:
        return _finish(run, now, Outcome.STOPPED, words.stop_asked(run))
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
    if attempt.doubt is None:
        said = f"SageMaker does not show {attempt.training_job_name}"
    else:
        what = attempt.doubt.failure.value.replace("_", " ")
        said = f"SageMaker did not take the request for {attempt.training_job_name} ({what})"
    remaining = backoff.ask_pause_left(run, attempt, now)
    if remaining >= steps.LEAST_SECONDS:
        because = f"{said}; asking again in {format_duration(remaining)}, under the same name."
        return steps.watch(run, attempt, now, remaining, because)
    if now < ladder.give_up_at(run):
        others = tuple(a for a in run.attempts if a.number != attempt.number)
        step = _start_best(evolve(run, attempts=others), now, after=said)
        if step.action is Action.START:
            return step
    because = f"{said}, and it is asked for no more; it may still show itself."
    return steps.watch(run, attempt, now, watching.UNSEEN_LOOK_SECONDS, because)


def _first(run: Run, now: datetime) -> Step:
    if run.waits_for_run is not None:
        because = f"Run {run.waits_for_run} of the same job is ending; this one takes its place."
        waited = (now - run.started_at).total_seconds()
        seconds = min(max(waited / 5, TURN_PAUSE_SECONDS), LONGEST_TURN_PAUSE_SECONDS)
        return steps.pause(run, now, seconds, because)
    return _start_best(run, now)


def _finish(run: Run, now: datetime, outcome: Outcome, because: str) -> Step:
    return steps.finish(run, now, outcome, because + words.without(run))


def _after_failure(run: Run, last: Attempt, failure: FailureClass, now: datetime) -> Step:
    what = f"{last.rung.label} ended as {failure.value.replace('_', ' ')}"
    said = f"{what}: {last.failure_reason}" if last.failure_reason else what
    answer = limits.response_to(last, run)
    if answer is Answer.FINISH:
        outcome = Outcome.STOPPED if failure is FailureClass.STOPPED_BY_PERSON else Outcome.FAILED
        because = f"{said}; that is not the market's fault, nothing more is bought."
        if failure is FailureClass.RUNTIME_LIMIT:
            because = f"{said}; {words.time_used_up(run, last)}"
        return _finish(run, now, outcome, because)
    if limits.is_paid_time_used_up(run):
        return _finish(run, now, Outcome.FAILED, f"{said}; {words.paid_time_used_up(run)}")
    if len(run.attempts) >= MOST_ATTEMPTS:
        because = f"{said}; {len(run.attempts)} attempts are the most of a run."
        return _finish(run, now, Outcome.FAILED, because)
    if now >= ladder.give_up_at(run):
        because = f"{said}; it is long past {words.clock(run.deadline)}, nothing more is asked for."
        return _finish(run, now, Outcome.FAILED, because)
    if answer is Answer.RETRY and backoff.is_final_fault(run, last):
        return _finish(run, now, Outcome.FAILED, f"{said}; the same again would fail again.")
    remaining = backoff.pause_left(run, last, answer, now)
    if remaining >= steps.LEAST_SECONDS:
        because = f"{said}; asking again in {format_duration(remaining)}."
        return steps.pause(run, now, remaining, because)
    return _start_best(run, now, after=what)


def _start_best(run: Run, now: datetime, after: str = "") -> Step:
    left = (run.deadline - now).total_seconds()
    lead = f"{after}; " if after else ""
    spot, repair = ladder.next_rung(run, Market.SPOT), ladder.repair_rung(run, now)
    if spot is not None and not (repair is not None and ladder.has_had_enough_of_spot(run)):
        leave_at = ladder.spot_leave_at(run, spot, repair)
        if (leave_at - now).total_seconds() >= steps.LEAST_SECONDS:
            because = (
                f"{lead}{format_duration(left)} to the deadline, {words.work(run, repair or spot)}: "
                f"Spot {spot.instance_type} may be waited for until {words.clock(leave_at)}."
            )
            look_seconds = watching.first_look_seconds(run, spot)
            because += words.too_dear(run, Market.SPOT)
            return steps.start(run, now, spot, because, min(look_seconds, (leave_at - now).total_seconds()))
    rung = repair
    if rung is not None:
        late = left < ladder.seconds_needed(run, rung)
        promise = (
            f"finishes by {words.clock(run.deadline)}" if not late else "will be late, but nothing is faster"
        )
        because = (
            f"{lead}{format_duration(max(0.0, left))} to the deadline, {words.work(run, rung)}: "
            f"on-demand {rung.instance_type} {promise}."
        ) + words.too_dear(run, Market.ON_DEMAND)
        because += words.paid_time_short(run, rung)
        return steps.start(run, now, rung, because, watching.first_look_seconds(run, rung), late=late)
    return _give_up(run, now, lead)


def _give_up(run: Run, now: datetime, lead: str) -> Step:
    usable = [rung for rung in run.rungs if rung.key not in {out.rung.key for out in ladder.left_out(run)}]
    fits = [rung for rung in usable if ladder.within_budget(run, rung)]
    if not usable:
        return _finish(run, now, Outcome.FAILED, f"{lead}no rung of the ladder is left.")
    if not fits:
        spent = f"${spent_usd(run):,.2f} of {words.budget(run)}"
        because = f"{lead}{spent} are spent and no attempt's worst case fits into the rest."
        return _finish(run, now, Outcome.FAILED, because)
    if run.fallback is Fallback.NEVER:
        because = (
            f"{lead}Spot can no longer finish by {words.clock(run.deadline)} and the job forbids on-demand."
        )
        return _finish(run, now, Outcome.SKIPPED, because)
    if len(fits) < len(usable):
        because = f"{lead}{words.budget(run)} leaves no rung that is still in time."
        return _finish(run, now, Outcome.FAILED, because)
    return _finish(run, now, Outcome.FAILED, f"{lead}no rung of the ladder is left.")
