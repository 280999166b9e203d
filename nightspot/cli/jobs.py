"""`nightspot jobs`: which jobs there are, when they run, how the last night of each went, what a month costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from nightspot.api.models import JobsList, line_as_json, lines_of
from nightspot.aws.runs.api_client import ApiClient
from nightspot.aws.runs.operating import DeployedJobs, DeploymentError, deployed_jobs, fetched
from nightspot.cli import account
from nightspot.cli._shared import Json, fail, grouped, mistakes, print_json
from nightspot.cli.runs.place import Place, Where, operating_mistakes
from nightspot.formats import figures
from nightspot.formats.figures import format_duration
from nightspot.job.errors import found_by_pydantic
from nightspot.job.markets import Market
from nightspot.job.reading import load_jobs
from nightspot.terminal.lines import console_for, plain_table

Line = Mapping[str, Any]
Section = Mapping[str, Any]
"""A part of a job file with the file's own keys; times are ISO 8601 text, durations are seconds."""

_TIME_CHARACTERS = len("08:00")


def jobs_table(lines: Sequence[Line]) -> Table:
    """A row for each job, in the order of `lines`."""
    table = plain_table()
    for heading in ("job", "schedule", "deadline", "ladder"):
        table.add_column(heading, overflow="fold")
    table.add_column("last run")
    table.add_column("this month", justify="right")
    for line in lines:
        table.add_row(
            line["name"], *_described(line), last_run_words(line["last_run"]), month_words(line["month"])
        )
    return table


def _described(line: Line) -> tuple[str, str, str]:
    if not line["described"]:
        return ("no job file", "-", "-")
    return (
        schedule_words(line["schedule"]),
        deadline_words(line["deadline"]),
        ladder_words(line["capacity"]),
    )


def schedule_words(schedule: Section | None) -> str:
    """ "cron(0 0 * * ? *) Europe/Dublin", "paused (rate(1 day) UTC)", or that nothing starts it by itself."""
    if schedule is None:
        return "by hand"
    kind = "cron" if schedule.get("cron") is not None else "rate"
    words = f"{kind}({schedule[kind]}) {schedule['timezone']}"
    if schedule.get("flexible") is not None:
        words += f", up to {format_duration(schedule['flexible'])} later"
    return f"paused ({words})" if schedule.get("paused") else words


def deadline_words(deadline: Section) -> str:
    """ "08:00 UTC", "8 h after the start"."""
    if deadline.get("at") is not None:
        return f"{deadline['at'][:_TIME_CHARACTERS]} {deadline['timezone']}"
    return f"{format_duration(deadline['within'])} after the start"


def ladder_words(capacity: Section) -> str:
    """ "Spot ml.p4d.24xlarge, ml.g5.48xlarge; on-demand ml.p4d.24xlarge"."""
    types = {market: ", ".join(rung["instance_type"] for rung in capacity[market.value]) for market in Market}
    return "; ".join(market.of(names) for market, names in types.items() if names)


def last_run_words(last: Line | None) -> str:
    """ "in time, 2026-11-21 00:00" (UTC), or that there has been none."""
    if last is None:
        return "none yet"
    started_at = datetime.fromisoformat(last["started_at"]).astimezone(UTC)
    return f"{last['ending'].replace('_', ' ')}, {started_at:%Y-%m-%d %H:%M}"


def month_words(month: Line) -> str:
    """What the month has cost; "at least" where a run is still going on or a figure is not known."""
    if month["cost_usd"] is not None:
        return figures.usd(month["cost_usd"])
    return f"at least {figures.usd(month['cost_at_least_usd'])}"


DEFAULT_FOLDER = Path("jobs")


@grouped
def jobs(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="The job files; `jobs` by default, with --stack what is deployed."
        ),
    ] = None,
    *,
    where: Where,
    as_json: Json = False,
) -> None:
    """List the jobs: schedule, deadline, last run, cost of the month."""
    now = datetime.now(UTC)
    with mistakes(), operating_mistakes():
        place = where.place()
        answer = _asked(place.api) if place.api and folder is None else _read(place, folder, now)
    if as_json:
        print_json(answer)
    elif answer["jobs"]:
        console_for().print(jobs_table(answer["jobs"]))
    else:
        typer.echo(f"There are no jobs: {_nothing(place, folder)}.")


def _read(place: Place, folder: Path | None, now: datetime) -> dict[str, Any]:
    """The jobs of a stack or of a folder with the place's runs, as GET /jobs would answer."""
    if place.aws and place.stack and folder is None:
        try:
            described = deployed(place.aws, place.stack).jobs
        except DeploymentError as error:
            fail(f"--stack: {error}; a folder of job files can be named instead")
    else:
        described = load_jobs(folder or DEFAULT_FOLDER)
    month = f"{now:%Y-%m}"
    lines = lines_of(described, place.source.runs(None, None), month)
    return _shaped({"month": month, "jobs": [line_as_json(line) for line in lines]})


def _asked(api: ApiClient) -> dict[str, Any]:
    """What GET /jobs answers. Raises ApiError."""
    answer = api.get("/jobs")
    try:
        return _shaped(answer)
    except ValidationError as error:
        problem = found_by_pydantic(error.errors()[0], JobsList)
        fail(f"API: {api.url} is no API of this version of Nightspot: GET /jobs: {problem}")


def _shaped(answer: Any) -> dict[str, Any]:
    """In the one shape that both ways have. Raises ValidationError."""
    return JobsList.model_validate(answer).model_dump(mode="json")


def _nothing(place: Place, folder: Path | None) -> str:
    """Where jobs were looked for in vain."""
    if folder is None and place.api is not None:
        return f"{place.words} has none, and no run"
    if folder is None and place.stack is not None:
        return f"the stack {place.stack} has none, and {place.words} no run"
    return f"{folder or DEFAULT_FOLDER} has no job file and {place.words} no run"


def deployed(aws: account.Aws, stack: str) -> DeployedJobs:
    """The jobs of a stack, and their code. Raises DeploymentError."""
    cloudformation, lambdas = aws.client("cloudformation"), aws.client("lambda")
    return deployed_jobs(stack, cloudformation=cloudformation, lambdas=lambdas, fetch=fetched)
