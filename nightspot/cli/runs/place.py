"""Where the commands to operate look: at local records, or at a deployment by its table, stack or API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol
from urllib.parse import quote

import typer
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import (
    ApiClient,
    ApiError,
    ApiUrlError,
    CannotLookError,
    as_passing,
    checked_url,
    is_loopback,
    region_of,
    transport,
)
from nightspot.aws.runs.executions import NameTakenError, StartRefusedError
from nightspot.aws.runs.operating import DeploymentError, output_of
from nightspot.aws.table.run_table import RunTable
from nightspot.cli import account
from nightspot.cli._shared import ExitStatus, fail, note
from nightspot.cli.account import Aws
from nightspot.local.stage import records
from nightspot.record import summary
from nightspot.record.model import RecordNotReadableError, RunRecord, read_record
from nightspot.record.statement import bounds_of

MOST_RUNS = 100_000  # of a job: more nights than it can have had
PAGE_RUNS = 100  # the most that the API gives at once
_NOT_FOUND = 404


class RunNotFoundError(Exception):
    """There is no record of the run or job that a report is asked for."""


class Source(Protocol):
    """A place that has records of runs."""

    def run(self, run_id: str | None) -> RunRecord:
        """The whole record of a run; of the newest one for None. Raises RunNotFoundError."""

    def runs(self, job: str | None, month: str | None) -> list[RunRecord]:
        """The summaries of a job's runs, or all jobs', that started in `month` ("2026-11"), newest first.

        The newest run is the one that started last; of records of this machine, whose stories have times of their
        own, the one that was recorded last. Raises MonthError.
        """

    def newest(self, job: str | None) -> RunRecord | None:
        """The summary of the newest run of a job, or of all; None without any."""

    def ids(self) -> list[str]:
        """The ids of runs that a person may have meant, newest first."""


class Folder:
    """The records that `nightspot demo` and `nightspot run --local` leave.

    A file that is no record of a run is left out of every list; `on_unreadable` hears of it.
    """

    def __init__(self, directory: Path, *, on_unreadable: Callable[[str], None] = note) -> None:
        self._directory = directory
        self._on_unreadable = on_unreadable

    def run(self, run_id: str | None) -> RunRecord:
        """See `Source`. Raises RecordError, naming what there is, and RecordNotReadableError."""
        newest = self.newest(None) if run_id is None else None
        return records.read(self._directory, run_id) if newest is None else newest

    def runs(self, job: str | None, month: str | None) -> list[RunRecord]:
        """See `Source`; a night that was played twice has two files, and is two runs."""
        found, _ = self._readable()
        chosen = [record for record in found if job is None or record.job == job]
        if job is not None and not chosen:
            known = sorted({record.job for record in found})
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise RunNotFoundError(f"--job: {job!r}: {self._directory} has no record of it; {has}")
        if month is not None:
            bounds_of(month)
        return [record for record in chosen if month in (None, record.month)]

    def newest(self, job: str | None) -> RunRecord | None:
        """See `Source`. Where there are files, and none can be read: RecordError or RecordNotReadableError."""
        found, unreadable = self._readable()
        if not found and unreadable:
            raise unreadable[0][1]
        return next((record for record in found if job is None or record.job == job), None)

    def ids(self) -> list[str]:
        """See `Source`; files that cannot be read are the last."""
        found, unreadable = self._readable()
        return [*(record.run_id for record in found), *(path.stem for path, _ in unreadable)]

    def _readable(self) -> tuple[list[RunRecord], list[tuple[Path, Exception]]]:
        """The records, newest first, and the files that are none."""
        unreadable: list[tuple[Path, Exception]] = []

        def leave_out(path: Path, error: Exception) -> None:
            unreadable.append((path, error))
            named = error if isinstance(error, records.RecordError) else f"{path}: {error}"
            self._on_unreadable(f"left out: {named}")

        return [*records.read_all(self._directory, leave_out)], unreadable


class Deployed:
    """The table of a deployment: `nightspot.aws.table.run_table.RunTable`."""

    def __init__(self, table: Any, name: str) -> None:
        self._table = table
        self._name = name

    def run(self, run_id: str | None) -> RunRecord:
        """See `Source`."""
        if run_id is None:
            run_id = _newest_id(self, f"the table {self._name}")
        run = self._table.run(run_id)
        if run is None:
            raise RunNotFoundError(f"--run: {run_id!r}: is not in the table {self._name}")
        record = summary.record_of(run, self._table.steps(run_id), self._table.phases(run_id))
        return read_record(record.to_json())  # checked: it may hold anything that a script wrote

    def runs(self, job: str | None, month: str | None) -> list[RunRecord]:
        """See `Source`."""
        if month is not None:
            bounds_of(month)
        jobs = self._table.jobs() if job is None else [job]
        found = [run for name in jobs for run in self._table.history(name, limit=MOST_RUNS)]
        if job is not None and not found:
            raise RunNotFoundError(f"--job: {job!r}: the table {self._name} has no run of it")
        chosen = [run for run in found if month in (None, run.month)]
        return sorted(chosen, key=lambda run: run.started_at, reverse=True)

    def newest(self, job: str | None) -> RunRecord | None:
        """See `Source`; reads one run of each job."""
        jobs = self._table.jobs() if job is None else [job]
        found = [run for name in jobs for run in self._table.history(name, limit=1)]
        return max(found, key=lambda run: run.started_at, default=None)

    def ids(self) -> list[str]:
        """See `Source`."""
        return [run.run_id for run in self.runs(None, None)]


class ApiSource:
    """The API of a deployment, or of `nightspot local serve`: what it gives, page by page."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def run(self, run_id: str | None) -> RunRecord:
        """See `Source`. Raises ApiError, and RecordNotReadableError for an answer of another version."""
        if run_id is None:
            run_id = _newest_id(self, f"the API at {self._client.url}")
        try:
            record = self._client.get(f"/runs/{quote(run_id, safe='')}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                raise RunNotFoundError(f"run: {run_id!r}: {error.detail}") from error
            raise
        if not isinstance(record, dict) or "run_id" not in record:
            self._fail_as_foreign("/runs/{id}")
        return read_record(record)

    def runs(self, job: str | None, month: str | None) -> list[RunRecord]:
        """See `Source`. Raises ApiError."""
        if month is not None:
            bounds_of(month)
        found: list[RunRecord] = []
        cursor: str | None = None
        while True:
            page = self._page(job, month, PAGE_RUNS, cursor)
            found += map(read_record, page["runs"])
            cursor = page["next"]
            if cursor is None or len(found) >= MOST_RUNS:
                return found

    def newest(self, job: str | None) -> RunRecord | None:
        """See `Source`. Raises ApiError."""
        cursor: str | None = None
        while True:
            # A page may be empty although there are more.
            page = self._page(job, None, 1, cursor)
            if page["runs"]:
                return read_record(page["runs"][0])
            cursor = page["next"]
            if cursor is None:
                return None

    def ids(self) -> list[str]:
        """See `Source`; of the newest page. Raises ApiError."""
        return [read_record(run).run_id for run in self._page(None, None, PAGE_RUNS, None)["runs"]]

    def _page(self, job: str | None, month: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        try:
            page: dict[str, Any] = self._client.get(
                "/runs", {"job": job, "month": month, "limit": limit, "cursor": cursor}
            )
        except ApiError as error:
            if error.status == _NOT_FOUND and job is not None:
                raise RunNotFoundError(f"--job: {job!r}: {error.detail}") from error
            raise
        if not isinstance(page, dict) or not page.keys() >= {"runs", "next"}:
            self._fail_as_foreign("/runs")
        return page

    def _fail_as_foreign(self, path: str) -> NoReturn:
        fail(f"API: {self._client.url} is no API of this version of Nightspot: GET {path} answers otherwise")


def _newest_id(source: Source, words: str) -> str:
    newest = source.newest(None)
    if newest is None:
        raise RunNotFoundError(f"run: nothing: {words} has no run")
    return newest.run_id


LOCAL_RECORDS = Path("build/runs")
MOST_NAMED = 5  # ids in an error


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
        typer.Option(metavar="NAME", help=f"A deployment's stack; `make deploy` calls it {account.STACK}."),
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
        return (self if named else replace(self, stack=account.STACK)).place()

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
            return Place(Folder(folder), str(folder), options=here, where=self)
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
        url = checked_url(url)
        if is_loopback(url) and profile is None and "AWS_ACCESS_KEY_ID" not in os.environ:
            return ApiClient(url)
        # An address of API Gateway's own says its region, so that none has to be configured.
        session = account.session_named(profile, region or region_of(url))
        credentials = session.get_credentials()
        if credentials is None:
            fail("AWS: there are no credentials to sign with: aws configure, or --profile NAME")
        send = transport(url, ca_bundle=os.environ.get("AWS_CA_BUNDLE"))
        return ApiClient(url, credentials=credentials, region=session.region_name, send=send)
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


def unknown_run(run_id: str, known: list[str], where: str) -> str:
    """The sentence about a run that is not on record; `known` are the ids that are, newest first."""
    near = get_close_matches(run_id, known, n=MOST_NAMED, cutoff=0.6)
    if near:
        return f"run: {run_id!r}: is not in {where}; did you mean {' or '.join(near)}?"
    newest = f"the newest are {', '.join(known[:MOST_NAMED])}" if known else "it has none"
    return f"run: {run_id!r}: is not in {where}; {newest}"
