"""Decides how many nights a month has: as often as the job's schedule fires in thirty days."""

from __future__ import annotations

from nightspot.advise.figures import Figure, assumed, priced
from nightspot.formats.durations import DAY_SECONDS
from nightspot.job import Schedule
from nightspot.job.cron import values_of

MONTH_DAYS = 30.0
_YEAR_DAYS = 365.25
_LONGEST_MONTH_DAYS = 31


def nights_a_month(schedule: Schedule | None) -> Figure:
    """How often the schedule starts the job in a month of thirty days, more than 0; one a night without any.

    The year field is not looked at.
    """
    if schedule is None:
        return assumed(MONTH_DAYS, "no schedule in the job file: one run a night")
    if schedule.rate_seconds is not None:
        starts = MONTH_DAYS * DAY_SECONDS / schedule.rate_seconds
    else:
        starts = _of_cron(schedule.cron or "")
    return priced(starts, f"the job's schedule, {schedule.expression}")


def _of_cron(cron: str) -> float:
    minutes, hours, days, months, weekdays, _ = values_of(cron)
    if weekdays.numbers or weekdays.special:
        a_month = MONTH_DAYS / 7 * len(weekdays.numbers) + len(weekdays.special)
    elif len(days.numbers) == _LONGEST_MONTH_DAYS:
        a_month = MONTH_DAYS
    else:
        # The last day, the weekday nearest to the 15th: once a month each.
        a_month = (len(days.numbers) + len(days.special)) * MONTH_DAYS / (_YEAR_DAYS / 12)
    return len(minutes.numbers) * len(hours.numbers) * a_month * len(months.numbers) / 12
