"""Reads training jobs from SageMaker as the ledger wants them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.decide.audit import GOES_ON, ListedJob
from nightspot.decide.ledger import JobView, Transition
from nightspot.formats.run_ids import read_training_job_name
from nightspot.job.markets import Market

OWN_JOBS = "nightspot-"  # what the names of training jobs begin with, see `requests.training_job_name`
LONGEST_JOB = timedelta(days=30)  # SageMaker's limit is 28 days
MOST_PAGES = 50  # of a list: without a page size, AWS decides what one holds
_log = logging.getLogger(__name__)


class SageMakerClient(Protocol):
    """The part of boto3's SageMaker client that is used here."""

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]: ...  # noqa: N803
    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]: ...  # noqa: N803
    def list_training_jobs(self, **wanted: Any) -> dict[str, Any]: ...


class TrainingJobs:
    """SageMaker's training jobs, by name."""

    def __init__(self, client: SageMakerClient) -> None:
        self._client = client

    def describe(self, training_job_name: str) -> JobView | None:
        """The training job, or None where SageMaker knows none of this name.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        try:
            description = self._client.describe_training_job(TrainingJobName=training_job_name)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            if _says_not_found(error):
                return None
            raise_if_transient(error)
            raise
        return view_of(description)

    def stop(self, training_job_name: str) -> None:
        """Ask for the stop of a training job. One that is over, stopping or not there is left as it is.

        Raises like `describe`.
        """
        try:
            self._client.stop_training_job(TrainingJobName=training_job_name)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            view = self.describe(training_job_name)
            if view is not None and view.status == "InProgress":
                raise

    def going_on(self, now: datetime) -> tuple[ListedJob, ...]:
        """The training jobs of runs, whichever deployment's, that are in progress or stopping, newest first.

        Raises like `describe`.
        """
        return tuple(job for status in sorted(GOES_ON) for job in self._listed(status, now))

    def _listed(self, status: str, now: datetime) -> Iterator[ListedJob]:
        # No MaxResults: with it, AWS counts all jobs of a page first, and filters by status then
        # (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTrainingJobs.html).
        wanted: dict[str, Any] = {
            "NameContains": OWN_JOBS,
            "StatusEquals": status,
            "CreationTimeAfter": now - LONGEST_JOB,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
        }
        for _ in range(MOST_PAGES):
            page = self._page(wanted)
            for entry in page["TrainingJobSummaries"]:
                name = entry["TrainingJobName"]
                named = read_training_job_name(name)
                if named is not None and not named.is_drill:
                    yield ListedJob(name, entry["TrainingJobStatus"], named.run_id)
            if not page.get("NextToken"):
                return
            wanted["NextToken"] = page["NextToken"]
        _log.warning("more than %d pages of training jobs that are %s: the rest is left", MOST_PAGES, status)

    def _page(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._client.list_training_jobs(**wanted)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            raise


def _says_not_found(error: ClientError) -> bool:
    details = error.response.get("Error", {})
    if details.get("Code") in {"ResourceNotFound", "ResourceNotFoundException"}:
        return True
    # DescribeTrainingJob answers ValidationException "Requested resource not found." for an unknown name.
    return details.get("Code") == "ValidationException" and "not found" in details.get("Message", "")


def view_of(description: Mapping[str, Any]) -> JobView:
    """The view of a DescribeTrainingJob answer. Fields that SageMaker leaves out stay None."""
    transitions = tuple(
        Transition(
            status=entry["Status"],
            started_at=_utc(entry["StartTime"]),
            ended_at=_utc(entry["EndTime"]) if entry.get("EndTime") else None,
        )
        for entry in description.get("SecondaryStatusTransitions", ())
    )
    limits = description.get("StoppingCondition", {})
    return JobView(
        training_job_name=description["TrainingJobName"],
        status=description["TrainingJobStatus"],
        secondary_status=description.get("SecondaryStatus", ""),
        transitions=transitions,
        failure_reason=description.get("FailureReason"),
        training_seconds=description.get("TrainingTimeInSeconds"),
        billable_seconds=description.get("BillableTimeInSeconds"),
        ended_at=_ended_at(description, transitions),
        model_artifact=description.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        market=_market_of(description),
        instance_type=description.get("ResourceConfig", {}).get("InstanceType"),
        max_runtime_seconds=limits.get("MaxRuntimeInSeconds"),
        max_pending_seconds=limits.get("MaxPendingTimeInSeconds"),
    )


def _market_of(description: Mapping[str, Any]) -> Market | None:
    is_spot = description.get("EnableManagedSpotTraining")
    if is_spot is None:
        return None
    return Market.SPOT if is_spot else Market.ON_DEMAND


def _ended_at(description: Mapping[str, Any], transitions: tuple[Transition, ...]) -> datetime | None:
    """When the job was over; None while it is not.

    TrainingEndTime is when the model was uploaded, but also when a job that was stopped while it waited had last
    trained: only for a completed job is that the end.
    """
    status = description["TrainingJobStatus"]
    if status not in {"Completed", "Failed", "Stopped"}:
        return None
    if status == "Completed" and description.get("TrainingEndTime"):
        return _utc(description["TrainingEndTime"])
    if transitions:
        return transitions[-1].ended_at or transitions[-1].started_at
    moment = description.get("LastModifiedTime")
    return _utc(moment) if moment else None


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
