"""When a schedule fires next, by EventBridge Scheduler's rules.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nightspot.formats.durations import DAY_SECONDS
from nightspot.job.cron import Values, values_of, weekday_number
from nightspot.job.times import Schedule

_SATURDAY, _SUNDAY = 5, 6  # of date.weekday()


def next_fire(schedule: Schedule, after: datetime) -> datetime | None:
    """The first moment later than `after` (aware) at which the schedule fires, paused or not, in UTC.

    None: the cron expression never fires again. A time of day that the clocks skip is left out; one that they show
    twice fires once, the first time. A rate counts from its deployment, of which a job file knows nothing: here it
    counts from midnight UTC.
    """
    if schedule.rate_seconds is not None:
        step = timedelta(seconds=min(schedule.rate_seconds, DAY_SECONDS))
        midnight = datetime.combine(after.astimezone(UTC).date(), time(), tzinfo=UTC)
        return midnight + ((after - midnight) // step + 1) * step
    moments = _moments(schedule.cron or "", ZoneInfo(schedule.timezone), after)
    return next((moment for moment in moments if moment > after), None)


def _moments(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """All of them in their order, from the day of `after` on."""
    minutes, hours, days, months, weekdays, years = values_of(cron)
    times = [time(hour, minute) for hour in sorted(hours.numbers) for minute in sorted(minutes.numbers)]
    first = after.astimezone(zone).date()
    for year in sorted(year for year in years.numbers if year >= first.year):
        for month in sorted(months.numbers):
            for day in range(1, calendar.monthrange(year, month)[1] + 1):
                today = date(year, month, day)
                if today >= first and _is_day(today, days, weekdays):
                    yield from _on(today, times, zone)


def _on(day: date, times: list[time], zone: ZoneInfo) -> Iterator[datetime]:
    moments = set()
    for at in times:
        local = datetime.combine(day, at, tzinfo=zone)
        moment = local.astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
            moments.add(moment)
    yield from sorted(moments)


def _is_day(day: date, days: Values, weekdays: Values) -> bool:
    weekday = day.isoweekday() % 7 + 1
    return (
        day.day in days.numbers
        or weekday in weekdays.numbers
        or any(_is_day_of_month(day, notation) for notation in days.special)
        or any(_is_weekday(day, weekday, notation) for notation in weekdays.special)
    )


def _is_day_of_month(day: date, notation: str) -> bool:
    """Whether it is the `L`ast day, the `LW`, last of a Monday to Friday, or the one nearest to the `15W`."""
    last = calendar.monthrange(day.year, day.month)[1]
    if notation == "L":
        return day.day == last
    wanted = day.replace(day=last if notation == "LW" else min(last, int(notation.removesuffix("W"))))
    if wanted.weekday() == _SATURDAY:
        wanted += timedelta(days=-1 if wanted.day > 1 else 2)
    elif wanted.weekday() == _SUNDAY:
        wanted += timedelta(days=1 if wanted.day < last else -2)
    return day == wanted


def _is_weekday(day: date, weekday: int, notation: str) -> bool:
    """Whether it is the `L`ast of the week, the last Friday of the month `FRIL`, or the first Monday `2#1`."""
    if notation == "L":
        return weekday == 7
    if notation.endswith("L"):
        last = calendar.monthrange(day.year, day.month)[1]
        return weekday == weekday_number(notation.removesuffix("L")) and day.day > last - 7
    name, _, count = notation.partition("#")
    return weekday == weekday_number(name) and (day.day - 1) // 7 + 1 == int(count)
