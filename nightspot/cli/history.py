"""`nightspot history`: what plans learn from a job's past runs, from which of them, and what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.cli import completion
from nightspot.cli._shared import Json, grouped, mistakes, print_json
from nightspot.cli.runs.place import LOCAL_RECORDS, Place, Where, operating_mistakes, record_of
from nightspot.formats.figures import day, duration, format_duration, percent
from nightspot.job.markets import Market
from nightspot.job.model import InstanceType, Job
from nightspot.job.reading import load_job, load_jobs
from nightspot.learn import history as machines
from nightspot.learn.history import LEARNT_FROM, LearntStart, teaches
from nightspot.learn.identity import work_key_in
from nightspot.learn.work import UNLEARNT_WORK_MARGIN, LearntWork, WorkSeen, learnt_work, what_it_says
from nightspot.local.stage import records
from nightspot.record.model import RunRecord
from nightspot.run.pricing import SpotDiscount
from nightspot.terminal.lines import console_for, plain_table


@dataclass(frozen=True)
class RungHistory:
    """What past runs teach of one type in one market."""

    market: Market
    spec: InstanceType
    start: LearntStart
    stated_seconds: int
    patience_seconds: int
    mean_life_seconds: float | None
    discount: SpotDiscount | None


@grouped
def history(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="A job file, or the name of one in jobs/.", autocompletion=completion.jobs
        ),
    ],
    *,
    forget: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Take this run out of what later plans learn from, for good."),
    ] = None,
    where: Where,
    as_json: Json = False,
) -> None:
    """Show what plans learn from a job's past runs; --forget takes one out.

    The last 60 runs that started a training job count. Figures of the work come from runs with the same work to do:
    the same algorithm, channels and hyperparameters as in the newest of them, and the same `work` in the job file.
    """
    with mistakes(), operating_mistakes():
        chosen = _job(job)
        place = where.place()
        if forget is not None:
            _forget(place, record_of(place, forget), chosen)
        runs = [run for run in place.source.runs(chosen.name, None) if run.attempts]
    taught = [run for run in runs if teaches(run)][:LEARNT_FROM]
    listed_ids = {run.run_id for run in taught}
    runs = [run for run in runs if run.forgotten or run.run_id in listed_ids]
    key = work_key_in(taught) or ""
    work = learnt_work(chosen, key, taught)
    rungs = [_rung(chosen, market, spec, taught, work) for market, spec in _types(chosen)]
    if as_json:
        print_json(_as_json(chosen, key, work, rungs, runs))
        return
    console = console_for()
    console.print(f"{chosen.name}: what {len(taught)} runs in {place.words} teach\n")
    figures = plain_table()
    for heading in ("", "planned with", "job file", "from"):
        figures.add_column(heading, overflow="fold")
    for row in (*_work_rows(chosen, work), *_rung_rows(rungs)):
        figures.add_row(*row)
    console.print(figures)
    listed = plain_table()
    for heading in ("run", "started", "what it says of the work"):
        listed.add_column(heading, overflow="fold")
    for run in runs:
        listed.add_row(run.run_id, day(run.started_at), _says(run, chosen, key, work))
    console.print(listed)


def _job(given: str) -> Job:
    """Raises InvalidJobError, and typer.BadParameter for a name that no file in jobs/ has."""
    if given.endswith((".yaml", ".yml")) or "/" in given:
        return load_job(Path(given), check_request=False)
    known = load_jobs(completion.JOB_FILES, check_request=False) if completion.JOB_FILES.is_dir() else {}
    if given not in known:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise typer.BadParameter(f"JOB: {given!r}: is no job of {completion.JOB_FILES}/; {has}")
    return known[given]


def _forget(place: Place, run: RunRecord, job: Job) -> None:
    if run.job != job.name:
        raise typer.BadParameter(
            f"--forget: {run.run_id!r}: is a run of {run.job}, and must be one of {job.name}"
        )
    if not run.is_over:
        raise typer.BadParameter(f"--forget: {run.run_id!r}: must be over, and it is still running")
    if place.api is not None:
        raise typer.BadParameter("--forget needs --table or --stack: the API changes no record")
    if place.is_local:
        records.forget(place.where.from_folder or LOCAL_RECORDS, run.run_id)
    else:
        place.table().forget(run)


def _types(job: Job) -> Iterator[tuple[Market, InstanceType]]:
    return ((market, spec) for market in Market for spec in job.capacity.rungs_of(market))


def _rung(
    job: Job, market: Market, spec: InstanceType, runs: Sequence[RunRecord], work: LearntWork
) -> RungHistory:
    is_spot, name = market is Market.SPOT, spec.instance_type
    return RungHistory(
        market=market,
        spec=spec,
        start=machines.start_of(job, market, spec, runs, work.spare_seconds),
        stated_seconds=job.change_over.of(market),
        patience_seconds=spec.patience_seconds or machines.patience_seconds(runs, market, name),
        mean_life_seconds=machines.mean_life_seconds(runs, name) if is_spot else None,
        discount=machines.measured_spot_discount(runs, name) if is_spot else None,
    )


Row = tuple[str, str, str, str]


def _work_rows(job: Job, work: LearntWork) -> Iterator[Row]:
    stated = f"{duration(job.work_seconds)}, planned {duration(job.work_seconds * UNLEARNT_WORK_MARGIN)}"
    planned = f"{duration(work.upper_seconds)}; {duration(work.expected_seconds)} expected"
    yield "work", planned, stated, _from_runs(work)
    if work.overhead_seconds:
        yield "beside its steps", f"{duration(work.overhead_seconds)} of it", "", "undisturbed runs"
    if work.steps_share < 1:
        yield (
            "steps",
            f"stops at {percent(100 * work.steps_share)} of all at the latest",
            "",
            "runs with steps",
        )
    for name, speed in work.speeds.items():
        if speed.paces:
            yield f"speed of {name}", f"{speed.speed:.2f}", f"{speed.stated:g}", f"{speed.paces} paces"


def _from_runs(work: LearntWork) -> str:
    if work.longest is None:
        return "the job file: fewer than 5 runs that say it"
    odd = (
        f"; without {', '.join(each.run.run_id for each in work.odd)}, far above the rest" if work.odd else ""
    )
    return f"{len(work.seen)} runs; {work.longest.run.run_id} sets the limit{odd}"


def _rung_rows(rungs: Sequence[RungHistory]) -> Iterator[Row]:
    for rung in rungs:
        label, start = rung.market.of(rung.spec.instance_type), rung.start
        yield f"start of {label}", duration(start.seconds), duration(rung.stated_seconds), _from_starts(start)
        yield f"patience for {label}", duration(rung.patience_seconds), _stated_patience(rung), ""
        if rung.mean_life_seconds is not None:
            yield f"life of {label}", f"{duration(rung.mean_life_seconds)} on average", "", ""
        if rung.discount is not None:
            yield f"{label} saves", percent(100 * rung.discount.value), "", rung.discount.words


def _stated_patience(rung: RungHistory) -> str:
    return "" if rung.spec.patience_seconds is None else duration(rung.spec.patience_seconds)


def _from_starts(start: LearntStart) -> str:
    if not start.starts and not start.cut_short:
        return "the job file: fewer than 5 starts"
    limit = f"; {start.longest.run_id} sets the limit" if start.longest else ""
    odd = f"; without {', '.join(run.run_id for run in start.odd)}" if start.odd else ""
    return f"{start.starts} starts, {start.cut_short} waits for nothing{limit}{odd}"


def _says(run: RunRecord, job: Job, key: str, work: LearntWork) -> str:
    if run.forgotten:
        return "forgotten"
    if run.work_key != key:
        return "other work: algorithm, channels, hyperparameters or `work` differ"
    if not run.has_model:
        return f"no model ({run.ending.value.replace('_', ' ')})"
    seen = what_it_says(run, job, work)
    if seen is None:
        return "nothing: an older version recorded it, other machines took part, or it continued another run"
    return _words(seen, work)


def _words(seen: WorkSeen, work: LearntWork) -> str:
    long = format_duration(seen.seconds)
    if not seen.is_exact:
        long = f"{format_duration(seen.least_seconds)} to {long}"
    how = ", interrupted on its way" if seen.is_disturbed else ""
    counted = "" if any(each.run is seen.run for each in work.seen) or not work.seen else "; not counted"
    return f"{long} on {seen.instance_type}{how}{counted}"


def _as_json(
    job: Job, key: str, work: LearntWork, rungs: Sequence[RungHistory], runs: Sequence[RunRecord]
) -> Mapping[str, Any]:
    """Seconds and shares; a run's `seconds` are those of the work that it shows, on its `instance_type`."""
    seen = {
        run.run_id: what_it_says(run, job, work) for run in runs if run.work_key == key and not run.forgotten
    }
    return {
        "job": job.name,
        "work_key": key,
        "work": {
            "planned_seconds": work.upper_seconds,
            "expected_seconds": work.expected_seconds,
            "stated_seconds": job.work_seconds,
            "runs": [each.run.run_id for each in work.seen],
            "limited_by_run": work.longest.run.run_id if work.longest else None,
            "odd_runs": [each.run.run_id for each in work.odd],
            "overhead_seconds": work.overhead_seconds,
            "steps_share": work.steps_share,
            "speeds": {
                name: {"speed": each.speed, "stated": each.stated, "paces": each.paces}
                for name, each in work.speeds.items()
            },
        },
        "rungs": [
            {
                "market": rung.market.value,
                "instance_type": rung.spec.instance_type,
                "start_seconds": rung.start.seconds,
                "stated_start_seconds": rung.stated_seconds,
                "starts": rung.start.starts,
                "waits_cut_short": rung.start.cut_short,
                "limited_by_run": rung.start.longest.run_id if rung.start.longest else None,
                "odd_runs": [run.run_id for run in rung.start.odd],
                "patience_seconds": rung.patience_seconds,
                "mean_life_seconds": rung.mean_life_seconds,
                "spot_discount": rung.discount.value if rung.discount else None,
            }
            for rung in rungs
        ],
        "runs": [
            {
                "run_id": run.run_id,
                "started_at": run.started_at.isoformat(),
                "forgotten": run.forgotten,
                "same_work": run.work_key == key,
                "instance_type": said.instance_type if (said := seen.get(run.run_id)) else None,
                "seconds": said.seconds if said else None,
                "disturbed": said.is_disturbed if said else None,
                "least_seconds": said.least_seconds if said else None,
            }
            for run in runs
        ],
    }
