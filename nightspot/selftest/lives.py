"""A live job of the self-test: how it is started and watched, and what its recorded life says of each fact."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from nightspot.cassettes.model import Cassette, Origin, Source, seconds_of
from nightspot.cassettes.recording import Recorder
from nightspot.formats.statuses import ENDED, Secondary
from nightspot.selftest.refusals import ACCEPTED, class_of
from nightspot.selftest.workspace import Workspace

PROBE = Path(__file__).with_name("probe.py")
# The probe's own files, whose names a cassette may have.
KEYS = re.compile(r"(?:counter|small|large|last|progress|put)[\w.-]*")
LONGEST_LIFE_SECONDS = 1800
# How long after a job's end its last events and files are still waited for.
ECHO_SECONDS = 30
_VERSIONS_EVERY = 2
TERMINAL = tuple(status.value for status in ENDED)


def started_by(workspace: Workspace) -> str:
    """The S3 prefix of the probe, put there once."""

    def put() -> str:
        bucket = workspace.bucket()
        workspace.client("s3").put_object(Bucket=bucket, Key="code/probe.py", Body=PROBE.read_bytes())
        return f"s3://{bucket}/code/"

    return str(workspace.once("probe", put))


class Live:
    """One job. `story`: what the probe does; `prefix`: of its checkpoints, its own by default."""

    def __init__(
        self,
        workspace: Workspace,
        part: str,
        story: Mapping[str, Any],
        *,
        prefix: str | None = None,
        **changes: Any,
    ) -> None:
        self.workspace, self.name = workspace, workspace.name(part)
        bucket = workspace.bucket()
        self.prefix = prefix or f"checkpoints/{part}/"
        channel = {"S3DataType": "S3Prefix", "S3Uri": started_by(workspace)}
        entrypoint = ["python3", "/opt/ml/input/data/code/probe.py"]
        self.request = workspace.request(
            part,
            **{
                "AlgorithmSpecification": {
                    "TrainingImage": workspace.image,
                    "TrainingInputMode": "File",
                    "ContainerEntrypoint": entrypoint,
                },
                "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": channel}}],
                "CheckpointConfig": {"S3Uri": f"s3://{bucket}/{self.prefix}"},
                "Environment": {"NIGHTSPOT_PROBE": json.dumps(story)},
                **changes,
            },
        )
        self._recorder = Recorder(
            workspace.client("sagemaker"),
            self.name,
            now=workspace.now,
            s3=workspace.client("s3"),
            prefix_uri=f"s3://{bucket}/{self.prefix}",
            names=(bucket, workspace.token),
            keys=KEYS,
        )
        self._slept = 0.0
        self.created_at = workspace.now()
        self.stopped_after: list[float] = []

    def start(self) -> None:
        """CreateTrainingJob. What may have been made is remembered before the call."""
        self.workspace.queue()
        self.workspace.made("training job", self.name)
        self.created_at = self.workspace.now()
        self._recorder.create(self.request)

    def stop(self) -> str:
        """StopTrainingJob; the class of its refusal, "accepted" where there was none."""
        self.stopped_after.append((self.workspace.now() - self.created_at).total_seconds())
        try:
            self._recorder.stop()
        except ClientError as error:
            return class_of(error)
        return ACCEPTED

    def until(
        self, reached: Callable[[Mapping[str, Any]], bool], longest: float = LONGEST_LIFE_SECONDS
    ) -> bool:
        """Look each second until `reached` or the job's end; whether it was reached. Raises TimeoutError."""
        began = self.workspace.now()
        while True:
            answer = self._look()
            if reached(answer):
                return True
            if answer["TrainingJobStatus"] in TERMINAL:
                return False
            if (self.workspace.now() - began).total_seconds() > longest:
                raise TimeoutError(f"{self.name} is {answer['SecondaryStatus']} after {longest:g} s")
            self.workspace.sleep(1)

    def _look(self) -> Mapping[str, Any]:
        answer = self._recorder.describe()
        for event, at in self.workspace.events_of(self.name):
            self._recorder.event(event, at)
        self._slept += 1
        if self._slept % _VERSIONS_EVERY == 0:
            self._recorder.list_versions()
        return answer

    def wait(self, seconds: float) -> None:
        """Look for so long."""
        until = self.workspace.now() + timedelta(seconds=seconds)
        self.until(lambda _answer: self.workspace.now() >= until)

    def end(self, what: str) -> Life:
        """The job's life, once it is over and its last events and files have come."""
        self.until(lambda answer: answer["TrainingJobStatus"] in TERMINAL)
        for _ in range(0, ECHO_SECONDS, 5):
            self.workspace.sleep(5)
            answer = self._look()
        self._recorder.list_versions()
        self.workspace.billed(self.name, answer)
        notes = [note for line in self.workspace.log_of(self.name) if (note := _note(line)) is not None]
        for note in notes:
            at = datetime.fromtimestamp(note["at"], self.created_at.tzinfo)
            if note["probe"] in {"wrote", "deleted"}:
                self._recorder.file(str(note["file"]), note.get("bytes"), at)
            else:
                self._recorder.note(str(note["probe"]), at)
        origin = Origin.SIMULATION if self.workspace.emulator else Origin.AWS
        cassette = self._recorder.cassette(what, origin=origin, evidence=f"nightspot selftest: {what}")
        return Life(
            cassette,
            tuple(notes),
            self.created_at,
            tuple(self.stopped_after),
            dict(answer),
            self._keep(cassette),
        )

    def _keep(self, cassette: Cassette) -> str:
        """Its name and digest, as facts name it."""
        text = cassette.dump()
        part = self.name.removeprefix(self.workspace.name(""))
        self.workspace.cassettes[f"{part}.json"] = text
        return f"{part}.json#{hashlib.sha256(text.encode()).hexdigest()}"


def _note(line: str) -> dict[str, Any] | None:
    """What the probe has said in a line of the log; None for any other line."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return (
        said
        if isinstance(said, dict) and "probe" in said and isinstance(said.get("at"), int | float)
        else None
    )


@dataclass(frozen=True)
class Life:
    """What was seen of one job. Times are seconds after its creation."""

    cassette: Cassette
    notes: tuple[Mapping[str, Any], ...]
    created_at: datetime
    stopped_after: tuple[float, ...]
    answer: Mapping[str, Any]  # the last DescribeTrainingJob
    kept_as: str = ""

    def at(self, note: Mapping[str, Any]) -> float:
        """When the probe said so."""
        return float(note["at"]) - self.created_at.timestamp()

    def said(self, name: str) -> Iterator[Mapping[str, Any]]:
        """The probe's notes of a kind."""
        return (note for note in self.notes if note["probe"] == name)

    @property
    def end(self) -> str:
        """Status and secondary status at the end."""
        return f"{self.answer['TrainingJobStatus']} {self.answer['SecondaryStatus']}"

    @property
    def statuses(self) -> list[str]:
        """The secondary statuses in order, as the transitions tell them."""
        return [each["Status"] for each in self.answer.get("SecondaryStatusTransitions", ())]

    @property
    def billed_seconds(self) -> float:
        """By AWS's own figure."""
        return float(self.answer.get("BillableTimeInSeconds", 0))

    def ended_after(self) -> float | None:
        """When its last transition was over; None where AWS does not say."""
        ends = [
            each[key]
            for each in self.answer.get("SecondaryStatusTransitions", ())
            for key in ("EndTime", "StartTime")
            if each.get(key) is not None
        ]
        return (max(ends) - self.created_at).total_seconds() if ends else None

    def stop_seconds(self) -> float | None:
        """From the first StopTrainingJob to the end."""
        end = self.ended_after()
        return None if end is None or not self.stopped_after else round(end - self.stopped_after[0], 1)

    def after_stop(self) -> str:
        """The statuses from Stopping on: "Stopping Uploading Stopped"."""
        names = self.statuses
        tail = names[names.index(Secondary.STOPPING) :] if Secondary.STOPPING in names else []
        if tail and tail[-1] != self.answer["SecondaryStatus"]:
            tail.append(self.answer["SecondaryStatus"])
        return " ".join(name for index, name in enumerate(tail) if index == 0 or tail[index - 1] != name)

    def term_seconds(self) -> float | None:
        """From SIGTERM to the probe's last word; None without SIGTERM."""
        term = next(self.said("sigterm"), None)
        return None if term is None else round(self.at(self.notes[-1]) - self.at(term), 1)

    def stored(self, kind: str = "put") -> list[tuple[float, str, int]]:
        """(when, key, bytes) of the versions in S3, or of the delete markers."""
        return [
            (entry.t, str(entry.payload["key"]), int(entry.payload.get("size", 0)))
            for entry in self.cassette.of(Source.S3)
            if entry.payload["kind"] == kind
        ]

    def lags(self, pattern: str) -> list[float]:
        """From each save of a file that fits to its version in S3, for those that were uploaded before the next."""
        found = []
        for note in self.said("wrote"):
            if re.fullmatch(pattern, note["file"]):
                # S3 tells whole seconds.
                after = [
                    at for at, key, _ in self.stored() if key == note["file"] and at >= self.at(note) - 1
                ]
                if after:
                    found.append(round(max(0.0, min(after) - self.at(note)), 1))
        return found

    def torn(self) -> list[str]:
        """Keys of versions whose size no save of that file had. The probe writes each of them in one size."""
        sizes: dict[str, set[int]] = {}
        for note in self.said("wrote"):
            sizes.setdefault(note["file"], set()).add(int(note["bytes"]))
        return sorted({key for _, key, size in self.stored() if key in sizes and size not in sizes[key]})

    def events(self) -> list[tuple[float, Mapping[str, Any]]]:
        """(arrival, detail) of the events."""
        return [(entry.t, entry.payload["detail"]) for entry in self.cassette.of(Source.EVENT)]

    def event_delays(self) -> list[float]:
        """From the time that an event tells to its arrival."""
        told = [(at, seconds_of(detail.get("LastModifiedTime"))) for at, detail in self.events()]
        return [round(max(0.0, at - modified), 1) for at, modified in told if modified is not None]

    def has_while(self, status: str, field: str) -> bool:
        """Whether a description with this status had the field."""
        return any(
            field in entry.payload
            for entry in self.cassette.of(Source.DESCRIBE)
            if entry.payload["TrainingJobStatus"] == status
        )
