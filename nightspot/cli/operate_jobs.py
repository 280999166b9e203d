"""`nightspot jobs`: which jobs there are, when they run, and how the last night of each went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.request import urlopen

import typer
from rich import box
from rich.table import Table

from nightspot.accounts import Statement, statement
from nightspot.cli import account, operate_jobs_api
from nightspot.cli._shared import Json, fail, mistakes, print_json
from nightspot.cli.operate_sources import (
    Api,
    FromFolder,
    Local,
    Place,
    StackName,
    TableName,
    operating_mistakes,
    place_of,
    summaries_of,
)
from nightspot.durations import format_duration
from nightspot.job import Job, Market, load_jobs
from nightspot.pages.figures import usd
from nightspot.pages.runs_page import accounted
from nightspot.report.lines import console_for
from nightspot.run_account import Ending, RunAccount, to_json

DEFAULT_FOLDER = Path("jobs")
FETCH_SECONDS = 60.0  # no answer for so long is none


@dataclass(frozen=True)
class JobLine:
    """A job, its newest run, and what its runs of this month came to."""

    name: str
    job: Job | None  # None: it has runs, and no description any more
    last: RunAccount | None
    month: Statement


def jobs(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="The job files; `jobs` by default, with --stack what is deployed."
        ),
    ] = None,
    *,
    from_folder: FromFolder = None,
    local: Local = False,
    table: TableName = None,
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Json = False,
) -> None:
    """List the jobs: schedule, deadline, ladder, how the last run ended, and what this month has cost."""
    now = datetime.now(UTC)
    with mistakes(), operating_mistakes():
        place = place_of(
            from_folder=from_folder,
            local=local,
            table=table,
            stack=stack,
            region=region,
            profile=profile,
            api=api,
        )
        if place.api is not None and folder is None:
            operate_jobs_api.show(place.api.get("/jobs"), as_json=as_json)
            return
        described = (
            _deployed(place) if place.stack and folder is None else load_jobs(folder or DEFAULT_FOLDER)
        )
        lines = lines_of(described, [accounted(each) for each in summaries_of(place)], f"{now:%Y-%m}")
    if as_json:
        print_json({"month": f"{now:%Y-%m}", "jobs": [_as_json(line) for line in lines]})
        return
    if not lines:
        typer.echo(f"There are no jobs: {folder or DEFAULT_FOLDER} has no job file and {place.words} no run.")
        return
    console_for().print(_table(lines))


def lines_of(described: Mapping[str, Job], runs: list[RunAccount], month: str) -> list[JobLine]:
    """A line for each job that is described or has run, by name; `month` ("2026-11") is what is added up."""
    return [
        JobLine(
            name,
            described.get(name),
            max(own, key=lambda run: run.started_at) if own else None,
            statement(run for run in own if run.month == month),
        )
        for name in sorted({*described, *(run.job for run in runs)})
        for own in [[run for run in runs if run.job == name]]
    ]


def _deployed(place: Place) -> dict[str, Job]:
    from nightspot.aws.deployed_names import DeploymentError  # noqa: PLC0415 - local records need no AWS
    from nightspot.aws.operating import deployed_jobs  # noqa: PLC0415

    if place.aws is None or place.stack is None:
        raise ValueError("only a stack has deployed jobs")
    client = place.aws.client
    try:
        return deployed_jobs(
            place.stack, cloudformation=client("cloudformation"), lambdas=client("lambda"), fetch=fetched
        )
    except DeploymentError as error:
        fail(f"--stack: {error}; a folder of job files can be named instead")


def fetched(address: str) -> bytes:
    """What an HTTPS address holds. Raises OSError."""
    if not address.startswith("https://"):
        raise OSError("the code's address is not HTTPS")
    with urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - checked above
        content: bytes = answer.read()
    return content


def schedule_words(job: Job) -> str:
    """ "cron(0 0 * * ? *) Europe/Dublin", "paused (rate(1 day) UTC)", or that nothing starts it by itself."""
    schedule = job.schedule
    if schedule is None:
        return "by hand"
    words = f"{schedule.expression} {schedule.timezone}"
    if schedule.flexible_seconds is not None:
        words += f", up to {format_duration(schedule.flexible_seconds)} later"
    return f"paused ({words})" if schedule.paused else words


def deadline_words(job: Job) -> str:
    """ "08:00 UTC", "8 h after the start"."""
    if job.deadline.at is not None:
        return f"{job.deadline.at:%H:%M} {job.deadline.timezone}"
    return f"{format_duration(job.deadline.within_seconds or 0)} after the start"


def ladder_words(job: Job) -> str:
    """ "Spot ml.p4d.24xlarge, ml.g5.48xlarge; on-demand ml.p4d.24xlarge"."""
    markets = {Market.SPOT: "Spot", Market.ON_DEMAND: "on-demand"}
    named = {
        words: ", ".join(rung.instance_type for rung in job.capacity.rungs_of(market))
        for market, words in markets.items()
    }
    return "; ".join(f"{words} {types}" for words, types in named.items() if types)


def month_words(month: Statement) -> str:
    """What the month has cost; "at least" where a run is still going on or a figure is not known."""
    total = month.totals["cost_usd"]
    known = total.known + month.open_cost_at_least_usd
    is_whole = total.value is not None and not month.endings[Ending.RUNNING]
    return usd(known) if is_whole else f"at least {usd(known)}"


def _table(lines: list[JobLine]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, show_edge=False)
    for heading in ("job", "schedule", "deadline", "ladder"):
        table.add_column(heading, overflow="fold")
    table.add_column("last run")
    table.add_column("this month", justify="right")
    for line in lines:
        table.add_row(line.name, *_described(line.job), _last(line.last), month_words(line.month))
    return table


def _described(job: Job | None) -> tuple[str, str, str]:
    if job is None:
        return ("no job file", "-", "-")
    return (schedule_words(job), deadline_words(job), ladder_words(job))


def _last(last: RunAccount | None) -> str:
    if last is None:
        return "none yet"
    return f"{last.ending.value.replace('_', ' ')}, {last.started_at:%Y-%m-%d %H:%M}"


def _as_json(line: JobLine) -> dict[str, Any]:
    job = line.job
    total = line.month.totals["cost_usd"]
    return {
        "name": line.name,
        "schedule": job.schedule.model_dump(mode="json", by_alias=True) if job and job.schedule else None,
        "deadline": job.deadline.model_dump(mode="json", by_alias=True) if job else None,
        "capacity": job.capacity.model_dump(mode="json", by_alias=True) if job else None,
        "described": job is not None,
        "last_run": to_json(line.last) if line.last else None,
        "month": {
            "runs": line.month.runs,
            "cost_usd": total.value,
            "cost_at_least_usd": round(total.known + line.month.open_cost_at_least_usd, 4),
        },
    }
