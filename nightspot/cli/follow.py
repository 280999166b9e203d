"""Decides how a run is followed to its end: how often it is looked at, what is told, and what a wait outlives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightspot.cli import exit_status
from nightspot.cli.exit_status import ExitStatus
from nightspot.cli.operate_sources import Place, renewed
from nightspot.cli.report_sources import RunNotFoundError
from nightspot.report import news
from nightspot.report.news import News, NewsKind

if TYPE_CHECKING:
    from nightspot.aws.waiting import ExecutionEnd

Record = Mapping[str, Any]
FIRST_LOOKS = 8  # the start is where mistakes show
FIRST_SECONDS = 15.0
LATER_SECONDS = 60.0
LOOPBACK_SECONDS = 1.0  # an emulated night is over in minutes
# CI systems end a job that is silent for ten minutes or so.
QUIET_SECONDS = 9 * 60.0
# The plan writes the record within seconds of the start.
MOST_UNRECORDED_SECONDS = 10 * 60.0
# Of looks that fail one after the other: longer than a person needs to renew credentials.
MOST_TROUBLE_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Look:
    """What is seen of a run: its record (None: not on record), and how its execution ended without an outcome."""

    record: Record | None
    end: ExecutionEnd | None = None


@dataclass(frozen=True)
class Followed:
    """How following a run came out. `why` is a sentence where the run's record does not say it."""

    status: ExitStatus
    record: Record | None
    why: str | None = None


def follow(
    look: Callable[[], Look],
    *,
    sleep: Callable[[float], None],
    pace: Callable[[int], float],
    now: Callable[[Record | None], datetime],
    on_news: Callable[[News], None],
    on_look: Callable[[Record], None] = lambda _record: None,
    longest_seconds: float | None = None,
) -> Followed:
    """Look until the run is over, cannot be followed, or `longest_seconds` have been slept.

    `pace(n)` are the seconds after the look number n (from 0), `now(record)` is the story's clock (aware).
    `look` raises CannotLookError where the run could not be seen just now: it is told once, and looked again. What
    else it raises ends the following.
    """
    from nightspot.aws.waiting import CannotLookError  # noqa: PLC0415 - not for --help

    before: Record | None = None
    slept = quiet = trouble = 0.0
    looks = 0
    while True:
        try:
            seen = look()
        except CannotLookError as error:
            if not trouble:
                on_news(_fault(f"the run cannot be looked at just now; it is tried again: {error}"))
            if trouble >= MOST_TROUBLE_SECONDS:
                why = f"the run could not be followed any longer, it may go on: {error}"
                return Followed(ExitStatus.SERVICE, before, why)
            trouble = max(trouble, 1.0)
        else:
            if trouble:
                on_news(_fault("the run can be looked at again"))
                trouble = 0.0
            if seen.record is not None:
                for line in news.news_between(before, seen.record):
                    on_news(line)
                    quiet = 0.0
                before = seen.record
                on_look(before)
            if (ended := _ended(seen, slept)) is not None:
                return ended
        if longest_seconds is not None and slept >= longest_seconds:
            return Followed(ExitStatus.STILL_RUNNING, before)
        seconds = pace(looks)
        if longest_seconds is not None:
            seconds = min(seconds, longest_seconds - slept)
        sleep(seconds)
        slept, quiet, looks = slept + seconds, quiet + seconds, looks + 1
        trouble += seconds if trouble else 0.0
        if quiet >= QUIET_SECONDS:
            on_news(_still(before, now))
            quiet = 0.0


def looker(
    place: Place, run_id: str, execution_arn: str | None, *, region: str | None, profile: str | None
) -> Callable[[], Look]:
    """Looks at a run where it is recorded; its credentials are read anew once AWS says that they have run out.

    `execution_arn`: of a run that may not be on record yet. The looks raise CannotLookError, ClientError, ApiError.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from nightspot.aws.api_client import ApiError  # noqa: PLC0415
    from nightspot.aws.faults import TransientAwsError  # noqa: PLC0415
    from nightspot.aws.waiting import as_passing  # noqa: PLC0415

    here = place

    def look() -> Look:
        nonlocal here
        try:
            return _look(here, run_id, execution_arn)
        except (ClientError, BotoCoreError, TransientAwsError, ApiError) as error:
            passing = as_passing(error)
            if passing is None:
                raise
            if passing.is_expired:
                here = renewed(here, region=region, profile=profile)
            raise passing from error

    return look


def pace_of(place: Place) -> Callable[[int], float]:
    """The seconds after each look: quick at first, then once a minute; every second for an emulated night."""
    if is_emulated(place):
        return lambda _look: LOOPBACK_SECONDS
    return lambda number: FIRST_SECONDS if number < FIRST_LOOKS else LATER_SECONDS


def clock_of(place: Place, now: Callable[[], datetime]) -> Callable[[Record | None], datetime]:
    """The story's clock: the real one; of an emulated night, the latest moment that its record speaks of."""

    def story(record: Record | None) -> datetime:
        latest = news.story_now(record) if record is not None and is_emulated(place) else None
        return latest or now()

    return story


def is_emulated(place: Place) -> bool:
    """Whether the place is the API of `nightspot local serve`, by its address."""
    from nightspot.aws.api_client import is_loopback  # noqa: PLC0415

    return place.api is not None and is_loopback(place.api.url)


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def _look(place: Place, run_id: str, execution_arn: str | None) -> Look:
    record = _record(place, run_id)
    arn = execution_arn if record is None else record.get("execution_arn") or execution_arn
    if place.aws is None or arn is None or (record is not None and news.is_over(record)):
        return Look(record)
    from nightspot.aws.waiting import execution_end  # noqa: PLC0415

    end = execution_end(place.aws.client("stepfunctions"), str(arn))
    if end is None:
        return Look(record)
    # It may have ended properly since the record was read.
    record = _record(place, run_id)
    return Look(record, None if record is not None and news.is_over(record) else end)


def _record(place: Place, run_id: str) -> Record | None:
    try:
        return {**place.source.run(run_id), "run_id": run_id}
    except RunNotFoundError:
        return None


def _ended(seen: Look, slept: float) -> Followed | None:
    """What a look means for the following; None: it goes on."""
    if seen.record is not None and news.is_over(seen.record):
        return Followed(exit_status.of_record(seen.record), seen.record)
    if seen.end is not None:
        status = exit_status.of_execution(seen.end.status, seen.end.error)
        return Followed(status, seen.record, f"the execution ended without recording an outcome: {seen.end}")
    if seen.record is None and slept >= MOST_UNRECORDED_SECONDS:
        why = "the run is still not on record; its execution in the console says why"
        return Followed(ExitStatus.SERVICE, None, why)
    return None


def _fault(text: str) -> News:
    return News(NewsKind.FAULT, text)


def _still(record: Record | None, now: Callable[[Record | None], datetime]) -> News:
    moment = now(record)
    if record is None:
        return News(NewsKind.STILL, "the run is not on record yet", moment)
    return news.still(record, moment)
