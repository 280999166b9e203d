"""Makes moto's state machine interpreter run the workflow file as it is: JSONata, handlers in process, story time.

Everything here patches moto for the time of a `with` block and nothing else. Waits and computed time-outs run in
story time; literal `TimeoutSeconds` bound computing, not the story, and stay real.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from jsonata import Jsonata
from jsonata.utils import Utils
from moto.awslambda.models import LambdaBackend
from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.common.string.string_expression import StringJSONata
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSecondsJSONata
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk as aws_sdk,
)
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.evaluation_details import ExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramError,
    ProgramState,
    ProgramStopped,
    ProgramTimedOut,
)
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution

from nightspot.local.clock import StoryClock

Handler = Callable[[dict[str, Any]], Any]
"""A Lambda function as the local run knows it: event in, JSON-ready answer out, or an exception."""

_POLL_SECONDS = 0.05


@contextmanager
def interpreter(
    clock: StoryClock,
    functions: Mapping[str, Handler],
    on_end: Callable[[dict[str, Any]], None] = lambda _event: None,
) -> Iterator[None]:
    """Inside: moto executes state machines in the time of `clock` and calls `functions` by their names.

    A function's name is the last part of the ARN that the workflow names. `on_end` gets EventBridge's event of
    every execution that does not succeed, before anybody else can see its end; it must not raise.
    """
    client_for = _one_client_per_service()
    starts: dict[str, datetime] = {}
    with ExitStack() as stack:
        for target, name, value in (
            (StringJSONata, "_eval_body", _eval_jsonata),
            (TimeoutSecondsJSONata, "_eval_seconds", _scaled_timeout(clock)),
            (WaitFunction, "_wait_interval", _scaled_wait(clock)),
            (retrier_decl, "time", SimpleNamespace(sleep=clock.sleep)),
            (Execution, "get_start_execution_details", _started_in_story_time(clock, starts)),
            (BaseExecutionWorkerCommunication, "terminated", _telling(clock, starts, on_end)),
            (Environment, "set_error", _unless_stopped(Environment.set_error)),
            (LambdaBackend, "invoke", _invoker(functions)),
            (aws_sdk, "boto_client_for", client_for),
            (lambda_eval_utils, "boto_client_for", client_for),
        ):
            stack.enter_context(patch.object(target, name, value))
        # moto has no name for SageMaker's errors and would call them "sagemaker.…".
        stack.enter_context(patch.dict(aws_sdk._SERVICE_ERROR_NAMES, {"sagemaker": "SageMaker"}))
        yield


def _one_client_per_service() -> Callable[..., Any]:
    """moto makes a client for every call; SageMaker's takes longer than minutes of the story."""
    clients: dict[tuple[str, str], Any] = {}

    def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        if (region, service) not in clients:
            clients[region, service] = boto_client_for(region, service, state_credentials)
        return clients[region, service]

    return client_for


def _unless_stopped(set_error: Callable[..., None]) -> Callable[..., None]:
    """A stopped execution is ABORTED whatever its last state still comes to; moto would call it FAILED."""

    def set_unless_stopped(self: Environment, error: Any) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            set_error(self, error)

    return set_unless_stopped


def _eval_jsonata(self: StringJSONata, env: Environment) -> None:
    # The context object carries datetimes, which are text to an expression.
    states = json.loads(json.dumps(env.states._states_data, default=lambda o: o.isoformat()))
    store = env.variable_store
    bindings = {"states": states, **store._outer_scope, **store._inner_scope}
    try:
        env.stack.append(evaluate(self.expression, bindings))
    except UndefinedResultError as error:
        raise _query_evaluation_error(env, str(error)) from error
    except Exception as error:  # every fault of an expression is this one error to a state machine
        raise _query_evaluation_error(env, f"{self.expression}: {error}") from error


def _query_evaluation_error(env: Environment, cause: str) -> FailureEventException:
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    details = EvaluationFailedEventDetails(cause=cause, error=name.error_name)
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.EvaluationFailed,
            event_details=EventDetails(evaluationFailedEventDetails=details),  # type: ignore[typeddict-item]
        )
    )


def _scaled_timeout(clock: StoryClock) -> Callable[[TimeoutSecondsJSONata, Environment], float]:
    def eval_seconds(self: TimeoutSecondsJSONata, env: Environment) -> float:
        self.string_jsonata.eval(env=env)
        return clock.real_seconds(float(env.stack.pop()))

    return eval_seconds


def _scaled_wait(clock: StoryClock) -> Callable[[WaitFunction, Environment, float], None]:
    def wait_interval(_self: WaitFunction, env: Environment, wait_seconds: float) -> None:
        until = time.monotonic() + clock.real_seconds(wait_seconds)
        while env.is_running() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL_SECONDS))

    return wait_interval


def _started_in_story_time(
    clock: StoryClock, starts: dict[str, datetime]
) -> Callable[[Execution], ExecutionDetails]:
    def details(self: Execution) -> ExecutionDetails:
        # Kept by ARN for the event of its end: moto's own start is real time.
        started_at = starts[self.exec_arn] = clock.now()
        return ExecutionDetails(
            arn=self.exec_arn,
            name=self.name,
            role_arn=self.role_arn,
            inpt=self.input_data,
            start_time=started_at.isoformat(),
        )

    return details


def _telling(
    clock: StoryClock, starts: Mapping[str, datetime], on_end: Callable[[dict[str, Any]], None]
) -> Callable[[BaseExecutionWorkerCommunication], None]:
    reflect = BaseExecutionWorkerCommunication.terminated

    def terminated(self: BaseExecutionWorkerCommunication) -> None:
        # One that was started before is none of this stage's.
        started_at = starts.get(self.execution.exec_arn)
        event = end_event(self.execution, started_at, clock.now()) if started_at is not None else None
        if event is not None:
            on_end(event)
        reflect(self)

    return terminated


def _invoker(functions: Mapping[str, Handler]) -> Callable[..., bytes]:
    def invoke(
        _self: LambdaBackend,
        function_name: str,
        _qualifier: str | None,
        body: bytes | str,
        _headers: Any,
        response_headers: dict[str, str],
    ) -> bytes:
        handler = functions[function_name.rpartition(":")[2]]
        try:
            answer = handler(json.loads(body or "{}"))
        except Exception as error:  # Lambda answers for whatever a handler raises
            response_headers["x-amz-function-error"] = "Unhandled"
            answer = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "stackTrace": traceback.format_tb(error.__traceback__),
            }
        payload = json.dumps(answer).encode()
        response_headers["Content-Length"] = str(len(payload))
        return payload

    return invoke


class UndefinedResultError(Exception):
    """The expression returned nothing, which Step Functions treats as an error."""


def evaluate(expression: str, bindings: Mapping[str, Any]) -> Any:
    """The JSON value of `expression` with `bindings` (names without `$`).

    Raises UndefinedResultError where the expression has no value, jsonata's own exceptions where it is wrong.
    """
    result = _evaluate(expression, bindings)
    # jsonata-python gives None for null and for nothing at all.
    if result is None and not _evaluate(f"$exists({expression})", bindings):
        raise UndefinedResultError(f"The JSONata expression '{expression}' returned nothing (undefined).")
    return result


def _evaluate(expression: str, bindings: Mapping[str, Any]) -> Any:
    program = Jsonata(expression)
    # Step Functions adds this one to JSONata's own functions.
    program.register_lambda("parse", lambda text: _with_nulls(json.loads(text)))
    frame = program.create_frame()
    for name, value in bindings.items():
        frame.bind(name, _with_nulls(value))
    return _plain(program.evaluate(None, frame))


def _with_nulls(value: Any) -> Any:
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {name: _with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    """Without jsonata-python's own null and its list subclass."""
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


class InStoryTime:
    """boto3's Step Functions client, whose executions end in the story: moto's own times are real."""

    def __init__(self, client: Any, clock: StoryClock) -> None:
        self._client = client
        self._clock = clock

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        """With the story's `stopDate`, to the second or so."""
        answer: dict[str, Any] = self._client.describe_execution(executionArn=executionArn)
        if "stopDate" in answer:
            ago = (datetime.now(UTC) - answer["stopDate"]).total_seconds()
            answer["stopDate"] = self._clock.now() - timedelta(seconds=self._clock.story_seconds(ago))
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def end_event(execution: Execution, started_at: datetime, now: datetime) -> dict[str, Any] | None:
    """The status change of an execution that is just ending (times: the story's, aware); None where it succeeds.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    worker = execution.exec_worker
    end = None if worker is None or worker.env is None else _end(worker.env.program_state())
    if end is None:
        return None
    status, error, cause = end
    return {
        "version": "0",
        "id": f"{execution.name}-{status}",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine.arn,
            "name": execution.name,
            "status": status,
            "startDate": round(started_at.timestamp() * 1000),
            "stopDate": round(now.timestamp() * 1000),
            "input": json.dumps(execution.input_data),
            "output": None,
            "error": error,
            "cause": cause,
        },
    }


def _end(state: ProgramState) -> tuple[str, str | None, str | None] | None:
    """Status, error and cause; None of a success."""
    if isinstance(state, ProgramStopped):
        return "ABORTED", state.error, state.cause
    if isinstance(state, ProgramError):
        details = state.error or {}
        return "FAILED", details.get("error"), details.get("cause")
    return ("TIMED_OUT", None, None) if isinstance(state, ProgramTimedOut) else None
