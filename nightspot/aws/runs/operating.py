"""Decides how a person reaches into a deployment: which jobs a stack has, and what its training jobs logged."""

from __future__ import annotations

import heapq
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zipfile import BadZipFile

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from nightspot.aws.runs.deployed_names import DeploymentError, planner_of
from nightspot.failures.classify import redact
from nightspot.job import Job, read_jobs
from nightspot.view.messages.links import LOG_GROUP

JOBS_FILE = "jobs.json"  # as infra.bundle calls it in the functions' code
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
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
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


def deployed_jobs(
    stack: str, *, cloudformation: Any, lambdas: Any, fetch: Callable[[str], bytes]
) -> dict[str, Job]:
    """The jobs that the stack runs, by name, out of the code of the function that plans them.

    `fetch` gets what an HTTPS address holds: GetFunction answers with one that is signed for ten minutes
    (https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html). Raises DeploymentError.
    """
    try:
        function = lambdas.get_function(FunctionName=planner_of(stack, cloudformation))
        with zipfile.ZipFile(io.BytesIO(fetch(function["Code"]["Location"]))) as code:
            return read_jobs(code.read(JOBS_FILE).decode())
    except (ClientError, BotoCoreError, OSError) as error:
        raise DeploymentError(
            f"the jobs of stack {stack!r} could not be read: {redact(str(error))}"
        ) from error
    except (BadZipFile, KeyError, ValidationError, ValueError) as error:
        raise DeploymentError(
            f"the code of stack {stack!r} holds no {JOBS_FILE} that this version reads"
        ) from error
