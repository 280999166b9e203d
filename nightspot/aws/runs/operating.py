"""What a deployed stack says of itself: its names, its jobs, and what their training jobs logged."""

from __future__ import annotations

import heapq
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.request import urlopen
from zipfile import BadZipFile

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError

from nightspot.aws.faults import code_of
from nightspot.failures.classify import redact
from nightspot.job.code_version import CODE_FILE, CodeVersion
from nightspot.job.model import Job, read_jobs
from nightspot.view.messages.plain import LOG_GROUP

# The function that fills them in when a run is planned; CDK puts the constructs above it before the name.
PLANNER = "FunctionsPlanRun"
# (placeholder, variable of that function)
VARIABLES = {
    "CheckpointBucket": "NIGHTSPOT_CHECKPOINT_BUCKET",
    "ModelBucket": "NIGHTSPOT_MODEL_BUCKET",
    "TrainingRoleArn": "NIGHTSPOT_TRAINING_ROLE_ARN",
    "DlcAccountId": "NIGHTSPOT_DLC_ACCOUNT_ID",
}


class DeploymentError(Exception):
    """A deployed stack of Nightspot could not be asked; the text tells why."""


@dataclass(frozen=True)
class Deployment:
    """What a stack knows: the names by placeholder, and the VpcConfig of jobs that state none (None: no VPC)."""

    names: Mapping[str, str] = field(default_factory=dict)
    vpc_config: dict[str, list[str]] | None = None


def read_deployment(stack: str, *, cloudformation: Any, lambdas: Any) -> Deployment:
    """What the stack of this name fills in. The clients are boto3's of CloudFormation and Lambda.

    Raises DeploymentError where it is not there, is not Nightspot's, or may not be read.
    """
    try:
        function = planner_of(stack, cloudformation)
        variables = lambdas.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    except (ClientError, BotoCoreError) as error:
        raise DeploymentError(f"stack {stack!r} could not be read: {redact(str(error))}") from error
    subnets = variables.get("NIGHTSPOT_SUBNET_IDS")
    teams = json.loads(variables.get("NIGHTSPOT_TRAINING_ROLE_ARNS") or "{}")
    return Deployment(
        names={
            **{name: variables[key] for name, key in VARIABLES.items() if variables.get(key)},
            **{f"TrainingRoleArn.{team}": arn for team, arn in teams.items()},
        },
        vpc_config={
            "Subnets": subnets.split(","),
            "SecurityGroupIds": variables.get("NIGHTSPOT_SECURITY_GROUP_IDS", "").split(","),
        }
        if subnets
        else None,
    )


def planner_of(stack: str, cloudformation: Any) -> str:
    """The physical name of the function that plans runs. Raises DeploymentError where the stack has none."""
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            is_function = resource["ResourceType"] == "AWS::Lambda::Function"
            if is_function and PLANNER in resource["LogicalResourceId"]:
                return str(resource["PhysicalResourceId"])
    raise DeploymentError(f"stack {stack!r} is not Nightspot's: it has no function {PLANNER}")


def output_of(stack: str, name: str, *, cloudformation: Any) -> str:
    """The stack's output `name`. Raises DeploymentError where the stack cannot be read or has none."""
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except (ClientError, BotoCoreError) as error:
        raise DeploymentError(f"stack {stack!r} could not be read: {redact(str(error))}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}
    if name not in outputs:
        raise DeploymentError(
            f"stack {stack!r} has no output {name}: is it Nightspot's, and of this version?"
        )
    return str(outputs[name])


JOBS_FILE = "jobs.json"  # as infra.bundle calls it in the functions' code
# fact: logs.streams.count
MOST_STREAMS = 100  # of one FilterLogEvents call


@dataclass(frozen=True)
class LogEvent:
    """A line that a training container wrote."""

    at: datetime  # aware UTC, to the millisecond
    machine: str  # "algo-1"
    message: str


def training_logs(logs: Any, training_job_name: str) -> Iterator[LogEvent]:
    """What the job's machines logged, oldest first, page by page. `logs` is boto3's client of CloudWatch Logs.

    Nothing where no container has begun to write. Raises ClientError and BotoCoreError.
    """
    streams = _streams(logs, training_job_name)
    parts = (streams[first : first + MOST_STREAMS] for first in range(0, len(streams), MOST_STREAMS))
    yield from heapq.merge(*(_events(logs, part) for part in parts), key=lambda event: event.at)


def _streams(logs: Any, training_job_name: str) -> list[str]:
    # With the slash: job 1 is not job 10 as well.
    wanted = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": f"{training_job_name}/"}
    try:
        pages = list(logs.get_paginator("describe_log_streams").paginate(**wanted))
    except ClientError as error:
        # The account's first training job makes the group.
        if code_of(error) == "ResourceNotFoundException":
            return []
        raise
    return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]


def _events(logs: Any, streams: list[str]) -> Iterator[LogEvent]:
    # AWS mixes the streams by time in any case; an emulator only where it is told to.
    wanted = {"logGroupName": LOG_GROUP, "logStreamNames": streams, "interleaved": True}
    for page in logs.get_paginator("filter_log_events").paginate(**wanted):
        for event in page["events"]:
            machine = event["logStreamName"].rpartition("/")[2].rpartition("-")[0]
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield LogEvent(at, machine, event["message"])


@dataclass(frozen=True)
class DeployedJobs:
    """What a stack's functions carry: the jobs, and the code of those that have any."""

    jobs: Mapping[str, Job]
    code: Mapping[str, CodeVersion] = field(default_factory=dict)


def deployed_jobs(
    stack: str, *, cloudformation: Any, lambdas: Any, fetch: Callable[[str], bytes]
) -> DeployedJobs:
    """The jobs that the stack runs, by name, out of the code of the function that plans them.

    `fetch` gets what an HTTPS address holds: GetFunction answers with one that is signed for ten minutes
    (https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html). Raises DeploymentError.
    """
    try:
        function = lambdas.get_function(FunctionName=planner_of(stack, cloudformation))
        with zipfile.ZipFile(io.BytesIO(fetch(function["Code"]["Location"]))) as code:
            jobs = read_jobs(code.read(JOBS_FILE).decode())
            versions = code.read(CODE_FILE) if CODE_FILE in code.namelist() else b"{}"
            return DeployedJobs(jobs, TypeAdapter(dict[str, CodeVersion]).validate_json(versions))
    except (ClientError, BotoCoreError, OSError) as error:
        raise DeploymentError(
            f"the jobs of stack {stack!r} could not be read: {redact(str(error))}"
        ) from error
    except (BadZipFile, KeyError, ValidationError, ValueError) as error:
        raise DeploymentError(
            f"the code of stack {stack!r} holds no {JOBS_FILE} that this version reads"
        ) from error


FETCH_SECONDS = 60.0  # no answer for so long is none


def fetched(address: str) -> bytes:
    """What an HTTPS address holds. Raises OSError."""
    if not address.startswith("https://"):
        raise OSError("the code's address is not HTTPS")
    with urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - checked above
        content: bytes = answer.read()
    return content
