"""A function that reaches nothing, or the table alone, gives up inside its own time and can say what failed.

The handlers with boto3's own clients, against a socket that takes connections and never answers, and against a port
that refuses them. Time-outs are shortened here; the functions' clock goes on by what each attempt takes on Lambda.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from nightspot.aws.faults import TransientAwsError
from nightspot.job.model import dump_jobs
from nightspot.lambdas import dependencies as deployed
from nightspot.lambdas import time_left
from nightspot.lambdas.ask_prices import PATIENT
from nightspot.lambdas.start_training_job import ASKED_ONCE
from nightspot.lambdas.time_left import longest_seconds
from nightspot.local.serving import event_of
from nightspot.local.stage.emulated_aws import REGION, WORKFLOW, LocalContext
from nightspot.run.model import AttemptState, Outcome, to_json
from tests.lambdas.conftest import EXECUTION, MACHINE, RECOMMENDER

# Of each function, in seconds; a test of the template holds that they are those of all of its functions.
TIMEOUTS = {
    "api": 29,
    "ask_prices": 60,
    "close_run": 60,
    "decide_next_step": 120,
    "notify": 60,
    "plan_run": 60,
    "reconcile": 240,
    "record_outcome": 60,
    "start_run": 60,
    "start_training_job": 60,
    "wake_run": 60,
}
SHORT = {"connect_timeout": 0.2, "read_timeout": 0.05}
# What an attempt takes at the most: to connect, to read, and its share of the pauses between three (1 s and 2 s).
ATTEMPT_SECONDS = longest_seconds(deployed.BOUNDED) / 3
# Of what is asked only once, by service or operation.
LONGER = {
    "CreateTrainingJob": longest_seconds(ASKED_ONCE),
    **dict.fromkeys(("pricing", "savingsplans", "ce", "ec2"), longest_seconds(PATIENT)),
}


class Attempts(Counter[str]):
    """How often each service is asked, with repetitions; CreateTrainingJob by itself."""

    def note(self, event_name: str, **_given: Any) -> None:
        _, service, operation = event_name.split(".")
        self.update([operation if operation in LONGER else service])

    @property
    def seconds(self) -> float:
        """What they take on Lambda."""
        return sum(count * LONGER.get(name, ATTEMPT_SECONDS) for name, count in self.items())


@pytest.fixture
def silent(socket_enabled) -> Iterator[str]:
    """The address of a server that never answers."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    listening.settimeout(0.05)
    over, kept = threading.Event(), []

    def accept() -> None:
        while not over.is_set():
            try:
                kept.append(listening.accept()[0])
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    over.set()
    thread.join()
    for each in (*kept, listening):
        each.close()


@pytest.fixture
def refusing(socket_enabled) -> str:
    """The address of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def attempts(monkeypatch, tmp_path, world) -> Iterator[Attempts]:
    """What functions of this environment ask."""
    (tmp_path / "jobs.json").write_text(dump_jobs({"recommender": RECOMMENDER}))
    for name, value in {
        "NIGHTSPOT_TABLE_NAME": "runs",
        "NIGHTSPOT_BUS_NAME": "default",
        "NIGHTSPOT_JOBS_FILE": str(tmp_path / "jobs.json"),
        "NIGHTSPOT_ENVIRONMENT": "main",
        "NIGHTSPOT_MODEL_BUCKET": "models",
        "NIGHTSPOT_STATE_MACHINE_ARN": MACHINE,
        "NIGHTSPOT_NOTICE_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:notices",
        "NIGHTSPOT_CHAT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:chat",
        "NIGHTSPOT_LIVE_PRICES": "true",
        "NIGHTSPOT_CHECK_QUOTAS": "true",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)  # between two tries
    monkeypatch.setattr("botocore.config.Config", lambda **given: Config(**{**given, **SHORT}))
    counted = Attempts()
    passed = SimpleNamespace(monotonic=lambda: counted.seconds)
    monkeypatch.setattr(time_left, "time", passed)
    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("before-send", counted.note)
    forget()
    yield counted
    forget()
    boto3.DEFAULT_SESSION = None


def forget() -> None:
    """What the functions made once per process."""
    for name, made in (
        ("dependencies", "dependencies"),
        ("start_run", "start_dependencies"),
        ("notify", "messenger"),
        ("api_reads", "api_dependencies"),
        ("ask_prices", "asking_dependencies"),
        ("start_training_job", "training_jobs"),
    ):
        getattr(importlib.import_module(f"nightspot.lambdas.{name}"), made).cache_clear()


class TimedContext(LocalContext):
    """Lambda's context of a function that begins, with all of its time left."""

    def get_remaining_time_in_millis(self) -> int:
        return TIMEOUTS[self.function_name] * 1000


def call_of_api(method: str, path: str) -> dict[str, Any]:
    caller = "arn:aws:iam::123456789012:user/ada"
    return event_of(method, path, [], [("host", "api")], b"", identity_arn=caller)


STARTED = {"id": EXECUTION, "started_at": "2026-11-21T00:00:00Z"}
SCHEDULED = {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z"}


@pytest.fixture
def events(night, world) -> Mapping[str, list[dict[str, Any]]]:
    """By function: what calls it while a run trains."""
    run = night.trains()
    over = dataclasses.replace(run.attempts[0], state=AttemptState.ENDED, ended_at=world.now)
    failed = dataclasses.replace(run, attempts=(over,), outcome=Outcome.FAILED, outcome_because="why")
    late = dataclasses.replace(run, deadline=world.now + timedelta(hours=1))
    execution = {"executionArn": EXECUTION, "status": "ABORTED", "startDate": 1_795_219_200_000}
    job = {
        "TrainingJobName": over.training_job_name,
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
    }
    at = {"time": world.now.isoformat()}
    job_ended = {"detail-type": "SageMaker Training Job State Change", "detail": job, **at}
    execution_ended = {"detail-type": "Step Functions Execution Status Change", "detail": execution, **at}
    notice = {"job": run.job, "run_id": run.run_id, "error": "why", "execution_arn": EXECUTION}
    request = {"TrainingJobName": over.training_job_name, **RECOMMENDER.training_job}
    request["ResourceConfig"] = {**request["ResourceConfig"], "InstanceType": "ml.g5.xlarge"}
    return {
        "api": [
            call_of_api("POST", "/jobs/recommender/runs"),
            call_of_api("GET", "/runs"),
            call_of_api("POST", f"/runs/{run.run_id}/stop"),
            call_of_api("POST", f"/runs/{run.run_id}/retry"),
        ],
        "ask_prices": [{}],
        "close_run": [execution_ended, job_ended],
        "decide_next_step": [
            {"run": to_json(each), "fault": None}
            for each in (run, late, dataclasses.replace(run, attempts=()))
        ],
        "notify": [
            {"source": "nightspot", "detail-type": "Nightspot Decision Crashed", "detail": notice, **at}
        ],
        "plan_run": [{"input": {"job": "recommender"}, "execution": STARTED, "merges_request": True}],
        "reconcile": [{}],
        "record_outcome": [{"run": to_json(failed)}],
        "start_run": [SCHEDULED],
        "start_training_job": [{"request": request}],
        "wake_run": [job_ended],
    }


def told_by(function: str, event: dict[str, Any], **use: Any) -> Any:
    """The answer of a function, or the error that it ends with."""
    handler = importlib.import_module(f"nightspot.lambdas.{function}").handler
    try:
        return handler(json.loads(json.dumps(event)), TimedContext(function), **use)
    except Exception as error:  # Lambda hands on whatever a function raises
        return error


@pytest.mark.parametrize("function", TIMEOUTS)
@pytest.mark.parametrize("address", ["silent", "refusing"])
def test_a_function_that_reaches_nothing_ends_by_itself(
    request, events, attempts, monkeypatch, address, function
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue(address))
    for event in events[function]:
        attempts.clear()
        told_by(function, event)
        assert attempts.total() >= (1 if function == "start_training_job" else 3)
        assert attempts.seconds < TIMEOUTS[function] - 1


OF_A_RUN = sorted(TIMEOUTS.keys() - {"api", "ask_prices", "notify", "start_run", "start_training_job"})


@pytest.mark.parametrize("function", OF_A_RUN)
def test_a_function_that_reaches_the_table_alone_ends_by_itself(
    silent, events, attempts, monkeypatch, function, world
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    use = dataclasses.replace(
        deployed.dependencies(), now=lambda: world.now, table=world.table, lock=world.lock
    )
    for event in events[function]:
        attempts.clear()
        told_by(function, event, use=use)
        assert attempts.seconds < TIMEOUTS[function] - 1


def test_a_plan_that_reaches_nothing_fails_with_the_reason_within_half_a_minute(
    silent, events, attempts, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    error = told_by("plan_run", events["plan_run"][0])
    assert isinstance(error, TransientAwsError)
    assert silent in str(error)
    assert attempts.seconds <= 30


def test_what_is_not_asked_for_want_of_time_is_said_to_be(silent, attempts, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    time_left.begins(SimpleNamespace(get_remaining_time_in_millis=lambda: 29_000))
    first, second = deployed.late_client("dynamodb"), deployed.late_client("sagemaker")
    with pytest.raises(ReadTimeoutError):
        first.list_tables()
    with pytest.raises(time_left.NotAskedError) as caught:
        second.describe_training_job(TrainingJobName="one")
    assert str(caught.value) == (
        "DescribeTrainingJob was not asked: a call before had no answer, and the function has 5 s left"
    )
    assert attempts == {"dynamodb": 3}


def test_where_every_call_has_an_answer_none_is_left_out(attempts, world):
    time_left.begins(SimpleNamespace(get_remaining_time_in_millis=lambda: 1))
    assert deployed.late_client("s3").list_buckets()["Buckets"]


def test_people_hear_within_five_minutes_of_a_plan_that_reaches_nothing():
    """As docs/reliability.md says: the longest that the workflow takes until it reports the failure."""
    state = json.loads(WORKFLOW.read_text(encoding="utf-8"))["States"]["Plan the run"]
    (retrier,) = (each for each in state["Retry"] if each["ErrorEquals"] == ["States.ALL"])
    pauses = [
        min(retrier["IntervalSeconds"] * retrier["BackoffRate"] ** number, retrier["MaxDelaySeconds"])
        for number in range(retrier["MaxAttempts"])
    ]
    calls = (len(pauses) + 1) * time_left.longest_seconds(deployed.BOUNDED)
    assert sum(pauses) + calls <= 300
