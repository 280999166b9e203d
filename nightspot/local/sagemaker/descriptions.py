"""How a training job looks to the outside: AWS's answers, AWS's events, and when these are delivered."""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from threading import Condition, Thread
from typing import Any

from nightspot.cassettes.model import Form, stamp
from nightspot.formats.statuses import Status
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.behaviour import EventsOf
from nightspot.local.sagemaker.job_state import JobState, billable_seconds, machine_lives, training_seconds
from nightspot.local.sagemaker.markets import EventOptions
from nightspot.local.sagemaker.request_rules import invalid

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

TimeFormat = Callable[[datetime], Any]


def description(
    state: JobState,
    *,
    now: datetime | None = None,
    figures_while_running: Collection[str] = (),
) -> dict[str, Any]:
    """DescribeTrainingJob's answer as it goes over the wire, times as epoch seconds.

    `figures_while_running`: which of TrainingTimeInSeconds and BillableTimeInSeconds it has before the end, as of
    `now`.
    """
    answer = _describe(state, _epoch_seconds)
    if now is not None and not state.ended and machine_lives(state):
        figures = {
            "TrainingTimeInSeconds": max(1, round(training_seconds(state, now))),
            "BillableTimeInSeconds": max(1, round(billable_seconds(state, now))),
        }
        answer |= {name: figures[name] for name in figures_while_running}
    return answer


def summary_of(whole: Mapping[str, Any]) -> dict[str, Any]:
    """A described job's entry in ListTrainingJobs' answer, as it goes over the wire."""
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


def state_change_event(
    state: JobState, event_id: str, region: str, account: str, form: Form = Form.MS
) -> dict[str, Any]:
    """The event EventBridge would deliver, times in its detail as `form` says.

    https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    detail = _describe(state, lambda moment: stamp(moment, form))
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


def list_answer(summaries: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a ListTrainingJobs request over these jobs, in the order of their creation.

    As on AWS, a page is cut before StatusEquals is applied, so it may hold fewer jobs than asked
    for, or none, and still not be the last (botocore's documentation of ListTrainingJobs).
    Raises `ServiceFaultError` (ValidationException) for an unknown SortBy, and for a NextToken that
    this did not give.
    """
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


@dataclass(frozen=True, order=True)
class _Letter:
    due_seconds: float
    number: int
    event: dict[str, Any] = field(compare=False)


class EventPost:
    """Delivers events one after the other from a thread of its own, in order unless delayed.

    `on_event` holds up the events behind it while it runs and must not raise.
    """

    def __init__(
        self,
        clock: StoryClock,
        options: EventOptions,
        on_event: Callable[[dict[str, Any]], None],
        *,
        region: str,
        account: str,
    ) -> None:
        self._clock = clock
        self._options = options
        self._on_event = on_event
        self._region = region
        self._account = account
        self._random = random.Random(options.seed)  # noqa: S311 - a simulation, not a secret
        self._numbers = count()
        self._letters: list[_Letter] = []
        self._changed = Condition()
        self._statuses: dict[str, Status] = {}
        self._closed = False
        self._thread = Thread(target=self._deliver, name="state-change-events", daemon=True)
        self._thread.start()

    def send(self, state: JobState) -> None:
        """Put the event of this state in the post; returns at once."""
        options = self._options
        with self._changed:
            if options.of is EventsOf.STATUSES and self._statuses.get(state.name) is state.status:
                return
            self._statuses[state.name] = state.status
            if self._random.random() < options.lost_share:
                return
            copies = 2 if self._random.random() < options.doubled_share else 1
            late = self._random.random() < options.delayed_share
            due_seconds = self._clock.elapsed_seconds() + (options.delay_seconds if late else 0)
            for _ in range(copies):
                # SageMaker repeats itself with a new id; EventBridge's own repeats are the same to
                # a consumer that never looks at the id.
                event_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
                event = state_change_event(state, event_id, self._region, self._account, options.form)
                heapq.heappush(self._letters, _Letter(due_seconds, next(self._numbers), event))
            self._changed.notify()

    def close(self) -> None:
        """Deliver nothing more and end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _deliver(self) -> None:
        while (event := self._next_due()) is not None:
            self._on_event(event)

    def _next_due(self) -> dict[str, Any] | None:
        with self._changed:
            while not self._closed:
                wait_seconds = None
                if self._letters:
                    due_in = self._letters[0].due_seconds - self._clock.elapsed_seconds()
                    if due_in <= 0:
                        return heapq.heappop(self._letters).event
                    wait_seconds = self._clock.real_seconds(due_in)
                self._changed.wait(wait_seconds)
            return None
