"""The phrases of which a step's `because` is made."""

from __future__ import annotations

from datetime import datetime

from nightspot import estimates, ladder, limits
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


def paid_time_short(run: Run, rung: Rung) -> str:
    """ " MaxRuntimeInSeconds leaves 2 h 30 min of paid time for it." where on-demand may need more, or nothing."""
    left = limits.paid_left_seconds(run)
    if left is None or left >= ladder.seconds_needed(run, rung):
        return ""
    return f" MaxRuntimeInSeconds leaves {format_duration(left)} of paid time for it."


def paid_time_used_up(run: Run) -> str:
    """ "the run's limit of paid time (MaxRuntimeInSeconds 4 h) is used up …", and what to change."""
    cap = format_duration(limits.paid_cap_seconds(run) or 0)
    used_up = f"the run's limit of paid time (MaxRuntimeInSeconds {cap}) is used up{progress(run)}"
    return f"{used_up}. Raise MaxRuntimeInSeconds in the job file."


def time_used_up(run: Run, attempt: Attempt) -> str:
    """Why a runtime limit that came without a new checkpoint ends the run, and what to change."""
    if limits.is_paid_time_used_up(run):
        return paid_time_used_up(run)
    limit = attempt.max_runtime_seconds or attempt.trained_seconds
    return (
        f"its MaxRuntimeInSeconds of {format_duration(limit)} passed without a new checkpoint{progress(run)}, and "
        "the same again would end alike. Save checkpoints more often, or raise work and MaxRuntimeInSeconds in the "
        "job file."
    )


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
