"""Decides how a person reaches into a deployment: which jobs and which table a stack has, how a run is stopped, and
what its training jobs logged.

A run is stopped through its training job: the loop takes a stop that it did not ask for itself for a person's, ends
the run and records it. (StopExecution would leave the training job running, and nobody to record it.)
"""

from __future__ import annotations

import heapq
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from zipfile import BadZipFile

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from nightspot.aws.deployed_names import DeploymentError, planner_of
from nightspot.aws.drill_jobs import SageMakerClient
from nightspot.aws.executions import Executions
from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.aws.run_table import RunTable
from nightspot.aws.training_jobs import TrainingJobs
from nightspot.failures import redact
from nightspot.job import Job, read_jobs
from nightspot.messages.links import LOG_GROUP
from nightspot.run import Attempt, Run

JOBS_FILE = "jobs.json"  # as infra.bundle calls it in the functions' code
LOOK_SECONDS = 10.0  # between two looks at a run that is being stopped
MOST_STREAMS = 100  # of one FilterLogEvents call
_TABLE_OUTPUT = "TableName"


class UnknownRunError(Exception):
    """The table has no run of this id."""


class StopRefusedError(Exception):
    """AWS did not let a training job be stopped; the text tells why."""


class StopState(StrEnum):
    """How far the stop of a run is."""

    ASKED = "asked"  # its training job is stopping; the run ends when that is over
    NOTHING_TO_STOP = (
        "nothing_to_stop"  # between two training jobs: the next one is stopped as soon as it is there
    )
    OVER = "over"  # the run's outcome is on record
    UNRECORDED = "unrecorded"  # its execution is gone without an outcome: nobody will record one


@dataclass(frozen=True)
class Stopping:
    """A look at a run that a person stops."""

    state: StopState
    run: Run
    training_job_name: str | None = None  # the one that was asked to stop, or that nothing can stop just now


class Stopper:
    """Stops runs. `sagemaker` is boto3's client. Every call may be repeated."""

    def __init__(self, table: RunTable, sagemaker: SageMakerClient, executions: Executions) -> None:
        self._table = table
        self._sagemaker = sagemaker
        self._executions = executions
        self._jobs = TrainingJobs(sagemaker)
        self._asked: set[str] = set()

    def ask(self, run_id: str) -> Stopping:
        """Ask for the stop of the run's training job, where it has one that a person can stop.

        Raises UnknownRunError, StopRefusedError, and what the table raises.
        """
        run = self._run(run_id)
        if run.outcome is not None:
            return Stopping(StopState.OVER, run)
        attempt = run.open_attempt
        asked = attempt is not None and self._stopped(attempt)
        name = attempt.training_job_name if attempt is not None else None
        if self._executions.is_running(run.execution_arn) is False:
            # It may have ended properly since the ledger was read.
            run = self._run(run_id)
            return Stopping(StopState.UNRECORDED if run.outcome is None else StopState.OVER, run, name)
        return Stopping(StopState.ASKED if asked else StopState.NOTHING_TO_STOP, run, name)

    def until_recorded(
        self,
        run_id: str,
        *,
        longest_seconds: float,
        sleep: Callable[[float], None],
        on_news: Callable[[Stopping], None] = lambda _news: None,
    ) -> Stopping:
        """Ask until the run is over, or can no longer be, or `longest_seconds` have been slept: the last look.

        A run that was just changing over starts another training job: that one is stopped as well. `on_news` hears
        of every look that differs from the one before. Raises like `ask`, a fault that may pass only at the end.
        """
        slept, told = 0.0, None
        while True:
            is_last = slept >= longest_seconds
            look = self._ask_unless_passing(run_id, is_last=is_last)
            if look is not None:
                if (look.state, look.training_job_name) != told:
                    told = (look.state, look.training_job_name)
                    on_news(look)
                if is_last or look.state in {StopState.OVER, StopState.UNRECORDED}:
                    return look
            sleep(LOOK_SECONDS)
            slept += LOOK_SECONDS

    def _ask_unless_passing(self, run_id: str, *, is_last: bool) -> Stopping | None:
        """A look; None where AWS could not answer and there is time for another one."""
        try:
            return self.ask(run_id)
        except TransientAwsError:
            if is_last:
                raise
            return None

    def _run(self, run_id: str) -> Run:
        run = self._table.run(run_id)
        if run is None:
            raise UnknownRunError(run_id)
        return run

    def _stopped(self, attempt: Attempt) -> bool:
        """Whether the run will take the end of this training job for a person's stop."""
        name = attempt.training_job_name
        if name in self._asked:
            return True
        if attempt.stop_requested_at is not None:
            # Nightspot stops it itself, to go on elsewhere: a second stop would not be told from the first.
            return False
        try:
            self._sagemaker.stop_training_job(TrainingJobName=name)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            view = self._jobs.describe(name)
            if view is None:
                return False  # asked for a moment ago, and not there yet
            if view.status == "InProgress":
                raise StopRefusedError(f"training job {name}: {redact(str(error))}") from error
        self._asked.add(name)
        return True


@dataclass(frozen=True)
class LogEvent:
    """A line that a training container wrote."""

    at: datetime  # aware UTC, to the millisecond
    machine: str  # "algo-1"
    message: str


def training_logs(logs: Any, training_job_name: str) -> Iterator[LogEvent]:
    """What the job's machines logged, oldest first, page by page. `logs` is boto3's client of CloudWatch Logs.

    Nothing where no container has begun to write. Raises ClientError and BotoCoreError.
    """
    streams = _streams(logs, training_job_name)
    parts = (streams[first : first + MOST_STREAMS] for first in range(0, len(streams), MOST_STREAMS))
    yield from heapq.merge(*(_events(logs, part) for part in parts), key=lambda event: event.at)


def _streams(logs: Any, training_job_name: str) -> list[str]:
    # With the slash: job 1 is not job 10 as well.
    wanted = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": f"{training_job_name}/"}
    try:
        pages = list(logs.get_paginator("describe_log_streams").paginate(**wanted))
    except ClientError as error:
        # The account's first training job makes the group.
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return []
        raise
    return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]


def _events(logs: Any, streams: list[str]) -> Iterator[LogEvent]:
    # AWS mixes the streams by time in any case; an emulator only where it is told to.
    wanted = {"logGroupName": LOG_GROUP, "logStreamNames": streams, "interleaved": True}
    for page in logs.get_paginator("filter_log_events").paginate(**wanted):
        for event in page["events"]:
            machine = event["logStreamName"].rpartition("/")[2].rpartition("-")[0]
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield LogEvent(at, machine, event["message"])


def table_of_stack(stack: str, *, cloudformation: Any) -> str:
    """The name of the stack's table of runs, its output TableName. Raises DeploymentError."""
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except (ClientError, BotoCoreError) as error:
        raise DeploymentError(f"stack {stack!r} could not be read: {redact(str(error))}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}
    if _TABLE_OUTPUT not in outputs:
        raise DeploymentError(f"stack {stack!r} is not Nightspot's: it has no output {_TABLE_OUTPUT}")
    return str(outputs[_TABLE_OUTPUT])


def deployed_jobs(
    stack: str, *, cloudformation: Any, lambdas: Any, fetch: Callable[[str], bytes]
) -> dict[str, Job]:
    """The jobs that the stack runs, by name, out of the code of the function that plans them.

    `fetch` gets what an HTTPS address holds: GetFunction answers with one that is signed for ten minutes
    (https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html). Raises DeploymentError.
    """
    try:
        function = lambdas.get_function(FunctionName=planner_of(stack, cloudformation))
        with zipfile.ZipFile(io.BytesIO(fetch(function["Code"]["Location"]))) as code:
            return read_jobs(code.read(JOBS_FILE).decode())
    except (ClientError, BotoCoreError, OSError) as error:
        raise DeploymentError(
            f"the jobs of stack {stack!r} could not be read: {redact(str(error))}"
        ) from error
    except (BadZipFile, KeyError, ValidationError, ValueError) as error:
        raise DeploymentError(
            f"the code of stack {stack!r} holds no {JOBS_FILE} that this version reads"
        ) from error
