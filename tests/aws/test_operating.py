"""Reaching into a deployment: its jobs by its stack, the logs of a training job."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from nightspot.aws.runs import operating
from nightspot.aws.runs.operating import DeployedJobs, DeploymentError, deployed_jobs, training_logs
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_jobs
from nightspot.local.stage.emulated_aws import REGION
from nightspot.view.messages.plain import LOG_GROUP

FIRST = "nightspot-recommender-20261121-abc123-1"


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "StopTrainingJob")


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

    def __init__(self) -> None:
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

    def get_paginator(self, _operation: str) -> Stack:
        return self

    def paginate(self, **_request: str) -> list[dict[str, Any]]:
        return [{"StackResourceSummaries": self.resources}]

    def get_function(self, **request: str) -> dict[str, Any]:
        assert request["FunctionName"] == "plan-run"
        return {"Code": {"Location": "https://code.example/plan-run"}}


def code_with(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as code:
        for name, text in files.items():
            code.writestr(name.replace("_", "."), text)
    return content.getvalue()


def read(stack: Stack, content: bytes) -> DeployedJobs:
    def fetch(address: str) -> bytes:
        assert address == "https://code.example/plan-run"
        return content

    return deployed_jobs("Nightspot", cloudformation=stack, lambdas=stack, fetch=fetch)


def test_the_deployed_jobs_are_those_in_the_planner_s_code(request):
    described = load_jobs(request.config.rootpath / "jobs")
    assert read(Stack(), code_with(jobs_json=dump_jobs(described))) == DeployedJobs(described)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no zip", id="no zip"),
        pytest.param(code_with(other_json="{}"), id="no jobs.json"),
        pytest.param(code_with(jobs_json="{"), id="no JSON"),
        pytest.param(code_with(jobs_json=json.dumps({"a": 1})), id="no jobs"),
    ],
)
def test_code_without_jobs_is_said(content):
    with pytest.raises(DeploymentError, match=r"holds no jobs\.json that this version reads"):
        read(Stack(), content)


def test_the_jobs_are_read_from_the_file_that_is_deployed():
    from nightspot.cdk.bundle import JOBS_FILE

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
