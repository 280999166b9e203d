"""The record of runs in DynamoDB: written again and again, late and out of order, and still right."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError, EndpointConnectionError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.table.run_table import RunTable, Waiting, expires_at
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.local.stage.emulated_aws import REGION, TABLE, WORKFLOW, create_resources
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Progress, Run, Rung, Step

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SPOT = Rung(Market.SPOT, "ml.g5.xlarge", REGION, speed=0.45, usd_per_hour=1.408)
JOB_NAME = "nightspot-recommender-20261121-abc123-1"


def run_of(**changes) -> Run:
    plan = Run(
        job="recommender",
        run_id="20261121-abc123",
        execution_arn="arn:aws:states:eu-west-1:123456789012:execution:nightspot:one",
        started_at=MIDNIGHT,
        deadline=MIDNIGHT + timedelta(hours=8),
        rungs=(SPOT,),
        work_seconds=14400.5,
        work_upper_seconds=17280.1,
        checkpoint_every_seconds=600,
        checkpoint_s3_uri="s3://checkpoints/nightly/20261121-abc123",
        training_job={"HyperParameters": {"rate": "0.1"}, "Tags": [{"Key": "team", "Value": "r"}]},
    )
    return replace(plan, **changes)


def attempt_of(**changes) -> Attempt:
    return replace(Attempt(1, SPOT, JOB_NAME, MIDNIGHT), **changes)


def step_of(number: int, **changes) -> Step:
    at = MIDNIGHT + timedelta(minutes=number)
    return replace(Step(number, at, Action.WATCH, f"reason {number}", wait_seconds=60), **changes)


ENDED = attempt_of(
    state=AttemptState.ENDED, ended_at=MIDNIGHT + timedelta(hours=1), failure=FailureClass.WAIT_LIMIT
)


@pytest.fixture
def dynamodb(emulated_aws):
    create_resources(())
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def table(dynamodb) -> RunTable:
    return RunTable(dynamodb, TABLE)


@pytest.fixture
def begin_to_wait(dynamodb):
    """What the state machine's "Wait for news" does, in the workflow's own words."""
    arguments = json.loads(WORKFLOW.read_text())["States"]["Wait for news"]["Arguments"]

    def wait(token: str, name: str = JOB_NAME) -> None:
        dynamodb.update_item(
            TableName=TABLE,
            Key={"pk": {"S": f"TRAINING_JOB#{name}"}, "sk": arguments["Key"]["sk"]},
            UpdateExpression=arguments["UpdateExpression"],
            ExpressionAttributeNames=arguments["ExpressionAttributeNames"],
            ExpressionAttributeValues={
                ":token": {"S": token},
                ":run": {"S": "20261121-abc123"},
                ":expires": {"N": str(expires_at(MIDNIGHT))},
            },
        )

    return wait


def items_of(dynamodb, pk: str, prefix: str) -> list[dict]:
    found = dynamodb.query(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
        ExpressionAttributeValues={":pk": {"S": pk}, ":prefix": {"S": prefix}},
    )["Items"]
    read = TypeDeserializer().deserialize
    return [{name: read(value) for name, value in item.items()} for item in found]


def test_a_ledger_is_read_as_it_was_written_to_the_last_digit(table):
    run = run_of(
        attempts=(attempt_of(waited_seconds=0.1, billable_seconds=1234.0),),
        progress=Progress(3, MIDNIGHT, fraction=1 / 3, seconds_per_step=1e-7, metrics={"loss": 0.1 + 0.2}),
        budget_usd=0.1,
    )
    table.record_plan(run)
    assert table.run(run.run_id) == run


def test_an_unknown_run_is_none(table):
    assert table.run("20261121-ffffff") is None
    assert table.steps("20261121-ffffff") == []
    assert table.history("recommender") == []


def test_planning_again_leaves_a_run_that_is_further_on_alone(table):
    plan = run_of()
    table.record_plan(plan)
    later = replace(plan, steps=2, outcome=Outcome.SUCCEEDED, outcome_because="done")
    table.record_outcome(later)
    table.record_plan(plan)
    assert table.run(plan.run_id) == later
    assert [summary.outcome for summary in table.history("recommender")] == ["succeeded"]


def test_planning_again_at_the_start_changes_nothing(table):
    table.record_plan(run_of())
    table.record_plan(run_of())
    assert table.run("20261121-abc123") == run_of()
    assert len(table.history("recommender")) == 1


def test_a_late_repetition_of_a_step_does_not_turn_back_the_ledger_or_an_attempt(table, dynamodb):
    planned = run_of()
    asked = run_of(attempts=(attempt_of(),), steps=1)
    trained = run_of(attempts=(attempt_of(state=AttemptState.TRAINING, status="InProgress"),), steps=2)
    table.record_plan(planned)
    table.record_step(planned, asked, step_of(1))
    table.record_step(asked, trained, step_of(2))
    table.record_step(planned, asked, step_of(1))
    assert table.run(planned.run_id) == trained
    (attempt,) = items_of(dynamodb, "RUN#20261121-abc123", "ATTEMPT#")
    assert attempt["status"] == "InProgress"


def test_the_same_step_decided_anew_replaces_the_first_decision(table):
    before, after = run_of(), run_of(steps=1, said_late=True)
    table.record_step(before, run_of(steps=1), step_of(1, because="first"))
    table.record_step(before, after, step_of(1, because="again"))
    assert [step.because for step in table.steps(before.run_id)] == ["again"]
    assert table.run(before.run_id) == after


def test_steps_are_read_oldest_first_and_whole(table):
    steps = [step_of(1, action=Action.START, rung=SPOT, attempt=1), *(step_of(n) for n in (2, 10, 100))]
    for step in reversed(steps):
        table.record_step(run_of(), run_of(steps=step.number), step)
    assert table.steps("20261121-abc123") == steps


def test_an_attempt_is_recorded_as_its_summary_when_it_changes_and_only_then(table, dynamodb):
    before = run_of(attempts=(ENDED,), steps=1)
    second = attempt_of(number=2, training_job_name="second")
    table.record_step(before, before.with_attempt(second), step_of(2))
    (recorded,) = items_of(dynamodb, "RUN#20261121-abc123", "ATTEMPT#")
    assert (recorded["sk"], recorded["training_job_name"]) == ("ATTEMPT#002", "second")
    assert (recorded["market"], recorded["instance_type"]) == ("spot", "ml.g5.xlarge")


class SmallPages:
    """DynamoDB that returns two items a page, as it returns a megabyte."""

    def __init__(self, client) -> None:
        self._client = client
        self.pages = 0

    def query(self, **arguments):
        self.pages += 1
        return self._client.query(**{**arguments, "Limit": min(2, arguments.get("Limit", 2))})


def test_all_pages_are_read(table, dynamodb):
    for number in range(1, 6):
        table.record_step(run_of(), run_of(steps=number), step_of(number))
    paged = SmallPages(dynamodb)
    assert [step.number for step in RunTable(paged, TABLE).steps("20261121-abc123")] == [1, 2, 3, 4, 5]
    assert paged.pages == 3


def test_history_has_the_newest_night_first_and_no_other_job(table, dynamodb):
    for day in (22, 20, 24, 21, 23):
        started_at = MIDNIGHT.replace(day=day)
        table.record_plan(run_of(run_id=f"202611{day}-abc123", started_at=started_at))
    table.record_plan(run_of(job="another", run_id="20261125-abc123"))

    def days(table, **options):
        return [summary.run_id[6:8] for summary in table.history("recommender", **options)]

    assert days(table) == ["24", "23", "22", "21", "20"]
    assert days(table, limit=2) == ["24", "23"]
    paged = SmallPages(dynamodb)
    assert days(RunTable(paged, TABLE), limit=3) == ["24", "23", "22"]
    assert paged.pages == 2


def test_history_is_read_on_until_there_are_enough_that_are_wanted(table, dynamodb):
    for day in range(1, 21):
        run = run_of(run_id=f"202611{day:02d}-abc123", started_at=MIDNIGHT.replace(day=day))
        attempts = (ENDED,) if day in (2, 5, 20) else ()
        table.record_outcome(replace(run, outcome=Outcome.REFUSED, attempts=attempts))
    found = table.history("recommender", limit=2, where=lambda run: bool(run.attempts))
    assert [run.run_id[6:8] for run in found] == ["20", "05"]


def entries(table, first=20, **options):
    """The days of the month of the runs that are told."""
    found = table.history_entries("recommender", first=MIDNIGHT.replace(day=first), **{"page": 2, **options})
    return [int(entry.run.run_id[6:8]) for entry in found]


@pytest.fixture
def five_nights(table):
    for day in (22, 20, 24, 21, 23):
        table.record_plan(run_of(run_id=f"202611{day}-abc123", started_at=MIDNIGHT.replace(day=day)))
    table.record_plan(run_of(job="another", run_id="20261125-abc123"))


def test_entries_are_the_runs_from_a_moment_on_and_before_another_the_newest_first(table, five_nights):
    assert entries(table) == [24, 23, 22, 21, 20]
    assert entries(table, 22) == [24, 23, 22]
    assert entries(table, 22, end=MIDNIGHT.replace(day=24)) == [23, 22]
    assert entries(table, 24, end=MIDNIGHT.replace(day=22)) == []


def test_entries_go_on_from_the_key_of_one_of_them(table, five_nights):
    keys = [
        entry.key for entry in table.history_entries("recommender", first=MIDNIGHT.replace(day=20), page=9)
    ]
    assert entries(table, up_to=keys[2]) == [22, 21, 20]
    assert entries(table, up_to=f"{keys[2][:-6]}000000") == [21, 20]
    assert entries(table, up_to="") == []


def test_entries_are_read_no_further_than_they_are_wanted(dynamodb, five_nights):
    paged = SmallPages(dynamodb)
    found = RunTable(paged, TABLE).history_entries("recommender", first=MIDNIGHT.replace(day=20), page=2)
    next(found)
    assert paged.pages == 1


@pytest.mark.parametrize("name", ["first", "end"])
def test_entries_are_not_told_for_a_moment_without_a_zone(table, name):
    bounds = {"first": MIDNIGHT, name: MIDNIGHT.replace(tzinfo=None)}
    with pytest.raises(ValueError, match=f"{name}: 2026-11-21T00:00:00 must have a time zone"):
        list(table.history_entries("recommender", **bounds, page=2))


def test_history_tells_the_outcome_once_there_is_one(table):
    table.record_plan(run_of())
    assert [summary.outcome for summary in table.history("recommender")] == ["running"]
    over = run_of(steps=3, outcome=Outcome.SKIPPED, outcome_because="no capacity", attempts=(ENDED,))
    table.record_outcome(over)
    (summary,) = table.history("recommender")
    assert (summary.outcome, summary.because) == ("skipped", "no capacity")
    assert summary.attempts[0].failure_class == "wait_limit"


def test_history_shows_what_goes_on_and_leaves_the_end_to_the_outcome(table):
    plan = run_of()
    table.record_plan(plan)
    under_way = replace(plan, steps=1, attempts=(attempt_of(),))
    table.record_step(plan, under_way, step_of(1))
    (summary,) = table.history("recommender")
    assert (summary.outcome, len(summary.attempts)) == ("running", 1)
    decided = replace(under_way, steps=2, attempts=(ENDED,), outcome=Outcome.FAILED, outcome_because="why")
    table.record_step(under_way, decided, step_of(2, action=Action.FINISH))
    assert table.history("recommender")[0].outcome == "running"
    table.record_outcome(decided)
    assert table.history("recommender")[0].outcome == "failed"


def test_a_wish_to_stop_is_kept_for_its_run_alone(table):
    table.ask_to_stop("20261121-abc123", "nightspot stop")
    assert table.stop_asked_by("20261121-abc123") == "nightspot stop"
    assert table.stop_asked_by("20261121-abc124") is None


def test_of_several_who_want_a_run_ended_the_first_one_is_remembered(table):
    for by in ("api: a", "nightspot stop"):
        table.ask_to_stop("20261121-abc123", by)
    assert table.stop_asked_by("20261121-abc123") == "api: a"


def test_a_wish_is_none_of_the_steps_of_a_run(table):
    run = run_of()
    table.record_plan(run)
    table.record_step(run, replace(run, steps=1), step_of(1))
    table.ask_to_stop(run.run_id, "nightspot stop")
    assert [step.number for step in table.steps(run.run_id)] == [1]
    assert table.run(run.run_id) == replace(run, steps=1)


def test_nobody_waits_before_the_state_machine_does(table):
    assert table.waiting(JOB_NAME) is None


def test_a_token_that_the_workflow_stored_is_found(table, begin_to_wait):
    begin_to_wait("first")
    assert table.waiting(JOB_NAME) == Waiting(token="first", closed=False, woken_for_ms=None)


def test_a_token_is_taken_once_and_the_event_remembered(table, begin_to_wait):
    begin_to_wait("first")
    assert table.take_token(JOB_NAME, "first", 1_795_219_200_000, "Stopping/Stopping")
    assert not table.take_token(JOB_NAME, "first", 1_795_219_300_000, "Stopped/Stopped")
    assert table.waiting(JOB_NAME) == Waiting(None, False, 1_795_219_200_000, "Stopping/Stopping")


def test_a_new_wait_keeps_the_memory_of_the_last_event(table, begin_to_wait):
    begin_to_wait("first")
    table.take_token(JOB_NAME, "first", 1_795_219_200_000, "Stopping/Stopping")
    begin_to_wait("second")
    assert table.waiting(JOB_NAME) == Waiting("second", False, 1_795_219_200_000, "Stopping/Stopping")


def test_an_event_without_a_time_leaves_the_memory_alone(table, begin_to_wait):
    begin_to_wait("first")
    table.take_token(JOB_NAME, "first", 7)
    begin_to_wait("second")
    assert table.take_token(JOB_NAME, "second", None)
    assert table.waiting(JOB_NAME).woken_for_ms == 7


def test_a_token_of_the_wait_before_is_not_taken(table, begin_to_wait):
    begin_to_wait("first")
    begin_to_wait("second")
    assert not table.take_token(JOB_NAME, "first", 1)
    assert table.waiting(JOB_NAME) == Waiting("second", closed=False, woken_for_ms=None)


def test_of_two_that_have_read_the_token_the_first_to_take_it_gets_it(table, begin_to_wait):
    # One after the other: DynamoDB decides the condition and the write as one, moto does not.
    begin_to_wait("first")
    assert [table.take_token(JOB_NAME, "first", 1) for _ in range(2)] == [True, False]


def test_an_attempt_that_was_never_waited_for_leaves_no_item_for_ever(table, dynamodb):
    table.record_step(run_of(), run_of(attempts=(ENDED,), steps=1), step_of(1))
    key = {"pk": {"S": f"TRAINING_JOB#{ENDED.training_job_name}"}, "sk": {"S": "TOKEN"}}
    item = dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    assert int(item["expires"]["N"]) == expires_at(ENDED.ended_at)


def test_the_end_of_an_attempt_closes_its_token_only(table, begin_to_wait):
    begin_to_wait("first")
    begin_to_wait("second", "second")
    before = run_of(attempts=(attempt_of(),))
    after = run_of(attempts=(ENDED, attempt_of(number=2, training_job_name="second")), steps=1)
    table.record_step(before, after, step_of(1))
    assert table.waiting(JOB_NAME) == Waiting(token=None, closed=True, woken_for_ms=None)
    assert table.waiting("second") == Waiting(token="second", closed=False, woken_for_ms=None)


def test_the_outcome_closes_every_token_of_the_run(table, begin_to_wait):
    begin_to_wait("first")
    begin_to_wait("second", "second")
    still_open = attempt_of(number=2, training_job_name="second")
    table.record_outcome(run_of(attempts=(ENDED, still_open), outcome=Outcome.FAILED, steps=2))
    assert table.waiting(JOB_NAME).closed
    assert table.waiting("second").closed


def test_a_token_outlives_the_longest_training_job():
    longest_job = timedelta(days=28)
    assert datetime.fromtimestamp(expires_at(MIDNIGHT), UTC) > MIDNIGHT + longest_job


class Refusing:
    """DynamoDB that refuses every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, operation):
        def refuse(**_arguments):
            raise self._error

        return refuse


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Any")


CALLS = [
    pytest.param(lambda table: table.record_plan(run_of()), id="record_plan"),
    pytest.param(lambda table: table.record_step(run_of(), run_of(), step_of(1)), id="record_step"),
    pytest.param(lambda table: table.record_outcome(run_of()), id="record_outcome"),
    pytest.param(lambda table: table.run("r"), id="run"),
    pytest.param(lambda table: table.steps("r"), id="steps"),
    pytest.param(lambda table: table.history("recommender"), id="history"),
    pytest.param(
        lambda table: table.month("recommender", MIDNIGHT, MIDNIGHT + timedelta(days=30)), id="month"
    ),
    pytest.param(lambda table: table.waiting(JOB_NAME), id="waiting"),
    pytest.param(lambda table: table.take_token(JOB_NAME, "first", 1), id="take_token"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error",
    [
        refusal("ProvisionedThroughputExceededException"),
        EndpointConnectionError(endpoint_url="https://example.org"),
    ],
)
def test_every_call_says_when_it_is_worth_repeating(call, error):
    with pytest.raises(TransientAwsError):
        call(RunTable(Refusing(error), TABLE))


@pytest.mark.parametrize("call", CALLS)
def test_every_call_passes_a_refusal_on(call):
    with pytest.raises(ClientError, match="AccessDenied"):
        call(RunTable(Refusing(refusal("AccessDeniedException")), TABLE))
