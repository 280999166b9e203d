"""Tells the world what happened to a run, as events on an EventBridge bus (`source: nightspot`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from nightspot.record.events import OF_OUTCOME, Happening
from nightspot.run.model import Run

SOURCE = "nightspot"
AGAIN = "again"  # in the detail of a notice that the reconciler has sent again
_ENDS = frozenset(OF_OUTCOME.values())


class NoticeNotSentError(Exception):
    """EventBridge did not accept a notice."""


class EventsClient(Protocol):
    """The part of boto3's EventBridge client that is used here."""

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]: ...  # noqa: N803


class Notices:
    """The bus on which notices are published."""

    def __init__(self, client: EventsClient, bus_name: str) -> None:
        self._client = client
        self._bus_name = bus_name

    def send(self, happening: Happening, run: Run, at: datetime, detail: dict[str, Any]) -> None:
        """Publish one notice. At least once: `notice_id` is the same for the same happening of a run's step.

        A run has one end, whichever decision or repair has recorded it: all notices of it have one id.
        Raises NoticeNotSentError where EventBridge refuses it.
        """
        entry = {
            "Time": at,
            "Source": SOURCE,
            "DetailType": happening.detail_type,
            "EventBusName": self._bus_name,
            "Resources": [run.execution_arn],
            "Detail": json.dumps(
                {
                    "notice_id": _notice_id(happening, run),
                    "job": run.job,
                    "run_id": run.run_id,
                    "execution_arn": run.execution_arn,
                    "deadline": run.deadline.isoformat(),
                    **detail,
                }
            ),
        }
        self._put(entry)

    def send_again(self, event: Mapping[str, Any]) -> None:
        """Publish a notice once more, from its event, marked so that its receiver knows. Raises as `send` does."""
        self._put(
            {
                "Source": SOURCE,
                "DetailType": event["detail-type"],
                "EventBusName": self._bus_name,
                "Resources": list(event.get("resources", ())),
                "Detail": json.dumps({**event["detail"], AGAIN: True}, ensure_ascii=False),
            }
        )

    def _put(self, entry: dict[str, Any]) -> None:
        answer = self._client.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            raise NoticeNotSentError(f"{entry['DetailType']}: {answer['Entries'][0].get('ErrorMessage')}")


def _notice_id(happening: Happening, run: Run) -> str:
    if happening in _ENDS:
        return f"{run.run_id}/end"
    return f"{run.run_id}/{run.steps}/{happening.value}"
