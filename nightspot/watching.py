"""Decides whether an open training job is left alone, and when to look at it again."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightspot import backoff, estimates, ladder, steps, words
from nightspot.costs import spent_usd
from nightspot.durations import format_duration
from nightspot.job import Market, Policy
from nightspot.run import Action, Attempt, AttemptState, Run, Rung, Step, StopCall, evolve

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
    says = f"SageMaker has not answered since {words.clock(since)}. {step.because}"
    if step.action is not Action.WATCH or step.wait_seconds is None:
        return evolve(step, because=says)
    return evolve(step, because=says, wait_seconds=min(step.wait_seconds, BLIND_LOOK_SECONDS))


def why_it_must_end(run: Run) -> str | None:
    """Why nothing more is wanted of the run, in a sentence; None where nobody wants its end."""
    if run.replaced_by is not None:
        return f"Run {run.replaced_by} of the same job takes this one's place."
    return None if run.stop_asked_by is None else words.stop_asked(run)


def _while_open(run: Run, attempt: Attempt, now: datetime) -> Step:
    if attempt.state is AttemptState.STOPPING or attempt.stop_requested_at is not None:
        return _while_stopping(run, attempt, now)
    wanted = why_it_must_end(run)
    if wanted is not None and attempt.state is AttemptState.ASKED:
        # The refusal to stop what is not there would be taken for the end of what may still come.
        because = f"{wanted} SageMaker does not show its training job yet."
        return steps.watch(run, attempt, now, UNSEEN_LOOK_SECONDS, because)
    if wanted is not None:
        return steps.stop(run, attempt, now, wanted)
    return _within_budget(run, attempt, now, _by_state(run, attempt, now))


def _by_state(run: Run, attempt: Attempt, now: datetime) -> Step:
    if attempt.state is AttemptState.ASKED:
        return steps.watch(
            run, attempt, now, UNSEEN_LOOK_SECONDS, "SageMaker does not show the training job yet."
        )
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
    broken = f"{attempt.rung.label} did not go on from its checkpoint"
    on_demand_seconds = run.stop_seconds + ladder.seconds_needed(run, repair)
    in_time = now + timedelta(seconds=on_demand_seconds) <= run.deadline
    if attempt.state is not AttemptState.TRAINING:
        return steps.stop(run, attempt, now, f"{broken} and has no machine; {repair.label} takes over.")
    if in_time:
        because = f"{broken}; {repair.label} is still in time, from the beginning."
        return steps.stop(run, attempt, now, because)
    left = estimates.running_left_seconds(run, attempt, now)
    finish = now + timedelta(seconds=left)
    because = (
        f"{broken}, and {repair.label} would not be in time; it should finish by {words.clock(finish)} and is "
        "left alone."
    )
    return steps.watch(run, attempt, now, LONGEST_LOOK_SECONDS, because, late=finish > run.deadline)


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
        because = (
            f"{attempt.rung.label}{words.progress(run)}: ${spent_usd(run):,.2f} of {words.budget(run)} "
            f"are spent, and the rest pays for no more than the stop."
        )
        return steps.stop(run, attempt, now, because)
    return evolve(step, wait_seconds=min(step.wait_seconds, int(paid)))


def _while_stopping(run: Run, attempt: Attempt, now: datetime) -> Step:
    """A stop is never given up: what it waits for is another machine, and it may cost the deadline."""
    asked = attempt.stop_requested_at
    late = _stop_makes_late(run, now)
    if attempt.state is AttemptState.STOPPING or asked is None:
        because = "The training job is stopping."
        return steps.watch(run, attempt, now, steps.STOPPING_LOOK_SECONDS, because, late=late)
    waited = (now - asked).total_seconds()
    if attempt.stop_call is StopCall.REFUSED:
        pause = backoff.stop_pause_seconds(attempt)
        times = "once" if attempt.stop_faults == 1 else f"{attempt.stop_faults} times"
        said = f"AWS has refused {times} to stop the training job"
    else:
        pause = float(steps.STOPPING_LOOK_SECONDS)
        said = (
            f"The stop asked for at {words.clock(asked)} has not taken effect after {format_duration(waited)}"
        )
    if pause - waited >= steps.LEAST_SECONDS:
        because = f"{said}; asking again in {format_duration(pause - waited)}."
        return steps.watch(run, attempt, now, pause - waited, because, late=late)
    return steps.stop(run, attempt, now, f"{said}; asking again.", late=late)


def _stop_makes_late(run: Run, now: datetime) -> bool:
    """Whether the run is late already because the training job that it stops is not over yet."""
    repair = None if why_it_must_end(run) else ladder.repair_rung(run, now)
    return repair is not None and (run.deadline - now).total_seconds() < ladder.seconds_needed(run, repair)


def _while_spot_waits(run: Run, attempt: Attempt, now: datetime) -> Step:
    waited = words.waited(attempt, now)
    state = f"Spot has waited {format_duration(waited)}"
    if attempt.state is AttemptState.STARTING:
        state = "Spot is starting"
    elif attempt.interruptions:
        state = f"Spot took the machine back {format_duration(waited)} ago"
    repair = ladder.repair_rung(run, now)
    leave_at = ladder.leave_at(run, attempt, repair)
    why = _why_leave(run, attempt, now, leave_at, repair)
    left = (leave_at - now).total_seconds()
    if left < steps.LEAST_SECONDS:
        return steps.stop(run, attempt, now, f"{state}; {why}.")
    look_seconds = min(left, LONGEST_LOOK_SECONDS)
    others = [r for r in ladder.eligible(run, Market.SPOT) if r.key != attempt.rung.key]
    following = others if repair is None else [*others, repair]
    if ladder.is_worn_out(run, attempt) and following and (others or ladder.is_in_vain(run, attempt)):
        another = _below(run, attempt, others) if others else following[0]
        because = (
            f"{attempt.rung.label} took the machine back {attempt.fruitless_interruptions} times without a new "
            f"checkpoint{words.progress(run)}; {another.label} gets its turn."
        )
        return steps.stop(run, attempt, now, because)
    # In a hurry even the only type has its patience, and then on-demand its turn.
    turns = others or (following if run.policy is Policy.EAGER else [])
    if turns and attempt.state is AttemptState.WAITING:
        patience = attempt.rung.patience_seconds - waited
        if patience < steps.LEAST_SECONDS:
            another = _below(run, attempt, others) if others else turns[0]
            because = f"{state} ({attempt.rung.instance_type}); {another.label} may have capacity."
            return steps.stop(run, attempt, now, because)
        look_seconds = min(look_seconds, patience)
    return steps.watch(run, attempt, now, look_seconds, f"{state}; {why}.")


def _below(run: Run, attempt: Attempt, others: list[Rung]) -> Rung:
    """The one of `others` whose turn it is after the rung of `attempt`."""
    order = [rung.key for rung in run.rungs_of(attempt.rung.market)]
    own = order.index(attempt.rung.key)
    return min(others, key=lambda rung: (order.index(rung.key) - own) % len(order))


def _why_leave(run: Run, attempt: Attempt, now: datetime, leave_at: datetime, repair: Rung | None) -> str:
    if repair is None:
        return f"it must start by {words.clock(leave_at)} to finish by {words.clock(run.deadline)}"
    must_start = run.deadline - timedelta(seconds=ladder.seconds_needed(run, repair))
    why = f"on-demand must start by {words.clock(must_start)} to finish by {words.clock(run.deadline)}"
    if now < leave_at and attempt.state is AttemptState.WAITING:
        return f"it may be waited for until {words.clock(leave_at)}: {why}"
    return why


def _while_spot_trains(run: Run, attempt: Attempt, now: datetime) -> Step:
    left = estimates.running_left_seconds(run, attempt, now)
    finish = now + timedelta(seconds=left)
    says = f"{attempt.rung.label} is training{words.progress(run)} and should finish by {words.clock(finish)}"
    repair = ladder.repair_rung(run, now)
    if repair is None:
        return steps.watch(run, attempt, now, LONGEST_LOOK_SECONDS, f"{says}.", late=finish > run.deadline)
    repair_seconds = run.stop_seconds + ladder.seconds_needed(run, repair)
    slack = (run.deadline - now).total_seconds() - repair_seconds
    if finish > run.deadline:
        return _while_spot_is_too_slow(run, attempt, now, says, slack)
    spare = slack - estimates.lost_work_seconds(run, attempt.rung)
    look_seconds = min(max(spare / 2, SHORTEST_LOOK_SECONDS), LONGEST_LOOK_SECONDS)
    return steps.watch(
        run, attempt, now, look_seconds, f"{says}, before {words.clock(run.deadline)}; left alone."
    )


def _while_spot_is_too_slow(run: Run, attempt: Attempt, now: datetime, says: str, slack: float) -> Step:
    """`slack`: seconds for which on-demand, from the durable checkpoint, would still be in time."""
    if slack < 0:
        return steps.watch(
            run, attempt, now, LONGEST_LOOK_SECONDS, f"{says}, late; nothing is faster.", late=True
        )
    if slack > LAST_SAFE_MOMENT_SECONDS:
        because = f"{says}, after the deadline; on-demand can still take over for {format_duration(slack)}."
        look_seconds = min(slack - LAST_SAFE_MOMENT_SECONDS / 2, LONGEST_LOOK_SECONDS)
        return steps.watch(run, attempt, now, look_seconds, because)
    late = f"after the deadline {words.clock(run.deadline)}"
    because = f"{says}, {late}; on-demand is still in time from the checkpoint."
    return steps.stop(run, attempt, now, because)


def _while_on_demand(run: Run, attempt: Attempt, now: datetime) -> Step:
    left = estimates.running_left_seconds(run, attempt, now)
    if attempt.state is not AttemptState.TRAINING:
        left += attempt.rung.change_over_seconds
    finish = now + timedelta(seconds=left)
    late = finish > run.deadline
    doing = "is training" if attempt.state is AttemptState.TRAINING else "is starting"
    look_seconds = float(LONGEST_LOOK_SECONDS)
    if attempt.state is AttemptState.WAITING:
        waited = words.waited(attempt, now)
        doing = f"has waited {format_duration(waited)} for capacity"
        others = [r for r in ladder.eligible(run, Market.ON_DEMAND) if r.key != attempt.rung.key]
        if others and attempt.rung.patience_seconds - waited < steps.LEAST_SECONDS:
            another = _below(run, attempt, others)
            because = f"{attempt.rung.label} {doing}; {another.instance_type} may have some."
            return steps.stop(run, attempt, now, because)
        if now >= ladder.give_up_at(run):
            because = (
                f"{attempt.rung.label} {doing}, long past {words.clock(run.deadline)}; the run gives up."
            )
            return steps.stop(run, attempt, now, because)
        patience = attempt.rung.patience_seconds - waited if others else PENDING_LOOK_SECONDS
        look_seconds = min(patience, LONGEST_LOOK_SECONDS)
    doing += f"{words.progress(run)}; it should finish by {words.clock(finish)}"
    because = f"{attempt.rung.label} {doing}, {'after' if late else 'before'} {words.clock(run.deadline)}."
    return steps.watch(run, attempt, now, look_seconds, because, late=late)
