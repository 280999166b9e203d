"""Which AWS faults are worth repeating, and which are answers."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
)

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient


def fault(code: str, status: int = 400) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": "said AWS"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "AnyOperation")


@pytest.mark.parametrize(
    "code",
    [
        "EC2ThrottledException",
        "ExecutionLimitExceeded",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "KMSThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    ],
)
def test_a_throttle_or_a_service_fault_is_transient_and_keeps_the_words_of_aws(code):
    with pytest.raises(TransientAwsError, match=rf"\({code}\).*said AWS"):
        raise_if_transient(fault(code))


@pytest.mark.parametrize("status", [500, 503])
def test_any_fault_of_the_server_is_transient_whatever_it_is_called(status):
    with pytest.raises(TransientAwsError):
        raise_if_transient(fault("NeverHeardOf", status))


def test_what_aws_said_is_redacted_because_it_becomes_a_cause_in_step_functions():
    assert (
        str(TransientAwsError("arn:aws:iam::123456789012:role/x\x1b[2J")) == "arn:aws:iam::<account>:role/x"
    )


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException", "ResourceNotFound", ""])
def test_an_answer_is_not_transient(code):
    raise_if_transient(fault(code))


def test_a_fault_without_any_detail_is_not_transient():
    raise_if_transient(ClientError({}, "AnyOperation"))


@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url="https://example.org"),
        EndpointConnectionError(endpoint_url="https://example.org"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ReadTimeoutError(endpoint_url="https://example.org"),
    ],
)
def test_a_broken_connection_counts_as_no_answer(error):
    assert isinstance(error, NO_ANSWER)


def test_missing_credentials_are_not_a_broken_connection():
    assert not isinstance(NoCredentialsError(), NO_ANSWER)
