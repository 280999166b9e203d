"""A simulated SageMaker as boto3's client shows one, without moto: keyword arguments, dates, ClientError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import ClientError

from nightspot.local.sagemaker.request_rules import ServiceFaultError


class TrainingJobOperations(Protocol):
    """What answers training-job calls: requests are boto3's, times in answers epoch seconds.

    Each raises `ServiceFaultError` for what AWS would refuse.
    """

    def create_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob."""

    def describe_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTrainingJob."""

    def stop_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """StopTrainingJob."""

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs."""


class InProcessClient:
    """The four training-job operations of boto3's SageMaker client, answered in this process."""

    def __init__(self, operations: TrainingJobOperations) -> None:
        self._operations = operations

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        """CreateTrainingJob. Raises ClientError, as the others do."""
        return _answered("CreateTrainingJob", self._operations.create_training_job, request)

    def describe_training_job(self, **request: Any) -> dict[str, Any]:
        """DescribeTrainingJob."""
        return _answered("DescribeTrainingJob", self._operations.describe_training_job, request)

    def stop_training_job(self, **request: Any) -> dict[str, Any]:
        """StopTrainingJob."""
        return _answered("StopTrainingJob", self._operations.stop_training_job, request)

    def list_training_jobs(self, **request: Any) -> dict[str, Any]:
        """ListTrainingJobs. Moments in the request are dates, as boto3 takes them."""
        given = {
            name: value.timestamp() if isinstance(value, datetime) else value
            for name, value in request.items()
        }
        return _answered("ListTrainingJobs", self._operations.list_training_jobs, given)


def _answered(
    operation: str, answer: Callable[[Mapping[str, Any]], dict[str, Any]], request: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        given: dict[str, Any] = _with_dates(answer(request))
    except ServiceFaultError as fault:
        response: Any = {
            "Error": {"Code": fault.code, "Message": fault.message},
            "ResponseMetadata": {"HTTPStatusCode": fault.status_code},
        }
        raise ClientError(response, operation) from fault
    return given


def _with_dates(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _with_dates(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_dates(inner) for inner in value]
    is_moment = name.endswith("Time") and isinstance(value, int | float)
    return datetime.fromtimestamp(value, UTC) if is_moment else value
