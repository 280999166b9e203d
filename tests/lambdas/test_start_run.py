"""The start of a scheduled night: once, whatever is delivered twice, and never silently not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import NameTakenError, Starter, StartRefusedError
from nightspot.aws.table.open_runs import PendingDeliveries
from nightspot.formats.run_ids import run_id_of
from nightspot.lambdas import start_run
from nightspot.lambdas.start_run import InvalidScheduleError, ScheduledStart, StartDependencies
from nightspot.local.stage.emulated_aws import LocalContext

REGION = "eu-west-1"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:nightspot"
NIGHT = {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z"}
NOW = datetime(2026, 11, 21, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/runs"


class StepFunctions:
    """Executions by name; refuses all with `refusal`, where a test sets one."""

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}
        self.over: set[str] = set()
        self.refusal: Exception | None = None
        self.now = datetime(2026, 11, 21, 0, 0, 20, tzinfo=UTC)

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: N803, A002
        assert stateMachineArn == MACHINE
        if self.refusal is not None:
            raise self.refusal
        if name in self.inputs:
            raise _fault("ExecutionAlreadyExists", 400)
        self.inputs[name] = input
        return {"executionArn": _arn(name), "startDate": self.now}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        name = executionArn.rpartition(":")[2]
        if name not in self.inputs:
            raise _fault("ExecutionDoesNotExist", 400)
        status = "SUCCEEDED" if name in self.over else "RUNNING"
        return {
            "executionArn": executionArn,
            "startDate": self.now,
            "status": status,
            "input": self.inputs[name],
        }


def _fault(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "StartExecution")


class Kept(PendingDeliveries):
    """What is kept, by its sort key; a table that takes nothing where a test says so."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.events: dict[str, str] = {}
        self.takes = True

    def _take(self, _operation: str, **given: Any) -> dict[str, Any]:
        if not self.takes:
            raise TransientAwsError("ThrottlingException")
        self.events[given["Key"]["sk"]["S"]] = given["ExpressionAttributeValues"][":event"]["S"]
        return {}


def dependencies(step_functions: Any, kept: PendingDeliveries) -> StartDependencies:
    return StartDependencies(Starter(step_functions, MACHINE), kept, lambda: NOW)


def _arn(name: str) -> str:
    return f"{MACHINE.replace('stateMachine', 'execution')}:{name}"


@pytest.fixture
def step_functions() -> StepFunctions:
    return StepFunctions()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def start(step_functions: StepFunctions, kept: Kept) -> Callable[..., dict[str, Any]]:
    """start(event) as Scheduler calls the function."""
    use = dependencies(step_functions, kept)

    def call(event: Any = NIGHT) -> dict[str, Any]:
        return start_run.handler(json.loads(json.dumps(event)), LocalContext("StartRun"), use=use)

    return call


def test_the_night_s_run_is_named_after_its_job_and_its_scheduled_moment(start, step_functions):
    answer = start()
    name = "recommender-2026-11-21T0000Z"
    assert answer == {
        "run_id": run_id_of(_arn(name), step_functions.now),
        "execution_arn": _arn(name),
        "is_new": True,
    }
    assert json.loads(step_functions.inputs[name]) == {**NIGHT, "requested_by": "schedule"}


def test_a_duplicate_delivery_starts_nothing_and_is_no_error(start, metrics):
    first = start()
    assert metrics() == {"StartScheduled": [1]}
    again = start()
    assert again == {**first, "is_new": False}
    assert metrics() == {"StartScheduled": [1], "RunAlreadyStarted": [1]}


def test_a_duplicate_delivery_starts_nothing_after_the_run_is_over_either(start, step_functions):
    start()
    step_functions.over |= set(step_functions.inputs)
    assert start()["is_new"] is False
    assert len(step_functions.inputs) == 1


def test_the_next_night_and_another_job_have_runs_of_their_own(start, step_functions):
    start()
    assert start({**NIGHT, "scheduled_at": "2026-11-22T00:00:00Z"})["is_new"]
    assert start({**NIGHT, "job": "search"})["is_new"]
    assert len(step_functions.inputs) == 3


def test_a_moment_in_another_zone_is_the_same_night(start):
    start()
    assert start({**NIGHT, "scheduled_at": "2026-11-21T01:00:00+01:00"})["is_new"] is False


def test_a_late_delivery_still_says_for_when_it_was_meant(start, step_functions):
    step_functions.now += timedelta(hours=2, minutes=10)
    start()
    (text,) = step_functions.inputs.values()
    assert json.loads(text)["scheduled_at"] == "2026-11-21T00:00:00Z"


OUTAGES = [("ThrottlingException", 400), ("InternalServerError", 500)]


@pytest.mark.parametrize(
    ("code", "status"), [*OUTAGES, ("AccessDeniedException", 403), ("InvalidSignatureException", 403)]
)
def test_a_start_that_aws_cannot_take_is_kept_for_the_reconciler(
    start, step_functions, kept, code, status, metrics
):
    step_functions.refusal = _fault(code, status)
    assert start() == {"pending": True}
    assert {key: json.loads(event) for key, event in kept.events.items()} == {
        "START#recommender-2026-11-21T0000Z": NIGHT
    }
    assert metrics() == {"StartScheduled": [1], "StartPending": [1]}


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        *((code, status, TransientAwsError) for code, status in OUTAGES),
        ("AccessDeniedException", 403, StartRefusedError),
        ("StateMachineDoesNotExist", 400, StartRefusedError),
    ],
)
def test_a_start_that_is_refused_or_not_kept_comes_again_and_is_never_swallowed(
    start, step_functions, kept, code, status, error
):
    kept.takes = False
    step_functions.refusal = _fault(code, status)
    with pytest.raises(error):
        start()
    step_functions.refusal = None
    assert start()["is_new"]
    assert kept.events == {}


def test_a_name_that_another_input_has_taken_is_never_taken_for_the_night_s_run(start, step_functions):
    step_functions.inputs["recommender-2026-11-21T0000Z"] = '{"job": "search"}'
    with pytest.raises(NameTakenError):
        start()


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        ({"scheduled_at": "2026-11-21T00:00:00Z"}, "job", "scheduled_at"),
        ({**NIGHT, "job": ""}, "job", "''"),
        ({**NIGHT, "job": 7}, "job", "7"),
        ({"job": "recommender"}, "scheduled_at", "recommender"),
        ({**NIGHT, "scheduled_at": "2026-11-21T00:00:00"}, "scheduled_at", "'2026-11-21T00:00:00'"),
        (
            {**NIGHT, "scheduled_at": "<aws.scheduler.scheduled-time>"},
            "scheduled_at",
            "'<aws.scheduler.scheduled-time>'",
        ),
        ({**NIGHT, "market": "spot"}, "market", "'spot'"),
        ([], "input", "[]"),
    ],
)
def test_an_event_that_names_no_night_is_refused_with_field_value_and_rule(
    start, step_functions, event, field, value
):
    with pytest.raises(InvalidScheduleError) as caught:
        start(event)
    text = str(caught.value)
    assert text.startswith(f"{field}: ")
    assert value in text
    assert 'must be like {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z"}' in text
    assert not step_functions.inputs


def test_the_event_is_read_as_scheduler_writes_it():
    read = ScheduledStart.model_validate(NIGHT)
    assert read.scheduled_at == datetime(2026, 11, 21, tzinfo=UTC)


def test_on_an_emulated_step_functions_the_same_night_is_one_execution():
    with mock_aws():
        client = boto3.client("stepfunctions", region_name=REGION)
        definition = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
        client.create_state_machine(name="nightspot", definition=json.dumps(definition), roleArn=ROLE)
        use = dependencies(client, Kept())
        answers = [start_run.handler(dict(NIGHT), LocalContext("StartRun"), use=use) for _ in range(2)]
        assert [answer["is_new"] for answer in answers] == [True, False]
        assert answers[0]["execution_arn"] == answers[1]["execution_arn"]
        assert len(client.list_executions(stateMachineArn=MACHINE)["executions"]) == 1


def test_the_deployed_function_s_own_starter_is_made_from_its_environment(monkeypatch):
    for name, value in {
        "NIGHTSPOT_TABLE_NAME": "runs",
        "NIGHTSPOT_BUS_NAME": "default",
        "NIGHTSPOT_STATE_MACHINE_ARN": MACHINE,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    start_run.start_dependencies.cache_clear()
    with mock_aws():
        client = boto3.client("stepfunctions", region_name=REGION)
        definition = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
        client.create_state_machine(name="nightspot", definition=json.dumps(definition), roleArn=ROLE)
        assert start_run.handler(dict(NIGHT), LocalContext("StartRun"))["is_new"]
    start_run.start_dependencies.cache_clear()
