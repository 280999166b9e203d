"""Decides how a run of a deployed job is started by a command, what is told of it, and how it is waited for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from secrets import token_hex
from time import sleep
from typing import Any
from urllib.parse import quote

import typer

from nightspot.cli import account, follow, operate_jobs
from nightspot.cli._shared import fail, note, print_json
from nightspot.cli.exit_status import ExitStatus
from nightspot.cli.follow import Followed
from nightspot.cli.operate_sources import Place
from nightspot.durations import DurationError, parse_duration
from nightspot.job import Job, apply_overrides, read_overrides
from nightspot.messages.links import Console
from nightspot.report.news import News, NewsKind

MACHINE_OUTPUT = "StateMachineArn"
LONGEST_KEY = 128


@dataclass(frozen=True)
class Way:
    """How a start is waited for and told; `longest_seconds` is None where the wait has no limit."""

    wait: bool
    longest_seconds: int | None
    as_json: bool
    region: str | None
    profile: str | None


@dataclass(frozen=True)
class StartedRun:
    """A run that has begun, wherever it was asked for."""

    run_id: str
    job: str
    execution_arn: str
    started_at: datetime  # aware UTC
    is_new: bool
    resume_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {
            "run_id": self.run_id,
            "job": self.job,
            "execution_arn": self.execution_arn,
            "started_at": self.started_at.isoformat(),
            "is_new": self.is_new,
            "resume_from": self.resume_from,
            "console": console_of(self.execution_arn),
        }


def timeout_of(text: str | None, *, wait: bool) -> int | None:
    """The seconds that --timeout says. Raises typer.BadParameter."""
    if text is None:
        return None
    if not wait:
        raise typer.BadParameter("--timeout needs --wait")
    try:
        return parse_duration(text)
    except DurationError as error:
        raise typer.BadParameter(f"--timeout: {text!r}: {error}") from error


def check_key(key: str | None) -> None:
    """Raises typer.BadParameter where an idempotency key could not stand in a header."""
    if key is None or (
        0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable() and " " not in key
    ):
        return
    rule = f"must be 1 to {LONGEST_KEY} characters of ASCII without a blank"
    raise typer.BadParameter(f"--idempotency-key: {key!r}: {rule}")


def start(place: Place, job: str, overrides: Mapping[str, Any], key: str | None) -> StartedRun:
    """Start a run of a deployed job; the same key again is the same run.

    What is wrong ends the command with its words, before anything is started where that can be told. Raises
    InvalidOverridesError, ApiError, and what `nightspot.aws.starting.Starter.start` raises.
    """
    read_overrides(overrides, check_instance_types=True)
    if place.api is not None:
        path = f"/jobs/{quote(job, safe='')}/runs"
        answer = place.api.post(path, overrides, idempotency_key=key or new_key())
        return started_of(answer.body)
    check_with_deployed(place, job, overrides)
    return start_execution(place, _machine_of(place), job, overrides, key=key)


def new_key() -> str:
    """A key of one command alone: what makes its start safe to repeat."""
    return token_hex(16)


def start_execution(
    place: Place,
    machine_arn: str,
    job: str,
    overrides: Mapping[str, Any],
    *,
    key: str | None = None,
    resume_from: str | None = None,
) -> StartedRun:
    """Start a run as an execution of the deployment's state machine. Raises what `Starter.start` raises."""
    from nightspot.aws.starting import Starter, fresh_name, keyed_name  # noqa: PLC0415 - not for --help

    if place.aws is None:
        raise ValueError("only a deployment has a state machine")
    name = keyed_name(job, key) if key else fresh_name(job, datetime.now(UTC), token_hex(3))
    starter = Starter(place.aws.client("stepfunctions"), machine_arn)
    begun = starter.start(job, overrides, name=name, resume_from=resume_from)
    return StartedRun(begun.run_id, job, begun.execution_arn, begun.started_at, begun.is_new, resume_from)


def started_of(body: Mapping[str, Any], resume_from: str | None = None) -> StartedRun:
    """The run that the API says it has started."""
    return StartedRun(
        str(body["run_id"]),
        str(body["job"]),
        str(body["execution_arn"]),
        datetime.fromisoformat(body["started_at"]).astimezone(UTC),
        bool(body["is_new"]),
        resume_from,
    )


def check_with_deployed(place: Place, job: str, overrides: Mapping[str, Any]) -> None:
    """Hold the job's name and the overrides against what is deployed, so that a mistake costs nothing.

    Who may not read the deployed jobs (a pipeline's role) is told so: the run's plan checks them all the same.
    Raises InvalidOverridesError.
    """
    jobs = _deployed_jobs(place)
    if jobs is None:
        return
    if job not in jobs:
        near = get_close_matches(job, jobs, n=1)
        mean = f"; did you mean {near[0]}?" if near else ""
        fail(f"job: {job!r}: must be one of {', '.join(sorted(jobs)) or 'none, for there are none'}{mean}")
    apply_overrides(jobs[job], read_overrides(overrides))


def _deployed_jobs(place: Place) -> dict[str, Job] | None:
    from nightspot.aws.deployed_names import DeploymentError  # noqa: PLC0415
    from nightspot.aws.operating import deployed_jobs  # noqa: PLC0415

    if place.aws is None or place.stack is None:
        return None
    client = place.aws.client
    try:
        return deployed_jobs(
            place.stack,
            cloudformation=client("cloudformation"),
            lambdas=client("lambda"),
            fetch=operate_jobs.fetched,
        )
    except DeploymentError as error:
        note(f"not checked before the start, but by the run's plan: {error}")
        return None


def _machine_of(place: Place) -> str:
    from nightspot.aws.deployed_names import DeploymentError, output_of  # noqa: PLC0415

    if place.aws is None or place.stack is None:
        raise ValueError("only a stack says which state machine it has")
    try:
        return output_of(place.stack, MACHINE_OUTPUT, cloudformation=place.aws.client("cloudformation"))
    except DeploymentError as error:
        fail(f"--stack: {error}")


def tell_and_wait(place: Place, begun: StartedRun, way: Way) -> ExitStatus:
    """Say what has begun, and wait for it where that was asked for. The status that the command is to end with."""
    if not way.as_json:
        _tell(place, begun, way)
    if not way.wait:
        if way.as_json:
            print_json(begun.to_json())
        return ExitStatus.IN_TIME
    try:
        followed = follow.follow(
            follow.looker(place, begun.run_id, begun.execution_arn, region=way.region, profile=way.profile),
            sleep=sleep,
            pace=follow.pace_of(place),
            now=follow.clock_of(place, follow.utc_now),
            # Where standard output is for JSON, the lines that keep a pipeline from being silent go beside it.
            on_news=lambda line: print_line(line, err=way.as_json),
            longest_seconds=way.longest_seconds,
        )
    except KeyboardInterrupt:
        goes_on(place, begun.run_id, "interrupted")
        return ExitStatus.INTERRUPTED
    if way.as_json:
        print_json({**begun.to_json(), "exit_status": int(followed.status), "record": followed.record})
    tell_end(place, begun.run_id, followed)
    return followed.status


def tell_end(place: Place, run_id: str, followed: Followed) -> None:
    """Say on standard error what the news did not: that the run goes on, or could not be followed."""
    if followed.status is ExitStatus.STILL_RUNNING:
        goes_on(place, run_id, "--timeout has passed")
    elif followed.why is not None:
        typer.secho(f"error: run {run_id}: {followed.why}", err=True, fg="red")


def goes_on(place: Place, run_id: str, why: str) -> None:
    """Say that the run is not over, and how to see and how to stop it."""
    note(f"{why}; run {run_id} goes on. To follow it: {_command('watch', run_id, place)}")
    note(f"to stop it: {_command('stop', run_id, place)}")


def print_line(line: News, *, err: bool = False) -> None:
    """One piece of news as a plain line with its time (UTC); no control codes, for a file or a pipeline's log."""
    at = (line.at or follow.utc_now()).astimezone(UTC)
    lead = "!" if line.kind is NewsKind.FAULT else " "
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{at:%Y-%m-%d %H:%M:%S}{lead} {line.text}\n")
    # Or a pipeline would see the lines of an hour at once.
    stream.flush()


def console_of(execution_arn: str | None) -> str | None:
    """The execution's page in the AWS console; None where there is none."""
    console = Console.of_arn(execution_arn) if execution_arn else None
    return console.execution(str(execution_arn)) if console else None


def _tell(place: Place, begun: StartedRun, way: Way) -> None:
    begins = "has started" if begun.is_new else "had been started by the same request already"
    resumes = f", from the last checkpoint of {begun.resume_from}" if begun.resume_from else ""
    typer.echo(f"Run {begun.run_id} of {begun.job} {begins}{resumes}.")
    if not way.wait:
        typer.echo(f"Watch:   {_command('watch', begun.run_id, place)}")
    typer.echo(f"Stop:    {_command('stop', begun.run_id, place)}")
    link = console_of(begun.execution_arn)
    if link is not None and not follow.is_emulated(place):
        typer.echo(f"Console: {link}")


def _command(name: str, run_id: str, place: Place) -> str:
    return " ".join(("nightspot", name, run_id, *place.options))


def default_stack(table: str | None, stack: str | None, api: str | None) -> str | None:
    """The stack that a command about deployed runs looks at where nothing else is named."""
    return account.STACK if table is None and stack is None and api is None else stack
