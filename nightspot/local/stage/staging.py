"""Prepares a night for being played by the command line: its pace, its seed, its folders, its logs, its facts."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from nightspot.aws.prices import PriceBook, load_price_book
from nightspot.job.markets import Market
from nightspot.job.model import Job
from nightspot.job.overrides import apply_overrides, overrides_as_json, read_overrides
from nightspot.job.times import next_fire
from nightspot.local.stage.emulated_aws import REGION
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.records import Ended, LocalRecord, Played, PricedType, record_of, write
from nightspot.local.stage.session import LocalAws, LocalNight, Sighting

# By such variables the examples pad their epochs (examples/recommender/train.py, and that of `nightspot new`).
PADDING = "SECONDS_PER_EPOCH"
# What a scratch folder holds; a folder with anything else in it is somebody's own.
_SCRATCH_NAMES = frozenset({"functions.log", "python.log", "logs", "machines", "messages", "report.html"})


def with_seed(job: Job, seed: int) -> Job:
    """The job with `seed` as its training's hyperparameter `seed`."""
    parameters = {**job.training_job.get("HyperParameters", {}), "seed": str(seed)}
    return job.model_copy(update={"training_job": {**job.training_job, "HyperParameters": parameters}})


def night_with_seed(night: Night, seed: int) -> Night:
    """The night with `seed` behind what befalls its state-change events."""
    events = replace(night.options.events, seed=seed)
    return replace(night, options=replace(night.options, events=events))


def at_scale(job: Job, time_scale: float) -> Job:
    """The job at another pace: so many story seconds in a real one.

    The example's epochs are padded to real seconds, chosen for the job file's own scale. At twice that scale
    they must take half as long, or four hours of work would become eight hours of the story.
    """
    if job.local is None:
        return job
    environment = dict(job.local.environment)
    for name, value in job.local.environment.items():
        if name.endswith(PADDING):
            # A value that is no number is left to the script, which says so.
            with suppress(ValueError):
                environment[name] = f"{float(value) * job.local.time_scale / time_scale:.6g}"
    local = job.local.model_copy(update={"time_scale": time_scale, "environment": environment})
    return job.model_copy(update={"local": local})


def emptied(scratch: Path) -> Path:
    """The folder, there and empty. Raises FileExistsError where it holds anything that no night wrote."""
    if scratch.exists():
        if not scratch.is_dir() or {entry.name for entry in scratch.iterdir()} - _SCRATCH_NAMES:
            raise FileExistsError(
                errno.EEXIST, "holds more than an earlier night's logs, so it is not emptied", str(scratch)
            )
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    return scratch


def new_folder(parent: Path, name: str) -> Path:
    """A new folder `name` in `parent`, or `name-2`, `name-3`, …"""
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def story_start(job: Job, now: datetime) -> datetime:
    """When a run that is played begins, in UTC: at the next time that the job's schedule fires after `now` (aware).

    Without a schedule, or with one that never fires again, at today's midnight.
    """
    fires = next_fire(job.schedule, now) if job.schedule is not None else None
    return fires or datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)


def facts(job: Job, night: Night, started_at: datetime, **places: str) -> Played:
    """What is known of a run before it is played here; `places`: its `job_file` and `scratch`.

    Raises InvalidOverridesError where the night changes the job in a way that cannot be.
    """
    book = load_price_book()
    own = read_overrides(night.overrides, check_instance_types=True)
    tonight = apply_overrides(job, own)
    types = dict.fromkeys(
        rung.instance_type for market in Market for rung in tonight.capacity.rungs_of(market)
    )
    return Played(
        job=job.name,
        night=night.name,
        story=night.story,
        overrides=overrides_as_json(own),
        story_started_at=started_at,
        deadline=tonight.deadline.after(started_at),
        expected_work_seconds=job.work_seconds,
        spot_first=bool(tonight.capacity.spot),
        time_scale=job.local.time_scale if job.local else 1.0,
        spot_discount=night.options.spot_discount,
        prices=tuple(_price(book, instance_type) for instance_type in types),
        **places,
    )


def _price(book: PriceBook, instance_type: str) -> PricedType:
    price = book.usd_per_hour(instance_type, REGION)
    return PricedType(
        instance_type=instance_type,
        usd_per_hour=price.usd_per_hour if price else None,
        assumed=price.assumed if price else None,
        date=price.date.isoformat() if price else None,
        source=price.source if price else None,
    )


def play(
    job: Job,
    night: Night,
    *,
    scratch: Path,
    started_at: datetime,
    directory: Path,
    on_sighting: Callable[[Sighting], None],
) -> LocalNight:
    """Play the night to its end, with the price book; moto's and botocore's logs go to `scratch`/python.log.

    A job with a schedule is started as that would start it: the deadline counts from the scheduled moment,
    `started_at`. Raises NightNotOverError where the run hangs.
    """
    aws = LocalAws(
        jobs={job.name: job},
        night=night,
        scratch=scratch,
        started_at=started_at,
        price=load_price_book().usd_per_hour,
        directory=directory,
        on_sighting=on_sighting,
    )
    with python_logs_in(scratch / "python.log"):
        scheduled = {"scheduled_at": started_at.isoformat()} if job.schedule is not None else {}
        return aws.play(job.name, {"job": job.name, **scheduled, **night.overrides})


def night_with(night: Night, overrides: Mapping[str, Any]) -> Night:
    """The night with a run's own overrides beside its own."""
    return replace(night, overrides={**night.overrides, **overrides})


def play_and_record(
    job: Job,
    night: Night,
    *,
    started_at: datetime,
    job_file: str,
    scratch: Path,
    folder: Path,
    directory: Path,
    on_start: Callable[[Played], None] = lambda _played: None,
    on_sighting: Callable[[Sighting], None] = lambda _seen: None,
    name_of: Callable[[Path], str] = str,
) -> tuple[LocalRecord, Path]:
    """Play the night, and keep its record in `folder`: the record and its file.

    `on_start` hears what is known before. `name_of` writes the scratch folder into the record. Raises
    InvalidOverridesError, NightNotOverError and OSError.
    """
    played = facts(job, night, started_at, job_file=job_file, scratch=name_of(scratch))
    on_start(played)
    came = play(
        job, night, scratch=scratch, started_at=started_at, directory=directory, on_sighting=on_sighting
    )
    record = record_of(played, came.record, ending(came), datetime.now(UTC))
    return record, write(folder, record)


@contextmanager
def python_logs_in(path: Path) -> Iterator[None]:
    """Inside: logged and Python warnings go to `path`, not to the terminal."""
    root = logging.getLogger()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()


def ending(night: LocalNight) -> Ended:
    """How the workflow ended."""
    return Ended(
        execution_status=night.execution_status,
        error=night.error,
        cause=night.cause,
        dead_letters=night.dead_letters,
        real_seconds=round(night.real_seconds, 1),
        state_transitions=None if night.run is None else night.state_transitions,
    )
