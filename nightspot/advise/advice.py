"""What is advised: whether Spot, and if not, which option instead, in one sentence and with its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.advise import filters
from nightspot.advise.case import Case, case_of
from nightspot.advise.filters import QUESTIONS, Filter, FilterFinding, FilterVerdict, Money, count, usd
from nightspot.advise.month import Trial, WorkedMonth, worked_month
from nightspot.advise.nights import MONTHS, PlayedMonth, with_nightspot, with_spot_alone
from nightspot.advise.offers import LABELS, Nights, Offer, Option, missed_on_demand, offers_of
from nightspot.advise.question import Figure, PlanRoom, Question
from nightspot.job.markets import Fallback

# What may be recommended; the others lack a price, or belong to somebody else's decision.
_SPOT = (Option.NIGHTSPOT, Option.MANAGED_SPOT)
_NO_SPOT = (Option.ON_DEMAND, Option.SAVINGS_PLAN)


@dataclass(frozen=True)
class Advice:
    """The answer to a question. `month` is None where no night can be in time."""

    case: Case
    recommended: Option
    sentence: str
    findings: tuple[FilterFinding, ...]
    offers: tuple[Offer, ...]
    month: WorkedMonth | None

    @property
    def is_spot(self) -> bool:
        return self.recommended in _SPOT


def advise(question: Question) -> Advice:
    """Is Spot right for this job? Pure; the same question has the same answer.

    Raises BacktestError where the job file does not tell how long a night is, and SimulationError where a night
    under its plan does not end.
    """
    case = case_of(question)
    stage, best = case.stage, case.best_stage
    nights = Nights(
        ours=None if stage is None else with_nightspot(stage),
        alone=None if stage is None else with_spot_alone(stage),
        best_ours=None if best is None else with_nightspot(best),
    )
    ours = nights.ours
    offers = {offer.option: offer for offer in offers_of(case, nights)}
    money = _money(case, offers)
    findings = (
        filters.resume_filter(case),
        filters.deadline_filter(case, ours),
        filters.pool_filter(case, ours),
        filters.failed_night_filter(case, money),
        filters.worth_filter(case, money),
    )
    month = None
    if stage is not None and ours is not None and case.unknown_machines is None:
        month = worked_month(case, stage, ours)
    recommended = _recommended(case, findings, offers, nights.alone)
    sentence = _sentence(case, recommended, findings, offers, month, nights.alone)
    return Advice(case, recommended, sentence, findings, tuple(offers.values()), month)


Offers = Mapping[Option, Offer]


def _money(case: Case, offers: Offers) -> Money:
    """What Spot saves against the cheapest way that the account has: the lower bound decides."""
    ours, best = offers[Option.NIGHTSPOT], offers[Option.NIGHTSPOT].best_usd
    list_price = offers[Option.ON_DEMAND].usd.value
    bounds = []
    if case.least_hourly is None or case.question.hints.plan_room is not PlanRoom.IDLE:
        bounds.append(_less(list_price, ours.usd.value))
    idle = None
    if case.least_hourly is not None:
        under = offers[Option.SAVINGS_PLAN_FALLBACK].usd.value
        idle = _less(offers[Option.SAVINGS_PLAN].usd.value, under)
        bounds.append(idle)
    known = [bound for bound in bounds if bound is not None]
    saving = min(known) if len(known) == len(bounds) else None
    at_best = [*known, *([] if best is None else [_less(list_price, best.value)])]
    why = case.unknown_machines or ""
    if idle is not None and idle == saving:
        why = (
            "your Savings Plan is paid already, and on-demand adds no more than its commitment does not cover"
        )
    missed = missed_on_demand(case)
    return Money(
        saving_usd=saving,
        work_usd=ours.work_usd,
        missed_nights=None if ours.most_missed_nights is None else max(0.0, ours.most_missed_nights - missed),
        night_usd=case.question.economics.night_usd,
        best_saving_usd=max((bound for bound in at_best if bound is not None), default=None),
        seen_missed_nights=max(0.0, (ours.missed_nights or 0.0) - missed),
        why=why,
    )


def _less(whole: float | None, part: float | None) -> float | None:
    return None if whole is None or part is None else whole - part


def _recommended(
    case: Case, findings: Sequence[FilterFinding], offers: Offers, alone: PlayedMonth | None
) -> Option:
    """The cheapest in total of what no filter forbids; managed Spot alone only where it hardly can miss a night."""
    refused = any(finding.verdict is FilterVerdict.NO for finding in findings)
    allowed = [*_NO_SPOT] if refused else [Option.NIGHTSPOT, *_NO_SPOT]
    if not refused and alone is not None and alone.late_at_most <= filters.RARELY_LATE:
        allowed.append(Option.MANAGED_SPOT)
    night_usd = case.question.economics.night_usd
    totals = {
        option: total for option in allowed if (total := offers[option].total_usd(night_usd)) is not None
    }
    if not totals:
        return Option.ON_DEMAND if refused or case.unknown_machines else Option.NIGHTSPOT
    return min(totals, key=lambda option: totals[option])


def _sentence(
    case: Case,
    recommended: Option,
    findings: Sequence[FilterFinding],
    offers: Offers,
    month: WorkedMonth | None,
    alone: PlayedMonth | None,
) -> str:
    if recommended is Option.NIGHTSPOT and month is not None:
        return _yes(case, offers, month)
    if recommended is Option.MANAGED_SPOT and alone is not None:
        return _alone(case, offers, alone)
    return _no(case, recommended, findings, offers)


def _yes(case: Case, offers: Offers, month: WorkedMonth) -> str:
    is_under_a_plan = case.least_hourly is not None
    ours = offers[Option.SAVINGS_PLAN_FALLBACK if is_under_a_plan else Option.NIGHTSPOT].usd.value
    alone = offers[Option.SAVINGS_PLAN if is_under_a_plan else Option.ON_DEMAND].usd.value
    skips = case.job.fallback is Fallback.NEVER
    what = "skip the run where Spot has nothing" if skips else "fall back to on-demand"
    becomes = "skipped" if skips else "on on-demand"
    nights = f"{count(month.on_demand_nights)} of {count(month.nights)} nights {becomes}"
    late = month.late_words
    if ours is None or alone is None:
        share = 1 - month.median_hours / ((case.nights.value or 1.0) * case.night_hours)
        return (
            f"Use managed Spot with Nightspot and {what}: about {100 * share:.0f} % less than on-demand, {nights},"
            f" {late}; whether that pays is unknown, because {case.hourly.source}."
        )
    under = " beside your Savings Plan" if is_under_a_plan else ""
    best = offers[Option.NIGHTSPOT].note
    return (
        f"Use managed Spot with Nightspot and {what}: about {usd(ours)} a month instead of {usd(alone)}{under}"
        f"{f' ({best})' if best else ''}; {nights}, {late}."
    )


def _alone(case: Case, offers: Offers, alone: PlayedMonth) -> str:
    spot = offers[Option.MANAGED_SPOT].usd.value or 0.0
    return (
        f"Use managed Spot, and nothing beside it: about {usd(spot)} a month instead of"
        f" {usd(case.on_demand_usd.value or 0.0)}; under {count(100 * alone.late_at_most)} % of nights miss their"
        " deadline at 95 % confidence, so a fallback would have next to nothing to do."
    )


def _no(case: Case, recommended: Option, findings: Sequence[FilterFinding], offers: Offers) -> str:
    if recommended is Option.SAVINGS_PLAN and case.least_hourly is not None:
        return _plan_is_paid(case, offers, findings)
    offer = offers[recommended]
    cost = "" if offer.usd.value is None else f", about {usd(offer.usd.value)} a month"
    label = LABELS[recommended]
    plan = _PLAN if recommended is Option.ON_DEMAND and case.stage is not None else ""
    return f"Do not use Spot: use {label[:1].lower()}{label[1:]} instead{cost}{plan}. {_why_not(findings)}"


def _plan_is_paid(case: Case, offers: Offers, findings: Sequence[FilterFinding]) -> str:
    """Both bounds of what on-demand adds to the bill beside a commitment that is paid, used or not."""
    idle, used = offers[Option.SAVINGS_PLAN].usd.value, offers[Option.ON_DEMAND].usd.value
    spot = offers[Option.SAVINGS_PLAN_FALLBACK].usd.value
    most = ""
    if used is not None and case.question.hints.plan_room is not PlanRoom.IDLE:
        most = f" (up to {usd(used)} where other work uses it up: --savings-plan used)"
    instead = "" if spot is None else f", and Spot would add {usd(spot)}"
    others = [finding.reason for finding in _refusals(findings) if finding.filter not in _ABOUT_MONEY]
    return " ".join(
        (
            "Do not use Spot: use on-demand under your Savings Plan instead. Its commitment is paid already:"
            f" on-demand adds about {usd(idle or 0.0)} a month while it is idle{most}{instead}.",
            *others[:1],
        )
    )


# What a saving that is too small, or none, makes of both; the second says it better.
_ABOUT_MONEY = (Filter.FAILED_NIGHT, Filter.WORTH)


def _refusals(findings: Sequence[FilterFinding]) -> list[FilterFinding]:
    """What says no to Spot; of failed nights only after a saving that is too small in itself."""
    refusals = [finding for finding in findings if finding.verdict is FilterVerdict.NO]
    return sorted(refusals, key=lambda finding: finding.filter is Filter.FAILED_NIGHT)


def _why_not(findings: Sequence[FilterFinding]) -> str:
    unknown = [f for f in findings if f.filter is Filter.WORTH and f.verdict is FilterVerdict.UNKNOWN]
    why = next(iter((*_refusals(findings), *unknown)), None)
    if why is not None:
        return why.reason
    return "What Spot saves is less than its work and its failed nights cost together."


def too_high(case: Case) -> str:
    """How the saving could be too high, and the late nights too few: one sentence each."""
    share = 100 * (1 - (case.spot_ratio.value or 1.0))
    whose = (
        "your traces"
        if case.question.zones
        else "EC2's p3.2xlarge of early 2023, which the markets are fitted to"
    )
    plan = "" if case.least_hourly is not None else " or an active Savings Plan (--savings-plan)"
    return (
        f"The saving is too high if Spot saves less than {share:.0f} % of an hour ({case.spot_ratio.word}), if"
        f" SageMaker's pool is scarcer than {whose}, or if a contract{plan} makes on-demand cheaper than"
        f" {'the price' if case.hourly.value is None else usd(case.hourly.value)} an hour. Late nights are too few"
        " if on-demand queues longer than was played."
    )


_PLAN = " (less under a Savings Plan, if other work of your account fills one)"


def as_json(advice: Advice) -> dict[str, Any]:
    """The whole answer. Seconds and USD; shares are 0..1."""
    case = advice.case
    economics = case.question.economics
    return {
        "job": case.job.name,
        "region": case.question.region,
        "simulated": True,  # the nights are played, whatever they are played on
        "spot": advice.is_spot,
        "recommended": advice.recommended.value,
        "recommendation": advice.sentence,
        "filters": [_finding(finding) for finding in advice.findings],
        "options": [_offer(offer, economics.night_usd) for offer in advice.offers],
        "month": None if advice.month is None else _month(advice.month),
        "inputs": {
            "on_demand_usd_per_hour": figure(case.hourly),
            "spot_over_on_demand": figure(case.spot_ratio),
            "nights_a_month": figure(case.nights),
            "market": case.market_words,
            "nights": case.spread.words,
            "savings_plan": None
            if case.question.hints.plan_room is None
            else case.question.hints.plan_room.value,
            "engineer_usd_per_hour": economics.engineer_usd_per_hour,
            "failed_night_usd": economics.night_usd,
            "given": sorted(economics.are_given),
            "save_seconds": case.question.save_seconds,
            "seed": case.question.seed,
        },
        "how_it_could_be_too_high": too_high(case),
        "notes": list(case.notes),
    }


def figure(of: Figure) -> dict[str, Any]:
    """A figure with its word: measured, priced, assumed or unknown."""
    return {"value": _rounded(of.value, 4), "basis": of.word, "source": of.source}


def _finding(finding: FilterFinding) -> dict[str, Any]:
    return {
        "filter": finding.filter.value,
        "question": QUESTIONS[finding.filter],
        "verdict": finding.verdict.value,
        "reason": finding.reason,
        "numbers": {
            name: _rounded(value, 4) if isinstance(value, float) else value
            for name, value in finding.numbers.items()
        },
    }


def _offer(offer: Offer, night_usd: float) -> dict[str, Any]:
    return {
        "option": offer.option.value,
        "label": LABELS[offer.option],
        "usd_a_month": figure(offer.usd),
        "best_usd_a_month": None if offer.best_usd is None else figure(offer.best_usd),
        "missed_nights_a_month": _rounded(offer.missed_nights, 2),
        "most_missed_nights_a_month": _rounded(offer.most_missed_nights, 2),
        "interruption_risk": offer.interruptions,
        "capacity_risk": offer.capacity,
        "work": offer.work.words,
        "setup_hours": offer.work.setup_hours,
        "operate_hours_a_month": offer.work.operate_hours,
        "work_usd_a_month": _rounded(offer.work_usd, 2),
        "total_usd_a_month": _rounded(offer.total_usd(night_usd), 2),
        "note": offer.note or None,
    }


def _month(month: WorkedMonth) -> dict[str, Any]:
    return {
        "months": MONTHS,
        "nights_a_month": _rounded(month.nights, 2),
        "median_usd": figure(month.median_usd),
        "best_usd": figure(month.best_usd),
        "worst_usd": figure(month.worst_usd),
        "late_nights": _rounded(month.late_nights, 2),
        "late_share_at_most": _rounded(month.late_at_most, 4),
        "skipped_nights": _rounded(month.skipped_nights, 2),
        "on_demand_nights": _rounded(month.on_demand_nights, 2),
        "interruptions": _rounded(month.interruptions, 2),
        "best_checkpoint_seconds": None if month.best_interval is None else month.best_interval.seconds,
        "checkpoint_intervals": [_trial(trial) for trial in month.intervals],
        "best_deadline": month.best_deadline.words,
        "best_window_seconds": month.best_deadline.seconds,
        "deadlines": [_trial(trial) for trial in month.deadlines],
        "advice": list(month.advice),
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "seconds": trial.seconds,
        "words": trial.words,
        "usd_a_month": _rounded(trial.usd.value, 2),
        "on_demand_hours": _rounded(trial.hours, 4),
        "on_demand_share": _rounded(trial.fallen_back, 4),
        "own": trial.is_own,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
