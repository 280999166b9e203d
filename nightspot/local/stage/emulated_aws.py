"""What the stack would have created, in moto: buckets, table, state machine, and the real handlers as functions."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.job.model import Job
from nightspot.job.places import bucket_of
from nightspot.job.request_shape import SAMPLES, fill
from nightspot.lambdas import (
    close_run,
    decide_next_step,
    plan_run,
    reconcile,
    record_outcome,
    start_training_job,
    wake_run,
)
from nightspot.lambdas.dependencies import Dependencies
from nightspot.local.clock import StoryClock
from nightspot.local.stage.engine import Handler

# Lambda's asynchronous invocation: two retries, after one and after two minutes.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
ASYNC_RETRY_SECONDS = (60.0, 120.0)
LEAST_REAL_SECONDS = 1.0  # between two invocations by a schedule


@dataclass(frozen=True)
class LocalContext:
    """What Powertools reads from Lambda's context object."""

    function_name: str
    memory_limit_in_mb: int = 256
    aws_request_id: str = "local"

    @property
    def invoked_function_arn(self) -> str:
        """The ARN by which the workflow calls the function."""
        return function_arn(self.function_name)


def function_arn(name: str) -> str:
    """The ARN of a local function; its last part is the name."""
    return f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"


def functions(
    use: Dependencies, jobs: TrainingJobs, one_at_a_time: threading.Lock | None = None
) -> dict[str, Handler]:
    """The handlers that the workflow calls, by name, and those that events call. `jobs` starts training jobs."""
    handlers = {
        "PlanRun": plan_run.handler,
        "DecideNextStep": decide_next_step.handler,
        "RecordOutcome": record_outcome.handler,
        "WakeRun": wake_run.handler,
        "CloseRun": close_run.handler,
        "Reconcile": reconcile.handler,
    }
    one_at_a_time = one_at_a_time or threading.Lock()
    starting = {"StartTrainingJob": start_training_job.handler}
    return bound(handlers, use, one_at_a_time) | bound(starting, jobs, one_at_a_time)


def bound(
    handlers: Mapping[str, Callable[..., Any]], use: Any, one_at_a_time: threading.Lock | None = None
) -> dict[str, Handler]:
    """The handlers, by function name, with their collaborators; one event at a time over all of them.

    A Lambda environment serves one event at a time, and Powertools' metrics count on it. Handlers that are bound
    at different times in one process share a lock, `one_at_a_time`.
    """
    one_at_a_time = one_at_a_time or threading.Lock()

    def bind(name: str, handler: Callable[..., Any]) -> Handler:
        def invoke(event: dict[str, Any]) -> Any:
            with one_at_a_time:
                return handler(event, LocalContext(name), use=use)

        return invoke

    return {name: bind(name, handler) for name, handler in handlers.items()}


class EmulatedSchedule:
    """Invokes a function as an EventBridge rule on a clock does: every so many seconds of the story.

    But at most once a real second, however fast the story passes. What it raises is a dead letter.
    """

    def __init__(
        self, function: Handler, clock: StoryClock, dead_letters: DeadLetters, *, every_seconds: float
    ) -> None:
        self._function = function
        self._dead_letters = dead_letters
        self._pause = max(clock.real_seconds(every_seconds), LEAST_REAL_SECONDS)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Invoke it no more; stay until it has ended."""
        self._closed.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.wait(self._pause):
            event = {"source": "aws.events"}
            try:
                self._function(event)
            except Exception as error:  # whatever a function raises is Lambda's to keep
                self._dead_letters.add(event, error)


class DeadLetters:
    """Events that a function could not take, after all retries."""

    def __init__(self) -> None:
        self._letters: list[tuple[Mapping[str, Any], Exception]] = []
        self._lock = threading.Lock()

    def add(self, event: Mapping[str, Any], error: Exception) -> None:
        """Keep the event and what the last try raised."""
        with self._lock:
            self._letters.append((event, error))

    @property
    def letters(self) -> tuple[tuple[Mapping[str, Any], Exception], ...]:
        """All so far."""
        with self._lock:
            return tuple(self._letters)


class AsyncInvoker:
    """Invokes a function as EventBridge does: in the background, again after a failure, then dead letters."""

    def __init__(self, function: Handler, clock: StoryClock, dead_letters: DeadLetters) -> None:
        self._function = function
        self._clock = clock
        self._dead_letters = dead_letters
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> None:
        """Put the event on its way; returns at once."""
        thread = threading.Thread(target=self._deliver, args=(event,), name="async-invoke", daemon=True)
        with self._lock:
            thread.start()
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]

    def _deliver(self, event: dict[str, Any]) -> None:
        for delay in (*ASYNC_RETRY_SECONDS, None):
            try:
                self._function(event)
            except Exception as error:  # whatever a function raises is Lambda's to repeat
                if delay is None:
                    self._dead_letters.add(event, error)
                elif self._closed.wait(self._clock.real_seconds(delay)):
                    return
            else:
                return

    def settle(self, longest_seconds: float) -> None:
        """Stay until all that is on its way has arrived, or for so many real seconds."""
        until = time.monotonic() + longest_seconds
        for thread in self._on_their_way():
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Give up what still waits for its retry."""
        self._closed.set()
        for thread in self._on_their_way():
            thread.join(timeout=5)

    def _on_their_way(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)


REGION = SAMPLES["AWS::Region"]
TABLE = "nightspot-runs"
BUS = "default"
PAGES = "nightspot-reports"  # the bucket of code
# The file that is deployed.
WORKFLOW = Path(__file__).parents[2] / "statemachine" / "training_run.asl.json"

_POLL_SECONDS = 0.02


class NightNotOverError(Exception):
    """The execution was still running when the longest night was over."""


def local_job(job: Job, _execution_arn: str = "") -> Job:
    """`job` with the names of this emulated deployment in its request."""
    return job.model_copy(update={"training_job": fill(job.training_job, SAMPLES)})


def create_resources(jobs: Iterable[Job]) -> None:
    """The run table, every bucket that a job's request names, and the one of code."""
    boto3.client("dynamodb", region_name=REGION).create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )
    s3 = boto3.client("s3", region_name=REGION)
    for bucket in sorted({PAGES, *(bucket for job in jobs for bucket in _buckets(job.training_job))}):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})


def warm_up() -> None:
    """Load what moto and boto3 load at the first call: it would take minutes of the story."""
    for service, operation in (
        ("dynamodb", "list_tables"),
        ("events", "list_rules"),
        ("lambda", "list_functions"),
        ("s3", "list_buckets"),
        ("sagemaker", "list_training_jobs"),
        ("stepfunctions", "list_activities"),
    ):
        getattr(boto3.client(service, region_name=REGION), operation)()


def _buckets(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        # An environment's variable may begin like an address too.
        bucket = bucket_of(value)
        if bucket is not None:
            yield bucket
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _buckets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _buckets(inner)


def create_state_machine() -> str:
    """The workflow with the local names filled in. Returns its ARN."""
    names = {
        "PlanRunFunctionArn": function_arn("PlanRun"),
        "DecideNextStepFunctionArn": function_arn("DecideNextStep"),
        "RecordOutcomeFunctionArn": function_arn("RecordOutcome"),
        "StartTrainingJobFunctionArn": function_arn("StartTrainingJob"),
        "TableName": TABLE,
        "EventBusName": BUS,
        "Environment": "local",
    }
    # CloudFormation's DefinitionSubstitutions: ${Name}; a bare $name is JSONata's.
    definition = re.sub(r"\$\{(\w+)\}", lambda match: names[match[1]], WORKFLOW.read_text(encoding="utf-8"))
    client = boto3.client("stepfunctions", region_name=REGION)
    answer = client.create_state_machine(
        name="NightspotTrainingRun",
        definition=definition,
        roleArn="arn:aws:iam::123456789012:role/nightspot-workflow",
    )
    arn: str = answer["stateMachineArn"]
    return arn


def start_execution(client: Any, machine_arn: str, name: str, run_input: Mapping[str, Any]) -> str:
    """Start the workflow; returns the execution's ARN."""
    answer = client.start_execution(stateMachineArn=machine_arn, name=name, input=json.dumps(run_input))
    arn: str = answer["executionArn"]
    return arn


def wait_for_end(client: Any, execution_arn: str, longest_seconds: float) -> dict[str, Any]:
    """DescribeExecution of the finished execution. Raises NightNotOverError after `longest_seconds`, real."""
    until = time.monotonic() + longest_seconds
    while time.monotonic() < until:
        execution: dict[str, Any] = client.describe_execution(executionArn=execution_arn)
        if execution["status"] != "RUNNING":
            return execution
        time.sleep(_POLL_SECONDS)
    raise NightNotOverError(execution_arn)


def states_entered(client: Any, execution_arn: str) -> tuple[str, ...]:
    """The names of the states, in order: each one is a state transition that Step Functions bills."""
    pages = client.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return tuple(
        event["stateEnteredEventDetails"]["name"]
        for page in pages
        for event in page["events"]
        if event["type"].endswith("StateEntered")
    )
