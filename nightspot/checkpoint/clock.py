"""Decides what time it is: the machine's time, or the time of a simulated night."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone

from .errors import ClockSettingError

UTC = timezone.utc  # datetime.UTC came with Python 3.11, containers run 3.9
CLOCK_VARIABLE = "NIGHTSPOT_CLOCK"

_RULE = (
    "must be '<real epoch seconds>:<story epoch seconds>:<scale>', "
    "three finite numbers, the scale greater than 0"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def clock_from(
    environ: Mapping[str, str], real_epoch_seconds: Callable[[], float] = time.time
) -> Callable[[], datetime]:
    """The clock to read, as a function that returns an aware UTC datetime.

    Raises ClockSettingError where NIGHTSPOT_CLOCK is set and malformed.
    """
    value = environ.get(CLOCK_VARIABLE)
    if value is None:
        return lambda: _moment(real_epoch_seconds())
    real_start, story_start, scale = _parse(value)

    # A local run plays a night of hours in seconds, and its scheduler plans in the night's time.
    # Training reads the same clock, so that a pace of 600 seconds per step is reported as that,
    # and not as the one second that it took to play.
    def story_now() -> datetime:
        return _moment(story_start + (real_epoch_seconds() - real_start) * scale)

    return story_now


def as_text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond, ending in Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The moment that `as_text` wrote; ValueError for any other text."""
    # fromisoformat() reads the Z only from Python 3.11 on.
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def _moment(epoch_seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=epoch_seconds)


def _parse(value: str) -> tuple[float, float, float]:
    try:
        real_start, story_start, scale = (float(part) for part in value.split(":"))
    except ValueError:
        raise ClockSettingError(f"{CLOCK_VARIABLE}={value!r}: {_RULE}") from None
    if not all(map(math.isfinite, (real_start, story_start, scale))) or scale <= 0:
        raise ClockSettingError(f"{CLOCK_VARIABLE}={value!r}: {_RULE}")
    return real_start, story_start, scale
