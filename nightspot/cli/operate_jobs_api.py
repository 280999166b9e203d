"""Decides how the jobs that a deployment's API lists are shown: the columns of `nightspot jobs`, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from rich import box
from rich.table import Table

from nightspot.cli._shared import print_json
from nightspot.durations import DurationError, format_duration, parse_duration
from nightspot.pages.figures import usd
from nightspot.report.lines import console_for

Line = Mapping[str, Any]
"""One of `jobs` in the answer of GET /jobs."""


def show(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what GET /jobs has answered."""
    if as_json:
        print_json(dict(answer))
        return
    if not answer["jobs"]:
        typer.echo("There are no jobs: nothing is deployed, and the table has no run.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, show_edge=False)
    for heading in ("job", "schedule", "deadline", "ladder"):
        table.add_column(heading, overflow="fold")
    table.add_column("last run")
    table.add_column("this month", justify="right")
    for line in answer["jobs"]:
        table.add_row(str(line["name"]), *described(line), _last(line), _month(line["month"]))
    console_for().print(table)


def described(line: Line) -> tuple[str, str, str]:
    """Schedule, deadline and ladder in words."""
    if not line["described"]:
        return ("no job file", "-", "-")
    return (_schedule(line["schedule"]), _deadline(line["deadline"]), _ladder(line["capacity"] or {}))


def _schedule(schedule: Line | None) -> str:
    if schedule is None:
        return "by hand"
    kind = next((kind for kind in ("cron", "rate") if schedule.get(kind)), None)
    return f"{kind}({schedule[kind]}) {schedule.get('timezone')}" if kind else "by hand"


def _deadline(deadline: Line | None) -> str:
    if not deadline:
        return "-"
    if deadline.get("at"):
        return f"{str(deadline['at'])[:5]} {deadline.get('timezone')}"
    within = deadline.get("within")
    try:
        return f"{format_duration(parse_duration(within))} after the start"
    except DurationError:
        return f"{within} after the start"


def _ladder(capacity: Line) -> str:
    parts = []
    for market, words in (("spot", "Spot"), ("on_demand", "on-demand")):
        types = [
            each if isinstance(each, str) else each["instance_type"] for each in capacity.get(market) or ()
        ]
        if types:
            parts.append(f"{words} {', '.join(types)}")
    return "; ".join(parts)


def _last(line: Line) -> str:
    last = line["last_run"]
    if last is None:
        return "none yet"
    return f"{last['ending'].replace('_', ' ')}, {last['started_at'][:16].replace('T', ' ')}"


def _month(month: Line) -> str:
    if month["cost_usd"] is not None and month["cost_usd"] == month["cost_at_least_usd"]:
        return usd(month["cost_usd"])
    return f"at least {usd(month['cost_at_least_usd'])}"
