"""`nightspot drill`: which training is killed and resumed, and where; what may be asked for in either place."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.cli import account, drill_aws
from nightspot.cli._shared import PICTURES, Json, check_file, fail, mistakes, print_json, seconds_of
from nightspot.cli.exit_status import ExitStatus
from nightspot.drill.lives import MetricDefinitionError, definitions_of
from nightspot.drill.report import DrillReport, report_of
from nightspot.drill.verdict import Evidence
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.local import drill as drilling
from nightspot.local.drill import DrillOptions
from nightspot.local.sagemaker.container import CommandError
from nightspot.terminal import drill_text
from nightspot.terminal.lines import console_for

BAD_INPUT = 2
MOST_KILLS = 1000

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def drill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")],
    *,
    local: Annotated[
        bool, typer.Option("--local", help="On this machine, by local.command; else on AWS.")
    ] = False,
    kills: Annotated[
        int | None, typer.Option(metavar="N", help="Local: how often the training is killed. [6]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Local: draws the kinds and moments of the kills. [7]")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="R", help="Local: numbers may differ by this share of themselves. [not at all]"),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Local: for the command, before the job file's; repeatable."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Local: the longest one process may take. [10min]")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Local: from SIGTERM to SIGKILL; SageMaker's is 2min. [10s]"),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Local: the two curves. [build/drills/NAME.png]")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Local: keep logs and journals in this new folder.")
    ] = None,
    market: drill_aws.Market = None,
    instance_type: drill_aws.InstanceType = None,
    max_minutes: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=40_320, help="The most that each of the two jobs may train. [60]"
        ),
    ] = None,
    max_usd: drill_aws.MaxUsd = None,
    to_the_end: drill_aws.ToTheEnd = False,
    keep_checkpoints: drill_aws.KeepCheckpoints = False,
    yes: drill_aws.Yes = False,
    placeholder: account.Placeholders = None,
    stack: account.Stack = None,
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Json = False,
) -> None:
    """Kill a training, resume it, compare the results: PASS or FAIL.

    With --local at random moments, in the current directory. Else on AWS: one stop, one resume, for money.
    Exit status: 0 PASS, 1 FAIL, 2 where the drill cannot be done.
    """
    here = {
        "kills": kills,
        "seed": seed,
        "tolerance": tolerance,
        "env": env,
        "timeout": timeout,
        "grace": grace,
        "picture": picture,
        "keep": keep,
    }
    there = {
        "market": market,
        "instance_type": instance_type,
        "max_minutes": max_minutes,
        "max_usd": max_usd,
        "to_the_end": to_the_end,
        "keep_checkpoints": keep_checkpoints,
        "yes": yes,
        "placeholders": placeholder,
        "stack": stack,
        "region": region,
        "profile": profile,
    }
    _refuse(there if local else here, local=local)
    if local:
        _drill_here(file, _given(here), as_json=as_json)
        return
    with bad_input():
        job = load_job(file)
    drill_aws.drill_on_aws(job, **_given(there), as_json=as_json)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _refuse(others: Mapping[str, Any], *, local: bool) -> None:
    """Options of the other kind of drill would be silently without effect."""
    for name, value in others.items():
        if value is not None and value is not False:
            rule = "is for a drill on AWS, without --local" if local else "is for a drill with --local"
            option = name.removesuffix("s") if name == "placeholders" else name.replace("_", "-")
            raise typer.BadParameter(f"--{option}: {rule}")


def _drill_here(file: Path, given: dict[str, Any], *, as_json: bool) -> None:
    _check_numbers(given.get("kills", 1), given.get("tolerance", 0.0))
    picture, keep = given.pop("picture", None), given.pop("keep", None)
    for name, field in (("timeout", "limit_seconds"), ("grace", "grace_seconds")):
        if name in given:
            given[field] = seconds_of(f"--{name}", given.pop(name))
    given["environment"] = _environment(given.pop("env", []))
    if picture is not None:
        check_file("--picture", picture, PICTURES)
    with bad_input():
        report = play(file, given, picture=picture, keep=keep, as_json=as_json)
    raise typer.Exit(0 if report.passed else 1)


@contextmanager
def bad_input() -> Iterator[None]:
    """Inside: what the user can fix ends the command with its words and status 2: status 1 is FAIL."""
    try:
        with mistakes():
            try:
                yield
            except (MetricDefinitionError, CommandError) as error:
                fail(str(error))
    except typer.Exit as ended:
        raise typer.Exit(BAD_INPUT if ended.exit_code == 1 else ended.exit_code) from None


def _check_numbers(kills: int, tolerance: float) -> None:
    if not 1 <= kills <= MOST_KILLS:
        raise typer.BadParameter(f"--kills: {kills}: must be a number from 1 to {MOST_KILLS}")

    if not 0 <= tolerance < 1:
        raise typer.BadParameter(f"--tolerance: {tolerance:g}: must be a share from 0 to less than 1")


def _environment(given: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _ENVIRONMENT_NAME.fullmatch(name):
            raise typer.BadParameter(
                f"--env: {name!r}: must be NAME=VALUE, with letters, digits and _ in NAME"
            )
        if name in named:
            raise typer.BadParameter(f"--env: {name!r}: must be given only once")
        named[name] = value
    return named


PICTURES_IN = Path("build/drills")


def play(
    file: Path, given: Mapping[str, Any], *, picture: Path | None, keep: Path | None, as_json: bool
) -> DrillReport:
    """Drill the job of `file` and show what came of it; `given` are fields of DrillOptions.

    Raises InvalidJobError, MetricDefinitionError, CommandError, OSError and typer.BadParameter for what the user
    can fix.
    """
    job, options = _drillable(file), DrillOptions(**given)
    console = console_for()
    with _scratch(keep) as scratch:
        if not as_json:
            drill_text.show_header(console, job.name, str(file), options.kills, options.seed)
        try:
            evidence = drilling.drill(
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
            raise typer.Exit(ExitStatus.INTERRUPTED) from None
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
