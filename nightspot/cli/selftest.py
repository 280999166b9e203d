"""`nightspot selftest`: which checks are made, what they may cost, and what came out."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.prices import load_price_book
from nightspot.aws.runs.api_client import ApiClient
from nightspot.cli import account
from nightspot.cli._shared import ExitStatus, Json, agree_to_start, fail, print_json
from nightspot.facts.files import write_facts_file
from nightspot.facts.model import Verdict
from nightspot.failures.redaction import redact
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.model import WHAT, Check, Choice, Part, Result
from nightspot.selftest.running import Report, play, worst_usd
from nightspot.selftest.workspace import Workspace
from nightspot.terminal.lines import console_for, plain_table

# What the book does not have: of a type that it has elsewhere, so many times the dearest region of the book, more
# than AWS's regions differ; of any other type, dearer than what is used.
REGIONS_DIFFER = 1.5
ASSUMED_USD_PER_HOUR = 2.0
_PARALLEL = 2  # small accounts may have four machines of the type at once

Price = Callable[[str], float]


def selftest(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="List the checks, and ask nobody.")] = False,
    part: Annotated[
        list[Part] | None, typer.Option(metavar="A|B|C", help="Only this part; may be repeated.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this check; may be repeated.")
    ] = None,
    max_usd: Annotated[float, typer.Option(metavar="USD", min=0, help="The most that it may cost.")] = 1.0,
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="A deployed Nightspot, for the checks that need one.")
    ] = None,
    kms: Annotated[
        bool, typer.Option("--kms", help="Make a key and delete it: a key costs $1 a month.")
    ] = False,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Make no checks: stop and remove what a killed self-test has left."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    image: Annotated[
        str | None, typer.Option(metavar="URI", help="Of the jobs of part C: an image with python3.")
    ] = None,
    builtin_image: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Of an algorithm of SageMaker's that cannot checkpoint, for B7."),
    ] = None,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the facts file goes.")] = Path("facts"),
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Json = False,
) -> None:
    """Ask AWS about the facts that Nightspot rests on: for cents, in your account.

    It names its highest price first, and leaves nothing behind.
    """
    options = frozenset({"kms", "only"} if plan else {"kms"} if kms else ())
    choice = Choice(frozenset(part or Part), frozenset(only or ()), options, stack is not None or plan)
    try:
        checks = choice.of(CHECKS)
    except ValueError as error:
        raise typer.BadParameter(f"--only: {error}") from error
    if plan:
        account.check_region(region)
        _show_plan(checks, price_in(region or os.environ.get("AWS_REGION", "us-east-1")), as_json=as_json)
        return
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes, because nobody is asked")
    aws = account.aws_of(profile, region)
    price = price_in(aws.region)
    if clean:
        _clean(workspace_of(aws, price, needs_image=False), yes=yes)
        return
    _within(checks, price, max_usd)
    workspace = workspace_of(
        aws, price, stack, image, builtin_image, needs_image=any(check.part is Part.C for check in checks)
    )
    worst = worst_usd(checks, price)
    console = console_for()
    if not as_json:
        console.print(
            f"{len(checks)} checks in {aws.region}, at most ${worst:.2f}; what they make is removed."
        )
        workspace.say = console.print
    agree_to_start(yes=yes)
    report = play(workspace, checks, parallel=_PARALLEL, on_result=_silent if as_json else _show_result)
    _finish(report, workspace, folder, as_json=as_json)


def _clean(workspace: Workspace, *, yes: bool) -> None:
    try:
        found = workspace.find_left()
    except (ClientError, BotoCoreError) as error:
        fail(f"--clean: {redact(str(error))}")
    console = console_for()
    for kind, name in found:
        console.print(f"{kind} {name}")
    if not found:
        console.print(f"Nothing of a self-test is left in {workspace.region}.")
        return
    if not yes and not typer.confirm("Stop and remove all of that?"):
        raise typer.Exit(ExitStatus.USER)
    if left := workspace.clean_up():
        fail(*(f"left behind: {each}" for each in left), status=ExitStatus.SERVICE)
    console.print("All of it is removed.")


def _silent(_result: Result) -> None:
    """With --json nothing but the file is printed."""


def _within(checks: Sequence[Check], price: Price, max_usd: float) -> None:
    worst = worst_usd(checks, price)
    if worst > max_usd:
        fail(
            f"--max-usd: {max_usd:g}: the checks may cost up to ${worst:.2f}; raise it, or choose fewer with "
            "--part or --only"
        )


def price_in(region: str) -> Price:
    """On-demand prices of the region, from the shipped book, or an upper bound: the book has few regions."""
    book = load_price_book()

    def price(instance_type: str) -> float:
        if (known := book.usd_per_hour(instance_type, region)) is not None:
            return known.usd_per_hour
        elsewhere = [each.usd_per_hour for (name, _), each in book.prices.items() if name == instance_type]
        return REGIONS_DIFFER * max(elsewhere) if elsewhere else ASSUMED_USD_PER_HOUR

    return price


def workspace_of(
    aws: account.Aws,
    price: Price,
    stack: str | None = None,
    image: str | None = None,
    builtin_image: str | None = None,
    *,
    needs_image: bool = True,
) -> Workspace:
    """The workspace of an account. Ends the command where AWS does not say whose it is."""
    emulator = os.environ.get("AWS_ENDPOINT_URL", "")
    # An emulator has one host name for everything.
    usual: dict[str, Any] = {"connect_timeout": 5, "inject_host_prefix": not emulator}
    patient = Config(**usual, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
    hasty = Config(**usual, read_timeout=20, max_pool_connections=60, retries={"total_max_attempts": 1})
    session = account.session_named(aws.profile, aws.region)

    def clients(config: Config) -> Callable[[str], Any]:
        @cache
        def client(service: str) -> Any:
            name, _, elsewhere = service.partition("@")
            return session.client(name, region_name=elsewhere or aws.region, config=config)

        return client

    client = clients(patient)
    try:
        account_id = str(client("sts").get_caller_identity()["Account"])
    except (ClientError, BotoCoreError) as error:
        fail(f"AWS does not say whose account this is: {redact(str(error))}")
    return Workspace(
        client,
        aws.region,
        account_id,
        secrets.token_hex(3),
        image=image or (probe_image(aws.region) if needs_image else ""),
        builtin_image=builtin_image or "",
        hasty=clients(hasty),
        stack=stack,
        emulator=emulator,
        price=price,
        api=lambda url: ApiClient(url, credentials=session.get_credentials(), region=aws.region),
    )


def probe_image(region: str) -> str:
    """One of AWS's Deep Learning Containers, as jobs/smoke.yaml has it."""
    try:
        from aws_cdk.region_info import RegionInfo  # noqa: PLC0415 - seconds, and only with nightspot[cdk]
    except ImportError:
        fail("--image: must be given without nightspot[cdk]: an image with python3 that SageMaker may pull")
    owner = RegionInfo.get(region).dlc_repository_account
    if owner is None:
        fail(f"--image: must be given: CDK's table does not know AWS's containers in {region}")
    host = f"{owner}.dkr.ecr.{region}.amazonaws.com"
    return f"{host}/pytorch-training:2.8.0-cpu-py312-ubuntu22.04-sagemaker"


def _show_plan(checks: Sequence[Check], price: Price, *, as_json: bool) -> None:
    if as_json:
        print_json([_plan_as_json(check, price) for check in checks])
        return
    console = console_for()
    for each in Part:
        mine = [check for check in checks if check.part is each]
        if not mine:
            continue
        console.print(f"{each}: {WHAT[each]}", style="bold")
        for check in mine:
            usd = check.worst_usd(price)
            extra = (
                f", with --{check.opt_in}" if check.opt_in else ", with --stack" if check.needs_stack else ""
            )
            console.print(f"\n  {check.id}  {check.question}", style="bold")
            console.print(f"      {check.minutes:g} min, at most ${usd:.3f}{extra}")
            console.print(f"      calls: {', '.join(check.calls)}")
            for fact in check.known_facts:
                console.print(f"      {fact.id}: {fact.question}")
                console.print(f"          designed for {fact.designed}; safe: {fact.safe}")
                console.print(f"          rests on it: {', '.join(fact.used_by) or 'no constant'}")
        console.print()
    minutes = sum(check.minutes for check in checks)
    console.print(
        f"{len(checks)} checks, {minutes:.0f} min one after the other, at most ${worst_usd(checks, price):.2f}."
    )


def _plan_as_json(check: Check, price: Price) -> dict[str, Any]:
    return {
        "id": check.id,
        "question": check.question,
        "calls": list(check.calls),
        "minutes": check.minutes,
        "most_usd": round(check.worst_usd(price), 4),
        "only_with": f"--{check.opt_in}" if check.opt_in else "--stack" if check.needs_stack else None,
        "facts": [
            {
                "id": fact.id,
                "question": fact.question,
                "designed": str(fact.designed),
                "safe": str(fact.safe),
                "used_by": list(fact.used_by),
            }
            for fact in check.known_facts
        ],
    }


_STYLES = {
    Verdict.BREAKS: "bold red",
    Verdict.SAFE: "yellow",
    Verdict.AS_DESIGNED: "green",
    Verdict.NOT_TRIED: "dim",
}


def _show_result(result: Result) -> None:
    console = console_for()
    console.print(f"{result.check.id:<4}{result.verdict}  {result.because}", style=_STYLES[result.verdict])
    for seen in result.observations:
        if seen.verdict in {Verdict.BREAKS, Verdict.SAFE}:
            console.print(f"      {seen.question}: {seen.words} (accepted: {seen.accepted})")
            console.print(f"      {'; '.join(seen.evidence)[:300]}")


def _finish(report: Report, workspace: Workspace, folder: Path, *, as_json: bool) -> None:
    """Keep what AWS has answered, and end the command. What an emulator answers is no fact, and not kept."""
    path = None if workspace.emulator else _kept(report, workspace, folder)
    if as_json:
        print_json(report.file.model_dump(mode="json"))
    else:
        _show_end(report, path)
    if report.interrupted:
        raise typer.Exit(ExitStatus.INTERRUPTED)
    if report.file.left_behind:
        raise typer.Exit(ExitStatus.SERVICE)
    if any(result.verdict is Verdict.BREAKS for result in report.results):
        raise typer.Exit(ExitStatus.USER)


def _kept(report: Report, workspace: Workspace, folder: Path) -> Path:
    for name, text in workspace.cassettes.items():
        path = folder / "cassettes" / re.sub(r"[^\w.-]", "-", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return write_facts_file(report.file, folder)


def _show_end(report: Report, path: Path | None) -> None:
    console = console_for()
    table = plain_table(with_headings=False)
    table.add_column()
    table.add_column(justify="right")
    for verdict in Verdict:
        table.add_row(str(verdict), str(sum(result.verdict is verdict for result in report.results)))
    console.print(table)
    where = f"The facts file: {path}" if path else "This was an emulator: no facts file is written."
    console.print(f"Billed: ${report.file.usd:.3f}. {where}")
    for left in report.file.left_behind:
        console.print(f"LEFT BEHIND: {left}", style="bold red")
