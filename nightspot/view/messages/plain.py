"""Decides how texts, moments and amounts are written in a message, whosever words they are."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nightspot.formats.durations import format_duration
from nightspot.formats.plain_text import visible

if TYPE_CHECKING:
    from nightspot.job import Job

UNKNOWN = "unknown"


def clean(text: object) -> str:
    """`text` on one line, without what a mail or chat program could be confused with.

    Control and format characters (marks that turn the reading direction among them) and halves of characters go.
    """
    return " ".join(visible(str(text)).split())


def shortened(text: str, most: int) -> str:
    """At most `most` characters, three dots where something is left out."""
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def in_ascii(text: str) -> str:
    """Accents dropped, and a question mark for every other character that ASCII does not have."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode("ascii")


def usd(amount: float | None) -> str:
    """ "$1,234.50", "$0.0042", "unknown"."""
    if amount is None:
        return UNKNOWN
    sign = "-" if amount < 0 else ""
    digits = 4 if 0 < abs(amount) < 0.01 else 2
    return f"{sign}${abs(amount):,.{digits}f}"


def percent(value: float) -> str:
    """ "37.2 %" """
    return f"{value:.1f} %"


def span(seconds: float | None) -> str:
    """ "3 h 12 min", "unknown"."""
    return UNKNOWN if seconds is None else format_duration(seconds)


def moment(text: str | None, zone: str) -> str:
    """ "Sat 21 Nov 2026, 08:03 Europe/Paris (07:03 UTC)" of an ISO 8601 time with an offset."""
    if text is None:
        return UNKNOWN
    utc = datetime.fromisoformat(text).astimezone(UTC)
    if zone == "UTC":
        return f"{utc:%a %d %b %Y, %H:%M} UTC"
    local = utc.astimezone(ZoneInfo(zone))
    in_utc = f"{utc:%H:%M}" if local.date() == utc.date() else f"{utc:%a %d %b, %H:%M}"
    return f"{local:%a %d %b %Y, %H:%M} {zone} ({in_utc} UTC)"


def zone_of(job: Job | None) -> str:
    """The zone in which a job's people think: the deadline's, else the schedule's, else UTC."""
    if job is None:
        return "UTC"
    if job.deadline.at is not None:
        return job.deadline.timezone
    return job.schedule.timezone if job.schedule is not None else "UTC"
