"""Whole nights: the real workflow file, real handlers, a real process; three hours in at most 24 seconds."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from nightspot.job.model import Job
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker
from nightspot.local.stage.emulated_aws import REGION
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.session import LocalAws, LocalNight
from tests.simulation.nights import play_night

SCALE = 450.0  # story seconds per real second; slow enough for two busy cores
STEP_SECONDS = 300.0  # of the story: twelve steps are an hour of work
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SCRIPTS = Path(__file__).parent / "scripts"

AWS_CHANGES = ("check_quotas", "meanwhile", "on_sighting", "wrap")

Play = Callable[..., LocalNight]


def stop_when_training(simulator: SimulatedSageMaker, _clock: StoryClock) -> None:
    """A person who stops the job in the console."""
    client = boto3.client("sagemaker", region_name=REGION)
    while True:
        for state in simulator.states():
            if state.secondary == "Training":
                client.stop_training_job(TrainingJobName=state.name)
                return
        time.sleep(0.02)


# The nights that several tests look at: what `play` is given.
LOOKED_AT: dict[str, dict[str, Any]] = {
    "quiet": {},
    "Spot never comes": {"night": Night("never", "", Markets(default_spot=SimulatedMarket.never()))},
    "on-demand queues": {
        "night": Night(
            "late",
            "",
            Markets(
                default_spot=SimulatedMarket.never(),
                default_on_demand=SimulatedMarket.scripted([{"missing": "1h20m"}, {"available": "rest"}]),
            ),
        ),
        "work": "20m",
        "hyperparameters": {"steps": "4", "every": "2"},
        "deadline": {"within": "1h30m"},
    },
    "a bug in the script": {"hyperparameters": {"fail_at": "3"}},
    "runtime limit": {
        "stopping": {"MaxRuntimeInSeconds": 1500},
        "work": "20m",
        "checkpoint_every": "5m",
        "change_over": {"spot": "1m", "on_demand": "1m"},
        # No checkpoint is saved in time: the same again would come no further.
        "hyperparameters": {"every": "100"},
    },
    "a person": {"meanwhile": stop_when_training},
}


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
        night: Night | None = None,
        *,
        run_input: Any = None,
        time_scale: float = SCALE,
        scratch: Path | None = None,
        **changes: Any,
    ) -> LocalNight:
        aws_changes = {key: changes.pop(key) for key in AWS_CHANGES if key in changes}
        job = job_of(**changes)
        pause = {"REAL_SECONDS_PER_STEP": str(STEP_SECONDS / SCALE * slower)}
        local = job.local.model_copy(update={"environment": {**job.local.environment, **pause}})
        job = job.model_copy(update={"local": local})
        aws = LocalAws(
            jobs={job.name: job},
            night=night or Night("quiet", ""),
            scratch=scratch or tmp_path / "scratch",
            started_at=MIDNIGHT,
            price=lambda _instance_type, _region: 10.0,
            time_scale=time_scale / slower,
            **aws_changes,
        )
        return aws.play(job.name, run_input)

    return played


@pytest.fixture
def play_virtually() -> Play:
    """play_virtually(night, **changes of the job, run_input, wrap) -> the same in virtual time."""

    def played(night: Night | None = None, *, run_input: Any = None, **changes: Any) -> LocalNight:
        kept = {"wrap": changes.pop("wrap")} if "wrap" in changes else {}
        return play_night(job_of(**changes), night or Night("quiet", ""), run_input=run_input, **kept)

    return played


@pytest.fixture(scope="session")
def looked_at() -> dict[tuple[str, int], tuple[LocalNight, Path]]:
    """What was played of LOOKED_AT, by name and pace."""
    return {}


@pytest.fixture
def look_at(
    play: Play,
    slower: int,
    looked_at: dict[tuple[str, int], tuple[LocalNight, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[LocalNight, Path]]:
    """look_at(name) -> one of LOOKED_AT and its scratch folder; it is played once at each pace."""

    def look(name: str) -> tuple[LocalNight, Path]:
        if (name, slower) not in looked_at:
            scratch = tmp_path_factory.mktemp("night")
            looked_at[name, slower] = play(scratch=scratch, **LOOKED_AT[name]), scratch
        return looked_at[name, slower]

    return look
