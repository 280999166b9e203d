"""Drills of a real training script on the simulated SageMaker, through boto3 and the command's own code."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from botocore.exceptions import ClientError
from moto import mock_aws

from nightspot.cli.account import Asked, Aws
from nightspot.cli.drill import OnAws, drill_on_aws
from nightspot.job.model import Job
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.markets import Markets
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker, installed

pytestmark = pytest.mark.workflow

REGION = "eu-west-1"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRAINER = Path(__file__).parents[1] / "workflow" / "scripts" / "trainer.py"
SCALE = 450.0  # story seconds in a real one
PATIENCE_REAL_SECONDS = 120
NAME = "nightspot-counter-drill-261121-3fa9c"


def job_of(hyperparameters: dict[str, str] | None = None) -> Job:
    """A counter on ml.g5.xlarge, at $1.57 an hour in eu-west-1."""
    return Job.model_validate(
        {
            "name": "counter",
            "deadline": {"within": "8h"},
            "work": "1h",
            "checkpoint_every": "10m",
            "capacity": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]},
            "training_job": {
                "RoleArn": "arn:aws:iam::123456789012:role/counter",
                "AlgorithmSpecification": {
                    "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/counter:1",
                    "TrainingInputMode": "File",
                },
                "HyperParameters": {"steps": "400", "every": "2", **(hyperparameters or {})},
                "OutputDataConfig": {"S3OutputPath": "s3://models/counter/"},
                "CheckpointConfig": {"S3Uri": "s3://checkpoints/counter/"},
                "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 10},
                "StoppingCondition": {"MaxRuntimeInSeconds": 14_400},
            },
        }
    )


class Simulated:
    """An account whose SageMaker is the simulated one, in a story that passes fast."""

    def __init__(self, scratch: Path, slower: int) -> None:
        self.s3 = boto3.client("s3", region_name=REGION)
        for bucket in ("checkpoints", "models"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.sagemaker = boto3.client("sagemaker", region_name=REGION)
        self.clock = StoryClock(NOON, SCALE / slower)
        self.simulator = SimulatedSageMaker(
            self.clock,
            Markets(),
            scratch=scratch,
            command=[sys.executable, str(TRAINER)],
            environment={"REAL_SECONDS_PER_STEP": "0.02"},
            on_event=lambda _event: None,
            s3=self.s3,
        )

    def client(self, service: str) -> Any:
        return {"s3": self.s3, "sagemaker": self.sagemaker}[service]

    def drill(
        self,
        job: Job,
        *,
        sleep: Callable[[float], None] | None = None,
        market: str | None = None,
        as_json: bool = False,
    ) -> int:
        """Play it to its end, and give the command's exit status."""
        passed = {"now": self.clock.now, "sleep": sleep or self.clock.sleep, "token": lambda: "3fa9c0de"}
        with installed(self.simulator), pytest.raises(typer.Exit) as ended:
            drill_on_aws(
                job,
                OnAws(yes=True, market=market),
                Asked(),
                aws=Aws(REGION, self.client),
                as_json=as_json,
                **passed,
            )
        return ended.value.exit_code

    def stored(self) -> list[str]:
        listed = (self.s3.list_objects_v2(Bucket=bucket) for bucket in ("checkpoints", "models"))
        return [entry["Key"] for page in listed for entry in page.get("Contents", ())]

    def statuses(self) -> dict[str, str]:
        return {state.name: str(state.status) for state in self.simulator.states()}

    def until_none_runs(self) -> dict[str, str]:
        over = time.monotonic() + PATIENCE_REAL_SECONDS
        while not set(self.statuses().values()) <= {"Completed", "Failed", "Stopped"}:
            assert time.monotonic() < over, self.statuses()
            time.sleep(0.01)
        return self.statuses()


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slower: int) -> Iterator[Simulated]:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    with mock_aws():
        world = Simulated(tmp_path, slower)
        with world.simulator:
            yield world


def test_a_real_training_that_resumes_passes_and_leaves_nothing_behind(simulated, capsys):
    status = simulated.drill(job_of(), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (status, found["outcome"]) == (0, "pass"), found["because"]
    first, second = found["training_jobs"]
    assert [first["name"], second["name"]] == [f"{NAME}-1", f"{NAME}-2"]
    assert second["resumed_from_step"] == first["step_after"] > 0
    assert second["step_after"] > first["step_after"]
    assert re.fullmatch(
        rf"job 2 resumed from step {first['step_after']}, saved by job 1, and went on to step \d+",
        found["because"],
    )
    assert 0 < found["cost_usd"] <= found["most_usd"]
    assert simulated.statuses() == {f"{NAME}-1": "Stopped", f"{NAME}-2": "Stopped"}
    assert simulated.stored() == []


def test_a_real_training_that_ignores_its_checkpoints_fails_and_says_where_they_lie(simulated, capsys):
    assert simulated.drill(job_of({"forgetful": "1"}), market="spot") == 1
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "FAIL" in shown
    assert "job 2 started again from zero" in shown
    assert "s3://checkpoints/counter/drill-261121-3fa9c" in shown
    assert set(simulated.statuses().values()) == {"Stopped"}
    assert any(key.endswith("nightspot.json") for key in simulated.stored())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_the_command_stops_its_training_job(simulated, number, capsys):
    raised = []

    def sleep(seconds: float) -> None:
        simulated.clock.sleep(seconds)
        if not raised and simulated.clock.now() > NOON + timedelta(minutes=4):
            raised.append(number)
            signal.raise_signal(number)

    assert simulated.drill(job_of(), sleep=sleep) == 130
    assert "interrupted: the drill's training jobs are asked to stop" in capsys.readouterr().err
    assert simulated.until_none_runs() == {f"{NAME}-1": "Stopped"}


def test_a_quota_of_nothing_is_told_in_words(simulated, capsys):
    def refuse(**_request: Any) -> None:
        message = (
            "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 Instances, with current "
            "utilization of 0 Instances and a request delta of 1 Instances."
        )
        error = {"Code": "ResourceLimitExceeded", "Message": message}
        raise ClientError({"Error": error}, "CreateTrainingJob")

    simulated.sagemaker.create_training_job = refuse
    assert simulated.drill(job_of()) == 2
    said = capsys.readouterr().err
    assert "the drill was not carried out: cannot start" in said
    assert "ask in Service Quotas" in said
    assert simulated.statuses() == {}
