"""Tells the AWS faults that a later call may not meet from those that it will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions
from botocore.exceptions import ClientError

from nightspot.failures.redaction import redact

# What boto3 raises where the connection failed or broke; botocore has no common class for it.
NO_ANSWER = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)

_TRANSIENT_CODES = frozenset(
    {
        "ExecutionLimitExceeded",  # of Step Functions: too many at once
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


class NotYetError(Exception):
    """What was asked for cannot be done just now; the same again later may go through."""


class TransientAwsError(NotYetError):
    """AWS could not answer just now; the same call later may go through. Its text, redacted, is what AWS said.

    It ends functions, so that it becomes a cause in Step Functions and a line in logs.
    """

    def __init__(self, said: str) -> None:
        super().__init__(redact(said))


def raise_if_transient(error: ClientError) -> None:
    """Raise TransientAwsError in place of `error` where it is worth repeating; else return.

    boto3 has repeated the call a few times by then; the state machine's retry waits longer.
    """
    response = error.response
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = code_of(error)
    # Services name their throttles after themselves: KMSThrottlingException, EC2ThrottledException.
    if code in _TRANSIENT_CODES or "Throttl" in code or status == 429 or status >= 500:
        raise TransientAwsError(str(error)) from error


@contextmanager
def asking_aws() -> Iterator[None]:
    """Inside: a fault that is worth another call is raised as TransientAwsError, every other as it is."""
    try:
        yield
    except NO_ANSWER as error:
        raise TransientAwsError(str(error)) from error
    except ClientError as error:
        raise_if_transient(error)
        raise


def code_of(error: BaseException | None) -> str:
    """AWS's code of a refusal; empty for what is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
