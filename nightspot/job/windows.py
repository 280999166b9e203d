"""Decides how long a job's window is, from its latest start to the deadline, and how much of it the work needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from nightspot.durations import DAY_SECONDS, MINUTE_SECONDS
from nightspot.job.markets import Market
from nightspot.job.model import Capacity, ChangeOver, InstanceType, Job
from nightspot.job.times import Deadline, Schedule

# A year of firsts: where two zones put their clocks forward on different days, windows differ.
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
        """From the asking to the model."""
        return self.training_seconds + self.change_over_seconds


def whole_window_seconds(schedule: Schedule | None, deadline: Deadline) -> float | None:
    """The shortest time from the scheduled start to the deadline; None when the file does not tell.

    It tells with `within`, and with `at` when a schedule starts the job at one time of day. Without a
    clock the shortest is sought on the first of each month of a sample year.
    """
    if deadline.within_seconds is not None:
        return deadline.within_seconds
    daily_at = schedule.daily_at if schedule else None
    if schedule is None or daily_at is None:
        return None
    zone = ZoneInfo(schedule.timezone)
    starts = [datetime.combine(date(_SAMPLE_YEAR, month, 1), daily_at, tzinfo=zone) for month in range(1, 13)]
    return min((deadline.after(at) - at.astimezone(UTC)).total_seconds() for at in starts)


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
    seconds = change_over.on_demand_seconds if market is Market.ON_DEMAND else change_over.spot_seconds
    return Need(fastest, work_seconds / fastest.speed, seconds)


def surest_market(capacity: Capacity) -> Market:
    """Where training once is reckoned with: on-demand where the job may buy it."""
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
