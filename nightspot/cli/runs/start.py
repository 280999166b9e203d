"""How a run of a deployed job is started by a command: its overrides, what is told of it, how it is waited for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any

import typer

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import ApiError
from nightspot.aws.runs.operating import DeployedJobs, DeploymentError
from nightspot.cli import _shared
from nightspot.cli import jobs as operate_jobs
from nightspot.cli._shared import ExitStatus, fail, named, note, print_json, seconds_of
from nightspot.cli.runs import follow
from nightspot.cli.runs.place import Place, output
from nightspot.client import starting
from nightspot.client.starting import (
    MACHINE_OUTPUT,
    StartedRun,
    UnknownJobError,
    check_with_jobs,
    start_path,
)
from nightspot.formats.figures import visible
from nightspot.job.markets import MarketChoice
from nightspot.job.overrides import read_overrides

# (--market's words; anything else that stands there is a file)
CHOICES = tuple(choice.value for choice in MarketChoice)


@dataclass(frozen=True)
class StartOverrides:
    """The options that change one run only."""

    market: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(CHOICES), help="What this run buys; or a market file, as --market-file."
        ),
    ] = None
    instance_type: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE[@SPEED]", help="The ladder of this run, best first; give it once for each type."
        ),
    ] = None
    deadline: Annotated[
        str | None,
        typer.Option(metavar="6h|07:00", help="When this run's model is due: after so long, or at."),
    ] = None
    hyperparameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Instead of the job's; may be repeated.")
    ] = None
    budget: Annotated[str | None, typer.Option(metavar="USD", help="The most that this run may cost.")] = None
    fallback: Annotated[str | None, typer.Option(metavar="on_demand|never", help="What follows Spot.")] = None

    def given(self) -> dict[str, Any]:
        """What was given, as the execution's input names it; `nightspot.job.read_overrides` checks it."""
        given = {
            "market": self.market,
            "instance_types": [_type_of(text) for text in self.instance_type or ()] or None,
            "deadline": self.deadline,
            "hyperparameters": named("--hyperparameter", self.hyperparameter or []) or None,
            "budget": None if self.budget is None else _usd(self.budget),
            "fallback": self.fallback,
        }
        return {name: value for name, value in given.items() if value is not None}


def market_and_file(market: str | None, market_file: Path | None) -> tuple[str | None, Path | None]:
    """`--market` takes a word, or, as it always has, the file that `--market-file` names."""
    if market is None or market in CHOICES:
        return market, market_file
    if market_file is not None:
        raise typer.BadParameter(f"--market: {market!r}: must be one of {', '.join(CHOICES)}")
    if not Path(market).exists() and not market.endswith((".yaml", ".yml")):
        rule = f"must be one of {', '.join(CHOICES)}, or a market file"
        raise typer.BadParameter(f"--market: {market!r}: {rule}")
    return None, Path(market)


def _type_of(text: str) -> str | dict[str, Any]:
    name, at, speed = text.partition("@")
    if not at:
        return name
    try:
        return {"instance_type": name, "speed": float(speed)}
    except ValueError as error:
        rule = "must be TYPE or TYPE@SPEED, such as ml.g5.48xlarge@0.45"
        raise typer.BadParameter(f"--instance-type: {text!r}: {rule}") from error


def _usd(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"--budget: {text!r}: must be a number of US dollars") from error


LONGEST_KEY = 128
_WITH_MODEL = {ExitStatus.IN_TIME, ExitStatus.LATE}
RUN_COMMAND = "nightspot run"  # as a run that it starts says who asked for it


@dataclass(frozen=True)
class WaitOrder:
    """The options that say how a start is waited for, and that it is the same as one before."""

    wait: Annotated[
        bool, typer.Option("--wait", help="Until the run is over, with a line for all that happens.")
    ] = False
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="With --wait: how long at the most.")
    ] = None
    fail_on_remarks: Annotated[
        bool,
        typer.Option(
            "--fail-on-remarks",
            help=f"With --wait or --local: status {ExitStatus.REMARKS} for a model with remarks, such as "
            '"finished at step 3 of 24".',
        ),
    ] = False
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key again is the same run: for pipelines.")
    ] = None

    def check(self) -> None:
        """Raises typer.BadParameter for a key that could not stand in a header, and where nobody waits."""
        key = self.idempotency_key
        fits = key is None or (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable())
        if not fits or " " in (key or ""):
            rule = f"must be 1 to {LONGEST_KEY} characters of ASCII without a blank"
            raise typer.BadParameter(f"--idempotency-key: {key!r}: {rule}")
        for option, given in (
            ("--fail-on-remarks", self.fail_on_remarks),
            ("--timeout", self.timeout is not None),
        ):
            if given and not self.wait:
                raise typer.BadParameter(f"{option} needs --wait")
        self.longest_seconds()

    def longest_seconds(self) -> int | None:
        """None where the wait has no limit. Raises typer.BadParameter."""
        return None if self.timeout is None else seconds_of("--timeout", self.timeout)


def start(place: Place, job: str, overrides: Mapping[str, Any], key: str | None) -> StartedRun:
    """Start a run of a deployed job; the same key again is the same run.

    What is wrong ends the command with its words, before anything is started where that can be told. Raises
    InvalidOverridesError, ApiError, and what `nightspot.aws.runs.executions.Starter.start` raises.
    """
    read_overrides(overrides, check_instance_types=True)
    if place.api is not None:
        return post_start(place, job, start_path(job), overrides, key=key)
    check_with_deployed(place, job, overrides)
    if place.aws is None or place.stack is None:
        raise ValueError("only a stack says which state machine it has")
    machine_arn = output(place.aws, place.stack, MACHINE_OUTPUT)
    return start_execution(place, machine_arn, job, overrides, key=key, requested_by=RUN_COMMAND)


def post_start(
    place: Place,
    job: str,
    path: str,
    overrides: Mapping[str, Any],
    *,
    key: str | None = None,
    resume_from: str | None = None,
) -> StartedRun:
    """Ask the API for a start; without `key`, under one of this command alone. Raises what `post` raises."""
    if place.api is None:
        raise ValueError("only an API can be posted to")
    with _perhaps_begun(place, job):
        begun = starting.post_start(place.api, path, overrides, key=key, resume_from=resume_from)
    for warning in begun.warnings:
        note(f"warning: {visible(warning)}")
    return begun


def start_execution(
    place: Place,
    machine_arn: str,
    job: str,
    overrides: Mapping[str, Any],
    *,
    requested_by: str,
    key: str | None = None,
    resume_from: str | None = None,
) -> StartedRun:
    """Start a run as an execution of the deployment's state machine. Raises what `Starter.start` raises."""
    if place.aws is None:
        raise ValueError("only a deployment has a state machine")
    with _perhaps_begun(place, job):
        return starting.start_execution(
            place.aws.client("stepfunctions"),
            place.table(),
            machine_arn,
            job,
            overrides,
            requested_by=requested_by,
            key=key,
            resume_from=resume_from,
        )


@contextmanager
def _perhaps_begun(place: Place, job: str) -> Iterator[None]:
    """Inside: a start whose answer nobody has is told to be one that may have gone through."""
    look = " ".join(("nightspot", "runs", "--job", job, *place.options))
    words = f"a run of {job} may have started all the same; to see: {look}"
    try:
        yield
    except KeyboardInterrupt:
        note(f"interrupted; {words}")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except (ApiError, TransientAwsError) as error:
        if not isinstance(error, ApiError) or error.status >= 500:
            note(words)
        raise


def check_with_deployed(place: Place, job: str, overrides: Mapping[str, Any]) -> DeployedJobs | None:
    """Hold the job's name and the overrides against what is deployed, so that a mistake costs nothing.

    Returns what is deployed; None where it cannot be read. Who may not read it (a pipeline's role) is told so: the
    run's plan checks them all the same. Raises InvalidOverridesError.
    """
    if place.aws is None or place.stack is None:
        return None
    try:
        found = operate_jobs.deployed(place.aws, place.stack)
    except DeploymentError as error:
        note(f"not checked before the start, but by the run's plan: {error}")
        return None
    try:
        warnings = check_with_jobs(found.jobs, job, overrides)
    except UnknownJobError as error:
        fail(str(error))
    for warning in warnings:
        note(f"warning: {warning}")
    return found


def tell_and_wait(place: Place, begun: StartedRun, way: WaitOrder, *, as_json: bool) -> ExitStatus:
    """Say what has begun, and wait for it where that was asked for. The status that the command is to end with."""
    if not as_json:
        tell_start(place, begun, wait=way.wait)
    told = begun.to_json(follow.console_of(place, begun.execution_arn))
    if not way.wait:
        if as_json:
            print_json(told)
        return ExitStatus.IN_TIME
    followed = followed_to_its_end(place, begun, way, as_json=as_json)
    if as_json:
        print_json({**told, **end_as_json(followed)})
    follow.tell_end(place, begun.run_id, followed, begun.execution_arn)
    return followed.status


def followed_to_its_end(place: Place, begun: StartedRun, way: WaitOrder, *, as_json: bool) -> follow.Followed:
    """Wait for the end of a run, with a line for all that happens."""
    followed = follow.follow(
        follow.looker(place, begun.run_id, begun.execution_arn),
        sleep=sleep,
        monotonic=monotonic,
        pace=follow.pace_of(place),
        now=follow.clock_of(place),
        # Where standard output is for JSON, the lines that keep a pipeline from being silent go beside it.
        on_news=lambda line: follow.print_line(line, err=as_json),
        longest_seconds=way.longest_seconds(),
    )
    if way.fail_on_remarks and followed.record is not None and followed.status in _WITH_MODEL:
        followed = replace(followed, status=_shared.of_record(followed.record, fail_on_remarks=True))
    return followed


def end_as_json(followed: follow.Followed) -> dict[str, Any]:
    """What `--json` prints of a run's end."""
    record = None if followed.record is None else followed.record.to_json()
    return {"exit_status": int(followed.status), "record": record}


def tell_start(place: Place, begun: StartedRun, *, wait: bool) -> None:
    """Say that a run has begun, and how to watch and stop it."""
    begins = "has started" if begun.is_new else "had been started by the same request already"
    resumes = f", from the last checkpoint of {begun.resume_from}" if begun.resume_from else ""
    typer.echo(f"Run {begun.run_id} of {begun.job} {begins}{resumes}.")
    if not wait:
        typer.echo(f"Watch:   {follow.command('watch', begun.run_id, place)}")
    typer.echo(f"Stop:    {follow.command('stop', begun.run_id, place)}")
    if link := follow.console_of(place, begun.execution_arn):
        typer.echo(f"Console: {link}")
