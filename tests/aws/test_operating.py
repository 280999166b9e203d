"""Reaching into a deployment: its table and jobs by its stack, the stop of a run, the logs of a training job."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from nightspot.aws import operating
from nightspot.aws.deployed_names import DeploymentError
from nightspot.aws.executions import Executions
from nightspot.aws.faults import TransientAwsError
from nightspot.aws.operating import (
    LOOK_SECONDS,
    Stopper,
    StopRefusedError,
    StopState,
    UnknownRunError,
    deployed_jobs,
    table_of_stack,
    training_logs,
)
from nightspot.aws.run_table import RunTable
from nightspot.job import dump_jobs, load_jobs
from nightspot.local.emulated_aws import REGION, TABLE, create_resources
from nightspot.messages.links import LOG_GROUP
from nightspot.run import FailureClass, Outcome, Run

RUN_ID = "20261121-abc123"
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

    def stop(self, longest_seconds: float = 60) -> operating.Stopping:
        return self.stopper().until_recorded(
            RUN_ID,
            longest_seconds=longest_seconds,
            sleep=self.sleep,
            on_news=lambda look: self.news.append((look.state, look.training_job_name)),
        )


@pytest.fixture
def table():
    with mock_aws():
        create_resources(())
        yield RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)


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


def test_a_run_that_is_over_is_left_alone(deployed, story):
    cloud = deployed(story.ended(None))
    cloud.record(outcome=Outcome.SUCCEEDED)
    assert cloud.stopper().ask(RUN_ID).state is StopState.OVER
    assert cloud.sagemaker.asked == []


def test_a_run_that_is_changing_over_is_stopped_at_its_next_training_job(deployed, story):
    own_stop = story.attempt(stop_requested_at=story.at("02:00"))
    cloud = deployed(own_stop)

    def start_second() -> None:
        first = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT)
        second = story.attempt(story.on_demand, number=2, training_job_name=SECOND)
        cloud.sagemaker.statuses[SECOND] = "InProgress"
        cloud.record(attempts=(first, second))

    cloud.scenes = [start_second, lambda: cloud.record(outcome=Outcome.STOPPED)]
    assert cloud.stop().state is StopState.OVER
    assert cloud.sagemaker.asked == [SECOND]
    assert [state for state, _ in cloud.news] == [StopState.NOTHING_TO_STOP, StopState.ASKED, StopState.OVER]


def test_a_training_job_that_is_not_there_yet_is_asked_again(deployed, story):
    cloud = deployed(story.attempt(status=None))
    cloud.sagemaker.statuses.clear()
    cloud.scenes = [lambda: cloud.sagemaker.statuses.update({FIRST: "InProgress"})]
    assert cloud.stop(longest_seconds=LOOK_SECONDS).state is StopState.ASKED
    assert cloud.sagemaker.asked == [FIRST, FIRST]
    assert cloud.news == [(StopState.NOTHING_TO_STOP, FIRST), (StopState.ASKED, FIRST)]


def test_a_run_without_a_training_job_has_nothing_to_stop(deployed):
    cloud = deployed()
    assert cloud.stopper().ask(RUN_ID).state is StopState.NOTHING_TO_STOP


def test_a_training_job_that_is_stopping_already_counts_as_asked(deployed, story):
    cloud = deployed(story.attempt())
    cloud.sagemaker.statuses[FIRST] = "Stopping"
    assert cloud.stopper().ask(RUN_ID).state is StopState.ASKED


def test_without_an_execution_the_training_job_is_stopped_and_nobody_is_waited_for(deployed, story):
    cloud = deployed(story.attempt())
    cloud.step_functions.status = "ABORTED"
    look = cloud.stop()
    assert (look.state, look.training_job_name) == (StopState.UNRECORDED, FIRST)
    assert cloud.sagemaker.asked == [FIRST]
    assert cloud.slept == []


def test_an_execution_that_ended_with_its_outcome_in_the_meantime_is_over(deployed, story, monkeypatch):
    cloud = deployed(story.attempt())
    cloud.step_functions.status = "SUCCEEDED"
    describe = cloud.step_functions.describe_execution

    def ends(**request: str) -> dict[str, Any]:
        cloud.record(outcome=Outcome.SUCCEEDED)
        return describe(**request)

    monkeypatch.setattr(cloud.step_functions, "describe_execution", ends)
    assert cloud.stopper().ask(RUN_ID).state is StopState.OVER


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
        stopper.ask("elsewhere")


@pytest.fixture
def cloudwatch():
    with mock_aws():
        yield boto3.client("logs", region_name=REGION)


NOW = datetime.now(UTC).replace(microsecond=123_000)


def write(logs: Any, stream: str, *lines: tuple[int, str]) -> None:
    """`lines`: seconds after NOW minus an hour, and the text."""
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
    events = [
        {"timestamp": round((NOW - timedelta(hours=1, seconds=-at)).timestamp() * 1000), "message": text}
        for at, text in lines
    ]
    logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


def test_the_lines_of_all_machines_come_in_the_order_of_time(cloudwatch):
    cloudwatch.create_log_group(logGroupName=LOG_GROUP)
    write(cloudwatch, f"{FIRST}/algo-1-1700", (0, "one"), (2, "three"))
    write(cloudwatch, f"{FIRST}/algo-2-1700", (1, "two"))
    lines = list(training_logs(cloudwatch, FIRST))
    assert [(line.machine, line.message) for line in lines] == [
        ("algo-1", "one"),
        ("algo-2", "two"),
        ("algo-1", "three"),
    ]
    assert lines[0].at == NOW - timedelta(hours=1)


def test_job_1_is_not_job_10_as_well(cloudwatch):
    cloudwatch.create_log_group(logGroupName=LOG_GROUP)
    write(cloudwatch, f"{FIRST}/algo-1-1700", (0, "mine"))
    write(cloudwatch, f"{FIRST}0/algo-1-1700", (0, "another's"))
    assert [line.message for line in training_logs(cloudwatch, FIRST)] == ["mine"]


def test_more_streams_than_a_call_takes_are_still_one_story(cloudwatch, monkeypatch):
    monkeypatch.setattr(operating, "MOST_STREAMS", 2)
    cloudwatch.create_log_group(logGroupName=LOG_GROUP)
    for number in range(5):
        write(cloudwatch, f"{FIRST}/algo-{number}-1700", (10 - number, str(number)))
    assert "".join(line.message for line in training_logs(cloudwatch, FIRST)) == "43210"


class PagedLogs:
    """Two streams on two pages, and two pages of lines; what was asked is kept."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, operation: str) -> PagedLogs:
        self.operation = operation
        return self

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        self.asked.append(request)
        names = [f"{FIRST}/algo-1-1", f"{FIRST}/algo-2-1"]
        if self.operation == "describe_log_streams":
            return [{"logStreams": [{"logStreamName": name}]} for name in names]
        return [
            {"events": [{"logStreamName": name, "timestamp": number, "message": name[-8:]}]}
            for number, name in enumerate(names)
        ]


def test_every_page_is_read():
    logs = PagedLogs()
    assert [line.machine for line in training_logs(logs, FIRST)] == ["algo-1", "algo-2"]
    assert len(logs.asked[1]["logStreamNames"]) == 2


def test_before_the_account_s_first_training_job_there_are_no_logs(cloudwatch):
    assert list(training_logs(cloudwatch, FIRST)) == []


def test_a_refusal_is_no_empty_log():
    class Refusing(PagedLogs):
        def paginate(self, **_request: Any) -> list[dict[str, Any]]:
            raise refused("AccessDeniedException")

    with pytest.raises(ClientError):
        list(training_logs(Refusing(), FIRST))


class Stack:
    """CloudFormation and Lambda of one stack, called Nightspot."""

    def __init__(self, **outputs: str) -> None:
        self.outputs = outputs
        self.resources = [
            {
                "LogicalResourceId": "TrainingFunctionsPlanRunRole",
                "ResourceType": "AWS::IAM::Role",
                "PhysicalResourceId": "role",
            },
            {
                "LogicalResourceId": "TrainingFunctionsPlanRun2052680D",
                "ResourceType": "AWS::Lambda::Function",
                "PhysicalResourceId": "plan-run",
            },
        ]

    def describe_stacks(self, **request: str) -> dict[str, Any]:
        if request["StackName"] != "Nightspot":
            raise refused("ValidationError", f"Stack {request['StackName']} does not exist")
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        return {"Stacks": [{"Outputs": outputs}]}

    def get_paginator(self, _operation: str) -> Stack:
        return self

    def paginate(self, **_request: str) -> list[dict[str, Any]]:
        return [{"StackResourceSummaries": self.resources}]

    def get_function(self, **request: str) -> dict[str, Any]:
        assert request["FunctionName"] == "plan-run"
        return {"Code": {"Location": "https://code.example/plan-run"}}


def test_a_stack_names_its_table():
    assert table_of_stack("Nightspot", cloudformation=Stack(TableName="runs")) == "runs"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Elsewhere", "stack 'Elsewhere' could not be read: .*does not exist"),
        ("Nightspot", "stack 'Nightspot' is not Nightspot's: it has no output TableName"),
    ],
)
def test_a_stack_without_a_table_is_named(name, words):
    with pytest.raises(DeploymentError, match=words):
        table_of_stack(name, cloudformation=Stack(Other="x"))


def code_with(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as code:
        for name, text in files.items():
            code.writestr(name.replace("_", "."), text)
    return content.getvalue()


def read(stack: Stack, content: bytes) -> dict[str, Any]:
    def fetch(address: str) -> bytes:
        assert address == "https://code.example/plan-run"
        return content

    return deployed_jobs("Nightspot", cloudformation=stack, lambdas=stack, fetch=fetch)


def test_the_deployed_jobs_are_those_in_the_planner_s_code(request):
    described = load_jobs(request.config.rootpath / "jobs")
    assert read(Stack(), code_with(jobs_json=dump_jobs(described))) == described


@pytest.mark.parametrize(
    "content",
    [
        b"no zip",
        code_with(other_json="{}"),
        code_with(jobs_json="{"),
        code_with(jobs_json=json.dumps({"a": 1})),
    ],
)
def test_code_without_jobs_is_said(content):
    with pytest.raises(DeploymentError, match=r"holds no jobs\.json that this version reads"):
        read(Stack(), content)


def test_the_jobs_are_read_from_the_file_that_is_deployed():
    from infra.bundle import JOBS_FILE

    assert operating.JOBS_FILE == JOBS_FILE


def test_a_stack_without_a_planner_is_not_nightspot_s():
    stack = Stack()
    del stack.resources[1]
    with pytest.raises(DeploymentError, match="it has no function FunctionsPlanRun"):
        read(stack, b"")


def test_code_that_cannot_be_fetched_is_said():
    def fetch(_address: str) -> bytes:
        raise TimeoutError("no answer")

    with pytest.raises(DeploymentError, match="could not be read: no answer"):
        deployed_jobs("Nightspot", cloudformation=Stack(), lambdas=Stack(), fetch=fetch)
