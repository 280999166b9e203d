"""Reads durations as people write them in a job file and words them for sentences.

One grammar both ways: whatever `format_duration` prints, `parse_duration` reads.
"""

from __future__ import annotations

import re

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
