"""How a person stops a run: by a wish that its next decision reads, and at once through its training job.

The run ends itself, and records it: whoever stops the training job, the decision that sees its end sees the wish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.training_jobs import SageMakerClient, TrainingJobs
from nightspot.aws.table.run_table import RunTable
from nightspot.failures.classify import redact
from nightspot.run.model import Attempt, Run

LOOK_SECONDS = 10.0  # between two looks at a run that is being stopped


class UnknownRunError(Exception):
    """The table has no run of this id."""


class StopRefusedError(Exception):
    """AWS did not let a training job be stopped; the text tells why."""


class StopState(StrEnum):
    """How far the stop of a run is."""

    ASKED = "asked"  # its training job is stopping; the run ends when that is over
    NOTED = "noted"  # nothing to be stopped just now; the run ends with its next decision
    OVER = "over"  # the run's outcome is on record
    UNRECORDED = "unrecorded"  # its execution is gone without an outcome: the reconciler records one


@dataclass(frozen=True)
class Stopping:
    """A look at a run that a person stops."""

    state: StopState
    run: Run
    training_job_name: str | None = None  # the one that is stopping, or that SageMaker does not show yet


def sentence_of(look: Stopping) -> str:
    """What a look says to the person who stops the run."""
    run, name = look.run, look.training_job_name
    if look.state is StopState.OVER:
        ended = run.outcome.value if run.outcome else ""
        return f"Run {run.run_id} is over: {ended}. {run.outcome_because or ''}".rstrip()
    if look.state is StopState.ASKED:
        return f"Training job {name} was asked to stop; the run ends when that is over."
    if look.state is StopState.UNRECORDED:
        left = f"; its training job {name} was asked to stop" if name else ""
        return f"The execution of run {run.run_id} is gone{left}. Its end is recorded in some minutes."
    if name is not None:
        return f"Run {run.run_id} has just asked for training job {name}; it is stopped by the next decision."
    return f"Run {run.run_id} has no training job to stop just now; it ends with its next decision."


class Stopper:
    """Stops runs. `sagemaker` is boto3's client. Every call may be repeated."""

    def __init__(self, table: RunTable, sagemaker: SageMakerClient, executions: Executions) -> None:
        self._table = table
        self._sagemaker = sagemaker
        self._executions = executions
        self._jobs = TrainingJobs(sagemaker)
        self._asked: set[str] = set()

    def ask(self, run_id: str, *, by: str) -> Stopping:
        """Keep that `by` wants the run's end, and stop its training job, where it has one.

        Raises UnknownRunError, StopRefusedError, and what the table raises.
        """
        run = self._run(run_id)
        if run.outcome is not None:
            return Stopping(StopState.OVER, run)
        # First of all: whatever the run is doing, its next decision sees it and buys nothing more.
        self._table.ask_to_stop(run_id, by)
        attempt = run.open_attempt
        asked = attempt is not None and self._stopped(attempt)
        name = attempt.training_job_name if attempt is not None else None
        if attempt is not None and not asked:
            # SageMaker does not show it yet. Left alone, the run would look at it when it trains, and is billed.
            waiting = self._table.waiting(attempt.training_job_name)
            if waiting is not None and waiting.token is not None:
                self._executions.wake(waiting.token)
        if self._executions.is_running(run.execution_arn) is False:
            # It may have ended properly since the ledger was read.
            run = self._run(run_id)
            if run.outcome is not None:
                return Stopping(StopState.OVER, run)
            return Stopping(StopState.UNRECORDED, run, name if asked else None)
        return Stopping(StopState.ASKED if asked else StopState.NOTED, run, name)

    def until_recorded(
        self,
        run_id: str,
        *,
        by: str,
        longest_seconds: float,
        sleep: Callable[[float], None],
        on_news: Callable[[Stopping], None] = lambda _news: None,
    ) -> Stopping:
        """Ask until the run's outcome is on record, or `longest_seconds` have been slept: the last look.

        A decision under way may just have started another training job: that one is stopped as well. `on_news`
        hears of every look that differs from the one before. Raises like `ask`, a fault that may pass only at the
        end.
        """
        slept, told = 0.0, None
        while True:
            is_last = slept >= longest_seconds
            look = self._ask_unless_passing(run_id, by, is_last=is_last)
            if look is not None:
                if (look.state, look.training_job_name) != told:
                    told = (look.state, look.training_job_name)
                    on_news(look)
                if is_last or look.state is StopState.OVER:
                    return look
            sleep(LOOK_SECONDS)
            slept += LOOK_SECONDS

    def _ask_unless_passing(self, run_id: str, by: str, *, is_last: bool) -> Stopping | None:
        """A look; None where AWS could not answer and there is time for another one."""
        try:
            return self.ask(run_id, by=by)
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
        """Whether the training job is stopping, or over. One that Nightspot stops itself takes a second call."""
        name = attempt.training_job_name
        if name in self._asked:
            return True
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
