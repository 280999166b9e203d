"""How advice reads, on a terminal and as a page of its own: recommendation, filters, options, worked month."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightspot.advise.advice import Advice, too_high
from nightspot.advise.filters import QUESTIONS, FilterVerdict, capital, count, usd
from nightspot.advise.month import Trial, WorkedMonth
from nightspot.advise.nights import MONTHS
from nightspot.advise.offers import LABELS, Offer
from nightspot.advise.question import UNKNOWN, Figure
from nightspot.job.markets import Fallback
from nightspot.terminal.lines import paragraph, plain_table
from nightspot.view.html import pages, theme

STYLES = {
    FilterVerdict.YES: "green",
    FilterVerdict.WITH_CARE: "yellow",
    FilterVerdict.NO: "red",
    FilterVerdict.UNKNOWN: "dim",
}


def show(console: Console, advice: Advice) -> None:
    """The whole answer."""
    case = advice.case
    paragraph(console, "Advice", advice.sentence, "bold")
    console.print()
    for finding in advice.findings:
        verdict = finding.verdict
        paragraph(console, verdict.value, QUESTIONS[finding.filter], STYLES[verdict])
        paragraph(console, "", finding.reason)
    console.print()
    console.print(options_table(advice))
    for offer in advice.offers:
        if offer.note:
            paragraph(console, "", f"{LABELS[offer.option]}: {offer.note}.")
    if advice.month is not None:
        console.print()
        _show_month(console, advice, advice.month)
    console.print()
    paragraph(console, "On-demand", _source(case.hourly))
    paragraph(console, "Spot", _source(case.spot_ratio))
    paragraph(console, "Nights", f"{count(case.nights.value or 0.0)} a month: {case.nights.source}.")
    paragraph(
        console,
        "Simulated",
        f"every night was played on {case.market_words}, seed {case.question.seed}, with {case.spread.words};"
        " every decision is made by the code that is deployed.",
    )
    paragraph(console, "Too high?", too_high(case))
    for note in case.notes:
        paragraph(console, "Note", note)


def options_table(advice: Advice) -> Table:
    """A row per option; the recommended one in bold."""
    table = plain_table()
    table.add_column("option", width=23)
    table.add_column("USD a\nmonth", justify="right", no_wrap=True)
    table.add_column("figure", no_wrap=True)
    table.add_column("with work and\nfailed nights", justify="right", no_wrap=True)
    table.add_column("interruptions\na month")
    table.add_column("capacity,\na month")
    table.add_column("work", no_wrap=True)
    night_usd = advice.case.question.economics.night_usd
    for offer in advice.offers:
        style = "bold" if offer.option is advice.recommended else ""
        table.add_row(*(Text(cell) for cell in row(offer, night_usd)), style=style)
    return table


def row(offer: Offer, night_usd: float) -> tuple[str, ...]:
    """The cells of an option."""
    work = f"{offer.work.setup_hours:g} h + {offer.work.operate_hours:g} h/mo"
    return (
        LABELS[offer.option],
        bounds(offer),
        offer.usd.word,
        money(offer.total_usd(night_usd)),
        offer.interruptions,
        offer.capacity,
        work if offer.work.setup_hours or offer.work.operate_hours else "none",
    )


def bounds(offer: Offer) -> str:
    """The bill by which is decided, after the better bound where there is one."""
    if offer.best_usd is None:
        return money(offer.usd.value)
    return f"{money(offer.best_usd.value)}\nto {money(offer.usd.value)}"


def money(value: float | None) -> str:
    """ "$1,240", or "unknown"."""
    return UNKNOWN if value is None else usd(value)


def month_words(month: WorkedMonth) -> str:
    """The spread of the months in a sentence."""
    bought = month.on_demand_nights - month.skipped_nights
    skipped = f", {count(month.skipped_nights)} skipped" if month.skipped_nights else ""
    counts = (
        f"{count(bought)} of {count(month.nights)} nights on on-demand{skipped}, {month.late_words},"
        f" {count(month.interruptions)} interruptions"
    )
    if month.median_usd.value is None:
        return f"{month.median_hours:.1f} hours of on-demand in the median of {MONTHS} months: {counts}."
    return (
        f"{money(month.median_usd.value)} in the median of {MONTHS} months, {money(month.best_usd.value)} in the"
        f" best, {money(month.worst_usd.value)} in the worst ({month.median_usd.word}): {counts}."
    )


def share_heading(advice: Advice) -> str:
    """What the last column of a trial counts."""
    return "nights skipped" if advice.case.job.fallback is Fallback.NEVER else "nights on on-demand"


def trial_row(trial: Trial) -> tuple[str, ...]:
    """The cells of a trial."""
    cost = f"{trial.hours:.1f} h" if trial.usd.value is None else usd(trial.usd.value)
    return (f"{trial.words}{' (now)' if trial.is_own else ''}", cost, f"{100 * trial.fallen_back:.0f} %")


def _show_month(console: Console, advice: Advice, month: WorkedMonth) -> None:
    paragraph(console, "A month", f"with Nightspot: {month_words(month)}")
    for sentence in month.advice:
        paragraph(console, "", sentence)
    for heading, trials in (("deadline", month.deadlines), ("checkpoint every", month.intervals)):
        table = plain_table()
        table.add_column(heading, width=18)
        table.add_column("a month", justify="right", width=10)
        table.add_column(share_heading(advice), justify="right")
        for trial in trials:
            table.add_row(*trial_row(trial), style="bold" if trial.is_own else "")
        console.print()
        console.print(table)


def _source(figure: Figure) -> str:
    # An instance type is written as AWS writes it.
    return f"{figure.source if figure.source.startswith('ml.') else capital(figure.source)}."


TEMPLATES = Path(__file__).parent / "templates"
MOODS: Mapping[FilterVerdict, str] = {
    FilterVerdict.YES: "good",
    FilterVerdict.WITH_CARE: "warn",
    FilterVerdict.NO: "bad",
    FilterVerdict.UNKNOWN: "quiet",
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
        "month": None if month is None else month_words(month),
        "advice": () if month is None else month.advice,
        "trials": _trials(advice),
        "share_heading": capital(share_heading(advice)),
        "facts": _facts(advice),
    }


def _options(advice: Advice) -> list[dict[str, Any]]:
    night_usd = advice.case.question.economics.night_usd
    return [
        {
            "cells": row(offer, night_usd),
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
        {"caption": caption, "heading": heading, "rows": [trial_row(trial) for trial in trials]}
        for caption, heading, trials in kinds
    ]


def _facts(advice: Advice) -> list[tuple[str, str]]:
    case = advice.case
    figures = (("On-demand", case.hourly), ("Spot", case.spot_ratio))
    return [
        *((name, figure.source) for name, figure in figures),
        ("Nights", f"{count(case.nights.value or 0.0)} a month, {case.nights.source}"),
        ("Market", f"{case.market_words}; {case.pool.zones_words}; seed {case.question.seed}"),
        ("Played with", case.spread.words),
        ("How this could be too high", too_high(case)),
        *(("Note", note) for note in case.notes),
    ]


@cache
def _style() -> str:
    """The look of the runs' pages."""
    return "\n".join(
        (
            f":root {{ color-scheme: light dark; {theme.css(0)} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {theme.css(1)} }} }}",
            (pages.TEMPLATES / "page.css").read_text(encoding="utf-8").strip(),
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
