"""A good job file to spoil: each test changes what it is about."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job
from nightspot.job.reading import parse_job

GOOD = """
name: recommender
schedule: {cron: "0 0 * * ? *", timezone: UTC}
deadline: {at: "08:00", timezone: UTC}
work: 4h
checkpoint_every: 30m
capacity:
  spot: [ml.p4d.24xlarge, {instance_type: ml.g5.48xlarge, speed: 0.8}]
  on_demand: [ml.p4d.24xlarge]
fallback: on_demand
budget: {per_run_usd: 160}
training_job:
  RoleArn: arn:aws:iam::123456789012:role/training
  AlgorithmSpecification: {TrainingImage: training:latest, TrainingInputMode: File}
  OutputDataConfig: {S3OutputPath: s3://models/nightly/}
  CheckpointConfig: {S3Uri: s3://checkpoints/nightly/}
  ResourceConfig: {InstanceCount: 1, VolumeSizeInGB: 50}
  StoppingCondition: {MaxRuntimeInSeconds: 21600}
local:
  command: [python, train.py]
"""

Changes = Mapping[str, Any]
DROP = object()


def changed(changes: Changes) -> str:
    """The good file with `changes`: dotted paths to new values, or to None-like DROP to leave out."""
    document = yaml.safe_load(GOOD)
    for path, value in changes.items():
        *above, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        place = document
        for part in above:
            place = place[part] if isinstance(part, int) else place.setdefault(part, {})
        if value is DROP:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return yaml.safe_dump(document)


@pytest.fixture
def drop() -> object:
    return DROP


@pytest.fixture(scope="session")
def job_with() -> Callable[..., Job]:
    def parse(changes: Changes, **options: bool) -> Job:
        return parse_job(changed(changes), **options)

    return parse


@pytest.fixture
def problems_with() -> Callable[..., tuple[Problem, ...]]:
    def parse(changes: Changes, **options: bool) -> tuple[Problem, ...]:
        with pytest.raises(InvalidJobError) as caught:
            parse_job(changed(changes), **options)
        return caught.value.problems

    return parse
