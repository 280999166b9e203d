"""The pages of a run and of many runs, each one file that may fetch nothing, in which no text is markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nightspot.formats import figures
from nightspot.formats.figures import day, number, plain, visible
from nightspot.record import sentences
from nightspot.record.model import Ending, RunRecord
from nightspot.record.sentences import LABELS, how_an_attempt_ended
from nightspot.record.statement import Statement, by_job, by_month, statement
from nightspot.view.html import theme
from nightspot.view.html.bars import (
    cost_spec,
    metric_names,
    metric_spec,
    per_job_spec,
    progress_spec,
    saved_spec,
)
from nightspot.view.html.charts_script import checked
from nightspot.view.html.theme import Stretch, StretchKind, stretches_of
from nightspot.view.html.timeline import checkpoints_of, last_safe_of, timeline_spec
from nightspot.view.messages.plain import Console

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Chart:
    """A figure of a page. `spec` is Vega-Lite's; `words` say what it shows to those who cannot see it."""

    name: str
    title: str
    words: str
    spec: theme.Spec


def render(template: str, script: str | None, context: Mapping[str, Any]) -> str:
    """The page, whole. `script` draws the charts, see `charts_script`.

    Raises ChartsScriptError for a script that cannot stand in a page.
    """
    style = _style()
    scripts = [] if script is None else [checked(script), _read("page.js")]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {' '.join(map(_hash, scripts)) or _NONE}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        _environment()
        .get_template(template)
        .render(
            {
                **context,
                "policy": policy,
                "style": Markup(style),  # noqa: S704 - our own file
                "scripts": [Markup(each) for each in scripts],  # noqa: S704 - ours, and looked at above
            }
        )
    )


_NONE = "'none'"


def _hash(text: str) -> str:
    """The CSP source of an inline element that holds exactly `text`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _style() -> str:
    kinds = (f".kind-{kind.value} {{ background: {colour}; }}" for kind, colour in theme.KIND_COLOURS.items())
    light, dark = theme.css(0), theme.css(1)
    return "\n".join(
        (
            f":root {{ color-scheme: light dark; {light} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
            _read("page.css").strip(),
            *kinds,
        )
    )


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """A text as it is put into a page; markup is ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # whatever the file is called
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        usd=figures.usd,
        percent=figures.percent,
        duration=figures.duration,
        clock=figures.clock,
        day=figures.day,
        number=figures.number,
        plain=figures.plain,
        kind=theme.WORDS.__getitem__,
        label=LABELS.__getitem__,
        mood=theme.MOODS.__getitem__,
        ending=how_an_attempt_ended,
        rung=lambda attempt: attempt.market.of(attempt.instance_type),
    )
    return environment


def run_page(run: RunRecord, script: str | None) -> str:
    """The page of a run, as HTML. `script`: `charts_script`'s; None for tables alone."""
    told = stretches_of(run)
    seen = [step.progress for step in checkpoints_of(run)]
    return render(
        "run.html.j2",
        script,
        {
            "title": f"{run.job}, {day(run.started_at)}: {sentences.LABELS[run.ending]}",
            "run": run,
            "headline": sentences.how_it_ended(run),
            "how_it_went": sentences.how_it_went(run),
            "money_sentence": sentences.money(run),
            "too_high": sentences.how_too_high(run),
            "resumes": sentences.RESUMES,
            "resumed_from": _resumed_from(run),
            "with_charts": script is not None,
            "timeline": _timeline(run, told),
            "legend": _legend(told),
            "last_safe": last_safe_of(run),
            "curves": list(_curves(run)),
            "cost": _cost(run),
            "stretches": told,
            "night_seconds": (run.over_at - run.started_at).total_seconds(),
            "checkpoints": seen,
            "metric_names": sorted({name for progress in seen if progress for name in progress.metrics}),
            "facts": list(_facts(run)),
        },
    )


def _timeline(run: RunRecord, told: tuple[Stretch, ...]) -> Chart | None:
    if not run.attempts and not run.steps:
        return None
    words = f"{len(told)} stretches and {len(run.steps or ())} decisions; the tables below hold each of them."
    return Chart("timeline", "The run's timeline", words, timeline_spec(run))


def _legend(told: tuple[Stretch, ...]) -> list[StretchKind]:
    drawn = {stretch.kind for stretch in told if stretch.attempt is not None}
    return [kind for kind in StretchKind if kind in drawn]


def _curves(run: RunRecord) -> Iterator[Chart]:
    words = "The table of checkpoints holds the numbers."
    if (progress := progress_spec(run)) is not None:
        yield Chart("progress", "Work that was safe", words, progress)
    for place, name in enumerate(metric_names(run)):
        yield Chart(f"metric-{place}", name, words, metric_spec(run, name))


def _cost(run: RunRecord) -> Chart | None:
    spec = cost_spec(run)
    return None if spec is None else Chart("cost", "Cost against on-demand alone", sentences.money(run), spec)


def _resumed_from(run: RunRecord) -> int | None:
    steps = [a.resumed_from_step for a in run.attempts if a.resumed_from_step is not None]
    return steps[-1] if steps else None


def _facts(run: RunRecord) -> Iterator[tuple[str, str, str | None]]:
    """(name, value, link or None), in the order of the page."""
    if run.model_artifact:
        yield "Model", run.model_artifact, None
    if run.metrics:
        said = (f"{name} {number(value)}" for name, value in sorted(run.metrics.items()))
        yield "Metrics", ", ".join(said), None
    for name, link in sentences.tracker_pages(run):
        yield name, link, link
    if run.checkpoints:
        yield "Checkpoints", run.checkpoints, None
    if run.code:
        yield "Code", plain(run.code.version.words), None
    if run.plan_note:
        yield "Plan", plain(run.plan_note), None
    if run.requested_by:
        yield "Started by", plain(run.requested_by), None
    for out in run.left_out:
        yield "Left out", f"{out.market.of(out.instance_type)}: {out.because}", None
    # The console knows nothing of a night that was played on somebody's machine.
    arn = run.execution_arn or ""
    console = None if run.simulated else Console.of_arn(arn)
    for attempt in run.attempts:
        name = attempt.training_job_name
        logs = None if console is None else console.training_job_logs(name)
        yield f"Training job {attempt.number}", name, logs
    if arn:
        yield "Execution", arn, None if console is None else console.execution(arn)
    yield "Run", plain(run.run_id), None


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
    lines = [{"run": run, "link": link_of(run)} for run in known]
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
            "too_high": sentences.how_too_high_together(sums),
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
            "jobs": [{"name": name, "sums": part} for name, part in jobs.items()] if len(jobs) > 1 else [],
            "months": [{"name": month_in_words(name), "sums": part} for name, part in months.items()]
            if len(months) > 1
            else [],
            "simulated": any(run.simulated for run in known),
        },
    )


def title(job: str | None, month: str | None) -> str:
    of = job if job is not None else "All jobs"
    return of if month is None else f"{of}, {month_in_words(month)}"


def month_in_words(month: str) -> str:
    """ "November 2026" of "2026-11"."""
    year, _, number = month.partition("-")
    return f"{figures.MONTHS[int(number) - 1]} {year}"


def headline(sums: Statement) -> str:
    """ "27 of 30 nights had their model in time; $2,576.40 (65.1 %) saved against on-demand alone."."""
    if not sums.nights:
        return "No run is on record here."
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
