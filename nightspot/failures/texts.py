"""What AWS's words mean: JSON is read, wrappers are taken off the start of a text, and the rest is matched."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.failures import codes
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market

# SageMaker's reasons have 1,024; wrappers and a user's command lines stand around them.
_READ_CHARACTERS = 4096
_MOST_WRAPPERS = 12


@dataclass(frozen=True)
class TextVerdict:
    """What a text says; `quota_market` only for a quota, and only where the text names the market."""

    failure: FailureClass
    quota_market: Market | None = None


def _start(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\s*(?:{pattern})", re.IGNORECASE)


# What wrappers put before AWS's own words: botocore, SageMaker's SDKs, Airflow, AWS Batch, Pipelines, Java's SDKs,
# the console. A code that they carry counts as the API's.
_PREFIXES = tuple(
    _start(pattern)
    for pattern in (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?\s+(?=\S)",
        r"(?:botocore\.\w+\.\w+|ClientError|Resource(?:LimitExceeded|InUse|NotFound))\s*:\s*"
        r"(?=An error occurred \()",
        r"An error occurred \((?P<code>[\w.]+)\) when calling the \w+ operation"
        r"(?: \(reached max retries: \d+\))?\s*:?\s*",
        r"(?:(?:sagemaker|airflow)\.[\w.]{1,80}\.)?(?:UnexpectedStatusException|CapacityError|ValueError"
        r"|AirflowException"
        r"|FailedStatusError)\s*:\s*(?=Error (?:for|training)\b|Encountered unexpected|SageMaker job failed)",
        r"Error (?:for \w+ job|training)(?: \S+?)?\s*:\s*(?=Failed)",
        r"Encountered unexpected failed state while waiting for [\w ]+\. Final Resource State: \w+\.\s*",
        r"SageMaker job failed because\s+",
        r"(?:Training job \S+ )?failed for (?:the following )?reason\s*:\s*'?",
        r"Failed\.?\s*Reason\s*:\s*",
        r"Failure\s*reason\s*(?::|\s)\s*",
        r"(?:statusReason\s*:\s*)?Received status from SageMaker\s*:\s*",
        r"Caused by\s*:\s*",
        r"(?:com\.amazonaws|software\.amazon\.awssdk)\.(?:\w+\.)*(?P<code>\w+Exception)\s*:\s*",
        r"(?:ClientError\s*:\s*)?Failed to invoke sagemaker:\w+\.\s*Error Details\s*:\s*",
        # SageMaker's own class of errors may stand there twice, and before a lack of capacity.
        r"ClientError\s*:\s*(?=ClientError\s*:|Unable to provision requested|Insufficient (?:instance "
        r")?capacity)",
    )
)
_NAME_AT_START = re.compile(r"\s*(?P<code>[A-Za-z][\w.]{2,80}\w)\s*(?::\s*|\.?\s*$)")

# fact: sagemaker.failure.exit
_USERS_TEXT = _start(
    r"Algorithm ?Error\b|ENTRYPOINT FAILURE|ExecuteUserScriptError|Framework Error\b|Exit ?Code:? \d"
    r"|No training job succeeded after \d+ attempts|Traceback \(most recent call last\)"
    r"|ClientError\s*:\s*(?:(?:Please )?see job logs|(?:container )?exit(?:ed)?(?: with)? code)"
)

_STATUS = r"(?:Stopped|Stopping|Failed)(?: - |\s?/\s?)"  # SecondaryStatus and StatusMessage in one line
_HERE = r"(?:the |this |your )?(?:requested |selected |specified )?(?:Availability Zone|region|AZ)"

# AWS's own sentences from the start of a text, first match wins. Those of a class that buys again are whole enough
# not to be met by accident.
_SENTENCES: tuple[tuple[re.Pattern[str], FailureClass], ...] = tuple(
    (_start(pattern), failure)
    for pattern, failure in (
        (
            r"CapacityError\s*(?::|\.?$)|Unable to provision requested ML compute capacity"
            rf"|Insufficient (?:instance |host |Spot )?capacity(?:\.?$|\. | error from EC2| in {_HERE}"
            r"| for (?:the )?(?:requested )?instance| for ml\.| to (?:launch|provision|fulfil))"
            r"|There is not enough capacity for instance|There is no Spot capacity available"
            r"|We currently do not have sufficient (?:\S+ )?capacity|Training job waiting for capacity"
            r"|Instance type '?ml\.[\w.-]{1,40}'? is temporarily unavailable in"
            r"|(?:Server\.)?(?:EC2)?Insufficient(?:Instance|Host)?Capacity(?:Error|Exception)?(?: error\b"
            r"|\s?[-(])",
            FailureClass.NO_CAPACITY,
        ),
        (
            rf"(?:{_STATUS})?(?:MaxRuntime ?Exceeded\b|(?:Training )?job runtime exceeded MaxRuntime"
            r"|The (?:training )?job stopped because it exceeded the maximum allowed runtime)"
            r"|Job attempt duration exceeded timeout",
            FailureClass.RUNTIME_LIMIT,
        ),
        (
            rf"(?:{_STATUS})?(?:MaxWaitTime ?Exceeded(?:$|\W)|(?:Training )?job runtime exceeded MaxWaitTime"
            r"|The (?:training )?job stopped because it exceeded the maximum allowed wait time)",
            FailureClass.WAIT_LIMIT,
        ),
        (
            rf"(?:{_STATUS})?(?:Interrupted(?:\.?$| - )|The (?:training )?job stopped because the managed spot "
            r"training instances were interrupted)|InProgress\s?/\s?Interrupted\.?$"
            r"|Host EC2 \(instance [^)]{1,40}\) terminated",
            FailureClass.INTERRUPTED,
        ),
        (
            r"InternalServerError\s*(?::|\.?$)|We encountered an internal error\b|Launched instance was "
            r"unhealthy,"
            r"|The request processing has failed because of an unknown error"
            r"|The request has failed due to a temporary failure of the server"
            r"|(?:HTTP )?50[0234] (?:Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out)"
            r"|(?:Internal Server Error|Service Unavailable)(?:\.?$| \(Service: )|Unable to execute HTTP "
            r"request\b"
            r"|(?:Could not connect to the endpoint URL|(?:Connect|Read) timeout on endpoint URL"
            r"|Connection was closed before we received a valid response from endpoint URL)\s*:\s*"
            r"\"?https?://[\w.-]*sagemaker",
            FailureClass.SERVICE_FAULT,
        ),
        (r"Rate exceeded(?:\.?$| \(|\. )|Throttling(?:\.?$|: Rate exceeded)", FailureClass.THROTTLED),
        (
            r"The request was rejected because the training job is in status|Stopp(?:ed|ing)(?:\.?$| - |\s?/\s?)"
            r"|(?:The )?training job (?:was|has been|has) stopped",
            FailureClass.STOPPED_BY_PERSON,
        ),
        (r"(?:ClientError\s*:\s*)?Please use an instance type with more memory", FailureClass.OUT_OF_MEMORY),
        (
            r"(?:ClientError\s*:\s*)?(?:No S3 objects found under|Cannot pull algorithm container)",
            FailureClass.CONFIGURATION,
        ),
        (
            r"User: \S+ is not authorized|no \S+-based policy allows|The security token included in the "
            r"request is"
            r"|The AWS Access Key Id needs a subscription|Unable to locate credentials|Could not assume role"
            r"|Access ?Denied\b",
            FailureClass.PERMISSION,
        ),
    )
)
# May be met by accident: they end the run, which is what an unknown text does.
_CONFIGURATION = _start(
    r"ClientError\b|EnableNetworkIsolation must|\d+ validation errors? detected|Invalid |Unsupported "
    r"|Cannot find the requested image|Caller is not subscribed|Could not |Unable to locate"
    r"|Only the following fields|The requested resource training-job/|Parameter validation failed"
    r"|Training job names must be unique"
    r"|Training job already exists|Requested resource not found|The (?:subnet|security group|VPC) (?:ID|with)\b"
    r"|TrainingImageConfig with|The specified bucket does not exist|Job name must be unique"
)

# Searched for anywhere, in AWS's own text only.
_NOT_ALLOWED = re.compile(
    r"not authorized to perform|-based policy allows|(?:not|unable to) assume (?:the )?role|access ?denied"
    r"|\(403\)|403 Forbidden|explicit deny|ensure that the role has|permission denied|insufficient permission"
    r"|(?:does not|doesn't) have (?:the )?(?:\S+ )?permission|not allowed to access",
    re.IGNORECASE,
)
# fact: sagemaker.failure.memory
_TOO_BIG = re.compile(
    r"instance (?:type )?with more memory|out of memory|OutOfMemory|insufficient memory|exceed\w* (?:the "
    r")?memory",
    re.IGNORECASE,
)
_QUOTA = _start(
    r"(?:The )?account-level service limit|You have requested more (?:vCPU capacity|instances)"
    r"|Your quota allows for \d+ more|Max(?:imum)? spot instance count exceeded"
)
_NEVER_HERE = _start(r"The requested resource \S+ is not available in this region")
_QUOTA_NAME = re.compile(r"service limit (?:for )?['\"]?(?P<name>[^'\"]{1,120}?)['\"]? is \d")
_LIMIT = re.compile(r"(?:\bis|limit of|quota allows for) (\d[\d,]{0,12})\b")
_DELTA = re.compile(r"request delta of (\d[\d,]{0,12})\b")
_SERVICE = re.compile(
    r"\(Service: [^;,()]{1,60}[;,] Status Code: (?P<status>\d{3})(?:[;,] Error Code: (?P<code>[\w.]{1,80}))?"
)


def read(text: str, code: str = "") -> TextVerdict:
    """What the text of a failure says, with the API's `code` where one is known. UNKNOWN where it says nothing."""
    text, code = _unwrapped(text, code)
    if _USERS_TEXT.match(text):
        return TextVerdict(FailureClass.USER_CODE)
    status, inner = _service_part(text)
    name = inner if inner and codes.is_generic(code) else code
    named = codes.class_of_name(name)
    if named is FailureClass.QUOTA_TEMPORARY or _QUOTA.match(text):
        return _of_quota(text, name)
    failure = (
        named
        or _by_sentence(text)
        or _by_words(text, name)
        or (_of_name_alone(name) if not text else None)
        or (_by_status(status) if name else _by_unvouched_end(inner, status))
    )
    return TextVerdict(failure or FailureClass.UNKNOWN)


def is_users_text(text: str) -> bool:
    """Whether AWS passes on the training script's own text here: nothing of it is AWS's."""
    return _USERS_TEXT.match(text) is not None


def quota_name(text: str) -> str | None:
    """The quota that a text names, as Service Quotas lists it; None where it names none."""
    match = _QUOTA_NAME.search(" ".join(text.split()))
    return match["name"] if match else None


def is_server_fault(cause: str) -> bool:
    """Whether a fault's cause ends with an HTTP status by which the service itself has failed."""
    status, _ = _service_part(cause)
    return status is not None and codes.class_of_status(status) is FailureClass.SERVICE_FAULT


def innermost(cause: str) -> str:
    """The words of a cause that is JSON, as Step Functions and Lambda write theirs; else the cause itself."""
    for _ in range(_MOST_WRAPPERS):
        words = parse(cause)
        if not isinstance(words, FaultWords):
            break
        inner = words.cause if isinstance(parse(words.cause), FaultWords) else ""
        cause = inner or ": ".join(filter(None, (words.error, words.cause)))
    return cause


def _unwrapped(text: str, code: str) -> tuple[str, str]:
    """The text from AWS's own words on, its white space single, and the innermost code before them."""
    text = " ".join(text[: 2 * _READ_CHARACTERS].split())[:_READ_CHARACTERS]
    for _ in range(_MOST_WRAPPERS):
        if _USERS_TEXT.match(text):
            break
        match = next((start for prefix in _PREFIXES if (start := prefix.match(text))), None)
        if match is None:
            match = _NAME_AT_START.match(text)
            if match is None or not codes.opens_a_text(match["code"]) or _by_sentence(text):
                break
        found: str | None = match.groupdict().get("code")
        # A name that stands for every fault says less than the code that it was caught with.
        if found and not (codes.is_generic(found) and code and code.lower() != codes.TASK_FAILED):
            code = found
        text = text[match.end() :].lstrip()
    return text, code


def _by_sentence(text: str) -> FailureClass | None:
    return next((failure for pattern, failure in _SENTENCES if pattern.match(text)), None)


def _by_words(text: str, name: str) -> FailureClass | None:
    """The class that AWS's own text tells somewhere; none of them leads to another attempt."""
    is_configuration = _CONFIGURATION.match(text) is not None or codes.is_validation(name)
    if name or is_configuration:
        if _NOT_ALLOWED.search(text):
            return FailureClass.PERMISSION
        if _TOO_BIG.search(text):
            return FailureClass.OUT_OF_MEMORY
    if is_configuration:
        return FailureClass.CONFIGURATION
    return codes.class_of_family(name)


def _of_name_alone(name: str) -> FailureClass | None:
    """What Step Functions' names are in most cases, where no cause says more."""
    if name.lower() == codes.TASK_FAILED:
        return FailureClass.USER_CODE
    return FailureClass.THROTTLED if codes.is_generic(name) and name.lower() != "clienterror" else None


def _by_status(status: int | None) -> FailureClass | None:
    return None if status is None else codes.class_of_status(status)


def _by_unvouched_end(inner: str, status: int | None) -> FailureClass | None:
    """What the end of a text says of which nothing else is known: never a reason to buy again."""
    failure = codes.class_of_name(inner) or _by_status(status)
    return failure if failure in {FailureClass.CONFIGURATION, FailureClass.PERMISSION} else None


def _service_part(text: str) -> tuple[int | None, str]:
    """HTTP status and code from the Java SDK's last parenthesis; Step Functions passes it on."""
    match = _SERVICE.match(text, max(0, text.rfind("(Service: ")))
    return (int(match["status"]), match["code"] or "") if match else (None, "")


def _of_quota(text: str, name: str) -> TextVerdict:
    limit, delta = _number(_LIMIT, text), _number(_DELTA, text)
    # A request that is greater than the limit will not fit, however long anybody waits.
    never = limit is not None and (limit == 0 or (delta is not None and delta > limit))
    permanent = never or _NEVER_HERE.match(text) is not None
    failure = FailureClass.QUOTA_PERMANENT if permanent else FailureClass.QUOTA_TEMPORARY
    return TextVerdict(failure, _quota_market(text, name))


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return int(match[1].replace(",", "") or 0) if match else None


def _quota_market(text: str, name: str) -> Market | None:
    if re.search(r"spot training job", text, re.IGNORECASE) or "SpotInstanceCount" in name:
        return Market.SPOT
    return Market.ON_DEMAND if re.search(r"for training job usage|training-job/\S+ is \d", text) else None


_DECODER = json.JSONDecoder()
_GAP = re.compile(r"[\s,:]*")

# Where a document keeps an error's name and its words: Step Functions (two spellings), Lambda, the JSON protocol
# of AWS's APIs, botocore.
_FAULT_FIELDS = (
    ("Error", "Cause"),
    ("error", "cause"),
    ("errorType", "errorMessage"),
    ("__type", "message"),
    ("__type", "Message"),
    ("Code", "Message"),
)


@dataclass(frozen=True)
class JobWords:
    """What a document in the shape of DescribeTrainingJob says of a training job's end."""

    status: str | None
    secondary_status: str | None
    failure_reason: str
    transitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaultWords:
    """What a document says of a refused call."""

    error: str
    cause: str


def parse(text: str) -> JobWords | FaultWords | None:
    """What `text` says if it is a JSON object; None if it is not, or is one of no known shape.

    A document that was cut off is read as far as it goes.
    """
    if not text.lstrip().startswith("{"):
        return None
    fields = _fields(text.lstrip())
    # EventBridge's state-change event carries the description inside.
    detail = fields.get("detail")
    return _job(detail if isinstance(detail, dict) else fields) or _fault(fields)


def _job(fields: Mapping[str, Any]) -> JobWords | None:
    status, secondary = _text(fields, "TrainingJobStatus"), _text(fields, "SecondaryStatus")
    reason = _text(fields, "FailureReason")
    if not (status or secondary or reason):
        return None
    transitions = fields.get("SecondaryStatusTransitions")
    statuses = [
        _text(transition, "Status")
        for transition in (transitions if isinstance(transitions, list) else [])
        if isinstance(transition, dict)
    ]
    return JobWords(status or None, secondary or None, reason, tuple(filter(None, statuses)))


def _fault(fields: Mapping[str, Any]) -> FaultWords | None:
    error = fields.get("Error")
    if isinstance(error, dict):
        return _fault(error)
    for name, words in _FAULT_FIELDS:
        if _text(fields, name):
            # The JSON protocol writes "com.amazonaws.sagemaker#ResourceLimitExceeded".
            return FaultWords(_text(fields, name).rpartition("#")[2], _text(fields, words))
    return None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _fields(text: str) -> dict[str, Any]:
    """The pairs of the object that `text` starts with, up to where it stops being JSON."""
    fields: dict[str, Any] = {}
    position = 1
    try:
        while True:
            position = _skipped(text, position)
            if text[position : position + 1] != '"':
                return fields
            name, position = _DECODER.raw_decode(text, position)
            fields[name], position = _DECODER.raw_decode(text, _skipped(text, position))
    except (ValueError, RecursionError):
        return fields


def _skipped(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position
