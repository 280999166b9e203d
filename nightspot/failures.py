"""Decides what a failure was: every way in which SageMaker says "no" gets one class.

A reason is read from its start only, because behind `AlgorithmError:` stands the user's own text, which may
contain any of AWS's words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from nightspot.run import FailureClass

MAX_REASON_CHARACTERS = 1024  # SageMaker's own limit for FailureReason
# A cause of Step Functions may have 32,768, and the patterns below take the square of the length.
_READ_CHARACTERS = 4 * MAX_REASON_CHARACTERS


class Answer(StrEnum):
    """What a run does about a class of failure."""

    MARKET = "market"  # try again, on the rung that the deadline allows
    WITHOUT_RUNG = "without_rung"  # the same, never on this rung again
    BACK_OFF = "back_off"  # try the same again, later and later
    RETRY = "retry"  # try the same again, at most twice
    FINISH = "finish"  # end the run; buy nothing more


ANSWERS: dict[FailureClass, Answer] = {
    FailureClass.NO_CAPACITY: Answer.MARKET,
    FailureClass.INTERRUPTED: Answer.MARKET,
    FailureClass.WAIT_LIMIT: Answer.MARKET,
    FailureClass.STOPPED_BY_NIGHTSPOT: Answer.MARKET,
    FailureClass.QUOTA_TEMPORARY: Answer.MARKET,
    FailureClass.QUOTA_PERMANENT: Answer.WITHOUT_RUNG,
    FailureClass.THROTTLED: Answer.BACK_OFF,
    FailureClass.SERVICE_FAULT: Answer.RETRY,
    FailureClass.RUNTIME_LIMIT: Answer.FINISH,
    FailureClass.USER_CODE: Answer.FINISH,
    FailureClass.OUT_OF_MEMORY: Answer.FINISH,
    FailureClass.CONFIGURATION: Answer.FINISH,
    FailureClass.PERMISSION: Answer.FINISH,
    FailureClass.STOPPED_BY_PERSON: Answer.FINISH,
    FailureClass.UNKNOWN: Answer.FINISH,
}


@dataclass(frozen=True)
class Fault:
    """An AWS call that was refused: Step Functions' error name and cause, or boto3's code and message."""

    error: str
    cause: str = ""


@dataclass(frozen=True)
class Failure:
    """The class, and AWS's words with what must not be stored taken out."""

    failure: FailureClass
    reason: str


# What wrappers put before AWS's own words. A code that they carry counts as the API's.
_PREFIXES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:botocore\.(?:exceptions|errorfactory)\.\w+|ClientError):\s*(?=An error occurred \()",
        r"An error occurred \((?P<code>\w+)\) when calling the \w+ operation"
        r"(?: \(reached max retries: \d+\))?:\s*",
        r"(?:UnexpectedStatusException:\s*)?Error for \w+ job \S+:\s*(?=Failed)",
        r"Failed\.?\s*Reason:\s*",
        r"Failure reason:?\s+",
        r"Received status from SageMaker:\s*",
        r"com\.amazonaws\.\S*Exception:\s*",
        r"ClientError:\s*Failed to invoke sagemaker:\w+\.\s*Error Details:\s*",
        r"(?P<code>ResourceLimitExceeded(?:Exception)?):\s*",
    )
)

_API_CODES: tuple[tuple[str, FailureClass], ...] = (
    (r"Throttling|TooManyRequests|RequestLimitExceeded|SlowDown", FailureClass.THROTTLED),
    (
        r"AccessDenied|UnauthorizedOperation|UnrecognizedClient|InvalidClientTokenId|ExpiredToken"
        r"|NotAuthorized|InvalidSignature",
        FailureClass.PERMISSION,
    ),
    (
        r"Internal(?:Failure|Server\w*|Error)|ServiceUnavailable|ServiceException$|SdkClient|RequestTimeout",
        FailureClass.SERVICE_FAULT,
    ),
    (r"ResourceInUse|ResourceNotFound|ConflictException", FailureClass.CONFIGURATION),
)

_NOT_ALLOWED = (
    r"not authorized to perform|no \S+-based policy allows|[Cc]ould not assume role|\(AccessDenied|AccessDenied \("
    r"|ensure that the role has|Access Denied\)?\.?$"
)
_TOO_BIG = r"(?:use an |a )instance type with more memory|out of memory|OutOfMemory|exceeds? (?:the )?memory"
_QUOTA_ZERO = r"\bis 0 Instances\b|\blimit is 0\b"
_NEVER_HERE = r"The requested resource training-job/\S+ is not available in this region"

# AWS's own words from the start of a text, first match wins.
_TEXTS: tuple[tuple[str, FailureClass], ...] = (
    (r"AlgorithmError\b|ENTRYPOINT FAILURE|ExecuteUserScriptError", FailureClass.USER_CODE),
    (r"No training job succeeded after \d+ attempts", FailureClass.USER_CODE),
    (
        r"CapacityError\b|Insufficient (?:instance )?capacity|There is not enough capacity"
        r"|Unable to provision requested ML compute capacity",
        FailureClass.NO_CAPACITY,
    ),
    (
        r"InternalServerError\b|We encountered an internal error|Launched instance was unhealthy",
        FailureClass.SERVICE_FAULT,
    ),
    (r"Rate exceeded|Throttling", FailureClass.THROTTLED),
    (r"MaxRuntime ?[Ee]xceeded", FailureClass.RUNTIME_LIMIT),
    (r"MaxWaitTime ?[Ee]xceeded", FailureClass.WAIT_LIMIT),
    (r"Interrupted\b", FailureClass.INTERRUPTED),
    (r"User: \S+ is not authorized|no \S+-based policy allows", FailureClass.PERMISSION),
    (
        r"The request was rejected because the training job is in status",
        FailureClass.STOPPED_BY_PERSON,
    ),
    (r"ClientError: See job logs for more information", FailureClass.USER_CODE),
)
_CONFIGURATION_TEXTS = (
    r"ClientError\b|Cannot pull algorithm container|EnableNetworkIsolation must|\d+ validation errors? detected"
    r"|Invalid |Unsupported |No S3 objects found|Cannot find the requested image|Caller is not subscribed"
    r"|Could not |Unable to locate|Only the following fields"
)

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "<e-mail>"),
    (re.compile(r"(s3://[a-z0-9.-]+/)[^\s\"',)\]]+"), r"\1<key>"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "<access key>"),
    (re.compile(r"(?i)\b((?:hf|ghp|gho|ghs|sk|xox[abp])[-_])[A-Za-z0-9_-]{16,}"), r"\1<token>"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), r"\1<token>"),
    (
        re.compile(r"(?i)\b(\w*(?:token|secret|password|api_?key|access_?key)[\"']?\s*[=:]\s*)\S+"),
        r"\1<secret>",
    ),
    (re.compile(r"(?<!\d)\d{12}(?!\d)"), "<account>"),
)


def redact(text: str) -> str:
    """`text` without account ids, e-mail addresses, S3 keys and tokens, at most 1,024 characters."""
    text = text[:_READ_CHARACTERS]
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text.strip()[:MAX_REASON_CHARACTERS]


def classify(
    *,
    status: str | None = None,
    secondary_status: str | None = None,
    failure_reason: str | None = None,
    fault: Fault | None = None,
    stop_requested: bool = False,
) -> Failure:
    """The class of a training job's end or of a refused call.

    `stop_requested`: Nightspot itself asked for the stop. `Stopped` is never success.
    """
    if fault is not None:
        return _of_fault(fault)
    reason = redact(failure_reason or "")
    if status == "Stopped":
        return Failure(_of_stopped(secondary_status, stop_requested), reason)
    return Failure(_of_text(failure_reason or ""), reason)


def _of_stopped(secondary_status: str | None, stop_requested: bool) -> FailureClass:
    if secondary_status == "MaxWaitTimeExceeded":
        return FailureClass.WAIT_LIMIT
    if secondary_status == "MaxRuntimeExceeded":
        return FailureClass.RUNTIME_LIMIT
    if secondary_status == "Interrupted":
        return FailureClass.INTERRUPTED
    return FailureClass.STOPPED_BY_NIGHTSPOT if stop_requested else FailureClass.STOPPED_BY_PERSON


def _of_fault(fault: Fault) -> Failure:
    code = fault.error.rpartition(".")[2]
    return Failure(_of_text(fault.cause, code=code), redact(f"{fault.error}: {fault.cause}"))


def _of_text(text: str, code: str = "") -> FailureClass:
    text, code = _unwrap(text, code)
    if code.startswith("ResourceLimitExceeded") or _starts(text, r"The account-level service limit"):
        return _of_quota(text)
    for pattern, failure in _API_CODES:
        # A generic name ends in the service's own ("SageMakerException") and says nothing.
        if code and not code.endswith("SageMakerException") and re.search(pattern, code):
            return failure
    for pattern, failure in _TEXTS:
        if _starts(text, pattern):
            return failure
    if _starts(text, _NEVER_HERE):
        return FailureClass.CONFIGURATION
    is_aws_text = bool(code) or _starts(text, _CONFIGURATION_TEXTS)
    if is_aws_text and re.search(_NOT_ALLOWED, text):
        return FailureClass.PERMISSION
    if is_aws_text and re.search(_TOO_BIG, text):
        return FailureClass.OUT_OF_MEMORY
    if code.startswith("Validation") or _starts(text, _CONFIGURATION_TEXTS):
        return FailureClass.CONFIGURATION
    return _of_status_code(text) if code else FailureClass.UNKNOWN


def _of_quota(text: str) -> FailureClass:
    if _starts(text, _NEVER_HERE) or re.search(_QUOTA_ZERO, text):
        return FailureClass.QUOTA_PERMANENT
    return FailureClass.QUOTA_TEMPORARY


def _of_status_code(cause: str) -> FailureClass:
    """Step Functions names unmodelled faults alike; their HTTP status tells them apart."""
    match = re.search(r"Status Code: (\d)(\d\d)", cause)
    if match is None:
        return FailureClass.UNKNOWN
    if match[1] == "5":
        return FailureClass.SERVICE_FAULT
    if match[0].endswith(("401", "403")):
        return FailureClass.PERMISSION
    if match[0].endswith("429"):
        return FailureClass.THROTTLED
    # A validation that failed; what has a status of its own has a meaning of its own.
    return FailureClass.CONFIGURATION if match[0].endswith("400") else FailureClass.UNKNOWN


def _unwrap(text: str, code: str) -> tuple[str, str]:
    text = text.strip()
    while True:
        for prefix in _PREFIXES:
            match = prefix.match(text)
            if match:
                code = match.groupdict().get("code") or code
                text = text[match.end() :].lstrip()
                break
        else:
            return re.sub(r"[ \t]+", " ", text), code


def _starts(text: str, pattern: str) -> bool:
    return re.match(rf"(?:{pattern})", text) is not None
