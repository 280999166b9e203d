"""`nightspot demo` and `nightspot run`: which night is played, on what stage.

How it is shown and kept is `night_stage`'s; what a run of a deployed job needs is handed on to `run_aws`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import nightspot
from nightspot.cli import _shared, completion, report
from nightspot.cli._shared import ExitStatus, Json, fail, grouped, mistakes, print_json, seconds_of, utc_now
from nightspot.cli.runs import start
from nightspot.cli.runs.place import Where, operating_mistakes
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job
from nightspot.job.overrides import apply_overrides, read_overrides
from nightspot.job.reading import load_job
from nightspot.local.stage import night_files, records
from nightspot.local.stage.night_files import NIGHTS, Night
from nightspot.terminal import tables
from nightspot.terminal.lines import console_for, paragraph
from nightspot.terminal.timeline import Timeline

DEMO = Path(nightspot.__file__).parent / "demo"  # its job and its training script

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
    build: Build = Path("build"),
) -> None:
    """Play a night of the example job on this machine.

    Without --night, a bad one.
    """
    # The emulated AWS takes seconds to load, and a deployed job is started without it: nightspot[cli] has none.
    from nightspot.local.stage import staging  # noqa: PLC0415

    scale, chosen = _scale(time_scale), _night_named(night or "bad")
    job_file = (DEMO / "jobs" / "recommender.yaml").resolve()
    with mistakes():
        stage = Stage(
            job=staging.with_seed(playable(job_file), seed),
            job_file=job_file,
            night=staging.night_with_seed(chosen, seed),
            time_scale=scale,
            directory=DEMO,
            scratch=staging.emptied(build / "demo"),
            records=build / "runs",
        )
        play(stage, as_json=as_json)


@grouped
def run(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB",
            help="A deployed job's name; with --local, a job file.",
            autocompletion=completion.jobs,
        ),
    ],
    *,
    local: Annotated[bool, typer.Option("--local", help="On this machine, in an emulated AWS.")] = False,
    where: Annotated[Where, ("stack", "api", "region", "profile")],
    wait: start.Waiting,
    night: NightName = None,
    market_file: start.MarketFile = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Spot as in a public availability trace.")
    ] = None,
    trace_offset: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How far into the trace the night starts.")
    ] = None,
    overrides: start.Overrides,
    time_scale: TimeScale = None,
    as_json: Json = False,
    build: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where records (in runs/) and logs go; build by default."),
    ] = None,
) -> None:
    """Start a run of a deployed job; with --local, play one here.

    --market, --instance-type, --deadline, --hyperparameter, --budget and --fallback change this run only.
    --night, --market-file, --trace, --trace-offset, --time-scale and --build are for --local, whose training
    command runs in the current directory. Without --stack or --api the stack is Nightspot.
    """
    market, market_file = start.market_and_file(overrides.market, market_file)
    own = replace(overrides, market=market).given()
    about_aws = {
        "--stack": where.stack,
        "--api": where.api,
        "--region": where.region,
        "--profile": where.profile,
        "--wait": wait.wait or None,
        "--timeout": wait.timeout,
        "--idempotency-key": wait.idempotency_key,
    }
    about_night = {
        "--night": night,
        "--market-file": market_file,
        "--trace": trace,
        "--trace-offset": trace_offset,
        "--time-scale": time_scale,
        "--build": build,
    }
    if local:
        _refuse(about_aws, "means nothing with --local, which plays the whole night here")
        setting = Setting(night, market_file, trace, trace_offset, time_scale, build or Path("build"))
        _run_here(Path(job), setting, own, as_json=as_json, fail_on_remarks=wait.fail_on_remarks)
    _refuse(about_night, "needs --local: AWS has its own nights")
    if job.endswith((".yaml", ".yml")) or "/" in job:
        rule = "a job file is played on this machine: add --local; a deployed job is started by its name"
        raise typer.BadParameter(f"JOB: {job!r}: {rule}")
    wait.check()
    with mistakes(), operating_mistakes():
        place = where.deployed()
        begun = start.start(place, job, own, wait.idempotency_key)
        raise typer.Exit(start.tell_and_wait(place, begun, wait, as_json=as_json))


@dataclass(frozen=True)
class Setting:
    """What was said of a local night, unchecked."""

    night: str | None
    market_file: Path | None
    trace: Path | None
    trace_offset: str | None
    time_scale: float | None
    build: Path


def _refuse(given: Mapping[str, object], rule: str) -> None:
    for option, value in given.items():
        if value is not None:
            shown = "" if value is True else f"{str(value)!r}: "
            raise typer.BadParameter(f"{option}: {shown}{rule}")


def _run_here(
    file: Path, setting: Setting, own: dict[str, Any], *, as_json: bool, fail_on_remarks: bool
) -> NoReturn:
    """Play a night of the job file with these overrides. Raises typer.BadParameter."""
    if sum(given is not None for given in (setting.night, setting.market_file, setting.trace)) > 1:
        rule = "only one of --night, --market-file and --trace can say what the night is like"
        raise typer.BadParameter(rule)
    if setting.trace_offset is not None and setting.trace is None:
        raise typer.BadParameter("--trace-offset needs --trace")
    scale, offset = _scale(setting.time_scale), setting.trace_offset
    offset_seconds = 0 if offset is None else seconds_of("--trace-offset", offset)
    chosen = _night_named(setting.night or "quiet")

    from nightspot.local.stage import staging  # noqa: PLC0415 - as in `demo`

    with mistakes():
        job = playable(file)
        # What the options say must fit the job before anything is made for the night.
        tonight = apply_overrides(job, read_overrides(own, check_instance_types=True))
        if setting.market_file is not None:
            chosen = night_files.night_of_file(setting.market_file, tonight)
        elif setting.trace is not None:
            chosen = night_files.night_of_trace(setting.trace, offset_seconds)
        stage = Stage(
            job=job,
            job_file=file,
            night=replace(chosen, overrides={**chosen.overrides, **own}),
            time_scale=scale,
            directory=Path.cwd(),
            scratch=staging.new_folder(
                setting.build / "runs", f"{job.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
            ),
            records=setting.build / "runs",
        )
        play(stage, as_json=as_json, fail_on_remarks=fail_on_remarks)


def _night_named(name: str) -> Night:
    try:
        return night_files.night_named(name)
    except night_files.NightError as error:
        raise typer.BadParameter(str(error)) from error


def _scale(given: float | None) -> float | None:
    if given is not None and not 1 <= given < math.inf:
        raise typer.BadParameter(f"--time-scale: {given:g}: must be a number from 1 on")
    return given


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
    from nightspot.local.stage import staging  # noqa: PLC0415 - as in `demo`

    job = stage.job if stage.time_scale is None else staging.at_scale(stage.job, stage.time_scale)
    started_at = staging.story_start(job, utc_now())
    places = {"job_file": _from_here(stage.job_file), "scratch": _from_here(stage.scratch)}
    played = staging.facts(job, stage.night, started_at, **places)
    console = console_for()
    timeline = Timeline(console, spot_first=played.spot_first)
    if not as_json:
        tables.show_header(console, played)
    try:
        with nullcontext() if as_json else timeline:
            night = staging.play(
                job,
                stage.night,
                scratch=stage.scratch,
                started_at=started_at,
                directory=stage.directory,
                on_sighting=(lambda _seen: None) if as_json else timeline,
            )
    except staging.NightNotOverError as error:
        fail(f"the night hangs: {error} is still running; its logs are in {played.scratch}")
    except KeyboardInterrupt:
        typer.echo("interrupted: everything the night had started is stopped", err=True)
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    record = records.record_of(played, night.record, staging.ending(night), utc_now())
    path = records.write(stage.records, record)
    page = report.write_page(record, stage.scratch / "report.html")
    if as_json:
        print_json(record.to_json())
    else:
        tables.show_outcome(console, record)
        where = _from_here(stage.records)
        option = "" if where == str(Path("build/runs")) else f" --records {where}"
        paragraph(console, "Record", f"{_from_here(path)}; again: nightspot show {path.stem}{option}")
        paragraph(console, "Report", f"{_from_here(page)}; open it in a browser.")
    raise typer.Exit(_shared.of_record(record, fail_on_remarks=fail_on_remarks))


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
