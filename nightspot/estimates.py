"""How much work is left and how long it takes: upper estimates from the job file and tonight's pace.

History of past nights takes over where there is some; until then the margins below stand in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import ceil
from typing import Any

from nightspot.job import Market
from nightspot.run import Attempt, AttemptState, Run, Rung

# Planning on work + 20 % left no night of 5,100 late on the traces this project was designed on; a pace
# measured tonight needs less.
UNMEASURED_WORK_MARGIN = 1.2
MEASURED_WORK_MARGIN = 1.1

DEFAULT_PATIENCE_SECONDS = 30 * 60
SHORTEST_PATIENCE_SECONDS = 10 * 60
LONGEST_PATIENCE_SECONDS = 2 * 3600
FEWEST_TRIES = 5  # before history is believed
PATIENCE_QUANTILE = 0.9

STOP_SECONDS = 180  # StopTrainingJob: SIGTERM, 120 s, SIGKILL, and the upload after it


def upper_work_seconds(work_seconds: float) -> float:
    """The work to plan with before there is any history, at speed 1."""
    return work_seconds * UNMEASURED_WORK_MARGIN


def total_work_seconds(run: Run) -> float:
    """An upper estimate of the whole work at speed 1, from the best pace seen tonight if there is one."""
    total_steps = run.progress.total_steps if run.progress else None
    paces = [a.seconds_per_step * a.rung.speed for a in run.attempts if a.seconds_per_step]
    if not total_steps or not paces:
        return run.work_upper_seconds
    return min(paces) * total_steps * MEASURED_WORK_MARGIN


def durable_fraction(run: Run) -> float:
    """The part of the work that survives whatever happens now, 0..1.

    From the progress file; where the training script writes none, from the time it has trained, less one
    checkpoint interval for each time it was cut short.
    """
    if run.checkpoint_s3_uri is None:
        return 0.0
    progress = run.progress
    if progress is not None:
        if progress.fraction is not None:
            return min(1.0, max(0.0, progress.fraction))
        if progress.total_steps:
            return min(1.0, progress.step / progress.total_steps)
    done = 0.0
    for attempt in run.attempts:
        cuts = attempt.interruptions + 1  # the stretch that runs now may be cut as well
        kept = attempt.trained_seconds - cuts * run.checkpoint_every_seconds
        done += max(0.0, kept) * attempt.rung.speed
    return min(1.0, done / run.work_upper_seconds)


def work_left_seconds(run: Run, rung: Rung) -> float:
    """Upper estimate of the training time left on `rung`, taken up from the durable checkpoint."""
    return total_work_seconds(run) * (1.0 - durable_fraction(run)) / rung.speed


def running_left_seconds(run: Run, attempt: Attempt, now: datetime) -> float:
    """Estimate of the training time left on the machine that `attempt` has, if nothing happens to it."""
    progress = run.progress
    if attempt.seconds_per_step and progress is not None and progress.total_steps:
        left = (progress.total_steps - progress.step) * attempt.seconds_per_step
    else:
        left = work_left_seconds(run, attempt.rung)
    if attempt.state is not AttemptState.TRAINING or attempt.state_since is None:
        return left
    since = attempt.state_since
    if progress is not None and progress.attempt == attempt.number:
        since = max(since, progress.saved_at)
    elif progress is None and run.checkpoint_s3_uri is not None:
        since = now  # the estimate by training time already counts this stretch
    return max(0.0, left - (now - since).total_seconds())


def lost_work_seconds(run: Run, rung: Rung) -> float:
    """The most that a reclaim on `rung` can take: the work since the last checkpoint."""
    if run.checkpoint_s3_uri is None:
        return work_left_seconds(run, rung)
    return min(float(run.checkpoint_every_seconds), work_left_seconds(run, rung))


def patience_seconds(history: Iterable[Mapping[str, Any]], market: Market, instance_type: str) -> int:
    """How long to wait for a machine of this type before the next one gets its turn.

    `history`: summaries of past runs (see `summary`). Of the waits that ended with a machine, nine in ten were
    over by then; a type that was tried often and never came gets the shortest patience. Half an hour before there
    is enough to learn from.
    """
    tries = [
        attempt.get("queued_seconds")
        for run in history
        for attempt in run.get("attempts", ())
        if (attempt.get("market"), attempt.get("instance_type")) == (market.value, instance_type)
        and attempt.get("status") is not None  # a request that was refused never queued
    ]
    if len(tries) < FEWEST_TRIES:
        return DEFAULT_PATIENCE_SECONDS
    waits = sorted(float(wait) for wait in tries if wait is not None)
    if not waits:
        return SHORTEST_PATIENCE_SECONDS
    wait = waits[min(len(waits), ceil(PATIENCE_QUANTILE * (len(waits) + 1))) - 1]
    return round(min(max(wait, SHORTEST_PATIENCE_SECONDS), LONGEST_PATIENCE_SECONDS))
