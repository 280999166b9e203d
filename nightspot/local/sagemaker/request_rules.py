"""What SageMaker's API refuses, in AWS's codes and words.

botocore checks shapes on the client's side; here stand the rules that only AWS's servers know.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


class ServiceFaultError(Exception):
    """The simulated SageMaker refused a call."""

    def __init__(self, code: str, message: str, status_code: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status_code = status_code


@dataclass(frozen=True)
class ServiceFault:
    """What a call is refused with; `status_code` is HTTP's."""

    code: str
    message: str
    status_code: int = 400

    def error(self) -> ServiceFaultError:
        """A new exception of this fault: one must not be raised from two threads."""
        return ServiceFaultError(self.code, self.message, self.status_code)


THROTTLED = ServiceFault("ThrottlingException", "Rate exceeded")
INTERNAL_FAILURE = ServiceFault(
    "InternalFailure", "The request processing has failed because of an unknown error.", 500
)


def access_denied(role_arn: str, operation: str, resource_arn: str) -> ServiceFault:
    """The refusal of a role that lacks a permission, as IAM words it."""
    return ServiceFault(
        "AccessDeniedException",
        f"User: {role_arn} is not authorized to perform: sagemaker:{operation} on resource:"
        f" {resource_arn} because no identity-based policy allows the sagemaker:{operation} action",
    )


def invalid(message: str) -> ServiceFaultError:
    """A ValidationException."""
    return ServiceFaultError("ValidationException", message)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI, the key without slashes at its ends.

    Raises `ServiceFaultError` (ValidationException) for anything else.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise invalid(f"The URI '{uri}' is not a valid S3 URI; it must look like s3://bucket/prefix")
    return bucket, key.strip("/")


# fact: sagemaker.name.characters
JOB_NAME_CHARACTERS = 63
# fact: sagemaker.name.characters
JOB_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
# fact: sagemaker.runtime.most.seconds
MAX_RUNTIME_SECONDS = 28 * 86_400
# fact: sagemaker.runtime.default.seconds
DEFAULT_MAX_RUNTIME_SECONDS = 86_400
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
# fact: sagemaker.wait.nocheckpoints.seconds
MAX_WAIT_WITHOUT_CHECKPOINTS_SECONDS = 3600
REQUIRED = (
    ("RoleArn",),
    ("OutputDataConfig", "S3OutputPath"),
    ("ResourceConfig", "InstanceType"),
)


def is_spot(request: Mapping[str, Any]) -> bool:
    """Whether the job asks for managed Spot."""
    return bool(request.get("EnableManagedSpotTraining", False))


def instance_type(request: Mapping[str, Any]) -> str:
    """The machine asked for."""
    return str(request["ResourceConfig"]["InstanceType"])


def instance_count(request: Mapping[str, Any]) -> int:
    """How many of them."""
    return int(request["ResourceConfig"].get("InstanceCount", 1))


def max_runtime_seconds(request: Mapping[str, Any]) -> float:
    """The limit on training time; AWS's default is a day."""
    limits = request.get("StoppingCondition", {})
    return float(limits.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_SECONDS))


def max_wait_seconds(request: Mapping[str, Any]) -> float | None:
    """The limit on waiting and training together; None without Spot."""
    wait = request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
    return None if wait is None else float(wait)


def max_pending_seconds(request: Mapping[str, Any]) -> float | None:
    """The limit on waiting for on-demand capacity; None: not set, or Spot."""
    pending = request.get("StoppingCondition", {}).get("MaxPendingTimeInSeconds")
    return None if pending is None or is_spot(request) else float(pending)


def max_retries(request: Mapping[str, Any]) -> int:
    """How often SageMaker itself starts the job again after an InternalServerError."""
    return int(request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))


# fact: sagemaker.quota.names
def quota_name(request: Mapping[str, Any]) -> str:
    """AWS's name of the quota that the job draws on; Spot's and on-demand's are separate."""
    kind = "spot training job usage" if is_spot(request) else "training job usage"
    return f"{instance_type(request)} for {kind}"


def check_request(request: Mapping[str, Any], cannot_checkpoint: Collection[str] = ()) -> None:
    """Raise `ServiceFaultError` (ValidationException) for what AWS would not accept.

    `cannot_checkpoint`: algorithms and images of which AWS knows that they do not; by an image, nobody else does.
    The texts on MaxWaitTimeInSeconds without Spot and on the name are AWS's, as reported in public
    issues; AWS's own words for the other rules are not published.
    """
    name = str(request.get("TrainingJobName"))
    if re.fullmatch(JOB_NAME, name) is None:
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'trainingJobName' failed to satisfy"
            f" constraint: Member must satisfy regular expression pattern: {JOB_NAME}"
        )
    # The pattern counts a row of hyphens with the letter behind it as one.
    if len(name) > JOB_NAME_CHARACTERS:
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'trainingJobName' failed to satisfy"
            f" constraint: Member must have length less than or equal to {JOB_NAME_CHARACTERS}"
        )
    for path in REQUIRED:
        _require(request, path)
    for uri in _s3_uris(request):
        split_uri(uri)
    runtime_seconds = max_runtime_seconds(request)
    if not 1 <= runtime_seconds <= MAX_RUNTIME_SECONDS:
        raise invalid(f"Invalid MaxRuntimeInSeconds. It must be between 1 and {MAX_RUNTIME_SECONDS}")
    _check_wait_limit(request, runtime_seconds, cannot_checkpoint)
    if is_spot(request) and request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        raise invalid(
            "Invalid KeepAlivePeriodInSeconds. It is not supported when"
            " EnableManagedSpotTraining is set to true"
        )


def check_quota(request: Mapping[str, Any], quotas: Mapping[str, int], utilization: int) -> None:
    """Raise `ServiceFaultError` (ResourceLimitExceeded) where the account has too little left."""
    quota, requested = quota_name(request), instance_count(request)
    limit = quotas.get(quota)
    if limit is not None and utilization + requested > limit:
        raise ServiceFaultError(
            "ResourceLimitExceeded",
            f"The account-level service limit '{quota}' is {limit} Instances, with current utilization"
            f" of {utilization} Instances and a request delta of {requested} Instances. Please contact"
            " AWS support to request an increase for this limit.",
        )


def _check_wait_limit(
    request: Mapping[str, Any], runtime_seconds: float, cannot_checkpoint: Collection[str]
) -> None:
    wait_seconds = max_wait_seconds(request)
    if not is_spot(request):
        if wait_seconds is not None:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It is only supported when"
                " EnableManagedSpotTraining is set to true"
            )
        return
    if wait_seconds is None or wait_seconds < runtime_seconds:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to"
            " MaxRuntimeInSeconds when EnableManagedSpotTraining is set to true"
        )
    algorithm = request.get("AlgorithmSpecification", {})
    is_known = not {algorithm.get("AlgorithmName"), algorithm.get("TrainingImage")}.isdisjoint(
        cannot_checkpoint
    )
    has_none = "AlgorithmName" in algorithm and "CheckpointConfig" not in request
    if (is_known or has_none) and wait_seconds > MAX_WAIT_WITHOUT_CHECKPOINTS_SECONDS:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must not be greater than"
            f" {MAX_WAIT_WITHOUT_CHECKPOINTS_SECONDS} for an algorithm that does not support checkpointing"
        )


def _s3_uris(request: Mapping[str, Any]) -> list[str]:
    sources = [channel.get("DataSource", {}) for channel in request.get("InputDataConfig", [])]
    uris = [source["S3DataSource"]["S3Uri"] for source in sources if "S3DataSource" in source]
    if "CheckpointConfig" in request:
        uris.append(request["CheckpointConfig"].get("S3Uri", ""))
    return [request["OutputDataConfig"]["S3OutputPath"], *uris]


def _require(request: Mapping[str, Any], path: tuple[str, ...]) -> None:
    value: Any = request
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value in (None, ""):
        member = ".".join(key[0].lower() + key[1:] for key in path)
        raise invalid(
            f"1 validation error detected: Value null at '{member}' failed to satisfy constraint:"
            " Member must not be null"
        )
