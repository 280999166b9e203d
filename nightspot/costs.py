"""What attempts cost and what a run saved against on-demand alone.

SageMaker's `BillableTimeInSeconds` is already discounted for Spot, so an attempt costs its billable hours times
the on-demand price times the number of instances; a Spot price never enters. Source: "Managed Spot Training in
Amazon SageMaker AI", AWS documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from nightspot.job import Market
from nightspot.run import Attempt, Run, Rung


@dataclass(frozen=True)
class Account:
    """The sums of a run. None: not known, because a price or SageMaker's figure is missing."""

    cost_usd: float | None
    on_demand_cost_usd: float | None  # the same work, uninterrupted, on the first on-demand rung
    saved_percent: float | None
    trained_seconds: float
    waited_seconds: float
    billable_seconds: float | None
    unpriced_attempts: tuple[int, ...]  # the numbers of the attempts whose cost is not known


def hourly_usd(rung: Rung) -> float | None:
    """On-demand price of all instances of a rung for one hour."""
    return None if rung.usd_per_hour is None else rung.usd_per_hour * rung.instance_count


def attempt_cost_usd(attempt: Attempt) -> float | None:
    """What SageMaker bills for the attempt; 0 where it never had a machine; None where it is not known."""
    if attempt.billable_seconds is None:
        never_had_a_machine = not attempt.is_open and attempt.trained_seconds == 0
        return 0.0 if never_had_a_machine else None
    price = hourly_usd(attempt.rung)
    return None if price is None else attempt.billable_seconds / 3600 * price


def spent_usd(run: Run) -> float:
    """An upper bound of what the run's attempts have cost so far.

    An attempt without SageMaker's figure counts at the on-demand price for all it has trained.
    """
    total = 0.0
    for attempt in run.attempts:
        known = attempt_cost_usd(attempt)
        total += (
            attempt.trained_seconds / 3600 * (hourly_usd(attempt.rung) or 0.0) if known is None else known
        )
    return total


def needed_seconds(run: Run) -> float | None:
    """Training time of the night's work without repeated work, at speed 1, as seen tonight.

    From the steps and their pace where progress is visible; else everything trained, repeated work included.
    None before anything trained.
    """
    paces = [
        (a.seconds_per_step * a.rung.speed, a.trained_seconds) for a in run.attempts if a.seconds_per_step
    ]
    total_steps = run.progress.total_steps if run.progress else None
    weight = sum(trained for _, trained in paces)
    if total_steps and weight:
        return total_steps * sum(pace * trained for pace, trained in paces) / weight
    trained = sum(a.trained_seconds * a.rung.speed for a in run.attempts)
    return trained or None


def account(run: Run) -> Account:
    """The sums over all attempts, useless ones included."""
    costs = {a.number: attempt_cost_usd(a) for a in run.attempts}
    unknown = tuple(number for number, cost in costs.items() if cost is None)
    cost = None if unknown else sum(c for c in costs.values() if c is not None)
    baseline = on_demand_alone_usd(run)
    saved = None
    if cost is not None and baseline:
        saved = (1 - cost / baseline) * 100
    billed = [a.billable_seconds for a in run.attempts if a.billable_seconds is not None]
    return Account(
        cost_usd=cost,
        on_demand_cost_usd=baseline,
        saved_percent=saved,
        trained_seconds=sum(a.trained_seconds for a in run.attempts),
        waited_seconds=sum(a.waited_seconds for a in run.attempts),
        billable_seconds=sum(billed) if billed else None,
        unpriced_attempts=unknown,
    )


def on_demand_alone_usd(run: Run) -> float | None:
    """What the same work would have cost on the first on-demand rung (the first rung, where there is none)."""
    ladder = run.rungs_of(Market.ON_DEMAND) or run.rungs
    price = hourly_usd(ladder[0])
    needed = needed_seconds(run)
    if price is None or needed is None:
        return None
    return needed / ladder[0].speed / 3600 * price
