"""`nightspot demo` and `nightspot run`: which night is played, on what stage.

How it is shown and kept is `night_stage`'s; what a run of a deployed job needs is handed on to `run_aws`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nightspot.cli import account, completion, overrides, run_aws
from nightspot.cli._shared import Json, fail, mistakes
from nightspot.cli.night_stage import Stage, play, playable
from nightspot.cli.operate_sources import Api, StackName, operating_mistakes, place_of
from nightspot.durations import DurationError, parse_duration
from nightspot.job import apply_overrides, read_overrides
from nightspot.local import night_files
from nightspot.local.nights import NIGHTS, Night

# The repository that this package was installed from; the demo's job and training script are in it.
ROOT = Path(__file__).parents[2]

NightName = Annotated[str | None, typer.Option("--night", metavar="NAME", help=f"{', '.join(NIGHTS)}.")]
TimeScale = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Seconds of the story in a real one, from 1 on; without it, the job file's local.time_scale.",
    ),
]
Build = Annotated[Path, typer.Option(metavar="DIR", help="Where records (in runs/) and logs go.")]
# Help says nothing of the machine that it is printed on.
DemoBuild = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Where records (in runs/) and logs go; build in the clone by default.",
        show_default=False,
    ),
]


def demo(
    night: NightName = None,
    seed: Annotated[int, typer.Option(min=0, help="Makes the data, the training and the mishaps.")] = 7,
    time_scale: TimeScale = None,
    as_json: Json = False,
    build: DemoBuild = ROOT / "build",
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
            job=staging.with_seed(playable(job_file), seed),
            job_file=job_file,
            night=staging.night_with_seed(chosen, seed),
            time_scale=scale,
            directory=ROOT,
            scratch=staging.emptied(build / "demo"),
            records=build / "runs",
        )
        play(stage, as_json=as_json)


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
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until the run is over, with a line for all that happens.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="With --wait: how long at the most.")
    ] = None,
    fail_on_remarks: run_aws.FailOnRemarks = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key again is the same run: for pipelines.")
    ] = None,
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
    build: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where records (in runs/) and logs go; build by default."),
    ] = None,
) -> None:
    """Start a run of a deployed job; or with --local, play a night of any job file on this machine.

    --market, --instance-type, --deadline, --hyperparameter, --budget and --fallback change this run only.
    --night, --market-file, --trace, --trace-offset, --time-scale and --build are for --local, whose training
    command runs in the current directory. Without --stack or --api the stack is Nightspot.
    """
    market, market_file = overrides.market_and_file(market, market_file)
    own = overrides.overrides_of(
        market=market,
        instance_types=instance_type,
        deadline=deadline,
        hyperparameters=hyperparameter,
        budget=budget,
        fallback=fallback,
    )
    about_aws = {
        "--stack": stack,
        "--api": api,
        "--region": region,
        "--profile": profile,
        "--wait": wait or None,
        "--timeout": timeout,
        "--idempotency-key": idempotency_key,
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
        _run_here(Path(job), setting, own, as_json=as_json, fail_on_remarks=fail_on_remarks)
    _refuse(about_night, "needs --local: AWS has its own nights")
    if job.endswith((".yaml", ".yml")) or "/" in job:
        rule = "a job file is played on this machine: add --local; a deployed job is started by its name"
        raise typer.BadParameter(f"JOB: {job!r}: {rule}")
    run_aws.check_key(idempotency_key)
    run_aws.check_fail_on_remarks(fail_on_remarks, wait=wait)
    longest = run_aws.timeout_of(timeout, wait=wait)
    way = run_aws.Way(wait, longest, as_json, region, profile, fail_on_remarks)
    with mistakes(), operating_mistakes():
        place = place_of(
            from_folder=None,
            local=False,
            table=None,
            stack=run_aws.default_stack(None, stack, api),
            api=api,
            region=region,
            profile=profile,
        )
        begun = run_aws.start(place, job, own, idempotency_key)
        raise typer.Exit(run_aws.tell_and_wait(place, begun, way))


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
    scale, offset_seconds = _scale(setting.time_scale), _offset_seconds(setting.trace_offset)
    chosen = _night_named(setting.night or "quiet")

    from nightspot.local import staging  # noqa: PLC0415 - as in `demo`

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


def _offset_seconds(given: str | None) -> float:
    try:
        return 0 if given is None else parse_duration(given)
    except DurationError as error:
        raise typer.BadParameter(f"--trace-offset: {given!r}: {error}") from error
