"""Decides how a training job's record looks to the outside: AWS's answers and AWS's event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from nightspot.local.sagemaker.faults import invalid
from nightspot.local.sagemaker.job_state import JobState, billable_seconds, machine_lives, training_seconds

ECHOED = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CheckpointConfig",
    "DebugHookConfig",
    "ExperimentConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
)
FLAGS = (
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
)
NOT_IN_EVENTS = ("BillableTimeInSeconds", "TrainingTimeInSeconds", "EnableManagedSpotTraining")

TimeFormat = Callable[[datetime], float]


def description(state: JobState) -> dict[str, Any]:
    """DescribeTrainingJob's answer as it goes over the wire, times as epoch seconds."""
    return _describe(state, _epoch_seconds)


def summary(state: JobState) -> dict[str, Any]:
    """The job's entry in ListTrainingJobs' answer, as it goes over the wire."""
    whole = description(state)
    wanted = (
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    return {key: whole[key] for key in wanted if key in whole}


def state_change_event(state: JobState, event_id: str, region: str, account: str) -> dict[str, Any]:
    """The event EventBridge would deliver, times in its detail as epoch milliseconds.

    https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    detail = _describe(state, lambda moment: round(moment.timestamp() * 1000))
    for key in NOT_IN_EVENTS:
        detail.pop(key, None)
    tags = {tag["Key"]: tag["Value"] for tag in state.request.get("Tags", [])}
    return {
        "version": "0",
        "id": event_id,
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": account,
        "time": state.modified_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [state.arn],
        "detail": {**detail, "Tags": tags},
    }


def _describe(state: JobState, time: TimeFormat) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "TrainingJobName": state.name,
        "TrainingJobArn": state.arn,
        "TrainingJobStatus": str(state.status),
        "SecondaryStatus": str(state.secondary),
        "CreationTime": time(state.created_at),
        "LastModifiedTime": time(state.modified_at),
        "SecondaryStatusTransitions": _transitions(state, time),
        **{key: state.request[key] for key in ECHOED if key in state.request},
        **{key: bool(state.request.get(key, False)) for key in FLAGS},
        **_times_trained(state, time),
    }
    if state.failure_reason is not None:
        answer["FailureReason"] = state.failure_reason
    if state.model_uri is not None:
        answer["ModelArtifacts"] = {"S3ModelArtifacts": state.model_uri}
    return answer


def _transitions(state: JobState, time: TimeFormat) -> list[Mapping[str, Any]]:
    return [
        {
            "Status": str(transition.status),
            "StartTime": time(transition.start),
            **({} if transition.end is None else {"EndTime": time(transition.end)}),
            "StatusMessage": transition.message,
        }
        for transition in state.transitions
    ]


def _times_trained(state: JobState, time: TimeFormat) -> dict[str, Any]:
    """What AWS leaves out of jobs that never had a machine, and says only once the job has ended."""
    lives = machine_lives(state)
    if not lives:
        return {}
    started = {"TrainingStartTime": time(lives[0].start)}
    end = lives[-1].end
    if not state.ended or end is None:
        return started
    # The service model allows no 0 here.
    return {
        **started,
        "TrainingEndTime": time(end),
        "TrainingTimeInSeconds": max(1, round(training_seconds(state, end))),
        "BillableTimeInSeconds": max(1, round(billable_seconds(state, end))),
    }


def _epoch_seconds(moment: datetime) -> float:
    return round(moment.timestamp(), 3)


DEFAULT_PAGE = 10
SORT_KEYS = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}


def list_answer(states: Sequence[JobState], request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a ListTrainingJobs request over these jobs.

    As on AWS, a page is cut before StatusEquals is applied, so it may hold fewer jobs than asked
    for, or none, and still not be the last (botocore's documentation of ListTrainingJobs).
    Raises `ServiceFaultError` (ValidationException) for an unknown SortBy, and for a NextToken that
    this did not give.
    """
    summaries = [summary(state) for state in states]
    chosen = [entry for entry in summaries if _is_wanted(entry, request)]
    sort_by = str(request.get("SortBy", "CreationTime"))
    if sort_by not in SORT_KEYS:
        raise invalid(f"Value '{sort_by}' at 'sortBy' must be one of {', '.join(SORT_KEYS)}")
    chosen.sort(
        key=lambda entry: entry[SORT_KEYS[sort_by]],
        reverse=request.get("SortOrder", "Ascending") == "Descending",
    )
    token = str(request.get("NextToken") or "0")
    if not token.isdecimal():
        raise invalid("Invalid NextToken.")
    first = int(token)
    following = first + int(request.get("MaxResults") or DEFAULT_PAGE)
    status = request.get("StatusEquals")
    page = chosen[first:following]
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [entry for entry in page if status in (None, entry["TrainingJobStatus"])]
    }
    if following < len(chosen):
        answer["NextToken"] = str(following)
    return answer


def _is_wanted(entry: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    created, modified = entry["CreationTime"], entry["LastModifiedTime"]
    return (
        request.get("NameContains", "").lower() in entry["TrainingJobName"].lower()
        and created > request.get("CreationTimeAfter", float("-inf"))
        and created < request.get("CreationTimeBefore", float("inf"))
        and modified > request.get("LastModifiedTimeAfter", float("-inf"))
        and modified < request.get("LastModifiedTimeBefore", float("inf"))
    )
