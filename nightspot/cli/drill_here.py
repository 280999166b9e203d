"""`nightspot drill --local`: what a job needs to be drilled on this machine, and how the drill is shown."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from nightspot.cli._shared import print_json
from nightspot.drill.lives import definitions_of
from nightspot.drill.report import DrillReport, report_of
from nightspot.drill.verdict import Evidence
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.local.drill.drill import DrillOptions, drill
from nightspot.terminal import drill_text
from nightspot.terminal.lines import console_for

INTERRUPTED = 130  # as shells count it: 128 + SIGINT
PICTURES_IN = Path("build/drills")


def play(
    file: Path, given: Mapping[str, Any], *, picture: Path | None, keep: Path | None, as_json: bool
) -> DrillReport:
    """Drill the job of `file` and show what came of it; `given` are fields of DrillOptions.

    Raises InvalidJobError, MetricDefinitionError, CommandError, OSError and typer.BadParameter for what the user
    can mend.
    """
    job, options = _drillable(file), DrillOptions(**given)
    console = console_for()
    with _scratch(keep) as scratch:
        if not as_json:
            drill_text.show_header(console, job.name, str(file), options.kills, options.seed)
        try:
            evidence = drill(
                job,
                options,
                scratch=scratch,
                directory=Path.cwd(),
                on_life=lambda name, number, life: (
                    None if as_json else drill_text.show_life(console, name, number, life)
                ),
            )
        except KeyboardInterrupt:
            typer.echo("interrupted: everything the drill had started is stopped", err=True)
            raise typer.Exit(INTERRUPTED) from None
    report = report_of(job.name, evidence, {"kills_planned": options.kills, "seed": options.seed})
    drawn = _draw(picture or PICTURES_IN / f"{job.name}.png", evidence, report)
    kept = None if keep is None else str(keep)
    if as_json:
        print_json({**report.as_json(), "picture": drawn, "logs": kept})
    else:
        drill_text.show_report(console, report)
        drill_text.show_places(console, drawn, kept)
    return report


def _drillable(file: Path) -> Job:
    """Raises InvalidJobError for a job that cannot be drilled here, MetricDefinitionError for its metrics."""
    job = load_job(file)
    problems = []
    if job.local is None:
        rule = "must say with local.command how to train the job on this machine"
        problems.append(Problem("local", "nothing", rule))
    if "CheckpointConfig" not in job.training_job:
        rule = "must name where checkpoints go: without it SageMaker keeps nothing that could be resumed"
        problems.append(Problem("training_job.CheckpointConfig", "nothing", rule))
    if problems:
        raise InvalidJobError(problems, str(file))
    definitions_of(job.training_job)
    return job


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    """A folder to drill in: the one to be kept, which must be new or empty, or one that goes again."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="nightspot-drill-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise typer.BadParameter(f"--keep: {str(keep)!r}: must be a new or an empty folder")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def _draw(path: Path, evidence: Evidence, report: DrillReport) -> str | None:
    from nightspot.terminal import drill_plot  # noqa: PLC0415 - matplotlib takes a second

    if not drill_plot.can_draw(evidence):
        return None
    drill_plot.draw(path, evidence, report)
    return str(path)
