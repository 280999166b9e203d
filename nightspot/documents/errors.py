"""Errors in words: logs, and what the command lines and SDKs of AWS and Terraform print.

What stands behind `AlgorithmError:` is the training script's own text: nothing of it is looked at here either.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nightspot.documents.clusters import scheduling
from nightspot.documents.model import End, Found, Inside, Kind, has, text_of
from nightspot.documents.tracebacks import NO_MEMORY, end_of, paragraph, raised
from nightspot.failures import texts
from nightspot.failures.classify import Fault, classify
from nightspot.failures.codes import FailureClass, class_of_name, is_validation
from nightspot.formats.statuses import Secondary, Status

# Words that nothing more is known of.
PLAIN = "a text"
_READ_CHARACTERS = 200_000  # of a log, its end

_USERS = re.compile(r"\bAlgorithm ?Error\s*:", re.IGNORECASE)
# What stands before the words of a line: colours, Terraform's frame, times, the host and rank in a training's log.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BEFORE = re.compile(
    r"(?m)^(?:[ \t]{0,8}(?:[│╷╵|]{1,2}(?:[ \t]|$)|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z"
    r"|[+-]\d\d:?\d\d)?[ \t]"
    r"|\[\d(?:,\w{1,20}:?[\w-]{0,20}){0,4}\](?:<\w{1,10}>)?:?|\[(?:rank|worker)?\d{1,5}\]:[ \t]?"
    r"|(?:algo|algorithm)-\d{1,5}[\w-]{0,40}[ \t]*\|[ \t]?|E[ \t]{3}(?=\S)|aws: (?:\[ERROR\]: )?))"
)


# How a sort of text is called, what it is told by, and how it reads; None where it turns out to be another one.
Sort = tuple[str, re.Pattern[str], Callable[[re.Match[str]], End | None]]


@dataclass(frozen=True)
class Words:
    """What a text is, and how it reads."""

    kind: str
    end: End


def read_words(text: str) -> Words:
    """The failure that a text tells of. Never raises; what is not understood is the text itself."""
    text = text[-_READ_CHARACTERS:]
    status = _status(text)
    if status is not None:
        return Words(PLAIN, status)
    if texts.is_users_text(text) and not text.lstrip().startswith("Traceback"):
        return Words(PLAIN, End(reason=text))
    plain = _plain(text)
    users = _USERS.search(plain)
    head = plain[: users.start()] if users else plain
    exception = raised(head)
    if exception is not None:
        return Words("a Python traceback", end_of(*exception, plain))
    found = _sort_of(_SDKS, head)
    if found is not None:
        return found
    if classify(failure_reason=text).failure is not FailureClass.UNKNOWN:
        return Words(PLAIN, End(reason=text))
    if users:
        return Words("a text with a FailureReason", End(reason=plain[users.start() :]))
    return _sort_of(_LOGS, plain) or Words(PLAIN, End(reason=text))


def _sort_of(sorts: tuple[Sort, ...], text: str) -> Words | None:
    for kind, pattern, reads in sorts:
        # The last one counts.
        last = deque(pattern.finditer(text), maxlen=1)
        end = reads(last[0]) if last else None
        if end is not None:
            return Words(kind, end)
    return None


_LONGEST_STATUS = 120
_STATUS = re.compile(
    r"\s*(?:(?:TrainingJob|Training job "
    r"|Secondary)?Status\s*[:=]\s*)?(?P<first>[A-Z]\w{4,30})(?:\s*/\s*(?P<second>[A-Z]\w{4,30}))?"
    r"\.?\s*"
)


def _status(text: str) -> End | None:
    """The end that a bare status says: `Completed`, `InProgress/Pending`, `Status: Failed`."""
    found = _STATUS.fullmatch(text[:_LONGEST_STATUS])
    if found is None:
        return None
    first, second = found["first"], found["second"]
    if first in set(Status) and (second is None or second in set(Secondary)):
        return End(first, second)
    return End(None, first) if second is None and first in set(Secondary) else None


def _plain(text: str) -> str:
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\ufeff", "")
    before = ""
    for _ in range(4):
        if text == before:
            break
        before, text = text, _BEFORE.sub("", text)
    return text


def _of_code(found: re.Match[str]) -> End:
    """An error's code, words and, where there is one, the HTTP status."""
    parts = found.groupdict()
    said, status = paragraph(parts.get("said") or ""), parts.get("status")
    shown = f"{said} (Service: SageMaker, Status Code: {status})" if status and status != "0" else said
    return End(fault=Fault(parts.get("code") or "", shown))


def _of_known_code(found: re.Match[str]) -> End | None:
    return _of_code(found) if class_of_name(found["code"]) or is_validation(found["code"]) else None


def _from_here(found: re.Match[str]) -> End | None:
    return _words_in(paragraph(found.string[found.start() :]))


def _words_in(said: str) -> End | None:
    return End(reason=said) if classify(failure_reason=said).failure is not FailureClass.UNKNOWN else None


def _as(code: str) -> Callable[[re.Match[str]], End]:
    return lambda found: End(fault=Fault(code, paragraph(found.string[found.start() :])))


def _of_handler(found: re.Match[str]) -> End:
    said = " ".join(found["said"].split())
    understood = classify(failure_reason=said).failure is not FailureClass.UNKNOWN
    return End(reason=said) if understood else End(fault=Fault(found["code"], said))


def _of_toolkit(found: re.Match[str]) -> End:
    said = paragraph(found.string[found.start() :])
    return (
        End(fault=Fault("OutOfMemoryError", said))
        if NO_MEMORY.search(said)
        else End(reason=f"ExecuteUserScriptError: {said}")
    )


# They say what they are: an HTTP status, a class of Java's, a handler's code.
_SDKS: tuple[Sort, ...] = (
    (
        "an error of the AWS SDK for Go, as Terraform prints it",
        re.compile(
            r"operation error [\w ]{1,60}: \w{1,80},(?:[^\n]{0,200}?,)?\s+https response error "
            r"StatusCode:\s*(?P<status>\d{1,3}),"
            r"\s*RequestID:\s*[\w-]{0,80},\s*(?:HostID:[^,\n]{0,200},\s*)?(?:api "
            r"error\s+)?(?P<code>[A-Za-z]\w{2,80}):\s*"
            r"(?P<said>[^\0]{0,4000})"
        ),
        _of_code,
    ),
    (
        "an error of the AWS SDK for Go, as Terraform prints it",
        re.compile(
            r"operation error [\w ]{1,60}: \w{1,80},[^\n]{0,400}?(?:get identity|get credentials|refresh "
            r"cached credentials)"
        ),
        _as("NoCredentialsError"),
    ),
    (
        "an error of the AWS SDK for Go, as Terraform prints it",
        re.compile(
            r"operation error [\w ]{1,60}: \w{1,80},[^\n]{0,400}?(?:request send failed|context deadline "
            r"exceeded|dial tcp)"
        ),
        _as("EndpointConnectionError"),
    ),
    (
        "an error of the AWS SDK for Go, as Terraform printed it",
        re.compile(
            r"(?P<code>\b(?!Error\b)[A-Z]\w{2,80}): (?P<said>[^\n]{0,2000})\n?\s*status code: "
            r"(?P<status>\d{3}), request id:"
        ),
        _of_code,
    ),
    (
        "an error of the AWS SDK for Java",
        re.compile(
            r"(?:com\.amazonaws|software\.amazon\.awssdk)\.(?:\w{1,80}\.){0,8}(?P<code>\w{1,80}Exception): "
            r"(?P<said>[^\n]{0,3000})"
        ),
        _from_here,
    ),
    (
        "an error of CloudFormation",
        re.compile(
            r"Resource handler returned message: \"(?P<said>[^\0]{0,3000}?)\"\s*\(RequestToken: [\w-]{1,80}, "
            r"HandlerErrorCode: (?P<code>\w{1,80})\)"
        ),
        _of_handler,
    ),
)
# Looked for where the text does not begin with words of AWS's.
_LOGS: tuple[Sort, ...] = (
    (
        "an error of boto3 or the AWS CLI",
        re.compile(
            r"An error occurred \(\w{1,80}\) when calling the \w*(?:TrainingJob|TuningJob|Execution"
            r"|ServiceJob)\w* operation"
        ),
        _from_here,
    ),
    (
        "an error of the SageMaker SDK",
        re.compile(r"Error for [\w ]{1,40} job \S{1,80}: (?P<status>Stopped|Failed)\.\s*Reason:\s*(?:\n|$)"),
        lambda found: End(found["status"]),
    ),
    (
        "an error of the SageMaker SDK",
        re.compile(
            r"Error for (?:Training|HyperParameterTuning) job|Encountered unexpected failed state while "
            r"waiting for"
            r"|SageMaker job failed because|Training job \S{1,80} failed for"
        ),
        _from_here,
    ),
    (
        "an error of the AWS SDK for JavaScript",
        re.compile(
            r"(?m)^(?:Uncaught |Error \[)?(?P<code>[A-Z]\w{2,80})\]?(?: \[\w{1,80}\])?: (?P<said>[^\n]{0,3000})\n"
            r"(?=\s{1,8}at |[^\n]{0,200}\$fault)"
        ),
        _of_known_code,
    ),
    (
        "an error of Terraform",
        re.compile(r"last error: (?P<said>[^\n]{1,2000})"),
        lambda found: _words_in(found["said"]),
    ),
    (
        "a text with an error of SageMaker's API",
        re.compile(
            r"\b(?P<code>(?:ResourceLimitExceeded|ResourceInUse|Throttling|Validation|AccessDenied"
            r"|ServiceUnavailable)"
            r"(?:Exception)?): (?P<said>[^\n]{1,2000})"
        ),
        _of_known_code,
    ),
    (
        "a text with a reason of SageMaker's",
        re.compile(
            r"(?:CapacityError: )?Unable to provision requested ML compute capacity"
            r"|InternalServerError: We encountered an internal error"
        ),
        _from_here,
    ),
    (
        "a text with a reason of SageMaker's",
        # At the start of a line, behind its time: nobody writes these by accident there.
        re.compile(
            r"(?m)^(?:CapacityError|ClientError|InternalServerError|SageMaker\.\w+|States\.\w+|ENTRYPOINT FAILURE"
            r"|Insufficient (?:instance )?capacity|There is (?:not enough|no Spot) capacity|Launched instance was"
            r"|No training job succeeded after|Cannot pull algorithm container|MaxWaitTimeExceeded"
            r"|MaxRuntimeExceeded"
            r"|No S3 objects found under|Failure reason)\b"
        ),
        _from_here,
    ),
    (
        "a waiter of the AWS CLI or boto3",
        re.compile(
            r"Waiter (?P<waiter>TrainingJob\w{1,80}) failed: Waiter encountered a terminal failure state"
        ),
        lambda _: End("Failed"),
    ),
    (
        "an event of Kubernetes",
        re.compile(
            r"\b(?P<reason>FailedScheduling|NotTriggerScaleUp)\b[^\n]{0,300}?(?P<said>\d{1,5}/\d{1,5} nodes "
            r"are available[^\n]{0,2000})"
        ),
        lambda found: scheduling(found["reason"], found["said"]),
    ),
    ("a pod that was killed for its memory", re.compile(r"\bOOMKilled\b"), _as("OOMKilled")),
    (
        "an error of the AWS CLI",
        re.compile(
            r"Error (?:when|loading) (?:retrieving )?(?:token from sso|SSO Token)|SSO session (?:associated "
            r")?[^\n]{0,80}(?:expired|invalid)|credentials? (?:have|has) expired"
        ),
        _as("ExpiredToken"),
    ),
    (
        "an error of the AWS CLI",
        re.compile(
            r"The config profile \([^)\n]{1,80}\) could not be found|You must specify a region|Unknown "
            r"options: |the following arguments are required: "
        ),
        _as("ParamValidationError"),
    ),
    (
        "a log of SageMaker's training toolkit",
        re.compile(r"ExecuteUserScriptError|Reporting training FAILURE"),
        _of_toolkit,
    ),
    ("a log of a training", NO_MEMORY, _as("OutOfMemoryError")),
    (
        "a log of a training",
        re.compile(
            r"(?m)^(?:[A-Za-z_]\w*\.)*(?:Value|Key|Type|Runtime|OS|Import|ModuleNotFound|FileNotFound"
            r"|Attribute|Index|Name"
            r"|Assertion|ZeroDivision|NotImplemented|Permission|UnicodeDecode|JSONDecode)Error: |Segmentation "
            r"fault"
            r"|\(core dumped\)"
        ),
        lambda found: End(reason=f"ExecuteUserScriptError: {paragraph(found.string[found.start() :])}"),
    ),
)


def _javascript(data: Mapping[str, object], inside: Inside) -> Iterator[Found]:
    del inside
    code = text_of(data, "name") or text_of(data, "Code") or text_of(data, "code")
    yield Found(end=End(fault=Fault(code, text_of(data, "message") or text_of(data, "Message"))))


def _fault(data: Mapping[str, object]) -> str | None:
    """An error's name and its words as Step Functions, Lambda and the APIs write them; None for anything else."""
    try:
        text = json.dumps(data, default=str)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if texts.parse(text) is not None else None


# Asked last: it knows an error by a pair of common names.
ANY_ERROR = Kind(
    "an error as JSON",
    lambda data: _fault(data) is not None,
    lambda data, _: iter([Found(end=End(reason=_fault(data) or ""))]),
    "an error has no request",
)
KINDS: tuple[Kind, ...] = (
    Kind("an error of the AWS SDK for JavaScript", has("$fault"), _javascript, "an error has no request"),
    Kind(
        "an error of the AWS SDK for JavaScript",
        has("$metadata", "name"),
        _javascript,
        "an error has no request",
    ),
)
