"""Runs of which something is unfinished: training, record, the notice of the end, a bill; and who closes one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.table.dynamodb import Call, accepted, from_dynamodb, key, partition, to_dynamodb
from nightspot.decide.audit import Delivery, Pending, UnsentEnd
from nightspot.run.model import Run

_PARTITION, _RUN, _LOCK = "OPEN", "RUN#", "LOCK#"


@dataclass(frozen=True)
class OpenRun:
    """A run of which something is unfinished."""

    run_id: str
    job: str
    execution_arn: str  # the one that has the run now
    started_at: datetime


@dataclass(frozen=True)
class PlannedLock:
    """A lock that a run takes while it is being planned, before it is on record. `key`: a job, or a prefix."""

    key: str
    run_id: str
    execution_arn: str
    since: datetime  # aware UTC


class OpenRuns:
    """The index of one table. `call` is `Table.call`, and raises as that does. Every write can be repeated."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def all(self) -> list[OpenRun]:
        """Every run of which something is unfinished, by id, which is by the day of its start."""
        return self.everything()[0]

    def everything(self) -> tuple[list[OpenRun], list[PlannedLock]]:
        """`all`, and every lock of which `will_lock` was said and `has_planned` not; with one query."""
        items = list(partition(self._call, _PARTITION))
        return (
            [_open_run(item) for item in items if item["sk"].startswith(_RUN)],
            [_planned_lock(item) for item in items if item["sk"].startswith(_LOCK)],
        )

    def will_lock(self, lock: PlannedLock) -> None:
        """Note that a run which is not on record yet takes a lock: should its plan not be finished, it is freed."""
        values = {
            "job": lock.key,
            "run_id": lock.run_id,
            "execution_arn": lock.execution_arn,
            "started_at": lock.since.isoformat(),
        }
        self._call("put_item", Item={**_lock_key(lock.run_id, lock.key), **to_dynamodb(values)})

    def has_planned(self, run_id: str, lock_key: str) -> None:
        """Note that the run is on record, or over, so that the lock is found by it."""
        self._call("delete_item", Key=_lock_key(run_id, lock_key))

    def get(self, run_id: str) -> OpenRun | None:
        """The same of one run; None where nothing of it is unfinished, or an older version has planned it."""
        item = self._call("get_item", Key=_key_of(run_id), ConsistentRead=True).get("Item")
        return None if item is None else _open_run(from_dynamodb(item))

    def note(self, run: Run) -> None:
        """Note that something of the run is unfinished. The execution that has it by now is left as it is."""
        self._call(
            "update_item",
            Key=_key_of(run.run_id),
            UpdateExpression=(
                "SET execution_arn = if_not_exists(execution_arn, :arn), job = :job, started_at = :at"
            ),
            ExpressionAttributeValues=_values(run, {":arn": run.execution_arn}),
        )

    def take_on(self, run: Run, execution_arn: str, *, from_arn: str) -> bool:
        """Let the execution go on with the run in place of `from_arn`. False where another one has it by now."""
        return accepted(
            self._call,
            "update_item",
            Key=_key_of(run.run_id),
            UpdateExpression="SET execution_arn = :new, job = :job, started_at = :at",
            ConditionExpression="attribute_not_exists(pk) OR execution_arn IN (:old, :new)",
            ExpressionAttributeValues=_values(run, {":new": execution_arn, ":old": from_arn}),
        )

    def forget(self, run_id: str) -> None:
        """Note that nothing of the run is unfinished."""
        self._call("delete_item", Key=_key_of(run_id))


def _values(run: Run, more: Mapping[str, str]) -> dict[str, Any]:
    return to_dynamodb({":job": run.job, ":at": run.started_at.isoformat(), **more})


def _key_of(run_id: str) -> dict[str, Any]:
    return key(_PARTITION, f"{_RUN}{run_id}")


def _lock_key(run_id: str, lock_key: str) -> dict[str, Any]:
    return key(_PARTITION, f"{_LOCK}{run_id}#{lock_key}")


def _planned_lock(values: Mapping[str, Any]) -> PlannedLock:
    since = datetime.fromisoformat(values["started_at"])
    return PlannedLock(values["job"], values["run_id"], values["execution_arn"], since)


def _open_run(values: Mapping[str, Any]) -> OpenRun:
    return OpenRun(
        run_id=values["sk"].removeprefix(_RUN),
        job=values["job"],
        execution_arn=values["execution_arn"],
        started_at=datetime.fromisoformat(values["started_at"]),
    )


# A reserved word of DynamoDB's expressions.
_UNTIL = {"#until": "until"}


# What a mark says that an older version has written, without a time.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class CloseTurns:
    """The turns of one table. `call` is `Table.call`, and raises as that does; times are aware UTC."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def take(self, run_id: str, *, now: datetime, until: datetime) -> bool:
        """Take the turn until `until`; False while somebody else has it.

        It knows no owners: a write that boto3 repeats because its answer was lost is refused, and the turn is free
        again at `until`.
        """
        item = {
            **_close(run_id),
            # What the condition compares, and by which DynamoDB forgets it.
            **to_dynamodb({"until": until.timestamp(), "expires": int(until.timestamp()) + 1}),
        }
        return accepted(
            self._call,
            "put_item",
            Item=item,
            ConditionExpression="attribute_not_exists(pk) OR #until <= :now",
            ExpressionAttributeNames=_UNTIL,
            ExpressionAttributeValues=to_dynamodb({":now": now.timestamp()}),
        )

    def give_back(self, run_id: str, *, until: datetime) -> None:
        """End the turn that was taken until `until`, unless it ran out and somebody else has taken it."""
        accepted(
            self._call,
            "delete_item",
            Key=_close(run_id),
            ConditionExpression="#until = :until",
            ExpressionAttributeNames=_UNTIL,
            ExpressionAttributeValues=to_dynamodb({":until": until.timestamp()}),
        )

    def begin_to_tell(self, run_id: str, now: datetime) -> None:
        """Note that the end is going to be recorded, counted and told."""
        self._call("put_item", Item={**_untold(run_id), **to_dynamodb({"since": now.isoformat()})})

    def has_counted(self, run_id: str) -> None:
        """Note that of the telling only the notice is lacking, which could not be sent."""
        accepted(
            self._call,
            "update_item",
            Key=_untold(run_id),
            UpdateExpression="SET counted = :yes",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues=to_dynamodb({":yes": True}),
        )

    def untold(self, run_id: str) -> UnsentEnd | None:
        """The mark of an end that is not told yet; None where nothing is lacking."""
        item = self._call("get_item", Key=_untold(run_id), ConsistentRead=True).get("Item")
        if item is None:
            return None
        values = from_dynamodb(item)
        since = datetime.fromisoformat(values["since"]) if "since" in values else _LONG_AGO
        return UnsentEnd(since, bool(values.get("counted")))

    def has_told(self, run_id: str) -> None:
        """Note that EventBridge has the notice, and that all is counted."""
        self._call("delete_item", Key=_untold(run_id))


def _close(run_id: str) -> dict[str, Any]:
    return key(f"RUN#{run_id}", "CLOSE")


def _untold(run_id: str) -> dict[str, Any]:
    return key(f"RUN#{run_id}", "UNTOLD")


_PENDING = "PENDING"
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_log = logging.getLogger(__name__)


class PendingDeliveries:
    """Those of one table. `call` is `Table.call`. Every write can be repeated."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def keep(self, delivery: Delivery, name: str, event: str, now: datetime) -> bool:
        """Keep the event, which is JSON text; one that is kept already stays as old as it is.

        False where the table does not take it.
        """
        return self._write(
            "update_item",
            f"{delivery.value}#{name}",
            UpdateExpression="SET since = if_not_exists(since, :now), #event = :event",
            ExpressionAttributeNames={"#event": "event"},
            ExpressionAttributeValues=to_dynamodb({":now": now.isoformat(), ":event": event}),
        )

    def forget(self, delivery: Delivery, name: str) -> bool:
        """Forget what was delivered, or given up. False where the table does not take it."""
        return self._write("delete_item", f"{delivery.value}#{name}")

    def all(self) -> list[Pending]:
        """Every pending delivery. Raises as `Table.call` does."""
        read = map(_pending, partition(self._call, _PENDING))
        return [pending for pending in read if pending is not None]

    def _write(self, operation: str, sk: str, **arguments: Any) -> bool:
        try:
            self._call(operation, Key=key(_PENDING, sk), **arguments)
        except (TransientAwsError, ClientError, BotoCoreError) as error:
            _log.warning("%s of pending %s: %s", operation, sk, error)
            return False
        return True


def _pending(item: Mapping[str, Any]) -> Pending | None:
    delivery, _, name = item["sk"].partition("#")
    if delivery not in list(Delivery):
        _log.error("a pending delivery of an unknown kind: %s", item["sk"])
        return None
    return Pending(Delivery(delivery), name, _since(item.get("since")), str(item.get("event")))


def _since(text: Any) -> datetime:
    """An item that does not say it is given up, and not kept for ever."""
    try:
        since = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return _EARLIEST
    return since if since.tzinfo is not None else since.replace(tzinfo=UTC)
