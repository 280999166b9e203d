"""SageMaker's client and the training jobs behind it, moved by the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

from nightspot.formats.statuses import Secondary
from nightspot.local.sagemaker import request_rules
from nightspot.local.sagemaker.behaviour import Behaviour, Duration, EventsOf, RuntimeLimit, Waits
from nightspot.local.sagemaker.descriptions import FLAGS
from nightspot.local.sagemaker.request_rules import ServiceFault, ServiceFaultError
from tests.simulation.calls import ACCOUNT, REGION, Call, Calls, client_error
from tests.simulation.clock import Clock, Planned
from tests.simulation.market import Market
from tests.simulation.paging import Paged, page_of
from tests.simulation.s3 import S3
from tests.simulation.training import Process, Workload

ENDS = frozenset({"Completed", "Failed", "Stopped"})
GRACE_SECONDS = 120.0  # from SIGTERM to SIGKILL
SPOT_DISCOUNT = 0.7
# Forms of an event's LastModifiedTime, from epoch milliseconds.
STAMPS: tuple[Callable[[int], Any], ...] = (
    lambda ms: ms,
    str,
    lambda ms: ms + 0.5,
    lambda ms: ms / 1000,
    lambda ms: ms // 1000 * 1000,
    lambda ms: ms // 60_000 * 60_000,  # so coarse that many events have the same
    lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(),
    lambda ms: None,
)
_WITH_MACHINE = frozenset({"Downloading", "Training", "Uploading", "Stopping"})


@dataclass(frozen=True)
class Habits:
    """How long things take in this world, each drawn between two numbers of seconds."""

    provisioning: tuple[float, float] = (60.0, 240.0)
    downloading: tuple[float, float] = (20.0, 90.0)
    uploading: tuple[float, float] = (10.0, 60.0)
    stopping: tuple[float, float] = (5.0, 100.0)  # to the end, the upload included
    # (name of the job) -> how much longer its end hangs: the Uploading of one that completes, and of one that is
    # stopped `hangs_in`
    hangs: Callable[[str], float] = lambda _name: 0.0
    hangs_in: Secondary = Secondary.UPLOADING
    behaviour: Behaviour = field(default_factory=Behaviour)
    events_of: EventsOf = EventsOf.TRANSITIONS
    # seconds before a new job is visible to Describe and List
    visible_after: Callable[[], float] = lambda: 0.0
    # What DescribeTrainingJob answers in place of an answer.
    describes: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    # (name) -> the moment, in seconds of training, of an InternalServerError
    internal_error_after: Callable[[str], float | None] = lambda _name: None
    # How the next CreateTrainingJob is refused, if it is.
    refusal: Callable[[], ServiceFault | None] = lambda: None


@dataclass
class Machine:
    """A machine's time with a job: from its download to the end of its container."""

    begin: float
    end: float | None = None
    gone: float | None = None  # when it is no longer billed


@dataclass(eq=False)
class Job:
    """A training job."""

    request: dict[str, Any]
    created_at: float
    visible_at: float
    tags: list[dict[str, str]]
    status: str = "InProgress"
    secondary: str = "Starting"
    transitions: list[dict[str, Any]] = field(default_factory=list)
    modified_at: float = 0.0
    reason: str | None = None
    machines: list[Machine] = field(default_factory=list)
    model: str | None = None
    ended_at: float | None = None
    planned: list[Planned] = field(default_factory=list)
    process: Process | None = None
    limit: Planned | None = None
    failing: str | None = None  # the reason, from the script's exit on
    told_status: str | None = None  # of the last event
    hung_seconds: float = 0.0  # of its stop, longer than any decision can reckon with

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @property
    def is_spot(self) -> bool:
        return request_rules.is_spot(self.request)

    @property
    def instance_type(self) -> str:
        return request_rules.instance_type(self.request)

    @property
    def is_over(self) -> bool:
        return self.status in ENDS

    @property
    def prefix(self) -> str | None:
        """The S3 URI of its checkpoints."""
        uri = self.request.get("CheckpointConfig", {}).get("S3Uri")
        return None if uri is None else str(uri)

    def tag(self, name: str) -> str | None:
        return next((tag["Value"] for tag in self.tags if tag["Key"] == name), None)

    def training_seconds(self, now: float) -> float:
        return sum(
            (machine.gone if machine.gone is not None else now) - machine.begin for machine in self.machines
        )

    def billable_seconds(self, now: float) -> float:
        return self.training_seconds(now) * (1 - SPOT_DISCOUNT if self.is_spot else 1)


class SageMaker(Paged):
    """All training jobs of the account. The methods with keyword arguments are boto3's."""

    def __init__(
        self,
        clock: Clock,
        calls: Calls,
        s3: S3,
        random: Random,
        market: Market,
        workload: Callable[[Job], Workload],
        habits: Habits,
        on_change: Callable[[Job], None],
    ) -> None:
        self.clock, self.calls, self.s3, self.market = clock, calls, s3, market
        self._random, self._workload, self._habits, self._on_change = random, workload, habits, on_change
        self.jobs: dict[str, Job] = {}

    # --- boto3's ------------------------------------------------------------------------------------------

    def create_training_job(self, **given: Any) -> dict[str, Any]:
        return self.calls.make(
            "sagemaker", "create_training_job", given, lambda call: self._create(call, given)
        )

    def describe_training_job(self, **given: Any) -> dict[str, Any]:
        return self.calls.make(
            "sagemaker", "describe_training_job", given, lambda _call: self._describe(given)
        )

    def stop_training_job(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("sagemaker", "stop_training_job", given, lambda _call: self._stop(given))

    def list_training_jobs(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("sagemaker", "list_training_jobs", given, lambda _call: self._list(given))

    def list_tags(self, **given: Any) -> dict[str, Any]:
        def tags(_call: Call) -> dict[str, Any]:
            return {"Tags": list(self._find(str(given["ResourceArn"]).rpartition("/")[2], "ListTags").tags)}

        return self.calls.make("sagemaker", "list_tags", given, tags)

    def _create(self, _call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
        request = dict(given)
        name = str(request.get("TrainingJobName"))
        if name in self.jobs:
            raise client_error(
                "ResourceInUse",
                "Training job names must be unique within an AWS account and region, and a training job with this"
                f" name already exists ({_arn(name)})",
                "CreateTrainingJob",
            )
        try:
            if (refused := self._habits.refusal()) is not None:
                raise refused.error()
            request_rules.check_request(request, self._habits.behaviour.cannot_checkpoint)
            quota = request_rules.quota_name(request)
            used = sum(
                1
                for job in self.jobs.values()
                if not job.is_over and request_rules.quota_name(job.request) == quota
            )
            request_rules.check_quota(request, self.market.quotas, used)
        except ServiceFaultError as fault:
            raise client_error(fault.code, fault.message, "CreateTrainingJob", fault.status_code) from fault
        now = self.clock.now
        job = Job(request, now, now + self._habits.visible_after(), list(request.get("Tags", ())))
        self.jobs[name] = job
        self._enter(job, "Starting")
        wait = request_rules.max_wait_seconds(request)
        if wait is not None:
            job.limit = self.clock.after(wait, lambda: self._too_long(job, "MaxWaitTimeExceeded"))
        self._plan(job, 2.0, lambda: self._seek(job))
        return {"TrainingJobArn": _arn(name)}

    def _describe(self, given: Mapping[str, Any]) -> dict[str, Any]:
        job = self._find(given["TrainingJobName"], "DescribeTrainingJob")
        age = self.clock.now - job.ended_at if job.ended_at is not None else 0.0
        answer = self._habits.describes({**self.description(job), "ageSeconds": age})
        return {name: value for name, value in answer.items() if name != "ageSeconds"}

    def _find(self, name: str, operation: str) -> Job:
        job = self.jobs.get(name)
        if job is None or job.visible_at > self.clock.now:
            raise client_error("ValidationException", "Requested resource not found.", operation)
        return job

    def _stop(self, given: Mapping[str, Any]) -> dict[str, Any]:
        job = self._find(given["TrainingJobName"], "StopTrainingJob")
        if job.is_over:
            raise client_error(
                "ValidationException",
                f"The request was rejected because the training job is in status {job.status}.",
                "StopTrainingJob",
            )
        if job.status != "Stopping":
            self._begin_to_stop(job, "Stopped")
        return {}

    def _list(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = [job for job in self.jobs.values() if job.visible_at <= self.clock.now]
        if "NameContains" in given:
            found = [job for job in found if given["NameContains"] in job.name]
        if "StatusEquals" in given:
            found = [job for job in found if job.status == given["StatusEquals"]]
        for name, of in (("CreationTime", "created_at"), ("LastModifiedTime", "modified_at")):
            if f"{name}After" in given:
                found = [job for job in found if self.clock.moment(getattr(job, of)) > given[f"{name}After"]]
            if f"{name}Before" in given:
                found = [job for job in found if self.clock.moment(getattr(job, of)) < given[f"{name}Before"]]
        order = given.get("SortBy", "CreationTime")
        found.sort(key=lambda job: job.name if order == "Name" else job.created_at)
        if given.get("SortOrder", "Ascending") == "Descending":
            found.reverse()
        page, following = page_of(found, given.get("NextToken"), int(given.get("MaxResults", 10)))
        wanted = (
            "TrainingJobName",
            "TrainingJobArn",
            "CreationTime",
            "TrainingEndTime",
            "LastModifiedTime",
            "TrainingJobStatus",
            "SecondaryStatus",
        )
        summaries = []
        for job in page:
            whole = self.description(job)
            summaries.append({key: whole[key] for key in wanted if key in whole})
        return {"TrainingJobSummaries": summaries, **({} if following is None else {"NextToken": following})}

    def description(self, job: Job) -> dict[str, Any]:
        """DescribeTrainingJob's answer."""
        moment = self.clock.moment
        answer: dict[str, Any] = {
            **{key: value for key, value in job.request.items() if key != "Tags"},
            **{key: bool(job.request.get(key, False)) for key in FLAGS},
            "TrainingJobArn": _arn(job.name),
            "TrainingJobStatus": job.status,
            "SecondaryStatus": job.secondary,
            "CreationTime": moment(job.created_at),
            "LastModifiedTime": moment(job.modified_at),
            "SecondaryStatusTransitions": [
                {key: moment(value) if key.endswith("Time") else value for key, value in each.items()}
                for each in job.transitions
            ],
        }
        if job.reason is not None:
            answer["FailureReason"] = job.reason
        if job.model is not None:
            answer["ModelArtifacts"] = {"S3ModelArtifacts": job.model}
        if job.machines:
            answer["TrainingStartTime"] = moment(job.machines[0].begin)
            figures = {
                "TrainingTimeInSeconds": max(1, round(job.training_seconds(self.clock.now))),
                "BillableTimeInSeconds": max(1, round(job.billable_seconds(self.clock.now))),
            }
            if job.is_over:
                answer |= {"TrainingEndTime": moment(job.machines[-1].gone), **figures}
            else:
                answer |= {name: figures[name] for name in self._habits.behaviour.figures_while_running}
        return answer

    # --- the life of a job --------------------------------------------------------------------------------

    def _plan(self, job: Job, seconds: float, do: Callable[[], None]) -> None:
        job.planned.append(self.clock.after(seconds, do))

    def _forget_plans(self, job: Job) -> None:
        """What was planned for the job does not happen any more."""
        for planned in job.planned:
            self.clock.cancel(planned)
        job.planned.clear()

    def _enter(self, job: Job, secondary: str, status: str | None = None) -> None:
        now = self.clock.now
        if job.transitions:
            job.transitions[-1].setdefault("EndTime", now)
        job.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": secondary})
        job.secondary, job.status, job.modified_at = secondary, status or job.status, now
        if job.is_over:
            job.transitions[-1]["EndTime"] = now
            job.ended_at = now
            self._forget_plans(job)
            self.clock.cancel(job.limit)
        self._on_change(job)

    def has_event(self, job: Job) -> bool:
        """Whether SageMaker sends an event of the state that the job has just entered."""
        before, job.told_status = job.told_status, job.status
        return self._habits.events_of is EventsOf.TRANSITIONS or before != job.status

    def _seek(self, job: Job) -> None:
        """Wait for a machine."""
        now, kind = self.clock.now, job.instance_type
        at: float | None
        if job.is_spot:
            at = self.market.available_from(kind, now)
        else:
            at = self.market.given_from(kind, now)
            fails = self.market.no_capacity.get(kind)
            if fails is not None:
                self._show_pending(job)
                reason = (
                    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a"
                    " different ML instance type."
                )
                self._plan(job, fails, lambda: self._fail(job, reason))
                return
        if at is not None and at <= now + 1:
            self._provision(job)
            return
        if at is None or at > now + self._habits.behaviour.seconds_to_pending:
            self._show_pending(job)
        if at is not None:
            self._plan(job, at - now, lambda: self._given(job))
        longest = request_rules.max_pending_seconds(job.request)
        if longest is not None:
            self._plan(job, longest, lambda: self._too_long(job, "Stopped") if not job.machines else None)

    def _show_pending(self, job: Job) -> None:
        if self._habits.behaviour.waits is Waits.STARTING:
            return
        after = self._habits.behaviour.seconds_to_pending
        if after:
            self._plan(job, after, lambda: self._enter(job, "Pending"))
        else:
            self._enter(job, "Pending")

    def _given(self, job: Job) -> None:
        if job.secondary == "Pending":
            self._enter(job, "Starting")
        self._provision(job)

    def _drawn(self, given: Duration | None, between: tuple[float, float], number: int = 1) -> float:
        return self._random.uniform(*between) if given is None else given.draw(self._random, number)

    def _provision(self, job: Job) -> None:
        seconds = self._drawn(
            self._habits.behaviour.provisioning, self._habits.provisioning, len(job.machines) + 1
        )
        self._plan(job, seconds, lambda: self._download(job))

    def _download(self, job: Job) -> None:
        if job.is_spot:
            taken = self.market.taken_back_at(job.instance_type, self.clock.now)
            if taken is not None and taken <= self.clock.now:
                self._seek(job)
                return
            if taken is not None:
                self._plan(job, taken - self.clock.now, lambda: self._interrupt(job))
        job.machines.append(Machine(self.clock.now))
        self._enter(job, "Downloading")
        self._limit_runtime(job)
        seconds = self._drawn(self._habits.behaviour.downloading, self._habits.downloading, len(job.machines))
        self._plan(job, seconds, lambda: self._train(job))

    def _limit_runtime(self, job: Job) -> None:
        """A job is billed until its model is uploaded (TrainingEndTime), and its limit holds as long."""
        used = job.training_seconds(self.clock.now)
        if self._habits.behaviour.runtime_limit is RuntimeLimit.PER_LIFE:
            used = self.clock.now - job.machines[-1].begin
        left = request_rules.max_runtime_seconds(job.request) - used
        self._plan(job, max(1.0, left), lambda: self._too_long(job, "MaxRuntimeExceeded"))

    def _train(self, job: Job) -> None:
        self._enter(job, "Training")
        error_after = self._habits.internal_error_after(job.name)
        if error_after is not None and len(job.machines) == 1:
            reason = "InternalServerError: We encountered an internal error. Please try again."
            self._plan(job, error_after, lambda: self._fail(job, reason))
        machine = job.machines[-1]

        def on_exit(failure: str | None) -> None:
            machine.end = self.clock.now
            if job.status == "InProgress":
                self._exited(job, failure)

        job.process = Process(
            self.clock,
            self.s3,
            self._random,
            self._workload(job),
            checkpoints=_bucket_and_prefix(job.prefix),
            instance_type=job.instance_type,
            environment=dict(job.request.get("Environment", {})),
            name=job.name,
            on_exit=on_exit,
            agent=self._habits.behaviour.uploads,
            hosts=request_rules.instance_count(job.request),
        )

    def _exited(self, job: Job, failure: str | None) -> None:
        self._forget_plans(job)  # no interruption matters any more
        job.process, job.failing = None, failure
        self._enter(job, "Uploading")
        if failure is not None:
            # What a script that failed has left is not much.
            seconds = self._drawn(self._habits.behaviour.uploading, (5.0, 5.0))
            self._plan(job, seconds, lambda: self._fail(job, failure))
            return
        self._limit_runtime(job)
        seconds = self._drawn(self._habits.behaviour.uploading, self._habits.uploading)
        self._plan(job, seconds + self._habits.hangs(job.name), lambda: self._complete(job))

    def _complete(self, job: Job) -> None:
        self._store_model(job)
        self._release(job)
        self._enter(job, "Completed", "Completed")

    def _store_model(self, job: Job) -> None:
        path = str(job.request["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
        job.model = f"{path}/{job.name}/output/model.tar.gz"
        parts = urlsplit(job.model)
        self.s3.store(parts.netloc, parts.path.lstrip("/"), b"model" * 100)

    def _interrupt(self, job: Job) -> None:
        self._forget_plans(job)
        self._release(job)
        self._enter(job, "Interrupted")
        number = len(job.machines)
        seconds = self._habits.behaviour.interrupted.draw(self._random, number) or 1.0
        self._plan(job, seconds, lambda: self._again(job))

    def _again(self, job: Job) -> None:
        interruptions = sum(each["Status"] == "Interrupted" for each in job.transitions)
        if self._habits.behaviour.shows_starting(interruptions):
            self._enter(job, "Starting")
        self._seek(job)

    def _release(self, job: Job) -> None:
        """The machine, if there is one, is gone at once."""
        if job.process is not None:
            job.process.kill()
            job.process = None
        if job.machines and job.machines[-1].gone is None:
            machine = job.machines[-1]
            machine.gone = self.clock.now
            machine.end = self.clock.now if machine.end is None else machine.end

    def _fail(self, job: Job, reason: str) -> None:
        self._end_at_once(job, "Failed", "Failed", reason)

    def _end_at_once(self, job: Job, status: str, secondary: str, reason: str | None) -> None:
        self._release(job)
        job.reason = reason
        self._enter(job, secondary, status)

    def end_all(self, status: str, secondary: str, reason: str | None, *, with_machine: bool = True) -> None:
        """End every job (that has a machine), in a way that no market and no script brings about."""
        for job in self.jobs.values():
            has_machine = bool(job.machines) and job.machines[-1].gone is None
            if job.status == "InProgress" and (has_machine or not with_machine):
                self._end_at_once(job, status, secondary, reason)

    def _too_long(self, job: Job, secondary: str) -> None:
        if not job.is_over and job.status != "Stopping":
            self._begin_to_stop(job, secondary)

    def _begin_to_stop(self, job: Job, secondary: str) -> None:
        """SIGTERM, the last upload, and the end; a container lives for two minutes at the most."""
        self._forget_plans(job)
        before = job.secondary
        hang, behaviour = self._habits.hangs(job.name), self._habits.behaviour
        in_stopping = hang if self._habits.hangs_in is Secondary.STOPPING else 0.0
        job.hung_seconds = hang
        self._enter(job, "Stopping", "Stopping")
        if job.process is None:
            # No container runs: there is nothing to end, or it has ended and its files are being uploaded.
            drawn = behaviour.stop_waiting if before == "Pending" else behaviour.stop_starting
            self._plan(
                job,
                drawn.draw(self._random) + hang,
                lambda: self._stopped(job, secondary, with_model=before == "Uploading"),
            )
            return
        total = self._random.uniform(*self._habits.stopping)
        # It needs most of the time, and the upload of the checkpoints and the model the rest.
        container = min(0.8 * total, GRACE_SECONDS) + behaviour.stop_training.draw(self._random)
        self._plan(job, min(container, GRACE_SECONDS), lambda: self._end_container(job))
        rest = max(0.0, total - container)
        uploading = self._drawn(behaviour.uploading, (rest, rest)) + hang - in_stopping

        def upload() -> None:
            if behaviour.stop_shows_uploading:
                self._enter(job, "Uploading")
            with_model = behaviour.stopped_has_model
            self._plan(job, uploading, lambda: self._stopped(job, secondary, with_model=with_model))

        self._plan(job, container + in_stopping, upload)

    def _end_container(self, job: Job) -> None:
        if job.process is not None:
            job.process.end()
            job.process = None
        if job.machines[-1].end is None:
            job.machines[-1].end = self.clock.now

    def _stopped(self, job: Job, secondary: str, *, with_model: bool) -> None:
        if job.failing is not None:
            self._fail(job, job.failing)
            return
        if with_model:
            self._store_model(job)
        self._release(job)
        self._enter(job, secondary, "Stopped")

    # --- events -------------------------------------------------------------------------------------------

    def event_detail(self, job: Job) -> dict[str, Any]:
        """The detail of its state change as it is now, without what events do not carry."""
        left_out = {"BillableTimeInSeconds", "TrainingTimeInSeconds", "EnableManagedSpotTraining"}
        detail = {key: value for key, value in self.description(job).items() if key not in left_out}
        detail = {**_in_milliseconds(detail), "Tags": {tag["Key"]: tag["Value"] for tag in job.tags}}
        # One form for all events of a job: which one AWS uses, and how fine it is, nobody knows.
        form = STAMPS[crc32(job.name.encode()) % len(STAMPS)]
        detail["LastModifiedTime"] = form(detail["LastModifiedTime"])
        return detail


def _in_milliseconds(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {key: _in_milliseconds(inner) for key, inner in value.items()}
    return [_in_milliseconds(inner) for inner in value] if isinstance(value, list) else value


def _arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"


def _bucket_and_prefix(uri: str | None) -> tuple[str, str] | None:
    if uri is None:
        return None
    parts = urlsplit(uri)
    return parts.netloc, f"{parts.path.strip('/')}/"
