"""`nightspot jobs`: which jobs there are, when they run, and how the last night of each went."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.request import urlopen

import typer
from pydantic import ValidationError

from nightspot.api.models import JobsList, line_as_json, lines_of
from nightspot.aws.runs.api_client import ApiClient
from nightspot.aws.runs.operating import DeploymentError, deployed_jobs
from nightspot.cli import account
from nightspot.cli._shared import Json, fail, mistakes, print_json
from nightspot.cli.runs.place import (
    Api,
    FromFolder,
    Local,
    Place,
    StackName,
    TableName,
    operating_mistakes,
    place_of,
)
from nightspot.job.errors import found_by_pydantic
from nightspot.job.model import Job
from nightspot.job.reading import load_jobs
from nightspot.terminal.jobs_table import jobs_table
from nightspot.terminal.lines import console_for

DEFAULT_FOLDER = Path("jobs")
FETCH_SECONDS = 60.0  # no answer for so long is none


def jobs(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="The job files; `jobs` by default, with --stack what is deployed."
        ),
    ] = None,
    *,
    from_folder: FromFolder = None,
    local: Local = False,
    table: TableName = None,
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Json = False,
) -> None:
    """List the jobs: schedule, deadline, last run, cost of the month."""
    now = datetime.now(UTC)
    with mistakes(), operating_mistakes():
        place = place_of(
            folder=from_folder, local=local, table=table, stack=stack, api=api, region=region, profile=profile
        )
        answer = _asked(place.api) if place.api and folder is None else _read(place, folder, now)
    if as_json:
        print_json(answer)
    elif answer["jobs"]:
        console_for().print(jobs_table(answer["jobs"]))
    else:
        typer.echo(f"There are no jobs: {_nothing(place, folder)}.")


def _read(place: Place, folder: Path | None, now: datetime) -> dict[str, Any]:
    """The jobs of a stack or of a folder with the place's runs, as GET /jobs would answer."""
    described = _deployed(place) if place.stack and folder is None else load_jobs(folder or DEFAULT_FOLDER)
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


def _deployed(place: Place) -> dict[str, Job]:
    if place.aws is None or place.stack is None:
        raise ValueError("only a stack has deployed jobs")
    client = place.aws.client
    try:
        return deployed_jobs(
            place.stack, cloudformation=client("cloudformation"), lambdas=client("lambda"), fetch=fetched
        )
    except DeploymentError as error:
        fail(f"--stack: {error}; a folder of job files can be named instead")


def fetched(address: str) -> bytes:
    """What an HTTPS address holds. Raises OSError."""
    if not address.startswith("https://"):
        raise OSError("the code's address is not HTTPS")
    with urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - checked above
        content: bytes = answer.read()
    return content
