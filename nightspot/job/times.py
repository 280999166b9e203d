"""When a run starts and when its model must be ready: cron and rate, the next starts, and the deadline."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)
from pydantic_core import PydanticCustomError

from nightspot.formats.figures import (
    DAY_SECONDS,
    HOUR_SECONDS,
    MINUTE_SECONDS,
    DurationError,
    format_duration,
    parse_duration,
)
from nightspot.job.errors import nearest

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


# The longest that SageMaker lets a job run; no night is longer.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html
# fact: sagemaker.runtime.most.seconds
LONGEST_SECONDS = 28 * DAY_SECONDS

# EventBridge Scheduler's MaximumWindowInMinutes.
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_FlexibleTimeWindow.html
# fact: scheduler.window.minutes
LONGEST_FLEXIBLE_SECONDS = 1440 * MINUTE_SECONDS

_RATE = re.compile(r"([1-9][0-9]{0,8}) (minute|hour|day)s?")
_RATE_UNITS = {"minute": MINUTE_SECONDS, "hour": HOUR_SECONDS, "day": DAY_SECONDS}
_WRAPPED = re.compile(r"(cron|rate)\((.*)\)", re.DOTALL)


def broken_rule(rule: str) -> PydanticCustomError:
    """The error by which a validator says, in one sentence, which rule a value breaks."""
    # As context, not as the template: braces in a rule would be taken for placeholders.
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def _read_seconds(value: object) -> int:
    try:
        seconds = parse_duration(value)
    except DurationError as error:
        raise broken_rule(str(error)) from error
    if seconds > LONGEST_SECONDS:
        raise broken_rule("must be at most 28 days, the longest that SageMaker lets a job run")
    return seconds


def _read_time(value: object) -> time:
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?", value):
        hour, minute, second = (int(part) for part in f"{value}:0".split(":")[:3])
        if hour < 24 and minute < 60 and second < 60:
            return time(hour, minute, second)
    if isinstance(value, int) and not isinstance(value, bool):
        raise broken_rule('must be a time in quotes, such as "08:00": this is a bare number')
    raise broken_rule('must be a time of day such as "08:00", from "00:00" to "23:59"')


@cache
def timezones() -> frozenset[str]:
    """The zones of the IANA database, as tzdata has them: a machine may know others, which AWS does not."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return frozenset(names) - {"Factory"}


def _read_timezone(value: str) -> str:
    # EventBridge Scheduler knows the zones of the IANA database: not `localtime`, and not `right/Europe/Dublin`.
    if value not in timezones():
        known = value.removeprefix("right/").removeprefix("posix/")
        near = f"; did you mean {known}?" if known in timezones() else nearest(value, timezones())
        raise broken_rule(f"must be a time zone of the IANA database, such as Europe/Dublin{near}")
    return value


def _read_cron(value: str) -> str:
    text = _unwrapped(value, "cron")
    try:
        check_cron(text)
    except CronError as error:
        raise broken_rule(str(error)) from error
    if not _has_a_day(text):
        raise broken_rule("never fires: its year has no such day, like 31 February or 29 February of 2027")
    return text


def _read_rate(value: str) -> str:
    match = _RATE.fullmatch(_unwrapped(value, "rate"))
    if not match:
        raise broken_rule('must be a rate such as "1 day" or "12 hours", in minutes, hours or days')
    count, unit = match.groups()
    return f"{count} {unit}" + ("" if count == "1" else "s")


def _flexible_minutes(seconds: int) -> int:
    if seconds % MINUTE_SECONDS or seconds > LONGEST_FLEXIBLE_SECONDS:
        raise broken_rule(
            "must be whole minutes, from 1 to 1440 (24h), as EventBridge Scheduler's flexible time window is"
        )
    return seconds


def _unwrapped(value: str, kind: str) -> str:
    match = _WRAPPED.fullmatch(value.strip())
    inner = match.group(2) if match and match.group(1) == kind else value
    return " ".join(inner.split())


Seconds = Annotated[int, BeforeValidator(_read_seconds)]
TimeZone = Annotated[str, AfterValidator(_read_timezone)]


class Section(BaseModel):
    """A mapping of the job file: frozen, and closed to keys it does not know."""

    # Code says work_seconds, the file says `work`.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)


class Schedule(Section):
    """When runs start by themselves, in the syntax of EventBridge Scheduler, bare or wrapped.

    `paused`: the schedule is deployed, and starts nothing. `flexible_seconds`: how much later than scheduled a
    start may come, at Scheduler's choice; None: at once.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """

    cron: Annotated[str, AfterValidator(_read_cron)] | None = None
    rate: Annotated[str, AfterValidator(_read_rate)] | None = None
    timezone: TimeZone = "UTC"
    paused: StrictBool = False
    flexible_seconds: Annotated[Seconds, AfterValidator(_flexible_minutes)] | None = Field(
        default=None, alias="flexible"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Schedule:
        if (self.cron is None) == (self.rate is None):
            raise broken_rule("must have exactly one of cron and rate")
        return self

    @model_validator(mode="after")
    def _starts_keep_their_order(self) -> Schedule:
        if self.flexible_seconds and self.rate_seconds and self.flexible_seconds >= self.rate_seconds:
            flexible = format_duration(self.flexible_seconds)
            raise broken_rule(
                f"has a flexible of {flexible}, which must be shorter than its rate of {self.rate}: "
                f"a start must not come after the next one"
            )
        return self

    @property
    def expression(self) -> str:
        """The schedule as EventBridge Scheduler wants it: `cron(0 0 * * ? *)`, `rate(1 day)`."""
        return f"cron({self.cron})" if self.cron is not None else f"rate({self.rate})"

    @property
    def rate_seconds(self) -> int | None:
        """From one start to the next; None with a cron. A day is 24 hours, whatever the clocks do."""
        match = _RATE.fullmatch(self.rate) if self.rate is not None else None
        return int(match[1]) * _RATE_UNITS[match[2]] if match else None

    @property
    def daily_at(self) -> time | None:
        """The wall time of a cron schedule with one plain minute and hour; None for all others."""
        return daily_time(self.cron) if self.cron is not None else None


class Deadline(Section):
    """When the model must be ready: at a time of day, or so long after the start."""

    at: Annotated[time, BeforeValidator(_read_time)] | None = None
    timezone: TimeZone = "UTC"
    within_seconds: Seconds | None = Field(default=None, alias="within")

    @model_validator(mode="before")
    @classmethod
    def _no_zone_without_a_time(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("at") is None and given.get("timezone"):
            if given["timezone"] == "UTC":
                return given
            raise broken_rule("has a timezone, which only means something with `at`")
        return given

    @model_validator(mode="after")
    def _one_of_two(self) -> Deadline:
        if (self.at is None) == (self.within_seconds is None):
            raise broken_rule("must have exactly one of at and within")
        return self

    def after(self, started: datetime) -> datetime:
        """The deadline of a run that started at `started` (aware), in UTC and strictly later.

        With `at`, the first moment after `started` at which the clocks of the zone show that time.
        On a night when the clocks skip that time or show it twice there are two readings (PEP 495's
        folds); the earlier counts, because a model that is early is not late. So a skipped 02:30
        is the moment one hour before the clocks show 03:30, and a doubled 01:30 is the first one.
        Raises ValueError when `started` is naive.
        """
        if started.tzinfo is None:
            raise ValueError("started must be an aware datetime")
        if self.at is None:
            return started.astimezone(UTC) + timedelta(seconds=self.within_seconds or 0)
        today = started.astimezone(ZoneInfo(self.timezone)).date()
        # Three days on: a zone that crosses the date line drops a whole day (Pacific/Apia, 2011).
        moments = (self._moment(today + timedelta(days=days)) for days in range(4))
        return next(moment for moment in moments if moment > started)

    def _moment(self, day: date) -> datetime:
        local = datetime.combine(day, self.at or time(), tzinfo=ZoneInfo(self.timezone))
        return min(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


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


def _has_a_day(cron: str) -> bool:
    """Whether one of the years of the cron has a day on which it fires."""
    _, _, days, months, weekdays, years = values_of(cron)
    return any(
        _is_day(date(year, month, day), days, weekdays)
        for year in sorted(years.numbers)
        for month in sorted(months.numbers)
        for day in range(1, calendar.monthrange(year, month)[1] + 1)
    )


def days_of(cron: str, year: int) -> Iterator[date]:
    """The days on which the cron fires in `year`, or in the next one that its own field has, or in its last."""
    _, _, days, months, weekdays, years = values_of(cron)
    later = sorted(known for known in years.numbers if known >= year)
    chosen = later[0] if later else max(years.numbers)
    for month in sorted(months.numbers):
        for day in range(1, calendar.monthrange(chosen, month)[1] + 1):
            if _is_day(date(chosen, month, day), days, weekdays):
                yield date(chosen, month, day)


def is_over(schedule: Schedule, now: datetime) -> bool:
    """Whether the schedule fires no more after `now` (aware): the years of its cron are past."""
    return schedule.cron is not None and next_fire(schedule, now) is None


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
