"""Decides how a deployed run is shown in a terminal: the whole record, and the view of one that is going on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nightspot.formats.figures import clock, plain, usd
from nightspot.job import Market
from nightspot.terminal import news, tables
from nightspot.terminal.lines import paragraph
from nightspot.terminal.news import News
from nightspot.view.html.runs_page import accounted
from nightspot.view.messages.links import Console

Record = Mapping[str, Any]
"""`nightspot.record.summary.record_of`'s shape."""

NEWS_LINES = 8  # of the live view


def show(terminal: Terminal, record: Record, now: datetime, *, with_links: bool) -> None:
    """The whole record. `now` is the story's clock (aware), for a run that is going on."""
    for title, text in _head(record, now):
        paragraph(terminal, title, text)
    terminal.print()
    tables.show_decisions(terminal, {**record, "spot_first": _has_spot(record)})
    if record.get("attempts"):
        terminal.print()
        terminal.print(tables.attempts_table(record))
    terminal.print()
    paragraph(
        terminal, "Outcome", news.end_of(record).text if news.is_over(record) else _going_on(record, now)
    )
    if record.get("model_artifact"):
        paragraph(terminal, "Artefact", str(record["model_artifact"]))
    if with_links:
        for title, url in _link_lines(links_of(record)):
            paragraph(terminal, title, url)


def view(record: Record | None, lines: Sequence[News], now: datetime, run_id: str) -> Group:
    """What `nightspot watch` shows on a terminal while the run goes on; `lines` are all its news so far."""
    told = [Text(f"{(line.at or now).astimezone(UTC):%H:%M:%S}  {line.text}") for line in lines[-NEWS_LINES:]]
    if record is None:
        return Group(Text(f"Run {run_id} is not on record yet.", style="bold"), *told)
    head = Table.grid(padding=(0, 2))
    for title, text in (*_head(record, now), ("Now", f"{news.standing(record)}.")):
        head.add_row(Text(title, style="bold"), Text(text))
    parts: list[Any] = [head]
    if record.get("attempts"):
        parts.append(tables.attempts_table(record))
    return Group(*parts, Text(""), *told)


def links_of(record: Record) -> dict[str, Any]:
    """The run's pages in the AWS console: its execution, and each training job with its logs. JSON-ready."""
    arn = record.get("execution_arn")
    console = Console.of_arn(arn) if isinstance(arn, str) else None
    if console is None or not isinstance(arn, str):
        return {"execution": None, "training_jobs": []}
    names = [
        (attempt["number"], attempt["training_job_name"])
        for attempt in record.get("attempts") or []
        if attempt.get("status") is not None
    ]
    return {
        "execution": console.execution(arn),
        "training_jobs": [
            {"attempt": number, "page": console.training_job(name), "logs": console.training_job_logs(name)}
            for number, name in names
        ],
    }


def _head(record: Record, now: datetime) -> list[tuple[str, str]]:
    started = datetime.fromisoformat(record["started_at"])
    lines = [
        ("Run", f"{record['run_id']} of {record['job']}, started {started:%Y-%m-%d} {clock(started)}."),
        ("Deadline", f"{clock(datetime.fromisoformat(record['deadline']), started)}."),
    ]
    if not news.is_over(record):
        lines[-1] = ("Deadline", f"{news.time_left(record, now)}.")
    if record.get("requested_by"):
        lines.append(("Started by", f"{plain(record['requested_by'])}."))
    if record.get("overrides"):
        lines.append(("This run", f"{tables.overrides_in_words(record['overrides'])}."))
    if record.get("plan_note"):
        lines.append(("Plan", plain(record["plan_note"])))
    account = accounted(record)
    if account.cost_usd is None or not news.is_over(record):
        lines.append(("Cost", f"at least {usd(account.cost_at_least_usd)} so far."))
    return lines


def _going_on(record: Record, now: datetime) -> str:
    return f"none yet: {news.standing(record)}; {news.time_left(record, now)}."


def _has_spot(record: Record) -> bool:
    markets = {attempt["market"] for attempt in record.get("attempts") or []}
    return bool(record.get("fell_back")) or Market.SPOT.value in markets


def _link_lines(links: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("Console", links["execution"])] if links["execution"] else []
    for job in links["training_jobs"]:
        lines += [(f"Job {job['attempt']}", job["page"]), (f"Logs {job['attempt']}", job["logs"])]
    return lines
