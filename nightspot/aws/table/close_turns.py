"""Decides which of several invocations closes the record of a run, and knows whose closing came to no end.

Two items: RUN#id / CLOSE is held for the length of one invocation, so that two events that come together close a
run once. RUN#id / UNTOLD stands from before its end is recorded until EventBridge has taken the notice of it: what
dies in between is done again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.table.dynamodb import from_dynamodb, is_condition_failure, key, to_dynamodb
from nightspot.decide.audit import Untold

# A reserved word of DynamoDB's expressions.
_UNTIL = {"#until": "until"}


# What a mark says that an older version has written, without a time.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class CloseTurns:
    """The turns of one table. `call` is `Table.call`, and raises as that does; times are aware UTC."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
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
        return self._accepted(
            "put_item",
            Item=item,
            ConditionExpression="attribute_not_exists(pk) OR #until <= :now",
            ExpressionAttributeNames=_UNTIL,
            ExpressionAttributeValues=to_dynamodb({":now": now.timestamp()}),
        )

    def give_back(self, run_id: str, *, until: datetime) -> None:
        """End the turn that was taken until `until`, unless it ran out and somebody else has taken it."""
        self._accepted(
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
        self._accepted(
            "update_item",
            Key=_untold(run_id),
            UpdateExpression="SET counted = :yes",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues=to_dynamodb({":yes": True}),
        )

    def untold(self, run_id: str) -> Untold | None:
        """The mark of an end that is not told yet; None where nothing is lacking."""
        item = self._call("get_item", Key=_untold(run_id), ConsistentRead=True).get("Item")
        if item is None:
            return None
        values = from_dynamodb(item)
        since = datetime.fromisoformat(values["since"]) if "since" in values else _LONG_AGO
        return Untold(since, bool(values.get("counted")))

    def has_told(self, run_id: str) -> None:
        """Note that EventBridge has the notice, and that all is counted."""
        self._call("delete_item", Key=_untold(run_id))

    def _accepted(self, operation: str, **arguments: Any) -> bool:
        try:
            self._call(operation, **arguments)
        except ClientError as error:
            if not is_condition_failure(error):
                raise
            return False
        return True


def _close(run_id: str) -> dict[str, Any]:
    return key(f"RUN#{run_id}", "CLOSE")


def _untold(run_id: str) -> dict[str, Any]:
    return key(f"RUN#{run_id}", "UNTOLD")
