"""How a run is followed to its end: how often it is looked at, what is told, and what a wait outlives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import typer
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import (
    ApiError,
    CannotLookError,
    ExecutionEnd,
    as_passing,
    is_loopback,
)
from nightspot.cli import _shared
from nightspot.cli._shared import ExitStatus, note, say, utc_now
from nightspot.cli.runs.place import Place, renewed
from nightspot.client.looking import Look, look_at
from nightspot.failures.redaction import redact
from nightspot.formats.figures import duration, one_line
from nightspot.record.model import RecordNotReadableError, RunRecord
from nightspot.terminal import deployed_run
from nightspot.terminal.deployed_run import News, NewsKind
from nightspot.view.messages.plain import Console

FIRST_LOOKS = 8  # the start is where mistakes show
FIRST_SECONDS = 15.0
LATER_SECONDS = 60.0
LOOPBACK_SECONDS = 1.0  # an emulated night is over in minutes
# CI systems end a job that is silent for ten minutes or so.
QUIET_SECONDS = 9 * 60.0
# The plan writes the record within seconds of the start.
MOST_UNRECORDED_SECONDS = 10 * 60.0
# After a crash: the reconciler restarts the run three times, or closes it.
MOST_GONE_SECONDS = 3600.0
# Of looks that fail one after the other: longer than a person needs to renew credentials.
MOST_TROUBLE_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Followed:
    """How following a run came out. `record` is the last one seen; `why` a sentence where it does not say it."""

    status: ExitStatus
    record: RunRecord | None
    why: str | None = None
    may_go_on: bool = False  # the following is over, of the run nobody knows it


class LookRefusedError(Exception):
    """The run could not be looked at, and a later look would meet the same; the text, redacted, tells why."""


def follow(
    look: Callable[[], Look],
    *,
    sleep: Callable[[float], None],
    monotonic: Callable[[], float],
    pace: Callable[[int], float],
    now: Callable[[RunRecord | None], datetime],
    on_news: Callable[[News], None],
    on_look: Callable[[RunRecord], None] = lambda _record: None,
    longest_seconds: float | None = None,
) -> Followed:
    """Look until the run is over, cannot be followed, or `longest_seconds` have passed; Ctrl-C ends it, too.

    `pace(n)` are the seconds after the look number n (from 0), `now(record)` is the story's clock (aware),
    `monotonic()` are the seconds since any moment, looks included, which nobody can set back. `look` raises
    CannotLookError where the run could not be seen just now: it is told once, and looked again; LookRefusedError
    ends the following. What else it raises is raised.
    """
    following = _Following(look, monotonic, now, on_news, on_look)
    looks = 0
    try:
        while (ended := following.step()) is None:
            seconds = pace(looks)
            if longest_seconds is not None:
                seconds = min(seconds, longest_seconds - following.passed)
                if seconds <= 0:
                    return Followed(ExitStatus.STILL_RUNNING, following.record, may_go_on=True)
            sleep(seconds)
            looks += 1
            following.break_silence()
    except KeyboardInterrupt:
        # Where the record is to be printed, it is: a pipeline that is cancelled gets this signal first.
        return Followed(ExitStatus.INTERRUPTED, following.record, may_go_on=True)
    return ended


class _Following:
    """What is known so far of a run that is followed."""

    def __init__(
        self,
        look: Callable[[], Look],
        monotonic: Callable[[], float],
        now: Callable[[RunRecord | None], datetime],
        on_news: Callable[[News], None],
        on_look: Callable[[RunRecord], None],
    ) -> None:
        self.record: RunRecord | None = None
        self._look, self._monotonic, self._now = look, monotonic, now
        self._on_news, self._on_look = on_news, on_look
        self._began = self._told_at = self._seen_at = monotonic()
        self._trouble_since: float | None = None
        self._gone_since: float | None = None

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self._monotonic() - self._began

    def step(self) -> Followed | None:
        """Look once, and tell what is new. How it came out; None: it goes on. Raises what the look raises."""
        try:
            seen = self._look()
        except CannotLookError as error:
            return self._trouble(error)
        except LookRefusedError as error:
            return Followed(
                ExitStatus.SERVICE, self.record, f"it cannot be looked at: {error}", may_go_on=True
            )
        if self._trouble_since is not None:
            self._tell(_fault("the run can be looked at again"))
            self._trouble_since = None
        if seen.record is not None:
            for line in deployed_run.news_between(self.record, seen.record):
                self._tell(line)
            self.record, self._seen_at = seen.record, self._monotonic()
            self._on_look(seen.record)
        return self._ended(seen)

    def break_silence(self) -> None:
        """Tell how it stands, where nothing has been told for long."""
        if self._monotonic() - self._told_at >= QUIET_SECONDS:
            self._tell(self._still())

    def _tell(self, line: News) -> None:
        self._on_news(line)
        self._told_at = self._monotonic()

    def _trouble(self, error: Exception) -> Followed | None:
        at = self._monotonic()
        if self._trouble_since is None:
            self._trouble_since = at
            self._tell(_fault(f"the run cannot be looked at just now; it is tried again: {error}"))
        elif at - self._trouble_since >= MOST_TROUBLE_SECONDS:
            long = duration(at - self._trouble_since)
            why = f"it could not be looked at for {long}: {error}"
            return Followed(ExitStatus.SERVICE, self.record, why, may_go_on=True)
        return None

    def _ended(self, seen: Look) -> Followed | None:
        if seen.record is not None and seen.record.is_over:
            return Followed(_shared.of_record(seen.record), seen.record)
        if seen.end is None:
            self._gone_since = None
        else:
            status = _shared.of_execution(seen.end.status, seen.end.error)
            if status is ExitStatus.USER:
                return Followed(status, self.record, f"its input was refused: {seen.end.cause or seen.end}")
            if status is ExitStatus.SERVICE and seen.record is not None and self._may_come_back(seen.end):
                return None
            why = f"the execution ended without recording an outcome: {seen.end}"
            return Followed(status, self.record, why)
        if seen.record is None and self._monotonic() - self._seen_at >= MOST_UNRECORDED_SECONDS:
            still = "still not" if self.record is None else "no longer"
            why = f"it is {still} on record; its execution in the console says why"
            return Followed(ExitStatus.SERVICE, self.record, why)
        return None

    def _may_come_back(self, end: ExecutionEnd) -> bool:
        """Whether another execution may still go on with the run, whose own has crashed; told once."""
        if self._gone_since is None:
            self._gone_since = self._monotonic()
            self._tell(_fault(f"its execution crashed ({end}); the reconciler restarts the run or closes it"))
        return self._monotonic() - self._gone_since < MOST_GONE_SECONDS

    def _still(self) -> News:
        moment = self._now(self.record)
        if self._trouble_since is not None:
            long = duration(self._monotonic() - self._trouble_since)
            return _fault(f"the run could not be looked at for {long}; it is tried again")
        if self.record is None:
            return News(NewsKind.STILL, "the run is not on record yet", moment)
        return deployed_run.still(self.record, moment)


def looker(place: Place, run_id: str, execution_arn: str | None) -> Callable[[], Look]:
    """Looks at a run where it is recorded; its credentials are read anew once AWS says that they have run out.

    `execution_arn`: of a run that may not be on record yet. The looks raise CannotLookError and LookRefusedError.
    """
    here, is_stale = place, False

    def look() -> Look:
        nonlocal here, is_stale
        try:
            if is_stale:
                here = renewed(here)
                is_stale = False
            step_functions = None if here.aws is None else here.aws.client("stepfunctions")
            return look_at(here.source, step_functions, run_id, execution_arn)
        except (ClientError, BotoCoreError, TransientAwsError, ApiError) as error:
            passing = as_passing(error)
            if passing is None:
                whose = "API" if isinstance(error, ApiError) else "AWS"
                raise LookRefusedError(f"{whose}: {redact(str(error))}") from error
            is_stale = is_stale or passing.is_expired
            raise passing from error
        except RecordNotReadableError as error:
            raise LookRefusedError(redact(str(error))) from error
        except (typer.BadParameter, typer.Exit) as error:
            # There were credentials before: somebody is about to write new ones.
            words = str(error) if isinstance(error, typer.BadParameter) else "there are none"
            raise CannotLookError(f"no new credentials can be read: {words}", is_expired=True) from error
        except OSError as error:
            # A file of credentials or of a token, which is just being replaced.
            is_stale = True
            text = f"{error.filename or 'file'}: {error.strerror or error}"
            raise CannotLookError(text, is_expired=True) from error

    return look


def pace_of(place: Place) -> Callable[[int], float]:
    """The seconds after each look: quick at first, then once a minute; every second for an emulated night."""
    if is_emulated(place):
        return lambda _look: LOOPBACK_SECONDS
    return lambda number: FIRST_SECONDS if number < FIRST_LOOKS else LATER_SECONDS


def clock_of(place: Place) -> Callable[[RunRecord | None], datetime]:
    """The story's clock: the real one; of an emulated night, the latest moment that its record speaks of."""

    def story(record: RunRecord | None) -> datetime:
        return record.over_at if record is not None and is_emulated(place) else utc_now()

    return story


def is_emulated(place: Place) -> bool:
    """Whether the place is the API of `nightspot local serve`, by its address."""
    return place.api is not None and is_loopback(place.api.url)


def _fault(text: str) -> News:
    return News(NewsKind.FAULT, text)


# Why nobody follows a run that is as it should be.
_LEFT_ALONE: Mapping[ExitStatus, str] = {
    ExitStatus.STILL_RUNNING: "--timeout has passed",
    ExitStatus.INTERRUPTED: "interrupted",
}


def tell_end(place: Place, run_id: str, followed: Followed, execution_arn: str | None = None) -> None:
    """Say on standard error what the news did not: that the run goes on, or could not be followed.

    `execution_arn`: where to look for a run that never came on record.
    """
    if followed.why is not None:
        say(f"error: run {run_id}: {followed.why}", err=True, fg="red")
    if followed.may_go_on:
        why = _LEFT_ALONE.get(followed.status, "it is not followed any longer")
        note(f"{why}; run {run_id} goes on. To follow it: {command('watch', run_id, place)}")
        note(f"to stop it: {command('stop', run_id, place)}")
    elif followed.record is None and execution_arn is not None:
        note(f"the execution of run {run_id} is {execution_arn}")
        if link := console_of(place, execution_arn):
            note(f"in the console: {link}")


def print_line(line: News, *, err: bool = False) -> None:
    """One piece of news as a plain line with its time (UTC); no control codes, for a file or a pipeline's log."""
    at = (line.at or utc_now()).astimezone(UTC)
    lead = "!" if line.kind is NewsKind.FAULT else " "
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{at:%Y-%m-%d %H:%M:%S}{lead} {one_line(line.text)}\n")
    # Or a pipeline would see the lines of an hour at once.
    stream.flush()


def console_of(place: Place, execution_arn: str) -> str | None:
    """The execution's page in the AWS console; None for an emulated one, which has none."""
    console = None if is_emulated(place) else Console.of_arn(execution_arn)
    return console.execution(execution_arn) if console else None


def command(name: str, run_id: str, place: Place) -> str:
    """ "nightspot watch 20261121-25feuomo --stack Nightspot": what a person types next."""
    return " ".join(("nightspot", name, run_id, *place.options))
