"""`nightspot report`: which runs a report is about, in which format, and where it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from nightspot.accounts import MonthError, bounds_of
from nightspot.cli import account, report_files
from nightspot.cli._shared import fail, mistakes
from nightspot.cli.operate_sources import (
    Api,
    FromFolder,
    Local,
    StackName,
    TableName,
    operating_mistakes,
    place_of,
)
from nightspot.cli.report_files import Format, NothingToDrawError
from nightspot.cli.report_sources import Source
from nightspot.messages.links import Console
from nightspot.report.page_charts import ChartsMissingError

STANDARD_OUTPUT = "-"


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
    from_folder: FromFolder = None,
    local: Local = False,
    table: TableName = None,
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
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
    """Write a report: what happened in a night, or what a month cost and saved."""
    _check(run, job, month, with_runs, wanted, out, every=every)
    with mistakes(), operating_mistakes(), _report_mistakes():
        source = place_of(
            from_folder=from_folder,
            local=local,
            table=table,
            stack=stack,
            api=api,
            region=region,
            profile=profile,
        ).source
        if job is None and not every:
            record = source.run(run)
            stem = run or str(record.get("run_id") or "refused")
            _put(report_files.of_run(record, wanted), out, report_files.file_name(stem, wanted), wanted)
            return
        summaries = source.runs(job, month)
        stem = "-".join(part for part in (job or "all", month) if part)
        default = report_files.file_name(stem, wanted)
        folder = Path(default if out is None else out).parent
        if with_runs:
            _write_runs(source, summaries, folder)

        def link_of(summary: Mapping[str, Any]) -> str | None:
            return _link_of(summary, folder)

        content = report_files.of_runs(summaries, wanted, job=job, month=month, link_of=link_of)
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


def _write_runs(source: Source, summaries: list[dict[str, Any]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for summary in summaries:
        run_id = str(summary["run_id"])
        report_files.write_page(source.run(run_id), folder / report_files.file_name(run_id, Format.HTML))


def _link_of(summary: Mapping[str, Any], folder: Path) -> str | None:
    """A run's page beside the report, else its execution in the console; simulated ones have none."""
    name = report_files.file_name(str(summary["run_id"]), Format.HTML)
    if (folder / name).is_file():
        return quote(name)
    arn = summary.get("execution_arn")
    if summary.get("simulated") or not isinstance(arn, str):
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
