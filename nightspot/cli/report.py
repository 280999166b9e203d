"""`nightspot report`: which runs a report is about, in which format, and where it goes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from urllib.parse import quote

import typer

from nightspot.cli._shared import fail, grouped, mistakes
from nightspot.cli.runs.place import Where, operating_mistakes
from nightspot.client.charts import ChartsMissingError, cache_folder, script
from nightspot.client.sources import Source
from nightspot.formats.figures import day, plain
from nightspot.record.model import RunRecord
from nightspot.record.statement import (
    ATTEMPT_COLUMNS,
    RUN_COLUMNS,
    MonthError,
    attempt_rows,
    bounds_of,
    run_rows,
    statement,
    to_csv,
)
from nightspot.record.statement import to_json as statement_to_json
from nightspot.view.html.bars import saved_spec
from nightspot.view.html.pages import LinkOf, run_page, runs_page, title
from nightspot.view.html.theme import PALETTE, Spec, concrete
from nightspot.view.html.timeline import timeline_spec
from nightspot.view.messages.plain import Console


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    SVG = "svg"
    PNG = "png"
    CSV = "csv"
    JSON = "json"


STANDARD_OUTPUT = "-"


@grouped
def report(
    *,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="One run; without a choice, the newest.")
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="NAME", help="A job's runs.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The runs of all jobs.")] = False,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="Only what started in this month, with --job or --all."),
    ] = None,
    where: Where,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where it goes; - is standard output.")
    ] = None,
    wanted: Annotated[
        Format, typer.Option("--format", help="CSV and JSON are printed by default.")
    ] = Format.HTML,
    with_runs: Annotated[
        bool, typer.Option("--runs", help="With --job or --all: each run's page as well, beside it.")
    ] = False,
) -> None:
    """Write a report: of one run, or of a month's costs and savings."""
    _check(run, job, month, with_runs, wanted, out, every=every)
    with mistakes(), operating_mistakes(), _report_mistakes():
        source = where.place().source
        if job is None and not every:
            record = source.run(run)
            stem = run or record.run_id
            _put(of_run(record, wanted), out, file_name(stem, wanted), wanted)
            return
        runs = source.runs(job, month)
        stem = "-".join(part for part in (job or "all", month) if part)
        default = file_name(stem, wanted)
        folder = Path(default if out is None else out).parent
        if with_runs:
            _write_runs(source, runs, folder)

        content = of_runs(runs, wanted, job=job, month=month, link_of=lambda run: _link_of(run, folder))
        _put(content, out, default, wanted)


def _check(
    run: str | None,
    job: str | None,
    month: str | None,
    with_runs: bool,
    wanted: Format,
    out: str | None,
    *,
    every: bool,
) -> None:
    if sum((run is not None, job is not None, every)) > 1:
        raise typer.BadParameter("only one of --run, --job and --all can say what the report is about")
    many = job is not None or every
    if month is not None and not many:
        raise typer.BadParameter("--month needs --job or --all")
    if with_runs and not (many and wanted is Format.HTML and out != STANDARD_OUTPUT):
        raise typer.BadParameter("--runs needs --job or --all, and a page that is written to a file")
    if month is not None:
        try:
            bounds_of(month)
        except MonthError as error:
            raise typer.BadParameter(f"--{error}") from error


@contextmanager
def _report_mistakes() -> Iterator[None]:
    """Inside: what a report lacks ends the command with its words."""
    try:
        yield
    except (ChartsMissingError, NothingToDrawError) as error:
        fail(str(error))


def _write_runs(source: Source, runs: list[RunRecord], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        write_page(source.run(run.run_id), folder / file_name(run.run_id, Format.HTML))


def _link_of(run: RunRecord, folder: Path) -> str | None:
    """A run's page beside the report, else its execution in the console; simulated ones have none."""
    name = file_name(run.run_id, Format.HTML)
    if (folder / name).is_file():
        return quote(name)
    arn = run.execution_arn
    if run.simulated or not arn:
        return None
    console = Console.of_arn(arn)
    return None if console is None else console.execution(arn)


def _put(content: bytes, out: str | None, default: str, wanted: Format) -> None:
    printed = {Format.CSV, Format.JSON}
    if out == STANDARD_OUTPUT or (out is None and wanted in printed):
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    path = Path(default if out is None else out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    typer.echo(f"The report is {path}.")


_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


class NothingToDrawError(Exception):
    """A picture was asked for where there is no figure to draw."""


def of_run(record: RunRecord, wanted: Format) -> bytes:
    """One run: its page, its timeline as a picture, its attempts as rows, or its record.

    Raises ChartsMissingError.
    """
    if wanted is Format.HTML:
        return run_page(record, script_or_none()).encode()
    if wanted is Format.CSV:
        return to_csv(ATTEMPT_COLUMNS, attempt_rows([record])).encode()
    if wanted is Format.JSON:
        return _json(record.to_json())
    name = plain(f"{record.job}, {day(record.started_at)}")
    return _picture(timeline_spec(record, legend=True), name, wanted)


def of_runs(
    runs: Sequence[RunRecord], wanted: Format, *, job: str | None, month: str | None, link_of: LinkOf
) -> bytes:
    """Many runs: their page, what they saved as a picture, a row for each, or the sums and each run's figures.

    Raises ChartsMissingError and NothingToDrawError.
    """
    if wanted is Format.HTML:
        return runs_page(runs, script_or_none(), job=job, month=month, link_of=link_of).encode()
    runs = sorted(runs, key=lambda run: run.started_at)
    if wanted is Format.CSV:
        return to_csv(RUN_COLUMNS, run_rows(runs)).encode()
    if wanted is Format.JSON:
        sums = statement_to_json(statement(runs))
        return _json({"job": job, "month": month, **sums, "accounts": [run.account() for run in runs]})
    spec = saved_spec(runs)
    if spec is None:
        raise NothingToDrawError(f"--format: {wanted.value}: there is no run here whose saving is known")
    return _picture(spec, plain(f"Saved against on-demand alone: {title(job, month)}"), wanted)


def write_page(record: RunRecord, path: Path) -> Path:
    """Write a run's page. Returns `path`. Raises OSError."""
    path.write_bytes(of_run(record, Format.HTML))
    return path


def file_name(stem: str, wanted: Format) -> str:
    """The name of a report's file: `stem` without what a file system or a shell could take amiss."""
    return f"{_UNSAFE.sub('-', stem).strip('-.') or 'report'}.{wanted.value}"


def script_or_none() -> str | None:
    """The charts' script; None, said on standard error, where nothing can make it."""
    try:
        return script(cache_folder())
    except ChartsMissingError as error:
        typer.secho(f"warning: the page has tables and no charts: {error}", err=True, fg="yellow")
        return None


def _picture(spec: Spec, words: str, wanted: Format) -> bytes:
    return png(spec, words) if wanted is Format.PNG else svg(spec, words).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


PICTURE_PIXELS = 960  # wide
PNG_SCALE = 2.0  # for screens with two pixels in one


def svg(spec: Spec, title: str) -> str:
    """The chart as a picture in light colours, on white. Raises ChartsMissingError."""
    converter = _converter()
    drawn: str = converter.vegalite_to_svg(_as_picture(spec, title))
    return drawn


def png(spec: Spec, title: str) -> bytes:
    """The same as pixels. Raises ChartsMissingError."""
    converter = _converter()
    drawn: bytes = converter.vegalite_to_png(_as_picture(spec, title), scale=PNG_SCALE)
    return drawn


def _as_picture(spec: Spec, title: str) -> Spec:
    padding = {"left": 20, "right": 24, "top": 20, "bottom": 16}
    picture: Spec = concrete(spec)
    return {
        **picture,
        "width": PICTURE_PIXELS,
        "autosize": {"type": "pad"},
        "padding": padding,
        "background": PALETTE["ground"][0],
        "title": {"text": title, "offset": 26},
    }


def _converter() -> ModuleType:
    try:
        import vl_convert  # noqa: PLC0415 - only here, and only in nightspot[local]
    except ModuleNotFoundError as error:
        raise ChartsMissingError from error
    return vl_convert
