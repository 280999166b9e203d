"""L18, L1: which runs had the same work to do."""

import pytest

from nightspot.job.model import Capacity, InstanceType, Job
from nightspot.job.times import Deadline
from nightspot.learn.identity import work_key_of

REQUEST = {
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {
        "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/recommender:2026.11.20",
        "TrainingInputMode": "File",
    },
    "HyperParameters": {"epochs": "24", "lr": "0.1", "run_date": "2026-11-20", "until": "2026-11-20"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {"S3Uri": "s3://data/clicks/2026/11/20/", "S3DataType": "S3Prefix"}
            },
        }
    ],
    "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 21_600},
    "Environment": {"LOG_LEVEL": "INFO"},
}


def key(work_seconds=14_400, capacity=None, **changes):
    job = Job(
        name="recommender",
        deadline=Deadline(within_seconds=28_800),
        work_seconds=work_seconds,
        capacity=capacity or Capacity(spot=("ml.p4d.24xlarge",), on_demand=("ml.p4d.24xlarge",)),
        training_job={**REQUEST, **changes},
    )
    return work_key_of(job)


def hyperparameters(**changes):
    return {"HyperParameters": {**REQUEST["HyperParameters"], **changes}}


def image(name):
    return {"AlgorithmSpecification": {**REQUEST["AlgorithmSpecification"], "TrainingImage": name}}


def channel(uri):
    return {"InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": uri}}}]}


@pytest.mark.parametrize(
    "change",
    [
        hyperparameters(run_date="2026-11-21"),
        hyperparameters(until="2026-11-21T00:00:00Z"),
        hyperparameters(git_commit="0123abc"),
        hyperparameters(**{"wandb-run-name": "tuesday", "seed": "8", "log-level": "debug"}),
        image("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/recommender:2026.11.21"),
        image(f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/recommender@sha256:{'0a' * 32}"),
        {"Environment": {"LOG_LEVEL": "DEBUG"}},
        {"StoppingCondition": {"MaxRuntimeInSeconds": 43_200}},
        {"ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 500}},
        {"Tags": [{"Key": "team", "Value": "ranking"}]},
        {"capacity": Capacity(spot=("ml.g5.12xlarge",), on_demand=("ml.g5.12xlarge",))},
    ],
    ids=[
        "a-date-by-its-name",
        "a-date-by-its-look",
        "a-commit",
        "names-seeds-and-levels",
        "another-tag",
        "a-digest",
        "the-environment",
        "a-limit",
        "the-volume",
        "tags",
        "other-machines",
    ],
)
def test_what_decides_nothing_about_the_length_makes_no_other_work(change):
    assert key(**change) == key()


def test_the_next_night_s_partition_is_the_same_channel():
    assert key(**channel("s3://data/clicks/2026/11/20/")) == key(**channel("s3://data/clicks/2026/11/21/"))
    assert key(**channel("s3://data/clicks/dt=20261120")) == key(**channel("s3://data/clicks/dt=20261121"))


@pytest.mark.parametrize(
    "change",
    [
        hyperparameters(epochs="100"),
        hyperparameters(model_name="bert-large"),
        hyperparameters(sagemaker_program="other.py"),
        image("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/ranking:2026.11.20"),
        channel("s3://data/views/2026/11/20/"),
        {"InputDataConfig": REQUEST["InputDataConfig"] * 2},
        {"work_seconds": 21_600},
    ],
    ids=["epochs", "the-model", "the-script", "another-image", "other-data", "more-channels", "another-work"],
)
def test_what_may_change_the_length_is_other_work(change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    "odd",
    [
        {"HyperParameters": None},
        {"AlgorithmSpecification": "none"},
        {"InputDataConfig": 7},
        {"HyperParameters": {"a": [1]}},
    ],
    ids=["no-hyperparameters", "no-algorithm", "no-channels", "no-text"],
)
def test_any_request_has_a_key(odd):
    assert len(key(**odd)) == 8


def test_speeds_of_the_ladder_are_no_part_of_the_work():
    slow = Capacity(spot=(InstanceType(instance_type="ml.g5.12xlarge", speed=0.3),))
    assert key(capacity=slow) == key()
