"""The page that a run leaves at its end: written where people can open it, and never at the cost of the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nightspot.aws.notices import Reports
from nightspot.lambdas import record_outcome
from nightspot.local.stage.emulated_aws import LocalContext
from nightspot.record.model import read_record
from nightspot.run.model import AttemptState, Outcome, Phase, run_from_json, to_json


class Refusing:
    """S3 that takes nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def put_object(self, **_arguments):
        raise self.error


@pytest.fixture
def over(world, midnight):
    """A night that was looked at twice and is over."""
    run = run_from_json(world.decide(world.plan()["run"])["run"])
    name = run.attempts[0].training_job_name
    world.sagemaker.shows(
        name,
        "InProgress",
        ("Starting", midnight),
        ("Downloading", midnight + timedelta(minutes=4)),
        ("Training", midnight + timedelta(minutes=5)),
    )
    world.pass_time(minutes=30)
    run = run_from_json(world.decide(to_json(run))["run"])
    attempt = replace(
        run.attempts[0],
        state=AttemptState.ENDED,
        status="Completed",
        ended_at=midnight + timedelta(hours=5),
        trained_seconds=14400.0,
        billable_seconds=3600.0,
    )
    world.bus.entries.clear()
    return replace(run.with_attempt(attempt), steps=3, outcome=Outcome.SUCCEEDED, outcome_because="why")


def record(world, run, s3):
    use = replace(world.use, reports=Reports(s3, "models"))
    return record_outcome.handler({"run": to_json(run)}, LocalContext("RecordOutcome"), use=use)


def test_the_decisions_left_what_the_page_is_made_of(world, over, midnight):
    assert world.table.phases(over.run_id) == {
        1: (
            Phase(AttemptState.WAITING, midnight, midnight + timedelta(minutes=4)),
            Phase(AttemptState.STARTING, midnight + timedelta(minutes=4), midnight + timedelta(minutes=5)),
            Phase(AttemptState.TRAINING, midnight + timedelta(minutes=5)),
        )
    }
    first, second = world.table.steps(over.run_id)
    assert first.last_safe_at is not None
    assert first.last_safe_at < over.deadline
    assert second.last_safe_at is not None


def test_the_page_is_in_the_bucket_and_the_notice_says_where(world, over):
    record(world, over, boto3.client("s3", region_name="eu-west-1"))
    (detail,) = world.bus.details()
    assert detail["report"] == f"s3://models/reports/{over.run_id}.html"
    kept = world.s3.get_object(Bucket="models", Key=f"reports/{over.run_id}.html")["Body"].read().decode()
    assert "The model was ready at 05:00 UTC, 3 h before the deadline." in kept
    assert "training on Spot" in kept
    assert world.table.steps(over.run_id)[0].because in kept


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"),
        EndpointConnectionError(endpoint_url="https://s3"),
    ],
)
def test_a_page_that_cannot_be_written_costs_neither_record_nor_notice(world, over, metrics, error):
    summary = record(world, over, Refusing(error))
    assert [run.to_json() for run in world.table.history("recommender")] == [read_record(summary).to_json()]
    (detail,) = world.bus.details()
    assert (detail["report"], detail["summary"]) == (None, summary)
    assert metrics()["ReportLost"] == [1]


def test_a_deployment_without_reports_writes_none(world, over, metrics):
    world.record(to_json(over))
    (detail,) = world.bus.details()
    assert detail["report"] is None
    assert "ReportLost" not in metrics()
