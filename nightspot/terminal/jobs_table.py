"""How a list of jobs reads: schedule, deadline and ladder in words, the last run, and the month's cost.

A line is what `nightspot.api.models` makes of a job, or one of `jobs` in the answer of GET /jobs: the same JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table

from nightspot.formats import figures
from nightspot.formats.figures import format_duration
from nightspot.job.markets import Market

Line = Mapping[str, Any]
Section = Mapping[str, Any]
"""A part of a job file with the file's own keys; times are ISO 8601 text, durations are seconds."""

_TIME_CHARACTERS = len("08:00")


def jobs_table(lines: Sequence[Line]) -> Table:
    """A row for each job, in the order of `lines`."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, show_edge=False)
    for heading in ("job", "schedule", "deadline", "ladder"):
        table.add_column(heading, overflow="fold")
    table.add_column("last run")
    table.add_column("this month", justify="right")
    for line in lines:
        table.add_row(
            line["name"], *_described(line), last_run_words(line["last_run"]), month_words(line["month"])
        )
    return table


def _described(line: Line) -> tuple[str, str, str]:
    if not line["described"]:
        return ("no job file", "-", "-")
    return (
        schedule_words(line["schedule"]),
        deadline_words(line["deadline"]),
        ladder_words(line["capacity"]),
    )


def schedule_words(schedule: Section | None) -> str:
    """ "cron(0 0 * * ? *) Europe/Dublin", "paused (rate(1 day) UTC)", or that nothing starts it by itself."""
    if schedule is None:
        return "by hand"
    kind = "cron" if schedule.get("cron") is not None else "rate"
    words = f"{kind}({schedule[kind]}) {schedule['timezone']}"
    if schedule.get("flexible") is not None:
        words += f", up to {format_duration(schedule['flexible'])} later"
    return f"paused ({words})" if schedule.get("paused") else words


def deadline_words(deadline: Section) -> str:
    """ "08:00 UTC", "8 h after the start"."""
    if deadline.get("at") is not None:
        return f"{deadline['at'][:_TIME_CHARACTERS]} {deadline['timezone']}"
    return f"{format_duration(deadline['within'])} after the start"


def ladder_words(capacity: Section) -> str:
    """ "Spot ml.p4d.24xlarge, ml.g5.48xlarge; on-demand ml.p4d.24xlarge"."""
    types = {market: ", ".join(rung["instance_type"] for rung in capacity[market.value]) for market in Market}
    return "; ".join(market.of(names) for market, names in types.items() if names)


def last_run_words(last: Line | None) -> str:
    """ "in time, 2026-11-21 00:00" (UTC), or that there has been none."""
    if last is None:
        return "none yet"
    started_at = datetime.fromisoformat(last["started_at"]).astimezone(UTC)
    return f"{last['ending'].replace('_', ' ')}, {started_at:%Y-%m-%d %H:%M}"


def month_words(month: Line) -> str:
    """What the month has cost; "at least" where a run is still going on or a figure is not known."""
    if month["cost_usd"] is not None:
        return figures.usd(month["cost_usd"])
    return f"at least {figures.usd(month['cost_at_least_usd'])}"
