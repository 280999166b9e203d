"""`nightspot show`: which run's record is shown, and where its pages in the AWS console are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.cli import account, completion
from nightspot.cli._shared import Json, mistakes, print_json
from nightspot.cli.runs import follow
from nightspot.cli.runs.place import (
    LOCAL_RECORDS,
    Api,
    Local,
    Place,
    StackName,
    TableName,
    operating_mistakes,
    place_of,
    record_of,
)
from nightspot.terminal import deployed_run, tables
from nightspot.terminal.lines import console_for


def show(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its id; the newest by default.", autocompletion=completion.runs),
    ] = None,
    *,
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from-folder", "--records", metavar="DIR", help=f"Local records; {LOCAL_RECORDS} by default."
        ),
    ] = None,
    local: Local = False,
    table: TableName = None,
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Json = False,
) -> None:
    """Show a run's record: decisions, attempts, result."""
    with mistakes(), operating_mistakes():
        place = place_of(
            folder=from_folder, local=local, table=table, stack=stack, api=api, region=region, profile=profile
        )
        record = record_of(place, run)
    print_record(place, record, as_json=as_json)


def print_record(place: Place, record: dict[str, Any], *, as_json: bool) -> None:
    """Print a record, as local nights or as deployed runs are shown."""
    if as_json:
        print_json(record if place.is_local else {**record, "console": deployed_run.links_of(record)})
        return
    console = console_for()
    if place.is_local:
        tables.show_header(console, record)
        tables.show_decisions(console, record)
        tables.show_outcome(console, record)
        return
    emulated = follow.is_emulated(place)
    now = follow.clock_of(place, follow.utc_now)(record)
    deployed_run.show(console, record, now, with_links=not emulated)
