"""What can be done in an emulated AWS while it is open: several jobs, several runs, in turn or at once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from nightspot.aws.runs.executions import CONTINUE_RUN
from nightspot.formats.run_ids import run_id_of
from nightspot.job.model import Job, Local
from nightspot.lambdas.dependencies import Dependencies
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker
from nightspot.local.stage.emulated_aws import (
    ASYNC_RETRY_SECONDS,
    AsyncInvoker,
    DeadLetters,
    NightNotOverError,
    start_execution,
    wait_for_end,
)
from nightspot.run.model import Run, Step

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
