"""A SageMaker that answers from recordings: each job lives the life of a cassette, in story time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from nightspot.cassettes.life import unfolded
from nightspot.cassettes.model import (
    ARN,
    JOB,
    LEFT_OUT,
    MOMENT,
    URI,
    Cassette,
    Entry,
    Source,
    is_moment,
    moment,
    rendered,
    seconds_of,
)
from nightspot.formats.statuses import ENDED, GOES_ON, Secondary, Status
from nightspot.local.sagemaker import request_rules
from nightspot.local.sagemaker.descriptions import (
    ECHOED,
    FLAGS,
    NOT_IN_EVENTS,
    list_answer,
    summary_of,
)
from nightspot.local.sagemaker.request_rules import ServiceFaultError, invalid

MADE_UP_STOP_SECONDS = 60.0  # of a stop that the recording does not have
_EVENT = "SageMaker Training Job State Change"


@dataclass
class _Playing:
    """A job, and where in its recording it is."""

    request: Mapping[str, Any]
    arn: str
    cassette: Cassette
    created_at: datetime
    stop_recorded_at: float | None = None
    stopped_at: float | None = None  # in the story
    turn: int = 0  # plans of an earlier turn are void
    told: int = 0  # events

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    def at(self, now: datetime) -> float:
        """The moment of the recording. It waits for the stop that it has."""
        seconds = self.age(now)
        if self.stop_recorded_at is None:
            return seconds
        if self.stopped_at is None:
            return min(seconds, self.stop_recorded_at - 0.001)
        return seconds - self.stopped_at + self.stop_recorded_at

    def age(self, now: datetime) -> float:
        """Seconds of the story since the creation."""
        return (now - self.created_at).total_seconds()

    def story_seconds(self, recorded: float) -> float:
        """When a moment of the recording was in the story."""
        if self.stopped_at is None or self.stop_recorded_at is None:
            return recorded
        if recorded < self.stop_recorded_at:
            return min(recorded, self.stopped_at)
        return recorded - self.stop_recorded_at + self.stopped_at

    def was_skipped(self, recorded: float) -> bool:
        """Whether the story's stop came before this moment, and the recording's after it."""
        if self.stopped_at is None or self.stop_recorded_at is None:
            return False
        return self.stopped_at < recorded < self.stop_recorded_at


@dataclass
class CassetteSageMaker:
    """Answers what `SimulatedSageMaker` answers, from `cassettes`: the first job plays the first one, and so on.

    Further jobs play the last one. `now` is the story's time; `later(seconds, do)` calls `do` so many story seconds
    from now; `on_event` gets the events: the recorded ones, or else one for each recorded status.

    A recording waits for the StopTrainingJob that it has, and goes on from there when it is called, earlier or
    later than it was. A stop that it has not is made up: a minute of Stopping, and Stopped. What a cassette leaves
    out is filled in from the request. Not thread safe.
    """

    cassettes: Sequence[Cassette]
    now: Callable[[], datetime]
    later: Callable[[float, Callable[[], None]], None]
    on_event: Callable[[dict[str, Any]], None]
    region: str = "eu-west-1"
    account: str = "123456789012"
    _jobs: dict[str, _Playing] = field(default_factory=dict)
    _asked: int = 0

    def __post_init__(self) -> None:
        if not self.cassettes:
            raise ValueError("cassettes: must be at least one")
        self.cassettes = [unfolded(cassette) for cassette in self.cassettes]

    def create_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob.

        Raises `ServiceFaultError` for a name that is taken, and where the recorded call was refused.
        """
        name = str(request["TrainingJobName"])
        arn = f"arn:aws:sagemaker:{self.region}:{self.account}:training-job/{name}"
        if name in self._jobs:
            raise ServiceFaultError("ResourceInUse", f"a training job with this name already exists ({arn})")
        request_rules.check_request(request)
        cassette = self.cassettes[min(self._asked, len(self.cassettes) - 1)]
        self._asked += 1
        _raise_if_refused(cassette, "CreateTrainingJob")
        job = _Playing(
            deepcopy(dict(request)), arn, cassette, self.now(), stop_recorded_at=_stop_of(cassette)
        )
        self._jobs[name] = job
        self._plan_next(job)
        return {"TrainingJobArn": arn}

    def describe_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTrainingJob, times as epoch seconds. Raises `ServiceFaultError` for a job that does not exist."""
        answer: dict[str, Any] = _on_the_wire(self._description(self._job(request)))
        return answer

    def stop_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """StopTrainingJob. Raises `ServiceFaultError` unless the job is in progress, or stopping."""
        job = self._job(request)
        status = self._said(job)["TrainingJobStatus"]
        if status not in GOES_ON:
            raise invalid(f"The request was rejected because the training job is in status {status}.")
        if job.stopped_at is not None or status == Status.STOPPING:
            return {}
        at = job.at(self.now())
        if job.stop_recorded_at is None:
            job.cassette = _with_a_stop(job.cassette, at)
            job.stop_recorded_at = at
        job.stopped_at = job.age(self.now())
        job.told = sum(entry.t < job.stop_recorded_at for entry in self._events(job))
        self._plan_next(job)
        return {}

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs. Raises `ServiceFaultError` for a token it did not give."""
        whole = (_on_the_wire(self._description(job)) for job in self._jobs.values())
        return list_answer([summary_of(each) for each in whole], request)

    def _job(self, request: Mapping[str, Any]) -> _Playing:
        job = self._jobs.get(str(request.get("TrainingJobName")))
        if job is None:
            raise invalid("Requested resource not found.")
        return job

    # --- answers --------------------------------------------------------------------------------------------

    def _said(self, job: _Playing) -> dict[str, Any]:
        """The recorded answer as of now; the first one for what is earlier."""
        at = job.at(self.now())
        answers = list(job.cassette.of(Source.DESCRIBE))
        return ([entry for entry in answers if entry.t <= at] or answers[:1])[-1].payload

    def _description(self, job: _Playing) -> dict[str, Any]:
        """The answer as of now, moments as dates."""
        return self._filled_in(job, self._said(job))

    def _filled_in(self, job: _Playing, payload: Mapping[str, Any]) -> dict[str, Any]:
        played: dict[str, Any] = rendered(_in_the_story(payload, job), job.created_at)
        path = job.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        played = _named(played, job, f"{path}/{job.name}/output/model.tar.gz")
        played |= {key: job.request[key] for key in ECHOED if key in job.request}
        played |= {key: bool(job.request.get(key, False)) for key in FLAGS}
        return {key: value for key, value in played.items() if value != LEFT_OUT}

    # --- events ---------------------------------------------------------------------------------------------

    def _events(self, job: _Playing) -> list[Entry]:
        recorded = list(job.cassette.of(Source.EVENT)) if job.cassette.knows_events else []
        return recorded or [_event_of(entry) for entry in job.cassette.of(Source.DESCRIBE)]

    def _plan_next(self, job: _Playing) -> None:
        """Send what is due, and plan the one after it."""
        job.turn += 1
        events = self._events(job)
        at = job.at(self.now())
        while job.told < len(events) and events[job.told].t <= at + 1e-6:
            job.told += 1
            self._send(job, events[job.told - 1])
        if job.told < len(events):
            following = events[job.told].t
            if job.stop_recorded_at is None or job.stopped_at is not None or following < job.stop_recorded_at:
                self.later(max(0.0, following - at), partial(self._go_on, job, job.turn))

    def _go_on(self, job: _Playing, turn: int) -> None:
        if turn == job.turn:
            self._plan_next(job)

    def _send(self, job: _Playing, entry: Entry) -> None:
        payload = entry.payload
        detail = self._filled_in(job, payload["detail"])
        detail = {key: value for key, value in detail.items() if key not in NOT_IN_EVENTS}
        tags = {tag["Key"]: tag["Value"] for tag in job.request.get("Tags", ())}
        self.on_event(
            {
                "version": "0",
                "id": str(payload.get("id", f"event-{job.told}")),
                "detail-type": _EVENT,
                "source": "aws.sagemaker",
                "account": self.account,
                "time": self.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                "region": self.region,
                "resources": [job.arn],
                "detail": {**_in_milliseconds(detail), "Tags": tags},
            }
        )


def _raise_if_refused(cassette: Cassette, operation: str) -> None:
    for entry in cassette.of(Source.CALL):
        error = entry.payload.get("error")
        if entry.payload["operation"] == operation and error is not None:
            raise ServiceFaultError(error["code"], error["message"], error.get("status") or 400)


def _stop_of(cassette: Cassette) -> float | None:
    """When StopTrainingJob was called with success; None: it was not."""
    calls = (entry for entry in cassette.of(Source.CALL) if "error" not in entry.payload)
    return next((entry.t for entry in calls if entry.payload["operation"] == "StopTrainingJob"), None)


def _with_a_stop(cassette: Cassette, at: float) -> Cassette:
    """The life up to a moment, and a stop that it did not have."""
    before = [entry for entry in cassette.of(Source.DESCRIBE) if entry.t <= at]
    last = before[-1].payload
    transitions = [
        each for each in last["SecondaryStatusTransitions"] if float(each["StartTime"][MOMENT]) <= at
    ]
    entries = [*before]
    for status, secondary, since in (
        (Status.STOPPING, Secondary.STOPPING, at),
        (Status.STOPPED, Secondary.STOPPED, at + MADE_UP_STOP_SECONDS),
    ):
        transitions = [
            *transitions[:-1],
            {**transitions[-1], "EndTime": moment(since)},
            {"Status": secondary.value, "StartTime": moment(since)},
        ]
        if status in ENDED:
            transitions[-1] = {**transitions[-1], "EndTime": moment(since)}
        payload = {
            **last,
            "TrainingJobStatus": status.value,
            "SecondaryStatus": secondary.value,
            "LastModifiedTime": moment(since),
            "SecondaryStatusTransitions": transitions,
        }
        entries.append(Entry(t=since, source=Source.DESCRIBE, payload=payload))
    return cassette.model_copy(update={"entries": tuple(entries)})


def _in_the_story(value: Any, job: _Playing) -> Any:
    """A payload with its moments as they were in the story, without what the story's stop has skipped."""
    if is_moment(value):
        return {**value, MOMENT: job.story_seconds(float(value[MOMENT]))}
    if isinstance(value, Mapping):
        return {key: _in_the_story(inner, job) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_the_story(each, job) for each in value if not _began_when_skipped(each, job)]
    return value


def _began_when_skipped(entry: Any, job: _Playing) -> bool:
    start = seconds_of(entry.get("StartTime")) if isinstance(entry, Mapping) else None
    return start is not None and job.was_skipped(start)


def _event_of(entry: Entry) -> Entry:
    return Entry(t=entry.t, source=Source.EVENT, payload={"detail": entry.payload})


def _named(value: Any, job: _Playing, model_uri: str) -> Any:
    """With the job's own names where the cassette has none."""
    if isinstance(value, Mapping):
        return {key: _named(inner, job, model_uri) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, job, model_uri) for inner in value]
    if isinstance(value, str):
        return {JOB: job.name, ARN: job.arn, URI: model_uri}.get(value, value)
    return value


def _on_the_wire(value: Any) -> Any:
    """Dates as epoch seconds, as AWS's JSON has them."""
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    if isinstance(value, Mapping):
        return {key: _on_the_wire(inner) for key, inner in value.items()}
    return [_on_the_wire(inner) for inner in value] if isinstance(value, list) else value


def _in_milliseconds(value: Any) -> Any:
    """Dates as an event has them, where the recording does not say how."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, Mapping):
        return {key: _in_milliseconds(inner) for key, inner in value.items()}
    return [_in_milliseconds(inner) for inner in value] if isinstance(value, list) else value
