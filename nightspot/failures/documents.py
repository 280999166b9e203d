"""Decides what a text that is JSON says: a described training job, a fault, or nothing that is known.

Only the fields at the top of the document are read: below them stands what the user wrote (hyperparameters, tags).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DECODER = json.JSONDecoder()
_GAP = re.compile(r"[\s,:]*")

# Where a document keeps an error's name and its words: Step Functions (two spellings), Lambda, the JSON protocol
# of AWS's APIs, botocore.
_FAULT_FIELDS = (
    ("Error", "Cause"),
    ("error", "cause"),
    ("errorType", "errorMessage"),
    ("__type", "message"),
    ("__type", "Message"),
    ("Code", "Message"),
)


@dataclass(frozen=True)
class JobWords:
    """What a document in the shape of DescribeTrainingJob says of a training job's end."""

    status: str | None
    secondary_status: str | None
    failure_reason: str
    transitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaultWords:
    """What a document says of a refused call."""

    error: str
    cause: str


def parse(text: str) -> JobWords | FaultWords | None:
    """What `text` says if it is a JSON object; None if it is not, or is one of no known shape.

    A document that was cut off is read as far as it goes.
    """
    if not text.lstrip().startswith("{"):
        return None
    fields = _fields(text.lstrip())
    # EventBridge's state-change event carries the description inside.
    detail = fields.get("detail")
    return _job(detail if isinstance(detail, dict) else fields) or _fault(fields)


def _job(fields: Mapping[str, Any]) -> JobWords | None:
    status, secondary = _text(fields, "TrainingJobStatus"), _text(fields, "SecondaryStatus")
    reason = _text(fields, "FailureReason")
    if not (status or secondary or reason):
        return None
    transitions = fields.get("SecondaryStatusTransitions")
    statuses = [
        _text(transition, "Status")
        for transition in (transitions if isinstance(transitions, list) else [])
        if isinstance(transition, dict)
    ]
    return JobWords(status or None, secondary or None, reason, tuple(filter(None, statuses)))


def _fault(fields: Mapping[str, Any]) -> FaultWords | None:
    error = fields.get("Error")
    if isinstance(error, dict):
        return _fault(error)
    for name, words in _FAULT_FIELDS:
        if _text(fields, name):
            # The JSON protocol writes "com.amazonaws.sagemaker#ResourceLimitExceeded".
            return FaultWords(_text(fields, name).rpartition("#")[2], _text(fields, words))
    return None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _fields(text: str) -> dict[str, Any]:
    """The pairs of the object that `text` starts with, up to where it stops being JSON."""
    fields: dict[str, Any] = {}
    position = 1
    try:
        while True:
            position = _skipped(text, position)
            if text[position : position + 1] != '"':
                return fields
            name, position = _DECODER.raw_decode(text, position)
            fields[name], position = _DECODER.raw_decode(text, _skipped(text, position))
    except (ValueError, RecursionError):
        return fields


def _skipped(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position
