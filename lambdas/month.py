"""What a job has cost in a calendar month (UTC), and what its open runs may still come to."""

from __future__ import annotations

from datetime import datetime

from lambdas.dependencies import Dependencies
from nightspot.costs import spent_usd
from nightspot.run import Run


def promised_usd(run: Run, use: Dependencies) -> float:
    """USD spent on the job's other runs of the month in which `run` started, and promised to those still open."""
    start = run.started_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month = use.table.month(run.job, start, _next_month(start), without_run_id=run.run_id)
    # An open run whose execution is over will spend no more than it has: nobody wrote its end.
    unspent = sum(_unspent_usd(open_run_id, use) for open_run_id in month.open_run_ids)
    return month.spent_usd + month.committed_usd - unspent


def _unspent_usd(run_id: str, use: Dependencies) -> float:
    """What a run that died was promised and has not spent."""
    run = use.table.run(run_id)
    if run is None or run.budget_usd is None or use.executions.is_running(run.execution_arn) is not False:
        return 0.0
    return max(0.0, run.budget_usd - spent_usd(run))


def _next_month(start: datetime) -> datetime:
    year, month = divmod(start.month, 12)
    return start.replace(year=start.year + year, month=month + 1)
