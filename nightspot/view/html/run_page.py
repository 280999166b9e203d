"""What the page of one run shows: a sentence, figures, the night, the money, all of it in tables too."""

from __future__ import annotations

from collections.abc import Iterator

from nightspot.formats.figures import day, number, plain
from nightspot.record import sentences
from nightspot.record.model import RunRecord
from nightspot.view.html.bars import cost_spec, metric_names, metric_spec, progress_spec
from nightspot.view.html.html import Chart, render
from nightspot.view.html.stretches import Kind, Stretch, stretches_of
from nightspot.view.html.timeline import checkpoints_of, last_safe_of, timeline_spec
from nightspot.view.messages.plain import Console


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
    return Chart("timeline", "The night's timeline", words, timeline_spec(run))


def _legend(told: tuple[Stretch, ...]) -> list[Kind]:
    drawn = {stretch.kind for stretch in told if stretch.attempt is not None}
    return [kind for kind in Kind if kind in drawn]


def _curves(run: RunRecord) -> Iterator[Chart]:
    progress = progress_spec(run)
    if progress is not None:
        yield Chart("progress", "Work that was safe", "The table of checkpoints holds the numbers.", progress)
    for place, name in enumerate(metric_names(run)):
        words = "The table of checkpoints holds the numbers."
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
    if run.checkpoints:
        yield "Checkpoints", run.checkpoints, None
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
