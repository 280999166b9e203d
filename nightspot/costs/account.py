"""What attempts and their run cost, what came of it, and what it saved against on-demand alone.

SageMaker's `BillableTimeInSeconds` is already discounted for Spot, so an attempt costs its billable hours times
the on-demand price times the number of instances; a Spot price never enters. Source: "Managed Spot Training in
Amazon SageMaker AI", AWS documentation. docs/costs.md explains every figure.

A Savings Plan's commitment is paid whether it is used or not. So where one may cover the work, the account is made
twice: as if the plan had no room, with every on-demand hour at its list price, and as if it were idle, with every
on-demand hour at the least that it adds to the bill (docs/costs.md, "Savings Plans"). The one in which less was
saved counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import fsum

from nightspot.costs.lost_work import (
    Evidence,
    KeptWork,
    delivered_step,
    kept_work_of,
    lacks_training_time,
)
from nightspot.job.markets import Market
from nightspot.run import estimates
from nightspot.run.model import MOST_WORK_SECONDS, Attempt, Outcome, Run, Rung, evolve

OnDemandPrice = Callable[[Rung], float | None]
"""(rung) -> USD for an hour of all its instances bought on-demand; None: not known."""


class Missing(StrEnum):
    """A figure without which what was saved cannot be told."""

    OUTCOME = "outcome"  # the run is not over
    BILLABLE_SECONDS = "billable_seconds"  # SageMaker's BillableTimeInSeconds
    USD_PER_HOUR = "usd_per_hour"  # the price of what an attempt ran on
    ON_DEMAND_USD_PER_HOUR = "on_demand_usd_per_hour"  # the price of what on-demand alone would have run on
    WORK_SECONDS = "work_seconds"  # how much training the model took, see `lost_work`


@dataclass(frozen=True)
class AttemptAccount:
    """What one attempt took and gave. None: not known. Nothing but `saved_usd` is ever negative."""

    number: int
    interruptions: int
    waited_seconds: float  # without a machine: costs nothing
    trained_seconds: float | None  # with a machine, its start-ups included, as SageMaker counts
    starting_seconds: float | None  # of them before and between training: image, data, checkpoint
    restarting_seconds: float | None  # of those, all beyond the one start-up that any night needs
    repeated_seconds: float | None  # trained in vain: done again later, or never delivered
    repeated_evidence: Evidence | None
    billable_seconds: float | None
    cost_usd: float | None
    on_demand_cost_usd: float | None  # what its share of the model would have cost on-demand
    saved_usd: float | None
    missing: tuple[Missing, ...]  # what `saved_usd` lacks

    @property
    def lost_seconds(self) -> float | None:
        """Machine time that interruptions and changes of machine took: repeated work, and starting again."""
        return _total((self.repeated_seconds, self.restarting_seconds))


@dataclass(frozen=True)
class Account:
    """The sums of a run over all its attempts, failed attempts included.

    None: not known, because one attempt's figure is missing. `…_at_least_…` sums what is known. A run without a
    model has delivered nothing: on-demand alone would have owed nothing for it, and all that it cost is a loss.
    """

    attempts: tuple[AttemptAccount, ...]
    cost_usd: float | None
    cost_at_least_usd: float
    on_demand_cost_usd: float | None  # the same work, uninterrupted, on `yardstick`
    yardstick: Rung | None  # None without a model
    yardstick_in_time: bool | None  # whether on-demand alone would have been, on it; None with it
    saved_usd: float | None  # below 0: it cost more than on-demand alone would have
    saved_at_most_usd: float | None  # more than `saved_usd` where it hangs on the room in a Savings Plan
    saved_percent: float | None  # of `on_demand_cost_usd`; None without a model too
    waited_seconds: float
    trained_seconds: float | None
    starting_seconds: float | None
    repeated_seconds: float | None
    repeated_evidence: Evidence | None  # estimated, where any attempt's is
    lost_seconds: float | None
    billable_seconds: float | None
    interruptions: int
    uses_plan_rate: bool  # a Savings Plan may have room for a type of its ladder
    plan_is_used_up: bool  # one covers such a type, and counts as none: other work used it up
    price_assumed: bool  # no price list stands behind a price that is in it
    missing: tuple[Missing, ...]  # what `saved_usd` lacks
    unpriced_attempts: tuple[int, ...]  # the numbers of the attempts whose cost is not known


# fact: sagemaker.spot.discount
def hourly_usd(rung: Rung) -> float | None:
    """On-demand list price of all instances of a rung for one hour."""
    return None if rung.usd_per_hour is None else rung.usd_per_hour * rung.instance_count


def least_hourly_usd(rung: Rung) -> float | None:
    """What all instances of a rung, bought on-demand, add to an hour's bill while Savings Plans are idle."""
    least = rung.least_usd_per_hour
    return hourly_usd(rung) if least is None else least * rung.instance_count


def attempt_cost_usd(attempt: Attempt, on_demand: OnDemandPrice = hourly_usd) -> float | None:
    """What SageMaker bills for the attempt, at list price unless `on_demand` says otherwise.

    0 where it never had a machine; None where it is not known. That a Savings Plan covers Spot is not documented: a
    Spot attempt is always at list price.
    """
    price_of = on_demand if attempt.rung.market is Market.ON_DEMAND else hourly_usd
    return _bill_usd(attempt, price_of(attempt.rung))


def lacks_bill(attempt: Attempt) -> bool:
    """Whether the attempt is to be billed, and SageMaker has not said (yet) for how long."""
    return attempt.billable_seconds is None and not _had_no_machine(attempt)


def spent_usd(run: Run) -> float:
    """An upper bound of what the run's attempts have cost so far, at list prices: what budgets count.

    An attempt without SageMaker's figure counts at the on-demand price for all it has trained.
    """
    total = 0.0
    for attempt in run.attempts:
        price = hourly_usd(attempt.rung)
        known = _bill_usd(attempt, price)
        total += attempt.trained_seconds / 3600 * (price or 0.0) if known is None else known
    return total


def needed_seconds(run: Run) -> float | None:
    """Training time at speed 1 of the work that is done, as the next nights are planned with: rather too much.

    From the steps (`delivered_step`) and their pace where progress is visible; else everything trained, repeated
    work included. None before anything trained, and where it was another run that trained the first part unseen.
    """
    paces = [
        (a.seconds_per_step * a.rung.speed, a.trained_seconds) for a in run.attempts if a.seconds_per_step
    ]
    weight = sum(trained for _, trained in paces)
    if run.progress is not None and weight:
        pace = sum(pace * trained for pace, trained in paces) / weight
        return min(MOST_WORK_SECONDS, delivered_step(run) * pace)
    if run.resume_from is not None:
        return None  # a part of the work was done by another run
    trained = sum(a.trained_seconds * a.rung.speed for a in run.attempts)
    return trained or None


def account(run: Run) -> Account:
    """The sums over all attempts, failed attempts included."""
    listed = _account(run, hourly_usd)
    if not any(_may_have_room(rung) for rung in _rungs_of(run)):
        return listed
    idle = _account(run, least_hourly_usd)
    if listed.saved_usd is None or idle.saved_usd is None:
        least = min(listed.cost_at_least_usd, idle.cost_at_least_usd)
        at_least = least if listed.cost_usd is None else listed.cost_usd
        return replace(listed, cost_at_least_usd=at_least, uses_plan_rate=True)
    lower, higher = (listed, idle) if listed.saved_usd <= idle.saved_usd else (idle, listed)
    return replace(lower, saved_at_most_usd=higher.saved_usd, uses_plan_rate=True)


def _rungs_of(run: Run) -> Iterable[Rung]:
    return (*run.rungs, *(attempt.rung for attempt in run.attempts))


def _may_have_room(rung: Rung) -> bool:
    """Whether a Savings Plan may pay for a part of it."""
    least, most = rung.least_usd_per_hour, rung.usd_per_hour
    return least is not None and most is not None and least < most


def _account(run: Run, on_demand: OnDemandPrice) -> Account:
    # Every sum of the run's is the sum of theirs.
    kept_work = kept_work_of(run)
    first = next((a for a in run.attempts if a.ready_seconds is not None), None)
    yardstick, in_time = _yardstick(run, on_demand)
    compared = _Comparison(not _without_model(run), yardstick, on_demand)
    attempts = tuple(
        _of_attempt(run, a, kept_work[a.number], compared, is_first=a is first) for a in run.attempts
    )
    costs = [a.cost_usd for a in attempts]
    missing = _missing_of_run(run, attempts)
    # Before anything trained nobody knows what on-demand alone would have cost.
    alone = _total(a.on_demand_cost_usd for a in attempts)
    if compared.has_model and not any(work.kept_seconds for work in kept_work.values()):
        alone = None
    saved = None if missing else _total(a.saved_usd for a in attempts)
    succeeded = run.outcome is Outcome.SUCCEEDED
    return Account(
        attempts=attempts,
        cost_usd=_total(costs),
        cost_at_least_usd=fsum(cost for cost in costs if cost is not None),
        on_demand_cost_usd=alone,
        yardstick=yardstick if compared.has_model else None,
        yardstick_in_time=in_time if compared.has_model else None,
        saved_usd=saved,
        saved_at_most_usd=saved,
        saved_percent=saved / alone * 100 if succeeded and saved is not None and alone else None,
        waited_seconds=fsum(a.waited_seconds for a in attempts),
        trained_seconds=_total(a.trained_seconds for a in attempts),
        starting_seconds=_total(a.starting_seconds for a in attempts),
        repeated_seconds=_total(a.repeated_seconds for a in attempts),
        repeated_evidence=_evidence(attempts),
        lost_seconds=_total(a.lost_seconds for a in attempts),
        billable_seconds=_total(a.billable_seconds for a in attempts),
        interruptions=sum(a.interruptions for a in attempts),
        uses_plan_rate=False,
        plan_is_used_up=any(
            rung.least_usd_per_hour is not None and not _may_have_room(rung) for rung in _rungs_of(run)
        ),
        price_assumed=any(
            rung.price_assumed
            for rung in (*([yardstick] if compared.has_model else []), *(a.rung for a in run.attempts))
        ),
        missing=missing,
        unpriced_attempts=tuple(a.number for a in attempts if a.cost_usd is None),
    )


@dataclass(frozen=True)
class _Comparison:
    """What a run is compared with: its work on-demand alone. Without a model it is nothing, and owes nothing."""

    has_model: bool  # or is under way
    yardstick: Rung
    on_demand: OnDemandPrice

    def usd(self, attempt: Attempt, work: KeptWork) -> float | None:
        """The attempt's share of the work, on-demand. None: not known.

        Training alone: on-demand's own start-up is left out, so savings are rather told too small.
        """
        if not self.has_model or work.kept_seconds == 0:
            return 0.0
        price = self.on_demand(self.yardstick)
        if price is None or work.kept_seconds is None:
            return None
        return work.kept_seconds * attempt.rung.speed / self.yardstick.speed / 3600 * price


def _yardstick(run: Run, on_demand: OnDemandPrice) -> tuple[Rung, bool]:
    """The cheapest way on-demand that would have been in time, and whether it would have been.

    Of all types of both ladders that have a price and are not left out (on-demand's own rung, where a type is in
    both), by the length that the work was expected to have, from the run's start. Where none would have been in
    time, the fastest.
    """
    left_out = {out.rung.key for out in run.left_out}
    by_type = {rung.instance_type: rung for rung in run.rungs}  # on-demand's own come last
    usable = [rung for rung in by_type.values() if rung.key not in left_out] or list(by_type.values())
    rungs = [rung for rung in usable if on_demand(rung) is not None] or usable
    done = estimates.durable_fraction(evolve(run, attempts=(), progress=run.inherited))
    work = run.work_seconds * (1.0 - done)
    window = (run.deadline - run.started_at).total_seconds()

    def seconds(rung: Rung) -> float:
        return work / rung.speed + rung.change_over_seconds

    in_time = [rung for rung in rungs if seconds(rung) <= window]
    if in_time:
        return min(in_time, key=lambda rung: ((on_demand(rung) or 0.0) / rung.speed, seconds(rung))), True
    return min(rungs, key=seconds), False


def _of_attempt(
    run: Run, attempt: Attempt, work: KeptWork, compared: _Comparison, *, is_first: bool
) -> AttemptAccount:
    cost, alone = attempt_cost_usd(attempt, compared.on_demand), compared.usd(attempt, work)
    starting = _starting_seconds(attempt)
    missing = _missing_of_attempt(run, attempt, work, compared)
    return AttemptAccount(
        number=attempt.number,
        interruptions=attempt.interruptions,
        waited_seconds=attempt.waited_seconds,
        trained_seconds=None if lacks_training_time(attempt) else attempt.trained_seconds,
        starting_seconds=starting,
        restarting_seconds=_restarting_seconds(attempt, starting) if is_first else starting,
        repeated_seconds=work.repeated_seconds,
        repeated_evidence=work.evidence,
        billable_seconds=0.0 if _had_no_machine(attempt) else attempt.billable_seconds,
        cost_usd=cost,
        on_demand_cost_usd=alone,
        saved_usd=None if missing or alone is None or cost is None else alone - cost,
        missing=missing,
    )


def _had_no_machine(attempt: Attempt) -> bool:
    """Whether it is known that the attempt ended without a machine: SageMaker then gives no billable time.

    Where its transitions are not known either, nothing is known.
    """
    seen = attempt.worked_seconds is not None or not attempt.was_created
    return (
        not attempt.is_open
        and attempt.trained_seconds == 0
        and seen
        and attempt.billable_seconds in (None, 0)
    )


def _bill_usd(attempt: Attempt, usd_per_hour: float | None) -> float | None:
    if _had_no_machine(attempt):
        return 0.0
    if attempt.billable_seconds is None or usd_per_hour is None:
        return None
    return attempt.billable_seconds / 3600 * usd_per_hour


def _starting_seconds(attempt: Attempt) -> float | None:
    if attempt.worked_seconds is None:
        return None if attempt.was_created else 0.0
    return max(0.0, attempt.trained_seconds - attempt.worked_seconds)


def _restarting_seconds(attempt: Attempt, starting: float | None) -> float | None:
    """Of the attempt that trained first: its start-ups beyond the first one."""
    if starting is None or attempt.ready_seconds is None or attempt.queued_seconds is None:
        return None
    return max(0.0, starting - max(0.0, attempt.ready_seconds - attempt.queued_seconds))


def _without_model(run: Run) -> bool:
    return run.outcome not in (None, Outcome.SUCCEEDED)


def _missing_of_attempt(
    run: Run, attempt: Attempt, work: KeptWork, compared: _Comparison
) -> tuple[Missing, ...]:
    """What its saving lacks, in the order of `Missing`."""
    kept = work.kept_seconds
    lacks = {
        Missing.OUTCOME: run.outcome is None,
        Missing.BILLABLE_SECONDS: lacks_bill(attempt),
        Missing.USD_PER_HOUR: not _had_no_machine(attempt) and attempt.rung.usd_per_hour is None,
        Missing.ON_DEMAND_USD_PER_HOUR: compared.has_model
        and kept != 0
        and compared.yardstick.usd_per_hour is None,
        Missing.WORK_SECONDS: compared.has_model and kept is None,
    }
    return tuple(name for name in Missing if lacks[name])


def _missing_of_run(run: Run, attempts: Iterable[AttemptAccount]) -> tuple[Missing, ...]:
    lacks = {name for attempt in attempts for name in attempt.missing}
    if run.outcome is None:
        lacks.add(Missing.OUTCOME)
    elif run.outcome is Outcome.SUCCEEDED and all(
        work.kept_seconds == 0 for work in kept_work_of(run).values()
    ):
        lacks.add(Missing.WORK_SECONDS)  # a model took some training
    return tuple(name for name in Missing if name in lacks)


def _evidence(attempts: Iterable[AttemptAccount]) -> Evidence | None:
    """The weakest of all attempts'; None where any is unknown."""
    known = {attempt.repeated_evidence for attempt in attempts}
    if None in known:
        return None
    return Evidence.ESTIMATED if Evidence.ESTIMATED in known else Evidence.MEASURED


def _total(figures: Iterable[float | None]) -> float | None:
    known = []
    for figure in figures:
        if figure is None:
            return None
        known.append(figure)
    return fsum(known)
