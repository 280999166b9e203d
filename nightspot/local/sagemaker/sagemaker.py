"""What the four training-job calls answer: a SageMaker on this machine, in story time."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any, Self
from unittest.mock import patch

import boto3
from moto.sagemaker.responses import SageMakerResponse

from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker import request_rules
from nightspot.local.sagemaker.client import TrainingJobOperations
from nightspot.local.sagemaker.descriptions import EventPost, description, list_answer, summary_of
from nightspot.local.sagemaker.job_state import JobState, asked
from nightspot.local.sagemaker.launch import TrainingCommand
from nightspot.local.sagemaker.markets import Markets, SimulationOptions
from nightspot.local.sagemaker.process import Reaper
from nightspot.local.sagemaker.request_rules import (
    ServiceFault,
    ServiceFaultError,
    invalid,
)
from nightspot.local.sagemaker.training_job import JobHost, TrainingJob

ACCOUNT = "123456789012"


class SimulatedSageMaker:
    """Runs every training job's real command under SageMaker's container contract. Thread safe.

    Requests and answers are boto3's, times in answers as epoch seconds, the story's. All jobs run
    the one `command`, in `directory` (default: the current one), with `environment` over the
    contract's variables; or each what `command_of` says of its request (see `JobHost`). `scratch`
    gets the machines' disks and `logs/<job>.log`. `s3` is an S3 client (default: boto3's own).
    `on_event` gets the state-change events, one at a time, from a thread of the simulation;
    `on_log` gets (job name, line) from the job's own. Neither may raise.

    Close it, or use it as a context manager: nothing it started is left running. Raises ValueError
    unless either `command` or `command_of` is given.
    """

    def __init__(
        self,
        clock: StoryClock,
        markets: Markets,
        *,
        scratch: Path,
        on_event: Callable[[dict[str, Any]], None],
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        command_of: Callable[[Mapping[str, Any]], TrainingCommand] | None = None,
        region: str = "eu-west-1",
        options: SimulationOptions | None = None,
        create_faults: Iterable[ServiceFault] = (),
        stop_faults: Iterable[ServiceFault] = (),
        describe_faults: Iterable[ServiceFault] = (),
        s3: Any = None,
        on_log: Callable[[str, str], None] | None = None,
        directory: Path | None = None,
    ) -> None:
        if (command is None) == (command_of is None):
            raise ValueError("command, command_of: exactly one of them must say what the jobs run")
        one = TrainingCommand(tuple(command or ()), dict(environment or {}), directory or Path.cwd())
        self._clock = clock
        self._markets = markets
        self._region = region
        self._options = options or SimulationOptions()
        self._reaper = Reaper()
        self._host = JobHost(
            clock=clock,
            options=self._options,
            s3=s3 or boto3.client("s3", region_name=region),
            scratch=scratch.absolute(),
            command_of=command_of or (lambda _request: one),
            reaper=self._reaper,
            on_log=on_log,
        )
        self._post = EventPost(clock, self._options.events, on_event, region=region, account=ACCOUNT)
        # Each call is answered with one: a client that retries by itself takes one with every try.
        self._faults = {
            "CreateTrainingJob": deque(create_faults),
            "StopTrainingJob": deque(stop_faults),
            "DescribeTrainingJob": deque(describe_faults),
        }
        self._jobs: dict[str, TrainingJob] = {}
        self._lock = Lock()
        self._closed = False

    def create_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob. Raises `ServiceFaultError` for what AWS would refuse."""
        self._refuse("CreateTrainingJob")
        request_rules.check_request(request, self._options.behaviour.cannot_checkpoint)
        name = str(request["TrainingJobName"])
        with self._lock:
            if self._closed:
                raise invalid("The simulation is closed")
            if name in self._jobs:
                raise ServiceFaultError(
                    "ResourceInUse",
                    "Training job names must be unique within an AWS account and region, and a training job"
                    f" with this name already exists ({self._arn(name)})",
                )
            utilization = self._utilization(request_rules.quota_name(request))
            request_rules.check_quota(request, self._options.quotas, utilization)
            job = self._jobs[name] = self._new_job(request, name, len(self._jobs) + 1)
            job.start()
        return {"TrainingJobArn": self._arn(name)}

    def describe_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTrainingJob. Raises `ServiceFaultError` for a job that does not exist."""
        self._refuse("DescribeTrainingJob")
        state = self._job(request).shared.state
        shown = self._options.behaviour.figures_while_running
        return description(state, now=self._clock.now(), figures_while_running=shown)

    def stop_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """StopTrainingJob. Raises `ServiceFaultError` unless the job is in progress."""
        self._refuse("StopTrainingJob")
        self._job(request).shared.request_stop()
        return {}

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs. Raises `ServiceFaultError` for a token it did not give."""
        return list_answer([summary_of(description(state)) for state in self.states()], request)

    def fail_next(self, operation: str, fault: ServiceFault, times: int = 1) -> None:
        """Refuse the next calls of CreateTrainingJob, StopTrainingJob or DescribeTrainingJob."""
        self._faults[operation].extend([fault] * times)

    def _refuse(self, operation: str) -> None:
        with suppress(IndexError):
            raise self._faults[operation].popleft().error()

    def states(self) -> list[JobState]:
        """Every job's record as it is now, in the order of creation."""
        with self._lock:
            jobs = list(self._jobs.values())
        return [job.shared.state for job in jobs]

    def log_path(self, job_name: str) -> Path:
        """Where the job's output stands, over all its machines; absent until it has trained."""
        return self._host.scratch / "logs" / f"{job_name}.log"

    def close(self) -> None:
        """Kill every training process and end every thread. Idempotent."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.shared.close()
        for job in jobs:
            job.close()
        self._post.close()
        self._reaper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _new_job(self, request: Mapping[str, Any], name: str, number: int) -> TrainingJob:
        spot = request_rules.is_spot(request)
        market = self._markets.market_for(request_rules.instance_type(request), spot=spot)
        state = asked(
            deepcopy(dict(request)),
            self._arn(name),
            spot_discount=self._options.spot_discount if spot else 0.0,
            at=self._clock.now(),
        )
        return TrainingJob(state, market, self._host, self._post.send, number)

    def _job(self, request: Mapping[str, Any]) -> TrainingJob:
        with self._lock:
            job = self._jobs.get(str(request.get("TrainingJobName")))
        if job is None:
            raise invalid("Requested resource not found.")
        return job

    def _utilization(self, quota: str) -> int:
        states = (job.shared.state for job in self._jobs.values())
        return sum(
            request_rules.instance_count(state.request)
            for state in states
            if not state.ended and request_rules.quota_name(state.request) == quota
        )

    def _arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:{self._region}:{ACCOUNT}:training-job/{name}"


Operation = Callable[[Mapping[str, Any]], dict[str, Any]]
# What moto's dispatcher takes: status code, headers, body.
Response = tuple[int, dict[str, Any], str]


@contextmanager
def installed(simulator: TrainingJobOperations) -> Iterator[None]:
    """While it lasts, training-job calls of every boto3 client inside moto reach `simulator`.

    Whatever the client's region: a simulator is one account and region. All other SageMaker calls
    stay moto's own. Refusals arrive as on AWS: `client.exceptions.ResourceInUse` and its like, or
    a `ClientError` where AWS's service model has no shape for the code.
    """
    operations: dict[str, Operation] = {
        "create_training_job": simulator.create_training_job,
        "describe_training_job": simulator.describe_training_job,
        "stop_training_job": simulator.stop_training_job,
        "list_training_jobs": simulator.list_training_jobs,
    }
    with ExitStack() as patches:
        for name, operation in operations.items():
            # moto has no stop_training_job at all, hence create=True.
            patches.enter_context(patch.object(SageMakerResponse, name, _method(operation), create=True))
        yield


def _method(operation: Operation) -> Callable[[Any], Response]:
    # moto only dispatches to plain functions of the class, not to other callables.
    def respond(response: Any) -> Response:
        try:
            answer = operation(json.loads(response.body or "{}"))
        except ServiceFaultError as fault:
            # Not moto's own exceptions: they know neither throttling nor a status of their own.
            body = {"__type": fault.code, "Message": fault.message, "message": fault.message}
            return _reply(fault.status_code, body)
        return _reply(200, answer)

    return respond


def _reply(status_code: int, body: Mapping[str, Any]) -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1", "status": status_code}
    return status_code, headers, json.dumps(body)
