"""What a job has cost in a calendar month (UTC), and what its open runs may still come to."""

from __future__ import annotations

from datetime import datetime

from nightspot.lambdas.dependencies import Dependencies
from nightspot.run.model import Run


def promised_usd(run: Run, use: Dependencies) -> float:
    """USD spent on the job's other runs of the month in which `run` started, and promised to those still open."""
    start = run.started_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month = use.table.month(run.job, start, _next_month(start), without_run_id=run.run_id)
    # One whose execution has crashed may be restarted, and is closed within the hour if it is not.
    return month.total_usd


def _next_month(start: datetime) -> datetime:
    year, month = divmod(start.month, 12)
    return start.replace(year=start.year + year, month=month + 1)
