"""Decides whether an open training job is left alone, and when to look at it again."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightspot.decide import backoff, ladder, steps
from nightspot.job.markets import Market, Policy
from nightspot.run import estimates
from nightspot.run.model import Action, Attempt, AttemptState, Run, Rung, Step, StopCall, evolve
from nightspot.run.reasons import Figure, Figures, Reason

SHORTEST_LOOK_SECONDS = 15 * 60  # while training: an event may be lost
LONGEST_LOOK_SECONDS = 60 * 60
LAST_SAFE_MOMENT_SECONDS = 60  # how near to it a stop may come
UNSEEN_LOOK_SECONDS = 60
PENDING_LOOK_SECONDS = 30 * 60  # on-demand without a machine, where no other type is to be had
# While SageMaker does not answer, what it does not say may be the news that is waited for.
BLIND_LOOK_SECONDS = 60


def while_open(run: Run, attempt: Attempt, now: datetime) -> Step:
    """The next step while the training job of `attempt` is not over: stop or watch."""
    step = _while_open(run, attempt, now)
    return step if attempt.unseen_since is None else _while_blind(step, attempt.unseen_since)


def _while_blind(step: Step, since: datetime) -> Step:
    """`step`, decided on what was last seen, and soon looked at again."""
    step = steps.unseen(step, since)
    if step.action is not Action.WATCH or step.wait_seconds is None:
        return step
    return evolve(step, wait_seconds=min(step.wait_seconds, BLIND_LOOK_SECONDS))


def why_it_must_end(run: Run) -> tuple[Reason, Figures] | None:
    """Why nothing more is wanted of the run; None where nobody wants its end."""
    if run.replaced_by is not None:
        return Reason.REPLACED, {"other_run": run.replaced_by}
    return None if run.stop_asked_by is None else (Reason.STOP_REQUESTED, steps.asked_to_stop(run))


def _while_open(run: Run, attempt: Attempt, now: datetime) -> Step:
    if attempt.state is AttemptState.STOPPING or attempt.stop_requested_at is not None:
        return _while_stopping(run, attempt, now)
    wanted = why_it_must_end(run)
    if wanted is None:
        return _within_budget(run, attempt, now, _by_state(run, attempt, now))
    reason, figures = wanted
    if attempt.state is AttemptState.ASKED:
        # The refusal to stop what is not there would be taken for the end of what may still come.
        return steps.watch(run, attempt, now, UNSEEN_LOOK_SECONDS, reason, {**figures, "is_not_shown": True})
    return steps.stop(run, attempt, now, reason, figures)


def _by_state(run: Run, attempt: Attempt, now: datetime) -> Step:
    if attempt.state is AttemptState.ASKED:
        return steps.watch(run, attempt, now, UNSEEN_LOOK_SECONDS, Reason.NOT_SHOWN_YET, {})
    if attempt.rung.market is Market.ON_DEMAND:
        return _while_on_demand(run, attempt, now)
    repair = ladder.repair_rung(run, now)
    if run.resume_is_broken and repair is not None:
        return _while_nothing_is_safe(run, attempt, now, repair)
    if attempt.state is AttemptState.TRAINING:
        return _while_spot_trains(run, attempt, now)
    return _while_spot_waits(run, attempt, now)


def _while_nothing_is_safe(run: Run, attempt: Attempt, now: datetime, repair: Rung) -> Step:
    """On Spot, after a resume that failed: every reclaim costs all the work, so no saving is worth one."""
    on_demand_seconds = run.stop_seconds + ladder.seconds_needed(run, repair)
    in_time = now + timedelta(seconds=on_demand_seconds) <= run.deadline
    figures: Figures = {**_what(attempt), "next_rung": repair.label, "is_in_time": in_time}
    if attempt.state is not AttemptState.TRAINING or in_time:
        return steps.stop(run, attempt, now, Reason.RESUME_BROKEN, figures)
    finish = now + timedelta(seconds=estimates.running_left_seconds(run, attempt, now))
    figures = {**figures, "finish_at": finish.isoformat()}
    late = finish > run.deadline
    return steps.watch(run, attempt, now, LONGEST_LOOK_SECONDS, Reason.RESUME_BROKEN, figures, late=late)


def first_look_seconds(run: Run, rung: Rung) -> float:
    """How long after asking for `rung` to look again: sooner where another type may have capacity."""
    has_others = run.policy is Policy.EAGER or any(
        other.key != rung.key for other in ladder.eligible(run, rung.market)
    )
    look = float(min(rung.patience_seconds, LONGEST_LOOK_SECONDS) if has_others else LONGEST_LOOK_SECONDS)
    paid = ladder.paid_seconds(run, rung)
    return look if paid is None else min(look, paid)


def _within_budget(run: Run, attempt: Attempt, now: datetime, step: Step) -> Step:
    """`step`, but no machine is kept for longer than the budget pays for it, not even unseen."""
    paid = ladder.paid_seconds(run, attempt.rung)
    if paid is None or step.action is not Action.WATCH or step.wait_seconds is None:
        return step
    if paid < 1:
        figures = {**_what(attempt), **steps.progress(run), **steps.budget(run)}
        return steps.stop(run, attempt, now, Reason.BUDGET_USED_UP, figures)
    return evolve(step, wait_seconds=min(step.wait_seconds, int(paid)))


def _while_stopping(run: Run, attempt: Attempt, now: datetime) -> Step:
    """A stop is never given up: what it waits for is another machine, and it may cost the deadline."""
    asked = attempt.stop_requested_at
    late = _stop_makes_late(run, now)
    if attempt.state is AttemptState.STOPPING or asked is None:
        return steps.watch(run, attempt, now, steps.STOPPING_LOOK_SECONDS, Reason.STOPPING, {}, late=late)
    waited = (now - asked).total_seconds()
    figures: Figures
    if attempt.stop_call is StopCall.REFUSED:
        pause = backoff.stop_pause_seconds(attempt)
        reason, figures = Reason.STOP_REFUSED, {"refusals": attempt.stop_faults}
    else:
        pause = float(steps.STOPPING_LOOK_SECONDS)
        reason, figures = Reason.STOP_OVERDUE, {"asked_at": asked.isoformat(), "waited_seconds": waited}
    left = pause - waited
    if left >= steps.LEAST_SECONDS:
        return steps.watch(run, attempt, now, left, reason, {**figures, "wait_seconds": left}, late=late)
    return steps.stop(run, attempt, now, reason, figures, late=late)


def _stop_makes_late(run: Run, now: datetime) -> bool:
    """Whether the run is late already because the training job that it stops is not over yet."""
    repair = None if why_it_must_end(run) else ladder.repair_rung(run, now)
    return repair is not None and (run.deadline - now).total_seconds() < ladder.seconds_needed(run, repair)


def _while_spot_waits(run: Run, attempt: Attempt, now: datetime) -> Step:
    repair = ladder.repair_rung(run, now)
    leave_at = ladder.leave_at(run, attempt, repair)
    waits = {**_what(attempt), **_waited(attempt, now)}
    figures = {**waits, **_must_start(run, leave_at, repair)}
    left = (leave_at - now).total_seconds()
    if left < steps.LEAST_SECONDS:
        return steps.stop(run, attempt, now, Reason.LAST_SAFE_MOMENT, figures)
    look_seconds = min(left, LONGEST_LOOK_SECONDS)
    others = [r for r in ladder.eligible(run, Market.SPOT) if r.key != attempt.rung.key]
    following = others if repair is None else [*others, repair]
    if ladder.is_worn_out(run, attempt) and following and (others or ladder.is_in_vain(run, attempt)):
        another = _below(run, attempt, others) if others else following[0]
        worn: Figures = {
            **_what(attempt),
            **steps.progress(run),
            "interruptions": attempt.fruitless_interruptions,
            "next_rung": another.label,
        }
        return steps.stop(run, attempt, now, Reason.THRASHING, worn)
    # In a hurry even the only type has its patience, and then on-demand its turn.
    turns = others or (following if run.policy is Policy.EAGER else [])
    if turns and attempt.state is AttemptState.WAITING:
        patience = attempt.rung.patience_seconds - waited(attempt, now)
        if patience < steps.LEAST_SECONDS:
            another = _below(run, attempt, others) if others else turns[0]
            over = {**waits, "patience_seconds": attempt.rung.patience_seconds, "next_rung": another.label}
            return steps.stop(run, attempt, now, Reason.PATIENCE_OVER, over)
        look_seconds = min(look_seconds, patience)
    reason = Reason.STARTING if attempt.state is AttemptState.STARTING else Reason.WAITING
    return steps.watch(run, attempt, now, look_seconds, reason, figures)


def _below(run: Run, attempt: Attempt, others: list[Rung]) -> Rung:
    """The one of `others` whose turn it is after the rung of `attempt`."""
    order = [rung.key for rung in run.rungs_of(attempt.rung.market)]
    own = order.index(attempt.rung.key)
    return min(others, key=lambda rung: (order.index(rung.key) - own) % len(order))


def waited(attempt: Attempt, now: datetime) -> float:
    """Seconds that `attempt` has been in its state."""
    return (now - (attempt.state_since or attempt.asked_at)).total_seconds()


def _what(attempt: Attempt) -> dict[str, Figure]:
    """Where the training job stands, and on which rung."""
    return {
        "rung": attempt.rung.label,
        "type": attempt.rung.instance_type,
        "market": attempt.rung.market.value,
        "state": attempt.state.value,
    }


def _waited(attempt: Attempt, now: datetime) -> dict[str, Figure]:
    return {"waited_seconds": waited(attempt, now), "interruptions": attempt.interruptions}


def _must_start(run: Run, leave_at: datetime, repair: Rung | None) -> dict[str, Figure]:
    """The last safe moment, and when on-demand must start, which would be bought after it."""
    figures = {"leave_at": leave_at.isoformat(), **steps.deadline(run)}
    if repair is None:
        return figures
    must_start = run.deadline - timedelta(seconds=ladder.seconds_needed(run, repair))
    return {**figures, "must_start_at": must_start.isoformat()}


def _expected(run: Run, attempt: Attempt, finish: datetime) -> dict[str, Figure]:
    return {
        **_what(attempt),
        **steps.progress(run),
        "finish_at": finish.isoformat(),
        "is_late": finish > run.deadline,
        **steps.deadline(run),
    }


def _while_spot_trains(run: Run, attempt: Attempt, now: datetime) -> Step:
    finish = now + timedelta(seconds=estimates.running_left_seconds(run, attempt, now))
    late = finish > run.deadline
    repair = ladder.repair_rung(run, now)
    figures = {**_expected(run, attempt, finish), "has_fallback": repair is not None}
    if repair is None:
        reason = Reason.LATE if late else Reason.ON_TRACK
        return steps.watch(run, attempt, now, LONGEST_LOOK_SECONDS, reason, figures, late=late)
    repair_seconds = run.stop_seconds + ladder.seconds_needed(run, repair)
    slack = (run.deadline - now).total_seconds() - repair_seconds
    if late:
        return _while_spot_is_too_slow(run, attempt, now, {**figures, "slack_seconds": slack}, slack)
    spare = slack - estimates.lost_work_seconds(run, attempt.rung)
    look_seconds = min(max(spare / 2, SHORTEST_LOOK_SECONDS), LONGEST_LOOK_SECONDS)
    return steps.watch(run, attempt, now, look_seconds, Reason.ON_TRACK, figures)


def _while_spot_is_too_slow(
    run: Run, attempt: Attempt, now: datetime, figures: Figures, slack: float
) -> Step:
    """`slack`: seconds for which on-demand, from the durable checkpoint, would still be in time."""
    if slack < 0:
        return steps.watch(run, attempt, now, LONGEST_LOOK_SECONDS, Reason.LATE, figures, late=True)
    if slack > LAST_SAFE_MOMENT_SECONDS:
        look_seconds = min(slack - LAST_SAFE_MOMENT_SECONDS / 2, LONGEST_LOOK_SECONDS)
        return steps.watch(run, attempt, now, look_seconds, Reason.FALLING_BEHIND, figures)
    return steps.stop(run, attempt, now, Reason.TOO_SLOW, figures)


def _while_on_demand(run: Run, attempt: Attempt, now: datetime) -> Step:
    left = estimates.running_left_seconds(run, attempt, now)
    if attempt.state is not AttemptState.TRAINING:
        left += attempt.rung.change_over_seconds
    finish = now + timedelta(seconds=left)
    late = finish > run.deadline
    figures = _expected(run, attempt, finish)
    look_seconds = float(LONGEST_LOOK_SECONDS)
    if attempt.state is AttemptState.WAITING:
        figures |= _waited(attempt, now)
        others = [r for r in ladder.eligible(run, Market.ON_DEMAND) if r.key != attempt.rung.key]
        patience = attempt.rung.patience_seconds - waited(attempt, now)
        if others and patience < steps.LEAST_SECONDS:
            figures["next_type"] = _below(run, attempt, others).instance_type
            return steps.stop(run, attempt, now, Reason.PATIENCE_OVER, figures)
        if now >= ladder.give_up_at(run):
            return steps.stop(run, attempt, now, Reason.GAVE_UP_WAITING, figures)
        look_seconds = min(patience if others else PENDING_LOOK_SECONDS, LONGEST_LOOK_SECONDS)
    reason = Reason.LATE if late else Reason.ON_TRACK
    return steps.watch(run, attempt, now, look_seconds, reason, figures, late=late)
