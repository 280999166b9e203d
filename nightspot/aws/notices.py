"""Tells the world what happened to a run, as events on an EventBridge bus (`source: nightspot`)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Protocol

from nightspot.happenings import OF_OUTCOME, Happening
from nightspot.run import Run

SOURCE = "nightspot"
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
        answer = self._client.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            raise NoticeNotSentError(f"{happening.detail_type}: {answer['Entries'][0].get('ErrorMessage')}")


def _notice_id(happening: Happening, run: Run) -> str:
    if happening in _ENDS:
        return f"{run.run_id}/end"
    return f"{run.run_id}/{run.steps}/{happening.value}"
