"""`nightspot facts`: what the product believes of AWS, how that is known, and what two files tell differently."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.cli._shared import ExitStatus, Json, fail, mistakes, print_json
from nightspot.cli.harvest import harvest
from nightspot.facts.files import (
    FactsFile,
    FactsFileError,
    Observation,
    accepted_words,
    drift,
    newest_facts_file,
    read_facts_file,
)
from nightspot.facts.model import Verdict
from nightspot.facts.table import Row, rows
from nightspot.terminal.lines import console_for, plain_table

FOLDER = Path("facts")

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def facts(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A facts file of a selftest; without it, the newest in facts/."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what Nightspot believes of AWS, and how each fact is known."""
    if ctx.invoked_subcommand is not None:
        return
    found = _read(file) if file is not None else _newest()
    listed = list(rows(found, datetime.now(UTC).date()))
    if as_json:
        print_json(_as_json(found, listed))
    else:
        _show(found, listed)


app.command()(harvest)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="A", help="The older facts file.")],
    new: Annotated[Path, typer.Argument(metavar="B", help="The newer one.")],
    as_json: Json = False,
) -> None:
    """Show what two facts files tell differently; exit status 1 where something of it breaks Nightspot."""
    before, after = _read(old), _read(new)
    pairs = drift(before, after)
    if as_json:
        print_json([_pair_as_json(one, other) for one, other in pairs])
    else:
        _show_drift(before, after, pairs)
    if any(other is not None and other.verdict is Verdict.BREAKS for _, other in pairs):
        raise typer.Exit(ExitStatus.USER)


def _read(path: Path) -> FactsFile:
    with mistakes(source=str(path)):
        try:
            return read_facts_file(path)
        except FactsFileError as error:
            fail(str(error))


def _newest() -> FactsFile | None:
    try:
        return newest_facts_file(FOLDER)
    except FactsFileError as error:
        fail(str(error))


def _show(file: FactsFile | None, listed: list[Row]) -> None:
    console = console_for()
    if file is None:
        console.print("No facts file: none of this was measured. `nightspot selftest` writes one.\n")
    else:
        console.print(f"Measured in {file.region} on {_day(file.ended_at)}, account {file.account}.\n")
    table = plain_table()
    for heading in ("fact", "answer", "known how", "age", "verdict"):
        table.add_column(heading, overflow="fold")
    for row in listed:
        age = "" if row.age_days is None else f"{row.age_days} d"
        verdict = "" if row.verdict is Verdict.NOT_TRIED else str(row.verdict)
        table.add_row(row.fact.id, row.answer, row.grade, age, verdict)
    console.print(table)


def _show_drift(
    before: FactsFile, after: FactsFile, pairs: list[tuple[Observation | None, Observation | None]]
) -> None:
    console = console_for()
    console.print(
        f"{before.region} {_day(before.ended_at)} and {after.region} {_day(after.ended_at)}: "
        f"{len(pairs) or 'no'} difference{'' if len(pairs) == 1 else 's'}."
    )
    if not pairs:
        return
    table = plain_table()
    for heading in ("fact", "before", "after", "verdict"):
        table.add_column(heading, overflow="fold")
    for one, other in pairs:
        either = other or one
        table.add_row(
            "" if either is None else either.id,
            "not tried" if one is None else one.words,
            "not tried" if other is None else other.words,
            "" if other is None else str(other.verdict),
        )
    console.print(table)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _as_json(file: FactsFile | None, listed: list[Row]) -> dict[str, Any]:
    return {
        "file": None if file is None else file.name,
        "region": None if file is None else file.region,
        "facts": [
            {
                "id": row.fact.id,
                "question": row.fact.question,
                "answer": row.answer,
                "accepted": accepted_words(row.fact.designed, row.fact.safe),
                "known_how": row.grade,
                "age_days": row.age_days,
                "verdict": str(row.verdict),
                "source": row.fact.source or None,
                "used_by": list(row.fact.used_by),
            }
            for row in listed
        ],
    }


def _pair_as_json(one: Observation | None, other: Observation | None) -> dict[str, Any]:
    either = other or one
    return {
        "id": None if either is None else either.id,
        "before": None if one is None else list(one.observed),
        "after": None if other is None else list(other.observed),
        "verdict": None if other is None else str(other.verdict),
    }
