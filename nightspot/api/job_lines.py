"""Decides what is told of each job: what its file says, how its newest run went, and what its month came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.job import Job
from nightspot.record.run_account import Ending, RunAccount, to_json
from nightspot.record.statement import Statement, statement

_USD_DIGITS = 4


@dataclass(frozen=True)
class JobLine:
    """A job, its newest run, and what its runs of a month came to."""

    name: str
    job: Job | None  # None: it has runs, and no description any more
    last: RunAccount | None
    month: Statement


def lines_of(described: Mapping[str, Job], runs: Sequence[RunAccount], month: str) -> list[JobLine]:
    """A line for each job that is described or has run, by name; `month` ("2026-11") is what is added up.

    `runs`: each job's newest first.
    """
    return [
        JobLine(
            name,
            described.get(name),
            own[0] if own else None,
            statement(run for run in own if run.month == month),
        )
        for name in sorted({*described, *(run.job for run in runs)})
        for own in [[run for run in runs if run.job == name]]
    ]


def line_as_json(line: JobLine) -> dict[str, Any]:
    """JSON-ready. Nothing of the training job itself: its hyperparameters and environment may hold secrets."""
    job = line.job
    return {
        "name": line.name,
        "schedule": _section(job.schedule) if job else None,
        "deadline": _section(job.deadline) if job else None,
        "capacity": _section(job.capacity) if job else None,
        "budget": _section(job.budget) if job else None,
        "concurrency": job.concurrency.value if job else None,
        "fallback": job.fallback.value if job else None,
        "described": job is not None,
        "last_run": to_json(line.last) if line.last else None,
        "month": _month(line.month),
    }


def _month(month: Statement) -> dict[str, Any]:
    """The cost is known where that of every night is, and no run is still adding to it."""
    total = month.totals["cost_usd"]
    known = None if month.endings[Ending.RUNNING] else total.value
    return {
        "runs": month.runs,
        "cost_usd": None if known is None else round(known, _USD_DIGITS),
        "cost_at_least_usd": round(total.known + month.open_cost_at_least_usd, _USD_DIGITS),
    }


def _section(section: Any) -> dict[str, Any] | None:
    """A part of the job file, with the file's own keys."""
    return None if section is None else section.model_dump(mode="json", by_alias=True)
