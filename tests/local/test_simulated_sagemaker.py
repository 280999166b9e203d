"""What the simulated SageMaker's API accepts, refuses and lists, in AWS's words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from nightspot.local.sagemaker.markets import SimulatedMarket
from nightspot.local.sagemaker.request_rules import (
    INTERNAL_FAILURE,
    THROTTLED,
    ServiceFaultError,
    access_denied,
)

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/job"


@pytest.fixture
def tonight(night):
    """A night on which nothing can be had, so that jobs wait and nothing runs."""
    return night(
        spot_market=SimulatedMarket.never(),
        on_demand_market=SimulatedMarket.never(),
        quotas={
            "ml.p4d.24xlarge for spot training job usage": 0,
            "ml.g5.xlarge for training job usage": 1,
        },
    )


def refusal(call, *arguments, **more):
    with pytest.raises(ServiceFaultError) as caught:
        call(*arguments, **more)
    return caught.value.code, caught.value.message


def condition(**limits):
    return {"StoppingCondition": limits}


def test_a_description_repeats_what_was_asked_for(tonight):
    asked = tonight.request(Environment={"A": "b"}, RetryStrategy={"MaximumRetryAttempts": 2})
    assert tonight.simulator.create_training_job(asked) == {"TrainingJobArn": ARN}
    described = tonight.describe()
    assert asked.items() <= described.items()
    assert described["TrainingJobArn"] == ARN
    assert described["TrainingJobStatus"] == "InProgress"
    assert described["EnableNetworkIsolation"] is False


def test_a_request_changed_after_the_call_changes_nothing(tonight):
    asked = tonight.request()
    tonight.simulator.create_training_job(asked)
    asked["StoppingCondition"]["MaxRuntimeInSeconds"] = 1
    assert tonight.describe()["StoppingCondition"]["MaxRuntimeInSeconds"] == 86_400


def test_a_name_is_used_up_even_by_a_job_that_has_ended(tonight):
    tonight.ask()
    tonight.stop()
    tonight.until_ended()
    code, message = refusal(tonight.ask)
    assert code == "ResourceInUse"
    assert message == (
        "Training job names must be unique within an AWS account and region,"
        f" and a training job with this name already exists ({ARN})"
    )


def test_of_two_simultaneous_requests_for_a_name_one_wins(tonight):
    def ask(_):
        try:
            tonight.ask()
        except ServiceFaultError as fault:
            return fault.code
        return "created"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert sorted(answers) == ["ResourceInUse"] * 7 + ["created"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "-job"}, "'trainingJobName' failed to satisfy constraint"),
        ({"name": "x" * 64}, "regular expression"),
        ({"name": "x-" * 31 + "xx"}, "length less than or equal to 63"),
        ({"RoleArn": ""}, "'roleArn' failed to satisfy constraint: Member must not be null"),
        ({"OutputDataConfig": {}}, "'outputDataConfig.s3OutputPath'"),
        ({"OutputDataConfig": {"S3OutputPath": "/tmp/models"}}, "not a valid S3 URI"),
        ({"CheckpointConfig": {}}, "not a valid S3 URI"),
        ({"ResourceConfig": {}}, "'resourceConfig.instanceType'"),
        (condition(MaxRuntimeInSeconds=60), "Invalid MaxWaitTimeInSeconds. It must be present"),
        (
            condition(MaxRuntimeInSeconds=60, MaxWaitTimeInSeconds=59),
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        (
            {
                "AlgorithmSpecification": {"AlgorithmName": "forest", "TrainingInputMode": "File"},
                "CheckpointConfig": None,
                **condition(MaxRuntimeInSeconds=60, MaxWaitTimeInSeconds=3601),
            },
            "It must not be greater than 3600 for an algorithm that does not support checkpointing",
        ),
        (
            {"spot": False, **condition(MaxRuntimeInSeconds=60, MaxWaitTimeInSeconds=60)},
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true",
        ),
        (
            {"spot": False, **condition(MaxRuntimeInSeconds=29 * 86_400)},
            "Invalid MaxRuntimeInSeconds",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.g5.xlarge", "KeepAlivePeriodInSeconds": 60}},
            "Invalid KeepAlivePeriodInSeconds",
        ),
    ],
)
def test_a_request_that_breaks_a_rule_is_invalid(tonight, changes, words):
    code, message = refusal(tonight.ask, **changes)
    assert code == "ValidationException"
    assert words in message
    assert tonight.simulator.states() == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"AlgorithmSpecification": {"TrainingImage": "image"}}, id="an image"),
        pytest.param({**condition(MaxRuntimeInSeconds=60, MaxWaitTimeInSeconds=3600)}, id="an hour"),
        pytest.param({"CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"}}, id="with checkpoints"),
        pytest.param({"spot": False}, id="on-demand"),
    ],
)
def test_an_algorithm_without_checkpoints_may_wait_for_an_hour_on_spot_and_nothing_else_is_limited(
    tonight, changes
):
    algorithm = {"AlgorithmSpecification": {"AlgorithmName": "forest"}, "CheckpointConfig": None}
    tonight.ask(**{**algorithm, **changes})
    assert len(tonight.simulator.states()) == 1


def test_a_spot_quota_of_zero_is_told_in_awss_words(tonight):
    wanted = {"ResourceConfig": {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1}}
    assert refusal(tonight.ask, **wanted) == (
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.p4d.24xlarge for spot training job usage' is 0 Instances,"
        " with current utilization of 0 Instances and a request delta of 1 Instances."
        " Please contact AWS support to request an increase for this limit.",
    )
    tonight.ask(spot=False, **wanted)


def test_a_quota_in_use_is_free_again_when_the_job_has_ended(tonight):
    tonight.ask("first", spot=False)
    code, message = refusal(tonight.ask, "second", spot=False)
    assert code == "ResourceLimitExceeded"
    assert "is 1 Instances, with current utilization of 1 Instances" in message
    tonight.stop("first")
    tonight.until_ended("first")
    tonight.ask("second", spot=False)


def test_a_job_that_does_not_exist_is_not_found(tonight):
    expected = ("ValidationException", "Requested resource not found.")
    assert refusal(tonight.describe, "nobody") == expected
    assert refusal(tonight.stop, "nobody") == expected


def test_only_a_job_in_progress_can_be_stopped(night):
    tonight = night()
    tonight.ask()
    tonight.until_ended()
    assert refusal(tonight.stop) == (
        "ValidationException",
        "The request was rejected because the training job is in status Completed.",
    )


def test_faults_answer_the_next_calls_and_then_it_works(night):
    denied = access_denied("arn:aws:iam::123456789012:role/workflow", "CreateTrainingJob", ARN)
    tonight = night(create_faults=[THROTTLED, denied], describe_faults=[INTERNAL_FAILURE])
    assert refusal(tonight.ask) == ("ThrottlingException", "Rate exceeded")
    code, message = refusal(tonight.ask)
    assert code == "AccessDeniedException"
    assert "is not authorized to perform: sagemaker:CreateTrainingJob" in message
    tonight.ask()
    assert refusal(tonight.describe)[0] == "InternalFailure"
    assert tonight.describe()["TrainingJobName"] == "job"


def test_a_fault_can_be_ordered_while_the_night_runs(tonight):
    tonight.ask()
    tonight.simulator.fail_next("StopTrainingJob", THROTTLED, times=2)
    assert [refusal(tonight.stop)[0] for _ in range(2)] == ["ThrottlingException"] * 2
    tonight.stop()
    assert tonight.until_ended()["TrainingJobStatus"] == "Stopped"


def test_jobs_are_listed_by_name_status_and_page(tonight):
    for name in ("night-b", "night-a", "day-c"):
        tonight.ask(name)
    tonight.stop("night-a")
    tonight.until_ended("night-a")

    def names(**request):
        answer = tonight.simulator.list_training_jobs(request)
        return [entry["TrainingJobName"] for entry in answer["TrainingJobSummaries"]]

    assert names() == ["night-b", "night-a", "day-c"]
    assert names(SortOrder="Descending") == ["day-c", "night-a", "night-b"]
    assert names(NameContains="night", SortBy="Name") == ["night-a", "night-b"]
    assert names(StatusEquals="InProgress") == ["night-b", "day-c"]
    assert names(CreationTimeAfter=tonight.describe("night-a")["CreationTime"]) == ["day-c"]
    first = tonight.simulator.list_training_jobs({"MaxResults": 2})
    assert names(MaxResults=2, NextToken=first["NextToken"]) == ["day-c"]
    assert refusal(names, NextToken="x")[0] == "ValidationException"
    assert refusal(names, SortBy="Colour")[0] == "ValidationException"


def test_a_closed_simulation_takes_no_more_jobs(tonight):
    tonight.simulator.close()
    tonight.simulator.close()
    assert refusal(tonight.ask) == ("ValidationException", "The simulation is closed")
