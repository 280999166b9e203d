"""Which runs a list is asked for, and where it goes on: filters, opaque cursors, one order over all jobs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from nightspot.formats.figures import DurationError, parse_duration
from nightspot.job.errors import Problem, describe
from nightspot.record.model import Ending, RunRecord
from nightspot.record.statement import MonthError, bounds_of
from nightspot.run.reasons import Reason

# Nightspot is younger, and the year always has four digits: times are compared as text.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_SINCE_RULE = "must be a duration such as 7d or 36h, or an ISO 8601 time such as 2026-11-21"
_MONTH_RULE = "must be a month such as 2026-11"


class QueryError(ValueError):
    """A parameter breaks its rule; `problem` says which."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Wanted(StrEnum):
    """Which endings are listed."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"  # in time or late
    IN_TIME = "in_time"
    LATE = "late"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    REFUSED = "refused"


ENDINGS: Mapping[Wanted, frozenset[Ending]] = {
    Wanted.RUNNING: frozenset({Ending.RUNNING}),
    Wanted.SUCCEEDED: frozenset({Ending.IN_TIME, Ending.LATE}),
    Wanted.IN_TIME: frozenset({Ending.IN_TIME}),
    Wanted.LATE: frozenset({Ending.LATE}),
    Wanted.FAILED: frozenset({Ending.FAILED}),
    Wanted.SKIPPED: frozenset({Ending.SKIPPED}),
    Wanted.STOPPED: frozenset({Ending.STOPPED}),
    Wanted.REFUSED: frozenset({Ending.REFUSED}),
}


@dataclass(frozen=True)
class StartWindow:
    """When the runs started that are wanted: from `first` on and before `end` (aware); None: whenever."""

    first: datetime
    end: datetime | None

    @property
    def is_empty(self) -> bool:
        """True where no run can be in it."""
        return self.end is not None and self.end <= self.first

    def __contains__(self, moment: datetime) -> bool:
        """Whether a run that started at `moment` (aware) is wanted."""
        return self.first <= moment and (self.end is None or moment < self.end)


def endings_of(outcomes: Iterable[Wanted]) -> frozenset[Ending]:
    """The endings that are wanted; all of them where none is named."""
    return frozenset().union(*(ENDINGS[each] for each in outcomes)) or frozenset(Ending)


def is_for(run: RunRecord, reasons: Collection[Reason]) -> bool:
    """Whether `run` fell back to on-demand for one of `reasons`; where none is named, any run."""
    return not reasons or run.fell_back_reason in reasons


def window_of(since: str | None, month: str | None, now: datetime) -> StartWindow:
    """The window of both parameters together, seen from `now` (aware). Raises QueryError."""
    first = EARLIEST if since is None else max(EARLIEST, _since(since, now))
    if month is None:
        return StartWindow(first, None)
    try:
        month_start, month_end = bounds_of(month)
    except MonthError as error:
        raise QueryError(Problem("month", describe(month), _MONTH_RULE)) from error
    return StartWindow(max(first, month_start), month_end)


def _since(text: str, now: datetime) -> datetime:
    """A duration ago, or a time; without a zone in UTC."""
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (DurationError, OverflowError):
        pass  # then it is a time, or a mistake
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise QueryError(Problem("since", describe(text), _SINCE_RULE)) from error


_VERSION = 1
_LONGEST = 512
_RULE = "must be `next` of the page before, as it was given, with the same other parameters"


class Position(NamedTuple):
    """A run's place in the order of all; of two, the greater comes first."""

    key: str  # the sort key in its job's history: time and run id
    job: str


def cursor_of(place: Position, question: Mapping[str, Any]) -> str:
    """The text of `place` for who asks `question` (JSON-ready) again."""
    text = json.dumps([_VERSION, place.key, place.job, _digest(question)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str, question: Mapping[str, Any]) -> Position:
    """The place that `cursor_of` wrote for the same question. Raises QueryError."""
    found = None
    if len(cursor) <= _LONGEST and cursor.isascii():
        padded = cursor + "=" * (-len(cursor) % 4)
        with suppress(ValueError, RecursionError):
            found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    match found:
        case [version, str(key), str(job), str(digest)] if (version, digest) == (_VERSION, _digest(question)):
            return Position(key, job)
    raise QueryError(Problem("cursor", describe(cursor), _RULE))


def _digest(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:8]
