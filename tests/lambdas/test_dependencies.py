"""The deployed functions' own collaborators."""

from __future__ import annotations

from datetime import UTC

import pytest
import yaml
from moto import mock_aws
from pydantic import ValidationError

from lambdas.dependencies import dependencies
from lambdas.plan_run import handler
from nightspot.local.emulated_aws import REGION, TABLE, create_resources
from nightspot.local.functions import LocalContext

JOB = {
    "name": "recommender",
    "deadline": {"within": "8h"},
    "work": "4h",
    "capacity": {"spot": ["ml.g5.2xlarge"], "on_demand": ["ml.g5.2xlarge"]},
    "training_job": {
        "RoleArn": "arn:aws:iam::123456789012:role/training",
        "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://models/"},
        "CheckpointConfig": {"S3Uri": "s3://checkpoints/nightly/"},
        "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
        "FieldOfTomorrow": "which this botocore does not know",
    },
}


@pytest.fixture
def deployed(monkeypatch, tmp_path):
    """A function's environment, with the jobs that were bundled."""
    for name, value in {
        "NIGHTSPOT_TABLE_NAME": TABLE,
        "NIGHTSPOT_BUS_NAME": "default",
        "NIGHTSPOT_JOBS_DIRECTORY": str(tmp_path),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "recommender.yaml").write_text(yaml.safe_dump(JOB))
    dependencies.cache_clear()
    with mock_aws():
        create_resources(())
        yield tmp_path
    dependencies.cache_clear()


def test_they_are_made_once(deployed):
    assert dependencies() is dependencies()


def test_the_clock_is_aware_and_in_utc(deployed):
    assert dependencies().now().tzinfo is UTC


def test_the_prices_are_those_of_the_package_and_unknown_where_it_has_none(deployed):
    price = dependencies().price
    assert price("ml.g5.2xlarge", "us-east-1") == 1.515
    assert price("ml.never.heard", "us-east-1") is None


def test_a_request_that_was_checked_at_deployment_is_not_checked_against_an_older_model(deployed):
    assert dependencies().jobs()["recommender"].training_job["FieldOfTomorrow"]


def test_the_jobs_are_read_once(deployed):
    first = dependencies().jobs()
    (deployed / "recommender.yaml").unlink()
    assert dependencies().jobs() is first


def test_a_handler_works_with_them_where_it_is_given_no_others(deployed):
    execution = {
        "id": "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one",
        "started_at": "2026-11-21T00:00:00Z",
    }
    event = {"input": {"job": "recommender"}, "execution": execution}
    run = handler(event, LocalContext("PlanRun"))["run"]
    recorded = dependencies().table.run(run["run_id"])
    assert (recorded.job, recorded.rungs[0].region) == ("recommender", REGION)


def test_a_function_without_its_environment_says_what_is_missing(deployed, monkeypatch):
    monkeypatch.delenv("NIGHTSPOT_BUS_NAME")
    with pytest.raises(ValidationError, match="NIGHTSPOT_BUS_NAME"):
        dependencies()
