"""What is advised: whether Spot, and if not, which option instead, in one sentence and with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.advise import filters
from nightspot.advise.case import Case, case_of
from nightspot.advise.filters import QUESTIONS, FilterFinding, FilterVerdict, Money, count, usd
from nightspot.advise.month import Trial, WorkedMonth, worked_month
from nightspot.advise.nights import MONTHS, with_nightspot, with_spot_alone
from nightspot.advise.offers import LABELS, Nights, Offer, Option, missed_of, offers_of
from nightspot.advise.question import Figure, Question
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

    Raises BacktestError where the job file does not tell how long a night is, and NightError where a night under
    its plan does not end.
    """
    case = case_of(question)
    stage = case.stage
    ours, alone = (None, None) if stage is None else (with_nightspot(stage), with_spot_alone(stage))
    offers = offers_of(case, Nights(ours, alone))
    money = _money(case, offers, None if ours is None else missed_of(case, ours))
    findings = (
        filters.resume_filter(case),
        filters.deadline_filter(case, ours),
        filters.pool_filter(case, ours),
        filters.failed_night_filter(case, money),
        filters.worth_filter(case, money),
    )
    month = None if stage is None or ours is None else worked_month(case, stage, ours)
    recommended = _recommended(case, findings, offers)
    sentence = _sentence(case, recommended, findings, offers, month)
    return Advice(case, recommended, sentence, findings, offers, month)


def _money(case: Case, offers: Sequence[Offer], missed: float | None) -> Money:
    ours, on_demand = (_of(offers, option) for option in (Option.NIGHTSPOT, Option.ON_DEMAND))
    bills = (ours.usd.value, on_demand.usd.value)
    saving = None if bills[0] is None or bills[1] is None else bills[1] - bills[0]
    return Money(saving, ours.work_usd, missed, case.question.economics.night_usd)


def _of(offers: Sequence[Offer], option: Option) -> Offer:
    return next(offer for offer in offers if offer.option is option)


def _recommended(case: Case, findings: Sequence[FilterFinding], offers: Sequence[Offer]) -> Option:
    """The cheapest in total of what no filter forbids; managed Spot alone only where it never missed a night."""
    refused = any(finding.verdict is FilterVerdict.NO for finding in findings)
    allowed = [*_NO_SPOT] if refused else [Option.NIGHTSPOT, *_NO_SPOT]
    if not refused and _of(offers, Option.MANAGED_SPOT).missed_nights == 0:
        allowed.append(Option.MANAGED_SPOT)
    night_usd = case.question.economics.night_usd
    totals = {
        option: total for option in allowed if (total := _of(offers, option).total_usd(night_usd)) is not None
    }
    if case.hourly.value is None or not totals:
        return Option.ON_DEMAND if refused else Option.NIGHTSPOT
    return min(totals, key=lambda option: totals[option])


def _sentence(
    case: Case,
    recommended: Option,
    findings: Sequence[FilterFinding],
    offers: Sequence[Offer],
    month: WorkedMonth | None,
) -> str:
    if recommended is Option.NIGHTSPOT and month is not None:
        return _yes(case, offers, month)
    if recommended is Option.MANAGED_SPOT:
        return _alone(case, offers)
    return _no(case, recommended, findings, offers)


def _yes(case: Case, offers: Sequence[Offer], month: WorkedMonth) -> str:
    ours, alone = _of(offers, Option.NIGHTSPOT).usd.value, case.on_demand_usd.value
    skips = case.job.fallback is Fallback.NEVER
    what = "skip the run where Spot has nothing" if skips else "fall back to on-demand"
    becomes = "skipped" if skips else "on on-demand"
    nights = f"{count(month.on_demand_nights)} of {count(month.nights)} nights {becomes}"
    late = "none late" if not month.late_nights else f"{count(month.late_nights)} late"
    if ours is None or alone is None:
        share = 1 - month.median_hours / ((case.nights.value or 1.0) * case.night_hours)
        return (
            f"Use managed Spot with Nightspot and {what}: about {100 * share:.0f} % less than on-demand, {nights},"
            f" {late}; whether that pays is unknown, because {case.hourly.source}."
        )
    return (
        f"Use managed Spot with Nightspot and {what}: about {usd(ours)} a month instead of {usd(alone)};"
        f" {nights}, {late}."
    )


def _alone(case: Case, offers: Sequence[Offer]) -> str:
    spot = _of(offers, Option.MANAGED_SPOT).usd.value or 0.0
    return (
        f"Use managed Spot, and nothing beside it: about {usd(spot)} a month instead of"
        f" {usd(case.on_demand_usd.value or 0.0)}; no night that was played missed its deadline, so a fallback"
        " would have nothing to do."
    )


def _no(case: Case, recommended: Option, findings: Sequence[FilterFinding], offers: Sequence[Offer]) -> str:
    offer = _of(offers, recommended)
    cost = "" if offer.usd.value is None else f", about {usd(offer.usd.value)} a month"
    label = LABELS[recommended]
    plan = _PLAN if recommended is Option.ON_DEMAND and case.stage is not None else ""
    return (
        f"Do not use Spot: use {label[:1].lower()}{label[1:]} instead{cost}{plan}."
        f" {_why_not(findings, recommended)}"
    )


def _why_not(findings: Sequence[FilterFinding], recommended: Option) -> str:
    why = next((f for f in findings if f.verdict is FilterVerdict.NO), None)
    if why is not None:
        return why.reason
    if recommended is Option.SAVINGS_PLAN:
        return "Your Savings Plan makes on-demand cheaper than Spot with its work and its failed nights."
    return "What Spot saves is less than its work and its failed nights cost together."


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
            "engineer_usd_per_hour": economics.engineer_usd_per_hour,
            "failed_night_usd": economics.night_usd,
            "given": sorted(economics.are_given),
            "save_seconds": case.question.save_seconds,
            "seed": case.question.seed,
        },
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
        "missed_nights_a_month": _rounded(offer.missed_nights, 2),
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
