"""A night on this machine: the simulated SageMaker over moto's S3, real processes, a fast clock."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, SimulationOptions
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker

SCRIPTS = Path(__file__).parent / "scripts"
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
PATIENCE_REAL_SECONDS = 120


class Night:
    """One simulator with what it told: events and log lines."""

    def __init__(self, s3: Any, scratch: Path, script: str, **settings: Any) -> None:
        self.s3 = s3
        self.events: list[dict[str, Any]] = []
        self.lines: list[tuple[str, str]] = []
        self.clock = StoryClock(MIDNIGHT, settings.pop("scale", 3600))
        markets = Markets(
            default_spot=settings.pop("spot_market", SimulatedMarket.always()),
            default_on_demand=settings.pop("on_demand_market", SimulatedMarket.always()),
        )
        how = settings.pop("how", None)
        what = {"command": settings.pop("command", ["python", str(SCRIPTS / script)])}
        faults = {key: settings.pop(key) for key in list(settings) if key.endswith("_faults")}
        self.simulator = SimulatedSageMaker(
            self.clock,
            markets,
            scratch=scratch,
            **(what if how is None else {"command_of": lambda _request: how}),
            environment=settings.pop("environment", {}),
            on_event=self.events.append,
            on_log=lambda name, line: self.lines.append((name, line)),
            s3=s3,
            options=SimulationOptions(**settings),
            **faults,
        )

    def request(
        self, name: str = "job", *, spot: bool = True, parameters: Any = None, **more: Any
    ) -> dict[str, Any]:
        """A CreateTrainingJob request with `more` in place of its fields; None leaves one out."""
        limits = {"MaxRuntimeInSeconds": 86_400}
        if spot:
            limits["MaxWaitTimeInSeconds"] = 2 * 86_400
        request = {
            "TrainingJobName": name,
            "RoleArn": "arn:aws:iam::123456789012:role/training",
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
            "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/run"},
            "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": limits,
            "EnableManagedSpotTraining": spot,
            "HyperParameters": {key: str(value) for key, value in (parameters or {}).items()},
            **more,
        }
        return {field: value for field, value in request.items() if value is not None}

    def ask(self, name: str = "job", **more: Any) -> None:
        self.simulator.create_training_job(self.request(name, **more))

    def describe(self, name: str = "job") -> dict[str, Any]:
        return self.simulator.describe_training_job({"TrainingJobName": name})

    def stop(self, name: str = "job") -> None:
        self.simulator.stop_training_job({"TrainingJobName": name})

    def until(self, happened: Callable[[], Any]) -> Any:
        """Wait, in real time, for something true."""
        deadline = time.monotonic() + PATIENCE_REAL_SECONDS
        while not (found := happened()):
            assert time.monotonic() < deadline, f"never happened; the log says {self.lines}"
            time.sleep(0.005)
        return found

    def until_status(self, secondary: str, name: str = "job") -> dict[str, Any]:
        return self.until(lambda: (seen := self.describe(name))["SecondaryStatus"] == secondary and seen)

    def until_line(self, start: str) -> str:
        return self.until(lambda: next((line for line in self.said() if line.startswith(start)), None))

    def until_ended(self, name: str = "job") -> dict[str, Any]:
        final = {"Completed", "Failed", "Stopped"}
        return self.until(lambda: (seen := self.describe(name))["TrainingJobStatus"] in final and seen)

    def said(self) -> list[str]:
        return [line for _, line in list(self.lines)]

    def stored(self, prefix: str = "checkpoints/run/") -> dict[str, str]:
        entries = self.s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        return {entry["Key"].removeprefix(prefix): self.body(entry["Key"]).decode() for entry in entries}

    def body(self, key: str) -> bytes:
        return self.s3.get_object(Bucket="bucket", Key=key)["Body"].read()

    def archive(self, key: str) -> dict[str, str]:
        with tarfile.open(fileobj=io.BytesIO(self.body(key)), mode="r:gz") as archive:
            return {member.name: archive.extractfile(member).read().decode() for member in archive}


def statuses(description: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in description["SecondaryStatusTransitions"]]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="eu-west-1")
        client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield client


@pytest.fixture
def night(s3: Any, tmp_path: Path) -> Iterator[Callable[..., Night]]:
    """Open a night: `night(script="train.py", spot_market=…, scale=…, **options)`."""
    opened: list[Night] = []

    def open_night(script: str = "train.py", **settings: Any) -> Night:
        opened.append(Night(s3, tmp_path / f"scratch-{len(opened)}", script, **settings))
        return opened[-1]

    yield open_night
    for each in opened:
        each.simulator.close()


@pytest.fixture
def states_of() -> Callable[[dict[str, Any]], list[str]]:
    """The secondary statuses of a description, in order."""
    return statuses
