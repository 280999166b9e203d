"""`nightspot demo` and `nightspot run`: which night is played, on what stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import nightspot
from nightspot.cli import _shared, completion, report
from nightspot.cli._shared import ExitStatus, Json, fail, grouped, mistakes, print_json, seconds_of, utc_now
from nightspot.cli.runs import start
from nightspot.cli.runs.place import Where, operating_mistakes
from nightspot.job.errors import InvalidJobError
from nightspot.job.model import Job
from nightspot.job.overrides import apply_overrides, read_overrides
from nightspot.job.reading import load_job
from nightspot.job.rules import not_trained_here
from nightspot.local.stage import night_files
from nightspot.local.stage.emulated_aws import NightNotOverError
from nightspot.local.stage.night_files import NIGHTS, Night
from nightspot.local.stage.records import Played
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

    check_scale(time_scale)
    chosen = night_named(night or "bad")
    job_file = (DEMO / "jobs" / "recommender.yaml").resolve()
    with mistakes():
        play(
            staging.with_seed(playable(job_file), seed),
            staging.night_with_seed(chosen, seed),
            job_file=job_file,
            time_scale=time_scale,
            directory=DEMO,
            scratch=staging.emptied(build / "demo"),
            folder=build / "runs",
            as_json=as_json,
        )


@dataclass(frozen=True)
class Story:
    """The options that say what a local night is like."""

    night: NightName = None
    market_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML file that says when there is capacity.")
    ] = None
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Spot as in a public availability trace.")
    ] = None
    trace_offset: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How far into the trace the night starts.")
    ] = None


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
    wait: start.WaitOrder,
    story: Story,
    overrides: start.StartOverrides,
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
    market, market_file = start.market_and_file(overrides.market, story.market_file)
    own = replace(overrides, market=market).given()
    story = replace(story, market_file=market_file)
    if local:
        about_aws = {**vars(where), **vars(wait), "fail_on_remarks": None}
        _refuse(about_aws, "means nothing with --local, which plays the whole run here")
        _run_here(
            Path(job),
            story,
            own,
            time_scale=time_scale,
            records=(build or Path("build")) / "runs",
            as_json=as_json,
            fail_on_remarks=wait.fail_on_remarks,
        )
    about_night = {**vars(story), "time_scale": time_scale, "build": build}
    _refuse(about_night, "needs --local: AWS has its own nights")
    if job.endswith((".yaml", ".yml")) or "/" in job:
        rule = "a job file is played on this machine: add --local; a deployed job is started by its name"
        raise typer.BadParameter(f"JOB: {job!r}: {rule}")
    wait.check()
    with mistakes(), operating_mistakes():
        place = where.deployed()
        begun = start.start(place, job, own, wait.idempotency_key)
        raise typer.Exit(start.tell_and_wait(place, begun, wait, as_json=as_json))


def _refuse(given: Mapping[str, object], rule: str) -> None:
    for name, value in given.items():
        if value is not None and value is not False:
            shown = "" if value is True else f"{str(value)!r}: "
            raise typer.BadParameter(f"--{name.replace('_', '-')}: {shown}{rule}")


def _run_here(
    file: Path,
    story: Story,
    own: dict[str, Any],
    *,
    time_scale: float | None,
    records: Path,
    as_json: bool,
    fail_on_remarks: bool,
) -> NoReturn:
    """Play a night of the job file with these overrides. Raises typer.BadParameter."""
    if sum(given is not None for given in (story.night, story.market_file, story.trace)) > 1:
        rule = "only one of --night, --market-file and --trace can say what the night is like"
        raise typer.BadParameter(rule)
    offset = story.trace_offset
    if offset is not None and story.trace is None:
        raise typer.BadParameter("--trace-offset needs --trace")
    check_scale(time_scale)
    offset_seconds = 0 if offset is None else seconds_of("--trace-offset", offset)
    chosen = night_named(story.night or "quiet")

    from nightspot.local.stage import staging  # noqa: PLC0415 - as in `demo`

    with mistakes():
        job = playable(file)
        # What the options say must fit the job before anything is made for the night.
        tonight = apply_overrides(job, read_overrides(own, check_instance_types=True))
        if story.market_file is not None:
            chosen = night_files.night_of_file(story.market_file, tonight)
        elif story.trace is not None:
            chosen = night_files.night_of_trace(story.trace, offset_seconds)
        play(
            job,
            replace(chosen, overrides={**chosen.overrides, **own}),
            job_file=file,
            time_scale=time_scale,
            directory=Path.cwd(),
            scratch=staging.new_folder(records, f"{job.name}-{utc_now():%Y%m%dT%H%M%S}"),
            folder=records,
            as_json=as_json,
            fail_on_remarks=fail_on_remarks,
        )


def night_named(name: str) -> Night:
    """Raises typer.BadParameter."""
    try:
        return night_files.night_named(name)
    except night_files.NightError as error:
        raise typer.BadParameter(str(error)) from error


def check_scale(given: float | None) -> None:
    """Raises typer.BadParameter where the story would be slower than the clock."""
    if given is not None and not 1 <= given < math.inf:
        raise typer.BadParameter(f"--time-scale: {given:g}: must be a number from 1 on")


def play(
    job: Job,
    night: Night,
    *,
    job_file: Path,
    time_scale: float | None,
    directory: Path,
    scratch: Path,
    folder: Path,
    as_json: bool,
    fail_on_remarks: bool = False,
) -> NoReturn:
    """Play the night, show it, keep its record in `folder`, and exit with what it came to, see `of_record`.

    `time_scale`: None where the job's own holds.
    """
    from nightspot.local.stage import staging  # noqa: PLC0415 - as in `demo`

    job = job if time_scale is None else staging.at_scale(job, time_scale)
    started_at = staging.story_start(job, utc_now())
    console = console_for()
    tonight = apply_overrides(job, read_overrides(night.overrides, check_instance_types=True))
    timeline = Timeline(console, spot_first=bool(tonight.capacity.spot))
    try:
        with ExitStack() as shown:

            def begin(played: Played) -> None:
                if not as_json:
                    tables.show_header(console, played)
                    shown.enter_context(timeline)

            record, path = staging.play_and_record(
                job,
                night,
                started_at=started_at,
                job_file=_from_here(job_file),
                scratch=scratch,
                folder=folder,
                directory=directory,
                on_start=begin,
                on_sighting=(lambda _seen: None) if as_json else timeline,
                name_of=_from_here,
            )
    except NightNotOverError as error:
        fail(f"the run hangs: {error} is still running; its logs are in {_from_here(scratch)}")
    except KeyboardInterrupt:
        typer.echo("interrupted: everything the run had started is stopped", err=True)
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    page = report.write_page(record, scratch / "report.html")
    if as_json:
        print_json(record.to_json())
    else:
        tables.show_outcome(console, record)
        where = _from_here(folder)
        option = "" if where == str(Path("build/runs")) else f" --records {where}"
        paragraph(console, "Record", f"{_from_here(path)}; again: nightspot show {path.stem}{option}")
        paragraph(console, "Report", f"{_from_here(page)}; open it in a browser.")
    raise typer.Exit(_shared.of_record(record, fail_on_remarks=fail_on_remarks))


def playable(path: Path) -> Job:
    """The job of a file, which says how to train it here. Raises InvalidJobError."""
    job = load_job(path)
    if problems := not_trained_here(job):
        raise InvalidJobError(problems, str(path))
    return job


def _from_here(path: Path) -> str:
    """The path as a user types it: relative where it lies below the current directory."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
