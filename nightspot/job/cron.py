"""Cron expressions as EventBridge Scheduler has them: whether it accepts one, and what its fields stand for.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    words: tuple[str, ...] = ()
    special: str = r"(?!)"  # further notations, as a pattern; by default one that never matches


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("day of month", 1, 31, special=r"\?|L|LW|(?:[1-9]|[12][0-9]|3[01])W"),
    _Field("month", 1, 12, words=_MONTHS),
    _Field(
        "day of week",
        1,
        7,
        words=_WEEKDAYS,
        special=rf"\?|L|(?:[1-7]|{'|'.join(_WEEKDAYS)})(?:L|#[1-5])",
    ),
    _Field("year", 1970, 2199),
)


@dataclass(frozen=True)
class Values:
    """What a field stands for: numbers, and notations such as `L`, `15W`, `FRIL`, `2#1`. Of `?`, nothing."""

    numbers: frozenset[int]
    special: tuple[str, ...] = ()


class CronError(ValueError):
    """EventBridge Scheduler would refuse the cron expression."""


def check_cron(text: str) -> None:
    """Raise CronError with the rule that `text` (six fields, one space apart) breaks."""
    parts = text.upper().split(" ")
    if len(parts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        unix = " (a Unix cron line has five: add the year)" if len(parts) == 5 else ""
        raise CronError(f"must have six fields: {names}{unix}")
    for part, field in zip(parts, _FIELDS, strict=True):
        if not all(_is_item(item, field) for item in part.split(",")):
            bounds = f"{field.lowest}-{field.highest}"
            raise CronError(f"the {field.name} {part!r} must be * or values from {bounds}")
    if (parts[2] == "?") == (parts[4] == "?"):
        raise CronError("exactly one of day of month and day of week must be ?")


def values_of(text: str) -> tuple[Values, ...]:
    """What the six fields of `text` stand for, which `check_cron` accepts. Days of the week are 1 (Sunday) to 7."""
    parts = text.upper().split(" ")
    return tuple(_values(part, field) for part, field in zip(parts, _FIELDS, strict=True))


def weekday_number(text: str) -> int:
    """1 (Sunday) to 7, of a number or a word."""
    return _WEEKDAYS.index(text) + 1 if text in _WEEKDAYS else int(text)


def daily_time(text: str) -> time | None:
    """The wall time at which `text` fires when its minute and hour are plain numbers, else None."""
    minute, hour, *_ = text.split(" ")
    if minute.isdecimal() and hour.isdecimal():
        return time(int(hour), int(minute))
    return None


def _is_item(item: str, field: _Field) -> bool:
    if re.fullmatch(field.special, item):
        return True
    span, slash, step = item.partition("/")
    if slash and not (step.isdecimal() and 0 < int(step) <= field.highest):
        return False
    if span == "*":
        return True
    ends = [_number(end, field) for end in span.split("-")]
    return len(ends) <= 2 and None not in ends


def _values(part: str, field: _Field) -> Values:
    numbers: set[int] = set()
    special = []
    for item in part.split(","):
        if re.fullmatch(field.special, item):
            special.append(item)
            continue
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        start = field.lowest if span == "*" else _number(first, field) or 0
        end = _number(last, field) or 0 if last else field.highest if step or span == "*" else start
        size = field.highest - field.lowest + 1
        # FRI-MON wraps round.
        length = (end - start) % size
        numbers.update(
            field.lowest + (start - field.lowest + n) % size for n in range(0, length + 1, int(step or 1))
        )
    return Values(frozenset(numbers), tuple(one for one in special if one != "?"))


def _number(text: str, field: _Field) -> int | None:
    if text in field.words:
        return field.words.index(text) + field.lowest
    if not re.fullmatch("[0-9]{1,4}", text):
        return None
    return int(text) if field.lowest <= int(text) <= field.highest else None
