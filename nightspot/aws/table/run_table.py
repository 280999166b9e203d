"""Keeps the record of runs in one DynamoDB table.

Keys: JOB#name / RUN#time#id (history), RUN#id / RUN (the ledger), RUN#id / REQUEST (the job's CreateTrainingJob
request), RUN#id / ATTEMPT#n, RUN#id / PHASES#n, RUN#id / STEP#n, RUN#id / STOP (who wants its end), and
TRAINING_JOB#name / TOKEN (the task token that the state machine waits with). JOB#name / LOCK is `job_lock`'s,
OPEN / RUN#id `open_runs`', PENDING / START#execution and NOTICE#key `pending`'. Every write can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import fsum
from typing import Any

from nightspot.aws.table.dynamodb import Table, accepted, found, from_dynamodb, key, partition, to_dynamodb
from nightspot.aws.table.open_runs import CloseTurns, OpenRuns, PendingDeliveries
from nightspot.formats.run_ids import first_run_id_of, run_id_of
from nightspot.record.model import RecordNotReadableError, RunRecord, RunState, read_record
from nightspot.record.summary import summarise, summarise_attempt
from nightspot.run.model import (
    Action,
    Attempt,
    Phase,
    Run,
    Step,
    phase_from_json,
    run_from_json,
    step_from_json,
    to_json,
)

_log = logging.getLogger(__name__)

# fact: sagemaker.runtime.most.seconds
TOKEN_LIFE = timedelta(days=30)  # SageMaker's longest job, and two days
MOST_LOOKED_AT = (
    3_000  # runs of a job, for those that are looked for: a month of starts each quarter of an hour
)
MOST_PHASES = 1000  # of an attempt, about 100 bytes each
_HISTORY = "RUN#"
_PAST_HISTORY = "RUN$"  # sorts behind every run


@dataclass(frozen=True)
class Waiting:
    """What the table knows of the wait for a training job's news."""

    token: str | None  # None: the run is not waiting just now
    closed: bool  # the run is over
    woken_for_ms: int | None  # LastModifiedTime of the newest event that woke the run
    woken_for: str | None = None  # "status/secondary status" of that event; None: an older version was woken


@dataclass(frozen=True)
class MonthSpend:
    """What the runs of one job that started in one month cost, in USD. No run is in both sums."""

    spent_usd: float  # the runs that are over
    open_run_ids: tuple[str, ...]  # the others, oldest first
    committed_usd: float  # what those have spent or may spend, whichever is more

    @property
    def total_usd(self) -> float:
        """What the month has cost at the most once the open runs are over."""
        return self.spent_usd + self.committed_usd


@dataclass(frozen=True)
class HistoryEntry:
    """A run in its job's history. `key` is time and run id: of two, the greater is the newer run's."""

    key: str
    run: RunRecord


class RunTable:
    """One table of runs. `client` is boto3's DynamoDB client."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._call = Table(client, table_name).call
        self.close_turns = CloseTurns(self._call)
        self.open_runs = OpenRuns(self._call)
        self.pending = PendingDeliveries(self._call)

    def record_plan(self, run: Run, request: Mapping[str, Any] | None = None) -> None:
        """Open the run's record. Planning the same execution again leaves a record that is further on alone.

        `request`: the job's whole CreateTrainingJob request; by default what the ledger has of it.
        """
        self.record_promise(run)
        given = run.training_job if request is None else request
        self._put_unless_further({**_request_key(run.run_id), "request": dict(given)}, run.steps)
        # The last: what is open can be gone on with.
        self.open_runs.note(run)

    def record_promise(self, run: Run) -> None:
        """Put the run on record before its plan is whole, so that others see what it may cost."""
        self._put_unless_further(_ledger_item(run), run.steps)
        self._put_unless_further(_history_item(run), run.steps)

    def record_step(self, before: Run, run: Run, step: Step) -> None:
        """Write the decision, the attempts that it saw changed, the ledger, and the summary of a run that goes on.

        No event of an ended job wakes the run any more.
        """
        self.record_earlier_step(run.run_id, step)
        for attempt in run.attempts:
            if attempt in before.attempts:
                continue
            item = {
                "pk": f"RUN#{run.run_id}",
                "sk": f"ATTEMPT#{attempt.number:03d}",
                **summarise_attempt(attempt).to_json(),
            }
            self._put_unless_further(item, run.steps)
            if not attempt.is_open:
                self._close_token(attempt)
        if run.outcome is None:
            # Lists of runs show what goes on; the end is `record_outcome`'s to tell.
            self._put_unless_further(_history_item(run), run.steps)
        self._put_unless_further(_ledger_item(run), run.steps)
        if step.action is Action.START:
            # A run that an older version has planned is not noted yet.
            self.open_runs.note(run)

    def record_earlier_step(self, run_id: str, step: Step) -> None:
        """Write a decision alone: one that the table could not take when it was decided."""
        self._put({"pk": f"RUN#{run_id}", "sk": f"STEP#{step.number:04d}", **to_json(step)})

    def record_phases(self, run: Run, phases: Mapping[int, Sequence[Phase]]) -> None:
        """Write what each attempt, by its number, went through; the longest histories without their middle."""
        for number, whole in phases.items():
            item = {
                "pk": f"RUN#{run.run_id}",
                "sk": f"PHASES#{number:03d}",
                "attempt": number,
                "phases": [to_json(phase) for phase in _within_an_item(whole)],
            }
            self._put_unless_further(item, run.steps)

    def record_outcome(self, run: Run) -> None:
        """Close the record: the summary in the history, and every token of the run."""
        self._put_unless_further(_ledger_item(run), run.steps)
        self._put_unless_further(_history_item(run), run.steps)
        for attempt in run.attempts:
            self._close_token(attempt)

    def run(self, run_id: str) -> Run | None:
        """The ledger of a run as last recorded."""
        item = self._get(f"RUN#{run_id}", "RUN")
        return None if item is None else run_from_json(item["ledger"])

    def run_of_execution(self, execution_arn: str, started_at: datetime) -> Run | None:
        """The run that is this execution, whichever version of the code planned it; `started_at` is aware UTC."""
        for run_id in (run_id_of(execution_arn, started_at), first_run_id_of(execution_arn, started_at)):
            run = self.run(run_id)
            if run is not None and run.execution_arn == execution_arn:
                return run
        return None

    def request(self, run_id: str) -> dict[str, Any] | None:
        """The CreateTrainingJob request of the run's job as planned; None where an older version planned it."""
        key_of = _request_key(run_id)
        item = self._get(key_of["pk"], key_of["sk"])
        return None if item is None else dict(item["request"])

    def summary(self, run: Run) -> RunRecord | None:
        """The run as last recorded in its job's history; None where it is not, or cannot be read."""
        item = self._get(*_history_key(run))
        return None if item is None else _readable(item)

    def ask_to_stop(self, run_id: str, by: str) -> None:
        """Keep for the run's next decision that `by` wants its end; of several, the first who asked."""
        item = to_dynamodb({"pk": f"RUN#{run_id}", "sk": "STOP", "by": by})
        accepted(self._call, "put_item", Item=item, ConditionExpression="attribute_not_exists(pk)")

    def stop_asked_by(self, run_id: str) -> str | None:
        """Who wants the end of the run; None where nobody does."""
        item = self._get(f"RUN#{run_id}", "STOP")
        return None if item is None else str(item["by"])

    def steps(self, run_id: str) -> list[Step]:
        """All decisions of a run, oldest first."""
        return [step_from_json(item) for item in self._query(f"RUN#{run_id}", "STEP#")]

    def last_step(self, run_id: str) -> Step | None:
        """The newest decision of a run."""
        newest = self._query(f"RUN#{run_id}", "STEP#", newest_first=True, limit=1)
        return next((step_from_json(item) for item in newest), None)

    def phases(self, run_id: str) -> dict[int, tuple[Phase, ...]]:
        """What each attempt of a run went through, by its number."""
        return {
            int(item["attempt"]): tuple(phase_from_json(phase) for phase in item["phases"])
            for item in self._query(f"RUN#{run_id}", "PHASES#")
        }

    def jobs(self) -> list[str]:
        """The names of all jobs that have a run on record, in alphabetical order. Reads the whole table."""
        items = found(
            self._call,
            "scan",
            FilterExpression="begins_with(pk, :jobs) AND begins_with(sk, :runs)",
            ProjectionExpression="pk",
            ExpressionAttributeValues=to_dynamodb({":jobs": "JOB#", ":runs": "RUN#"}),
        )
        return sorted({from_dynamodb(item)["pk"].removeprefix("JOB#") for item in items})

    def history(
        self, job: str, limit: int = 100, *, where: Callable[[RunRecord], bool] | None = None
    ) -> list[RunRecord]:
        """A job's runs without their decisions, newest first; one that cannot be read is logged and left out.

        `where`: only these, and the table is read on until there are `limit` of them, or `MOST_LOOKED_AT` others.
        """
        items = self._query(f"JOB#{job}", "RUN#", newest_first=True, limit=limit)
        looked_at = islice(items, limit if where is None else limit + MOST_LOOKED_AT)
        runs = (run for run in map(_readable, looked_at) if run is not None and (where is None or where(run)))
        return list(islice(runs, limit))

    def forget(self, run: RunRecord) -> None:
        """Take a run that is over out of what later plans learn from. Raises ValueError for one that is not."""
        if not run.is_over:
            raise ValueError(f"{run.run_id}: is still running, and only a run that is over teaches anything")
        # The history is written again from the ledger, when a bill comes late.
        keys = {"ledger": (f"RUN#{run.run_id}", "RUN"), "summary": _history_key(run)}
        for name, (pk, sk) in keys.items():
            self._call(
                "update_item",
                Key=key(pk, sk),
                UpdateExpression="SET #record.forgotten = :forgotten",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeNames={"#record": name},
                ExpressionAttributeValues={":forgotten": {"BOOL": True}},
            )

    def history_entries(
        self, job: str, *, first: datetime, end: datetime | None = None, up_to: str | None = None, page: int
    ) -> Iterator[HistoryEntry]:
        """The job's runs that started from `first` on and before `end` (aware), newest first, `page` per read.

        One that cannot be read is logged and left out. `up_to` leaves out every run that is newer than the one
        whose entry has this key. Raises ValueError for a time without a zone.
        """
        _check_aware(first=first, **({} if end is None else {"end": end}))
        low, high = _history_sk(first), _history_sk(end) if end is not None else _PAST_HISTORY
        if up_to is not None:
            high = min(high, _HISTORY + up_to)
        if high < low:
            return
        values = {":pk": f"JOB#{job}", ":low": low, ":high": high}
        options = {"ScanIndexForward": False, "Limit": page}
        for item in self._pages("pk = :pk AND sk BETWEEN :low AND :high", values, options):
            run = _readable(item)
            if run is not None:
                yield HistoryEntry(item["sk"].removeprefix(_HISTORY), run)

    def month(
        self, job: str, month_start: datetime, month_end: datetime, *, without_run_id: str | None = None
    ) -> MonthSpend:
        """What the job's runs cost that started from `month_start` on and before `month_end` (aware).

        `without_run_id` leaves out the run that asks. Open runs count as their summaries last said.
        """
        spent, committed, open_run_ids = [], [], []
        for item in self._history_between(job, month_start, month_end):
            summary = item["summary"]
            # What a run has cost counts, however odd the rest of its record is.
            if summary["run_id"] == without_run_id:
                continue
            if summary["outcome"] != RunState.RUNNING:
                spent.append(_spent_usd(summary))
                continue
            open_run_ids.append(summary["run_id"])
            committed.append(max(_spent_usd(summary), summary.get("committed_usd") or 0.0))
        return MonthSpend(fsum(spent), tuple(open_run_ids), fsum(committed))

    def price_records(self, region: str) -> dict[str, dict[str, Any]]:
        """What is kept of the prices of a region, by instance type, JSON-ready."""
        return {item["sk"]: item["record"] for item in partition(self._call, f"PRICE#{region}")}

    def record_price(self, region: str, instance_type: str, record: Mapping[str, Any]) -> None:
        """Keep `record` (JSON-ready) in place of what was kept of the type's price."""
        self._put({"pk": f"PRICE#{region}", "sk": instance_type, "record": record})

    def waiting(self, training_job_name: str) -> Waiting | None:
        """The wait for this training job's news; None before the state machine has waited for the first time."""
        item = self._get(f"TRAINING_JOB#{training_job_name}", "TOKEN")
        if item is None:
            return None
        woken = item.get("woken_for_ms")
        return Waiting(
            token=item.get("token"),
            closed=bool(item.get("closed")),
            woken_for_ms=None if woken is None else int(woken),
            woken_for=item.get("woken_for"),
        )

    def take_token(
        self, training_job_name: str, token: str, event_ms: int | None, woken_for: str = ""
    ) -> bool:
        """Take the token out, so that it is returned once. False where it is gone or another already.

        `event_ms`, `woken_for`: moment and statuses of the event, see `Waiting`; without a moment neither is kept.
        """
        values = {":token": {"S": token}}
        update = "REMOVE #token"
        if event_ms is not None:
            update += " SET woken_for_ms = :event_ms, woken_for = :woken_for"
            values |= {":event_ms": {"N": str(event_ms)}, ":woken_for": {"S": woken_for}}
        return accepted(
            self._call,
            "update_item",
            Key=key(f"TRAINING_JOB#{training_job_name}", "TOKEN"),
            UpdateExpression=update,
            ConditionExpression="#token = :token",
            ExpressionAttributeNames={"#token": "token"},
            ExpressionAttributeValues=values,
        )

    def _close_token(self, attempt: Attempt) -> None:
        # The state machine sets `expires` when it waits; an attempt that was refused has never been waited for.
        expires = expires_at(attempt.ended_at or attempt.asked_at)
        self._call(
            "update_item",
            Key=key(f"TRAINING_JOB#{attempt.training_job_name}", "TOKEN"),
            UpdateExpression="SET closed = :closed, expires = if_not_exists(expires, :expires) REMOVE #token",
            ExpressionAttributeNames={"#token": "token"},
            ExpressionAttributeValues={":closed": {"BOOL": True}, ":expires": {"N": str(expires)}},
        )

    def _put(self, item: Mapping[str, Any]) -> None:
        self._call("put_item", Item=to_dynamodb(item))

    def _put_unless_further(self, item: dict[str, Any], steps: int) -> None:
        """Write `item` unless the table holds one of a later step: a late repetition must not turn back time."""
        accepted(
            self._call,
            "put_item",
            Item=to_dynamodb({**item, "steps": steps}),
            ConditionExpression="attribute_not_exists(pk) OR #steps <= :steps",
            ExpressionAttributeNames={"#steps": "steps"},
            ExpressionAttributeValues={":steps": {"N": str(steps)}},
        )

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        item = self._call("get_item", Key=key(pk, sk), ConsistentRead=True).get("Item")
        return None if item is None else from_dynamodb(item)

    def _query(
        self, pk: str, prefix: str, *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        options: dict[str, Any] = {"ScanIndexForward": not newest_first}
        if limit is not None:
            options["Limit"] = limit
        values = {":pk": pk, ":prefix": prefix}
        yield from self._pages("pk = :pk AND begins_with(sk, :prefix)", values, options)

    def _history_between(self, job: str, first: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        _check_aware(month_start=first, month_end=end)
        if end <= first:
            raise ValueError(f"month_end: {end.isoformat()} must be after month_start, {first.isoformat()}")
        # BETWEEN takes both ends in; a run of the last one's second has its id behind it, so it is beyond.
        values = {":pk": f"JOB#{job}", ":first": _history_sk(first), ":end": _history_sk(end)}
        yield from self._pages("pk = :pk AND sk BETWEEN :first AND :end", values, {})

    def _pages(
        self, condition: str, values: Mapping[str, str], options: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        query = {"KeyConditionExpression": condition, "ExpressionAttributeValues": to_dynamodb(values)}
        for item in found(self._call, "query", ConsistentRead=True, **query, **options):
            yield from_dynamodb(item)


def _within_an_item(phases: Sequence[Phase]) -> Sequence[Phase]:
    # An item holds 400 KB; a job that flickers for weeks has more to tell than anybody reads.
    if len(phases) <= MOST_PHASES:
        return phases
    return [*phases[: MOST_PHASES // 2], *phases[-MOST_PHASES // 2 :]]


def expires_at(now: datetime) -> int:
    """When a token's item may go: epoch seconds, DynamoDB's TTL."""
    return int((now + TOKEN_LIFE).timestamp())


def _request_key(run_id: str) -> dict[str, str]:
    return {"pk": f"RUN#{run_id}", "sk": "REQUEST"}


def _ledger_item(run: Run) -> dict[str, Any]:
    return {"pk": f"RUN#{run.run_id}", "sk": "RUN", "job": run.job, "ledger": to_json(run)}


def _history_key(run: Run | RunRecord) -> tuple[str, str]:
    return f"JOB#{run.job}", f"{_history_sk(run.started_at)}#{run.run_id}"


def _history_item(run: Run) -> dict[str, Any]:
    pk, sk = _history_key(run)
    return {"pk": pk, "sk": sk, "summary": summarise(run).to_json()}


def _readable(item: Mapping[str, Any]) -> RunRecord | None:
    try:
        return read_record(item["summary"])
    except RecordNotReadableError as error:
        _log.warning("left out: the record of run %s: %s", item["sk"], error)
        return None


def _check_aware(**moments: datetime) -> None:
    for name, moment in moments.items():
        if moment.utcoffset() is None:
            raise ValueError(f"{name}: {moment.isoformat()} must have a time zone")


def _history_sk(moment: datetime) -> str:
    """The sort key of a job's runs of this second, but for their ids."""
    return f"RUN#{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _spent_usd(summary: Mapping[str, Any]) -> float:
    # Summaries from before `spent_usd` have the cost alone, which is null where no price is known.
    for name in ("spent_usd", "cost_usd"):
        if summary.get(name) is not None:
            return float(summary[name])
    return 0.0
