"""Decides how a night on this machine is shown as it passes, what is kept of it, and with what status it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer

from nightspot.cli import exit_status, report_files
from nightspot.cli._shared import fail, print_json
from nightspot.cli.exit_status import ExitStatus
from nightspot.job import InvalidJobError, Job, Problem, load_job
from nightspot.local import records
from nightspot.local.nights import Night
from nightspot.report import tables
from nightspot.report.lines import console_for, paragraph
from nightspot.report.timeline import Timeline


@dataclass(frozen=True)
class Stage:
    """A night that is ready to be played; `time_scale` is None where the job's own holds."""

    job: Job
    job_file: Path
    night: Night
    time_scale: float | None
    directory: Path
    scratch: Path
    records: Path


def play(stage: Stage, *, as_json: bool, fail_on_remarks: bool = False) -> NoReturn:
    """Play the night, show it, keep its record, and exit with what it came to, see `exit_status`."""
    from nightspot.local import staging  # noqa: PLC0415 - as in `nights.demo`

    job = stage.job if stage.time_scale is None else staging.at_scale(stage.job, stage.time_scale)
    started_at = staging.story_start(job, _now())
    facts = {
        "job_file": _from_here(stage.job_file),
        "scratch": _from_here(stage.scratch),
        **staging.facts(job, stage.night, started_at),
    }
    console = console_for()
    timeline = Timeline(console, spot_first=facts["spot_first"])
    if not as_json:
        tables.show_header(console, facts)
    try:
        night = staging.play(
            job,
            stage.night,
            scratch=stage.scratch,
            started_at=started_at,
            directory=stage.directory,
            on_sighting=(lambda _seen: None) if as_json else timeline,
        )
    except staging.NightNotOverError as error:
        fail(f"the night hangs: {error} is still running; its logs are in {facts['scratch']}")
    except KeyboardInterrupt:
        typer.echo("interrupted: everything the night had started is stopped", err=True)
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    recorded = {"recorded_at": _now().isoformat(timespec="seconds"), **facts}
    record = records.record_of(recorded, night.summary, staging.ending(night))
    path = records.write(stage.records, record)
    page = report_files.write_page(record, stage.scratch / "report.html")
    if as_json:
        print_json(record)
    else:
        tables.show_outcome(console, record)
        where = _from_here(stage.records)
        option = "" if where == str(Path("build/runs")) else f" --records {where}"
        tables.show_record_at(console, _from_here(path), f"nightspot show {path.stem}{option}")
        paragraph(console, "Report", f"{_from_here(page)}; open it in a browser.")
    raise typer.Exit(exit_status.of_record(record, fail_on_remarks=fail_on_remarks))


def playable(path: Path) -> Job:
    """The job of a file, which says how to train it here. Raises InvalidJobError."""
    job = load_job(path)
    if job.local is None:
        rule = "must say with local.command how to train the job on this machine"
        raise InvalidJobError([Problem("local", "nothing", rule)], str(path))
    return job


def _from_here(path: Path) -> str:
    """The path as a user types it: relative where it lies below the current directory."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def _now() -> datetime:
    return datetime.now(UTC)
