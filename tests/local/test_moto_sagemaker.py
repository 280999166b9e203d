"""boto3's own calls, inside moto, against the simulated SageMaker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from nightspot.local.sagemaker.markets import SimulatedMarket
from nightspot.local.sagemaker.request_rules import INTERNAL_FAILURE, THROTTLED
from nightspot.local.sagemaker.sagemaker import installed

QUOTAS = {"ml.p4d.24xlarge for spot training job usage": 0}


@pytest.fixture
def client(s3):
    no_retries = Config(retries={"total_max_attempts": 1})
    return boto3.client("sagemaker", region_name="eu-west-1", config=no_retries)


def test_a_job_is_created_described_and_listed_through_boto3(night, client):
    tonight = night()
    with installed(tonight.simulator):
        created = client.create_training_job(**tonight.request())
        tonight.until_ended()
        described = client.describe_training_job(TrainingJobName="job")
        (listed,) = client.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
    assert described["TrainingJobArn"] == created["TrainingJobArn"] == listed["TrainingJobArn"]
    assert described["TrainingJobStatus"] == "Completed"
    assert described["CreationTime"].tzinfo is not None
    begun = described["CreationTime"].astimezone(UTC) - tonight.clock.start
    assert timedelta() <= begun < timedelta(days=1)
    assert described["TrainingStartTime"] < described["TrainingEndTime"]
    last = described["SecondaryStatusTransitions"][-1]
    assert (last["Status"], last["EndTime"]) == ("Completed", described["TrainingEndTime"])
    assert described["StoppingCondition"]["MaxWaitTimeInSeconds"] == 2 * 86_400
    assert described["BillableTimeInSeconds"] <= described["TrainingTimeInSeconds"]


def test_a_job_is_stopped_through_boto3(night, client):
    tonight = night(spot_market=SimulatedMarket.never())
    with installed(tonight.simulator):
        client.create_training_job(**tonight.request())
        client.stop_training_job(TrainingJobName="job")
        assert tonight.until_ended()["TrainingJobStatus"] == "Stopped"
        with pytest.raises(ClientError, match="is in status Stopped") as caught:
            client.stop_training_job(TrainingJobName="job")
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_refusals_arrive_as_boto3s_exceptions(night, client):
    tonight = night(spot_market=SimulatedMarket.never(), quotas=QUOTAS)
    big = {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    with installed(tonight.simulator):
        client.create_training_job(**tonight.request())
        with pytest.raises(client.exceptions.ResourceInUse, match="names must be unique"):
            client.create_training_job(**tonight.request())
        with pytest.raises(client.exceptions.ResourceLimitExceeded, match="is 0 Instances"):
            client.create_training_job(**tonight.request("big", ResourceConfig=big))
        with pytest.raises(ClientError, match="Requested resource not found") as caught:
            client.describe_training_job(TrainingJobName="nobody")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [(THROTTLED, "ThrottlingException", 400), (INTERNAL_FAILURE, "InternalFailure", 500)],
)
def test_faults_arrive_with_code_and_status(night, client, fault, code, status):
    tonight = night(create_faults=[fault])
    with installed(tonight.simulator), pytest.raises(ClientError) as caught:
        client.create_training_job(**tonight.request())
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_calls_may_come_from_several_threads(night, client):
    tonight = night(spot_market=SimulatedMarket.never())

    def create(number):
        return client.create_training_job(**tonight.request(f"job-{number}"))["TrainingJobArn"]

    with installed(tonight.simulator), ThreadPoolExecutor(4) as pool:
        arns = set(pool.map(create, range(12)))
        pages = client.get_paginator("list_training_jobs").paginate(MaxResults=5)
        listed = {entry["TrainingJobArn"] for page in pages for entry in page["TrainingJobSummaries"]}
    assert len(arns) == 12
    assert listed == arns


def test_moto_answers_again_when_it_is_over(night, client):
    tonight = night(spot_market=SimulatedMarket.never())
    with installed(tonight.simulator):
        client.create_training_job(**tonight.request())
    assert client.list_training_jobs()["TrainingJobSummaries"] == []
