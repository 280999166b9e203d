"""`nightspot smoke`: the first run of a deployment, from the checks before it to what it must leave behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nightspot import __version__
from nightspot.aws.doctor import examine
from nightspot.aws.doctor_visit import CheckFinding, Visit
from nightspot.aws.prices import KeptPrices, load_price_book
from nightspot.aws.runs.operating import DeploymentError
from nightspot.aws.smoke import SmokePrice, aftermath, price_of
from nightspot.cli import jobs
from nightspot.cli._shared import (
    SMOKE_JOB_FILE,
    ExitStatus,
    Json,
    agree_to_start,
    fail,
    grouped,
    mistakes,
    print_json,
    utc_now,
)
from nightspot.cli.account import Aws
from nightspot.cli.doctor import findings_as_json, has_problems, show_finding, show_sum
from nightspot.cli.runs import follow, start
from nightspot.cli.runs.place import Place, Where, operating_mistakes, output
from nightspot.cli.runs.start import WaitOrder
from nightspot.client.starting import MACHINE_OUTPUT
from nightspot.job.model import Job
from nightspot.job.reading import CheckedFile
from nightspot.terminal.lines import console_for

JOB = "smoke"
SMOKE_COMMAND = "nightspot smoke"  # as the run says who asked for it
LONGEST = "90m"  # the job's deadline is an hour, and a stop takes minutes


@grouped
def smoke(
    *,
    job: Annotated[str, typer.Option(metavar="JOB", help="The deployed job that is run.")] = JOB,
    where: Annotated[Where, ("stack", "region", "profile")],
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long to wait at the most.")] = LONGEST,
    as_json: Json = False,
) -> None:
    """Try a fresh deployment: check it, run a cheap job, check all it leaves.

    Names the highest price and asks before it starts. About ten minutes and a few cents.

    Ends with 0 where everything is as it must be, 1 where something is not, else as `nightspot run --wait`.
    """
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes, because nobody is asked")
    way = WaitOrder(wait=True, timeout=timeout)
    way.check()
    show = None if as_json else console_for()
    told: dict[str, Any] = {"ok": False}
    with mistakes(), operating_mistakes():
        place = where.deployed()
        if place.aws is None or place.stack is None:
            raise ValueError("a stack was named")
        visit = _visit(place, place.aws, place.stack, _job_of(place.aws, place.stack, job))
        before = _shown(show, examine(visit))
        told["before"] = findings_as_json(before)["checks"]
        if has_problems(before):
            if as_json:
                print_json(told)
            fail("nothing was started: fix the problems above first")
        price = _price(place, place.aws, visit.jobs[0])
        told |= {"expected_usd": price.expected_usd, "most_usd": price.most_usd}
        _agree(price, yes=yes, as_json=as_json)
        machine_arn = output(place.aws, place.stack, MACHINE_OUTPUT)
        begun = start.start_execution(place, machine_arn, job, {}, requested_by=SMOKE_COMMAND)
        link = follow.console_of(place, begun.execution_arn)
        told |= begun.to_json(link)
        if not as_json:
            start.tell_start(place, begun, wait=True)
        followed = start.followed_to_its_end(place, begun, way, as_json=as_json)
        told |= start.end_as_json(followed)
        status = followed.status
        found: list[CheckFinding] = []
        if followed.record is not None and followed.record.is_over:
            found = _shown(show, aftermath(visit, followed.record, link))
            if status in (ExitStatus.IN_TIME, ExitStatus.LATE) and has_problems(found):
                status = ExitStatus.USER
            if show is not None:
                show_sum(show, found)
        told |= {"after": findings_as_json(found)["checks"], "exit_status": int(status)}
        told["ok"] = status is ExitStatus.IN_TIME
        if as_json:
            print_json(told)
        follow.tell_end(place, begun.run_id, followed, begun.execution_arn)
        raise typer.Exit(status)


def _job_of(aws: Aws, stack: str, name: str) -> Job:
    try:
        deployed = jobs.deployed(aws, stack).jobs
    except DeploymentError as error:
        fail(f"--stack: {error}")
    if name not in deployed:
        known = ", ".join(sorted(deployed)) or "none"
        or_else = f"name one of those, or put {SMOKE_JOB_FILE} into jobs/ and deploy"
        rule = f"must be a job of the stack ({known}); {or_else}"
        fail(f"--job: {name!r}: {rule}")
    return deployed[name]


def _visit(place: Place, aws: Aws, stack: str, job: Job) -> Visit:
    about = (("--region", place.where.region), ("--profile", aws.profile))
    return Visit(
        aws.region,
        aws.client,
        utc_now,
        (CheckedFile(Path(f"{job.name}, as deployed"), job, ()),),
        stack=stack,
        version=__version__,
        options="".join(f" {option} {value}" for option, value in about if value),
    )


def _shown(console: Console | None, findings: Iterable[CheckFinding]) -> list[CheckFinding]:
    """All of them, each printed as it is found: the next one may have to wait for AWS."""
    seen = []
    for finding in findings:
        if console is not None:
            show_finding(console, finding)
        seen.append(finding)
    return seen


def _price(place: Place, aws: Aws, job: Job) -> SmokePrice:
    now = utc_now()
    prices = KeptPrices(load_price_book(), place.table(), region=aws.region, now=utc_now)
    known = prices.known(job.instance_types)
    return price_of(job, lambda kind: known.price(kind, aws.region), aws.region, now.date())


def _agree(price: SmokePrice, *, yes: bool, as_json: bool) -> None:
    typer.echo(f"The run is {price.words}.", err=as_json)
    agree_to_start(yes=yes)
