"""The records of the runs that were played here: one JSON file per run, never overwritten, checked when read."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import Field

from nightspot.job.model import Job
from nightspot.record.model import (
    Amount,
    AttemptRecord,
    Count,
    Moment,
    Part,
    RecordNotReadableError,
    RunRecord,
    RunState,
    Seconds,
    StepRecord,
    read_as,
)
from nightspot.view.messages.content import Notice
from nightspot.view.messages.message import Message, message_of
from nightspot.view.messages.plain import zone_of
from nightspot.view.messages.wording import run_event_of


class PricedType(Part):
    """The on-demand price that a local run was planned with, per instance hour; None: not known."""

    instance_type: str
    usd_per_hour: Amount | None = None
    assumed: bool | None = None
    date: str | None = None
    source: str | None = None


class Played(Part):
    """What is played on this machine, known before it is; a record of an older version lacks some of it."""

    job: str
    job_file: str | None = None
    night: str | None = None
    story: str | None = None
    scratch: str | None = None
    overrides: Mapping[str, Any] = {}
    story_started_at: Moment | None = None
    deadline: Moment | None = None
    expected_work_seconds: Seconds | None = None
    spot_first: bool
    time_scale: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
    spot_discount: Amount | None = None
    prices: tuple[PricedType, ...] = ()


class Ended(Part):
    """How the workflow of a local run ended."""

    execution_status: str | None = None
    error: str | None = None
    cause: str | None = None
    dead_letters: Count = 0
    real_seconds: Seconds | None = None
    state_transitions: Count | None = None


class LocalRecord(Played, Ended, RunRecord):
    """The record of a run that was played on this machine."""

    simulated: bool
    recorded_at: Moment | None = None
    attempts: tuple[AttemptRecord, ...]
    steps: tuple[StepRecord, ...]


class RecordError(Exception):
    """A record of a run cannot be found or read."""


def record_of(played: Played, run: RunRecord | None, ended: Ended, recorded_at: datetime) -> LocalRecord:
    """What was played, how it went (None: its input was refused), and how the workflow ended."""
    refused: dict[str, Any] = {
        "run_id": "refused",
        "outcome": RunState.REFUSED,
        "because": ended.cause,
        "started_at": played.story_started_at,
        "attempts": (),
        "steps": (),
    }
    known = refused if run is None else {name: getattr(run, name) for name in run.model_fields_set}
    own = {name: getattr(part, name) for part in (ended, played) for name in part.model_fields_set}
    return LocalRecord.model_construct(**{**own, **known, "simulated": True, "recorded_at": recorded_at})


def write(directory: Path, record: LocalRecord) -> Path:
    """Keep the record as `<run id>.json` in `directory`. Raises OSError where it cannot be written."""
    return write_text(directory, record.run_id, json.dumps(record.to_json(), indent=2) + "\n")


def write_text(directory: Path, stem: str, text: str) -> Path:
    """Write `text` to `<stem>.json` in `directory`; a second one of that name goes to `<stem>-2.json`.

    Whole or not at all: readers see no half of it. Raises OSError where it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as folder:
        part = Path(folder, "record.json")
        part.write_text(text, encoding="utf-8")
        number = 1
        while True:
            path = directory / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
            try:
                # Unlike a rename, a link does not replace what is there.
                os.link(part, path)
            except FileExistsError:
                number += 1
            else:
                return path


def forget(directory: Path, name: str) -> None:
    """Mark the record `name` as taken out of what is learnt from. Raises OSError, and ValueError for no JSON."""
    path = directory / f"{name}.json"
    record = {**json.loads(path.read_text(encoding="utf-8")), "forgotten": True}
    with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as folder:
        part = Path(folder, "record.json")
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        part.replace(path)


def names(directory: Path) -> list[str]:
    """The names of the records in `directory`, the last written first; none where there is no such directory."""
    return [path.stem for _, path in _files(directory)]


def read(directory: Path, name: str | None = None) -> LocalRecord:
    """The record `name`, or the last written one; every field that anybody shows is as it must be.

    Raises RecordError, naming what there is, or the file; RecordNotReadableError with field, value and rule.
    """
    # A name leads nowhere else.
    is_there = name is not None and Path(name).name == name and (directory / f"{name}.json").exists()
    known = [name] if name is not None and is_there else names(directory)
    if not known:
        raise RecordError(f"{directory}: holds no record of a run; `nightspot demo` makes one")
    if name is not None and name not in known:
        raise RecordError(f"run: {name!r}: is not in {directory}; the newest are: {', '.join(known[:5])}")
    return _read(directory / f"{known[0] if name is None else name}.json")


def read_all(directory: Path, on_unreadable: Callable[[Path, Exception], None]) -> list[LocalRecord]:
    """All records of `directory`, newest first, each with its file's name as its `run_id`.

    The newest is the one that was recorded last, whatever the time of its story: by its `recorded_at` (an older
    version's, which lacks it, by the file's own time); of those alike by their stories' start, then by the file's.
    `on_unreadable` gets every file that is left out, and why, the last written first.
    """
    found = []
    for modified, path in _files(directory):
        try:
            record = _read(path).model_copy(update={"run_id": path.stem})
        except (RecordError, RecordNotReadableError) as error:
            on_unreadable(path, error)
        else:
            found.append((_recorded(record, modified), modified, record))
    found.sort(key=lambda each: each[:2], reverse=True)
    return [record for _, _, record in found]


def _files(directory: Path) -> list[tuple[int, Path]]:
    """The record files with their times of modification (ns), the last written first."""
    found = []
    for path in directory.glob("*.json"):
        # Somebody may just be deleting it.
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime_ns, path))
    return sorted(found, reverse=True)


def _recorded(record: LocalRecord, modified: int) -> tuple[float, float]:
    """When the record was made, and when its run began, in seconds."""
    made = record.recorded_at
    return made.timestamp() if made else modified / 1e9, record.started_at.timestamp()


def _read(path: Path) -> LocalRecord:
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text, parse_constant=_no_number)
        if "\\ud" in text.lower():
            json.dumps(record, ensure_ascii=False).encode()  # half a character cannot be printed
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    needed = (name for name, field in LocalRecord.model_fields.items() if field.is_required())
    lacking = {*needed} - {"run_id", "started_at"} - set(record if isinstance(record, dict) else ())
    if lacking:
        raise RecordError(f"{path}: is no record of a run: it lacks {', '.join(sorted(lacking))}")
    return read_as(LocalRecord, record)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def told(entries: Iterable[Mapping[str, Any]], job: Job) -> tuple[Message, ...]:
    """The messages of these EventBridge entries, in their order, as default settings would send them."""
    messages = []
    for entry in entries:
        run_event = run_event_of(entry["DetailType"])
        if run_event is None:
            continue
        messages.append(message_of(Notice(run_event, json.loads(entry["Detail"]), zone_of(job))))
    return tuple(message for message in messages if message is not None)


def written(entries: Iterable[Mapping[str, Any]], job: Job, folder: Path) -> tuple[Message, ...]:
    """`told`, and in `folder` as `1-RunFailed.txt` and `1-RunFailed.chat.json`; a quiet night makes no folder."""
    messages = told(entries, job)
    for number, message in enumerate(messages, start=1):
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{number}-{message.run_event}"
        mail = f"Subject: {message.subject}\n\n{message.text}"
        (folder / f"{stem}.txt").write_text(mail, encoding="utf-8")
        chat = json.dumps(message.chat, indent=2, ensure_ascii=False)
        (folder / f"{stem}.chat.json").write_text(f"{chat}\n", encoding="utf-8")
    return messages
