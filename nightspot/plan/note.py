"""Decides what a person should know of a run's plan: what a late start left possible, what a retry goes on from.

Every figure is the policy's own: the note asks it what it would do, and never calculates beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from nightspot.decide import ladder
from nightspot.decide.policy import next_step
from nightspot.formats.durations import format_duration
from nightspot.job import Market
from nightspot.plan.planning import Resumed
from nightspot.run import estimates
from nightspot.run.model import Action, Run, Rung
from nightspot.run.reasons import clock

# A start is never on the second, and EventBridge Scheduler's own is up to a minute behind.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/what-is-scheduler.html
ON_TIME = timedelta(minutes=1)


def plan_note(run: Run, resumed: Resumed | None = None) -> str | None:
    """The sentences about the plan of `run`, before its turn is taken; None where all is as always."""
    return " ".join([*_late_start(run), *_resumption(run, resumed)]) or None


def _late_start(run: Run) -> Iterator[str]:
    """What is still possible, as of the start."""
    if run.scheduled_at is None or run.started_at - run.scheduled_at <= ON_TIME:
        return
    late = format_duration((run.started_at - run.scheduled_at).total_seconds())
    window = format_duration((run.deadline - run.scheduled_at).total_seconds())
    left = (run.deadline - run.started_at).total_seconds()
    if left > 0:
        left_of_it = f"{format_duration(left)} are left of {window}"
    else:
        left_of_it = f"its deadline, {clock(run.deadline)}, passed {format_duration(-left)} ago"
    rung = ladder.repair_rung(run, run.started_at) or ladder.next_rung(run, Market.SPOT)
    work = ""
    if rung is not None:
        work = f", with {format_duration(estimates.work_left_seconds(run, rung))} of work left at most"
    yield f"Started {late} late: {left_of_it}{work}; {_still_possible(run)}."


def _still_possible(run: Run) -> str:
    step = next_step(run, run.started_at)
    if step.action is not Action.START or step.rung is None:
        return f"nothing is asked for: {step.because.rstrip('.')}"
    if step.rung.market is Market.SPOT:
        leave_at = ladder.last_safe_at(run, run.started_at, step.rung)
        return f"Spot may still be waited for until {clock(leave_at or run.deadline)}"
    if step.late:
        return f"even on-demand at once is late by about {format_duration(_late_seconds(run, step.rung))}"
    if run.rungs_of(Market.SPOT) and not ladder.has_had_enough_of_spot(run):
        return "on-demand at once is the only way that is in time"
    return "on-demand at once is in time"


def _late_seconds(run: Run, rung: Rung) -> float:
    needed = timedelta(seconds=ladder.seconds_needed(run, rung))
    return (run.started_at + needed - run.deadline).total_seconds()


def _resumption(run: Run, resumed: Resumed | None) -> Iterator[str]:
    if resumed is None:
        return
    before = resumed.run
    yield f"{_start_of(run, resumed)}."
    if run.work_key != before.work_key:
        yield f"The job's training request or its `work` is not the same as that of run {before.run_id}."


def _start_of(run: Run, resumed: Resumed) -> str:
    name = f"run {resumed.run.run_id}"
    if run.checkpoint_s3_uri is None:
        return f"Follows {name} from zero: the job keeps no checkpoints"
    if resumed.run.checkpoint_s3_uri is None:
        return f"Follows {name} from zero: it kept no checkpoints"
    if resumed.is_empty:
        return f"Follows {name} from zero: it has left no checkpoint"
    if resumed.progress is None:
        share = estimates.durable_fraction(run)
        about = (
            f"about {share:.0%} of the work, going by its training time" if share else "how far, is not known"
        )
        return f"Goes on from the checkpoints of {name} ({about})"
    of = f" of {resumed.progress.total_steps}" if resumed.progress.total_steps else ""
    return f"Goes on from step {resumed.progress.step}{of}, the last checkpoint of {name}"
