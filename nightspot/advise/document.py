"""Decides what an answer looks like to a program: JSON-ready, None for what is not known."""

from __future__ import annotations

from typing import Any

from nightspot.advise.advice import Advice
from nightspot.advise.figures import Figure
from nightspot.advise.findings import QUESTIONS, Finding
from nightspot.advise.month import Trial, WorkedMonth
from nightspot.advise.nights import MONTHS
from nightspot.advise.options import LABELS, Offer


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


def _finding(finding: Finding) -> dict[str, Any]:
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
