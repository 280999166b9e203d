"""Decides how a person stops a run: through its training job, which the loop takes for a person's stop.

The loop ends the run then, and records it. (StopExecution would leave the training job running, and nobody to
record it.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from botocore.exceptions import ClientError

from nightspot.aws.executions import Executions
from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.aws.run_table import RunTable
from nightspot.aws.training_jobs import TrainingJobs
from nightspot.failures import redact
from nightspot.run import Attempt, Run

LOOK_SECONDS = 10.0  # between two looks at a run that is being stopped


class SageMakerClient(Protocol):
    """The part of boto3's SageMaker client that is used here."""

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]: ...  # noqa: N803
    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]: ...  # noqa: N803


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
