"""Where records of runs are read: a folder of this machine, a deployment's table, or its API."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

from nightspot.aws.runs.api_client import ApiClient, ApiError
from nightspot.local.stage import records
from nightspot.record import summary
from nightspot.record.model import RunRecord, read_record
from nightspot.record.statement import bounds_of

MOST_RUNS = 100_000  # of a job: more nights than it can have had
PAGE_RUNS = 100  # the most that the API gives at once
_NOT_FOUND = 404


class RunNotFoundError(Exception):
    """There is no record of the run or job that a report is asked for."""


class OtherApiError(Exception):
    """What answers is not the API of this version; the text names the address and the call."""


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

    def __init__(self, directory: Path, *, on_unreadable: Callable[[str], None] = lambda _said: None) -> None:
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
        raise OtherApiError(
            f"{self._client.url} is no API of this version of Nightspot: GET {path} answers otherwise"
        )


def _newest_id(source: Source, words: str) -> str:
    newest = source.newest(None)
    if newest is None:
        raise RunNotFoundError(f"run: nothing: {words} has no run")
    return newest.run_id


MOST_NAMED = 5  # ids in an error


def unknown_run(run_id: str, known: list[str], where: str) -> str:
    """The sentence about a run that is not on record; `known` are the ids that are, newest first."""
    near = get_close_matches(run_id, known, n=MOST_NAMED, cutoff=0.6)
    if near:
        return f"run: {run_id!r}: is not in {where}; did you mean {' or '.join(near)}?"
    newest = f"the newest are {', '.join(known[:MOST_NAMED])}" if known else "it has none"
    return f"run: {run_id!r}: is not in {where}; {newest}"
