"""`nightspot facts harvest`: what the cassettes of real runs tell of how long things take on AWS."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nightspot.cassettes.folding import Quantiles, fold
from nightspot.cassettes.model import Cassette, CassetteError, load_cassette
from nightspot.cli._shared import Json, fail, print_json
from nightspot.terminal.lines import console_for, plain_table


def harvest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Cassettes, or folders with cassettes in them.")
    ],
    as_json: Json = False,
) -> None:
    """Fold the cassettes of real runs into quantiles: stops, starts, events, the upload of checkpoints.

    A deployment with nightspot:harvest_cassettes keeps them below reports/cassettes/ in its bucket of reports; copy
    them from there. Cassettes written by hand, and those of a simulator, tell nothing of AWS and do not count.
    """
    cassettes = [cassette for path in _files(paths) if (cassette := _read(path)) is not None]
    if not cassettes:
        fail(f"{', '.join(map(str, paths))}: no cassette could be read there")
    facts = fold(cassettes)
    counted = sum(cassette.origin.tells_of_aws for cassette in cassettes)
    if as_json:
        print_json({"cassettes": counted, "facts": {fact: asdict(each) for fact, each in facts.items()}})
    else:
        _show(counted, len(cassettes) - counted, facts)


def _files(paths: list[Path]) -> list[Path]:
    return [file for path in paths for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]


def _read(path: Path) -> Cassette | None:
    """The cassette; None, and a line on standard error, for a file that is none."""
    try:
        return load_cassette(path)
    except CassetteError as error:
        console_for(sys.stderr).print(str(error))
        return None


def _show(counted: int, left_out: int, facts: dict[str, Quantiles]) -> None:
    console = console_for()
    rest = f"; {left_out} not of AWS left out" if left_out else ""
    console.print(f"{counted} cassette{'' if counted == 1 else 's'}{rest}. Seconds:\n")
    table = plain_table()
    table.add_column("fact")
    for heading in ("seen", "least", "median", "p90", "p95", "most"):
        table.add_column(heading, justify="right")
    for fact, each in facts.items():
        numbers = (each.least, each.median, each.p90, each.p95, each.most)
        table.add_row(fact, str(each.count), *(f"{number:.1f}" for number in numbers))
    console.print(table)
