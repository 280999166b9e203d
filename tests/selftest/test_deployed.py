"""C13 to C15 with a deployed stack that is played: what is asked of it, and what each answer means."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from nightspot.facts.model import Verdict
from nightspot.selftest import deployed
from nightspot.selftest.model import NotTriedError, Seen

HERE = "eu-west-1:123456789012"
MACHINE = f"arn:aws:states:{HERE}:stateMachine:nightspot"
OUTPUTS = {"StateMachineArn": MACHINE, "Environment": "main"}
JOB = "nightspot-main-smoke-20261205-abcdefgh-1"


class Pages:
    def __init__(self, *pages):
        self._pages = pages

    def paginate(self, **_asked):
        return self._pages


class Stack:
    """Every client of a deployed stack. `status`: how its run ends; `closes`: whether an abort stops the job."""

    def __init__(self, workspace, *, status="SUCCEEDED", error="", letters=(0, 0), closes=True, starts=1):
        self.workspace, self.status, self.error = workspace, status, error
        self.letters, self.closes, self.starts = list(letters), closes, starts
        self.stopped, self.schedules = [], []

    def describe_stacks(self, **_asked):
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in OUTPUTS.items()]}]}

    def get_paginator(self, name):
        if name == "list_stack_resources":
            things = (
                ("AWS::SQS::Queue", "RecordsDeadLetters1", "https://queue"),
                ("AWS::Lambda::Function", "FunctionsStartRun1", "start-run"),
                ("AWS::IAM::Role", "SchedulesRole1", "schedules"),
            )
            keys = ("ResourceType", "LogicalResourceId", "PhysicalResourceId")
            return Pages({"StackResourceSummaries": [dict(zip(keys, each, strict=True)) for each in things]})
        details = {"resource": "updateItem.waitForTaskToken"}
        event = {"type": "TaskSucceeded", "timestamp": self.trained_at + timedelta(seconds=7)}
        return Pages({"events": [{**event, "taskSucceededEventDetails": details}]})

    def start_execution(self, **asked):
        self.trained_at = self.workspace.now()
        assert json.loads(asked["input"]) == {"job": "smoke"}
        return {"executionArn": f"{MACHINE.replace('stateMachine', 'execution')}:{asked['name']}"}

    def describe_execution(self, **_asked):
        status = "ABORTED" if self.stopped else self.status
        given = {"job": "smoke", "scheduled_at": "2026-12-05T00:02:00Z"}
        return {"status": status, "error": self.error, "input": json.dumps(given)}

    def stop_execution(self, executionArn, **_asked):  # noqa: N803 - as boto3 has it
        self.stopped.append(executionArn)

    def list_executions(self, **_asked):
        started = {"startDate": self.workspace.now()}
        found = [{**started, "executionArn": f"arn:{n}", "name": f"smoke-{n}"} for n in range(self.starts)]
        return {"executions": [*found, {**started, "executionArn": "arn:x", "name": "another-job"}]}

    def list_training_jobs(self, **asked):
        assert asked["NameContains"] == "nightspot-main-smoke-"
        return {"TrainingJobSummaries": [{"TrainingJobName": JOB}]}

    def describe_training_job(self, **_asked):
        over = bool(self.stopped) and self.closes
        transitions = [{"Status": "Training", "StartTime": self.trained_at}]
        return {
            "TrainingJobStatus": "Stopped" if over else "InProgress",
            "SecondaryStatusTransitions": transitions,
        }

    def get_queue_attributes(self, **_asked):
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.letters.pop(0))}}

    def get_metric_data(self, **asked):
        dimensions = asked["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"]
        assert {each["Name"]: each["Value"] for each in dimensions} == {
            "environment": "main",
            "service": "nightspot",
        }
        return {"MetricDataResults": [{"Id": "m0", "Values": [1.0]}, {"Id": "m1", "Values": []}]}

    def create_schedule(self, **asked):
        self.schedules.append(asked)


@pytest.fixture
def played(account):
    def play(run, **options):
        workspace = account(scale=100_000).workspace
        workspace.stack = "Nightspot"
        stack, seen = Stack(workspace, **options), Seen()
        workspace.client = lambda _service: stack
        run(workspace, seen)
        return {each.id: each for each in seen.observations(workspace.now())}, stack

    return play


def test_a_run_is_followed_to_its_end_and_its_traces_are_looked_for(played):
    seen, _ = played(deployed.a_run, letters=(3, 3))

    assert seen["deployment.run"].observed == ("succeeded",)
    assert seen["deployment.wake.seconds"].observed == (7.0,)
    assert seen["deployment.letters"].observed == (0,)
    assert seen["deployment.metrics.missing"].evidence == ("DeadlineMarginSeconds",)
    assert seen["deployment.metrics.missing"].verdict is Verdict.SAFE


def test_a_run_that_fails_and_leaves_a_letter_breaks(played):
    seen, _ = played(deployed.a_run, status="FAILED", error="Nightspot.failed", letters=(0, 1))

    assert seen["deployment.run"].verdict is Verdict.BREAKS
    assert seen["deployment.letters"].verdict is Verdict.BREAKS


def test_a_stack_without_the_job_is_not_tried(played):
    with pytest.raises(NotTriedError, match="no job 'smoke'"):
        played(deployed.a_run, status="FAILED", error="Nightspot.InvalidInput", letters=(0, 0))


@pytest.mark.parametrize(("starts", "verdict"), [(1, Verdict.AS_DESIGNED), (2, Verdict.BREAKS)])
def test_one_moment_twice_is_one_run(played, starts, verdict):
    seen, stack = played(deployed.a_schedule, starts=starts)

    assert seen["scheduler.start"].verdict is verdict
    assert seen["scheduler.time.form"].observed == ("readable",)
    assert len({each["ScheduleExpression"] for each in stack.schedules}) == 1
    assert stack.schedules[0]["Target"]["Arn"].endswith(":function:start-run")
    assert stack.stopped


@pytest.mark.parametrize(("closes", "verdict"), [(True, Verdict.AS_DESIGNED), (False, Verdict.BREAKS)])
def test_an_aborted_run_leaves_no_training_job(played, closes, verdict):
    seen, _ = played(deployed.an_abort, closes=closes, status="RUNNING")

    assert seen["deployment.aborted"].verdict is verdict
    assert seen["stepfunctions.execution.event"].observed == ("ABORTED",)
