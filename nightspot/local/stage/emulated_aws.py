"""What the stack would have created, created in moto: buckets, table, state machine; and executions of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from nightspot.job import Job, fill
from nightspot.job.placeholders import SAMPLES
from nightspot.local.stage.functions import function_arn

REGION = SAMPLES["AWS::Region"]
TABLE = "nightspot-runs"
BUS = "default"
# The file that is deployed.
WORKFLOW = Path(__file__).parents[2] / "statemachine" / "training_run.asl.json"

_POLL_SECONDS = 0.02


class NightNotOverError(Exception):
    """The execution was still running when the longest night was over."""


def local_job(job: Job, _execution_arn: str = "") -> Job:
    """`job` with the names of this emulated deployment in its request."""
    return job.model_copy(update={"training_job": fill(job.training_job, SAMPLES)})


def create_resources(jobs: Iterable[Job]) -> None:
    """The run table, and every bucket that a job's request names."""
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
    for bucket in sorted({bucket for job in jobs for bucket in _buckets(job.training_job)}):
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
    if isinstance(value, str) and value.startswith("s3://"):
        yield urlsplit(value).netloc
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
        "TableName": TABLE,
        "EventBusName": BUS,
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
