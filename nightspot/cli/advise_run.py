"""Decides how advice that was asked for is given: what is read, shown and, where it cannot be, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from nightspot.advise.advice import Advice, as_json
from nightspot.advise.advice import advise as advised
from nightspot.advise.question import Band, Economics, Hints, Question
from nightspot.aws.prices.prices import load_price_book
from nightspot.cli._shared import print_json
from nightspot.job.errors import InvalidJobError
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.market.availability import AvailabilityError
from nightspot.market.night import NightError
from nightspot.market.samples import BacktestError
from nightspot.market.traces import TraceError
from nightspot.market.zones import from_traces
from nightspot.record.model import RecordNotReadableError, RunRecord, read_record
from nightspot.run.pricing import Basis, SpotDiscount
from nightspot.terminal import advise_text
from nightspot.terminal.lines import console_for

BAD_INPUT = 2
# The option that a field of the setting stands for.
OPTION_OF = {"window_seconds": "--window", "spot_ratio": "--spot-price"}


@dataclass(frozen=True)
class Order:
    """What was asked for, as the options have it; None where nothing was said."""

    file: Path
    region: str
    nights: float | None
    window_seconds: float | None
    spot_ratio: float | None
    traces: Path | None
    history: Path | None
    drill: Path | None
    placement_score: int | None
    band: str | None
    zones: int | None
    ec2_spot_usd_per_hour: float | None
    economics: Mapping[str, float]
    save_seconds: float | None
    seed: int
    html: Path | None
    as_json: bool


def answer(order: Order) -> None:
    """Give the advice; ends the command with status 2 where something that was given makes no sense."""
    with _refusals(order):
        advice = advised(question_of(order, datetime.now(UTC)))
        if order.html is not None:
            order.html.write_text(advise_text.page(advice), encoding="utf-8")
    _show(order, advice)


def _show(order: Order, advice: Advice) -> None:
    if order.as_json:
        print_json(as_json(advice))
        return
    console = console_for()
    advise_text.show(console, advice)
    if order.html is not None:
        advise_text.show_page(console, str(order.html))


def question_of(order: Order, now: datetime) -> Question:
    """The question that was asked, at `now` (aware)."""
    job = load_job(order.file)
    economics = Economics(**order.economics, are_given=frozenset(order.economics))
    return Question(
        job=job,
        price=load_price_book().usd_per_hour,
        region=order.region,
        today=now.date(),
        history=_history(order.history, job) if order.history else (),
        drill=_drill(order.drill, job) if order.drill else None,
        zones=from_traces(order.traces) if order.traces else (),
        hints=Hints(
            placement_score=order.placement_score,
            band=None if order.band is None else Band(order.band),
            zones=order.zones,
            spot_discount=_discount(order.spot_ratio, now),
            ec2_spot_usd_per_hour=order.ec2_spot_usd_per_hour,
        ),
        economics=economics,
        nights=order.nights,
        window_seconds=order.window_seconds,
        save_seconds=30.0 if order.save_seconds is None else order.save_seconds,
        seed=order.seed,
    )


def _discount(ratio: float | None, now: datetime) -> SpotDiscount | None:
    return None if ratio is None else SpotDiscount(1 - ratio, Basis.ASSUMED, "given by you", now.date())


def _history(path: Path, job: Job) -> list[RunRecord]:
    """This job's runs on AWS: a list of records, or a mapping with `runs`."""
    document = _json(path, "--history")
    runs = document.get("runs") if isinstance(document, dict) else document
    if not isinstance(runs, list):
        refuse(f"--history: {path}: must be a JSON list of run summaries, or an object with `runs`")
    for n, run in enumerate(runs):
        if not isinstance(run, dict) or not isinstance(run.get("attempts"), list):
            refuse(f"--history: {path}: [{n}]: must be a run's summary, an object with `attempts`")
        if run.get("simulated"):
            refuse(
                f"--history: {path}: [{n}].simulated: true: must be a run on AWS, nights played here prove nothing"
            )
    try:
        own = [run for run in map(read_record, runs) if run.job == job.name]
    except RecordNotReadableError as error:
        refuse(f"--history: {path}: {error}")
    if runs and not own:
        refuse(f"--history: {path}: {len(runs)} run(s): none of them is of the job {job.name}")
    return own


def _drill(path: Path, job: Job) -> Mapping[str, Any]:
    document = _json(path, "--drill")
    outcome = document.get("outcome") if isinstance(document, dict) else None
    if outcome not in ("PASS", "FAIL"):
        refuse(
            f"--drill: {path}: outcome: {outcome!r}: must be PASS or FAIL, as `nightspot drill --json` writes it"
        )
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
def _refusals(order: Order) -> Iterator[None]:
    """Inside: what cannot be answered ends the command with field, value and rule."""
    try:
        yield
    except InvalidJobError as error:
        refuse(*(f"{error.source}: {problem}" for problem in error.problems))
    except BacktestError as error:
        field, _, rule = str(error).partition(": ")
        refuse(f"{OPTION_OF.get(field, f'{order.file}: {field}')}: {rule}")
    except (TraceError, AvailabilityError) as error:
        refuse(f"--traces: {error}")
    except NightError as error:
        refuse(f"{order.file}: a night of this job does not come to its end: {error}")
    except OSError as error:
        refuse(f"{error.filename or 'file'}: {error.strerror or error}")


def refuse(*lines: str) -> NoReturn:
    """End the command with these lines on standard error, and status 2: 1 would be an answer elsewhere."""
    for line in lines:
        typer.secho(f"error: {line}", err=True, fg="red")
    raise typer.Exit(BAD_INPUT)
