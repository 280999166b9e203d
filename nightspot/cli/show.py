"""`nightspot show`: which record of a run is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightspot.cli._shared import Json, mistakes, print_json
from nightspot.local import records
from nightspot.report import tables
from nightspot.report.lines import console_for


def show(
    name: Annotated[str | None, typer.Argument(metavar="RUN", help="Its id; the newest by default.")] = None,
    directory: Annotated[
        Path, typer.Option("--records", metavar="DIR", help="Where the records are.")
    ] = Path("build/runs"),
    as_json: Json = False,
) -> None:
    """Show a run's record: its decisions, its attempts, and what it came to."""
    with mistakes():
        record = records.read(directory, name)
    if as_json:
        print_json(record)
        return
    console = console_for()
    tables.show_header(console, record)
    tables.show_decisions(console, record)
    tables.show_outcome(console, record)
