"""How durations, amounts, moments and shares are written; durations are read by the same grammar."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from unicodedata import category

# ECMA-48: control sequences (colours, the cursor), strings for the terminal (its title, links), and short ones.
# Bounded, so that a text of nothing but their beginnings takes no longer than another.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90-\x9f\n]{0,1024}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]"
)


def visible(text: str) -> str:
    """`text` without escape sequences, control and format characters (those that turn the reading direction or have
    no width among them), halves of characters and what is none.

    Line ends, tabs and spaces of any width stay; other white space is a space.
    """
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return "".join(_shown(character) for character in text)


def one_line(text: str) -> str:
    """`visible` text on one line."""
    return " ".join(visible(text).splitlines()).replace("\t", " ")


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or category(character) == "Zs":
        return character
    return " " if character.isspace() else ""


MINUTE_SECONDS = 60
HOUR_SECONDS = 60 * MINUTE_SECONDS
DAY_SECONDS = 24 * HOUR_SECONDS

_UNITS = (("d", DAY_SECONDS), ("h", HOUR_SECONDS), ("min", MINUTE_SECONDS), ("s", 1))
# Nine digits are 31 years in seconds: enough for anybody, and no number to choke on.
_DURATION = re.compile(
    r"(?:([0-9]{1,9}) ?d ?)?(?:([0-9]{1,9}) ?h ?)?(?:([0-9]{1,9}) ?m(?:in)? ?)?(?:([0-9]{1,9}) ?s)?"
)
_RULE = 'must be a duration above zero such as "4h", "90m", "1h30m", "45s", "2d" or whole seconds'


class DurationError(ValueError):
    """The text or number is not a duration above zero."""


def parse_duration(value: object) -> int:
    """Return the whole seconds that `value` says.

    `value` is text of whole numbers with units from large to small ("1h30m", "2d 12h", "3 h 12 min"),
    or an int, which is seconds already. Raises DurationError for everything else: fractions, zero and
    negative durations, numbers as text without a unit.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        counts = match.groups() if match else ()
        seconds = sum(int(count) * size for count, (_, size) in zip(counts, _UNITS, strict=False) if count)
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    else:
        seconds = 0
    if seconds <= 0:
        raise DurationError(_RULE)
    return seconds


def format_duration(seconds: float) -> str:
    """Word `seconds` in its two largest units: "3 h 12 min", "45 s", "1 d 2 h", "-4 min".

    Rounded to whole seconds; what is smaller than the second unit is cut off, not rounded, so that
    nothing sounds longer than it was.
    """
    left = round(abs(seconds))
    largest = next((n for n, (_, size) in enumerate(_UNITS) if left >= size), len(_UNITS) - 1)
    parts = []
    for unit, size in _UNITS[largest : largest + 2]:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    sign = "-" if seconds < 0 and parts else ""
    return sign + (" ".join(parts) or "0 s")


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
