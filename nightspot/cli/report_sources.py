"""Decides where reports get their records from: a folder of local records, or the table of a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from nightspot.accounts import bounds_of
from nightspot.local import records
from nightspot.pages.record import record_of
from nightspot.pages.runs_page import accounted

Record = dict[str, Any]
MOST_RUNS = 100_000  # of a job: more nights than it can have had


class RunNotFoundError(Exception):
    """There is no record of the run or job that a report is asked for."""


class Source(Protocol):
    """A place that has records of runs."""

    def run(self, run_id: str | None) -> Record:
        """The whole record of a run; of the newest one for None. Raises RunNotFoundError."""

    def runs(self, job: str | None, month: str | None) -> list[Record]:
        """The summaries of a job's runs, or all jobs', that started in `month` ("2026-11"). Raises MonthError."""


class Folder:
    """The records that `nightspot demo` and `nightspot run --local` leave."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, run_id: str | None) -> Record:
        """See `Source`. Raises RecordError, naming what there is."""
        return records.read(self._directory, run_id)

    def runs(self, job: str | None, month: str | None) -> list[Record]:
        """See `Source`; a night that was played twice has two files, and is two runs."""
        found = [
            {**records.read(self._directory, name), "run_id": name} for name in records.names(self._directory)
        ]
        chosen = [record for record in found if job is None or record.get("job") == job]
        if job is not None and not chosen:
            known = sorted({str(record.get("job")) for record in found})
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise RunNotFoundError(f"--job: {job!r}: {self._directory} has no record of it; {has}")
        return [record for record in chosen if _is_of(record, month)]


class Deployed:
    """The table of a deployment: `nightspot.aws.run_table.RunTable`."""

    def __init__(self, table: Any, name: str) -> None:
        self._table = table
        self._name = name

    def run(self, run_id: str | None) -> Record:
        """See `Source`."""
        if run_id is None:
            raise RunNotFoundError("--run: nothing: must name a run, or give --job or --all, with --table")
        run = self._table.run(run_id)
        if run is None:
            raise RunNotFoundError(f"--run: {run_id!r}: is not in the table {self._name}")
        return record_of(run, self._table.steps(run_id), self._table.phases(run_id))

    def runs(self, job: str | None, month: str | None) -> list[Record]:
        """See `Source`."""
        if month is not None:
            bounds_of(month)
        jobs = self._table.jobs() if job is None else [job]
        found = [summary for name in jobs for summary in self._table.history(name, limit=MOST_RUNS)]
        if job is not None and not found:
            raise RunNotFoundError(f"--job: {job!r}: the table {self._name} has no run of it")
        return [summary for summary in found if _is_of(summary, month)]


def _is_of(summary: Record, month: str | None) -> bool:
    if month is None:
        return True
    bounds_of(month)
    return accounted(summary).month == month
