"""What a wait learns of an execution, and which faults it outlives."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ParamValidationError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import EXPIRED_CODES, ApiError, ExecutionEnd, as_passing, execution_end
from nightspot.aws.runs.executions import state_machine_of

ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:recommender-1"


def refused(code, status=400, message="m"):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "DescribeExecution")


class StepFunctions:
    def __init__(self, answer):
        self.answer = answer

    def describe_execution(self, *, executionArn):  # noqa: N803
        assert executionArn == ARN
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_an_execution_that_is_over_says_how():
    answer = {"status": "FAILED", "error": "Nightspot.InvalidInput", "cause": "job: 'x' of 123456789012"}
    end = execution_end(StepFunctions(answer), ARN)
    assert end == ExecutionEnd("FAILED", "Nightspot.InvalidInput", "job: 'x' of <account>")
    assert str(end) == "FAILED: Nightspot.InvalidInput: job: 'x' of <account>"


@pytest.mark.parametrize("answer", [{"status": "RUNNING"}, refused("ExecutionDoesNotExist")])
def test_one_that_runs_or_is_not_known_yet_is_not_over(answer):
    assert execution_end(StepFunctions(answer), ARN) is None


def test_a_fault_is_told_from_a_refusal():
    with pytest.raises(TransientAwsError):
        execution_end(StepFunctions(refused("ThrottlingException")), ARN)
    with pytest.raises(ClientError):
        execution_end(StepFunctions(refused("AccessDeniedException")), ARN)


def test_the_state_machine_is_told_by_its_execution():
    assert state_machine_of(ARN) == "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot"
    for text in ("", "x", "arn:aws:s3:::bucket", ARN.replace(":execution:", ":express:")):
        with pytest.raises(ValueError, match="must be the ARN of a standard execution"):
            state_machine_of(text)


@pytest.mark.parametrize(
    ("error", "is_expired"),
    [
        *((refused(code), True) for code in sorted(EXPIRED_CODES)),
        (NoCredentialsError(), True),
        (ApiError(403, "The security token included in the request is expired"), True),
        (ApiError(403, "Signature not yet current: 20261121T000700Z"), True),
        (refused("InvalidSignatureException", message="Signature expired: 20261121T000000Z"), True),
        (ApiError(429, "x"), False),
        (ApiError(503, "x"), False),
        (TransientAwsError("x"), False),
        (EndpointConnectionError(endpoint_url="https://x"), False),
        (refused("ThrottlingException"), False),
        (refused("Whatever", 500), False),
    ],
)
def test_faults_that_pass_are_outlived_and_expired_credentials_known_as_such(error, is_expired):
    passing = as_passing(error)
    assert passing is not None
    assert passing.is_expired is is_expired


@pytest.mark.parametrize(
    "error",
    [
        refused("AccessDeniedException"),
        refused("InvalidSignatureException", message="The request signature does not match"),
        ApiError(403, "Forbidden"),
        ApiError(404, "x"),
        ParamValidationError(report="x"),
    ],
)
def test_refusals_are_not(error):
    assert as_passing(error) is None
