"""The cassette: one training job's life as JSON, with every time relative to the job's creation.

A moment inside a payload is `{"$t": seconds}`, with a `form` where AWS writes it as something else than a date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import nightspot

SCHEMA_VERSION = 1
MOMENT = "$t"
LEFT_OUT = "<left out>"  # the value of a field of which only the name is kept
JOB, ARN, URI = "<job>", "<arn>", "<uri>"  # what stands for names in payloads


class CassetteError(ValueError):
    """A cassette cannot be read; one line per problem: file, field, value, rule."""


class Origin(StrEnum):
    """How a cassette came to be."""

    AWS = "aws"  # recorded on AWS by the recorder
    HARVEST = "harvest"  # kept of a real run at its end
    SIMULATION = "simulation"  # recorded from this project's own simulated SageMaker
    BY_HAND = "by_hand"  # written from a public source, which `evidence` names; nothing was recorded

    @property
    def tells_of_aws(self) -> bool:
        """Whether its times were measured on AWS."""
        return self in {Origin.AWS, Origin.HARVEST}


class Source(StrEnum):
    """Who says what an entry has."""

    CALL = "call"  # an API call other than DescribeTrainingJob: operation, request, answer or error
    DESCRIBE = "describe"  # DescribeTrainingJob's answer
    EVENT = "event"  # an EventBridge event, when it arrived
    S3 = "s3"  # a version or a delete marker below the job's prefix, when S3 got it
    LOG = "log"  # a line of the job's log, or a note of the library


class Entry(BaseModel):
    """One thing that was said, `t` seconds after the job's creation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    t: Annotated[float, Field(ge=-3600, le=40 * 86_400, allow_inf_nan=False)]
    source: Source
    payload: dict[str, Any]

    @model_validator(mode="after")
    def _has_what_its_source_needs(self) -> Self:
        for name in _NEEDED[self.source]:
            if name not in self.payload:
                raise ValueError(f"payload.{name}: is missing; a {self.source} entry must have it")
        kind = self.payload.get("kind")
        if self.source is Source.S3 and kind not in {"put", "delete"}:
            raise ValueError(f"payload.kind: {kind!r} must be put or delete")
        if self.source is Source.LOG and not {"line", "note"} & self.payload.keys():
            raise ValueError("payload: a log entry must have line or note")
        return self


_NEEDED: Mapping[Source, tuple[str, ...]] = {
    Source.CALL: ("operation",),
    Source.DESCRIBE: ("TrainingJobStatus", "SecondaryStatus", "SecondaryStatusTransitions"),
    Source.EVENT: ("detail",),
    Source.S3: ("kind", "key"),
    Source.LOG: (),
}


class Cassette(BaseModel):
    """One job's life. `evidence`: where it is from (an address, a run, a check of the self-test)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[int, Field(ge=1)] = SCHEMA_VERSION
    what: Annotated[str, Field(min_length=1)]  # the life in one sentence
    origin: Origin
    evidence: Annotated[str, Field(min_length=1)]
    recorded_on: str | None = None  # the day, ISO 8601; None: written by hand
    # What was not seen, and is filled in only so that the cassette can be played. Empty in recordings.
    assumed: tuple[str, ...] = ()
    # The fields of DescribeTrainingJob whose presence, or absence, it tells of; None: all.
    knows_fields: tuple[str, ...] | None = None
    knows_events: bool = True  # whether its events, if it has any, are all that came
    versions: dict[str, str] = Field(default_factory=dict)
    entries: tuple[Entry, ...]

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.schema_version > SCHEMA_VERSION:
            rule = f"this version reads up to {SCHEMA_VERSION}; install a newer Nightspot"
            raise ValueError(f"schema_version: {self.schema_version}: {rule}")
        if not self.entries:
            raise ValueError("entries: a cassette must have at least one")
        for number, (before, after) in enumerate(zip(self.entries, self.entries[1:], strict=False), 1):
            if after.t < before.t:
                raise ValueError(
                    f"entries[{number}].t: {after.t:g} comes after {before.t:g}; must be in order"
                )
        return self

    def of(self, source: Source) -> Iterator[Entry]:
        """The entries of one source, in order."""
        return (entry for entry in self.entries if entry.source is source)

    @property
    def description(self) -> dict[str, Any]:
        """The last DescribeTrainingJob answer. Raises CassetteError where there is none."""
        answers = [entry.payload for entry in self.of(Source.DESCRIBE)]
        if not answers:
            raise CassetteError("entries: there is no describe entry")
        return answers[-1]

    def dump(self) -> str:
        """As JSON text; `read_cassette` reads it again."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def read_cassette(text: str, name: str = "cassette") -> Cassette:
    """The cassette of a JSON text. Raises CassetteError with every problem; `name` begins each line."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CassetteError(f"{name}: is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CassetteError(f"{name}: {type(document).__name__}: must be an object")
    try:
        return Cassette.model_validate(document)
    except ValidationError as error:
        problems = (_problem(each) for each in error.errors(include_url=False))
        raise CassetteError("\n".join(f"{name}: {problem}" for problem in problems)) from error


def load_cassette(path: Path) -> Cassette:
    """The cassette of a file. Raises CassetteError, also for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CassetteError(f"{path.name}: cannot be read: {said}") from error
    return read_cassette(text, path.name)


def _problem(error: Any) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    said = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (is {given!r})" if isinstance(given, str | int | float | bool | None) else ""
    return f"{where}: {said}{shown}" if where else said


def versions() -> dict[str, str]:
    """Nightspot's version and those of AWS's SDK, where it is installed."""
    known = {"nightspot": nightspot.__version__}
    for package in ("boto3", "botocore"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:  # Lambda's runtime may bring it without metadata
            continue
    return known


# --- moments --------------------------------------------------------------------------------------------------


class Form(StrEnum):
    """How an event writes a moment. DescribeTrainingJob's are dates, without a form."""

    MS = "epoch_ms"
    MS_TEXT = "epoch_ms_text"
    MS_FRACTION = "epoch_ms_fraction"
    SECONDS = "epoch_seconds"
    ISO = "iso"


def moment(seconds: float, form: Form | None = None) -> dict[str, Any]:
    """How a payload has a moment."""
    return {MOMENT: round(seconds, 3), **({} if form is None else {"form": form.value})}


def is_moment(value: object) -> bool:
    """Whether a payload's value is a moment."""
    return isinstance(value, dict) and MOMENT in value


def seconds_of(value: object) -> float | None:
    """Seconds after the creation; None where `value` is no moment."""
    return float(value[MOMENT]) if isinstance(value, dict) and MOMENT in value else None


def rendered(value: Any, start: datetime) -> Any:
    """A payload with its moments as AWS writes them, for a job created at `start` (aware).

    A moment without a form becomes an aware datetime, as boto3 gives it.
    """
    if is_moment(value):
        at = start + timedelta(seconds=float(value[MOMENT]))
        return stamp(at, Form(value["form"])) if "form" in value else at
    if isinstance(value, dict):
        return {key: rendered(inner, start) for key, inner in value.items()}
    return [rendered(inner, start) for inner in value] if isinstance(value, list) else value


def stamp(at: datetime, form: Form) -> Any:
    """An aware moment in one of an event's forms."""
    ms = round(at.timestamp() * 1000)
    if form is Form.MS_TEXT:
        return str(ms)
    if form is Form.MS_FRACTION:
        return ms + 0.5
    if form is Form.SECONDS:
        return ms / 1000
    return at.astimezone(UTC).isoformat() if form is Form.ISO else ms
