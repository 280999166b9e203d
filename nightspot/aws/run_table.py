"""Keeps the record of runs in one DynamoDB table.

Keys: JOB#name / RUN#time#id (history), RUN#id / RUN (the ledger), RUN#id / ATTEMPT#n, RUN#id / STEP#n,
TRAINING_JOB#name / TOKEN (the task token that the state machine waits with). Every write can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.run import Attempt, Run, Step, run_from_json, step_from_json, to_json
from nightspot.summary import summarise, summarise_attempt

TOKEN_LIFE = timedelta(days=30)  # SageMaker's longest job, and two days


@dataclass(frozen=True)
class Waiting:
    """What the table knows of the wait for a training job's news."""

    token: str | None  # None: the run is not waiting just now
    closed: bool  # the run is over
    woken_for_ms: int | None  # LastModifiedTime of the newest event that woke the run


class RunTable:
    """One table of runs. `client` is boto3's DynamoDB client."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def record_plan(self, run: Run) -> None:
        """Open the run's record. Planning the same execution again leaves a record that is further on alone."""
        self._put_unless_further(_ledger_item(run), run.steps)
        self._put_unless_further(_history_item(run), run.steps)

    def record_step(self, before: Run, run: Run, step: Step) -> None:
        """Write the decision, the attempts that it saw changed and the ledger; no event of an ended job wakes."""
        self._put(
            {
                "pk": f"RUN#{run.run_id}",
                "sk": f"STEP#{step.number:04d}",
                **to_json(step),
            }
        )
        for attempt in run.attempts:
            if attempt in before.attempts:
                continue
            item = {
                "pk": f"RUN#{run.run_id}",
                "sk": f"ATTEMPT#{attempt.number:03d}",
                **summarise_attempt(attempt),
            }
            self._put_unless_further(item, run.steps)
            if not attempt.is_open:
                self._close_token(attempt)
        self._put_unless_further(_ledger_item(run), run.steps)

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

    def steps(self, run_id: str) -> list[Step]:
        """All decisions of a run, oldest first."""
        return [step_from_json(item) for item in self._query(f"RUN#{run_id}", "STEP#")]

    def history(self, job: str, limit: int = 100) -> list[dict[str, Any]]:
        """The summaries of a job's runs, newest first."""
        items = []
        for item in self._query(f"JOB#{job}", "RUN#", newest_first=True, limit=limit):
            items.append(item["summary"])
            if len(items) == limit:
                break
        return items

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
        )

    def take_token(self, training_job_name: str, token: str, event_ms: int | None) -> bool:
        """Take the token out, so that it is returned once. False where it is gone or another already."""
        names = {"#token": "token"}
        values = {":token": {"S": token}}
        update = "REMOVE #token"
        if event_ms is not None:
            update += " SET woken_for_ms = :event_ms"
            values[":event_ms"] = {"N": str(event_ms)}
        try:
            self._client.update_item(
                TableName=self._table_name,
                Key=_key(f"TRAINING_JOB#{training_job_name}", "TOKEN"),
                UpdateExpression=update,
                ConditionExpression="#token = :token",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            if _is_condition_failure(error):
                return False
            raise_if_transient(error)
            raise
        return True

    def _close_token(self, attempt: Attempt) -> None:
        # The state machine sets `expires` when it waits; an attempt that was refused has never been waited for.
        expires = expires_at(attempt.ended_at or attempt.asked_at)
        self._call(
            "update_item",
            Key=_key(f"TRAINING_JOB#{attempt.training_job_name}", "TOKEN"),
            UpdateExpression="SET closed = :closed, expires = if_not_exists(expires, :expires) REMOVE #token",
            ExpressionAttributeNames={"#token": "token"},
            ExpressionAttributeValues={":closed": {"BOOL": True}, ":expires": {"N": str(expires)}},
        )

    def _put(self, item: Mapping[str, Any]) -> None:
        self._call("put_item", Item=_to_dynamodb(item))

    def _put_unless_further(self, item: dict[str, Any], steps: int) -> None:
        """Write `item` unless the table holds one of a later step: a late repetition must not turn back time."""
        try:
            self._call(
                "put_item",
                Item=_to_dynamodb({**item, "steps": steps}),
                ConditionExpression="attribute_not_exists(pk) OR #steps <= :steps",
                ExpressionAttributeNames={"#steps": "steps"},
                ExpressionAttributeValues={":steps": {"N": str(steps)}},
            )
        except ClientError as error:
            if not _is_condition_failure(error):
                raise

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        item = self._call("get_item", Key=_key(pk, sk), ConsistentRead=True).get("Item")
        return None if item is None else _from_dynamodb(item)

    def _query(
        self, pk: str, prefix: str, *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        arguments: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":prefix": {"S": prefix}},
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        if limit is not None:
            arguments["Limit"] = limit
        while True:
            page = self._call("query", **arguments)
            yield from (_from_dynamodb(item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(TableName=self._table_name, **arguments)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            raise
        return answer


def expires_at(now: datetime) -> int:
    """When a token's item may go: epoch seconds, DynamoDB's TTL."""
    return int((now + TOKEN_LIFE).timestamp())


def _ledger_item(run: Run) -> dict[str, Any]:
    return {"pk": f"RUN#{run.run_id}", "sk": "RUN", "job": run.job, "ledger": to_json(run)}


def _history_item(run: Run) -> dict[str, Any]:
    return {
        "pk": f"JOB#{run.job}",
        "sk": f"RUN#{run.started_at:%Y-%m-%dT%H:%M:%SZ}#{run.run_id}",
        "summary": summarise(run),
    }


def _is_condition_failure(error: ClientError) -> bool:
    return bool(error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException")


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _to_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    # DynamoDB takes no binary floats.
    exact = json.loads(json.dumps(item), parse_float=Decimal)
    serialise = _dynamodb_types().TypeSerializer().serialize
    return {name: serialise(value) for name, value in exact.items()}


def _from_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    deserialise = _dynamodb_types().TypeDeserializer().deserialize
    return {name: _plain(deserialise(value)) for name, value in item.items()}


def _dynamodb_types() -> Any:
    # Here, not above: it brings all of boto3, half of a cold start.
    from boto3.dynamodb import types  # noqa: PLC0415

    return types


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
