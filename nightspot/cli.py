"""The command line: says what is wrong with job files, plays nights on this machine, shows their records."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nightspot.durations import DurationError, parse_duration
from nightspot.job import CheckedFile, InvalidJobError, Job, Problem, check_files, load_job
from nightspot.local import night_files, records
from nightspot.local.nights import NIGHTS, Night
from nightspot.report import checks, tables
from nightspot.report.lines import console_for
from nightspot.report.timeline import Timeline

# The repository that this package was installed from; the demo's job and training script are in it.
ROOT = Path(__file__).parents[1]
INTERRUPTED = 130  # as shells count it: 128 + SIGINT

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
NightName = Annotated[str | None, typer.Option("--night", metavar="NAME", help=f"{', '.join(NIGHTS)}.")]
TimeScale = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Seconds of the story in a real one, from 1 on; without it, the job file's local.time_scale.",
    ),
]
Build = Annotated[Path, typer.Option(metavar="DIR", help="Where records (in runs/) and logs go.")]


def main() -> None:
    """The installed command `nightspot`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows a question mark instead.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()


@app.callback()
def nightspot() -> None:
    """Trains on SageMaker Spot every night and still has the model ready by morning."""


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Job files, or folders of them.")],
    as_json: Json = False,
) -> None:
    """Check job files: every mistake with its field, what stands there, and the rule. Warnings do not fail."""
    with _mistakes():
        # A file that is named twice is not two jobs of one name.
        checked = check_files(dict.fromkeys(files))
        checked += [_no_jobs(path) for path in files if path.is_dir() and not _any_below(path, checked)]
    if as_json:
        _print_json([checks.as_json(found) for found in checked])
    else:
        console = console_for()
        for found in checked:
            checks.show_checked(console, found)
    raise typer.Exit(1 if any(checks.has_errors(found) for found in checked) else 0)


@app.command()
def demo(
    night: NightName = None,
    seed: Annotated[int, typer.Option(min=0, help="Makes the data, the training and the mishaps.")] = 7,
    time_scale: TimeScale = None,
    as_json: Json = False,
    build: Build = ROOT / "build",
) -> None:
    """Play a night of jobs/recommender.yaml on this machine; without --night, a bad one."""
    # The emulated AWS takes seconds to load, and is not installed where only files are checked.
    from nightspot.local import staging  # noqa: PLC0415

    scale, chosen = _scale(time_scale), _night_named(night or "bad")
    job_file = ROOT / "jobs" / "recommender.yaml"
    with _mistakes():
        if not job_file.is_file():
            _fail("the demo plays a job of Nightspot's repository: run it from a clone")
        stage = Stage(
            job=staging.with_seed(_playable(job_file), seed),
            job_file=job_file,
            night=staging.night_with_seed(chosen, seed),
            time_scale=scale,
            directory=ROOT,
            scratch=staging.emptied(build / "demo"),
            records=build / "runs",
        )
        _play(stage, as_json=as_json)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")],
    *,
    local: Annotated[bool, typer.Option("--local", help="On this machine, in an emulated AWS.")] = False,
    night: NightName = None,
    market: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML file that says when there is capacity.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Spot as in a public availability trace.")
    ] = None,
    trace_offset: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How far into the trace the night starts.")
    ] = None,
    time_scale: TimeScale = None,
    as_json: Json = False,
    build: Build = Path("build"),
) -> None:
    """Play a night of any job file; its training command runs in the current directory."""
    if not local:
        raise typer.BadParameter("this version starts runs on this machine only: add --local")
    if sum(given is not None for given in (night, market, trace)) > 1:
        raise typer.BadParameter("only one of --night, --market and --trace can say what the night is like")
    if trace_offset is not None and trace is None:
        raise typer.BadParameter("--trace-offset needs --trace")
    scale, offset_seconds = _scale(time_scale), _offset_seconds(trace_offset)
    named = _night_named(night or "quiet")

    from nightspot.local import staging  # noqa: PLC0415 - as in `demo`

    with _mistakes():
        job = _playable(file)
        chosen = named
        if market is not None:
            chosen = night_files.night_of_file(market, job)
        elif trace is not None:
            chosen = night_files.night_of_trace(trace, offset_seconds)
        stage = Stage(
            job=job,
            job_file=file,
            night=chosen,
            time_scale=scale,
            directory=Path.cwd(),
            scratch=staging.new_folder(build / "runs", f"{job.name}-{_now():%Y%m%dT%H%M%S}"),
            records=build / "runs",
        )
        _play(stage, as_json=as_json)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="RUN", help="Its id; the newest by default.")] = None,
    directory: Annotated[
        Path, typer.Option("--records", metavar="DIR", help="Where the records are.")
    ] = Path("build/runs"),
    as_json: Json = False,
) -> None:
    """Show a run's record: its decisions, its attempts, and what it came to."""
    with _mistakes():
        record = records.read(directory, name)
    if as_json:
        _print_json(record)
        return
    console = console_for()
    tables.show_header(console, record)
    tables.show_decisions(console, record)
    tables.show_outcome(console, record)


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


def _play(stage: Stage, *, as_json: bool) -> NoReturn:
    """Play the night, show it, keep its record, and exit: 0 if the model is ready in time, else 1."""
    from nightspot.local import staging  # noqa: PLC0415 - as in `demo`

    job = stage.job if stage.time_scale is None else staging.at_scale(stage.job, stage.time_scale)
    started_at = datetime.combine(_now().date(), time(), tzinfo=UTC)
    facts = {
        "recorded_at": _now().isoformat(timespec="seconds"),
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
        _fail(f"the night hangs: {error} is still running; its logs are in {facts['scratch']}")
    except KeyboardInterrupt:
        typer.echo("interrupted: everything the night had started is stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    record = records.record_of(facts, night.summary, staging.ending(night))
    path = records.write(stage.records, record)
    if as_json:
        _print_json(record)
    else:
        tables.show_outcome(console, record)
        where = _from_here(stage.records)
        option = "" if where == str(Path("build/runs")) else f" --records {where}"
        tables.show_record_at(console, _from_here(path), f"nightspot show {path.stem}{option}")
    raise typer.Exit(0 if record["deadline_met"] else 1)


def _playable(path: Path) -> Job:
    job = load_job(path)
    if job.local is None:
        rule = "must say with local.command how to train the job on this machine"
        raise InvalidJobError([Problem("local", "nothing", rule)], str(path))
    return job


def _night_named(name: str) -> Night:
    try:
        return night_files.night_named(name)
    except night_files.NightError as error:
        raise typer.BadParameter(str(error)) from error


def _scale(given: float | None) -> float | None:
    if given is not None and not 1 <= given < math.inf:
        raise typer.BadParameter(f"--time-scale: {given:g}: must be a number from 1 on")
    return given


def _offset_seconds(given: str | None) -> float:
    try:
        return 0 if given is None else parse_duration(given)
    except DurationError as error:
        raise typer.BadParameter(f"--trace-offset: {given!r}: {error}") from error


def _no_jobs(directory: Path) -> CheckedFile:
    problem = Problem("(file)", repr(directory.name), "holds no job files (*.yaml, *.yml)")
    return CheckedFile(directory, None, (problem,))


def _any_below(directory: Path, checked: list[CheckedFile]) -> bool:
    return any(found.path.parent == directory for found in checked)


@contextmanager
def _mistakes() -> Iterator[None]:
    """Inside: what the user can mend ends the command with its words and status 1, not with a traceback."""
    try:
        yield
    except InvalidJobError as error:
        _fail(*(f"{error.source}: {problem}" for problem in error.problems))
    except (night_files.NightError, records.RecordError) as error:
        _fail(*str(error).splitlines())
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}")


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        typer.secho(f"error: {line}", err=True, fg="red")
    raise typer.Exit(1)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _from_here(path: Path) -> str:
    """The path as a user types it: relative where it lies below the current directory."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def _now() -> datetime:
    return datetime.now(UTC)
