"""What attempts and their run cost, what came of it, and what it saved against on-demand alone.

SageMaker's `BillableTimeInSeconds` is already discounted for Spot, so an attempt costs its billable hours times
the on-demand price times the number of instances; a Spot price never enters. Source: "Managed Spot Training in
Amazon SageMaker AI", AWS documentation. docs/costs.md explains every figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
from nightspot.run.model import MOST_WORK_SECONDS, Attempt, Outcome, Run, Rung


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
    on_demand_cost_usd: float | None  # the same work, uninterrupted, on the first on-demand rung
    saved_usd: float | None  # below 0: it cost more than on-demand alone would have
    saved_percent: float | None  # of `on_demand_cost_usd`; None without a model too
    waited_seconds: float
    trained_seconds: float | None
    starting_seconds: float | None
    repeated_seconds: float | None
    repeated_evidence: Evidence | None  # estimated, where any attempt's is
    lost_seconds: float | None
    billable_seconds: float | None
    interruptions: int
    uses_plan_rate: bool  # a Savings Plan's rate is in it: costs may come up to the list price
    missing: tuple[Missing, ...]  # what `saved_usd` lacks
    unpriced_attempts: tuple[int, ...]  # the numbers of the attempts whose cost is not known


def hourly_usd(rung: Rung) -> float | None:
    """On-demand list price of all instances of a rung for one hour."""
    return None if rung.usd_per_hour is None else rung.usd_per_hour * rung.instance_count


def attempt_cost_usd(attempt: Attempt) -> float | None:
    """What SageMaker bills for the attempt, under the account's Savings Plans where it has any.

    0 where it never had a machine; None where it is not known.
    """
    price = attempt.rung.expected_usd_per_hour
    return _bill_usd(attempt, None if price is None else price * attempt.rung.instance_count)


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
    # Every sum of the run's is the sum of theirs.
    kept_work = kept_work_of(run)
    first = next((a for a in run.attempts if a.ready_seconds is not None), None)
    attempts = tuple(_of_attempt(run, a, kept_work[a.number], a is first) for a in run.attempts)
    costs = [a.cost_usd for a in attempts]
    missing = _missing_of_run(run, attempts)
    baseline = on_demand_alone_usd(run)
    saved = None if missing else _total(a.saved_usd for a in attempts)
    succeeded = run.outcome is Outcome.SUCCEEDED
    return Account(
        attempts=attempts,
        cost_usd=_total(costs),
        cost_at_least_usd=fsum(cost for cost in costs if cost is not None),
        on_demand_cost_usd=baseline,
        saved_usd=saved,
        saved_percent=saved / baseline * 100 if succeeded and saved is not None and baseline else None,
        waited_seconds=fsum(a.waited_seconds for a in attempts),
        trained_seconds=_total(a.trained_seconds for a in attempts),
        starting_seconds=_total(a.starting_seconds for a in attempts),
        repeated_seconds=_total(a.repeated_seconds for a in attempts),
        repeated_evidence=_evidence(attempts),
        lost_seconds=_total(a.lost_seconds for a in attempts),
        billable_seconds=_total(a.billable_seconds for a in attempts),
        interruptions=sum(a.interruptions for a in attempts),
        uses_plan_rate=_uses_plan_rate(run),
        missing=missing,
        unpriced_attempts=tuple(a.number for a in attempts if a.cost_usd is None),
    )


def on_demand_alone_usd(run: Run) -> float | None:
    """What the work that the run delivered would have cost on the first on-demand rung (else the first rung).

    Training alone: the start-up that on-demand would have had is left out, so savings are rather told too small.
    While the run is open: the work that it holds so far. None: not known, or nothing trained yet.
    """
    if _without_model(run):
        return 0.0
    kept_work = kept_work_of(run)
    return _total(_alone_usd(run, a, kept_work[a.number]) for a in run.attempts) or None


def _of_attempt(run: Run, attempt: Attempt, work: KeptWork, is_first: bool) -> AttemptAccount:
    cost = attempt_cost_usd(attempt)
    alone = 0.0 if _without_model(run) else _alone_usd(run, attempt, work)
    starting = _starting_seconds(attempt)
    missing = _missing_of_attempt(run, attempt, work)
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


def _alone_usd(run: Run, attempt: Attempt, work: KeptWork) -> float | None:
    if work.kept_seconds == 0:
        return 0.0
    rung = _baseline(run)
    price = rung.expected_usd_per_hour
    if price is None or work.kept_seconds is None:
        return None
    return work.kept_seconds * attempt.rung.speed / rung.speed / 3600 * price * rung.instance_count


def _baseline(run: Run) -> Rung:
    return (run.rungs_of(Market.ON_DEMAND) or run.rungs)[0]


def _without_model(run: Run) -> bool:
    return run.outcome not in (None, Outcome.SUCCEEDED)


def _missing_of_attempt(run: Run, attempt: Attempt, work: KeptWork) -> tuple[Missing, ...]:
    """What its saving lacks, in the order of `Missing`."""
    has_bill = not _had_no_machine(attempt)
    kept = work.kept_seconds
    delivered = not _without_model(run)
    lacks = {
        Missing.OUTCOME: run.outcome is None,
        Missing.BILLABLE_SECONDS: lacks_bill(attempt),
        Missing.USD_PER_HOUR: has_bill and attempt.rung.expected_usd_per_hour is None,
        Missing.ON_DEMAND_USD_PER_HOUR: delivered
        and kept != 0
        and _baseline(run).expected_usd_per_hour is None,
        Missing.WORK_SECONDS: delivered and kept is None,
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


def _uses_plan_rate(run: Run) -> bool:
    return any(
        rung.plan_usd_per_hour is not None for rung in (_baseline(run), *(a.rung for a in run.attempts))
    )


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
