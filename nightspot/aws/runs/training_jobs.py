"""Training jobs as the ledger wants them, and how a person stops a run: by a wish that its next decision reads, and
at once through its training job. The run ends itself: the decision that sees the end sees the wish, and records it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.faults import TransientAwsError, asking_aws, code_of
from nightspot.aws.runs.executions import Executions
from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import ListedJob
from nightspot.decide.ledger import JobView, Transition
from nightspot.failures.classify import redact
from nightspot.formats.run_ids import NAME_PREFIX, read_training_job_name
from nightspot.formats.statuses import ENDED, GOES_ON, Status
from nightspot.job.markets import Market
from nightspot.run.model import Attempt, Run

# fact: sagemaker.runtime.most.seconds
LONGEST_JOB = timedelta(days=30)  # SageMaker's limit is 28 days
MOST_PAGES = 50  # of a list: without a page size, AWS decides what one holds
_log = logging.getLogger(__name__)


class TrainingJobs:
    """SageMaker's training jobs, by name."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def describe(self, training_job_name: str) -> JobView | None:
        """The training job, or None where SageMaker knows none of this name.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        description = self.description(training_job_name)
        return None if description is None else view_of(description)

    def description(self, training_job_name: str) -> Mapping[str, Any] | None:
        """DescribeTrainingJob's whole answer; None and errors as of `describe`."""
        try:
            with asking_aws():
                answer: Mapping[str, Any] = self._client.describe_training_job(
                    TrainingJobName=training_job_name
                )
                return answer
        except ClientError as error:
            if _says_not_found(error):
                return None
            raise

    def create(self, request: Mapping[str, Any]) -> str:
        """Ask for a training job; its ARN. `request` is CreateTrainingJob's, whole. Raises what boto3 does."""
        arn: str = self._client.create_training_job(**request)["TrainingJobArn"]
        return arn

    def stop(self, training_job_name: str) -> None:
        """Ask for the stop of a training job. One that is over, stopping or not there is left as it is.

        Raises like `describe`.
        """
        try:
            with asking_aws():
                self._client.stop_training_job(TrainingJobName=training_job_name)
        except ClientError:
            view = self.describe(training_job_name)
            if view is not None and view.status == Status.IN_PROGRESS:
                raise

    def going_on(self, now: datetime) -> tuple[ListedJob, ...]:
        """The training jobs of runs, whichever deployment's, that are in progress or stopping, newest first.

        Raises like `describe`.
        """
        return tuple(job for status in sorted(GOES_ON) for job in self._listed(status, now))

    def _listed(self, status: str, now: datetime) -> Iterator[ListedJob]:
        # No MaxResults: with it, AWS counts all jobs of a page first, and filters by status then
        # (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTrainingJobs.html).
        wanted: dict[str, Any] = {
            "NameContains": NAME_PREFIX,
            "StatusEquals": status,
            "CreationTimeAfter": now - LONGEST_JOB,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
        }
        for _ in range(MOST_PAGES):
            with asking_aws():
                page = self._client.list_training_jobs(**wanted)
            for entry in page["TrainingJobSummaries"]:
                name = entry["TrainingJobName"]
                named = read_training_job_name(name)
                if named is not None and not named.is_drill:
                    yield ListedJob(name, entry["TrainingJobStatus"], named.run_id)
            if not page.get("NextToken"):
                return
            wanted["NextToken"] = page["NextToken"]
        _log.warning("more than %d pages of training jobs that are %s: the rest is left", MOST_PAGES, status)


def _says_not_found(error: ClientError) -> bool:
    if code_of(error) in {"ResourceNotFound", "ResourceNotFoundException"}:
        return True
    # DescribeTrainingJob answers ValidationException "Requested resource not found." for an unknown name.
    return code_of(error) == "ValidationException" and "not found" in str(error)


def view_of(description: Mapping[str, Any]) -> JobView:
    """The view of a DescribeTrainingJob answer. Fields that SageMaker leaves out stay None."""
    transitions = tuple(
        Transition(
            status=entry["Status"],
            started_at=entry["StartTime"].astimezone(UTC),
            ended_at=entry["EndTime"].astimezone(UTC) if entry.get("EndTime") else None,
        )
        for entry in description.get("SecondaryStatusTransitions", ())
    )
    limits = description.get("StoppingCondition", {})
    return JobView(
        training_job_name=description["TrainingJobName"],
        status=description["TrainingJobStatus"],
        secondary_status=description.get("SecondaryStatus", ""),
        transitions=transitions,
        failure_reason=description.get("FailureReason"),
        training_seconds=description.get("TrainingTimeInSeconds"),
        billable_seconds=description.get("BillableTimeInSeconds"),
        ended_at=_ended_at(description, transitions),
        model_artifact=description.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        market=_market_of(description),
        instance_type=description.get("ResourceConfig", {}).get("InstanceType"),
        max_runtime_seconds=limits.get("MaxRuntimeInSeconds"),
        max_pending_seconds=limits.get("MaxPendingTimeInSeconds"),
    )


def _market_of(description: Mapping[str, Any]) -> Market | None:
    is_spot = description.get("EnableManagedSpotTraining")
    if is_spot is None:
        return None
    return Market.SPOT if is_spot else Market.ON_DEMAND


def _ended_at(description: Mapping[str, Any], transitions: tuple[Transition, ...]) -> datetime | None:
    """When the job was over; None while it is not.

    TrainingEndTime is when the model was uploaded, but also when a job that was stopped while it waited had last
    trained: only for a completed job is that the end.
    """
    status = description["TrainingJobStatus"]
    if status not in ENDED:
        return None
    moment: datetime | None = description.get("TrainingEndTime") if status == Status.COMPLETED else None
    if moment is None and transitions:
        return transitions[-1].ended_at or transitions[-1].started_at
    moment = moment or description.get("LastModifiedTime")
    return moment.astimezone(UTC) if moment else None


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

    def __init__(self, table: RunTable, sagemaker: Any, executions: Executions) -> None:
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
            with asking_aws():
                self._sagemaker.stop_training_job(TrainingJobName=name)
        except ClientError as error:
            view = self._jobs.describe(name)
            if view is None:
                return False  # asked for a moment ago, and not there yet
            if view.status == Status.IN_PROGRESS:
                raise StopRefusedError(f"training job {name}: {redact(str(error))}") from error
        self._asked.add(name)
        return True
