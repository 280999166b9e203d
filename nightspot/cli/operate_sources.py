"""Decides where the commands to operate look: at local records, or at a deployment, by its table or its stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.cli import account
from nightspot.cli._shared import fail
from nightspot.cli.account import Aws
from nightspot.cli.report_sources import Deployed, Folder, RunNotFoundError, Source
from nightspot.local import records
from nightspot.pages.reading import RecordNotReadableError

LOCAL_RECORDS = Path("build/runs")
MOST_NAMED = 5  # ids in an error

FromFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help=f"Local records; {LOCAL_RECORDS} by default.")
]
Local = Annotated[bool, typer.Option("--local", help=f"The same as --from-folder {LOCAL_RECORDS}.")]
TableName = Annotated[
    str | None, typer.Option(metavar="NAME", help="A deployment's table, the stack's output TableName.")
]
StackName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=f"A deployment's stack; `make deploy` calls it {account.STACK}."),
]


@dataclass(frozen=True)
class Place:
    """Where the records are. `aws` and `table_name` are None for local ones, `stack` where none was named."""

    source: Source
    words: str  # "build/runs", "the table nightspot-runs"
    aws: Aws | None = None
    table_name: str | None = None
    stack: str | None = None

    def table(self) -> Any:
        """The deployment's `nightspot.aws.run_table.RunTable`."""
        if self.aws is None or self.table_name is None:
            raise ValueError("only a deployment has a table")
        return _run_table(self.aws, self.table_name)


def place_of(
    *,
    from_folder: Path | None,
    local: bool,
    table: str | None,
    stack: str | None,
    region: str | None,
    profile: str | None,
) -> Place:
    """The place that the options name; local records without any.

    Raises typer.BadParameter; a stack that cannot be read ends the command with its words.
    """
    given = {"--from-folder": from_folder, "--local": local or None, "--table": table, "--stack": stack}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise typer.BadParameter(f"only one of {' and '.join(named)} can say where the records are")
    for name, value in {"--region": region, "--profile": profile}.items():
        if value is not None and table is None and stack is None:
            raise typer.BadParameter(f"{name} needs --table or --stack")
    if table is None and stack is None:
        folder = from_folder or LOCAL_RECORDS
        return Place(Folder(folder), str(folder))
    aws = account.aws_of(profile, region)
    name = table if table is not None else _table_of(str(stack), aws)
    return Place(Deployed(_run_table(aws, name), name), f"the table {name}", aws, name, stack)


def _run_table(aws: Aws, name: str) -> Any:
    from nightspot.aws.run_table import RunTable  # noqa: PLC0415 - local records need no AWS

    return RunTable(aws.client("dynamodb"), name)


def _table_of(stack: str, aws: Aws) -> str:
    from nightspot.aws.deployed_names import DeploymentError  # noqa: PLC0415
    from nightspot.aws.operating import table_of_stack  # noqa: PLC0415

    try:
        return table_of_stack(stack, cloudformation=aws.client("cloudformation"))
    except DeploymentError as error:
        fail(f"--stack: {error}")


def check_at_least_one(option: str, value: int | None) -> None:
    """Raises typer.BadParameter where a number that counts something, if given, counts nothing."""
    if value is not None and value < 1:
        raise typer.BadParameter(f"{option}: {value}: must be at least 1")


@contextmanager
def operating_mistakes() -> Iterator[None]:
    """Inside: what a record or AWS lacks ends the command with its words and status 1."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - not for --help

    from nightspot.aws.faults import TransientAwsError  # noqa: PLC0415

    try:
        yield
    except (RecordNotReadableError, RunNotFoundError) as error:
        fail(str(error))
    except (BotoCoreError, ClientError, TransientAwsError) as error:
        fail(f"AWS: {error}")


def record_of(place: Place, run_id: str | None) -> dict[str, Any]:
    """The record of a run, of the newest one for None. Raises RunNotFoundError, naming ids that are near."""
    if run_id is None:
        run_id = str(_newest(place)["run_id"])
    try:
        # The input of a refused run has no id of its own, but its file has a name.
        return {**place.source.run(run_id), "run_id": run_id}
    except (RunNotFoundError, records.RecordError) as error:
        known = [str(summary["run_id"]) for summary in summaries_of(place)]
        if run_id in known:
            raise  # it is there, and cannot be read
        raise RunNotFoundError(unknown_run(run_id, known, place.words)) from error


def _newest(place: Place) -> Mapping[str, Any]:
    found = summaries_of(place)
    if not found:
        raise RunNotFoundError(f"run: nothing: {place.words} has no run")
    return found[0]


def summaries_of(place: Place, job: str | None = None) -> list[dict[str, Any]]:
    """All summaries, or a job's, newest first. Raises RunNotFoundError for a job without any."""
    return sorted(place.source.runs(job, None), key=started_at, reverse=True)


def started_at(summary: Mapping[str, Any]) -> str:
    """When it started, as recorded (ISO 8601 in UTC, so that texts sort); a refused input has only the story's."""
    return str(summary.get("started_at") or summary.get("story_started_at") or "")


def unknown_run(run_id: str, known: list[str], where: str) -> str:
    """The sentence about a run that is not on record; `known` are the ids that are, newest first."""
    near = get_close_matches(run_id, known, n=MOST_NAMED, cutoff=0.6)
    if near:
        return f"run: {run_id!r}: is not in {where}; did you mean {' or '.join(near)}?"
    newest = f"the newest are {', '.join(known[:MOST_NAMED])}" if known else "it has none"
    return f"run: {run_id!r}: is not in {where}; {newest}"
