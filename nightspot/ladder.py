"""Which rung comes next, and until when a failed Spot start could still be repaired in time."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightspot import estimates
from nightspot.costs import spent_usd
from nightspot.failures import ANSWERS, Answer
from nightspot.job import Fallback, Market
from nightspot.run import Attempt, AttemptState, Run, Rung


def eligible(run: Run, market: Market) -> tuple[Rung, ...]:
    """The rungs of `market` that this run may still use, best first."""
    gone = {
        attempt.rung.key
        for attempt in run.attempts
        if attempt.failure and ANSWERS[attempt.failure] is Answer.WITHOUT_RUNG
    }
    return tuple(r for r in run.rungs_of(market) if r.key not in gone and within_budget(run, r))


def within_budget(run: Run, rung: Rung) -> bool:
    """True if the attempt's worst case fits into what is left of the run's budget.

    Spot never costs more than on-demand, so the on-demand price is its worst case. A promise about money cannot
    be kept without a price: with a budget, a rung of unknown price never fits.
    """
    if run.budget_usd is None:
        return True
    if rung.usd_per_hour is None:
        return False
    seconds = estimates.work_left_seconds(run, rung) + rung.change_over_seconds
    worst_usd = seconds / 3600 * rung.usd_per_hour * rung.instance_count
    return spent_usd(run) + worst_usd <= run.budget_usd


def next_rung(run: Run, market: Market) -> Rung | None:
    """The best rung; after one that yielded no machine, the one below it, wrapping round."""
    rungs = eligible(run, market)
    if not rungs:
        return None
    tried = [attempt for attempt in run.attempts if attempt.rung.market is market]
    if not tried or tried[-1].trained_seconds > 0:
        return rungs[0]
    ladder = [rung.key for rung in run.rungs_of(market)]
    first = ladder.index(tried[-1].rung.key) + 1
    failure = tried[-1].failure
    if failure and ANSWERS[failure] in {Answer.BACK_OFF, Answer.RETRY}:
        first -= 1  # nothing was learnt about capacity: the same again
    return min(rungs, key=lambda rung: (ladder.index(rung.key) - first) % len(ladder))


def repair_rung(run: Run) -> Rung | None:
    """The on-demand rung that a failed Spot start would be repaired with; None where that is not possible."""
    return None if run.fallback is Fallback.NEVER else next_rung(run, Market.ON_DEMAND)


def seconds_needed(run: Run, rung: Rung) -> float:
    """Upper estimate from asking for `rung` to the model, taken up from the durable checkpoint."""
    return estimates.work_left_seconds(run, rung) + rung.change_over_seconds


def spot_leave_at(run: Run, rung: Rung, repair: Rung | None, *, has_machine: bool = False) -> datetime:
    """The last safe moment to wait for Spot on `rung`.

    After it, a Spot start that is reclaimed just before its next checkpoint could no longer be repaired by
    `repair` before the deadline. A job that has its machine already is only given up when on-demand itself
    would become late.
    """
    if repair is None:
        return run.deadline - timedelta(seconds=seconds_needed(run, rung))
    margin = float(estimates.STOP_SECONDS)
    if not has_machine:
        margin += rung.change_over_seconds + estimates.lost_work_seconds(run, rung)
    return run.deadline - timedelta(seconds=seconds_needed(run, repair) + margin)


def leave_at(run: Run, attempt: Attempt) -> datetime:
    """`spot_leave_at` for a Spot job that is waiting or starting.

    A machine that came back after the last safe moment, too soon after its reclaim for anybody to see the job wait,
    is no reason to stay: it could be reclaimed once more before its next checkpoint.
    """
    repair = repair_rung(run)
    last_safe = spot_leave_at(run, attempt.rung, repair)
    came_at = attempt.state_since if attempt.state is AttemptState.STARTING else None
    if came_at is None or came_at > last_safe:
        return last_safe
    return spot_leave_at(run, attempt.rung, repair, has_machine=True)
