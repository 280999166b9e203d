"""What is looked at of a deployment, and what is left out because nothing turns on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from pydantic import ValidationError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import Executions, restart_arn
from nightspot.aws.runs.looks import Looks
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import Execution, ExecutionState, HeldLock, ListedJob
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import Action, Outcome, Step

PREFIX = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:"
ONE = f"{PREFIX}one"


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyOperation")


@dataclass
class StepFunctions:
    status: dict[str, str] = field(default_factory=dict)  # by ARN; others are not known
    asked: list[str] = field(default_factory=list)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        self.asked.append(executionArn)
        if executionArn not in self.status:
            raise refused("ExecutionDoesNotExist")
        return {"executionArn": executionArn, "status": self.status[executionArn]}


@dataclass
class SageMaker:
    status: dict[str, str] = field(default_factory=dict)  # by name
    described: list[str] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)  # of which it says nothing
    lists: bool = True

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        self.described.append(TrainingJobName)
        if TrainingJobName in self.silent:
            raise refused("ThrottlingException")
        if TrainingJobName not in self.status:
            raise refused("ValidationException", "Requested resource not found.")
        return {"TrainingJobName": TrainingJobName, "TrainingJobStatus": self.status[TrainingJobName]}

    def list_training_jobs(self, **wanted: Any) -> dict[str, Any]:
        if not self.lists:
            raise refused("ThrottlingException")
        names = [name for name, status in self.status.items() if status == wanted["StatusEquals"]]
        summaries = [{"TrainingJobName": n, "TrainingJobStatus": wanted["StatusEquals"]} for n in names]
        return {"TrainingJobSummaries": summaries}


class Deployment:
    def __init__(self, story: Any) -> None:
        self.dynamodb = boto3.client("dynamodb", region_name=REGION)
        self.table, self.lock = RunTable(self.dynamodb, TABLE), JobLock(self.dynamodb, TABLE)
        self.step_functions, self.sagemaker = StepFunctions({ONE: "RUNNING"}), SageMaker()
        executions, jobs = Executions(self.step_functions), TrainingJobs(self.sagemaker)
        self.looks = Looks(self.table, self.lock, executions, jobs)
        self.story = story

    def records(self, run: Any, *, at: str = "02:00") -> None:
        """The run is planned, and has decided once."""
        self.table.record_plan(replace(run, steps=0, attempts=(), outcome=None))
        step = Step(run.steps, self.story.at(at), Action.WATCH, "because", attempt=1)
        self.table.record_step(replace(run, attempts=()), run, step)
        if run.outcome is not None:
            self.table.record_outcome(run)


@pytest.fixture
def deployment(story):
    with mock_aws():
        create_resources([])
        yield Deployment(story)


@pytest.fixture
def training(story):
    return story.run(execution_arn=ONE, steps=1, attempts=(story.training(since="00:10"),))


@pytest.fixture
def failed(training, story):
    ended = story.ended(None, trained_seconds=60.0, billable_seconds=60.0)
    return replace(training, attempts=(ended,), steps=2, outcome=Outcome.FAILED, outcome_because="x.")


def test_a_run_that_is_not_on_record_is_none(deployment):
    assert deployment.looks.of_run("20261121-ffffff") is None


def test_the_training_job_of_a_run_that_goes_on_is_its_own_affair(deployment, training, story):
    deployment.records(training)
    look = deployment.looks.of_run(training.run_id)
    assert look.run == training
    assert (look.is_recorded, look.is_planned, look.restarts) == (False, True, 0)
    assert look.execution == Execution(ONE, ExecutionState.RUNNING)
    assert look.last_decision_at == story.at("02:00")
    assert (look.jobs, deployment.sagemaker.described) == ({}, [])


def test_the_training_job_of_a_run_whose_execution_is_gone_is_looked_at(deployment, training):
    deployment.records(training)
    deployment.step_functions.status[ONE] = "FAILED"
    name = training.attempts[0].training_job_name
    assert deployment.looks.of_run(training.run_id).jobs == {name: None}
    deployment.sagemaker.status[name] = "InProgress"
    assert deployment.looks.of_run(training.run_id).jobs[name].status == "InProgress"
    deployment.sagemaker.silent.add(name)
    assert deployment.looks.of_run(training.run_id).jobs == {}


def test_the_execution_is_the_one_that_has_the_run_now(deployment, training):
    deployment.records(training)
    second = restart_arn(training, 1, like=ONE)
    deployment.step_functions.status = {ONE: "FAILED", second: "RUNNING"}
    look = deployment.looks.of_run(training.run_id)
    assert (look.execution, look.restarts) == (Execution(second, ExecutionState.RUNNING), 1)
    deployment.table.open_runs.take_on(training, second, from_arn=ONE)
    deployment.step_functions.asked.clear()
    assert deployment.looks.of_run(training.run_id).execution.arn == second
    assert deployment.step_functions.asked == [second]


def test_a_restart_that_died_before_it_had_the_run_counts(deployment, training):
    deployment.records(training)
    arns = [restart_arn(training, number, like=ONE) for number in (1, 2, 3)]
    deployment.step_functions.status = {ONE: "FAILED", arns[0]: "FAILED", arns[1]: "TIMED_OUT"}
    look = deployment.looks.of_run(training.run_id)
    assert (look.execution.arn, look.restarts) == (arns[1], 2)
    deployment.step_functions.status[arns[2]] = "ABORTED"
    look = deployment.looks.of_run(training.run_id)
    assert (look.execution.state, look.restarts) == (ExecutionState.ABORTED, 3)


def test_an_event_is_believed_before_step_functions_shows_it_and_of_this_execution_alone(
    deployment, training
):
    deployment.records(training)
    heard = Execution(ONE, ExecutionState.ABORTED)
    assert deployment.looks.of_run(training.run_id, heard=heard).execution == heard
    another = replace(heard, arn=f"{PREFIX}other")
    seen = deployment.looks.of_run(training.run_id, heard=another)
    assert seen.execution.state is ExecutionState.RUNNING


def test_a_wish_to_stop_is_part_of_an_open_run(deployment, training):
    deployment.records(training)
    deployment.table.ask_to_stop(training.run_id, "nightspot stop")
    assert deployment.looks.of_run(training.run_id).run.stop_asked_by == "nightspot stop"


def test_of_a_run_that_is_over_and_told_no_execution_is_asked(deployment, failed):
    deployment.records(failed)
    look = deployment.looks.of_run(failed.run_id)
    assert (look.is_recorded, look.untold, look.execution) == (True, None, None)
    assert (look.jobs, look.unrecorded, deployment.step_functions.asked) == ({}, frozenset(), [])


def test_a_run_that_was_not_told_is_looked_at_with_its_execution(deployment, failed, story):
    deployment.records(failed)
    deployment.table.close_turns.begin_to_tell(failed.run_id, story.at("02:00"))
    look = deployment.looks.of_run(failed.run_id)
    assert look.untold.since == story.at("02:00")
    assert look.execution.state is ExecutionState.RUNNING


def test_a_run_without_its_bill_is_looked_at_with_its_training_job(deployment, failed):
    attempt = replace(failed.attempts[0], billable_seconds=None)
    deployment.records(failed.with_attempt(attempt))
    name = attempt.training_job_name
    deployment.sagemaker.status[name] = "Stopped"
    assert list(deployment.looks.of_run(failed.run_id).jobs) == [name]


def test_what_the_ledger_has_and_the_history_has_not_is_seen(deployment, failed, story):
    attempt = replace(failed.attempts[0], billable_seconds=None, ended_at=None)
    deployment.records(failed.with_attempt(attempt))
    step = Step(2, story.at("02:00"), Action.FINISH, "because", attempt=1)
    deployment.table.record_step(failed, failed, step)
    look = deployment.looks.of_run(failed.run_id)
    assert look.unrecorded == {attempt.training_job_name}


def test_a_listed_training_job_that_the_ledger_holds_for_ended_is_looked_at(deployment, training, story):
    ended = story.ended(None, billable_seconds=1.0, number=1)
    run = replace(training, attempts=(ended, story.training(since="01:00", number=2)))
    deployment.records(run)
    names = [attempt.training_job_name for attempt in run.attempts]
    unknown = "nightspot-recommender-20261121-abc123-3"
    assert list(deployment.looks.of_run(run.run_id, listed=[*names, unknown]).jobs) == [names[0], unknown]


def test_a_snapshot_is_what_is_noted_and_what_goes_on(deployment, training, failed, story):
    deployment.records(training)
    settled = replace(failed, run_id="20261120-abc123")
    deployment.records(settled)
    deployment.table.open_runs.forget(settled.run_id)
    orphan, foreign = "nightspot-recommender-20261120-abc123-1", "nightspot-other-20261121-ffffff-1"
    deployment.sagemaker.status |= {orphan: "InProgress", foreign: "Stopping"}
    seen = deployment.looks.snapshot(story.at("03:00"))
    assert {look.run.run_id for look in seen.runs} == {training.run_id, settled.run_id}
    assert seen.listed == (
        ListedJob(orphan, "InProgress", settled.run_id),
        ListedJob(foreign, "Stopping", "20261121-ffffff"),
    )
    assert (seen.locks, dict(seen.unreadable), dict(seen.unseen)) == ((), {}, {})


def test_with_nothing_unfinished_one_query_and_two_lists_are_all(deployment, story, monkeypatch):
    calls = []
    real = deployment.table.open_runs._call
    monkeypatch.setattr(
        deployment.table.open_runs, "_call", lambda op, **given: calls.append(op) or real(op, **given)
    )
    lists = []
    monkeypatch.setattr(
        deployment.sagemaker,
        "list_training_jobs",
        lambda **wanted: lists.append(wanted["StatusEquals"]) or {"TrainingJobSummaries": []},
    )
    assert deployment.looks.snapshot(story.at("03:00")).runs == ()
    assert (calls, lists) == (["query"], ["InProgress", "Stopping"])


def test_where_sagemaker_is_away_the_runs_are_looked_at_all_the_same(deployment, training, story):
    deployment.records(training)
    deployment.sagemaker.lists = False
    seen = deployment.looks.snapshot(story.at("03:00"))
    assert [look.run.run_id for look in seen.runs] == [training.run_id]
    assert list(seen.unseen) == ["the training jobs that go on"]


def spoil(deployment, run):
    deployment.dynamodb.update_item(
        TableName=TABLE,
        Key={"pk": {"S": f"RUN#{run.run_id}"}, "sk": {"S": "RUN"}},
        UpdateExpression="SET ledger.deadline = :x",
        ExpressionAttributeValues={":x": {"S": "soon"}},
    )


def test_a_record_that_cannot_be_read_keeps_nobody_from_the_others(deployment, training, story):
    broken = replace(training, run_id="20261120-abc123")
    for run in (broken, training):
        deployment.records(run)
    spoil(deployment, broken)
    with pytest.raises(ValidationError, match="deadline"):
        deployment.looks.of_run(broken.run_id)
    seen = deployment.looks.snapshot(story.at("03:00"))
    assert [look.run.run_id for look in seen.runs] == [training.run_id]
    assert list(seen.unreadable) == [broken.run_id]


def test_a_run_that_cannot_be_looked_at_just_now_keeps_nobody_from_the_others(
    deployment, training, story, monkeypatch
):
    other = replace(training, run_id="20261120-abc123")
    for run in (other, training):
        deployment.records(run)
    real = deployment.table.run

    def away(run_id):
        if run_id == other.run_id:
            raise TransientAwsError("ThrottlingException")
        return real(run_id)

    monkeypatch.setattr(deployment.table, "run", away)
    seen = deployment.looks.snapshot(story.at("03:00"))
    assert [look.run.run_id for look in seen.runs] == [training.run_id]
    assert dict(seen.unseen) == {f"run {other.run_id}": "ThrottlingException"}


class TestAThoroughLook:
    def test_finds_open_records_that_are_not_noted(self, deployment, training, failed, story):
        old = replace(training, run_id="20261120-abc123")
        for run in (old, replace(failed, run_id="20261119-abc123")):
            deployment.records(run)
            deployment.table.open_runs.forget(run.run_id)
        assert deployment.looks.snapshot(story.at("03:00")).runs == ()
        seen = deployment.looks.snapshot(story.at("03:00"), thorough=True)
        assert [look.run.run_id for look in seen.runs] == [old.run_id]

    def test_has_the_locks_of_jobs_and_of_checkpoints_with_their_owners(
        self, deployment, training, failed, story
    ):
        run = replace(training, prefix_locked=True)
        deployment.records(run)
        owner = replace(failed, run_id="20261120-abc123")
        deployment.records(owner)
        deployment.table.open_runs.forget(owner.run_id)
        now, until = story.at("03:00"), story.at("05:00")
        deployment.lock.acquire("recommender", owner.run_id, ONE, now=now, until=until)
        deployment.lock.acquire(run.checkpoint_s3_uri, "20261101-ffffff", "gone", now=now, until=until)
        seen = deployment.looks.snapshot(now + timedelta(minutes=1), thorough=True)
        gone = Execution("gone", ExecutionState.FORGOTTEN)
        assert seen.locks == (
            HeldLock("recommender", owner.run_id),
            HeldLock(run.checkpoint_s3_uri, "20261101-ffffff", gone),
        )
        assert {look.run.run_id for look in seen.runs} == {run.run_id, owner.run_id}

    def test_of_free_locks_finds_none(self, deployment, training, story):
        deployment.records(training)
        assert deployment.looks.snapshot(story.at("03:00"), thorough=True).locks == ()


def test_a_deployment_with_a_name_sees_no_other_s_training_jobs(deployment, training, story):
    deployment.records(training)
    own, older, foreign = (
        "nightspot-prod-x-20261121-ffffff-1",
        training.attempts[0].training_job_name,
        "nightspot-staging-x-20261121-eeeeee-1",
    )
    deployment.sagemaker.status |= dict.fromkeys((own, older, foreign), "InProgress")
    executions, jobs = Executions(deployment.step_functions), TrainingJobs(deployment.sagemaker)
    looks = Looks(deployment.table, deployment.lock, executions, jobs, "prod")
    assert {job.name for job in looks.snapshot(story.at("03:00")).listed} == {own, older}
