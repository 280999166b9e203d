"""Which rungs a run may ask for, and in which order; what the rule is told of a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import inf
from typing import Protocol

from nightspot.costs.account import hourly_usd, spent_usd
from nightspot.decide import limits
from nightspot.decide.rule import Situation, Terms
from nightspot.failures.classify import Response
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.run import estimates
from nightspot.run.model import MOST_WORK_SECONDS, AttemptState, LeftOut, Run, Rung
from nightspot.run.reasons import Reason

# This many interruptions in a row without a new checkpoint between them, and the next rung gets its turn.
MOST_FRUITLESS_INTERRUPTIONS = 3
# And on-demand its own, once they have used up so much machine time, over the work that is left.
VAIN_SHARE = 0.25
MOST_ATTEMPTS = 90  # keeps the ledger below Step Functions' 256 KiB of variables
# A run that wanders between types without capacity must not end for that. From so many attempts on a Spot type is
# waited for to its last safe moment, and what is asked for anew is spread over the time that is left.
SPREAD_FROM = 60
ON_DEMAND_FROM = 80  # the last ten are on-demand's
# How long to wait once a whole round of types had no capacity: after the first, second and each further one.
CAPACITY_PAUSE_SECONDS = (5 * 60, 10 * 60, 20 * 60)
SPREAD_SHARE = 0.1  # of the time in which a late run does not give up, between attempts that are spread
# What Spot may save at the most, where nobody knows what to expect. "Managed Spot Training in Amazon SageMaker AI",
# AWS documentation: "up to 90% over On-Demand Instances".
MOST_SPOT_DISCOUNT = 0.9
# A run that has nothing yet so long after its deadline asks for nothing more; tomorrow night is another run.
GIVE_UP_SECONDS = 24 * 3600


class Tried(estimates.Trained, Protocol):
    """An attempt, as far as turns depend on it."""

    @property
    def ended_waiting(self) -> bool: ...
    @property
    def fruitless_interruptions(self) -> int: ...
    @property
    def safe_point(self) -> float: ...
    @property
    def safe_seconds(self) -> float: ...


@dataclass(frozen=True)
class Ladder:
    """A run's rungs and what it has tried of them."""

    rungs: tuple[Rung, ...]  # all of them, best first in each market
    usable: tuple[Rung, ...]  # neither left out nor over budget
    tried: Sequence[Tried]  # oldest first
    work_seconds: float  # left, at speed 1
    policy: Policy = Policy.PATIENT
    may_fall_back: bool = True
    resume_is_broken: bool = False
    # Where the newest attempt failed in a way that teaches nothing about capacity.
    same_again: frozenset[Market] = frozenset()
    give_up_seconds: float = GIVE_UP_SECONDS

    @cached_property
    def worn_out(self) -> tuple[Tried, ...]:
        """The attempts whose market took the machine back again and again before anything was saved.

        Until something is. Then another Spot type gets its turn.
        """
        return tuple(
            attempt
            for number, attempt in enumerate(self.tried, 1)
            if attempt.fruitless_interruptions >= MOST_FRUITLESS_INTERRUPTIONS
            and not any(later.safe_point > attempt.safe_point for later in self.tried[number:])
        )

    def is_in_vain(self, attempt: Tried) -> bool:
        """True where a worn-out rung has used up so much machine time that on-demand gets its turn.

        A market that flickers costs a few starts, and waiting for it costs nothing; a script whose checkpoints are
        further apart than the market's lives pays for the same work again and again.
        """
        vain = attempt.trained_seconds - attempt.safe_seconds
        left = estimates.at_speed(self.work_seconds, attempt.rung.speed)
        return attempt in self.worn_out and vain >= VAIN_SHARE * left

    def eligible(self, market: Market) -> tuple[Rung, ...]:
        """The rungs of `market` that may be used now, best first."""
        rungs = tuple(rung for rung in self.usable if rung.market is market)
        if market is Market.SPOT and self._is_on_demands_alone:
            return ()
        if market is Market.ON_DEMAND or not self.worn_out:
            return rungs
        worn = {attempt.rung.key for attempt in self.worn_out}
        fresh = tuple(rung for rung in rungs if rung.key not in worn)
        if fresh or not self.may_fall_back:
            # Where nothing else may be bought, a market that only takes is still better than none.
            return fresh or rungs
        hopeless = {attempt.rung.key for attempt in self.worn_out if self.is_in_vain(attempt)}
        return tuple(rung for rung in rungs if rung.key not in hopeless)

    def in_turn(self, market: Market) -> tuple[Rung, ...]:
        """The same in the order of their turn: after one that yielded no machine the one below, wrapping round."""
        last = self._last(market)
        if last is None or not self._yielded_nothing(last):
            return self.eligible(market)
        return self._from(last.rung, self.eligible(market), own_first=market in self.same_again)

    def others(self, own: Rung) -> tuple[Rung, ...]:
        """What may be used instead of `own`, from the rung below it on."""
        if len(self.tried) >= (SPREAD_FROM if own.market is Market.SPOT else ON_DEMAND_FROM):
            return ()
        rungs = tuple(rung for rung in self.eligible(own.market) if rung.key != own.key)
        return self._from(own, rungs)

    def _from(self, own: Rung, rungs: tuple[Rung, ...], *, own_first: bool = False) -> tuple[Rung, ...]:
        if len(rungs) < 2:
            return rungs
        order = [rung.key for rung in self.rungs if rung.market is own.market]
        first = order.index(own.key) + (not own_first)
        return tuple(sorted(rungs, key=lambda rung: (order.index(rung.key) - first) % len(order)))

    @property
    def _is_on_demands_alone(self) -> bool:
        """Whether the attempts that are left are kept for on-demand, where there is any."""
        is_reserve = len(self.tried) >= ON_DEMAND_FROM and self.may_fall_back
        return is_reserve and any(rung.market is Market.ON_DEMAND for rung in self.usable)

    @property
    def _empty_rounds(self) -> tuple[int, bool]:
        """How often all on-demand types had no machine since anything trained, and whether that is the newest news.

        It is not while Spot has a job in between, or has just had one.
        """
        asked, newest = dict.fromkeys((rung.key for rung in self.eligible(Market.ON_DEMAND)), 0), set()
        if not asked or Market.ON_DEMAND in self.same_again:
            return 0, False
        has_seen_spot = False
        for age, attempt in enumerate(reversed(self.tried)):
            if attempt.rung.market is Market.SPOT:
                has_seen_spot = True
            if attempt.trained_seconds > 0 and not (age == 0 and has_seen_spot):
                break
            if attempt.rung.key in asked:
                asked[attempt.rung.key] += 1
                if not has_seen_spot:
                    newest.add(attempt.rung.key)
        return min(asked.values()), newest == asked.keys()

    @property
    def is_spots_turn(self) -> bool:
        """Whether a whole round of on-demand has just had no machine, so that Spot may be asked in its pause."""
        return self._empty_rounds[1] and self.meanwhile_seconds > 0 and bool(self.eligible(Market.SPOT))

    @property
    def meanwhile_seconds(self) -> float:
        """How long Spot is waited for, late or not, while no on-demand type has a machine; 0: one may have.

        Whoever has a machine first makes the model.
        """
        rounds, _ = self._empty_rounds
        if not rounds or self.policy is Policy.ON_DEMAND or self.resume_is_broken:
            return 0.0
        before = len(self.tried) - (self.tried[-1].rung.market is Market.SPOT)  # the job in between itself
        return self.spread(CAPACITY_PAUSE_SECONDS[min(rounds, len(CAPACITY_PAUSE_SECONDS)) - 1], before)

    def spread(self, pause_seconds: float, attempts: int) -> float:
        """The pause of a late run after so many attempts: longer, once few are left."""
        is_short = attempts >= SPREAD_FROM
        return max(pause_seconds, self.give_up_seconds * SPREAD_SHARE) if is_short else pause_seconds

    def _last(self, market: Market) -> Tried | None:
        return next((attempt for attempt in reversed(self.tried) if attempt.rung.market is market), None)

    def _yielded_nothing(self, attempt: Tried) -> bool:
        """No machine when it ended, or machines that were of no use."""
        return attempt.trained_seconds == 0 or attempt.ended_waiting or attempt in self.worn_out

    @property
    def spot_is_over(self) -> bool:
        """True where the job's policy gives Spot no (further) turn, or where a reclaim would cost all the work."""
        if self.resume_is_broken:
            return True
        if self.policy is Policy.PATIENT:
            return False
        if self.policy is Policy.ON_DEMAND:
            return True
        tried = [attempt.rung.key for attempt in self.tried if attempt.ended_waiting]
        return all(rung.key in tried for rung in self.eligible(Market.SPOT))

    def terms(
        self,
        *,
        stop_seconds: float,
        interval_seconds: float,
        was_too_slow: bool = False,
    ) -> Terms:
        """What the rule is told of it."""
        last = self._last(Market.ON_DEMAND)
        return Terms(
            spot=self.in_turn(Market.SPOT),
            on_demand=self.in_turn(Market.ON_DEMAND) if self.may_fall_back else (),
            policy=self.policy,
            stop_seconds=stop_seconds,
            interval_seconds=interval_seconds,
            give_up_seconds=self.give_up_seconds,
            may_fall_back=self.may_fall_back,
            has_spot=any(rung.market is Market.SPOT for rung in self.rungs),
            spot_is_over=self.spot_is_over,
            resume_is_broken=self.resume_is_broken,
            is_worn=bool(self.worn_out),
            was_too_slow=was_too_slow,
            next_on_demand=last is not None and self._yielded_nothing(last),
            meanwhile_seconds=self.meanwhile_seconds,
            is_spots_turn=self.is_spots_turn,
        )


def ladder_of(run: Run) -> Ladder:
    gone = {out.rung.key for out in left_out(run)}
    newest = {attempt.rung.market: attempt for attempt in run.attempts}
    return Ladder(
        rungs=run.rungs,
        usable=tuple(rung for rung in run.rungs if rung.key not in gone and within_budget(run, rung)),
        tried=run.attempts,
        work_seconds=estimates.work_seconds(run),
        policy=run.policy,
        may_fall_back=run.fallback is not Fallback.NEVER,
        resume_is_broken=run.resume_is_broken,
        give_up_seconds=give_up_seconds(run.work_upper_seconds),
        same_again=frozenset(
            market
            for market, attempt in newest.items()
            if attempt.failure and limits.response_to(attempt, run) in {Response.BACK_OFF, Response.RETRY}
        ),
    )


def situation_of(run: Run, now: datetime) -> Situation:
    """What the rule decides on: the ledger at `now` (aware UTC)."""
    ladder, attempt = ladder_of(run), run.open_attempt
    terms = ladder.terms(
        stop_seconds=run.stop_seconds,
        interval_seconds=estimates.interval_seconds(run),
        was_too_slow=run.stop_reason is Reason.TOO_SLOW,
    )
    left = (run.deadline - now).total_seconds()
    expected = estimates.expected_work_seconds(run)
    if attempt is None:
        return Situation(left, ladder.work_seconds, terms, expected_work_seconds=expected)
    return Situation(
        left,
        ladder.work_seconds,
        terms,
        rung=attempt.rung,
        state=attempt.state,
        age_seconds=attempt.seconds_in_state(now),
        running_left_seconds=estimates.running_left_seconds(run, attempt, now),
        machine_seconds=estimates.machine_seconds(run, attempt),
        checkpoint_in_seconds=estimates.checkpoint_in_seconds(run, attempt, now),
        others=ladder.others(attempt.rung),
        is_worn_out=attempt in ladder.worn_out,
        is_in_vain=ladder.is_in_vain(attempt),
        expected_work_seconds=expected,
    )


# --- what the run may use, and what it costs ----------------------------------------------------------------


def left_out(run: Run) -> tuple[LeftOut, ...]:
    """The rungs that this run does without: of no use from the start, or refused for good since."""
    refused = (
        LeftOut(attempt.rung, f"{attempt.failure.value.replace('_', ' ')}, attempt {attempt.number}")
        for attempt in run.attempts
        if attempt.failure and limits.response_to(attempt, run) is Response.WITHOUT_RUNG
    )
    return tuple({out.rung.key: out for out in (*refused, *run.left_out)}.values())


def too_dear(run: Run, market: Market) -> tuple[Rung, ...]:
    """The rungs of `market` that only the budget keeps this run from."""
    gone = {out.rung.key for out in left_out(run)}
    return tuple(r for r in run.rungs_of(market) if r.key not in gone and not within_budget(run, r))


def within_budget(run: Run, rung: Rung) -> bool:
    """True if the attempt's worst case fits into what is left of the run's budget.

    Spot never costs more than on-demand, so the on-demand price is its worst case. A promise about money cannot
    be kept without a price: with a budget, a rung of unknown price never fits. Work that reclaims make it repeat
    is not in it: `paid_seconds` ends an attempt before it costs more. While a Spot job is open, the question is
    what could be afforded once it is stopped.
    """
    paid = _paid_seconds(run, rung, spent_usd(run) - _discount_to_come_usd(run))
    return paid is None or seconds_needed(run, rung) <= paid


def paid_seconds(run: Run, rung: Rung) -> float | None:
    """How long the rest of the budget pays for a machine of `rung`, its stop included; None without a budget."""
    return _paid_seconds(run, rung, spent_usd(run))


def _paid_seconds(run: Run, rung: Rung, spent: float) -> float | None:
    if run.budget_usd is None:
        return None
    price = hourly_usd(rung)
    if price is None:
        return 0.0
    return ((run.budget_usd - spent) / price * 3600 if price else inf) - run.stop_seconds


def _discount_to_come_usd(run: Run) -> float:
    """What the bill of the open Spot job should be below the list price at which it counts until it has ended.

    So much is back before anything else is started, which is judged by the bill. A last safe moment that waited for
    the bill would come too late; one that is too early costs no more than another start.
    """
    attempt = run.open_attempt
    if attempt is None or attempt.rung.market is not Market.SPOT:
        return 0.0
    known = attempt.rung.spot_discount
    discount = MOST_SPOT_DISCOUNT if known is None else known
    return discount * attempt.trained_seconds / 3600 * (hourly_usd(attempt.rung) or 0.0)


def worst_usd(run: Run) -> float | None:
    """The most that this run may come to: its budget, or its whole work on its dearest rung. None: not known.

    What waits for its turn has no share of the month's budget yet, and spends nothing.
    """
    if run.waits_for_run is not None and run.month_budget_usd is not None:
        return spent_usd(run)
    if run.budget_usd is not None:
        return run.budget_usd
    worst = [
        None if (price := hourly_usd(rung)) is None else seconds_needed(run, rung) / 3600 * price
        for rung in run.rungs
    ]
    return None if None in worst else spent_usd(run) + max(usd for usd in worst if usd is not None)


# --- the rule's figures of a ledger -------------------------------------------------------------------------


def seconds_needed(run: Run, rung: Rung) -> float:
    """Upper estimate from asking for `rung` to the model, taken up from the durable checkpoint."""
    return estimates.work_left_seconds(run, rung) + rung.change_over_seconds


def next_rung(run: Run, market: Market) -> Rung | None:
    """The rung of `market` whose turn it is."""
    return next(iter(ladder_of(run).in_turn(market)), None)


def repair_rung(run: Run, now: datetime) -> Rung | None:
    return situation_of(run, now).repair()


def has_had_enough_of_spot(run: Run) -> bool:
    return ladder_of(run).spot_is_over


def give_up_seconds(work_upper_seconds: float) -> float:
    """How long after its deadline a run without a model asks for nothing more."""
    return max(GIVE_UP_SECONDS, 2 * work_upper_seconds)


def give_up_at(run: Run) -> datetime:
    return run.deadline + timedelta(seconds=give_up_seconds(run.work_upper_seconds))


def spot_leave_at(run: Run, rung: Rung, repair: Rung | None, *, has_machine: bool = False) -> datetime:
    situation = situation_of(run, run.started_at)
    return before_deadline(run, situation.leave_before_seconds(rung, repair, has_machine=has_machine))


def last_safe_at(run: Run, now: datetime, asked_for: Rung | None = None) -> datetime | None:
    """The last safe moment of the Spot job that `run` has open, or of `asked_for`, which it starts now.

    Of one that trains: when it is left because its slack shrinks, else until when Spot would be waited for, were
    its machine taken back now.
    None where no Spot job is open that could still be left: on-demand, or stopping already.
    """
    situation = situation_of(run, now)
    rung, state, repair = situation.rung, situation.state, situation.repair()
    if asked_for is not None:
        return spot_leave_at(run, asked_for, repair) if asked_for.market is Market.SPOT else None
    if rung is None or rung.market is not Market.SPOT or state is AttemptState.STOPPING:
        return None
    net = situation.net() if state is AttemptState.TRAINING else None
    if net is not None and situation.shrinks(net):
        left = min(situation.shrinks_until_seconds(net), MOST_WORK_SECONDS)
        return now + timedelta(seconds=max(0.0, left))
    return before_deadline(run, situation.job_leaves_before_seconds(rung, repair))


def before_deadline(run: Run, seconds: float) -> datetime:
    """The time so long before the deadline; dates end, and an estimate may not."""
    return run.deadline - timedelta(seconds=min(seconds, MOST_WORK_SECONDS))
