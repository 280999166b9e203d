"""Decides how advice looks as a page: one file that fetches nothing, runs nothing, and takes no text for markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nightspot.advise.advice import Advice
from nightspot.advise.findings import QUESTIONS, Verdict, count
from nightspot.advise.options import LABELS
from nightspot.terminal import advise_text
from nightspot.view.html import html, theme

TEMPLATES = Path(__file__).parent / "templates"
MOODS: Mapping[Verdict, str] = {
    Verdict.YES: "good",
    Verdict.WITH_CARE: "warn",
    Verdict.NO: "bad",
    Verdict.UNKNOWN: "quiet",
}


# The first cell of a row is its name, to be read as text; a reason wants the whole width of a phone.
_OWN_STYLE = """
tbody th { color: var(--text); font-size: inherit; vertical-align: top; }
#options { font-size: 0.875rem; }
@media (max-width: 760px) { table.stack td.prose { grid-column: 1 / -1; } }
""".strip()


def page(advice: Advice) -> str:
    """The whole page as HTML text."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    context = {**_context(advice), "policy": policy, "style": Markup(style)}  # noqa: S704 - our own file
    return _environment().get_template("advise.html.j2").render(context)


def _context(advice: Advice) -> dict[str, Any]:
    case, month = advice.case, advice.month
    return {
        "job": case.job.name,
        "region": case.question.region,
        "today": case.question.today.isoformat(),
        "spot": advice.is_spot,
        "recommendation": advice.sentence,
        "recommended": LABELS[advice.recommended],
        "findings": [
            {
                "question": QUESTIONS[finding.filter],
                "verdict": finding.verdict.value,
                "mood": MOODS[finding.verdict],
                "reason": finding.reason,
            }
            for finding in advice.findings
        ],
        "options": _options(advice),
        "month": None if month is None else advise_text.month_words(month),
        "advice": () if month is None else month.advice,
        "trials": _trials(advice),
        "facts": _facts(advice),
    }


def _options(advice: Advice) -> list[dict[str, Any]]:
    night_usd = advice.case.question.economics.night_usd
    return [
        {
            "cells": advise_text.row(offer, night_usd),
            "recommended": offer.option is advice.recommended,
            "source": f"{offer.usd.word}: {offer.usd.source}",
            "note": offer.note,
            "work": offer.work.words,
        }
        for offer in advice.offers
    ]


def _trials(advice: Advice) -> list[dict[str, Any]]:
    month = advice.month
    if month is None:
        return []
    kinds = (
        ("The same nights with another deadline", "Deadline", month.deadlines),
        ("The same nights with another checkpoint interval", "Checkpoint every", month.intervals),
    )
    return [
        {"caption": caption, "heading": heading, "rows": [advise_text.trial_row(trial) for trial in trials]}
        for caption, heading, trials in kinds
    ]


def _facts(advice: Advice) -> list[tuple[str, str]]:
    case = advice.case
    figures = (("On-demand", case.hourly), ("Spot", case.spot_ratio))
    return [
        *((name, figure.source) for name, figure in figures),
        ("Nights", f"{count(case.nights.value or 0.0)} a month, {case.nights.source}"),
        ("Market", f"{case.market_words}; {case.pool.zones_words}; seed {case.question.seed}"),
        *(("Note", note) for note in case.notes),
    ]


@cache
def _style() -> str:
    """The look of the runs' pages."""
    return "\n".join(
        (
            f":root {{ color-scheme: light dark; {theme.css(0)} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {theme.css(1)} }} }}",
            (html.TEMPLATES / "page.css").read_text(encoding="utf-8").strip(),
            _OWN_STYLE,
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
