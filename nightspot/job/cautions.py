"""Decides what in a sound job file deserves a word: it runs, but not as its author may hope."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from nightspot.durations import format_duration
from nightspot.job.errors import Problem
from nightspot.job.markets import Fallback, Interruptible, Market
from nightspot.job.model import DEFAULT_RUNTIME_SECONDS, InstanceType, Job, dig

# A year of firsts: where two zones put their clocks forward on different days, windows differ.
_SAMPLE_YEAR = 2026


def warnings_for(job: Job) -> tuple[Problem, ...]:
    """What to tell the author of `job`, as problems of severity `warning`."""
    return (*_late_every_night(job), *_no_time_to_start_over(job), *_runtime_cuts_slow_rungs(job))


def _late_every_night(job: Job) -> Iterator[Problem]:
    window = window_seconds(job)
    if window is None:
        return
    market = Market.ON_DEMAND if job.capacity.on_demand else Market.SPOT
    fastest, training_seconds, change_over = _quickest(job, market)
    if training_seconds + change_over > window:
        words = market.value.replace("_", "-")
        rule = (
            f"cannot be met: the start leaves {format_duration(window)}, and {words} training needs "
            f"{format_duration(training_seconds + change_over)} "
            f"({format_duration(training_seconds)} on {fastest.instance_type} and "
            f"{format_duration(change_over)} of change-over)"
        )
        yield Problem("deadline", _deadline_in_words(job), rule, "warning")


def _no_time_to_start_over(job: Job) -> Iterator[Problem]:
    window = window_seconds(job)
    if window is None or job.interruptible is not Interruptible.FROM_START or not job.capacity.spot:
        return
    again = Market.ON_DEMAND if job.fallback is Fallback.ON_DEMAND else Market.SPOT
    _, first_seconds, first_change_over = _quickest(job, Market.SPOT)
    _, again_seconds, again_change_over = _quickest(job, again)
    once_seconds = first_seconds + first_change_over
    twice_seconds = once_seconds + again_seconds + again_change_over
    # Where not even one training fits, the deadline has a warning of its own.
    if once_seconds <= window < twice_seconds:
        rule = (
            f"leaves no time to start over: a reclaim near the end of the training makes the model late; "
            f"training twice needs {format_duration(twice_seconds)} with its change-overs, "
            f"and the start leaves {format_duration(window)}"
        )
        yield Problem("interruptible", repr(job.interruptible.value), rule, "warning")


def _quickest(job: Job, market: Market) -> tuple[InstanceType, float, int]:
    """The fastest type of `market`, and how long it trains and changes over, in seconds."""
    fastest = max(job.capacity.rungs_of(market), key=lambda rung: rung.speed)
    change_over = job.change_over
    seconds = change_over.on_demand_seconds if market is Market.ON_DEMAND else change_over.spot_seconds
    return fastest, job.work_seconds / fastest.speed, seconds


def window_seconds(job: Job) -> float | None:
    """The shortest time from the job's start to its deadline; None when the file does not tell.

    It tells with `within`, and with `at` when a schedule starts the job at one time of day. Without a
    clock the shortest is sought on the first of each month of a sample year.
    """
    if job.deadline.within_seconds is not None:
        return job.deadline.within_seconds
    daily_at = job.schedule.daily_at if job.schedule else None
    if job.schedule is None or daily_at is None:
        return None
    zone = ZoneInfo(job.schedule.timezone)
    starts = [datetime.combine(date(_SAMPLE_YEAR, month, 1), daily_at, tzinfo=zone) for month in range(1, 13)]
    return min((job.deadline.after(at) - at.astimezone(UTC)).total_seconds() for at in starts)


def _runtime_cuts_slow_rungs(job: Job) -> Iterator[Problem]:
    given = dig(job.training_job, "StoppingCondition", "MaxRuntimeInSeconds")
    limit = given if isinstance(given, int) else DEFAULT_RUNTIME_SECONDS
    ladder = (("spot", job.capacity.spot), ("on_demand", job.capacity.on_demand))
    for market, rungs in ladder:
        for n, rung in enumerate(rungs):
            needed = job.work_seconds / rung.speed
            if needed > limit:
                rule = (
                    f"needs {format_duration(needed)} for all of the work, and MaxRuntimeInSeconds "
                    f"ends it after {format_duration(limit)}"
                )
                field = f"capacity.{market}[{n}].instance_type"
                yield Problem(field, repr(rung.instance_type), rule, "warning")


def _deadline_in_words(job: Job) -> str:
    if job.deadline.at is not None:
        return f"{job.deadline.at:%H:%M} {job.deadline.timezone}"
    return f"within {format_duration(job.deadline.within_seconds or 0)}"
