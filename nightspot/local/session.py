"""Runs one real night on this machine: real workflow, real handlers, real training processes, emulated AWS."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import boto3
from moto import mock_aws

from lambdas.dependencies import Dependencies
from lambdas.observability import logger as lambda_logger
from nightspot.aws.checkpoints import Checkpoints
from nightspot.aws.executions import Executions
from nightspot.aws.job_lock import JobLock
from nightspot.aws.notices import Notices
from nightspot.aws.run_table import RunTable
from nightspot.aws.training_jobs import TrainingJobs
from nightspot.job import Job, Local
from nightspot.local import messages, moto_sagemaker
from nightspot.local.clock import StoryClock
from nightspot.local.emulated_aws import (
    BUS,
    REGION,
    TABLE,
    create_resources,
    create_state_machine,
    local_job,
    start_execution,
    states_entered,
    wait_for_end,
    warm_up,
)
from nightspot.local.engine import Handler, interpreter
from nightspot.local.functions import AsyncInvoker, DeadLetters, functions
from nightspot.local.nights import Night
from nightspot.local.sagemaker import SimulatedSageMaker
from nightspot.messages.message import Message
from nightspot.pages.record import record_of
from nightspot.planning import Price, run_id_of
from nightspot.run import Phase, Run, Step, step_from_json

SERVICES = ("dynamodb", "events", "s3", "sagemaker", "stepfunctions")
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
    def summary(self) -> dict[str, Any]:
        """The run's summary, as recorded, with its decisions."""
        if self.run is None:
            return {"outcome": "refused", "because": self.cause}
        return {
            **record_of(self.run, self.steps, self.phases),
            "state_transitions": self.state_transitions,
        }


@dataclass(frozen=True)
class LocalAws:
    """An emulated AWS with Nightspot deployed in it, for one night.

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
    directory: Path | None = None  # where the training command runs; the current one by default
    on_sighting: Callable[[Sighting], None] = lambda _sighting: None
    wrap: Callable[[str, Handler], Handler] = lambda _name, handler: handler
    meanwhile: Callable[[SimulatedSageMaker, StoryClock], None] | None = None

    def play(self, job_name: str, run_input: Mapping[str, Any] | None = None) -> LocalNight:
        """Start the state machine and stay until its execution is over.

        The input is `run_input`, or else the job and the night's overrides.

        Raises ValueError where the job has no local command.
        """
        job = self.jobs[job_name]
        if job.local is None:
            raise ValueError(f"local: job {job_name!r} has no local.command to train it on this machine")
        self.scratch.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            log = stack.enter_context((self.scratch / "functions.log").open("a", encoding="utf-8"))
            stack.enter_context(_functions_write_to(log))
            stack.enter_context(mock_aws(config={"stepfunctions": {"execute_state_machine": True}}))
            create_resources(local_job(job) for job in self.jobs.values())
            machine_arn = create_state_machine()
            warm_up()
            clients = {name: boto3.client(name, region_name=REGION) for name in SERVICES}
            events = RecordingEvents(clients["events"])
            dead_letters = DeadLetters()
            # From here on it is night, and every second counts for minutes.
            began = time.monotonic()
            clock = StoryClock(self.started_at, self.time_scale or job.local.time_scale)
            handlers = self._handlers(self._dependencies(clients, clock, events))
            wake = AsyncInvoker(handlers["WakeRun"], clock, dead_letters)
            stack.callback(wake.close)
            simulator = stack.enter_context(self._simulator(job.local, clients["s3"], clock, wake))
            stack.enter_context(moto_sagemaker.installed(simulator))
            stack.enter_context(interpreter(clock, handlers))
            if self.meanwhile is not None:
                threading.Thread(target=self.meanwhile, args=(simulator, clock), daemon=True).start()
            name = f"{job_name}-{self.started_at:%Y%m%dT%H%M%S}"
            workflows = clients["stepfunctions"]
            given = {"job": job_name, **self.night.overrides} if run_input is None else run_input
            arn = start_execution(workflows, machine_arn, name, given)
            execution = wait_for_end(workflows, arn, clock.real_seconds(LONGEST_NIGHT_SECONDS))
            return LocalNight(
                **_execution_facts(workflows, execution),
                **_recorded(RunTable(clients["dynamodb"], TABLE), run_id_of(arn, self.started_at)),
                notices=events.entries,
                training_jobs=tuple(
                    simulator.describe_training_job({"TrainingJobName": state.name})
                    for state in simulator.states()
                ),
                dead_letters=len(dead_letters.letters),
                real_seconds=time.monotonic() - began,
                messages=messages.written(events.entries, job, self.scratch / "messages"),
            )

    def _dependencies(
        self, clients: Mapping[str, Any], clock: StoryClock, events: RecordingEvents
    ) -> Dependencies:
        return Dependencies(
            region=REGION,
            now=clock.now,
            jobs=lambda: self.jobs,
            localise=local_job,
            price=self.price,
            table=RunTable(clients["dynamodb"], TABLE),
            lock=JobLock(clients["dynamodb"], TABLE),
            executions=Executions(clients["stepfunctions"]),
            quotas=self._quota_limits if self.check_quotas else None,
            training_jobs=TrainingJobs(clients["sagemaker"]),
            checkpoints=Checkpoints(clients["s3"]),
            notices=Notices(events, BUS),
            step_functions=clients["stepfunctions"],
        )

    def _quota_limits(self, names: Iterable[str]) -> dict[str, float]:
        limits = self.night.options.quotas
        return {name: float(limits[name]) for name in names if name in limits}

    def _handlers(self, use: Dependencies) -> dict[str, Handler]:
        wrapped = {name: self.wrap(name, handler) for name, handler in functions(use).items()}
        decide = wrapped["DecideNextStep"]

        def decide_and_show(event: dict[str, Any]) -> Any:
            answer = decide(event)
            step = step_from_json(answer["step"])
            self.on_sighting(Sighting(step.at, "decision", step.because, step.training_job_name, step=step))
            return answer

        return {**wrapped, "DecideNextStep": decide_and_show}

    def _simulator(self, local: Local, s3: Any, clock: StoryClock, wake: AsyncInvoker) -> SimulatedSageMaker:
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

        def on_log(name: str, line: str) -> None:
            self.on_sighting(Sighting(clock.now(), "log", line.rstrip(), name))

        return SimulatedSageMaker(
            clock,
            self.night.markets,
            scratch=self.scratch,
            command=local.command,
            environment=local.environment,
            on_event=on_event,
            region=REGION,
            options=self.night.options,
            create_faults=self.night.create_faults,
            stop_faults=self.night.stop_faults,
            describe_faults=self.night.describe_faults,
            s3=s3,
            on_log=on_log,
            directory=self.directory,
        )


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


@contextmanager
def _functions_write_to(log: TextIO) -> Iterator[None]:
    """Inside: what the handlers log and their metrics go to `log`, as in Lambda to CloudWatch."""
    streams = [h for h in lambda_logger.handlers if isinstance(h, logging.StreamHandler)]
    before = [handler.setStream(log) for handler in streams]
    try:
        with redirect_stdout(log):
            yield
    finally:
        for handler, stream in zip(streams, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _execution_facts(client: Any, execution: Mapping[str, Any]) -> dict[str, Any]:
    entered = states_entered(client, execution["executionArn"])
    return {
        "execution_status": execution["status"],
        "error": execution.get("error"),
        "cause": execution.get("cause"),
        "output": json.loads(execution["output"]) if "output" in execution else None,
        "state_transitions": len(entered),
        "states_entered": entered,
    }


def _recorded(table: RunTable, run_id: str) -> dict[str, Any]:
    return {
        "run": table.run(run_id),
        "steps": tuple(table.steps(run_id)),
        "phases": table.phases(run_id),
    }
