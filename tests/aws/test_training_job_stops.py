"""Asking for the stop of a training job: what is over already is no fault, and what AWS refuses is."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.training_jobs import TrainingJobs

NAME = "nightspot-recommender-20261121-abc123-1"


class SageMaker:
    """One training job in a status, or none; StopTrainingJob answers or raises `refusal`."""

    def __init__(self, status: str | None, refusal: Exception | None = None) -> None:
        self.status, self.refusal = status, refusal
        self.stopped: list[str] = []

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        if self.refusal is not None:
            raise self.refusal
        self.stopped.append(TrainingJobName)
        return {}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        if self.status is None:
            raise refused("ValidationException", "Requested resource not found.")
        return {"TrainingJobName": TrainingJobName, "TrainingJobStatus": self.status}


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "StopTrainingJob")


def test_a_training_job_is_asked_to_stop():
    sagemaker = SageMaker("InProgress")
    TrainingJobs(sagemaker).stop(NAME)
    assert sagemaker.stopped == [NAME]


@pytest.mark.parametrize("status", ["Stopping", "Stopped", "Completed", "Failed", None])
def test_one_that_is_over_or_was_never_there_needs_no_stop(status):
    sagemaker = SageMaker(status, refused("ValidationException", "The request was rejected"))
    TrainingJobs(sagemaker).stop(NAME)
    assert sagemaker.stopped == []


def test_one_that_goes_on_against_our_will_is_a_fault():
    sagemaker = SageMaker("InProgress", refused("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        TrainingJobs(sagemaker).stop(NAME)


@pytest.mark.parametrize(
    "refusal", [refused("ThrottlingException"), EndpointConnectionError(endpoint_url="https://x")]
)
def test_what_may_go_through_later_is_told_apart(refusal):
    with pytest.raises(TransientAwsError):
        TrainingJobs(SageMaker("InProgress", refusal)).stop(NAME)
