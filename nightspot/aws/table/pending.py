"""Keeps events that a function could not deliver, for the reconciler, which delivers them.

One item each, PENDING / START#execution or PENDING / NOTICE#key, in a partition of their own: one query finds them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.table.dynamodb import from_dynamodb, key, partition, to_dynamodb
from nightspot.decide.audit import Delivery, Pending

_PARTITION = "PENDING"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_log = logging.getLogger(__name__)


class PendingDeliveries:
    """Those of one table. `call` is `Table.call`. Every write can be repeated."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
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
        read = (_pending(from_dynamodb(item)) for item in partition(self._call, _PARTITION))
        return [pending for pending in read if pending is not None]

    def _write(self, operation: str, sk: str, **arguments: Any) -> bool:
        try:
            self._call(operation, Key=key(_PARTITION, sk), **arguments)
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
        return _LONG_AGO
    return since if since.tzinfo is not None else since.replace(tzinfo=UTC)
