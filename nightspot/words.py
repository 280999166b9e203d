"""The phrases of which a step's `because` is made."""

from __future__ import annotations

from datetime import datetime

from nightspot import estimates
from nightspot.durations import format_duration
from nightspot.run import Attempt, Run, Rung


def work(run: Run, rung: Rung) -> str:
    """ "4 h 48 min of work left at most"."""
    return f"{format_duration(estimates.work_left_seconds(run, rung))} of work left at most"


def waited(attempt: Attempt, now: datetime) -> float:
    """Seconds that `attempt` has been in its state."""
    return (now - (attempt.state_since or attempt.asked_at)).total_seconds()


def progress(run: Run) -> str:
    """ " (step 9 of 24 is safe)", or nothing where no progress is visible."""
    if run.progress is None:
        return ""
    of = f" of {run.progress.total_steps}" if run.progress.total_steps else ""
    return f" (step {run.progress.step}{of} is safe)"


def clock(moment: datetime) -> str:
    """ "04:31 UTC"."""
    return f"{moment:%H:%M} UTC"
