"""The cassette of a real run's training job, made when it has ended: of what is still known of it then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightspot.cassettes.model import Cassette, Entry, Origin, Source, versions
from nightspot.cassettes.redacting import Redactor
from nightspot.run.model import Attempt, Progress, Run, Step


@dataclass(frozen=True)
class StoredFile:
    """An object below the run's checkpoint prefix, as S3 lists it. `key`: below the prefix."""

    key: str
    size: int
    stored_at: datetime


@dataclass(frozen=True)
class SeenEvent:
    """An EventBridge event, and when a function got it."""

    event: Mapping[str, Any]
    at: datetime


def harvested(
    description: Mapping[str, Any],
    run: Run,
    attempt: Attempt,
    *,
    steps: Iterable[Step] = (),
    files: Iterable[StoredFile] = (),
    events: Iterable[SeenEvent] = (),
) -> Cassette:
    """The life of an attempt's training job. `description`: DescribeTrainingJob's last answer, as boto3 gives it.

    Notes tell what the library said, as far as `steps` saw it: "saved" (a progress file's own moment, with `step`),
    "started" (a training process, with `resumed_from`, null where it began from nothing) and "sync_lag" (`seconds`
    from the newest save to S3's moment of its file). A stop by Nightspot, or by a person through it, is a call.
    """
    created: datetime = description.get("CreationTime") or attempt.asked_at
    redactor = Redactor(
        attempt.training_job_name, created, names=(run.run_id, run.job, *_buckets(run.checkpoint_s3_uri))
    )
    progress = list(_progress_of(attempt, run, steps))
    entries = [
        *_calls(attempt, redactor),
        _entry(redactor, _last_moment(description), Source.DESCRIBE, redactor.answer(description)),
        *(_entry(redactor, each.at, Source.EVENT, redactor.event(each.event)) for each in events),
        *_notes(progress, list(files), redactor),
    ]
    return Cassette(
        what=f"A {attempt.rung.market.value} training job of a run: {description['TrainingJobStatus']}.",
        origin=Origin.HARVEST,
        evidence="kept by a deployment at the end of the training job",
        recorded_on=created.date().isoformat(),
        knows_events=False,  # one function hears of the end alone
        versions=versions(),
        entries=tuple(sorted(entries, key=lambda entry: entry.t)),
    )


def _buckets(uri: str | None) -> tuple[str, ...]:
    return () if uri is None else (uri.partition("://")[2].partition("/")[0],)


def _entry(redactor: Redactor, at: datetime, source: Source, payload: Mapping[str, Any]) -> Entry:
    return Entry(t=redactor.seconds(at), source=source, payload=dict(payload))


def _last_moment(description: Mapping[str, Any]) -> datetime:
    transitions = description.get("SecondaryStatusTransitions", ())
    moment: datetime = transitions[-1]["StartTime"] if transitions else description["LastModifiedTime"]
    return moment


def _calls(attempt: Attempt, redactor: Redactor) -> Iterator[Entry]:
    if attempt.stop_requested_at is not None:
        said = {"operation": "StopTrainingJob", "answer": {}}
        yield _entry(redactor, attempt.stop_requested_at, Source.CALL, said)


def _progress_of(attempt: Attempt, run: Run, steps: Iterable[Step]) -> Iterator[Progress]:
    """Each state of the progress file that this attempt wrote, once."""
    seen = set()
    for progress in (*(step.progress for step in steps), run.progress):
        if progress is None or progress.attempt != attempt.number or progress.saved_at in seen:
            continue
        seen.add(progress.saved_at)
        yield progress


def _notes(progress: list[Progress], files: list[StoredFile], redactor: Redactor) -> Iterator[Entry]:
    starts = set()
    for each in progress:
        yield _entry(redactor, each.saved_at, Source.LOG, {"note": "saved", "step": each.step})
        started = each.process_started_at
        if started is not None and started not in starts:
            starts.add(started)
            note = {"note": "started", "resumed_from": each.resumed_from_step}
            yield _entry(redactor, started, Source.LOG, note)
    for file in files:
        payload = {"kind": "put", "key": redactor.key(file.key), "size": file.size}
        yield _entry(redactor, file.stored_at, Source.S3, payload)
    # The newest progress file in S3 is that of the newest save, unless a later one was still under way.
    stored = max((file.stored_at for file in files if file.key.startswith("nightspot")), default=None)
    saved = max((each.saved_at for each in progress), default=None)
    if stored is not None and saved is not None and stored >= saved:
        lag = round((stored - saved).total_seconds(), 3)
        yield _entry(redactor, stored, Source.LOG, {"note": "sync_lag", "seconds": lag})
