"""The accounts as rows of a table: the columns of the CSV files, whose names and order programs rely on.

New columns go to the end. An empty cell is a figure that is not known; it is never 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nightspot.record.model import Ending, RunRecord
from nightspot.record.statement import FIGURES, Statement

Row = dict[str, str | int | float | bool | None]

RUN_COLUMNS = (
    "month",
    "job",
    "run_id",
    "started_at",
    "ended_at",
    "ending",
    "margin_seconds",
    "attempts",
    "fell_back",
    "interruptions",
    "waited_seconds",
    "starting_seconds",
    "trained_seconds",
    "billable_seconds",
    "repeated_seconds",
    "repeated_evidence",
    "lost_seconds",
    "cost_usd",
    "cost_at_least_usd",
    "on_demand_cost_usd",
    "saved_usd",
    "saved_percent",
    "uses_plan_rate",
    "missing",
)

ATTEMPT_COLUMNS = (
    "job",
    "run_id",
    "number",
    "training_job_name",
    "market",
    "instance_type",
    "asked_at",
    "ended_at",
    "status",
    "failure_class",
    "interruptions",
    "waited_seconds",
    "starting_seconds",
    "trained_seconds",
    "billable_seconds",
    "repeated_seconds",
    "repeated_evidence",
    "lost_seconds",
    "cost_usd",
    "on_demand_cost_usd",
    "saved_usd",
    "missing",
)

STATEMENT_COLUMNS = (
    "runs",
    "nights",
    *(ending.value for ending in Ending),
    "fell_back",
    "interrupted",
    "interruptions",
    *(column for name in FIGURES for column in (name, f"{name}_known", f"{name}_nights")),
    "saved_percent",
    "known_saved_percent",
    "open_cost_at_least_usd",
)
"""Behind the columns of the group's key. `…_known` sums what is known of `…_nights` nights."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def run_rows(runs: Iterable[RunRecord]) -> list[Row]:
    """One row per run, in the order given."""
    return [_row(run.account(), RUN_COLUMNS) for run in runs]


def attempt_rows(runs: Iterable[RunRecord]) -> list[Row]:
    """One row per attempt of the runs."""
    return [
        _row({**attempt.model_dump(mode="json"), "job": run.job, "run_id": run.run_id}, ATTEMPT_COLUMNS)
        for run in runs
        for attempt in run.attempts
    ]


def statement_row(statement: Statement) -> Row:
    """One row of a table of months or jobs, without the columns of its key."""
    row: Row = {
        "runs": statement.runs,
        "nights": statement.nights,
        **{ending.value: count for ending, count in statement.endings.items()},
        "fell_back": statement.fell_back,
        "interrupted": statement.interrupted,
        "interruptions": statement.interruptions,
        "saved_percent": statement.saved_percent,
        "known_saved_percent": statement.known_saved_percent,
        "open_cost_at_least_usd": statement.open_cost_at_least_usd,
    }
    for name, total in statement.totals.items():
        row |= {name: total.value, f"{name}_known": total.known, f"{name}_nights": total.covers}
    return {column: row[column] for column in STATEMENT_COLUMNS}


def to_csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """RFC 4180 text, headed by the columns' names. A text that a spreadsheet would run as a formula is disarmed."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _row(values: Mapping[str, Any], columns: Sequence[str]) -> Row:
    row: Row = {}
    for column in columns:
        value = values.get(column)
        row[column] = " ".join(value) if isinstance(value, list) else value
    return row


def _cell(value: str | float | bool | None) -> str | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"  # OWASP, "CSV Injection"
    return value
