"""What of AWS's answers a cassette keeps: states, times, limits and the names of fields, but nobody's names.

A field is kept with its value only if it is known here to be harmless; of all others the name stays, so that a
cassette still shows which fields an answer had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nightspot.cassettes.model import ARN, JOB, LEFT_OUT, URI, Form, moment
from nightspot.failures.redaction import redact
from nightspot.formats.event_times import read_event_ms

_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
_NUMBERS = ("TrainingTimeInSeconds", "BillableTimeInSeconds")
_STATES = ("TrainingJobStatus", "SecondaryStatus", "Status")
_TEXTS = ("FailureReason", "StatusMessage")
# Objects of which these members are kept; what is not a number, true or false must look like a name of AWS's own.
_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "ResourceConfig": ("InstanceType", "InstanceCount", "VolumeSizeInGB", "KeepAlivePeriodInSeconds"),
    "StoppingCondition": ("MaxRuntimeInSeconds", "MaxWaitTimeInSeconds", "MaxPendingTimeInSeconds"),
    "RetryStrategy": ("MaximumRetryAttempts",),
    "AlgorithmSpecification": ("TrainingInputMode",),
}
_FIXED: Mapping[str, Any] = {
    "TrainingJobName": JOB,
    "TrainingJobArn": ARN,
    "ModelArtifacts": {"S3ModelArtifacts": URI},
}
_PLAIN = re.compile(r"[A-Za-z][\w.]{0,40}")
_ARNS = re.compile(r"\barn:aws[\w-]*:[^\s\"'<>,;)\]]+")
_IDS = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_URIS = re.compile(r"\bs3[an]?://[^\s\"'<>,;)\]]+", re.IGNORECASE)
_HOSTS = re.compile(r"\b[\w-]+\.dkr\.ecr\.[\w.-]+(?:/[\w./:@-]+)?")
# The library's own file names; others are the script's.
OWN_KEYS = re.compile(r"(?:nightspot|checkpoint|model)[\w.-]{0,80}")


class Redactor:
    """Redacts what belongs to one job. `names`: what else must not be seen, such as the run's and the bucket's.

    `start`: the moment that is 0 in the cassette. `keys`: names of files that may be seen, beside the library's.
    """

    def __init__(
        self,
        job_name: str,
        start: datetime,
        *,
        names: tuple[str, ...] = (),
        keys: re.Pattern[str] | None = None,
    ) -> None:
        self.start = start
        self._job_name = job_name
        self._names = tuple(sorted((name for name in names if name), key=len, reverse=True))
        self._keys = keys
        self._texts: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._events: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A text without names, ARNs, request ids, addresses and what `failures.redaction` takes out."""
        # The same messages come with every look at a job.
        if text not in self._texts:
            self._texts[text] = self._redacted(text)
        return self._texts[text]

    def _redacted(self, text: str) -> str:
        # What has a name in it goes first: its rest tells as much.
        for pattern, stands in ((_ARNS, ARN), (_URIS, URI), (_HOSTS, "<image>"), (_IDS, "<id>")):
            text = pattern.sub(stands, text)
        text = text.replace(self._job_name, JOB)
        for name in self._names:
            text = text.replace(name, "<name>")
        return redact(text)

    def seconds(self, at: datetime) -> float:
        """Seconds after the start."""
        return round((at - self.start).total_seconds(), 3)

    def answer(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A CreateTrainingJob request, a DescribeTrainingJob answer, or an event's detail."""
        return {
            key: self._field(key, value)
            for key, value in given.items()
            if key not in {"ResponseMetadata", "Tags"}
        }

    def event(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """An EventBridge event. Two with one id have the same id here as well."""
        event_id = str(given.get("id", ""))
        detail = given.get("detail")
        kept: dict[str, Any] = {
            "id": self._events.setdefault(event_id, f"event-{len(self._events) + 1}"),
            "detail-type": self.text(str(given.get("detail-type", ""))),
            "detail": self.answer(detail) if isinstance(detail, Mapping) else {},
        }
        if "time" in given:
            kept["time"] = self._moment(given["time"])
        return kept

    def key(self, key: str) -> str:
        """The name of a file below the job's prefix: one of the library's, or a number that stands for it."""
        known = OWN_KEYS.fullmatch(key) or (self._keys is not None and self._keys.fullmatch(key))
        if known:
            return key
        number = self._files.setdefault(key, f"file-{len(self._files) + 1}")
        return f"{number}.tmp" if key.endswith(".tmp") else number

    def _field(self, key: str, value: Any) -> Any:
        if key in _FIXED:
            return _FIXED[key]
        if key.endswith("Time"):
            return self._moment(value)
        if key == "SecondaryStatusTransitions" and isinstance(value, list):
            return [self.answer(each) for each in value if isinstance(each, Mapping)]
        if key in _TEXTS:
            return self.text(str(value))
        if key in _OBJECTS and isinstance(value, Mapping):
            return {name: _harmless(value[name]) for name in _OBJECTS[key] if name in value}
        if key in (*_FLAGS, *_NUMBERS, *_STATES):
            return _harmless(value)
        return LEFT_OUT

    def _moment(self, value: Any) -> Any:
        """A moment in the cassette's way; None stays None."""
        if value is None:
            return None
        if isinstance(value, datetime):
            at = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return moment(self.seconds(at))
        ms = read_event_ms(value)
        if ms is None:
            return LEFT_OUT
        return moment(ms / 1000 - self.start.timestamp(), _form(value))


def _form(value: object) -> Form:
    if isinstance(value, str):
        return Form.MS_TEXT if value.strip().lstrip("-").replace(".", "", 1).isdigit() else Form.ISO
    if isinstance(value, int | float) and value < 100_000_000_000:
        return Form.SECONDS
    return Form.MS_FRACTION if isinstance(value, float) and value % 1 else Form.MS


def _harmless(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else LEFT_OUT
