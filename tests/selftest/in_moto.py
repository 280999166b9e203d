"""Carries out single states in moto's interpreter, patched as for `nightspot local`: a second one, by others.

moto has the parts of Step Functions' TestState and no call for it, so a state is evaluated directly: its task's
results and errors are moto's mocked responses, the pauses of Retry and the waits are noted and not waited out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from moto.stepfunctions.parser.api import HistoryEventType, StateMachineType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_task import mock_eval_utils
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval import states as context_object
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramStopped
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.mocking.mock_config import (
    MockedResponseReturn,
    MockedResponseThrow,
    MockTestCase,
    StateMockedResponses,
)

from nightspot.local.clock import StoryClock
from nightspot.local.stage.engine import interpreter
from nightspot.selftest.states import After, StateCase, context

MACHINE_ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot"
EXECUTION_ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:nightly"
ROLE_ARN = "arn:aws:iam::123456789012:role/workflow"
TOKEN = context(EXECUTION_ARN)["Task"]["Token"]


@contextmanager
def moto_s_interpreter() -> Iterator[None]:
    """Inside: moto interprets as it does for `nightspot local`, with a known task token."""
    with (
        interpreter(StoryClock(datetime(2026, 11, 21, tzinfo=UTC), scale=1), {}),
        patch.object(context_object, "long_uid", lambda: TOKEN),
        patch.object(mock_eval_utils, "_eval_mocked_response_throw", _throw),
    ):
        yield


def _throw(env: Environment, mocked_response: MockedResponseThrow) -> None:
    """The error of a mocked response. moto's own cannot throw one that Step Functions itself raises."""
    name, cause = mocked_response.error, mocked_response.cause
    kind = StatesErrorName.from_name(name) if name.startswith("States.") else CustomErrorName(name)
    said = {"error": name, **({} if cause is None else {"cause": cause})}
    details = EventDetails(taskFailedEventDetails=TaskFailedEventDetails(**said))
    raise FailureEventException(FailureEvent(env, kind, HistoryEventType.TaskFailed, details))


def parsed(definition: Mapping[str, Any]) -> Program:
    """A workflow as moto reads it."""
    program = AmazonStateLanguageParser.parse(json.dumps(definition))[0]
    assert isinstance(program, Program)
    return program


def carried_out(program: Program, case: StateCase) -> tuple[After, float]:
    """What moto's interpreter makes of a case, and for how many seconds the state waits."""
    env = _environment(case)
    pauses: list[float] = []
    waits: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > case.retries:
            env.set_stop(datetime.now(UTC), cause=None, error=None)

    def wait(_self: WaitFunction, env: Environment, wait_seconds: float) -> None:
        waits.append(wait_seconds)

    env.next_state_name = case.state
    with (
        patch.object(retrier_decl, "time", SimpleNamespace(sleep=pause)),
        patch.object(WaitFunction, "_wait_interval", wait),
    ):
        try:
            program.states.states[case.state].eval(env)
        except FailureEventException as error:
            return _failed(env, error), sum(waits)
    return _left(env), sum(waits)


def _environment(case: StateCase) -> Environment:
    execution = {"RoleArn": ROLE_ARN, **context(EXECUTION_ARN)["Execution"]}
    env = Environment(
        aws_execution_details=AWSExecutionDetails("123456789012", "eu-west-1", ROLE_ARN),
        execution_type=StateMachineType.STANDARD,
        context={"Execution": execution, "StateMachine": {"Id": MACHINE_ARN, "Name": "nightspot"}},  # type: ignore[typeddict-item]
        event_history_context=EventHistoryContext.of_program_start(),
        cloud_watch_logging_session=None,
        activity_store={},
        mock_test_case=_mocked(case),
    )
    for name, value in json.loads(json.dumps(case.variables)).items():
        env.variable_store.set(name, value)
    env.states.reset(case.input)
    return env


def _mocked(case: StateCase) -> MockTestCase:
    last = case.retries
    response = (
        MockedResponseReturn(0, last, case.result)
        if case.error is None
        else MockedResponseThrow(0, last, case.error["Error"], case.error.get("Cause"))  # type: ignore[arg-type]
    )
    responses = StateMockedResponses(case.state, "given", [response])
    return MockTestCase("nightspot", case.name, [responses])


def _variables(env: Environment) -> dict[str, Any]:
    return dict(env.variable_store._inner_scope)


def _failed(env: Environment, error: FailureEventException) -> After:
    details = error.get_execution_failed_event_details() or {}
    return After(
        status="FAILED", error=details.get("error"), cause=details.get("cause"), variables=_variables(env)
    )


def _left(env: Environment) -> After:
    if isinstance(env.program_state(), ProgramStopped):
        return After(status="RETRIABLE", variables=_variables(env))
    history = env.event_manager.get_event_history()
    was_caught = any(event["type"] in {"TaskFailed", "TaskTimedOut"} for event in history)
    scheduled = [event["taskScheduledEventDetails"] for event in history if event["type"] == "TaskScheduled"]
    return After(
        status="CAUGHT_ERROR" if was_caught else "SUCCEEDED",
        next=None if isinstance(env.program_state(), ProgramEnded) else env.next_state_name,
        output=env.states.get_input(),
        variables=_variables(env),
        arguments=json.loads(scheduled[-1]["parameters"]) if scheduled and not was_caught else None,
    )
