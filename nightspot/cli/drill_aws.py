"""`nightspot drill` on AWS: what is agreed before anything is paid for, how the drill is shown, how it ends."""

from __future__ import annotations

import math
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer

from nightspot.aws.drill import Drill
from nightspot.aws.drill_plan import DrillError, DrillJobs, DrillPlan, DrillResult, drill_id, plan_drill
from nightspot.aws.prices import load_price_book
from nightspot.cli import account
from nightspot.cli._shared import fail, mistakes, print_json, say
from nightspot.costs.account import attempt_cost_usd
from nightspot.formats.figures import MINUTE_SECONDS
from nightspot.job.errors import nearest
from nightspot.job.markets import Market as MarketName
from nightspot.job.model import Job
from nightspot.job.request_shape import training_instance_types
from nightspot.run.model import STOP_SECONDS
from nightspot.terminal.lines import console_for, paragraph, tell

INTERRUPTED = 130  # as shells count it: 128 + SIGINT
MARKETS = tuple(market.value for market in MarketName)

# The options of the command that are about AWS alone.
Market = Annotated[
    str | None, typer.Option(metavar="|".join(MARKETS), help="What the drill's jobs buy [on_demand].")
]
InstanceType = Annotated[
    str | None, typer.Option(metavar="TYPE", help="Instead of the job's first one of the market.")
]
MaxMinutes = Annotated[
    int, typer.Option(metavar="N", min=1, max=40_320, help="The most that each of the two jobs may train.")
]
MaxUsd = Annotated[float | None, typer.Option(metavar="USD", help="Start nothing that could cost more.")]
ToTheEnd = Annotated[bool, typer.Option("--to-the-end", help="Let the second job train to its end.")]
KeepCheckpoints = Annotated[
    bool, typer.Option("--keep-checkpoints", help="Keep in S3 what a passed drill has saved.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs money.")]


def drill_on_aws(
    job: Job,
    *,
    market: str | None = None,
    instance_type: str | None = None,
    max_minutes: int = 60,
    max_usd: float | None = None,
    to_the_end: bool = False,
    keep_checkpoints: bool = False,
    yes: bool = False,
    placeholders: list[str] | None = None,
    stack: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    as_json: bool = False,
    aws: account.Aws | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
    token: Callable[[], str] = lambda: secrets.token_hex(4),
) -> NoReturn:
    """Drill `job` on SageMaker, show what came of it, and exit: 0 for PASS, else 1 (2: a bad option, 130: Ctrl-C).

    The arguments up to `as_json` are the command's options; `aws`, `now`, `sleep` (seconds) and `token` (random
    hexadecimal) are for tests.
    """
    chosen, given = _market_of(market), account.named(placeholders or [])
    _check_type(instance_type)
    if max_usd is not None and not 0 < max_usd < math.inf:
        raise typer.BadParameter(f"--max-usd: {max_usd:g}: must be a number of US dollars above 0")

    # AWS's SDK takes a second to load, which the other commands do without.
    book = load_price_book()

    def price(kind: str, where: str) -> float | None:
        found = book.usd_per_hour(kind, where)
        return None if found is None else found.usd_per_hour

    asked = aws or account.aws_of(profile, region)
    with mistakes():
        plan = plan_drill(
            account.localised(job, asked, given, stack),
            drill_id=drill_id(now(), token()),
            region=asked.region,
            now=now(),
            price=price,
            market=chosen,
            instance_type=instance_type,
            max_runtime_seconds=max_minutes * MINUTE_SECONDS,
            to_the_end=to_the_end,
        )
    found = book.usd_per_hour(plan.rung.instance_type, asked.region)
    source = "" if found is None else f" ({'assumed: ' if found.assumed else ''}{found.source}, {found.date})"
    _agree(plan, source, max_usd=max_usd, yes=yes)
    result = _played(plan, asked, keep=keep_checkpoints, quiet=as_json, now=now, sleep=sleep)
    _show(plan, result, as_json=as_json)
    raise typer.Exit(0 if result.verdict.outcome.value == "pass" else 1)


def _agree(plan: DrillPlan, source: str, *, max_usd: float | None, yes: bool) -> None:
    """Say what it costs at most; go on only if that is within --max-usd, and somebody says yes."""
    most = plan.most_usd
    if max_usd is not None and (most is None or most > max_usd):
        if most is None:
            kind = plan.rung.instance_type
            fail(f"--max-usd: {max_usd:g}: cannot be kept: no price of {kind} in {plan.rung.region} is known")
        seconds = plan.max_runtime_seconds * max_usd / most - STOP_SECONDS * (1 - max_usd / most)
        minutes = math.floor(seconds / MINUTE_SECONDS)
        way = f"--max-minutes {minutes}" if minutes >= 1 else "a cheaper --instance-type"
        fail(f"--max-usd: {max_usd:g}: the drill could cost ${most:,.2f}; {way} makes it fit")
    typer.echo(f"The drill costs {plan.price_in_words}{source}.", err=True)
    typer.echo(f"Its checkpoints go to {plan.checkpoint_uri}/.", err=True)
    if yes:
        return
    try:
        agreed = typer.confirm("Start it?", err=True)
    except typer.Abort:
        fail("nothing was started: where nobody can answer, say --yes")
    if not agreed:
        fail("nothing was started")


def _played(
    plan: DrillPlan,
    aws: account.Aws,
    *,
    keep: bool,
    quiet: bool,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> DrillResult:
    console = console_for()
    drill = Drill(
        plan,
        DrillJobs(aws.client("sagemaker"), aws.client("s3"), sleep=sleep),
        now=now,
        sleep=sleep,
        tell=(lambda _at, _text: None) if quiet else lambda at, text: tell(console, at, "drill", text),
        on_left=lambda name, why: _warn_of(name, why, aws),
    )
    where = f"what it has saved lies in {plan.checkpoint_uri}/"
    try:
        with _terminations_as_interrupts():
            return drill.play(keep=keep)
    except DrillError as error:
        fail(f"the drill was not carried out: {error}", where)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the drill's training jobs are told to stop; {where}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _warn_of(name: str, why: str, aws: account.Aws) -> None:
    profile = f" --profile {aws.profile}" if aws.profile else ""
    command = f"aws sagemaker stop-training-job --training-job-name {name} --region {aws.region}{profile}"
    say(f"{name} MAY STILL BE RUNNING, which costs money: {why}", err=True, fg="red")
    say(f"stop it: {command}", err=True, fg="red")


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """Inside: what ends a process (a cancelled CI job, a closed terminal) is Ctrl-C, so that jobs are stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in taken]
    try:
        yield
    finally:
        for number, handler in zip(taken, before, strict=True):
            signal.signal(number, handler)


def _show(plan: DrillPlan, result: DrillResult, *, as_json: bool) -> None:
    costs = [attempt_cost_usd(attempt) for attempt in result.run.attempts]
    known = [usd for usd in costs if usd is not None]
    cost_usd = sum(known) if len(known) == len(costs) else None
    outcome = result.verdict.outcome
    if as_json:
        print_json(
            {
                "outcome": outcome.value,
                "because": result.verdict.because,
                "notes": list(result.notes),
                "job": result.run.job,
                "drill": result.run.run_id,
                "market": plan.rung.market.value,
                "instance_type": plan.rung.instance_type,
                "region": plan.rung.region,
                "cost_usd": cost_usd,
                "most_usd": plan.most_usd,
                "kept": list(result.kept),
                "training_jobs": [
                    {
                        "name": attempt.training_job_name,
                        "status": attempt.status,
                        "resumed_from_step": attempt.resumed_from_step,
                        "step_after": attempt.step_after,
                        "trained_seconds": attempt.trained_seconds,
                        "billable_seconds": attempt.billable_seconds,
                    }
                    for attempt in result.run.attempts
                ],
            }
        )
        return
    console = console_for()
    style = "bold green" if outcome.value == "pass" else "bold red"
    paragraph(console, outcome.value.replace("_", " ").upper(), f"{result.verdict.because}.", style)
    for note in result.notes:
        paragraph(console, "note", note)
    paragraph(console, "cost", "not known" if cost_usd is None else f"${cost_usd:,.2f}")
    paragraph(console, "files", "deleted" if not result.kept else f"in {' and '.join(result.kept)}")


def _market_of(text: str | None) -> MarketName:
    if text is not None and text not in MARKETS:
        raise typer.BadParameter(f"--market: {text!r}: must be one of {', '.join(MARKETS)}")
    return MarketName.ON_DEMAND if text is None else MarketName(text)


def _check_type(name: str | None) -> None:
    if name is None:
        return
    known = training_instance_types()
    if name not in known:
        rule = f"must be an instance type that SageMaker trains on{nearest(name, known)}"
        raise typer.BadParameter(f"--instance-type: {name!r}: {rule}")
