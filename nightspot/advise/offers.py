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
from nightspot.advise.question import Figure, PlanRoom, derived, priced, unknown
from nightspot.job.markets import Fallback

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
PLAN_EXISTS = Work(0, 0, "none: the plan exists")


@dataclass(frozen=True)
class Offer:
    """One option for this job. `usd` is AWS's bill of a month; `missed_nights` those without a model in time.

    Where there are two bounds, `usd` is the worse, and `best_usd` the better. `most_missed_nights`: at 95 %
    confidence.
    """

    option: Option
    usd: Figure
    interruptions: str
    capacity: str
    work: Work
    work_usd: float
    missed_nights: float | None
    most_missed_nights: float | None
    note: str = ""
    best_usd: Figure | None = None

    def total_usd(self, night_usd: float) -> float | None:
        """Bill, work and the most failed nights of a month; None where one of them is not known."""
        if self.usd.value is None or self.most_missed_nights is None:
            return None
        return self.usd.value + self.work_usd + self.most_missed_nights * night_usd


HOURS_A_MONTH = 720.0
# What AWS promises at most: https://aws.amazon.com/savingsplans/ml-pricing/
MOST_SAVINGS_PLAN_DISCOUNT = 0.64


@dataclass(frozen=True)
class Nights:
    """What was played for the options; None where no night can be in time. `best_ours`: the better of two."""

    ours: PlayedMonth | None
    alone: PlayedMonth | None
    best_ours: PlayedMonth | None = None


def offers_of(case: Case, nights: Nights) -> tuple[Offer, ...]:
    return tuple(_MAKERS[option](case, nights) for option in Option)


def work_of(case: Case, option: Option) -> Work:
    """The hours of an option: Nightspot's as the user has them, the others' on top of the table."""
    economics = case.question.economics
    if option is Option.NIGHTSPOT:
        return Work(economics.setup_hours, economics.operate_hours, NIGHTSPOT_WORK)
    exists = case.least_hourly is not None or case.question.hints.plan_room is not None
    if option is Option.SAVINGS_PLAN and exists:
        return PLAN_EXISTS
    if option is Option.SAVINGS_PLAN_FALLBACK:
        plan = PLAN_EXISTS if exists else WORK[Option.SAVINGS_PLAN]
        return Work(
            economics.setup_hours + plan.setup_hours,
            economics.operate_hours + plan.operate_hours,
            WORK[option].words,
        )
    return WORK[option]


def most_missed_of(played: PlayedMonth) -> float:
    """Nights of a month without a model in time, at most with 95 % confidence."""
    return played.late_at_most * played.nights


def missed_on_demand(case: Case) -> float:
    """Nights of a month in which on-demand from the start is late: its queue, or longer work."""
    share = 1.0 if case.stage is None else case.stage.late_on_demand
    return share * (case.nights.value or 0.0)


def _offer(
    case: Case,
    option: Option,
    figure: Figure,
    *,
    interruptions: str,
    capacity: str,
    missed: float | None,
    most_missed: float | None = None,
    note: str = "",
    best: Figure | None = None,
) -> Offer:
    work = work_of(case, option)
    cost = work.usd_a_month(case.question.economics.engineer_usd_per_hour)
    most = missed if most_missed is None else most_missed
    return Offer(option, figure, interruptions, capacity, work, cost, missed, most, note, best)


def _bounds(case: Case, played: PlayedMonth, better: PlayedMonth | None) -> tuple[Figure, Figure | None]:
    """The bill by which is decided, and the better bound: of one machine there is only one."""
    figure = case.simulated_usd(played.mean_hours)
    if case.unknown_machines is not None:
        return unknown(case.unknown_machines), figure
    return figure, None if better is None else case.simulated_usd(better.mean_hours)


def _reclaims(played: PlayedMonth | None) -> str:
    return "yes" if played is None else f"{count(round(played.interruptions * played.nights))} reclaims"


def _nightspot(case: Case, nights: Nights) -> Offer:
    ours = nights.ours
    if ours is None:
        return _offer(
            case,
            Option.NIGHTSPOT,
            unknown("no night can be in time"),
            interruptions=f"{_reclaims(ours)}, resumed",
            capacity="no night can be in time",
            missed=None,
        )
    figure, best = _bounds(case, ours, nights.best_ours)
    fallen = count(ours.fallen_back * ours.nights)
    never = case.job.fallback is Fallback.NEVER
    return _offer(
        case,
        Option.NIGHTSPOT,
        figure,
        interruptions=f"{_reclaims(ours)}, resumed",
        capacity=f"{fallen} nights skipped" if never else f"on-demand takes over on {fallen} nights",
        missed=ours.late * ours.nights,
        most_missed=most_missed_of(ours),
        note=_together(case, best),
        best=best,
    )


def _together(case: Case, best: Figure | None) -> str:
    """What the better bound of several machines rests on."""
    if best is None or best.value is None:
        return ""
    return f"{usd(best.value)} if one event gives and takes all {case.job.instance_count} machines"


def _managed_spot(case: Case, nights: Nights) -> Offer:
    alone = nights.alone
    figure = unknown("no night can be in time") if alone is None else _bounds(case, alone, None)[0]
    missed = None if alone is None else alone.late * alone.nights
    words = "" if missed is None else f": {count(missed)} nights without a model"
    return _offer(
        case,
        Option.MANAGED_SPOT,
        figure,
        interruptions=f"{_reclaims(alone)}, started again",
        capacity=f"nothing takes over{words}",
        missed=missed,
        most_missed=None if alone is None else most_missed_of(alone),
    )


def _on_demand(case: Case, _nights: Nights) -> Offer:
    note = ""
    if case.stage is None:
        note = "every night is late: the deadline leaves less time than training takes"
    elif case.least_hourly is not None:
        note = "what it adds where other work uses your Savings Plan up"
    return _offer(
        case,
        Option.ON_DEMAND,
        case.on_demand_usd,
        interruptions="none",
        capacity=_queues(case),
        missed=missed_on_demand(case),
        note=note,
    )


def _queues(case: Case) -> str:
    late = missed_on_demand(case)
    return "GPU types may queue" if not late else f"may queue: {count(late)} nights late"


def _on_ec2(case: Case, nights: Nights, option: Option, capacity: str, note: str) -> Offer:
    price = case.question.hints.ec2_spot_usd_per_hour
    if price is None:
        figure = unknown("EC2's Spot price of the type is not known: give --ec2-spot-usd-per-hour")
    elif nights.alone is None:
        figure = unknown("no night can be in time")
    elif case.unknown_machines is not None:
        figure = unknown(case.unknown_machines)
    else:
        hourly = priced(price * case.job.instance_count, "EC2's Spot price as given by you")
        market = case.market_figure
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
        most_missed=None if nights.alone is None else most_missed_of(nights.alone),
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
        missed=missed_on_demand(case),
        note=f"paid for every hour of its term; this job uses {100 * min(1.0, used):.0f} % of them",
    )


def _savings_plan(case: Case, _nights: Nights) -> Offer:
    hours = (case.nights.value or 0.0) * case.night_hours
    least = case.least_hourly
    if least is not None:
        figure = derived(
            hours * (least.value or 0.0), [least], f"what on-demand adds to the bill; {least.source}"
        )
        note = "while its commitment is idle; paid already, used or not"
    elif case.question.hints.plan_room is PlanRoom.USED:
        figure, note = case.on_demand_usd, "other work uses it up: its hours cost the list price"
    else:
        figure = unknown(
            "no active Savings Plan is known; AWS promises up to 64 % off, for every hour of a year"
        )
        note = _commitment_words(case, hours / HOURS_A_MONTH)
    return _offer(
        case,
        Option.SAVINGS_PLAN,
        figure,
        interruptions="none",
        capacity="may queue: nothing is reserved",
        missed=missed_on_demand(case),
        note=note,
    )


def _commitment_words(case: Case, share: float) -> str:
    """What a plan for this job alone would come to: it is paid in every hour, used or not."""
    whole = case.usd(HOURS_A_MONTH * (1 - MOST_SAVINGS_PLAN_DISCOUNT), "").value
    cost = "" if whole is None else f": at the most that AWS promises (64 %) still {usd(whole)} a month"
    return f"for this job alone, used {100 * min(1.0, share):.0f} % of the hours{cost}"


def _savings_plan_fallback(case: Case, nights: Nights) -> Offer:
    least, ours = case.least_hourly, nights.ours
    base = _nightspot(case, nights)
    when = "while its commitment is idle" if least else "worth it only if a plan is there for other work"
    if least is None:
        figure = unknown("no active Savings Plan is known, or other work uses it up")
    elif ours is None or base.usd.value is None or case.hourly.value is None:
        figure = base.usd
    else:
        less = ours.on_demand_hours * (case.hourly.value - (least.value or 0.0))
        figure = derived(base.usd.value - less, [base.usd, least], f"{base.usd.source}; {least.source}")
    return _offer(
        case,
        Option.SAVINGS_PLAN_FALLBACK,
        figure,
        interruptions=base.interruptions,
        capacity=base.capacity,
        missed=base.missed_nights,
        most_missed=base.most_missed_nights,
        note=f"{when}; whether a plan covers Spot is not documented",
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
