"""Which rung comes next, and until when a failed Spot start could still be repaired in time."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf

from nightspot.costs.account import hourly_usd, spent_usd
from nightspot.decide import limits
from nightspot.failures.classify import Answer
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.run import estimates
from nightspot.run.model import Attempt, AttemptState, LeftOut, Run, Rung

# This many interruptions in a row without a new checkpoint between them, and the next rung gets its turn.
MOST_FRUITLESS_INTERRUPTIONS = 3
# And on-demand its own, once they have used up so much machine time, over the work that is left.
VAIN_SHARE = 0.25
# A run that has nothing yet so long after its deadline asks for nothing more; tomorrow night is another run.
GIVE_UP_SECONDS = 24 * 3600


def left_out(run: Run) -> tuple[LeftOut, ...]:
    """The rungs that this run does without: of no use from the start, or refused for good since."""
    refused = (
        LeftOut(attempt.rung, f"{attempt.failure.value.replace('_', ' ')}, attempt {attempt.number}")
        for attempt in run.attempts
        if attempt.failure and limits.response_to(attempt, run) is Answer.WITHOUT_RUNG
    )
    return tuple({out.rung.key: out for out in (*refused, *run.left_out)}.values())


def eligible(run: Run, market: Market) -> tuple[Rung, ...]:
    """The rungs of `market` that this run may use now, best first."""
    rungs = run.rungs_of(market)
    if out := left_out(run):
        gone = {each.rung.key for each in out}
        rungs = tuple(rung for rung in rungs if rung.key not in gone)
    if run.budget_usd is not None:
        rungs = tuple(rung for rung in rungs if within_budget(run, rung))
    if market is Market.ON_DEMAND:
        return rungs
    worn = [attempt for attempt in run.attempts if is_worn_out(run, attempt)]
    if not worn:
        return rungs
    fresh = tuple(rung for rung in rungs if rung.key not in {attempt.rung.key for attempt in worn})
    if fresh or run.fallback is Fallback.NEVER:
        # Where nothing else may be bought, a market that only takes is still better than none.
        return fresh or rungs
    hopeless = {attempt.rung.key for attempt in worn if is_in_vain(run, attempt)}
    return tuple(rung for rung in rungs if rung.key not in hopeless)


def is_worn_out(run: Run, attempt: Attempt) -> bool:
    """True where the market took the machine back again and again before anything was saved, until something is.

    Then another Spot type gets its turn.
    """
    return attempt.fruitless_interruptions >= MOST_FRUITLESS_INTERRUPTIONS and not any(
        later.safe_point > attempt.safe_point for later in run.attempts[attempt.number :]
    )


def is_in_vain(run: Run, attempt: Attempt) -> bool:
    """True where a worn-out rung has used up so much machine time that on-demand, which costs more, gets its turn.

    A market that flickers costs a few starts, and waiting for it costs nothing; a script whose checkpoints are
    further apart than the market's lives pays for the same work again and again.
    """
    vain = attempt.trained_seconds - attempt.safe_seconds
    return is_worn_out(run, attempt) and vain >= VAIN_SHARE * estimates.work_left_seconds(run, attempt.rung)


def has_had_enough_of_spot(run: Run) -> bool:
    """True where the job's policy gives Spot no (further) turn, or where a reclaim would cost all the work."""
    if run.resume_is_broken:
        return True
    if run.policy is Policy.PATIENT:
        return False
    if run.policy is Policy.ON_DEMAND:
        return True
    tried = [attempt.rung.key for attempt in run.attempts if attempt.ended_waiting]
    return all(rung.key in tried for rung in eligible(run, Market.SPOT))


def too_dear(run: Run, market: Market) -> tuple[Rung, ...]:
    """The rungs of `market` that only the budget keeps this run from."""
    gone = {out.rung.key for out in left_out(run)}
    return tuple(r for r in run.rungs_of(market) if r.key not in gone and not within_budget(run, r))


def within_budget(run: Run, rung: Rung) -> bool:
    """True if the attempt's worst case fits into what is left of the run's budget.

    Spot never costs more than on-demand, so the on-demand price is its worst case. A promise about money cannot
    be kept without a price: with a budget, a rung of unknown price never fits. Work that reclaims make it repeat
    is not in it: `paid_seconds` ends an attempt before it costs more.
    """
    paid = paid_seconds(run, rung)
    return paid is None or estimates.work_left_seconds(run, rung) + rung.change_over_seconds <= paid


def paid_seconds(run: Run, rung: Rung) -> float | None:
    """How long the rest of the budget pays for a machine of `rung`, its stop included; None without a budget."""
    if run.budget_usd is None:
        return None
    price = hourly_usd(rung)
    if price is None:
        return 0.0
    left_usd = run.budget_usd - spent_usd(run)
    return (left_usd / price * 3600 if price else inf) - run.stop_seconds


def worst_usd(run: Run) -> float | None:
    """The most that this run may come to: its budget, or its whole work on its dearest rung. None: not known."""
    if run.budget_usd is not None:
        return run.budget_usd
    worst = [
        None if (price := hourly_usd(rung)) is None else seconds_needed(run, rung) / 3600 * price
        for rung in run.rungs
    ]
    return None if None in worst else spent_usd(run) + max(usd for usd in worst if usd is not None)


def next_rung(run: Run, market: Market) -> Rung | None:
    """The best rung; after one that yielded no machine, the one below it, wrapping round."""
    return next(iter(in_turn(run, market)), None)


def in_turn(run: Run, market: Market) -> tuple[Rung, ...]:
    """The rungs of `market` that this run may use, in the order in which it is their turn."""
    rungs = eligible(run, market)
    tried = [attempt for attempt in run.attempts if attempt.rung.market is market]
    if not tried or not _yielded_nothing(run, tried[-1]):
        return rungs
    ladder = [rung.key for rung in run.rungs_of(market)]
    first = ladder.index(tried[-1].rung.key) + 1
    if tried[-1].failure and limits.response_to(tried[-1], run) in {Answer.BACK_OFF, Answer.RETRY}:
        first -= 1  # nothing was learnt about capacity: the same again
    return tuple(sorted(rungs, key=lambda rung: (ladder.index(rung.key) - first) % len(ladder)))


def _yielded_nothing(run: Run, attempt: Attempt) -> bool:
    """No machine when it ended, or machines that were of no use."""
    return attempt.trained_seconds == 0 or attempt.ended_waiting or is_worn_out(run, attempt)


def repair_rung(run: Run, now: datetime) -> Rung | None:
    """The on-demand rung that a failed Spot start would be repaired with; None where that is not possible.

    The first in turn that would still be in time, because it is the one that the job's author likes best; where
    none would be, the one that is done first. After one that had no machine to give, the next gets its turn.
    """
    if run.fallback is Fallback.NEVER:
        return None
    rungs = in_turn(run, Market.ON_DEMAND)
    left = (run.deadline - now).total_seconds()
    in_time = (rung for rung in rungs if seconds_needed(run, rung) <= left)
    tried = [attempt for attempt in run.attempts if attempt.rung.market is Market.ON_DEMAND]
    if tried and _yielded_nothing(run, tried[-1]):
        return next(in_time, None) or next(iter(rungs), None)
    return next(in_time, None) or min(rungs, key=lambda rung: seconds_needed(run, rung), default=None)


def give_up_at(run: Run) -> datetime:
    """When a run without a model asks for nothing more."""
    return run.deadline + timedelta(seconds=max(GIVE_UP_SECONDS, 2 * run.work_upper_seconds))


def seconds_needed(run: Run, rung: Rung) -> float:
    """Upper estimate from asking for `rung` to the model, taken up from the durable checkpoint."""
    return estimates.work_left_seconds(run, rung) + rung.change_over_seconds


def spot_leave_at(run: Run, rung: Rung, repair: Rung | None, *, has_machine: bool = False) -> datetime:
    """The last safe moment to wait for Spot on `rung`.

    After it, a Spot start that is reclaimed just before its next checkpoint could no longer be repaired by
    `repair` before the deadline. A job that has its machine already has no start to wait for any more.
    """
    if repair is None:
        return run.deadline - timedelta(seconds=seconds_needed(run, rung))
    margin = run.stop_seconds + estimates.lost_work_seconds(run, rung)
    if not has_machine:
        margin += rung.change_over_seconds
    return run.deadline - timedelta(seconds=seconds_needed(run, repair) + margin)


def last_safe_at(run: Run, now: datetime, asked_for: Rung | None = None) -> datetime | None:
    """The last safe moment of the Spot job that `run` has open, or of `asked_for`, which it starts now.

    None where no Spot job is open that could still be left: on-demand, or stopping already.
    """
    attempt = run.open_attempt
    repair = repair_rung(run, now)
    if asked_for is not None:
        return spot_leave_at(run, asked_for, repair) if asked_for.market is Market.SPOT else None
    if attempt is None or attempt.rung.market is not Market.SPOT or attempt.state is AttemptState.STOPPING:
        return None
    if attempt.state is AttemptState.TRAINING:
        return spot_leave_at(run, attempt.rung, repair, has_machine=True)
    return leave_at(run, attempt, repair)


def leave_at(run: Run, attempt: Attempt, repair: Rung | None) -> datetime:
    """`spot_leave_at` for a Spot job that is waiting or starting.

    A machine that came back after the last safe moment, too soon after its reclaim for anybody to see the job wait,
    is no reason to stay: it could be reclaimed once more before its next checkpoint.
    """
    last_safe = spot_leave_at(run, attempt.rung, repair)
    came_at = attempt.state_since if attempt.state is AttemptState.STARTING else None
    if came_at is None or came_at > last_safe:
        return last_safe
    return spot_leave_at(run, attempt.rung, repair, has_machine=True)
