"""Whether another run's execution is still alive: yes, no, or AWS does not say."""

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber
from moto import mock_aws

from nightspot.aws.executions import Executions

REGION = "eu-west-1"
ARN = f"arn:aws:states:{REGION}:123456789012:execution:nightspot:one"
DEFINITION = '{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}}'


@pytest.fixture
def step_functions():
    with mock_aws():
        yield boto3.client("stepfunctions", region_name=REGION)


@pytest.fixture
def unmocked():
    return boto3.client("stepfunctions", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def execution(step_functions) -> str:
    machine = step_functions.create_state_machine(
        name="nightspot", definition=DEFINITION, roleArn="arn:aws:iam::123456789012:role/nightspot"
    )
    return step_functions.start_execution(stateMachineArn=machine["stateMachineArn"], name="one")[
        "executionArn"
    ]


class Answering:
    """Step Functions with one answer for everything."""

    def __init__(self, answer) -> None:
        self._answer = answer

    def describe_execution(self, *, executionArn):  # noqa: N803
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"executionArn": executionArn, "status": self._answer}


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Any"
    )


def test_an_execution_is_running_until_it_is_aborted(step_functions, execution):
    executions = Executions(step_functions)
    assert executions.is_running(execution) is True
    step_functions.stop_execution(executionArn=execution)
    assert executions.is_running(execution) is False


def test_an_execution_that_step_functions_does_not_know_is_over(step_functions):
    assert Executions(step_functions).is_running(ARN) is False


def test_of_all_that_aws_may_say_only_one_word_means_running(unmocked):
    known = unmocked.meta.service_model.shape_for("ExecutionStatus").enum
    assert {"RUNNING", "PENDING_REDRIVE", "ABORTED"} < set(known)
    assert [word for word in known if Executions(Answering(word)).is_running(ARN)] == ["RUNNING"]
    assert {Executions(Answering(word)).is_running(ARN) for word in known} == {True, False}


@pytest.mark.parametrize(
    "error",
    [
        refusal("AccessDeniedException"),
        refusal("InvalidArn"),
        refusal("ThrottlingException"),
        refusal("InternalServerError", 500),
        EndpointConnectionError(endpoint_url="https://example.org"),
        NoCredentialsError(),
    ],
    ids=lambda error: error.response["Error"]["Code"] if hasattr(error, "response") else type(error).__name__,
)
def test_where_aws_does_not_say_nobody_is_taken_for_dead(error, caplog):
    assert Executions(Answering(error)).is_running(ARN) is None
    assert ARN in caplog.text


def test_it_asks_for_the_execution_that_it_was_asked_about(unmocked):
    with Stubber(unmocked) as stubber:
        answer = {
            "executionArn": ARN,
            "stateMachineArn": ARN,
            "status": "PENDING_REDRIVE",
            "startDate": "2026-11-21",
        }
        stubber.add_response("describe_execution", answer, {"executionArn": ARN})
        assert Executions(unmocked).is_running(ARN) is False
        stubber.assert_no_pending_responses()
