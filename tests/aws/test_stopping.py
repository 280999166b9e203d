"""The stop of a run: a wish that its next decision reads, and the stop of its training job at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.training_jobs import (
    LOOK_SECONDS,
    Stopper,
    Stopping,
    StopRefusedError,
    StopState,
    UnknownRunError,
    sentence_of,
)
from nightspot.aws.table.run_table import RunTable
from nightspot.failures.codes import FailureClass
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import AttemptState, Outcome, Run

RUN_ID = "20261121-abc123"
BY = "nightspot stop"
FIRST, SECOND = (f"nightspot-recommender-{RUN_ID}-{number}" for number in (1, 2))


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "StopTrainingJob")


class SageMaker:
    """Training jobs by name with their status; `faults` are raised by the next calls to stop one."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = dict(statuses)
        self.asked: list[str] = []
        self.faults: list[Exception] = []

    def stop_training_job(self, **request: str) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self.asked.append(name)
        if self.faults:
            raise self.faults.pop(0)
        if self.statuses.get(name) != "InProgress":
            raise refused("ValidationException", "Requested resource not found or in a final state.")
        self.statuses[name] = "Stopping"
        return {}

    def describe_training_job(self, **request: str) -> dict[str, Any]:
        name = request["TrainingJobName"]
        if name not in self.statuses:
            raise refused("ValidationException", "Requested resource not found.")
        return {"TrainingJobName": name, "TrainingJobStatus": self.statuses[name]}


class StepFunctions:
    """An execution with a status."""

    def __init__(self) -> None:
        self.status = "RUNNING"
        self.returned: list[str] = []
        self.refusal: Exception | None = None

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:  # noqa: N803
        if self.refusal is not None:
            raise self.refusal
        self.returned.append(taskToken)
        return {}

    def describe_execution(self, **_request: str) -> dict[str, Any]:
        return {"status": self.status}


class Deployment:
    """One run in a table, its training jobs and its execution; each sleep plays the next scene."""

    def __init__(self, table: RunTable, run: Run) -> None:
        self.table = table
        self.now = run
        self.sagemaker = SageMaker(**{a.training_job_name: "InProgress" for a in run.attempts if a.is_open})
        self.step_functions = StepFunctions()
        self.scenes: list[Any] = []
        self.slept: list[float] = []
        self.news: list[tuple[StopState, str | None]] = []
        table.record_plan(run)

    def record(self, **changes: Any) -> None:
        self.now = replace(self.now, steps=self.now.steps + 1, **changes)
        self.table.record_plan(self.now)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.scenes:
            self.scenes.pop(0)()

    def stopper(self) -> Stopper:
        return Stopper(self.table, self.sagemaker, Executions(self.step_functions))

    def stop(self, longest_seconds: float = 60) -> Stopping:
        return self.stopper().until_recorded(
            RUN_ID,
            by=BY,
            longest_seconds=longest_seconds,
            sleep=self.sleep,
            on_news=lambda look: self.news.append((look.state, look.training_job_name)),
        )


@pytest.fixture
def table(emulated_aws):
    create_resources(())
    return RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)


@pytest.fixture
def deployed(table, story):
    """`deployed(*attempts)`: a run with these attempts."""
    return lambda *attempts: Deployment(table, story.run(attempts=attempts))


def test_a_run_s_training_job_is_stopped_and_its_end_is_waited_for(deployed, story):
    cloud = deployed(story.training(since="01:00"))
    over = story.ended(FailureClass.STOPPED_BY_PERSON)
    cloud.scenes = [
        lambda: None,
        lambda: cloud.record(attempts=(over,), outcome=Outcome.STOPPED, outcome_because="A person did."),
    ]
    look = cloud.stop()
    assert look.state is StopState.OVER
    assert look.run.outcome is Outcome.STOPPED
    assert cloud.sagemaker.asked == [FIRST]
    assert cloud.slept == [LOOK_SECONDS, LOOK_SECONDS]
    assert cloud.news == [(StopState.ASKED, FIRST), (StopState.OVER, None)]


def begin_to_wait(token: str) -> None:
    """What the state machine writes when it waits for the news of the first training job."""
    boto3.client("dynamodb", region_name=REGION).update_item(
        TableName=TABLE,
        Key={"pk": {"S": f"TRAINING_JOB#{FIRST}"}, "sk": {"S": "TOKEN"}},
        UpdateExpression="SET #token = :token",
        ExpressionAttributeNames={"#token": "token"},
        ExpressionAttributeValues={":token": {"S": token}},
    )


def test_a_run_whose_training_job_is_not_there_yet_is_woken_so_that_no_machine_is_bought(deployed, story):
    cloud = deployed(story.attempt(status=None))
    cloud.sagemaker.statuses.clear()
    begin_to_wait("token")
    assert cloud.stopper().ask(RUN_ID, by=BY).state is StopState.NOTED
    assert cloud.step_functions.returned == ["token"]


def test_a_run_that_cannot_be_woken_is_stopped_by_its_next_decision(deployed, story):
    cloud = deployed(story.attempt(status=None))
    cloud.sagemaker.statuses.clear()
    begin_to_wait("token")
    cloud.step_functions.refusal = refused("TaskTimedOut")
    assert cloud.stopper().ask(RUN_ID, by=BY).state is StopState.NOTED
    assert cloud.table.stop_asked_by(RUN_ID) == BY


def test_a_run_whose_training_job_is_stopped_is_left_to_hear_of_its_end(deployed, story):
    cloud = deployed(story.training(since="01:00"))
    begin_to_wait("token")
    assert cloud.stopper().ask(RUN_ID, by=BY).state is StopState.ASKED
    assert cloud.step_functions.returned == []


def test_a_run_that_is_over_is_left_alone(deployed, story):
    cloud = deployed(story.ended(None))
    cloud.record(outcome=Outcome.SUCCEEDED)
    assert cloud.stopper().ask(RUN_ID, by=BY).state is StopState.OVER
    assert cloud.sagemaker.asked == []


def test_a_run_that_is_over_has_no_wish_on_record(deployed, story):
    cloud = deployed(story.ended(None))
    cloud.record(outcome=Outcome.SUCCEEDED)
    cloud.stopper().ask(RUN_ID, by=BY)
    assert cloud.table.stop_asked_by(RUN_ID) is None


def test_the_wish_is_on_record_before_the_training_job_is_asked_to_stop(deployed, story):
    """Else a decision between the two could start another training job."""
    cloud = deployed(story.training(since="01:00"))
    seen = []
    stop = cloud.sagemaker.stop_training_job

    def looks(**request: str) -> dict[str, Any]:
        seen.append(cloud.table.stop_asked_by(RUN_ID))
        return stop(**request)

    cloud.sagemaker.stop_training_job = looks
    cloud.stopper().ask(RUN_ID, by=BY)
    assert seen == [BY]


def test_a_training_job_that_a_decision_under_way_has_started_is_stopped_as_well(deployed, story):
    cloud = deployed(story.ended(FailureClass.INTERRUPTED))

    def start_second() -> None:
        second = story.attempt(story.on_demand, number=2, training_job_name=SECOND)
        cloud.sagemaker.statuses[SECOND] = "InProgress"
        cloud.record(attempts=(*cloud.now.attempts, second))

    cloud.scenes = [start_second, lambda: cloud.record(outcome=Outcome.STOPPED)]
    assert cloud.stop().state is StopState.OVER
    assert cloud.sagemaker.asked == [SECOND]
    assert cloud.news == [(StopState.NOTED, None), (StopState.ASKED, SECOND), (StopState.OVER, None)]


@pytest.mark.parametrize("status", ["Stopping", "InProgress"])
def test_a_training_job_that_nightspot_stops_itself_is_on_its_way_out(deployed, story, status):
    """The wish ends the run, whoever stops the training job; what AWS refused Nightspot is tried again."""
    cloud = deployed(story.attempt(stop_requested_at=story.at("02:00"), stop_faults=3))
    cloud.sagemaker.statuses[FIRST] = status
    look = cloud.stopper().ask(RUN_ID, by=BY)
    assert (look.state, look.training_job_name) == (StopState.ASKED, FIRST)
    assert cloud.sagemaker.statuses[FIRST] == "Stopping"


def test_a_training_job_that_is_not_there_yet_is_asked_again(deployed, story):
    cloud = deployed(story.attempt(status=None, state=AttemptState.ASKED))
    cloud.sagemaker.statuses.clear()
    cloud.scenes = [lambda: cloud.sagemaker.statuses.update({FIRST: "InProgress"})]
    assert cloud.stop(longest_seconds=LOOK_SECONDS).state is StopState.ASKED
    assert cloud.sagemaker.asked == [FIRST, FIRST]
    assert cloud.news == [(StopState.NOTED, FIRST), (StopState.ASKED, FIRST)]


def test_a_run_without_a_training_job_ends_with_its_next_decision(deployed):
    cloud = deployed()
    look = cloud.stopper().ask(RUN_ID, by=BY)
    assert (look.state, look.training_job_name) == (StopState.NOTED, None)
    assert cloud.table.stop_asked_by(RUN_ID) == BY
    assert cloud.sagemaker.asked == []


def test_a_training_job_that_is_stopping_already_counts_as_asked(deployed, story):
    cloud = deployed(story.attempt())
    cloud.sagemaker.statuses[FIRST] = "Stopping"
    assert cloud.stopper().ask(RUN_ID, by=BY).state is StopState.ASKED


def test_without_an_execution_the_training_job_is_stopped_and_the_record_s_end_waited_for(deployed, story):
    cloud = deployed(story.attempt())
    cloud.step_functions.status = "FAILED"
    cloud.scenes = [lambda: None, lambda: cloud.record(outcome=Outcome.FAILED)]
    assert cloud.stop().run.outcome is Outcome.FAILED
    assert cloud.sagemaker.asked == [FIRST]
    assert cloud.news == [(StopState.UNRECORDED, FIRST), (StopState.OVER, None)]


def test_without_an_execution_a_training_job_that_never_came_is_not_said_to_stop(deployed, story):
    cloud = deployed(story.attempt(status=None, state=AttemptState.ASKED))
    cloud.sagemaker.statuses.clear()
    cloud.step_functions.status = "ABORTED"
    look = cloud.stopper().ask(RUN_ID, by=BY)
    assert (look.state, look.training_job_name) == (StopState.UNRECORDED, None)


def test_an_execution_that_ended_with_its_outcome_in_the_meantime_is_over(deployed, story, monkeypatch):
    cloud = deployed(story.attempt())
    cloud.step_functions.status = "SUCCEEDED"
    describe = cloud.step_functions.describe_execution

    def ends(**request: str) -> dict[str, Any]:
        cloud.record(outcome=Outcome.SUCCEEDED)
        return describe(**request)

    monkeypatch.setattr(cloud.step_functions, "describe_execution", ends)
    assert cloud.stopper().ask(RUN_ID, by=BY).state is StopState.OVER


def test_the_wait_ends_when_its_time_is_over(deployed, story):
    cloud = deployed(story.attempt())
    assert cloud.stop(longest_seconds=30).state is StopState.ASKED
    assert sum(cloud.slept) == 30


def test_a_refusal_is_told_with_aws_s_words_and_without_account_ids(deployed, story):
    cloud = deployed(story.attempt())
    cloud.sagemaker.faults = [refused("AccessDeniedException", "123456789012 may not stop")]
    with pytest.raises(StopRefusedError, match=rf"training job {FIRST}: .*<account> may not stop"):
        cloud.stop()


@pytest.mark.parametrize(
    "fault", [refused("ThrottlingException"), EndpointConnectionError(endpoint_url="https://x")]
)
def test_a_fault_that_passes_is_waited_out(deployed, story, fault):
    cloud = deployed(story.attempt())
    cloud.sagemaker.faults = [fault]
    assert cloud.stop(longest_seconds=LOOK_SECONDS).state is StopState.ASKED
    cloud.sagemaker.faults = [fault]
    with pytest.raises(TransientAwsError):
        cloud.stop(longest_seconds=0)


def test_an_unknown_run_is_no_run(table):
    stopper = Stopper(table, SageMaker(), Executions(StepFunctions()))
    with pytest.raises(UnknownRunError):
        stopper.ask("elsewhere", by=BY)


@pytest.mark.parametrize(
    ("state", "name", "outcome", "says"),
    [
        (
            StopState.ASKED,
            FIRST,
            None,
            f"Training job {FIRST} was asked to stop; the run ends when that is over.",
        ),
        (
            StopState.NOTED,
            None,
            None,
            f"Run {RUN_ID} has no training job to stop just now; it ends with its next decision.",
        ),
        (
            StopState.NOTED,
            FIRST,
            None,
            f"Run {RUN_ID} has just asked for training job {FIRST}; it is stopped by the next decision.",
        ),
        (
            StopState.UNRECORDED,
            None,
            None,
            f"The execution of run {RUN_ID} is gone. Its end is recorded in some minutes.",
        ),
        (
            StopState.UNRECORDED,
            FIRST,
            None,
            f"The execution of run {RUN_ID} is gone; its training job {FIRST} was asked to stop. "
            "Its end is recorded in some minutes.",
        ),
        (StopState.OVER, None, Outcome.STOPPED, f"Run {RUN_ID} is over: stopped."),
    ],
)
def test_each_state_is_said_in_a_sentence(story, state, name, outcome, says):
    assert sentence_of(Stopping(state, story.run(outcome=outcome), name)) == says


def test_the_sentences_leave_no_state_out(story):
    (told,) = test_each_state_is_said_in_a_sentence.pytestmark
    assert {case[0] for case in told.args[1]} == set(StopState)
