"""The phrases of which a step's `because` is made."""

from __future__ import annotations

from datetime import datetime

from nightspot import estimates, ladder
from nightspot.durations import format_duration
from nightspot.job import Market
from nightspot.redaction import redact
from nightspot.run import Attempt, Run, Rung


def work(run: Run, rung: Rung) -> str:
    """ "4 h 48 min of work left at most"."""
    return f"{format_duration(estimates.work_left_seconds(run, rung))} of work left at most"


def budget(run: Run) -> str:
    """ "the run's $200.00", or "the month's last $35.20"."""
    owner = "the month's last" if run.budget_of == "month" else "the run's"
    return f"{owner} ${run.budget_usd or 0.0:,.2f}"


def too_dear(run: Run, market: Market) -> str:
    """ " The worst case of ml.p4de.24xlarge does not fit into the run's $200.00." or nothing."""
    types = ", ".join(rung.instance_type for rung in ladder.too_dear(run, market))
    return f" The worst case of {types} does not fit into {budget(run)}." if types else ""


def without(run: Run) -> str:
    """ " Left out: Spot ml.p4d.24xlarge (its quota is 0)." or nothing."""
    out = [f"{left.rung.label} ({left.because.rstrip('.')})" for left in ladder.left_out(run)]
    return f" Left out: {'; '.join(out)}." if out else ""


def waited(attempt: Attempt, now: datetime) -> float:
    """Seconds that `attempt` has been in its state."""
    return (now - (attempt.state_since or attempt.asked_at)).total_seconds()


def progress(run: Run) -> str:
    """ " (step 9 of 24 is safe)", or nothing where no progress is visible."""
    if run.progress is None:
        return ""
    of = f" of {run.progress.total_steps}" if run.progress.total_steps else ""
    return f" (step {run.progress.step}{of} is safe)"


def stop_asked(run: Run) -> str:
    """ "The run was asked to stop (nightspot stop)." The API knows who asks by an ARN, with an account in it."""
    return f"The run was asked to stop ({redact(run.stop_asked_by or '')})."


def clock(moment: datetime) -> str:
    """ "04:31 UTC"."""
    return f"{moment.hour:02d}:{moment.minute:02d} UTC"
