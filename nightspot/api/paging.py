"""Decides where a list of runs goes on: opaque cursors, checked, and one order over all jobs' histories.

The order is newest first, by second, then run id, then job. A cursor holds the place of the last run that was
looked at, so runs that begin between two pages move nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nightspot.job.errors import Problem, describe

_VERSION = 1
_LONGEST = 512
_RULE = "must be `next` of the page before, as it was given, with the same other parameters"


class CursorError(ValueError):
    """A text is no cursor, or one of another question; `problem` says which."""

    def __init__(self, text: str) -> None:
        super().__init__(_RULE)
        self.problem = Problem("cursor", describe(text), _RULE)


class Place(NamedTuple):
    """A run's place in the order of all; of two, the greater comes first."""

    key: str  # the sort key in its job's history: time and run id
    job: str


def cursor_of(place: Place, question: Mapping[str, Any]) -> str:
    """The text of `place` for who asks `question` (JSON-ready) again."""
    text = json.dumps([_VERSION, place.key, place.job, _digest(question)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str, question: Mapping[str, Any]) -> Place:
    """The place that `cursor_of` wrote for the same question. Raises CursorError."""
    try:
        if len(cursor) > _LONGEST or not cursor.isascii():
            raise CursorError(cursor)
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise CursorError(cursor) from error
    match found:
        case [version, str(key), str(job), str(digest)] if (version, digest) == (_VERSION, _digest(question)):
            return Place(key, job)
    raise CursorError(cursor)


def _digest(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:8]
