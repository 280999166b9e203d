"""Runs real nights on this machine: real workflow, real handlers, real training processes, emulated AWS."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from moto import mock_aws

from nightspot.aws.notices import Notices
from nightspot.aws.runs.checkpoints import Checkpoints, Models
from nightspot.aws.runs.executions import CONTINUE_RUN, Executions, Starter
from nightspot.aws.runs.job_code import CodeArchives, JobCode, PushedCodes
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.formats.run_ids import run_id_of
from nightspot.formats.statuses import ENDED
from nightspot.job.model import Job, Local
from nightspot.job.source_archive import pack_all
from nightspot.lambdas.dependencies import EVENT_LIFE, Dependencies
from nightspot.lambdas.observability import writing_to
from nightspot.lambdas.start_training_job import ASKED_ONCE
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker import sagemaker
from nightspot.local.sagemaker.launch import TrainingCommand
from nightspot.local.sagemaker.process import CommandError
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker
from nightspot.local.stage import records
from nightspot.local.stage.emulated_aws import (
    ASYNC_RETRY_SECONDS,
    BUS,
    PAGES,
    REGION,
    TABLE,
    AsyncInvoker,
    DeadLetters,
    EmulatedSchedule,
    NightNotOverError,
    create_resources,
    create_state_machine,
    functions,
    local_job,
    start_execution,
    states_entered,
    wait_for_end,
    warm_up,
)
from nightspot.local.stage.engine import Handler, InStoryTime, interpreter
from nightspot.local.stage.night_files import Night
from nightspot.plan.planning import Price
from nightspot.record.model import RunRecord
from nightspot.record.summary import record_of
from nightspot.run.model import Phase, Run, Step, step_from_json
from nightspot.view.messages.message import Message

CLOSING_REAL_SECONDS = 10.0  # what CloseRun computes, on a busy machine
LOOK_REAL_SECONDS = 0.05
LONGEST_NIGHT_SECONDS = 3 * 24 * 3600.0  # of the story; a night that is not over by then hangs


@dataclass(frozen=True)
class Sighting:
    """Something that a person who watches the night wants to see, at a moment of the story."""

    at: datetime
    kind: str  # "decision", "status", "log"
    text: str
    training_job_name: str | None = None
    status: str | None = None  # SecondaryStatus
    step: Step | None = None


class NoLocalCommandError(ValueError):
    """A job says nothing of how it is trained on this machine."""


@dataclass(frozen=True)
class Stage:
    """An emulated AWS as long as it is open. `clients` are boto3's, by the service's name. Thread safe."""

    jobs: Mapping[str, Job]
    machine_arn: str
    clients: Mapping[str, Any]
    dependencies: Dependencies  # the handlers' own, with the run table in them
    clock: StoryClock
    simulator: SimulatedSageMaker
    events: RecordingEvents
    dead_letters: DeadLetters
    closing: AsyncInvoker  # of CloseRun, which records what an execution has left open
    one_at_a_time: Lock  # held by a handler while it runs, see `functions.bound`

    @property
    def workflows(self) -> Any:
        """boto3's Step Functions client."""
        return self.clients["stepfunctions"]

    def start(self, job: str, run_input: Mapping[str, Any], name: str) -> str:
        """Start a run of `job` as the execution `name`; returns the execution's ARN.

        `run_input` is the whole input, its own "job" included, as it would arrive. Raises NoLocalCommandError.
        """
        local_command_of(self.jobs, job)
        return start_execution(self.workflows, self.machine_arn, name, run_input)

    def wait(self, execution_arn: str, longest_seconds: float = LONGEST_NIGHT_SECONDS) -> dict[str, Any]:
        """DescribeExecution of the run when it is over, and what it left open is recorded.

        Of a run that other executions went on with, it is the last one. Raises NightNotOverError after
        `longest_seconds` of the story.
        """
        until = time.monotonic() + self.clock.real_seconds(longest_seconds)
        following: str | None = execution_arn
        while following is not None:
            execution = wait_for_end(self.workflows, following, until - time.monotonic())
            if execution["status"] != "SUCCEEDED":
                retries = self.clock.real_seconds(sum(ASYNC_RETRY_SECONDS))
                self.closing.settle(retries + CLOSING_REAL_SECONDS)
            following = self._restart_of(execution, until)
        return execution

    def run_of(self, execution: Mapping[str, Any]) -> Run | None:
        """The run of a described execution, or the one that it went on with; None where none was planned."""
        table, arn = self.dependencies.table, execution["executionArn"]
        given = json.loads(execution["input"])
        if isinstance(given, dict) and CONTINUE_RUN in given:
            return table.run(str(given[CONTINUE_RUN]))
        # A run's id has the day of its start in the story, and the emulation's own is real.
        days = (self.clock.now().date() - self.clock.start.date()).days
        found = (table.run(run_id_of(arn, self.clock.at(day * 86_400.0))) for day in range(days, -1, -1))
        return next((run for run in found if run is not None), None)

    def _restart_of(self, execution: Mapping[str, Any], until: float) -> str | None:
        """The execution that has gone on with the run, minutes after a crash perhaps; None: the run is over.

        `until` is a moment of time.monotonic(). Raises NightNotOverError.
        """
        run = self.run_of(execution)
        while run is not None:
            if run.execution_arn != execution["executionArn"]:
                return run.execution_arn
            if run.outcome is not None:
                return None
            if time.monotonic() > until:
                raise NightNotOverError(execution["executionArn"])
            time.sleep(LOOK_REAL_SECONDS)
            run = self.dependencies.table.run(run.run_id)
        return None


def local_command_of(jobs: Mapping[str, Job], name: str) -> Local:
    """How the job of this name is trained here, its `local`. Raises NoLocalCommandError."""
    local = jobs[name].local
    if local is None:
        raise NoLocalCommandError(f"local: job {name!r} has no local.command to train it on this machine")
    return local


class RecordingEvents:
    """boto3's EventBridge client, remembering what was put."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._entries: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Pass the entries on."""
        self._entries.extend(Entries)
        answer: dict[str, Any] = self._client.put_events(Entries=Entries)
        return answer

    @property
    def entries(self) -> tuple[Mapping[str, Any], ...]:
        """All that was put, oldest first."""
        return tuple(self._entries)


SERVICES = ("dynamodb", "events", "s3", "sagemaker", "stepfunctions")
JOB_TAG = "nightspot:job"  # see nightspot.plan.planning
RECONCILE_EVERY_SECONDS = 300.0  # see infra.triggers


@dataclass(frozen=True)
class LocalNight:
    """What is left of a night."""

    execution_status: str  # Step Functions': SUCCEEDED, FAILED, TIMED_OUT, ABORTED
    error: str | None
    cause: str | None
    output: Mapping[str, Any] | None
    run: Run | None  # None where the input was refused
    steps: tuple[Step, ...]
    phases: Mapping[int, tuple[Phase, ...]]  # what each attempt went through
    state_transitions: int
    states_entered: tuple[str, ...]
    notices: tuple[Mapping[str, Any], ...]  # EventBridge entries that Nightspot sent
    training_jobs: tuple[Mapping[str, Any], ...]  # DescribeTrainingJob of every job, in order of creation
    dead_letters: int
    real_seconds: float
    messages: tuple[Message, ...]  # what people would have been told of those notices

    @property
    def record(self) -> RunRecord | None:
        """The run's record; None where its input was refused."""
        return None if self.run is None else record_of(self.run, self.steps, self.phases)


@dataclass(frozen=True)
class LocalAws:
    """An emulated AWS with Nightspot deployed in it, for one night or for as long as it is held open.

    `price`: see `planning.Price`. `wrap(name, handler)` may stand between the workflow and a handler, to make it
    fail in a test. `on_sighting` gets what there is to see, from several threads, and must not raise.
    `meanwhile(simulator, clock)` runs beside the night, in its own thread.
    """

    jobs: Mapping[str, Job]
    night: Night
    scratch: Path
    started_at: datetime  # the story's start
    price: Price
    check_quotas: bool = False  # ask for the night's quotas before the run, as a deployment may
    time_scale: float | None = None  # story seconds per real second; the job's own by default
    directory: Path | None = None  # where the training commands run; the current one by default
    directories: Mapping[str, Path] = field(default_factory=dict)  # by job, where one's own is another
    on_sighting: Callable[[Sighting], None] = lambda _sighting: None
    wrap: Callable[[str, Handler], Handler] = lambda _name, handler: handler
    meanwhile: Callable[[SimulatedSageMaker, StoryClock], None] | None = None

    def play(self, job_name: str, run_input: Mapping[str, Any] | None = None) -> LocalNight:
        """Start the state machine and stay until its execution is over.

        The input is `run_input`, or else the job and the night's overrides.

        Raises NoLocalCommandError where the job has no local command.
        """
        local = local_command_of(self.jobs, job_name)
        given = {"job": job_name, **self.night.overrides} if run_input is None else run_input
        with self.open(self.time_scale or local.time_scale) as stage:
            began = time.monotonic()
            if self.meanwhile is not None:
                beside = (stage.simulator, stage.clock)
                threading.Thread(target=self.meanwhile, args=beside, daemon=True).start()
            arn = stage.start(job_name, given, f"{job_name}-{self.started_at:%Y%m%dT%H%M%S}")
            execution = stage.wait(arn)
            entered = states_entered(stage.workflows, execution["executionArn"])
            table, run_id = stage.dependencies.table, run_id_of(arn, self.started_at)
            return LocalNight(
                execution_status=execution["status"],
                error=execution.get("error"),
                cause=execution.get("cause"),
                output=json.loads(execution["output"]) if "output" in execution else None,
                run=table.run(run_id),
                steps=tuple(table.steps(run_id)),
                phases=table.phases(run_id),
                state_transitions=len(entered),
                states_entered=entered,
                notices=stage.events.entries,
                training_jobs=tuple(
                    stage.simulator.describe_training_job({"TrainingJobName": state.name})
                    for state in stage.simulator.states()
                ),
                dead_letters=len(stage.dead_letters.letters),
                real_seconds=time.monotonic() - began,
                messages=records.written(
                    stage.events.entries, self.jobs[job_name], self.scratch / "messages"
                ),
            )

    @contextmanager
    def open(self, time_scale: float | None = None) -> Iterator[Stage]:
        """Inside: the emulated AWS is there, its story's clock runs, and runs can be started in it.

        All jobs share one pace: `time_scale`, else the stage's own, else the slowest of the jobs', so that no job's
        training is cut short. Afterwards nothing that was started is left running.

        Raises NoLocalCommandError where no job has a local command, InvalidJobError for code that cannot travel.
        """
        scale = time_scale or self.time_scale or self._slowest()
        self.scratch.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            log = stack.enter_context((self.scratch / "functions.log").open("a", encoding="utf-8"))
            stack.enter_context(writing_to(log))
            stack.enter_context(mock_aws(config={"stepfunctions": {"execute_state_machine": True}}))
            create_resources(local_job(job) for job in self.jobs.values())
            machine_arn = create_state_machine()
            warm_up()
            clients = {name: boto3.client(name, region_name=REGION) for name in SERVICES}
            once = Config(**ASKED_ONCE)
            jobs = TrainingJobs(boto3.client("sagemaker", region_name=REGION, config=once))
            events, dead_letters = RecordingEvents(clients["events"]), DeadLetters()
            # From here on it is night, and every second counts for minutes.
            clock = StoryClock(self.started_at, scale)
            starter = Starter(clients["stepfunctions"], machine_arn, now=clock.now)
            use, lock = self._dependencies(clients, clock, events, starter), threading.Lock()
            handlers = self._handlers(use, jobs, lock)
            wake = AsyncInvoker(handlers["WakeRun"], clock, dead_letters)
            closing = AsyncInvoker(handlers["CloseRun"], clock, dead_letters)
            for invoker in (wake, closing):
                stack.callback(invoker.close)
            simulator = stack.enter_context(self._simulator(clients["s3"], clock, wake, closing))
            stack.enter_context(sagemaker.installed(simulator))
            stack.enter_context(interpreter(clock, handlers, on_end=closing))
            reconciling = EmulatedSchedule(
                handlers["Reconcile"], clock, dead_letters, every_seconds=RECONCILE_EVERY_SECONDS
            )
            stack.callback(reconciling.close)
            yield Stage(
                self.jobs, machine_arn, clients, use, clock, simulator, events, dead_letters, closing, lock
            )

    def _slowest(self) -> float:
        scales = [job.local.time_scale for job in self.jobs.values() if job.local is not None]
        if not scales:
            raise NoLocalCommandError(
                f"local: none of {sorted(self.jobs)} has a local.command to train it here"
            )
        return min(scales)

    def _dependencies(
        self, clients: Mapping[str, Any], clock: StoryClock, events: RecordingEvents, starter: Starter
    ) -> Dependencies:
        limits = self.night.options.quotas
        code = JobCode(
            pack_all(self.jobs)[0],
            PushedCodes(clients["dynamodb"], TABLE),
            CodeArchives(clients["s3"], PAGES),
        )
        return Dependencies(
            region=REGION,
            now=clock.now,
            jobs=lambda: self.jobs,
            localise=local_job,
            price=self.price,
            table=RunTable(clients["dynamodb"], TABLE),
            lock=JobLock(clients["dynamodb"], TABLE),
            executions=Executions(InStoryTime(clients["stepfunctions"], clock)),
            quotas=(lambda names: {name: float(limits[name]) for name in names if name in limits})
            if self.check_quotas
            else None,
            training_jobs=TrainingJobs(clients["sagemaker"]),
            checkpoints=Checkpoints(clients["s3"]),
            notices=Notices(events, BUS),
            step_functions=clients["stepfunctions"],
            starter=starter,
            models=Models(clients["s3"]),
            code=lambda: code,
            # A busy machine takes a second for what is minutes of the story.
            event_life=max(EVENT_LIFE, timedelta(seconds=clock.story_seconds(1.0))),
        )

    def _handlers(
        self, use: Dependencies, jobs: TrainingJobs, one_at_a_time: threading.Lock
    ) -> dict[str, Handler]:
        handlers = functions(use, jobs, one_at_a_time)
        wrapped = {name: self.wrap(name, handler) for name, handler in handlers.items()}
        decide = wrapped["DecideNextStep"]

        def decide_and_show(event: dict[str, Any]) -> Any:
            answer = decide(event)
            step = step_from_json(answer["step"])
            self.on_sighting(Sighting(step.at, "decision", step.because, step.training_job_name, step=step))
            return answer

        return {**wrapped, "DecideNextStep": decide_and_show}

    def _command_of(self, request: Mapping[str, Any]) -> TrainingCommand:
        """By the tag that Nightspot puts on every training job."""
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        name = str(tags.get(JOB_TAG))
        if name not in self.jobs:
            raise CommandError(f"the request's tag {JOB_TAG} is {name!r}, which is no job of this stage")
        try:
            local = local_command_of(self.jobs, name)
        except NoLocalCommandError as error:
            raise CommandError(str(error)) from error
        where = self.directories.get(name) or self.directory or Path.cwd()
        return TrainingCommand.of(local, where)

    def _simulator(
        self, s3: Any, clock: StoryClock, wake: AsyncInvoker, closing: AsyncInvoker
    ) -> SimulatedSageMaker:
        def on_event(event: dict[str, Any]) -> None:
            detail = event["detail"]
            sighting = Sighting(
                at=datetime.fromtimestamp(int(detail["LastModifiedTime"]) / 1000, UTC),
                kind="status",
                text=detail["SecondaryStatusTransitions"][-1].get("StatusMessage", ""),
                training_job_name=detail["TrainingJobName"],
                status=detail["SecondaryStatus"],
            )
            self.on_sighting(sighting)
            wake(event)
            if detail["TrainingJobStatus"] in ENDED:
                closing(event)

        def on_log(name: str, line: str) -> None:
            self.on_sighting(Sighting(clock.now(), "log", line.rstrip(), name))

        return SimulatedSageMaker(
            clock,
            self.night.markets,
            scratch=self.scratch,
            command_of=self._command_of,
            on_event=on_event,
            region=REGION,
            options=self.night.options,
            create_faults=self.night.create_faults,
            stop_faults=self.night.stop_faults,
            describe_faults=self.night.describe_faults,
            s3=s3,
            on_log=on_log,
        )
