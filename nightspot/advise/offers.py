"""What the ways to buy this job's machines cost in a month, side by side, and what each risks and takes.

A figure that nobody honest could give is unknown, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from nightspot.advise.case import HOUR, Case
from nightspot.advise.filters import count, usd
from nightspot.advise.nights import PlayedMonth
from nightspot.advise.question import Figure, derived, priced, unknown
from nightspot.job.markets import Fallback, Market

MONTHS_A_YEAR = 12


class Option(StrEnum):
    """The ways to buy the machines of a training job."""

    NIGHTSPOT = "managed_spot_with_nightspot"
    MANAGED_SPOT = "managed_spot_alone"
    ON_DEMAND = "on_demand"
    EC2_SPOT = "ec2_spot"
    BATCH_SPOT = "aws_batch_on_spot"
    RESERVED = "hyperpod_or_training_plan"
    SAVINGS_PLAN = "savings_plan"
    SAVINGS_PLAN_FALLBACK = "savings_plan_under_the_fallback"


LABELS: Mapping[Option, str] = {
    Option.NIGHTSPOT: "Managed Spot with Nightspot",
    Option.MANAGED_SPOT: "Managed Spot alone",
    Option.ON_DEMAND: "On-demand",
    Option.EC2_SPOT: "EC2 Spot, self-managed",
    Option.BATCH_SPOT: "AWS Batch on Spot",
    Option.RESERVED: "HyperPod or a training plan",
    Option.SAVINGS_PLAN: "On-demand with a Savings Plan",
    Option.SAVINGS_PLAN_FALLBACK: "Nightspot, a Savings Plan under the fallback",
}


@dataclass(frozen=True)
class Work:
    """Hours of engineering: once, and in each month. Assumed, unless the user has said."""

    setup_hours: float
    operate_hours: float
    words: str

    def usd_a_month(self, usd_per_hour: float) -> float:
        """The set-up spread over a year, and the month's own."""
        return (self.setup_hours / MONTHS_A_YEAR + self.operate_hours) * usd_per_hour


NIGHTSPOT_WORK = "checkpoints, a drill, quotas, the deployment"
# Of Nightspot's row the hours are the question's (`Economics`).
WORK: Mapping[Option, Work] = {
    Option.NIGHTSPOT: Work(16, 1, NIGHTSPOT_WORK),
    Option.MANAGED_SPOT: Work(12, 1, "checkpoints, a quota; a person starts what failed"),
    Option.ON_DEMAND: Work(0, 0, "none"),
    Option.EC2_SPOT: Work(80, 8, "images, start-up, interruption notices, retries, clean-up"),
    Option.BATCH_SPOT: Work(40, 4, "compute environment, queues, container, data to and fro"),
    Option.RESERVED: Work(24, 2, "a reservation paid ahead, and a cluster or its queue"),
    Option.SAVINGS_PLAN: Work(2, 0.5, "one purchase for one or three years, and a look at its use"),
    Option.SAVINGS_PLAN_FALLBACK: Work(18, 1.5, f"{NIGHTSPOT_WORK}, and one purchase"),
}


@dataclass(frozen=True)
class Offer:
    """One option for this job. `usd` is AWS's bill of a month; `missed_nights` those without a model in time."""

    option: Option
    usd: Figure
    interruptions: str
    capacity: str
    work: Work
    work_usd: float
    missed_nights: float | None
    note: str = ""

    def total_usd(self, night_usd: float) -> float | None:
        """Bill, work and failed nights of a month; None where one of them is not known."""
        if self.usd.value is None or self.missed_nights is None:
            return None
        return self.usd.value + self.work_usd + self.missed_nights * night_usd


HOURS_A_MONTH = 720.0
# What AWS promises at most: https://aws.amazon.com/savingsplans/ml-pricing/
MOST_SAVINGS_PLAN_DISCOUNT = 0.64


@dataclass(frozen=True)
class Nights:
    """What was played for the options; both None where no night can be in time."""

    ours: PlayedMonth | None
    alone: PlayedMonth | None


def offers_of(case: Case, nights: Nights) -> tuple[Offer, ...]:
    return tuple(_MAKERS[option](case, nights) for option in Option)


def work_of(case: Case, option: Option) -> Work:
    """The hours of an option: Nightspot's as the user has them, the others' on top of the table."""
    economics = case.question.economics
    if option is Option.NIGHTSPOT:
        return Work(economics.setup_hours, economics.operate_hours, NIGHTSPOT_WORK)
    if option is Option.SAVINGS_PLAN_FALLBACK:
        plan = WORK[Option.SAVINGS_PLAN]
        return Work(
            economics.setup_hours + plan.setup_hours,
            economics.operate_hours + plan.operate_hours,
            WORK[option].words,
        )
    return WORK[option]


def missed_of(case: Case, ours: PlayedMonth) -> float:
    """Nights of a month without a model in time under Nightspot: late, or skipped where nothing may be bought."""
    never = case.job.fallback is Fallback.NEVER
    share = ours.share(lambda night: night.late or (never and night.on_demand_seconds > 0))
    return share * ours.nights


def _offer(
    case: Case,
    option: Option,
    figure: Figure,
    *,
    interruptions: str,
    capacity: str,
    missed: float | None,
    note: str = "",
) -> Offer:
    work = work_of(case, option)
    cost = work.usd_a_month(case.question.economics.engineer_usd_per_hour)
    return Offer(option, figure, interruptions, capacity, work, cost, missed, note)


def _reclaims(played: PlayedMonth | None) -> str:
    return "yes" if played is None else f"{count(round(played.interruptions * played.nights))} reclaims"


def _nightspot(case: Case, nights: Nights) -> Offer:
    ours = nights.ours
    if ours is None:
        figure, capacity, missed = unknown("no night can be in time"), "no night can be in time", None
    else:
        figure = case.simulated_usd(ours.mean_hours)
        capacity = f"on-demand takes over on {count(ours.fallen_back * ours.nights)} nights"
        if case.job.fallback is Fallback.NEVER:
            capacity = f"{count(missed_of(case, ours))} nights skipped"
        missed = missed_of(case, ours)
    return _offer(
        case,
        Option.NIGHTSPOT,
        figure,
        interruptions=f"{_reclaims(ours)}, resumed",
        capacity=capacity,
        missed=missed,
    )


def _managed_spot(case: Case, nights: Nights) -> Offer:
    alone = nights.alone
    figure = unknown("no night can be in time") if alone is None else case.simulated_usd(alone.mean_hours)
    missed = None if alone is None else alone.late * alone.nights
    words = "" if missed is None else f": {count(missed)} nights without a model"
    return _offer(
        case,
        Option.MANAGED_SPOT,
        figure,
        interruptions=f"{_reclaims(alone)}, started again",
        capacity=f"nothing takes over{words}",
        missed=missed,
    )


def _on_demand(case: Case, _nights: Nights) -> Offer:
    in_time = case.stage is not None
    return _offer(
        case,
        Option.ON_DEMAND,
        case.on_demand_usd,
        interruptions="none",
        capacity="GPU types may queue",
        missed=0.0 if in_time else case.nights.value,
        note="" if in_time else "every night is late: the deadline leaves less time than training takes",
    )


def _on_ec2(case: Case, nights: Nights, option: Option, capacity: str, note: str) -> Offer:
    price = case.question.hints.ec2_spot_usd_per_hour
    if price is None:
        figure = unknown("EC2's Spot price of the type is not known: give --ec2-spot-usd-per-hour")
    elif nights.alone is None:
        figure = unknown("no night can be in time")
    else:
        hourly = priced(price * case.job.instance_count, "EC2's Spot price as given by you")
        market = Figure(1.0, case.pool.basis, "the market")
        hours = _spot_hours(nights.alone)
        figure = derived(
            hours * (hourly.value or 0.0),
            [hourly, market],
            f"Spot hours of nights played on {case.market_words}; {hourly.source}",
        )
    missed = None if nights.alone is None else nights.alone.late * nights.alone.nights
    return _offer(
        case,
        option,
        figure,
        interruptions=f"{_reclaims(nights.alone)}, 2 min notice",
        capacity=capacity,
        missed=missed,
        note=note,
    )


def _spot_hours(played: PlayedMonth) -> float:
    """Machine hours on Spot of a month on average."""
    seconds = [sum(night.spot_seconds for night in month) / len(month) for month in played.months]
    return sum(seconds) / len(seconds) / HOUR * played.nights


def _reserved(case: Case, _nights: Nights) -> Offer:
    used = (case.nights.value or 0.0) * case.night_hours / HOURS_A_MONTH
    return _offer(
        case,
        Option.RESERVED,
        unknown("an offer's upfront fee comes from sagemaker:SearchTrainingPlanOfferings, for the account"),
        interruptions="none",
        capacity="reserved, a few large types",
        missed=0.0 if case.stage is not None else case.nights.value,
        note=f"paid for every hour of its term; this job uses {100 * min(1.0, used):.0f} % of them",
    )


def _savings_plan(case: Case, _nights: Nights) -> Offer:
    rate = plan_rate(case)
    hours = (case.nights.value or 0.0) * case.night_hours
    share = hours / HOURS_A_MONTH
    if rate is not None:
        figure, note = derived(hours * (rate.value or 0.0), [rate], rate.source), "your account's own plan"
    else:
        figure = unknown(
            "no active Savings Plan is known; AWS promises up to 64 % off, for every hour of a year"
        )
        note = _commitment_words(case, share)
    return _offer(
        case,
        Option.SAVINGS_PLAN,
        figure,
        interruptions="none",
        capacity="may queue: nothing is reserved",
        missed=0.0 if case.stage is not None else case.nights.value,
        note=note,
    )


def _commitment_words(case: Case, share: float) -> str:
    """What a plan for this job alone would come to: it is paid in every hour, used or not."""
    whole = case.usd(HOURS_A_MONTH * (1 - MOST_SAVINGS_PLAN_DISCOUNT), "").value
    cost = "" if whole is None else f": at the most that AWS promises (64 %) still {usd(whole)} a month"
    return f"for this job alone, used {100 * min(1.0, share):.0f} % of the hours{cost}"


def _savings_plan_fallback(case: Case, nights: Nights) -> Offer:
    rate, ours = plan_rate(case), nights.ours
    base = _nightspot(case, nights)
    if rate is None or ours is None or case.hourly.value is None:
        figure = unknown("no active Savings Plan is known") if rate is None else base.usd
    else:
        bought = sum(n.on_demand_seconds for month in ours.months for n in month) / HOUR
        bought *= ours.nights / sum(len(month) for month in ours.months)
        less = bought * (case.hourly.value - (rate.value or 0.0))
        figure = derived(
            (base.usd.value or 0.0) - less, [base.usd, rate], f"{base.usd.source}; {rate.source}"
        )
    return _offer(
        case,
        Option.SAVINGS_PLAN_FALLBACK,
        figure,
        interruptions=base.interruptions,
        capacity=base.capacity,
        missed=base.missed_nights,
        note="worth it only if a plan is there for other work; whether one covers Spot is not documented",
    )


def plan_rate(case: Case) -> Figure | None:
    """USD for an hour of all on-demand instances under the account's Savings Plans; None without any."""
    rung = case.run.rungs_of(Market.ON_DEMAND)[0]
    price = case.question.price(rung.instance_type, case.question.region)
    rate = price.on_demand_leg_usd_per_hour(rung.instance_count) if price else None
    if rate is None:
        return None
    return priced(
        rate * rung.instance_count, "the rates of your active Savings Plans, taken as free for this job"
    )


_MAKERS: Mapping[Option, Callable[[Case, Nights], Offer]] = {
    Option.NIGHTSPOT: _nightspot,
    Option.MANAGED_SPOT: _managed_spot,
    Option.ON_DEMAND: _on_demand,
    Option.EC2_SPOT: partial(
        _on_ec2,
        option=Option.EC2_SPOT,
        capacity="a fallback is yours to build",
        note="EC2's pool, with all its zones and types",
    ),
    Option.BATCH_SPOT: partial(
        _on_ec2,
        option=Option.BATCH_SPOT,
        capacity="queues, whatever the deadline",
        note="several types and zones; AWS Batch itself costs nothing, its machines are EC2's",
    ),
    Option.RESERVED: _reserved,
    Option.SAVINGS_PLAN: _savings_plan,
    Option.SAVINGS_PLAN_FALLBACK: _savings_plan_fallback,
}
