"""What in a sound job file deserves a word: it runs, but not as its author may hope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from zoneinfo import ZoneInfo

from nightspot.formats.figures import DAY_SECONDS, MINUTE_SECONDS, format_duration
from nightspot.job.errors import Problem
from nightspot.job.markets import Fallback, Interruptible, Market, why_too_short
from nightspot.job.model import Capacity, ChangeOver, InstanceType, Job, dig
from nightspot.job.times import Deadline, Schedule, days_of, is_over

# As unlearnt work is planned with (`nightspot.learn.history`).
WORK_MARGIN = 1.2
_PAID_LIMIT = ("StoppingCondition", "MaxRuntimeInSeconds")


def warnings_for(job: Job, now: datetime | None = None) -> tuple[Problem, ...]:
    """What to tell the author of `job`, as problems of severity `warning`.

    With `now` (aware) also that its schedule is over, which no file says by itself.
    """
    found = [problem for caution in _CAUTIONS for problem in caution(job)]
    if now is not None and job.schedule is not None and is_over(job.schedule, now):
        rule = "never fires again: the years of its cron are past"
        found.append(Problem("schedule.cron", repr(job.schedule.cron), rule, "warning"))
    return tuple(found)


def _late_every_night(job: Job) -> Iterator[Problem]:
    window = window_seconds(job)
    if window is None:
        return
    rule = _cannot_be_met(job, window)
    if rule is not None:
        yield Problem("deadline", _deadline_in_words(job), rule, "warning")


def warnings_of_start(job: Job, started_at: datetime) -> tuple[Problem, ...]:
    """What to tell who starts a run of `job`, with its overrides, at `started_at` (aware), as warnings.

    A retry has less to do than all of the work, and needs none.
    """
    rule = _cannot_be_met(job, (job.deadline.after(started_at) - started_at).total_seconds())
    if rule is None:
        return ()
    buys = job.fallback is Fallback.ON_DEMAND and job.capacity.on_demand
    outcome = "; the run buys on-demand at once, and is late" if buys else "; the run ends without a model"
    return (Problem("deadline", _deadline_in_words(job), rule + outcome, "warning"),)


def _cannot_be_met(job: Job, window: float) -> str | None:
    """Why `window` seconds are not enough for the work, as far as the job file says how long it takes."""
    market = surest_market(job.capacity)
    once = _need(job, market)
    if once.seconds <= window:
        return None
    return (
        f"cannot be met: the start leaves {format_duration(window)}, and "
        f"{market.value.replace('_', '-')} training needs {format_duration(once.seconds)} "
        f"({format_duration(once.training_seconds)} on {once.fastest.instance_type} and "
        f"{format_duration(once.change_over_seconds)} of change-over)"
    )


def _no_time_to_start_over(job: Job) -> Iterator[Problem]:
    window = window_seconds(job)
    if window is None or job.interruptible is not Interruptible.FROM_START or not job.capacity.spot:
        return
    again = Market.ON_DEMAND if job.fallback is Fallback.ON_DEMAND else Market.SPOT
    once_seconds = _need(job, Market.SPOT).seconds
    twice_seconds = once_seconds + _need(job, again).seconds
    # Where not even one training fits, the deadline has a warning of its own.
    if once_seconds <= window < twice_seconds:
        rule = (
            f"leaves no time to start over: an interruption near the end of the training makes the model late; "
            f"training twice needs {format_duration(twice_seconds)} with its change-overs, "
            f"and the start leaves {format_duration(window)}"
        )
        yield Problem("interruptible", repr(job.interruptible.value), rule, "warning")


def _paused(job: Job) -> Iterator[Problem]:
    if job.schedule is not None and job.schedule.paused:
        rule = "starts no run by itself: its schedule is deployed disabled, until paused is false or left out"
        yield Problem("schedule.paused", "True", rule, "warning")


def _timezone_of_a_rate(job: Job) -> Iterator[Problem]:
    schedule = job.schedule
    if schedule is not None and schedule.rate is not None and schedule.timezone != "UTC":
        rule = "means nothing with a rate, which counts from its deployment; for a time of day, say cron"
        yield Problem("schedule.timezone", repr(schedule.timezone), rule, "warning")


def _need(job: Job, market: Market) -> Need:
    return need(market, job.work_seconds, job.capacity, job.change_over)


def enough_runtime_seconds(work_seconds: float, checkpoint_every_seconds: float) -> int:
    """The least MaxRuntimeInSeconds that is no tight limit of what a run pays for."""
    return ceil(round(WORK_MARGIN * work_seconds + 2 * checkpoint_every_seconds, 3))


def _paid_time_is_tight(job: Job) -> Iterator[Problem]:
    limit = dig(job.training_job, *_PAID_LIMIT)
    enough = enough_runtime_seconds(job.work_seconds, job.checkpoint_every_seconds)
    if limit is not None and limit < enough:
        rule = (
            f"is tight: a run pays for no more than that, and interruptions repeat work; {WORK_MARGIN} x work "
            f"and 2 x checkpoint_every are {enough} ({format_duration(enough)})"
        )
        field = "training_job.StoppingCondition.MaxRuntimeInSeconds"
        yield Problem(field, str(limit), rule, "warning")


def _paid_time_cuts_slow_rungs(job: Job) -> Iterator[Problem]:
    limit = dig(job.training_job, *_PAID_LIMIT)
    for n, rung in enumerate(job.capacity.on_demand):
        needed = job.work_seconds / rung.speed
        if limit is not None and needed > limit:
            rule = (
                f"needs {format_duration(needed)} for all of the work, and MaxRuntimeInSeconds "
                f"lets a run pay for {format_duration(limit)}"
            )
            field = f"capacity.on_demand[{n}].instance_type"
            yield Problem(field, repr(rung.instance_type), rule, "warning")


def _spot_is_too_short(job: Job) -> Iterator[Problem]:
    for n, rung in enumerate(job.capacity.spot):
        why = why_too_short(job.training_job, job.work_seconds / rung.speed)
        if why is not None:
            field = f"capacity.spot[{n}].instance_type"
            yield Problem(field, repr(rung.instance_type), f"is left out of every run: {why}", "warning")


def _entry_point_is_replaced(job: Job) -> Iterator[Problem]:
    given = dig(job.training_job, "AlgorithmSpecification", "ContainerEntrypoint")
    if job.code is not None and given:
        rule = "takes the place of the image's own entry point, which is what fetches and runs code"
        field = "training_job.AlgorithmSpecification.ContainerEntrypoint"
        yield Problem(field, f"a list of {len(given)}", rule, "warning")


def _deadline_in_words(job: Job) -> str:
    if job.deadline.at is not None:
        return f"{job.deadline.at:%H:%M} {job.deadline.timezone}"
    return f"within {format_duration(job.deadline.within_seconds or 0)}"


_CAUTIONS = (
    _late_every_night,
    _no_time_to_start_over,
    _paid_time_is_tight,
    _paid_time_cuts_slow_rungs,
    _spot_is_too_short,
    _paused,
    _timezone_of_a_rate,
    _entry_point_is_replaced,
)


# Where a zone puts its clocks forward, or two zones do on different days, windows differ.
_SAMPLE_YEAR = 2026
# For how long EventBridge Scheduler can go on with a start that failed.
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html
SHORTEST_TRY_SECONDS = MINUTE_SECONDS
LONGEST_TRY_SECONDS = DAY_SECONDS


@dataclass(frozen=True)
class Need:
    """What training once takes in a market, on its fastest type."""

    fastest: InstanceType
    training_seconds: float
    change_over_seconds: int

    @property
    def seconds(self) -> float:
        return self.training_seconds + self.change_over_seconds


def whole_window_seconds(schedule: Schedule | None, deadline: Deadline) -> float | None:
    """The shortest time from the scheduled start to the deadline; None when the file does not tell.

    It tells with `within`, and with `at` when a schedule starts the job at one time of day. The shortest is sought
    among all the days of a sample year on which it fires: on one of them the clocks go forward.
    """
    if deadline.within_seconds is not None:
        return deadline.within_seconds
    daily_at = schedule.daily_at if schedule else None
    if schedule is None or daily_at is None:
        return None
    zone = ZoneInfo(schedule.timezone)
    starts = [
        datetime.combine(day, daily_at, tzinfo=zone) for day in days_of(schedule.cron or "", _SAMPLE_YEAR)
    ]
    # A start that the clocks skip is none.
    moments = [at.astimezone(UTC) for at in starts if at.astimezone(UTC).astimezone(zone).time() == daily_at]
    return min(((deadline.after(at) - at).total_seconds() for at in moments), default=None)


def window_seconds(job: Job) -> float | None:
    """The shortest time from a start by the job's schedule to its deadline; None when the file does not tell.

    The deadline counts from the scheduled moment, so a flexible start can come late by all of its time.
    """
    whole = whole_window_seconds(job.schedule, job.deadline)
    return None if whole is None else whole - flexible_seconds(job.schedule)


def flexible_seconds(schedule: Schedule | None) -> int:
    """How much later than scheduled a start may come by the job file's own wish."""
    return (schedule.flexible_seconds or 0) if schedule else 0


def need(market: Market, work_seconds: float, capacity: Capacity, change_over: ChangeOver) -> Need:
    """What training once takes in `market`, which has a type."""
    fastest = max(capacity.rungs_of(market), key=lambda rung: rung.speed)
    return Need(fastest, work_seconds / fastest.speed, change_over.of(market))


def surest_market(capacity: Capacity) -> Market:
    """Where training once is assumed: on-demand where the job may buy it."""
    return Market.ON_DEMAND if capacity.on_demand else Market.SPOT


def start_try_seconds(job: Job) -> int:
    """For how long a scheduled start that fails is worth trying again, in Scheduler's bounds of 1 minute to 1 day.

    A late start is better than none until the deadline, or until the next start of a `rate`.
    """
    ends: list[float] = [LONGEST_TRY_SECONDS]
    window = window_seconds(job)
    if window is not None:
        ends.append(window)
    if job.schedule is not None and job.schedule.rate_seconds is not None:
        ends.append(job.schedule.rate_seconds)
    return max(SHORTEST_TRY_SECONDS, int(min(ends)))
