"""Decides which runs a list is asked for: their endings, why they fell back, and when they started.

The API and `nightspot runs` ask alike: a parameter's name is the option's without its dashes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from nightspot.formats.durations import DurationError, parse_duration
from nightspot.job.errors import Problem, describe
from nightspot.record.run_account import Ending, RunAccount
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
class Window:
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


def is_for(run: RunAccount, reasons: Collection[Reason]) -> bool:
    """Whether `run` fell back to on-demand for one of `reasons`; where none is named, any run."""
    return not reasons or run.fell_back_reason in reasons


def window_of(since: str | None, month: str | None, now: datetime) -> Window:
    """The window of both parameters together, seen from `now` (aware). Raises QueryError."""
    first = EARLIEST if since is None else max(EARLIEST, _since(since, now))
    if month is None:
        return Window(first, None)
    try:
        month_start, month_end = bounds_of(month)
    except MonthError as error:
        raise QueryError(Problem("month", describe(month), _MONTH_RULE)) from error
    return Window(max(first, month_start), month_end)


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
