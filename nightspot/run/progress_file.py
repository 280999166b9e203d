"""Progress files, as the scheduler reads them: any bytes and any names give a result, and nothing is raised.

The library writes a new `nightspot-<process>-<step>-<number>.json` for each thing that it has to say, and the
newest once more as `nightspot.json`; a script without the library may write that one alone.

A training container writes the files, so nothing in them is trusted. What breaks a rule is left out and said in
`ProgressFile.left_out`; without a usable `step` and `saved_at` no progress is visible. The side that writes has the
same bounds, in `nightspot.checkpoint.core.progress`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from nightspot.failures.redaction import redact
from nightspot.formats.links import LINK_RULE, web_link
from nightspot.run.model import Progress

MOST_BYTES = 64 * 1024  # the library writes less than 10 KiB
MOST_METRICS = 50
MOST_NAME_CHARACTERS = 128
# Numbers that a float holds exactly, as JSON's readers in other languages keep them.
MOST_STEPS = 10**15
MOST_ATTEMPTS = 10**6
MOST_FILES = 10_000  # of one checkpoint: one for each rank that writes
# SageMaker's longest job. A step of less than a nanosecond is no measurement; 0 means "faster than the clock".
# fact: sagemaker.runtime.most.seconds
MOST_SECONDS_PER_STEP = 28 * 24 * 3600.0
LEAST_SECONDS_PER_STEP = 1e-9
# DynamoDB's numbers end at 9.99…e125 and begin at 1e-130: what is nearer to zero is zero.
# fact: dynamodb.item.bytes
LARGEST_METRIC = 9.9e125
# fact: dynamodb.item.bytes
SMALLEST_METRIC = 1e-130
FIRST_YEAR, LAST_YEAR = 2000, 2100
MOST_CHECKPOINT_NAME_BYTES = 255
MOST_REMARKS = 10
MOST_PROCESSES = 10**6
MOST_NUMBER = 10**9
TRACKERS = ("mlflow", "wandb")
# The digits are those of the bounds above: a longer number is nobody's.
_NAME = re.compile(r"nightspot-(\d{6,7})-(\d{9,16})-(\d{6,10})\.json", re.ASCII)
_SHOWN_CHARACTERS = 40

T = TypeVar("T")


@dataclass(frozen=True)
class ProgressFile:
    """What a progress file says. `checkpoint` and `files` tell what must be uploaded before `progress` counts."""

    progress: Progress | None = None  # None: nothing usable
    checkpoint: str | None = (
        None  # the file that holds the state, beside the progress file; None: it names none
    )
    files: int = 1  # how many such files, one of each rank that writes, make it complete
    left_out: tuple[str, ...] = ()  # field, value and rule of what was not usable


Order = tuple[int, int, int]  # process, step, number: a higher one is newer


def order_of(name: str) -> Order | None:
    """What the name of a progress file says of its age; None of any other name, also of `nightspot.json`."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    process, step, number = (int(digits) for digits in match.groups())
    return (process, step, number) if process <= MOST_PROCESSES and step <= MOST_STEPS else None


def is_newer(one: Progress, other: Progress) -> bool:
    """Whether `one`, as `nightspot.json` has it, is newer than `other`, as a file of its own has it.

    Of an older library, which does not count processes, times have to tell.
    """
    if one.process is not None and other.process is not None:
        return not one.is_older_than(other)
    if one.process_started_at is not None and other.process_started_at is not None:
        return one.process_started_at > other.process_started_at
    return one.saved_at > other.saved_at


class _RuleError(Exception):
    """A field has a value that it cannot have. The message is the rule."""


@dataclass
class _Reader:
    """The fields of one document, and what was left out so far."""

    document: Mapping[str, Any]
    left_out: list[str] = field(default_factory=list)

    def read(self, name: str, rule: Callable[[Any], T]) -> T | None:
        """The field by its rule; None where it is null, missing or left out."""
        return self.checked(name, self.document.get(name), rule)

    def checked(self, name: str, value: Any, rule: Callable[[Any], T]) -> T | None:
        if value is None:
            return None
        try:
            return rule(value)
        except _RuleError as error:
            self.left_out.append(f"{name}: {_shown(value)}: {error}")
            return None

    def has(self, name: str) -> bool:
        return self.document.get(name) is not None


def read_progress(body: bytes, order: Order | None = None) -> ProgressFile:
    """What the file's bytes say. Never raises; of a file of more than MOST_BYTES nothing is read.

    order: what its name says, with which they must agree. `Progress.left_out` is `ProgressFile.left_out`, for the
    run's record.
    """
    file = _of_bytes(body)
    said = file.progress and (file.progress.process, file.progress.step, file.progress.number)
    if file.progress is not None and order is not None and said != order:
        return ProgressFile(left_out=(f"the whole file: its name says {order}, and it says {said}",))
    return file


def _of_bytes(body: bytes) -> ProgressFile:
    if len(body) > MOST_BYTES:
        return ProgressFile(left_out=(f"the whole file: more than {MOST_BYTES // 1024} KiB",))
    try:
        # RFC 8259: JSON is UTF-8. A wrong byte in a name is no reason to lose the step.
        document = json.loads(body.decode("utf-8-sig", errors="replace"), parse_int=_whole)
    except (ValueError, RecursionError):
        return ProgressFile(left_out=("the whole file: not JSON",))
    if not isinstance(document, dict):
        return ProgressFile(left_out=("the whole file: must be a JSON object",))
    return _read(_Reader(document))


def _read(reader: _Reader) -> ProgressFile:
    step = reader.read("step", _integer(0, MOST_STEPS))
    saved_at = reader.read("saved_at", _moment)
    checkpoint = reader.read("checkpoint", _file_name)
    files = reader.read("files", _integer(1, MOST_FILES))
    # What stands behind the progress must be there: where nobody can look for it, nothing is promised.
    unproven = (reader.has("checkpoint") and checkpoint is None) or (reader.has("files") and files is None)
    if step is None or saved_at is None or unproven:
        return ProgressFile(left_out=_remarks(reader.left_out or ["the whole file: names no step and time"]))
    total_steps = reader.read("total_steps", _integer(max(1, step), MOST_STEPS))
    fraction = reader.read("fraction", _number(0.0, 1.0))
    if reader.has("total_steps") and total_steps is None:
        fraction = None  # it is a part of that total
    resumed = reader.read("resumed_from", _object) or {}
    resumed_from_step = reader.checked("resumed_from.step", resumed.get("step"), _integer(0, MOST_STEPS))
    attempt = reader.read("attempt", _integer(0, MOST_ATTEMPTS))
    if reader.has("resumed_from") and resumed_from_step is None:
        # Null is a start from nothing, by which a resume is judged as broken. This is not known to be one.
        attempt = None
    seconds_per_step = reader.read("seconds_per_step", _pace)
    process_started_at = reader.read("started_at", _moment)
    process = reader.read("process", _integer(1, MOST_PROCESSES))
    number = reader.read("number", _integer(1, MOST_NUMBER))
    metrics = _metrics(reader)
    given = reader.read("trackers", _object) or {}
    links = {name: reader.checked(f"trackers.{name}", given.get(name), _link) for name in TRACKERS}
    left_out = _remarks(reader.left_out)
    progress = Progress(
        step=step,
        saved_at=saved_at,
        total_steps=total_steps,
        fraction=fraction,
        seconds_per_step=seconds_per_step,
        attempt=attempt,
        resumed_from_step=resumed_from_step,
        process_started_at=process_started_at,
        metrics=metrics,
        left_out=left_out,
        process=process,
        number=number,
        trackers={name: link for name, link in links.items() if link is not None},
    )
    return ProgressFile(progress, checkpoint, files or 1, left_out)


def _metrics(reader: _Reader) -> dict[str, float]:
    """The first MOST_METRICS that fit. The library writes null for a loss that has blown up."""
    metrics: dict[str, float] = {}
    beyond = 0
    for name, value in (reader.read("metrics", _object) or {}).items():
        if value is None:
            continue
        if len(metrics) == MOST_METRICS:
            beyond += 1
            continue
        if reader.checked("metrics", name, _name) is None:
            continue
        number = reader.checked(f"metrics[{_shown(name)}]", value, _number(-LARGEST_METRIC, LARGEST_METRIC))
        if number is not None:
            metrics[name] = number if abs(number) >= SMALLEST_METRIC else 0.0
    if beyond:
        reader.left_out.insert(0, f"metrics: {beyond:,} more: must be at most {MOST_METRICS}")
    return metrics


def _whole(digits: str) -> int | float:
    # Python refuses to make an int of more than 4,300 digits; no rule here allows so many.
    return int(digits) if len(digits) <= 200 else float(digits)


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def rule(value: Any) -> int:
        # 40.0 is 40: JSON knows one kind of number.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _RuleError(f"must be a whole number from {least:,} to {most:,}")
        return value

    return rule


def _number(least: float, most: float) -> Callable[[Any], float]:
    def rule(value: Any) -> float:
        # Written so that NaN, with which no policy can calculate, is refused too.
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise _RuleError(f"must be a number from {least:g} to {most:g}")
        return float(value)

    return rule


def _pace(value: Any) -> float:
    seconds = _number(0.0, MOST_SECONDS_PER_STEP)(value)
    if 0 < seconds < LEAST_SECONDS_PER_STEP:
        raise _RuleError(f"must be 0 or at least {LEAST_SECONDS_PER_STEP:g}")
    return seconds


def _moment(value: Any) -> datetime:
    rule = f"must be an ISO 8601 time with a time zone, of the years {FIRST_YEAR} to {LAST_YEAR}"
    try:
        given = datetime.fromisoformat(value)
        moment = given.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise _RuleError(rule) from None
    if given.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise _RuleError(rule)
    return moment


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _RuleError("must be an object")
    return value


def _link(value: Any) -> str:
    link = web_link(value)
    if link is None:
        raise _RuleError(LINK_RULE)
    return link


def _name(value: str) -> str:
    if not 0 < len(value) <= MOST_NAME_CHARACTERS or not value.isprintable():
        raise _RuleError(f"names must be 1 to {MOST_NAME_CHARACTERS} printable characters")
    return value


def _file_name(value: Any) -> str:
    """A name of a file beside this one, or in a folder there: what can be a key of S3 below the run's prefix."""
    most = MOST_CHECKPOINT_NAME_BYTES
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or len(value.encode()) > most
        or any(part in {"", ".", ".."} for part in value.split("/"))
    ):
        raise _RuleError(f"must be the name of a file beside this one, of at most {most} bytes")
    return value


def _remarks(left_out: list[str]) -> tuple[str, ...]:
    more = len(left_out) - MOST_REMARKS
    return (*map(redact, left_out[:MOST_REMARKS]), *((f"and {more:,} more",) if more > 0 else ()))


def _shown(value: Any) -> str:
    """The value in a remark, in printable characters: what is long or nested only by its beginning or kind."""
    if isinstance(value, str):
        cut = value[:_SHOWN_CHARACTERS]
        return repr(cut) if cut == value else f"{cut!r}…"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
