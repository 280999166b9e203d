"""Where the commands to operate look: at local records, or at a deployment by its table, stack or API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import (
    ApiClient,
    ApiError,
    ApiUrlError,
    CannotLookError,
    as_passing,
)
from nightspot.aws.runs.executions import NameTakenError, StartRefusedError
from nightspot.aws.runs.operating import DeploymentError, output_of
from nightspot.aws.table.run_table import RunTable
from nightspot.cli import account
from nightspot.cli._shared import ExitStatus, fail, note
from nightspot.cli.account import Aws
from nightspot.client.access import STACK, api_client
from nightspot.client.sources import (
    ApiSource,
    Deployed,
    Folder,
    OtherApiError,
    RunNotFoundError,
    Source,
    unknown_run,
)
from nightspot.local.stage import records
from nightspot.record.model import RecordNotReadableError, RunRecord

LOCAL_RECORDS = Path("build/runs")


@dataclass(frozen=True)
class Where:
    """The options that say where records are: here, or in a deployment."""

    from_folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help=f"Local records; {LOCAL_RECORDS} by default.")
    ] = None
    local: Annotated[bool, typer.Option("--local", help=f"The same as --from-folder {LOCAL_RECORDS}.")] = (
        False
    )
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="A deployment's table, the stack's output TableName.")
    ] = None
    stack: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"A deployment's stack; `make deploy` calls it {STACK}."),
    ] = None
    api: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A deployment's API, the stack's output ApiUrl; or that of `nightspot local serve`.",
        ),
    ] = None
    region: account.Region = None
    profile: account.Profile = None

    def deployed(self) -> Place:
        """As `place`; without any option, the deployment of the stack Nightspot."""
        named = (self.table, self.stack, self.api) != (None, None, None)
        return (self if named else replace(self, stack=STACK)).place()

    def place(self) -> Place:
        """The place that the options name; local records without any.

        Raises typer.BadParameter; a stack that cannot be read ends the command with its words.
        """
        given = {
            "--from-folder": self.from_folder,
            "--local": self.local or None,
            "--table": self.table,
            "--stack": self.stack,
            "--api": self.api,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise typer.BadParameter(f"only one of {' and '.join(named)} can say where the records are")
        about_aws = {"--region": self.region, "--profile": self.profile}
        for name, value in about_aws.items():
            if value is not None and not set(named) & set(_DEPLOYED):
                raise typer.BadParameter(f"{name} needs {', '.join(_DEPLOYED[:-1])} or {_DEPLOYED[-1]}")
        given_text = {**{name: given[name] for name in _DEPLOYED}, **about_aws}
        options = tuple(part for name, value in given_text.items() if value for part in (name, str(value)))
        if self.api is not None:
            client = _api_client(self.api, self.region, self.profile)
            return Place(
                ApiSource(client), f"the API at {client.url}", api=client, options=options, where=self
            )
        if self.table is None and self.stack is None:
            here = () if self.from_folder is None else ("--from-folder", str(self.from_folder))
            folder = self.from_folder or LOCAL_RECORDS
            return Place(Folder(folder, on_unreadable=note), str(folder), options=here, where=self)
        aws = account.aws_of(self.profile, self.region)
        name = self.table if self.table is not None else output(aws, str(self.stack), "TableName")
        source = Deployed(RunTable(aws.client("dynamodb"), name), name)
        return Place(source, f"the table {name}", aws, name, self.stack, options=options, where=self)


@dataclass(frozen=True)
class Place:
    """Where the records are. `aws` and `table_name` are None for local ones, `stack` where none was named.

    `options` are those with which another command looks at the same place. With `api`, AWS itself is not asked.
    """

    source: Source
    words: str  # "build/runs", "the table nightspot-runs", "the API at https://..."
    aws: Aws | None = None
    table_name: str | None = None
    stack: str | None = None
    api: ApiClient | None = None
    options: tuple[str, ...] = ()
    where: Where = field(default_factory=Where)

    @property
    def is_local(self) -> bool:
        """Whether the records are files here, each written when its night was over."""
        return self.aws is None and self.api is None

    def table(self) -> Any:
        """The deployment's `nightspot.aws.table.run_table.RunTable`."""
        if self.aws is None or self.table_name is None:
            raise ValueError("only a deployment has a table")
        return RunTable(self.aws.client("dynamodb"), self.table_name)


DEPLOYED = ("table", "stack", "api", "region", "profile")
OfDeployment = Annotated[Where, DEPLOYED]
_DEPLOYED = ("--table", "--stack", "--api")


def renewed(place: Place) -> Place:
    """The same deployment with credentials that are read anew. Raises what `Where.place` raises."""
    table = None if place.api else place.table_name
    fresh = replace(place.where, table=table, stack=None).place()
    return replace(place, source=fresh.source, aws=fresh.aws, api=fresh.api)


def output(aws: Aws, stack: str, name: str) -> str:
    """An output of a stack; one that cannot be read ends the command."""
    try:
        return output_of(stack, name, cloudformation=aws.client("cloudformation"))
    except DeploymentError as error:
        fail(f"--stack: {error}")


def _api_client(url: str, region: str | None, profile: str | None) -> ApiClient:
    """Signed; for an address of this machine only where keys are in the environment or a profile is named.

    Raises typer.BadParameter.
    """
    account.check_region(region)
    try:
        return api_client(url, region, profile, account.session_named)
    except NoCredentialsError:
        fail("AWS: there are no credentials to sign with: aws configure, or --profile NAME")
    except ApiUrlError as error:
        raise typer.BadParameter(f"--api: {error}") from error


def check_at_least_one(option: str, value: int | None) -> None:
    """Raises typer.BadParameter where a number that counts something, if given, counts nothing."""
    if value is not None and value < 1:
        raise typer.BadParameter(f"{option}: {value}: must be at least 1")


@contextmanager
def operating_mistakes() -> Iterator[None]:
    """Inside: what a record or AWS lacks ends the command with its words: status 1, and 6 where nobody answered."""
    try:
        yield
    except (RecordNotReadableError, RunNotFoundError) as error:
        fail(str(error))
    except (NameTakenError, StartRefusedError) as error:
        fail(f"run: {error}")
    except OtherApiError as error:
        fail(f"API: {error}")
    except ApiError as error:
        fail(f"API: {error}", status=_status_of(as_passing(error)))
    except (BotoCoreError, ClientError, TransientAwsError) as error:
        fail(f"AWS: {error}", status=_status_of(as_passing(error)))


def _status_of(passing: CannotLookError | None) -> ExitStatus:
    """Credentials that have run out are the user's to renew; every other fault that may pass is AWS's."""
    return ExitStatus.SERVICE if passing is not None and not passing.is_expired else ExitStatus.USER


def record_of(place: Place, run_id: str | None, job: str | None = None) -> RunRecord:
    """The record of a run; of the newest one (of a job) for None. Raises RunNotFoundError, with near ids."""
    if run_id is None:
        run_id = _newest(place, job).run_id
    try:
        # The input of a refused run has no id of its own, but its file has a name.
        return place.source.run(run_id).model_copy(update={"run_id": run_id})
    except (RunNotFoundError, records.RecordError) as error:
        known = place.source.ids()
        if run_id in known:
            raise  # it is there, and cannot be read
        raise RunNotFoundError(unknown_run(run_id, known, place.words)) from error


def _newest(place: Place, job: str | None) -> RunRecord:
    found = place.source.newest(job)
    if found is None:
        of_job = f" of {job}" if job else ""
        way = "; `nightspot demo` makes one" if place.is_local and not job else ""
        raise RunNotFoundError(f"run: nothing: {place.words} has no run{of_job}{way}")
    return found
