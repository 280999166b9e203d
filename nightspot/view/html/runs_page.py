"""What the page of many runs shows: a job's month, a job, or all jobs; sums first, then every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nightspot.formats import figures
from nightspot.record.model import Ending, RunRecord
from nightspot.record.statement import Statement, by_job, by_month, statement
from nightspot.view.html.bars import per_job_spec, saved_spec
from nightspot.view.html.html import Chart, render

LinkOf = Callable[[RunRecord], str | None]
"""A run -> where its own page is; None where there is none."""

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

    run: RunRecord
    link: str | None


@dataclass(frozen=True)
class Group:
    """A job or a month in a table of its own."""

    name: str
    sums: Statement


def runs_page(
    runs: Iterable[RunRecord],
    script: str | None,
    *,
    job: str | None = None,
    month: str | None = None,
    link_of: LinkOf = lambda _run: None,
) -> str:
    """The page of `runs` (no run twice), as HTML. `script` as for a run's.

    `job` and `month` ("2026-11") are what they were chosen by, and only name the page.
    """
    known = sorted(runs, key=lambda run: run.started_at, reverse=True)
    sums = statement(known)
    lines = [RunLine(run, link_of(run)) for run in known]
    jobs, months = by_job(known), by_month(known)
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
            "saved": _saved(known),
            "per_job": _per_job(jobs),
            "jobs": [Group(name, part) for name, part in jobs.items()] if len(jobs) > 1 else [],
            "months": [Group(month_in_words(name), part) for name, part in months.items()]
            if len(months) > 1
            else [],
            "simulated": any(run.simulated for run in known),
        },
    )


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


def _saved(runs: Sequence[RunRecord]) -> Chart | None:
    spec = saved_spec(runs)
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
