"""`nightspot demo` and `nightspot run`: which night is played, on what stage, and how it is shown and kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nightspot.cli import overrides, report_files
from nightspot.cli._shared import Json, fail, mistakes, print_json
from nightspot.durations import DurationError, parse_duration
from nightspot.job import InvalidJobError, Job, Problem, apply_overrides, load_job, read_overrides
from nightspot.local import night_files, records
from nightspot.local.nights import NIGHTS, Night
from nightspot.report import tables
from nightspot.report.lines import console_for, paragraph
from nightspot.report.timeline import Timeline

# The repository that this package was installed from; the demo's job and training script are in it.
ROOT = Path(__file__).parents[2]
INTERRUPTED = 130  # as shells count it: 128 + SIGINT

NightName = Annotated[str | None, typer.Option("--night", metavar="NAME", help=f"{', '.join(NIGHTS)}.")]
TimeScale = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Seconds of the story in a real one, from 1 on; without it, the job file's local.time_scale.",
    ),
]
Build = Annotated[Path, typer.Option(metavar="DIR", help="Where records (in runs/) and logs go.")]


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
    with mistakes():
        if not job_file.is_file():
            fail("the demo plays a job of Nightspot's repository: run it from a clone")
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


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")],
    *,
    local: Annotated[bool, typer.Option("--local", help="On this machine, in an emulated AWS.")] = False,
    night: NightName = None,
    market_file: overrides.MarketFile = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Spot as in a public availability trace.")
    ] = None,
    trace_offset: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How far into the trace the night starts.")
    ] = None,
    market: overrides.Market = None,
    instance_type: overrides.InstanceTypes = None,
    deadline: overrides.Deadline = None,
    hyperparameter: overrides.Hyperparameters = None,
    budget: overrides.Budget = None,
    fallback: overrides.Fallback = None,
    time_scale: TimeScale = None,
    as_json: Json = False,
    build: Build = Path("build"),
) -> None:
    """Play a night of any job file; its training command runs in the current directory.

    --market, --instance-type, --deadline, --hyperparameter, --budget and --fallback change this run only.
    """
    if not local:
        raise typer.BadParameter("this version starts runs on this machine only: add --local")
    market, market_file = overrides.market_and_file(market, market_file)
    if sum(given is not None for given in (night, market_file, trace)) > 1:
        rule = "only one of --night, --market-file and --trace can say what the night is like"
        raise typer.BadParameter(rule)
    if trace_offset is not None and trace is None:
        raise typer.BadParameter("--trace-offset needs --trace")
    scale, offset_seconds = _scale(time_scale), _offset_seconds(trace_offset)
    named = _night_named(night or "quiet")
    own = overrides.overrides_of(
        market=market,
        instance_types=instance_type,
        deadline=deadline,
        hyperparameters=hyperparameter,
        budget=budget,
        fallback=fallback,
    )

    from nightspot.local import staging  # noqa: PLC0415 - as in `demo`

    with mistakes():
        job = _playable(file)
        chosen = named
        # What the options say must fit the job before anything is made for the night.
        tonight = apply_overrides(job, read_overrides(own, check_instance_types=True))
        if market_file is not None:
            chosen = night_files.night_of_file(market_file, tonight)
        elif trace is not None:
            chosen = night_files.night_of_trace(trace, offset_seconds)
        stage = Stage(
            job=job,
            job_file=file,
            night=replace(chosen, overrides={**chosen.overrides, **own}),
            time_scale=scale,
            directory=Path.cwd(),
            scratch=staging.new_folder(build / "runs", f"{job.name}-{_now():%Y%m%dT%H%M%S}"),
            records=build / "runs",
        )
        _play(stage, as_json=as_json)


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
        fail(f"the night hangs: {error} is still running; its logs are in {facts['scratch']}")
    except KeyboardInterrupt:
        typer.echo("interrupted: everything the night had started is stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    record = records.record_of(facts, night.summary, staging.ending(night))
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


def _from_here(path: Path) -> str:
    """The path as a user types it: relative where it lies below the current directory."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def _now() -> datetime:
    return datetime.now(UTC)
