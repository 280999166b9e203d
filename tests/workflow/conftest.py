"""Whole nights: the real workflow file, real handlers, a real process; three hours in at most 24 seconds."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightspot.job import Job
from nightspot.local.nights import Night
from nightspot.local.session import LocalAws, LocalNight

SCALE = 450.0  # story seconds per real second; slow enough for two busy cores
STEP_SECONDS = 300.0  # of the story: twelve steps are an hour of work
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SCRIPTS = Path(__file__).parent / "scripts"

AWS_CHANGES = ("check_quotas", "meanwhile", "on_sighting", "wrap")

Play = Callable[..., LocalNight]


def job_of(**changes: Any) -> Job:
    """An hour of work that is due three hours after its start; Spot and on-demand at $10 an hour."""
    hyperparameters = {"steps": "12", "every": "2", **changes.pop("hyperparameters", {})}
    stopping = {"MaxRuntimeInSeconds": 7200, **changes.pop("stopping", {})}
    fields: dict[str, Any] = {
        "name": "counter",
        "deadline": {"within": "3h"},
        "work": "1h",
        "checkpoint_every": "10m",
        "capacity": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]},
        "training_job": {
            "RoleArn": "arn:aws:iam::123456789012:role/counter",
            "AlgorithmSpecification": {
                "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/counter:1",
                "TrainingInputMode": "File",
            },
            "HyperParameters": hyperparameters,
            "OutputDataConfig": {"S3OutputPath": "s3://counter-models/"},
            "CheckpointConfig": {"S3Uri": "s3://counter-checkpoints/"},
            "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": stopping,
        },
        "local": {
            "command": [sys.executable, str(SCRIPTS / "trainer.py")],
        },
        **changes,
    }
    return Job.model_validate(fields)


@pytest.fixture
def play(tmp_path: Path, slower: int) -> Play:
    """play(night, **changes of the job or of LocalAws) -> what is left of the night."""

    def played(
        night: Night | None = None, *, run_input: Any = None, time_scale: float = SCALE, **changes: Any
    ) -> LocalNight:
        aws_changes = {key: changes.pop(key) for key in AWS_CHANGES if key in changes}
        job = job_of(**changes)
        pause = {"REAL_SECONDS_PER_STEP": str(STEP_SECONDS / SCALE * slower)}
        local = job.local.model_copy(update={"environment": {**job.local.environment, **pause}})
        job = job.model_copy(update={"local": local})
        aws = LocalAws(
            jobs={job.name: job},
            night=night or Night("quiet", ""),
            scratch=tmp_path / "scratch",
            started_at=MIDNIGHT,
            price=lambda _instance_type, _region: 10.0,
            time_scale=time_scale / slower,
            **aws_changes,
        )
        return aws.play(job.name, run_input)

    return played
