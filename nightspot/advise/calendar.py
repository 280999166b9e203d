"""Decides how many nights a month has: as often as the job's schedule fires in thirty days."""

from __future__ import annotations

import re

from nightspot.advise.figures import Figure, assumed, priced
from nightspot.durations import DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS
from nightspot.job import Schedule

MONTH_DAYS = 30.0
_YEAR_DAYS = 365.25
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_UNIT_SECONDS = {"minute": MINUTE_SECONDS, "hour": HOUR_SECONDS, "day": DAY_SECONDS}
# Once a month each: the last day, the weekday nearest to the 15th, the second Tuesday.
_SPECIAL = re.compile(r"L|LW|\d+W|\w+L|\w+#\d")


def nights_a_month(schedule: Schedule | None) -> Figure:
    """How often the schedule starts the job in a month of thirty days, more than 0; one a night without any.

    The year field is not looked at.
    """
    if schedule is None:
        return assumed(MONTH_DAYS, "no schedule in the job file: one run a night")
    if schedule.rate is not None:
        count, unit = schedule.rate.split()
        seconds = int(count) * _UNIT_SECONDS[unit.rstrip("s")]
        return priced(MONTH_DAYS * DAY_SECONDS / seconds, f"the job's schedule, {schedule.expression}")
    return priced(_of_cron((schedule.cron or "").upper()), f"the job's schedule, {schedule.expression}")


def _of_cron(cron: str) -> float:
    minutes, hours, days, months, weekdays, *_ = cron.split(" ")
    a_day = _count(minutes, 0, 59) * _count(hours, 0, 23)
    share_of_year = _count(months, 1, 12, _MONTHS) / 12
    if days == "?":
        a_month = (
            MONTH_DAYS / 7 * (7 if weekdays == "*" else _count(weekdays, 1, 7, _WEEKDAYS, 7 / MONTH_DAYS))
        )
    else:
        a_month = MONTH_DAYS if days == "*" else _count(days, 1, 31) * MONTH_DAYS / (_YEAR_DAYS / 12)
    return a_day * a_month * share_of_year


def _count(text: str, lowest: int, highest: int, words: tuple[str, ...] = (), special: float = 1.0) -> float:
    """How many values a field stands for; an entry such as `L` or `2#1` counts as `special`."""
    size = highest - lowest + 1
    values: set[int] = set()
    others = 0
    for item in text.split(","):
        span, _, step = item.partition("/")
        if item not in words and _SPECIAL.fullmatch(item):
            others += 1
            continue
        first, _, last = span.partition("-")
        start = lowest if span == "*" else _number(first, lowest, words)
        end = _number(last, lowest, words) if last else highest if step or span == "*" else start
        # FRI-MON wraps round.
        values.update((start + n) % size for n in range(0, (end - start) % size + 1, int(step or 1)))
    return len(values) + special * others


def _number(text: str, lowest: int, words: tuple[str, ...]) -> int:
    return words.index(text) + lowest if text in words else int(text)
