"""`nightspot audit`: what is wrong with a deployment, in words and JSON, and repaired where a person says so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.cli import account
from nightspot.cli.account import Aws
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import Action, Outcome, Step

ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
NOW = datetime.now(UTC)


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyOperation")


class Cloud:
    """A deployment whose one run trains; its execution and its training job are as a test says."""

    def __init__(self, story: Any) -> None:
        self.dynamodb = boto3.client("dynamodb", region_name=REGION)
        self.table, self.lock = RunTable(self.dynamodb, TABLE), JobLock(self.dynamodb, TABLE)
        self.executions = {ARN: "RUNNING"}
        self.jobs: dict[str, str] = {}
        self.sent: list[str] = []
        self.started: list[str] = []
        self.lists = True
        started_at = NOW - timedelta(hours=1)
        attempt = story.training(since="00:10", asked_at=started_at)
        self.run = story.run(
            execution_arn=ARN,
            started_at=started_at,
            deadline=NOW + timedelta(hours=7),
            steps=1,
            attempts=(attempt,),
            checkpoint_s3_uri=None,
        )
        self.name = attempt.training_job_name
        self.jobs[self.name] = "InProgress"
        self.table.record_plan(replace(self.run, steps=0, attempts=()))
        step = Step(1, NOW - timedelta(minutes=20), Action.WATCH, "because", attempt=1)
        self.table.record_step(replace(self.run, attempts=()), self.run, step)

    def client(self, service: str) -> Any:
        return self.dynamodb if service == "dynamodb" else self

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in self.executions:
            raise refused("ExecutionDoesNotExist")
        ended = {} if self.executions[executionArn] == "RUNNING" else {"stopDate": NOW}
        return {"executionArn": executionArn, "status": self.executions[executionArn], **ended}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: N803, A002
        self.started.append(input)
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        self.executions[arn] = "RUNNING"
        return {"executionArn": arn}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        if TrainingJobName not in self.jobs:
            raise refused("ValidationException", "Requested resource not found.")
        return {"TrainingJobName": TrainingJobName, "TrainingJobStatus": self.jobs[TrainingJobName]}

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        self.jobs[TrainingJobName] = "Stopping"
        return {}

    def list_training_jobs(self, **wanted: Any) -> dict[str, Any]:
        if not self.lists:
            raise refused("ThrottlingException")
        names = [name for name, status in self.jobs.items() if status == wanted["StatusEquals"]]
        summaries = [{"TrainingJobName": n, "TrainingJobStatus": wanted["StatusEquals"]} for n in names]
        return {"TrainingJobSummaries": summaries}

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.sent += [entry["DetailType"] for entry in Entries]
        return {"FailedEntryCount": 0}


@pytest.fixture
def cloud(monkeypatch, emulated_aws, story):
    create_resources(())
    deployed = Cloud(story)
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, deployed.client, profile)
    )
    return deployed


@pytest.fixture
def audit(nightspot, cloud):
    return lambda *arguments, **options: nightspot("audit", "--table", TABLE, *arguments, **options)


def test_a_deployment_without_a_fault_is_said_to_be_so(audit):
    answer = audit()
    assert answer.status == 0
    assert answer.out == (
        "Nothing is wrong in the table nightspot-runs (runs: 1, training jobs that go on: 1, locks: 0).\n"
    )


def test_what_is_wrong_is_said_with_what_would_be_done_and_nothing_is_done(audit, cloud):
    cloud.executions[ARN] = "ABORTED"
    answer = audit()
    assert answer.status == 1
    assert answer.out.splitlines() == [
        f"record open  {ARN}",
        f"  The execution of run {cloud.run.run_id} is over (ABORTED) without an outcome.",
        "  to do: stop its training job where somebody wanted the end, and record the end",
        "1 thing is wrong in the table nightspot-runs (runs: 1, training jobs that go on: 1, locks: 0).",
    ]
    assert cloud.table.run(cloud.run.run_id).outcome is None
    assert (cloud.jobs[cloud.name], cloud.sent) == ("InProgress", [])


def test_json_says_the_same(audit, cloud):
    cloud.executions[ARN] = "ABORTED"
    answer = audit("--json")
    assert answer.status == 1
    told = json.loads(answer.out)
    assert told["looked_at"] == {"runs": 1, "training_jobs_that_go_on": 1, "locks": 0}
    (finding,) = told["findings"]
    assert {name: finding[name] for name in ("kind", "run_id", "job", "subject", "repair", "repaired")} == {
        "kind": "record_open",
        "run_id": cloud.run.run_id,
        "job": "recommender",
        "subject": ARN,
        "repair": "close",
        "repaired": False,
    }
    assert (told["not_seen"], told["not_repaired"]) == ({}, {})


def test_a_person_who_says_yes_has_it_repaired(audit, cloud):
    cloud.executions[ARN] = "ABORTED"
    answer = audit("--fix", stdin="y\n")
    assert answer.status == 0
    assert "Repair this in the table nightspot-runs?" in answer.err
    assert answer.out.endswith(
        f"repaired: The execution of run {cloud.run.run_id} is over (ABORTED) without an outcome.\n"
    )
    assert cloud.table.run(cloud.run.run_id).outcome is Outcome.STOPPED
    assert (cloud.jobs[cloud.name], cloud.sent) == ("Stopping", ["Nightspot Run Stopped"])
    assert audit().status == 0


def test_a_person_who_says_no_has_nothing_repaired(audit, cloud):
    cloud.executions[ARN] = "ABORTED"
    assert audit("--fix", stdin="n\n").status == 1
    assert cloud.table.run(cloud.run.run_id).outcome is None


def test_a_crashed_loop_is_restarted_without_a_question_for_a_program(audit, cloud):
    cloud.executions[ARN] = "FAILED"
    answer = audit("--fix", "--yes", "--json")
    assert answer.status == 0
    (finding,) = json.loads(answer.out)["findings"]
    assert (finding["kind"], finding["repaired"]) == ("loop_gone", True)
    assert cloud.started == [json.dumps({"continue_run": cloud.run.run_id})]


def test_with_nothing_to_repair_nobody_is_asked(audit):
    assert audit("--fix").status == 0


def test_an_open_record_that_no_note_names_is_found(audit, cloud):
    cloud.table.open_runs.forget(cloud.run.run_id)
    cloud.executions[ARN] = "ABORTED"
    assert "record open" in audit().out


def test_a_lock_that_a_run_has_left_is_freed(audit, cloud):
    cloud.table.record_outcome(
        replace(cloud.run, attempts=(), outcome=Outcome.FAILED, outcome_because="x.", steps=9)
    )
    cloud.jobs.clear()
    until = NOW + timedelta(hours=1)
    cloud.lock.acquire("recommender", cloud.run.run_id, ARN, now=NOW, until=until)
    assert "lock left  recommender" in audit().out
    assert audit("--fix", "--yes").status == 0
    assert cloud.lock.holder("recommender") is None


def test_another_deployment_s_training_job_is_worth_a_word_and_no_fault(audit, cloud):
    cloud.jobs["nightspot-other-20261121-ffffff-1"] = "InProgress"
    answer = audit()
    assert answer.status == 0
    assert "job of unknown run  nightspot-other-20261121-ffffff-1" in answer.out
    assert "Nothing is wrong" in answer.out


@pytest.mark.parametrize(
    ("outputs", "is_seen"),
    [({"Environment": "prod"}, False), ({}, True)],
    ids=["a stack that knows its environment", "an older stack"],
)
def test_another_environment_s_training_job_is_none_of_a_stack_s_business(nightspot, cloud, outputs, is_seen):
    named = {"TableName": TABLE, **outputs}
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in named.items()]
    cloud.describe_stacks = lambda **_given: {"Stacks": [{"Outputs": listed}]}
    cloud.jobs["nightspot-staging-x-20261121-ffffff-1"] = "InProgress"
    answer = nightspot("audit", "--stack", "Nightspot")
    assert answer.status == 0
    assert ("nightspot-staging-x-20261121-ffffff-1" in answer.out) == is_seen


def test_what_aws_does_not_show_is_said(audit, cloud):
    cloud.lists = False
    answer = audit()
    assert answer.status == 6
    assert "the training jobs that go on cannot be looked at just now" in answer.err
    assert "AWS did not show everything; look again later" in answer.err


def test_a_repair_that_somebody_else_is_at_is_said(audit, cloud):
    cloud.executions[ARN] = "ABORTED"
    cloud.table.close_turns.take(cloud.run.run_id, now=NOW, until=NOW + timedelta(minutes=9))
    answer = audit("--fix", "--yes")
    assert answer.status == 1
    assert f"run {cloud.run.run_id} is not repaired: run {cloud.run.run_id} is being settled" in answer.err


def test_json_asks_nobody(nightspot):
    answer = nightspot("audit", "--fix", "--json")
    assert answer.status == 2
    assert "--json needs --yes" in answer.err
