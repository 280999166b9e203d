"""Decides which of several invocations closes the record of a run, and knows whose closing came to no end.

Two items: RUN#id / CLOSE is held for the length of one invocation, so that two events that come together tell of a
run's end once. RUN#id / UNTOLD stands while its end is recorded and told: what dies in between is done again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.dynamodb import is_condition_failure, key, to_dynamodb

# A reserved word of DynamoDB's expressions.
_UNTIL = {"#until": "until"}


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

    def begin_to_tell(self, run_id: str) -> None:
        """Note that the end is going to be recorded and told."""
        self._call("put_item", Item=_untold(run_id))

    def is_untold(self, run_id: str) -> bool:
        """Whether somebody has begun to tell, and not come to an end."""
        return "Item" in self._call("get_item", Key=_untold(run_id), ConsistentRead=True)

    def has_told(self, run_id: str) -> None:
        """Note that people know, and that all is counted."""
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
