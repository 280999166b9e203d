"""Decides what the page of many runs shows: a job's month, a job, or all jobs; sums first, then every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.formats import figures
from nightspot.record.model import RecordNotReadableError
from nightspot.record.run_account import Ending, RunAccount, SummaryError, run_account
from nightspot.record.statement import Statement, by_job, by_month, statement
from nightspot.view.html.bars import per_job_spec, saved_spec
from nightspot.view.html.html import Chart, render

LinkOf = Callable[[Mapping[str, Any]], str | None]
"""A run's summary -> where its own page is; None where there is none."""

# Of the nights: in the order of the page. The words stand for `Statement.shares`'s names.
SHARES: Mapping[str, str] = {
    "in_time": "in time",
    "late": "late",
    "failed": "failed",
    "skipped": "skipped",
    "stopped": "stopped",
    "fell_back": "fell back to on-demand",
    "interrupted": "interrupted by Spot",
}


@dataclass(frozen=True)
class RunLine:
    """A run in the table, with the address of its own page."""

    account: RunAccount
    link: str | None


@dataclass(frozen=True)
class Group:
    """A job or a month in a table of its own."""

    name: str
    sums: Statement


def runs_page(
    summaries: Iterable[Mapping[str, Any]],
    script: str | None,
    *,
    job: str | None = None,
    month: str | None = None,
    link_of: LinkOf = lambda _summary: None,
) -> str:
    """The page of `summaries` (`summary.summarise`, no run twice), as HTML. `script` as for a run's.

    `job` and `month` ("2026-11") are what they were chosen by, and only name the page.

    Raises RecordNotReadableError.
    """
    pairs = [(accounted(summary), summary) for summary in summaries]
    accounts = [account for account, _ in pairs]
    sums = statement(accounts)
    lines = [
        RunLine(account, link_of(summary))
        for account, summary in sorted(pairs, key=lambda pair: pair[0].started_at, reverse=True)
    ]
    jobs, months = by_job(accounts), by_month(accounts)
    return render(
        "runs.html.j2",
        script,
        {
            "title": title(job, month),
            "job": job,
            "month": None if month is None else month_in_words(month),
            "sums": sums,
            "total": sums.totals.__getitem__,
            "headline": headline(sums),
            "counts": {
                **{name.value: count for name, count in sums.endings.items()},
                "fell_back": sums.fell_back,
                "interrupted": sums.interrupted,
            },
            "share_names": list(SHARES.items()),
            "lines": lines,
            "with_charts": script is not None,
            "saved": _saved(accounts),
            "per_job": _per_job(jobs),
            "jobs": [Group(name, part) for name, part in jobs.items()] if len(jobs) > 1 else [],
            "months": [Group(month_in_words(name), part) for name, part in months.items()]
            if len(months) > 1
            else [],
            "simulated": any(summary.get("simulated") for _, summary in pairs),
        },
    )


def accounted(summary: Mapping[str, Any]) -> RunAccount:
    """The summary's account; a local record of a refused input counts as a refused run of its night.

    Raises RecordNotReadableError.
    """
    known = {
        **summary,
        "run_id": summary.get("run_id") or "refused",
        "started_at": summary.get("started_at") or summary.get("story_started_at"),
    }
    try:
        return run_account(known)
    except SummaryError as error:
        raise RecordNotReadableError(str(error)) from error


def title(job: str | None, month: str | None) -> str:
    """ "recommender, November 2026", "All jobs"."""
    of = job if job is not None else "All jobs"
    return of if month is None else f"{of}, {month_in_words(month)}"


def month_in_words(month: str) -> str:
    """ "November 2026" of "2026-11"."""
    year, _, number = month.partition("-")
    return f"{figures.MONTHS[int(number) - 1]} {year}"


def headline(sums: Statement) -> str:
    """ "27 of 30 nights had their model in time; $2,576.40 (65.1 %) saved against on-demand alone."."""
    if not sums.nights:
        return "No night is on record here."
    in_time = sums.endings[Ending.IN_TIME]
    night = "night" if sums.nights == 1 else "nights"
    said = f"{in_time} of {sums.nights} {night} had the model in time"
    saved = sums.totals["saved_usd"]
    if not saved.covers:
        return f"{said}."
    amount, share = figures.usd(abs(saved.known)), sums.known_saved_percent
    percent = f" ({figures.percent(abs(share))})" if share is not None else ""
    known = "" if saved.value is not None else f", as far as is known ({saved.words})"
    direction = "saved against" if saved.known >= 0 else "more than"
    return f"{said}; {amount}{percent} {direction} on-demand alone{known}."


def _saved(accounts: Sequence[RunAccount]) -> Chart | None:
    spec = saved_spec(accounts)
    words = "The table of runs holds what each of them saved."
    return None if spec is None else Chart("saved", "Saved against on-demand alone, added up", words, spec)


def _per_job(jobs: Mapping[str, Statement]) -> Chart | None:
    if len(jobs) < 2:
        return None
    known = [
        (name, part.totals["cost_usd"].known, part.totals["on_demand_cost_usd"].known)
        for name, part in jobs.items()
    ]
    spec = per_job_spec(known)
    words = "The table of jobs holds the amounts."
    return None if spec is None else Chart("jobs", "Cost of each job, above on-demand alone", words, spec)
