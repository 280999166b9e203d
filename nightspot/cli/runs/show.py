"""`nightspot runs` and `nightspot show`: which runs are listed, and which run's record is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from nightspot.api.queries import QueryError, StartWindow, Wanted, endings_of, is_for, window_of
from nightspot.cli import completion
from nightspot.cli._shared import Json, grouped, mistakes, print_json
from nightspot.cli.runs import follow
from nightspot.cli.runs.place import (
    LOCAL_RECORDS,
    Place,
    Where,
    check_at_least_one,
    operating_mistakes,
    record_of,
)
from nightspot.formats.figures import duration, percent, usd
from nightspot.local.stage.records import LocalRecord
from nightspot.record.model import Ending, RunRecord
from nightspot.record.sentences import RESUMES
from nightspot.run.reasons import Reason
from nightspot.terminal import deployed_run, tables
from nightspot.terminal.lines import console_for, plain_table

DEFAULT_LIMIT = 20

STYLES: Mapping[Ending, str] = {
    Ending.RUNNING: "cyan",
    Ending.IN_TIME: "green",
    Ending.LATE: "yellow",
    Ending.FAILED: "red",
    Ending.SKIPPED: "yellow",
    Ending.STOPPED: "yellow",
    Ending.REFUSED: "dim",
}


@grouped
def runs(
    *,
    job: Annotated[str | None, typer.Option(metavar="NAME", help="Only this job's.")] = None,
    outcome: Annotated[
        list[Wanted] | None, typer.Option(help="Only these; may be repeated. succeeded: in_time or late.")
    ] = None,
    reason: Annotated[
        list[Reason] | None,
        typer.Option(help="Only what fell back to on-demand for this; may be repeated.", metavar="REASON"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="Started at or after: a duration ago (7d, 36h) or an ISO 8601 time."
        ),
    ] = None,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Only what started in this month (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.")] = DEFAULT_LIMIT,
    where: Where,
    as_json: Json = False,
) -> None:
    """List runs, newest first: how each ended, cost, savings, margin."""
    window = _window(since, month)
    check_at_least_one("--limit", limit)
    with mistakes(), operating_mistakes():
        place = where.place()
        runs = place.source.runs(job, None)
    endings = endings_of(outcome or ())
    chosen = [
        run
        for run in runs
        if run.ending in endings and is_for(run, reason or ()) and run.started_at in window
    ]
    if as_json:
        shown = [{**run.account(), **_beside(run)} for run in chosen[:limit]]
        print_json({"runs": shown, "matching": len(chosen)})
        return
    if not chosen:
        typer.echo(
            f"No run of {len(runs)} in {place.words} is like that."
            if runs
            else f"There is no run in {place.words}."
        )
        return
    console = console_for()
    console.print(_table(chosen[:limit]))
    if len(chosen) > limit:
        console.print(f"{limit} of {len(chosen)}; --limit shows more.")


def _window(since: str | None, month: str | None) -> StartWindow:
    try:
        return window_of(since, month, datetime.now(UTC))
    except QueryError as error:
        raise typer.BadParameter(f"--{error}") from error


def _beside(run: RunRecord) -> dict[str, Any]:
    """What a list tells beside the figures."""
    return run.model_dump(
        mode="json", include={"resume", "because", "deadline", "model_artifact", "execution_arn"}
    )


def _table(chosen: list[RunRecord]) -> Table:
    table = plain_table()
    table.add_column("run", no_wrap=True)
    table.add_column("job", overflow="fold")
    for heading in ("started (UTC)", "outcome"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cost", "saved", "margin"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("resume", no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    for run in chosen:
        table.add_row(
            run.run_id,
            run.job,
            f"{run.started_at:%Y-%m-%d %H:%M}",
            run.ending.value.replace("_", " "),
            _cost(run),
            percent(run.saved_percent) if run.saved_percent is not None else "-",
            duration(run.margin_seconds) if run.margin_seconds is not None else "-",
            RESUMES[run.resume] if run.resume else "-",
            str(len(run.attempts)),
            style=STYLES[run.ending],
        )
    return table


def _cost(run: RunRecord) -> str:
    """The cost; of what is not known altogether, at least what is."""
    if run.cost_usd is not None:
        return usd(run.cost_usd)
    return f">= {usd(run.cost_at_least_usd)}" if run.cost_at_least_usd else usd(None)


@dataclass(frozen=True)
class WhereOrRecords(Where):
    """--from-folder has an older name here."""

    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from-folder", "--records", metavar="DIR", help=f"Local records; {LOCAL_RECORDS} by default."
        ),
    ] = None


@grouped
def show(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its id; the newest by default.", autocompletion=completion.runs),
    ] = None,
    *,
    where: WhereOrRecords = WhereOrRecords(),
    as_json: Json = False,
) -> None:
    """Show a run's record: decisions, attempts, result."""
    with mistakes(), operating_mistakes():
        place = where.place()
        record = record_of(place, run)
    print_record(place, record, as_json=as_json)


def print_record(place: Place, record: RunRecord, *, as_json: bool) -> None:
    """Print a record, as local nights or as deployed runs are shown."""
    if as_json:
        links = {} if place.is_local else {"console": deployed_run.links_of(record)}
        print_json({**record.to_json(), **links})
        return
    console = console_for()
    if isinstance(record, LocalRecord):
        tables.show_header(console, record)
        tables.show_decisions(console, record, spot_first=record.spot_first)
        tables.show_outcome(console, record)
        return
    emulated = follow.is_emulated(place)
    now = follow.clock_of(place)(record)
    deployed_run.show(console, record, now, with_links=not emulated)
