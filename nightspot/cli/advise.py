"""`nightspot advise`: for which job advice is asked, what is known beside its file, and how it is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nightspot.advise.advice import advise as advised
from nightspot.advise.advice import as_json as document_of
from nightspot.advise.question import Band, Economics, Hints, PlanRoom, Question
from nightspot.aws.prices import load_price_book
from nightspot.cli import account
from nightspot.cli._shared import ExitStatus, Json, check_file, fail, mistakes, print_json, seconds_of
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.market.model import MarketValueError
from nightspot.market.night import SimulationError
from nightspot.market.samples import BacktestError, from_traces
from nightspot.record.model import RecordNotReadableError, RunRecord, read_record
from nightspot.run.pricing import Basis, SpotDiscount
from nightspot.terminal import advise_text
from nightspot.terminal.lines import console_for, paragraph

REGION = "eu-west-1"
BANDS = ("<5", "5-10", "10-15", "15-20", ">20")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?|\.\d{1,9}) ?(%?)")


def advise(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")],
    *,
    region: Annotated[str, typer.Option(metavar="REGION", help="Whose prices count.")] = REGION,
    nights: Annotated[
        float | None, typer.Option(metavar="N", help="A month, instead of the schedule's.")
    ] = None,
    window: Annotated[
        str | None, typer.Option(metavar="DURATION", help="From start to deadline, where the file is silent.")
    ] = None,
    spot_price: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Spot over on-demand: 0.35 or 35%. [history, or 0.35]")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Your own availability traces (JSON), file or folder.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Summaries of past runs on AWS: a JSON list.")
    ] = None,
    drill: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `nightspot drill --json` wrote.")
    ] = None,
    placement_score: Annotated[
        int | None, typer.Option(metavar="1-10", help="EC2's Spot placement score of the type: a hint.")
    ] = None,
    interruption_band: Annotated[
        str | None,
        typer.Option(metavar="BAND", help=f"EC2's Spot Instance Advisor: {', '.join(BANDS)} (%): a hint."),
    ] = None,
    zones: Annotated[
        int | None, typer.Option(metavar="N", help="Availability zones that the job may be trained in.")
    ] = None,
    ec2_spot_usd_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", help="EC2's Spot price of one machine.")
    ] = None,
    savings_plan: Annotated[
        PlanRoom | None,
        typer.Option(help="What your active Savings Plan has left for the job. [no plan]"),
    ] = None,
    on_demand_queue: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="The longest wait for on-demand, one start in four; 0: none. [history, or 1h]",
        ),
    ] = None,
    failed_night_usd: Annotated[
        float | None,
        typer.Option(metavar="USD", help="A night without a model in time. [two engineer's hours]"),
    ] = None,
    engineer_usd_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", help="An hour of an engineer. [100]")
    ] = None,
    setup_hours: Annotated[
        float | None, typer.Option(metavar="H", help="To set up managed Spot with Nightspot. [16]")
    ] = None,
    operate_hours: Annotated[
        float | None, typer.Option(metavar="H", help="To look after it, a month. [1]")
    ] = None,
    save_time: Annotated[
        str | None, typer.Option(metavar="DURATION", help="What writing a checkpoint takes. [30s]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the nights.")] = 7,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page, too.")] = None,
    as_json: Json = False,
) -> None:
    """Is Spot right for this job? The options side by side, in USD.

    Five filters, the cost a month, and a worked month.

    Played on this machine, with shipped prices; every figure says whether it is measured, priced or assumed.
    The exit status is 0 whether the advice is yes or no.
    """
    for option, number, least in (
        ("--nights", nights, 0.1),
        ("--zones", zones, 1),
        ("--placement-score", placement_score, 1),
        ("--ec2-spot-usd-per-hour", ec2_spot_usd_per_hour, 0.0001),
        ("--failed-night-usd", failed_night_usd, 0),
        ("--engineer-usd-per-hour", engineer_usd_per_hour, 0),
        ("--setup-hours", setup_hours, 0),
        ("--operate-hours", operate_hours, 0),
    ):
        _check(option, number, least)
    account.check_region(region)
    if interruption_band is not None and interruption_band not in BANDS:
        rule = f"must be one of {', '.join(BANDS)}"
        raise typer.BadParameter(f"--interruption-band: {interruption_band!r}: {rule}")
    if html is not None:
        check_file("--html", html, (".html", ".htm"), in_folder=True)
    given = {
        "failed_night_usd": failed_night_usd,
        "engineer_usd_per_hour": engineer_usd_per_hour,
        "setup_hours": setup_hours,
        "operate_hours": operate_hours,
    }
    window_seconds = None if window is None else float(seconds_of("--window", window))
    save_seconds = 30.0 if save_time is None else float(seconds_of("--save-time", save_time))
    queue_seconds = None if on_demand_queue is None else _queue(on_demand_queue)
    spot_ratio = _ratio(spot_price)
    economics = {name: value for name, value in given.items() if value is not None}
    now = datetime.now(UTC)
    with _refusals(file):
        job = load_job(file)
        question = Question(
            job=job,
            price=load_price_book().usd_per_hour,
            region=region,
            today=now.date(),
            history=_history(history, job) if history else (),
            drill=_drill(drill, job) if drill else None,
            zones=from_traces(traces) if traces else (),
            hints=Hints(
                placement_score=placement_score,
                band=None if interruption_band is None else Band(interruption_band),
                zones=zones,
                spot_discount=_discount(spot_ratio, now),
                ec2_spot_usd_per_hour=ec2_spot_usd_per_hour,
                plan_room=savings_plan,
                on_demand_queue_seconds=queue_seconds,
            ),
            economics=Economics(**economics, are_given=frozenset(economics)),
            nights=nights,
            window_seconds=window_seconds,
            save_seconds=save_seconds,
            seed=seed,
        )
        advice = advised(question)
        if html is not None:
            html.write_text(advise_text.page(advice), encoding="utf-8")
    if as_json:
        print_json(document_of(advice))
        return
    console = console_for()
    advise_text.show(console, advice)
    if html is not None:
        paragraph(console, "Page", str(html))


# The most that means anything: more nights than minutes, a machine for more than any costs, and so on.
_MOST = {"--nights": 45_000, "--zones": 12, "--placement-score": 10}
_MOST_ELSE = 1_000_000


def _check(option: str, number: float | None, least: float) -> None:
    most = _MOST.get(option, _MOST_ELSE)
    if number is not None and not least <= number <= most:
        raise typer.BadParameter(f"{option}: {number:g}: must be a number from {least:g} to {most:,}")


def _queue(text: str) -> float:
    return 0.0 if text.strip() == "0" else float(seconds_of("--on-demand-queue", text))


def _ratio(text: str | None) -> float | None:
    """The number of `0.35` or `35%`."""
    if text is None:
        return None
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0.01 <= value <= 1:
        raise typer.BadParameter(
            f"--spot-price: {text!r}: must be a share from 0.01 to 1, such as 0.35 or 35%"
        )
    return value


# The option that a field of the setting stands for.
OPTION_OF = {"window_seconds": "--window", "spot_ratio": "--spot-price"}


def _discount(ratio: float | None, now: datetime) -> SpotDiscount | None:
    return None if ratio is None else SpotDiscount(1 - ratio, Basis.ASSUMED, "given by you", now.date())


def _history(path: Path, job: Job) -> list[RunRecord]:
    """This job's runs on AWS: a list of records, or a mapping with `runs`."""
    document = _json(path, "--history")
    runs = document.get("runs") if isinstance(document, dict) else document
    if not isinstance(runs, list):
        refuse(f"--history: {path}: must be a JSON list of run summaries, or an object with `runs`")
    records: list[RunRecord] = []
    for n, run in enumerate(runs):
        if not isinstance(run, dict) or not isinstance(run.get("attempts"), list):
            refuse(f"--history: {path}: [{n}]: must be a run's summary, an object with `attempts`")
        if run.get("simulated"):
            refuse(
                f"--history: {path}: [{n}].simulated: true: must be a run on AWS, nights played here prove nothing"
            )
        try:
            records.append(read_record(run))
        except RecordNotReadableError as error:
            refuse(f"--history: {path}: [{n}].{error}")
    own = [run for run in records if run.job == job.name]
    if runs and not own:
        refuse(f"--history: {path}: {len(runs)} run(s): none of them is of the job {job.name}")
    return own


def _drill(path: Path, job: Job) -> Mapping[str, Any]:
    document = _json(path, "--drill")
    outcome = document.get("outcome") if isinstance(document, dict) else None
    if str(outcome).upper() not in ("PASS", "INEXACT", "FAIL"):
        rule = "must be PASS, INEXACT or FAIL, as `nightspot drill --json` writes it"
        refuse(f"--drill: {path}: outcome: {outcome!r}: {rule}")
    report: Mapping[str, Any] = document
    if report.get("job") not in (None, job.name):
        refuse(f"--drill: {path}: job: {report['job']!r}: must be {job.name!r}, the job of the file")
    return report


def _json(path: Path, option: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        refuse(f"{option}: {path}: must be JSON in UTF-8: {error}")


@contextmanager
def _refusals(file: Path) -> Iterator[None]:
    """Inside: what cannot be answered ends the command with field, value and rule."""
    try:
        with mistakes(ExitStatus.USAGE):
            yield
    except BacktestError as error:
        field, _, rule = str(error).partition(": ")
        refuse(f"{OPTION_OF.get(field, f'{file}: {field}')}: {rule}")
    except MarketValueError as error:
        refuse(f"--traces: {error}")
    except SimulationError as error:
        refuse(f"{file}: a run of this job does not end: {error}")


def refuse(text: str) -> NoReturn:
    """End the command with this text on standard error, and status 2: 1 would be an answer elsewhere."""
    fail(text, status=ExitStatus.USAGE)
