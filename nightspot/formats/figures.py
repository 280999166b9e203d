"""Decides how figures read on a page: money, durations, moments, and the words for what is not known."""

from __future__ import annotations

from datetime import UTC, datetime

from nightspot.formats.durations import MINUTE_SECONDS, format_duration
from nightspot.formats.plain_text import one_line

NOT_KNOWN = "not known"
NO_BREAK = "\u00a0"


def usd(value: float | None) -> str:
    """ "$1,383.60", "-$4.00", or "not known"."""
    if value is None:
        return NOT_KNOWN
    # Not "-$0.00".
    rounded = round(value, 2) or 0.0
    return f"{'-' if rounded < 0 else ''}${abs(rounded):,.2f}"


def percent(value: float | None) -> str:
    """ "37.2 %", or "not known"; `value` is in percent."""
    return NOT_KNOWN if value is None else f"{round(value, 1) or 0.0:.1f}{NO_BREAK}%"


def duration(seconds: float | None) -> str:
    """In the two largest units, without seconds beside minutes; "not known"."""
    if seconds is None:
        return NOT_KNOWN
    size = abs(seconds)
    whole = size if size < MINUTE_SECONDS else size // MINUTE_SECONDS * MINUTE_SECONDS
    return format_duration(-whole if seconds < 0 else whole)


def clock(moment: datetime | None, beside: datetime | None = None) -> str:
    """ "08:00 UTC", with its day where that is not the one of `beside`."""
    if moment is None:
        return NOT_KNOWN
    moment = moment.astimezone(UTC)
    same_day = beside is None or moment.date() == beside.astimezone(UTC).date()
    return f"{'' if same_day else f'{day(moment)}, '}{moment:%H:%M} UTC"


def day(moment: datetime) -> str:
    """ "21 November 2026"."""
    moment = moment.astimezone(UTC)
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def month(moment: datetime) -> str:
    """ "November 2026"."""
    return f"{MONTHS[moment.month - 1]} {moment.year}"


def number(value: float | None) -> str:
    """A metric in four digits that count: "0.2511", "1,234", "1.2e-05"."""
    if value is None:
        return NOT_KNOWN
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    digits = 0 if abs(value) >= 1000 else 4
    return f"{value:,.{digits}f}" if value != int(value) or digits == 0 else f"{int(value):,}"


def plain(text: str) -> str:
    """`text` on one line without the characters that change the direction or the look of what stands around them.

    For places that cannot be isolated by markup: the page's title, a chart, a file's name.
    """
    return one_line(text)


MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
