"""A cloud of a few lines for drills on AWS: its training jobs go on whenever somebody sleeps."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from nightspot.aws.drill import Drill
from nightspot.aws.drill_plan import DrillJobs, DrillPlan, DrillResult, drill_id, plan_drill
from nightspot.job.model import Job

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PREFIX = "nightly/drill-261121-3fa9c/"
OUTPUT = "nightly/drill-output-261121-3fa9c/"


def job_of(request: dict[str, Any] | None = None, **changes: Any) -> Job:
    training_job = {
        "RoleArn": "arn:aws:iam::123456789012:role/training",
        "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/"},
        "CheckpointConfig": {"S3Uri": "s3://checkpoints/nightly/"},
        "ResourceConfig": {"InstanceCount": 2, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 21_600, "MaxWaitTimeInSeconds": 43_200},
        "Tags": [{"Key": "team", "Value": "recommendations"}],
        **(request or {}),
    }
    fields = {
        "name": "recommender",
        "deadline": {"within": "8h"},
        "work": "4h",
        "checkpoint_every": "10m",
        "capacity": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.2xlarge"]},
        "training_job": training_job,
    }
    return Job.model_validate({**fields, **changes})


def plan_of(**changes: Any) -> DrillPlan:
    fields = {
        "drill_id": drill_id(NOON, "3fa9c0de"),
        "region": "eu-west-1",
        "now": NOON,
        "price": lambda _kind, _region: 2.0,
        **changes,
    }
    return plan_drill(fields.pop("job", None) or job_of(), **fields)


@dataclass(frozen=True)
class Script:
    """A training script: one step a minute, a checkpoint every five; what it gets wrong is said."""

    total: int = 120
    every: int = 5
    restores: bool = True
    loses: int = 0  # steps that it goes back further than its checkpoint
    says: str = "all"  # "all", "nothing" (files of its own only), "no attempt", "no file at all"
    speaks_once: bool = False  # only job 1 writes a progress file
    fails: dict[int, str] = field(default_factory=dict)  # job number: why, after three minutes
    stays_at: int | None = None  # the last step that it saves
    queue_seconds: float = 60


@dataclass
class Machine:
    request: dict[str, Any]
    script: Script
    number: int
    asked_at: datetime
    begins_at: int = 0
    stopped_at: datetime | None = None
    done: int = 0

    @property
    def trains_at(self) -> datetime:
        return self.asked_at + timedelta(seconds=self.script.queue_seconds)

    def end(self, now: datetime) -> tuple[datetime, str, str, str | None] | None:
        """(when, status, secondary status, reason), once it is over."""
        limit = self.request["StoppingCondition"]["MaxRuntimeInSeconds"]
        left = self.script.total - self.begins_at
        ends = [
            (self.trains_at + timedelta(minutes=left), "Completed", "Completed", None),
            (self.trains_at + timedelta(seconds=limit), "Stopped", "MaxRuntimeExceeded", None),
        ]
        if self.stopped_at is not None:
            ends.append((self.stopped_at + timedelta(seconds=60), "Stopped", "Stopped", None))
        if self.number in self.script.fails:
            reason = self.script.fails[self.number]
            ends.append((self.trains_at + timedelta(minutes=3), "Failed", "Failed", reason))
        first = min(ends, key=lambda end: end[0])
        return first if first[0] <= now else None


class Cloud:
    """SageMaker, S3 and the clock. `refusals[call]`: what each call of that name raises, None being nothing."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.moment = NOON
        self.machines: dict[str, Machine] = {}
        self.objects: dict[str, bytes] = {}
        self.refusals: dict[str, list[BaseException | None]] = {}
        self.calls: list[str] = []
        self.slept: list[float] = []
        self.litter = 0  # files that the training writes beside its first checkpoint
        self.late_seconds = 0  # how long a training job is not seen after its creation
        self.undeletable: set[str] = set()

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)
        for machine in self.machines.values():
            self._train(machine)
        self._called("sleep")

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self._called("create")
        if name in self.machines:
            raise refused("ResourceInUse", "Training job names must be unique")
        begins_at = max(0, self._newest() - self.script.loses) if self.script.restores else 0
        number = int(name.rpartition("-")[2])
        self.machines[name] = Machine(request, self.script, number, self.moment, begins_at)
        self._called("answer")
        return {}

    def stop_training_job(self, **request: str) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self._called(f"stop {name[-1]}")
        machine = self._seen(name)
        if machine.end(self.moment) is not None:
            raise refused(
                "ValidationException", "The request was rejected because the job is in a final state"
            )
        machine.stopped_at = machine.stopped_at or self.moment
        return {}

    def describe_training_job(self, **request: str) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self._called("describe")
        machine = self._seen(name)
        return {"TrainingJobName": name, **self._description(machine)}

    def get_object(self, **request: str) -> dict[str, Any]:
        self._called("get")
        if request["Key"] not in self.objects:
            raise refused("NoSuchKey", "The specified key does not exist.")
        return {"Body": io.BytesIO(self.objects[request["Key"]])}

    def head_object(self, **request: str) -> dict[str, Any]:
        if request["Key"] not in self.objects:
            raise refused("404", "Not Found")
        return {}

    def list_objects_v2(self, *, Bucket: str, Prefix: str) -> dict[str, Any]:  # noqa: N803
        self._called("look")
        assert Bucket == "checkpoints"
        return {"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}

    def get_paginator(self, operation: str) -> Cloud:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        self._called("list")
        assert request["Bucket"] == "checkpoints"
        keys = [key for key in sorted(self.objects) if key.startswith(request["Prefix"])]
        # Two pages, the last one as S3 writes an empty one.
        return [{"Contents": [{"Key": key} for key in keys]}, {}]

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        self._called("delete")
        assert 1 <= len(request["Delete"]["Objects"]) <= 1000
        keys = {entry["Key"] for entry in request["Delete"]["Objects"]}
        for key in keys - self.undeletable:
            del self.objects[key]
        errors = [
            {"Key": key, "Code": "AccessDenied", "Message": "Denied"} for key in keys & self.undeletable
        ]
        return {"Errors": errors} if errors else {}

    def running(self) -> list[str]:
        """The training jobs that nobody has asked to stop, and that are not over."""
        return [
            name for name, m in self.machines.items() if m.stopped_at is None and m.end(self.moment) is None
        ]

    def _seen(self, name: str) -> Machine:
        machine = self.machines.get(name)
        if machine is None or self.moment < machine.asked_at + timedelta(seconds=self.late_seconds):
            raise refused("ValidationException", "Requested resource not found.")
        return machine

    def _called(self, name: str) -> None:
        self.calls.append(name)
        waiting = self.refusals.get(name)
        if waiting and (refusal := waiting.pop(0)) is not None:
            raise refusal

    def _newest(self) -> int:
        steps = [int(key.rpartition("-")[2]) for key in self.objects if key.startswith(f"{PREFIX}step-")]
        return max(steps, default=0)

    def _train(self, machine: Machine) -> None:
        script = machine.script
        end = machine.end(self.moment)
        until = self.moment if end is None else end[0]
        done = machine.begins_at + int((until - machine.trains_at).total_seconds() // 60)
        while machine.done < max(0, min(done, script.total) - machine.begins_at):
            machine.done += 1
            self._save(machine, machine.begins_at + machine.done)
        if script.restores and machine.number > 1 and self.moment >= machine.trains_at and not machine.done:
            self._say(machine, machine.begins_at)
        if end is not None:
            self.objects[f"{OUTPUT}{machine.number}/model.tar.gz"] = b"half a model"

    def _save(self, machine: Machine, step: int) -> None:
        if machine.script.stays_at is not None and step > machine.script.stays_at:
            return
        if step % machine.script.every == 0 and machine.script.says != "no file at all":
            self.objects[f"{PREFIX}step-{step}"] = b"state"
            self.objects |= {f"{PREFIX}events/{n}": b"" for n in range(self.litter)}
            self._say(machine, step)

    def _say(self, machine: Machine, step: int) -> None:
        script = machine.script
        if script.says in {"nothing", "no file at all"} or (script.speaks_once and machine.number > 1):
            return
        resumed = (
            {"step": machine.begins_at, "attempt": 1} if script.restores and machine.number > 1 else None
        )
        document = {
            "step": step,
            "saved_at": self.moment.isoformat(),
            "seconds_per_step": 60.0,
            "attempt": None if script.says == "no attempt" else machine.number,
            "checkpoint": f"step-{step}",
            "resumed_from": resumed,
            "started_at": machine.trains_at.isoformat(),
        }
        self.objects[f"{PREFIX}nightspot.json"] = json.dumps(document).encode()

    def _description(self, machine: Machine) -> dict[str, Any]:
        def entry(status: str, start: datetime, end: datetime | None = None) -> dict[str, Any]:
            return {"Status": status, "StartTime": start, **({"EndTime": end} if end else {})}

        end = machine.end(self.moment)
        if self.moment < machine.trains_at and end is None:
            transitions, status = [entry("Pending", machine.asked_at)], "InProgress"
        else:
            transitions, status = (
                [
                    entry("Pending", machine.asked_at, machine.trains_at),
                    entry("Training", machine.trains_at, end and end[0]),
                ],
                "InProgress",
            )
        if end is None:
            if machine.stopped_at is not None:
                transitions, status = [*transitions, entry("Stopping", machine.stopped_at)], "Stopping"
            return {
                "TrainingJobStatus": status,
                "SecondaryStatus": transitions[-1]["Status"],
                "SecondaryStatusTransitions": transitions,
            }
        at, status, secondary, reason = end
        seconds = (at - machine.trains_at).total_seconds()
        return {
            "TrainingJobStatus": status,
            "SecondaryStatus": secondary,
            "SecondaryStatusTransitions": [*transitions, entry(secondary, at)],
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
            **({"FailureReason": reason} if reason else {}),
        }


def refused(code: str, message: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "AnyOperation")


class Played:
    """A drill, and everything that it tells."""

    def __init__(self, script: Script, plan: DrillPlan) -> None:
        self.cloud = Cloud(script)
        self.plan = plan
        self.told: list[str] = []
        self.left: list[tuple[str, str]] = []

    def play(self, *, keep: bool = False) -> DrillResult:
        drill = Drill(
            self.plan,
            DrillJobs(self.cloud, self.cloud, sleep=self.cloud.sleep),
            now=self.cloud.now,
            sleep=self.cloud.sleep,
            tell=lambda _at, text: self.told.append(text),
            on_left=lambda name, why: self.left.append((name, why)),
        )
        return drill.play(keep=keep)


@pytest.fixture
def drill_job():
    """`drill_job(request, **changes)`: the drilled job, with changes of its request and of its file."""
    return job_of


@pytest.fixture
def plan():
    """`plan(**changes)`: the drill of that job at noon, at $2 an hour and machine."""
    return plan_of


@pytest.fixture
def drill():
    """`drill(plan={…}, **script)`: a drill of a script, ready to be played."""
    return lambda plan=None, **script: Played(Script(**script), plan_of(**(plan or {})))


@pytest.fixture
def refusal():
    """`refusal(code, message, status)`: what boto3 raises."""
    return refused
