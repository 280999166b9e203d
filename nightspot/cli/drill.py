"""`nightspot drill`: which training is killed and resumed, here or on AWS, and what may be asked for."""

from __future__ import annotations

import math
import re
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nightspot.aws.drill import Drill
from nightspot.aws.drill_plan import (
    DrillError,
    DrillJobs,
    DrillOutcome,
    DrillPlan,
    DrillResult,
    drill_id,
    plan_drill,
)
from nightspot.aws.prices import load_price_book
from nightspot.cli import account, push
from nightspot.cli._shared import (
    PICTURES,
    ExitStatus,
    Json,
    agree_to_start,
    check_file,
    fail,
    grouped,
    mistakes,
    print_json,
    say,
    seconds_of,
)
from nightspot.cli.runs.place import operating_mistakes
from nightspot.client.access import STACK
from nightspot.costs.account import attempt_cost_usd
from nightspot.drill.grades import Grade
from nightspot.drill.lives import MetricDefinitionError, definitions_of
from nightspot.drill.report import DrillReport, report_of
from nightspot.drill.verdict import DrillEvidence
from nightspot.formats.figures import MINUTE_SECONDS
from nightspot.job.errors import InvalidJobError, nearest
from nightspot.job.markets import Market
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.job.request_shape import training_instance_types
from nightspot.job.rules import not_drilled_here
from nightspot.local import drill as drilling
from nightspot.local.drill import DrillOptions
from nightspot.local.sagemaker.process import CommandError
from nightspot.run.model import STOP_SECONDS
from nightspot.terminal import drill_text
from nightspot.terminal.lines import console_for, paragraph, tell

MARKETS = tuple(market.value for market in Market)
MOST_KILLS = 1000
PICTURES_IN = Path("build/drills")

STATUSES = {
    Grade.EXACT: ExitStatus.IN_TIME,
    Grade.INEXACT: ExitStatus.REMARKS,
    Grade.NOT: ExitStatus.USER,
}
# It sees steps, not the state, and so has no middle grade.
AWS_STATUSES = {
    DrillOutcome.PASSED: ExitStatus.IN_TIME,
    DrillOutcome.FAILED: ExitStatus.USER,
    DrillOutcome.NOT_VISIBLE: ExitStatus.USAGE,
}

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Here:
    """The options of a drill on this machine."""

    kills: Annotated[
        int | None, typer.Option(metavar="N", help="Local: how often the training is killed. [6]")
    ] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Local: draws the kinds and moments of the kills. [7]")
    ] = None
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="R", help="Local: numbers may differ by this share of themselves. [not at all]"),
    ] = None
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Local: for the command, before the job file's; repeatable."),
    ] = None
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Local: the longest one process may take. [10min]")
    ] = None
    grace: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Local: from SIGTERM to SIGKILL; SageMaker's is 2min. [10s]"),
    ] = None
    picture: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Local: the two curves. [build/drills/NAME.png]")
    ] = None
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Local: keep logs and journals in this new folder.")
    ] = None


@dataclass(frozen=True)
class OnAws:
    """The options of a drill on AWS."""

    market: Annotated[
        str | None, typer.Option(metavar="|".join(MARKETS), help="What the drill's jobs buy [on_demand].")
    ] = None
    instance_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Instead of the job's first one of the market.")
    ] = None
    max_minutes: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=40_320, help="The most that each of the two jobs may train. [60]"
        ),
    ] = None
    max_usd: Annotated[
        float | None, typer.Option(metavar="USD", help="Start nothing that could cost more.")
    ] = None
    to_the_end: Annotated[bool, typer.Option("--to-the-end", help="Let the second job train to its end.")] = (
        False
    )
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep in S3 what a passed drill has saved.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs money.")] = False


@grouped
def drill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")],
    *,
    local: Annotated[
        bool, typer.Option("--local", help="On this machine, by local.command; else on AWS.")
    ] = False,
    here: Here,
    there: OnAws,
    asked: account.Asked,
    as_json: Json = False,
) -> None:
    """Kill a training, resume it, compare the results: PASS, INEXACT or FAIL.

    With --local at random moments, in the current directory. Else on AWS: one stop, one resume, for money.
    Exit status: 0 it resumes (PASS), 7 it resumes, not to the bit (INEXACT, --local only), 1 it does not (FAIL),
    2 no answer: bad input, or the drill could not be carried out or could not see it.
    """
    # Options of the other kind of drill would be silently without effect.
    for name, value in ({**vars(there), **vars(asked)} if local else vars(here)).items():
        if value is not None and value is not False:
            rule = "is for a drill on AWS, without --local" if local else "is for a drill with --local"
            raise typer.BadParameter(f"--{name.replace('_', '-')}: {rule}")
    if local:
        _drill_here(file, here, as_json=as_json)
    with bad_input():
        job = load_job(file)
    drill_on_aws(job, there, asked, as_json=as_json)


def _drill_here(file: Path, here: Here, *, as_json: bool) -> NoReturn:
    if here.kills is not None and not 1 <= here.kills <= MOST_KILLS:
        raise typer.BadParameter(f"--kills: {here.kills}: must be a number from 1 to {MOST_KILLS}")
    if here.tolerance is not None and not 0 <= here.tolerance < 1:
        raise typer.BadParameter(f"--tolerance: {here.tolerance:g}: must be a share from 0 to less than 1")
    given: dict[str, Any] = {
        "kills": here.kills,
        "seed": here.seed,
        "tolerance": here.tolerance,
        "limit_seconds": None if here.timeout is None else seconds_of("--timeout", here.timeout),
        "grace_seconds": None if here.grace is None else seconds_of("--grace", here.grace),
        "environment": _environment(here.env or []),
    }
    if here.picture is not None:
        check_file("--picture", here.picture, PICTURES)
    options = DrillOptions(**{name: value for name, value in given.items() if value is not None})
    with bad_input():
        report = play(file, options, picture=here.picture, keep=here.keep, as_json=as_json)
    raise typer.Exit(STATUSES[report.outcome])


@contextmanager
def bad_input() -> Iterator[None]:
    """Inside: what the user can fix ends the command with its words and status 2: status 1 is FAIL."""
    try:
        with mistakes(ExitStatus.USAGE):
            yield
    except (MetricDefinitionError, CommandError) as error:
        fail(str(error), status=ExitStatus.USAGE)


def _environment(given: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _ENVIRONMENT_NAME.fullmatch(name):
            raise typer.BadParameter(
                f"--env: {name!r}: must be NAME=VALUE, with letters, digits and _ in NAME"
            )
        if name in named:
            raise typer.BadParameter(f"--env: {name!r}: must be given only once")
        named[name] = value
    return named


def play(
    file: Path, options: DrillOptions, *, picture: Path | None, keep: Path | None, as_json: bool
) -> DrillReport:
    """Drill the job of `file` and show what came of it.

    Raises InvalidJobError, MetricDefinitionError, CommandError, OSError and typer.BadParameter for what the user
    can fix.
    """
    job = _drillable(file)
    console = console_for()
    with _scratch(keep) as scratch:
        if not as_json:
            drill_text.show_header(console, job.name, str(file), options.kills, options.seed)
        try:
            with nullcontext() if as_json else drill_text.DrillProgress(console) as progress:
                evidence = drilling.drill(
                    job,
                    options,
                    scratch=scratch,
                    directory=Path.cwd(),
                    on_life=(lambda *_: None) if progress is None else progress.life,
                )
        except KeyboardInterrupt:
            typer.echo("interrupted: everything the drill had started is stopped", err=True)
            raise typer.Exit(ExitStatus.INTERRUPTED) from None
    report = report_of(job.name, evidence, {"kills_planned": options.kills, "seed": options.seed})
    drawn = _draw(picture or PICTURES_IN / f"{job.name}.png", evidence, report)
    kept = None if keep is None else str(keep)
    if as_json:
        print_json({**report.as_json(), "picture": drawn, "logs": kept})
    else:
        drill_text.show_report(console, report)
        for title, where in (("Picture", drawn), ("Logs", kept)):
            if where is not None:
                paragraph(console, title, where)
    return report


def _drillable(file: Path) -> Job:
    """Raises InvalidJobError for a job that cannot be drilled here, MetricDefinitionError for its metrics."""
    job = load_job(file)
    if problems := not_drilled_here(job):
        raise InvalidJobError(problems, str(file))
    definitions_of(job.training_job)
    return job


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    """A folder to drill in: the one to be kept, which must be new or empty, or one that goes again."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="nightspot-drill-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise typer.BadParameter(f"--keep: {str(keep)!r}: must be a new or an empty folder")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def _draw(path: Path, evidence: DrillEvidence, report: DrillReport) -> str | None:
    from nightspot.terminal import drill_plot  # noqa: PLC0415 - matplotlib takes a second

    if not drill_plot.can_draw(evidence):
        return None
    drill_plot.draw(path, evidence, report)
    return str(path)


def drill_on_aws(
    job: Job,
    options: OnAws,
    asked: account.Asked,
    *,
    as_json: bool = False,
    aws: account.Aws | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
    token: Callable[[], str] = lambda: secrets.token_hex(4),
) -> NoReturn:
    """Drill `job` on SageMaker, show what came of it, and exit: 0 PASS, 1 FAIL, 2 no answer, 130 Ctrl-C.

    `aws`, `now`, `sleep` (seconds) and `token` (random hexadecimal) are for tests.
    """
    market, kind, max_usd = options.market, options.instance_type, options.max_usd
    if market is not None and market not in MARKETS:
        raise typer.BadParameter(f"--market: {market!r}: must be one of {', '.join(MARKETS)}")
    given = asked.placeholders
    if kind is not None and kind not in (known := training_instance_types()):
        rule = f"must be an instance type that SageMaker trains on{nearest(kind, known)}"
        raise typer.BadParameter(f"--instance-type: {kind!r}: {rule}")
    if max_usd is not None and not 0 < max_usd < math.inf:
        raise typer.BadParameter(f"--max-usd: {max_usd:g}: must be a number of US dollars above 0")

    book = load_price_book()

    def price(kind: str, where: str) -> float | None:
        found = book.usd_per_hour(kind, where)
        return None if found is None else found.usd_per_hour

    aws = aws or account.aws_of(asked.profile, asked.region)
    with mistakes():
        localised = account.localised(job, aws, given, asked.stack)
        ready, store_code = push.with_stored_code(localised, aws, asked.stack or STACK)
        plan = plan_drill(
            ready,
            drill_id=drill_id(now(), token()),
            region=aws.region,
            now=now(),
            price=price,
            market=Market.ON_DEMAND if market is None else Market(market),
            instance_type=kind,
            max_runtime_seconds=(options.max_minutes or 60) * MINUTE_SECONDS,
            to_the_end=options.to_the_end,
        )
    found = book.usd_per_hour(plan.rung.instance_type, aws.region)
    source = "" if found is None else f" ({'assumed: ' if found.assumed else ''}{found.source}, {found.date})"
    _agree(plan, source, max_usd=max_usd, yes=options.yes)
    with operating_mistakes():
        store_code()
    result = _played(plan, aws, keep=options.keep_checkpoints, quiet=as_json, now=now, sleep=sleep)
    _show(plan, result, as_json=as_json)
    raise typer.Exit(AWS_STATUSES[result.verdict.outcome])


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
    agree_to_start(yes=yes)


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
        fail(f"the drill was not carried out: {error}", where, status=ExitStatus.USAGE)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the drill's training jobs are asked to stop; {where}", err=True)
        raise typer.Exit(ExitStatus.INTERRUPTED) from None


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
                "to_the_bit": None,  # the state is in the container
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
    if outcome is DrillOutcome.PASSED:
        paragraph(
            console, "note", "The steps were compared, not the state: `nightspot drill --local` does that."
        )
    for note in result.notes:
        paragraph(console, "note", note)
    paragraph(console, "cost", "not known" if cost_usd is None else f"${cost_usd:,.2f}")
    paragraph(console, "files", "deleted" if not result.kept else f"in {' and '.join(result.kept)}")
