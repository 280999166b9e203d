"""Decides what the file of a report holds in each format, and where the charts' script is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from nightspot.account_rows import ATTEMPT_COLUMNS, RUN_COLUMNS, attempt_rows, run_rows, to_csv
from nightspot.accounts import statement
from nightspot.accounts import to_json as statement_to_json
from nightspot.pages.bars import saved_spec
from nightspot.pages.figures import day, plain
from nightspot.pages.reading import read_record
from nightspot.pages.run_page import run_page
from nightspot.pages.runs_page import LinkOf, accounted, runs_page, title
from nightspot.pages.theme import Spec
from nightspot.pages.timeline import timeline_spec
from nightspot.report import page_charts
from nightspot.run_account import to_json as account_to_json

Record = Mapping[str, Any]
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    SVG = "svg"
    PNG = "png"
    CSV = "csv"
    JSON = "json"


class NothingToDrawError(Exception):
    """A picture was asked for where there is no figure to draw."""


def of_run(record: Record, wanted: Format) -> bytes:
    """One run: its page, its timeline as a picture, its attempts as rows, or its record.

    Raises RecordNotReadableError and ChartsMissingError.
    """
    if wanted is Format.HTML:
        return run_page(record, script_or_none()).encode()
    if wanted is Format.CSV:
        return to_csv(ATTEMPT_COLUMNS, attempt_rows([record])).encode()
    if wanted is Format.JSON:
        return _json(record)
    run = read_record(record)
    return _picture(timeline_spec(run, legend=True), plain(f"{run.job}, {day(run.started_at)}"), wanted)


def of_runs(
    summaries: Sequence[Record], wanted: Format, *, job: str | None, month: str | None, link_of: LinkOf
) -> bytes:
    """Many runs: their page, what they saved as a picture, a row for each, or the sums and each run's figures.

    Raises RecordNotReadableError, ChartsMissingError and NothingToDrawError.
    """
    if wanted is Format.HTML:
        return runs_page(summaries, script_or_none(), job=job, month=month, link_of=link_of).encode()
    accounts = sorted((accounted(summary) for summary in summaries), key=lambda run: run.started_at)
    if wanted is Format.CSV:
        return to_csv(RUN_COLUMNS, run_rows(accounts)).encode()
    if wanted is Format.JSON:
        sums = statement_to_json(statement(accounts))
        return _json({"job": job, "month": month, **sums, "accounts": list(map(account_to_json, accounts))})
    spec = saved_spec(accounts)
    if spec is None:
        raise NothingToDrawError(f"--format: {wanted.value}: there is no run here whose saving is known")
    return _picture(spec, plain(f"Saved against on-demand alone: {title(job, month)}"), wanted)


def write_page(record: Record, path: Path) -> Path:
    """Write a run's page. Returns `path`. Raises OSError and RecordNotReadableError."""
    path.write_bytes(of_run(record, Format.HTML))
    return path


def file_name(stem: str, wanted: Format) -> str:
    """The name of a report's file: `stem` without what a file system or a shell could take amiss."""
    return f"{_UNSAFE.sub('-', stem).strip('-.') or 'report'}.{wanted.value}"


def script_or_none() -> str | None:
    """The charts' script; None, said on standard error, where nothing can make it."""
    try:
        return page_charts.script(page_charts.cache_folder())
    except page_charts.ChartsMissingError as error:
        typer.secho(f"warning: the page has tables and no charts: {error}", err=True, fg="yellow")
        return None


def _picture(spec: Spec, words: str, wanted: Format) -> bytes:
    return page_charts.png(spec, words) if wanted is Format.PNG else page_charts.svg(spec, words).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
