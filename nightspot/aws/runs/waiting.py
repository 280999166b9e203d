"""Decides what a command that waits for a run may know beside its record: how the execution ended, and which faults
a wait outlives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.aws.runs.api_client import ApiError
from nightspot.failures.redaction import redact

# What AWS answers to credentials that have run out; renewed ones go through.
EXPIRED_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "UnrecognizedClientException"}
)
_EXPIRED_ERRORS = (
    exceptions.CredentialRetrievalError,
    exceptions.NoCredentialsError,
    exceptions.SSOTokenLoadError,
    exceptions.TokenRetrievalError,
    exceptions.UnauthorizedSSOTokenError,
)
# The signature's own: this machine's clock is behind or ahead of AWS's, until it has been set.
_EXPIRED_WORDS = (
    "security token included in the request is expired",
    "signature expired",
    "signature not yet current",
)
_SIGNATURE_CODES = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
_FORBIDDEN, _TOO_MANY = 403, 429


class CannotLookError(Exception):
    """The run could not be looked at just now; a later look may go through."""

    def __init__(self, text: str, *, is_expired: bool = False) -> None:
        super().__init__(text)
        self.is_expired = is_expired  # the credentials have run out: the next look needs new ones


@dataclass(frozen=True)
class ExecutionEnd:
    """An execution that is over. `status` is AWS's; `cause` is redacted."""

    status: str
    error: str | None = None
    cause: str | None = None

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.status, self.error, self.cause)))


def execution_end(step_functions: Any, execution_arn: str) -> ExecutionEnd | None:
    """How the execution ended; None while it runs, and for one that Step Functions does not know (yet).

    `step_functions` is boto3's client. Raises ClientError, BotoCoreError and TransientAwsError.
    """
    try:
        found = step_functions.describe_execution(executionArn=execution_arn)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ExecutionDoesNotExist":
            return None
        raise_if_transient(error)
        raise
    if found["status"] == "RUNNING":
        return None
    cause = found.get("cause")
    return ExecutionEnd(str(found["status"]), found.get("error"), redact(cause) if cause else None)


def as_passing(error: Exception) -> CannotLookError | None:
    """`error` as one that a wait outlives: a fault that may pass, or expired credentials; None for any other."""
    if isinstance(error, (TransientAwsError, *NO_ANSWER)):
        return CannotLookError(redact(str(error)))
    if isinstance(error, ApiError):
        return _of_api(error)
    if isinstance(error, ClientError):
        return _of_client(error)
    if isinstance(error, BotoCoreError) and isinstance(error, _EXPIRED_ERRORS):
        return CannotLookError(redact(str(error)), is_expired=True)
    return None


def _of_api(error: ApiError) -> CannotLookError | None:
    if error.status == _FORBIDDEN and _says_expired(error.detail):
        return CannotLookError(str(error), is_expired=True)
    may_pass = error.status == _TOO_MANY or error.status >= 500
    return CannotLookError(str(error)) if may_pass else None


def _of_client(error: ClientError) -> CannotLookError | None:
    code = error.response.get("Error", {}).get("Code")
    if code in EXPIRED_CODES or (code in _SIGNATURE_CODES and _says_expired(str(error))):
        return CannotLookError(redact(str(error)), is_expired=True)
    try:
        raise_if_transient(error)
    except TransientAwsError as passing:
        return CannotLookError(redact(str(passing)))
    return None


def _says_expired(text: str) -> bool:
    return any(words in text.lower() for words in _EXPIRED_WORDS)
