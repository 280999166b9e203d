"""Decides that boto3's SageMaker calls inside moto reach the simulated SageMaker.

The answers are given where moto's own would be, behind its HTTP layer: so the same patch serves
`mock_aws()`, moto's Step Functions and a ThreadedMotoServer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from moto.sagemaker.responses import SageMakerResponse

from nightspot.local.faults import ServiceFaultError
from nightspot.local.sagemaker import SimulatedSageMaker

Operation = Callable[[Mapping[str, Any]], dict[str, Any]]
# What moto's dispatcher takes: status code, headers, body.
Response = tuple[int, dict[str, Any], str]


@contextmanager
def installed(simulator: SimulatedSageMaker) -> Iterator[None]:
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
