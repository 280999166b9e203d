"""Knows the runs of which something is unfinished: training, the record, the telling of the end, a bill.

One item each, OPEN / RUN#id, in a partition of their own: one query finds them all, and with nothing to do it is
all that the reconciler reads. The item also says which execution has the run: of two restarts one takes it on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.table.dynamodb import from_dynamodb, is_condition_failure, key, partition, to_dynamodb
from nightspot.run.model import Run

_PARTITION, _RUN = "OPEN", "RUN#"


@dataclass(frozen=True)
class OpenRun:
    """A run of which something is unfinished."""

    run_id: str
    job: str
    execution_arn: str  # the one that has the run now
    started_at: datetime


class OpenRuns:
    """The index of one table. `call` is `Table.call`, and raises as that does. Every write can be repeated."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
        self._call = call

    def all(self) -> list[OpenRun]:
        """Every run of which something is unfinished, by id, which is by the day of its start."""
        return [_open_run(item) for item in partition(self._call, _PARTITION)]

    def get(self, run_id: str) -> OpenRun | None:
        """The same of one run; None where nothing of it is unfinished, or an older version has planned it."""
        item = self._call("get_item", Key=_key_of(run_id), ConsistentRead=True).get("Item")
        return None if item is None else _open_run(item)

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
        try:
            self._call(
                "update_item",
                Key=_key_of(run.run_id),
                UpdateExpression="SET execution_arn = :new, job = :job, started_at = :at",
                ConditionExpression="attribute_not_exists(pk) OR execution_arn IN (:old, :new)",
                ExpressionAttributeValues=_values(run, {":new": execution_arn, ":old": from_arn}),
            )
        except ClientError as error:
            if not is_condition_failure(error):
                raise
            return False
        return True

    def forget(self, run_id: str) -> None:
        """Note that nothing of the run is unfinished."""
        self._call("delete_item", Key=_key_of(run_id))


def _values(run: Run, more: Mapping[str, str]) -> dict[str, Any]:
    return to_dynamodb({":job": run.job, ":at": run.started_at.isoformat(), **more})


def _key_of(run_id: str) -> dict[str, Any]:
    return key(_PARTITION, f"{_RUN}{run_id}")


def _open_run(item: Mapping[str, Any]) -> OpenRun:
    values = from_dynamodb(item)
    return OpenRun(
        run_id=values["sk"].removeprefix(_RUN),
        job=values["job"],
        execution_arn=values["execution_arn"],
        started_at=datetime.fromisoformat(values["started_at"]),
    )
