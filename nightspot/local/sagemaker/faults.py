"""What SageMaker's API answers when it refuses: AWS's codes, in AWS's words."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock


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


def name_in_use(job_arn: str) -> ServiceFaultError:
    """A training job of this name exists already, whatever became of it."""
    return ServiceFaultError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job"
        f" with this name already exists ({job_arn})",
    )


def quota_exceeded(quota: str, limit: int, utilization: int, requested: int) -> ServiceFaultError:
    """The account may not have so many instances at once."""
    return ServiceFaultError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{quota}' is {limit} Instances, with current utilization"
        f" of {utilization} Instances and a request delta of {requested} Instances. Please contact"
        " AWS support to request an increase for this limit.",
    )


class FaultQueue:
    """Faults that the next calls of one operation are answered with, one each. Thread safe.

    A call is an HTTP request: a client that retries by itself (boto3 does so on throttles and on
    5xx, up to four times) takes one fault from the queue with every try.
    """

    def __init__(self, faults: Iterable[ServiceFault] = ()) -> None:
        self._faults = deque(faults)
        self._lock = Lock()

    def add(self, fault: ServiceFault, times: int = 1) -> None:
        """Refuse so many more calls."""
        with self._lock:
            self._faults.extend([fault] * times)

    def raise_next(self) -> None:
        """Raise `ServiceFaultError` if a fault is waiting."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
        if fault is not None:
            raise fault.error()
