"""The classes of failure, and the class that a fault's name stands for: AWS's, botocore's, Step Functions'."""

from __future__ import annotations

import re
from enum import StrEnum


class FailureClass(StrEnum):
    """Why an attempt ended without a model. Closed: what is not understood is UNKNOWN."""

    NO_CAPACITY = "no_capacity"
    INTERRUPTED = "interrupted"
    WAIT_LIMIT = "wait_limit"
    RUNTIME_LIMIT = "runtime_limit"
    QUOTA_TEMPORARY = "quota_temporary"
    QUOTA_PERMANENT = "quota_permanent"
    THROTTLED = "throttled"
    SERVICE_FAULT = "service_fault"
    USER_CODE = "user_code"
    OUT_OF_MEMORY = "out_of_memory"
    CONFIGURATION = "configuration"
    PERMISSION = "permission"
    STOPPED_BY_PERSON = "stopped_by_person"
    STOPPED_BY_NIGHTSPOT = "stopped_by_nightspot"
    UNKNOWN = "unknown"


# Sources: "Common error types" of the SageMaker API; botocore's list of throttling codes (legacy retry mode);
# EC2's error codes; "Error names" of Step Functions; SageMaker Pipelines' retry policy for the last of some rows.
_NAMES: tuple[tuple[FailureClass, str], ...] = (
    (
        FailureClass.NO_CAPACITY,
        "CapacityError InsufficientCapacity InsufficientInstanceCapacity InsufficientHostCapacity"
        " InsufficientReservedInstanceCapacity InsufficientCapacityOnHost EC2InsufficientCapacity"
        " EC2InsufficientInstanceCapacity UnfulfillableCapacity SpotMaxPriceTooLow CAPACITY_ERROR",
    ),
    (FailureClass.INTERRUPTED, "SpotInstanceTermination SpotInstanceShutdown"),
    (
        FailureClass.QUOTA_TEMPORARY,
        "ResourceLimitExceeded ServiceQuotaExceeded InstanceLimitExceeded VcpuLimitExceeded"
        " MaxSpotInstanceCountExceeded ServiceLimitExceeded RESOURCE_LIMIT",
    ),
    (
        FailureClass.THROTTLED,
        "Throttling Throttled RequestThrottled RequestLimitExceeded TooManyRequests SlowDown RateExceeded"
        " EC2Throttled ProvisionedThroughputExceeded BandwidthLimitExceeded PriorRequestNotComplete",
    ),
    (
        FailureClass.SERVICE_FAULT,
        "InternalFailure InternalServer InternalServerError InternalService InternalServiceError InternalError"
        " InternalException ServiceUnavailable ServiceException AWSLambdaException SdkClient"
        " ClientExecutionTimeout RequestTimeout GatewayTimeout BadGateway EC2UnexpectedException"
        " EndpointConnectionError ConnectionClosedError ConnectTimeoutError ReadTimeoutError"
        " ProxyConnectionError States.Http.Socket JOB_INTERNAL_ERROR SERVICE_FAULT",
    ),
    (FailureClass.RUNTIME_LIMIT, "States.Timeout States.HeartbeatTimeout"),
    (FailureClass.OUT_OF_MEMORY, "OutOfMemory OOMKilled"),
    (
        FailureClass.PERMISSION,
        "AccessDenied Unauthorized UnauthorizedOperation NotAuthorized UnrecognizedClient InvalidClientTokenId"
        " InvalidAccessKeyId ExpiredToken RequestExpired InvalidSignature SignatureDoesNotMatch"
        " IncompleteSignature MissingAuthenticationToken AuthFailure Forbidden OptInRequired"
        " SubscriptionRequired NoCredentialsError PartialCredentialsError CredentialRetrievalError"
        " TokenRetrievalError KMSAccessDenied States.Permissions",
    ),
    (
        FailureClass.CONFIGURATION,
        "ResourceInUse ResourceNotFound Conflict ConflictException ParamValidationError"
        " SubnetIPAddressLimitReached ENILimitReached InsufficientFreeAddressesInSubnet Unsupported"
        " States.DataLimitExceeded States.IntrinsicFailure States.ItemReaderFailed States.NoChoiceMatched"
        " States.ParameterPathFailure States.QueryEvaluationError States.ResultPathMatchFailure"
        " States.ResultWriterFailed States.Runtime",
    ),
)
# The Python classes among botocore's errors: a user's own program has them too, so they count only as a code.
_PYTHON_NAMES = "ConnectionError ConnectTimeout ReadTimeout SSLError HTTPClientError"
# Names that say "refused" and nothing more: the words decide. Step Functions gives the first two to all
# unmodelled faults; SageMaker says ValidationException to a bad field, to a role that it cannot assume, and to the
# stop of a job that is over.
# fact: stepfunctions.sdk.error
GENERIC = frozenset({"sagemakerexception", "amazonsagemakerexception", "clienterror"})
_VALIDATION = frozenset({"validationexception", "validationerror"})
# The name under which a decision hears that nobody knows what became of its CreateTrainingJob: the function that
# makes the call, or SageMaker, gave no answer. statemachine/training_run.asl.json has it too.
START_UNANSWERED = "Nightspot.StartUnanswered"
# Step Functions' name for a job that has failed: why is in the cause.
TASK_FAILED = "states.taskfailed"

# Both answers end the run, so an unseen name may be told by its part.
_FAMILIES: tuple[tuple[re.Pattern[str], FailureClass], ...] = (
    (
        re.compile(r"AccessDenied|NotAuthorized|Unauthorized|ExpiredToken|InvalidToken"),
        FailureClass.PERMISSION,
    ),
    (
        re.compile(
            r"Validation|Invalid|NotFound|NoSuch|DoesNotExist|Malformed|Missing|Unsupported|KMS|Disabled"
        ),
        FailureClass.CONFIGURATION,
    ),
)


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


_BY_NAME = {
    _key(name + ending): failure
    for failure, names in _NAMES
    for name in names.split()
    for ending in ("", "Exception", "Error")
}
_BY_PYTHON_NAME = {_key(name): FailureClass.SERVICE_FAULT for name in _PYTHON_NAMES.split()}


def class_of_name(code: str) -> FailureClass | None:
    """The class of an error's name, `SageMaker.` and the like before it or not; None where it does not tell.

    A quota is QUOTA_TEMPORARY here: whether waiting helps is in the words.
    """
    if re.fullmatch(r"\d{3}", code):
        return class_of_status(int(code))
    whole, last = _key(code), _key(code.rpartition(".")[2])
    # States.Timeout is not any Timeout: Step Functions' own names count whole.
    if whole.startswith("states."):
        return _BY_NAME.get(whole)
    return _BY_NAME.get(last) or _BY_PYTHON_NAME.get(last)


def class_of_family(code: str) -> FailureClass | None:
    """The class that a part of an unseen name tells; such a class never leads to another attempt."""
    return next((failure for pattern, failure in _FAMILIES if pattern.search(code)), None)


def is_generic(code: str) -> bool:
    """True where the name says only that a call was refused."""
    return _key(code.rpartition(".")[2]) in GENERIC


def is_validation(code: str) -> bool:
    """True for SageMaker's refusal of a request as such."""
    return _key(code.rpartition(".")[2]) in _VALIDATION


def opens_a_text(word: str) -> bool:
    """True if `word` before a colon is a fault's name, and not what a program happens to print."""
    namespace, _, last = word.rpartition(".")
    if namespace in {"SageMaker", "States", "Lambda", "Step", "KMS"} or namespace.startswith("botocore"):
        return True
    looks_like_a_name = re.fullmatch(r"[A-Z]\w*[a-z][A-Z]\w*|Throttling", last) is not None
    is_known = _key(last) in _BY_NAME or is_validation(last)
    return looks_like_a_name and is_known and namespace in {"", "Server", "Client"}  # the two are EC2's


def class_of_status(status: int) -> FailureClass | None:
    """The class of an HTTP status; None where the status has a meaning that nobody has thought of."""
    if status >= 500 or status == 408:
        return FailureClass.SERVICE_FAULT
    if status in {401, 403}:
        return FailureClass.PERMISSION
    if status == 429:
        return FailureClass.THROTTLED
    return FailureClass.CONFIGURATION if status in {400, 404, 409, 413} else None
