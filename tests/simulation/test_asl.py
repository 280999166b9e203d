"""The interpreter of the workflow: what Step Functions documents, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from tests.simulation import asl
from tests.simulation.asl import StateError, WorkflowError, compile_machine, matches, read_workflow
from tests.simulation.clock import Clock
from tests.simulation.execution import MOST_EVENTS, Execution, Visit
from tests.simulation.jsonata import Surroundings


@dataclass
class Services:
    """Tasks as a test wants them."""

    clock: Clock
    do: Callable[[Any], Any] = lambda arguments: arguments
    asked: list[tuple[float, Any]] = field(default_factory=list)
    tokens: dict[str, Visit] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def perform(self, execution: Execution, visit: Visit, arguments: Any) -> Any:
        self.asked.append((self.clock.now, arguments))
        return self.do(arguments)

    def token(self, visit: Visit) -> str:
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = visit
        return token

    def stalled_until(self) -> float:
        return 0.0

    def on_state(self, execution: Execution, state: asl.State) -> None:
        pass

    def on_error(self, execution: Execution, state: asl.State, error: StateError, then: str) -> None:
        self.errors.append(error.error)

    def on_end(self, execution: Execution) -> None:
        pass


LAMBDA = "arn:aws:states:::lambda:invoke"
TOKEN = "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken"


def played(
    states: dict[str, Any],
    do: Callable[[Any], Any] = lambda arguments: arguments,
    *,
    given: Any = None,
    until: float = 1e6,
    random: float = 1.0,
    timeout: int | None = None,
    meanwhile: Callable[[Clock, Services], None] = lambda _clock, _services: None,
) -> tuple[Execution, Services]:
    clock = Clock()
    services = Services(clock, do)
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
    if timeout is not None:
        definition["TimeoutSeconds"] = timeout
    around = Surroundings(clock.moment, lambda: UUID(int=1), lambda: random)
    arn = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
    execution = Execution(compile_machine(definition), arn, given or {}, clock, services, around)
    execution.start()
    meanwhile(clock, services)
    clock.run(until)
    return execution, services


def failing(*errors: str, then: Any = "done") -> Callable[[Any], Any]:
    left = list(errors)

    def do(_arguments: Any) -> Any:
        if left:
            raise StateError(left.pop(0), "why")
        return then

    return do


def test_the_real_file_compiles() -> None:
    machine = read_workflow({})
    assert machine.states["Wait for news"].waits_for_token
    assert "Plan the run" in machine.states


def test_all_expressions_of_an_assign_see_the_old_values() -> None:
    states = {
        "A": {"Type": "Pass", "Assign": {"x": 1, "y": 2}, "Next": "B"},
        "B": {
            "Type": "Pass",
            "Assign": {"x": "{% $y %}", "y": "{% $x %}"},
            "Output": "{% $x %}",
            "Next": "C",
        },
        "C": {"Type": "Succeed", "Output": "{% [$x, $y, $states.input] %}"},
    }
    assert played(states)[0].output == [2, 1, 1]


@pytest.mark.parametrize(
    ("names", "error", "does"),
    [
        (["States.ALL"], "Anything", True),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL"], "States.QueryEvaluationError", True),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.ALL"], "States.Runtime", False),
        (["States.DataLimitExceeded"], "States.DataLimitExceeded", True),
        (["States.TaskFailed"], "Lambda.Unknown", True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["Lambda.Unknown"], "Lambda.ServiceException", False),
    ],
)
def test_which_errors_a_name_matches(names: list[str], error: str, does: bool) -> None:
    assert matches(names, error) is does


def test_states_all_stands_alone() -> None:
    with pytest.raises(WorkflowError, match="alone"):
        compile_machine(
            {
                "QueryLanguage": "JSONata",
                "StartAt": "A",
                "States": {
                    "A": {
                        "Type": "Task",
                        "Resource": LAMBDA,
                        "Retry": [{"ErrorEquals": ["A", "States.ALL"]}],
                        "End": True,
                    }
                },
            }
        )


def _retrying(**retry: Any) -> dict[str, Any]:
    return {
        "A": {
            "Type": "Task",
            "Resource": LAMBDA,
            "Retry": [{"ErrorEquals": ["E"], **retry}],
            "Catch": [
                {
                    "ErrorEquals": ["States.ALL"],
                    "Next": "Caught",
                    "Assign": {"e": "{% $states.errorOutput %}"},
                }
            ],
            "End": True,
        },
        "Caught": {"Type": "Succeed", "Output": "{% $e.Error & ' ' & $e.Cause %}"},
    }


def test_a_retry_waits_longer_each_time_up_to_its_most() -> None:
    states = _retrying(IntervalSeconds=2, BackoffRate=3, MaxAttempts=4, MaxDelaySeconds=10)
    execution, services = played(states, failing("E", "E", "E", "E"))
    times = [round(at, 2) for at, _ in services.asked]
    assert [round(b - a) for a, b in pairwise(times)] == [2, 6, 10, 10]
    assert execution.output == "done"


def test_full_jitter_is_drawn() -> None:
    states = _retrying(IntervalSeconds=10, BackoffRate=1, JitterStrategy="FULL")
    _, services = played(states, failing("E"), random=0.25)
    assert services.asked[1][0] - services.asked[0][0] == pytest.approx(2.5)


@pytest.mark.parametrize(("most", "tries"), [(0, 1), (1, 2), (3, 4)])
def test_after_the_last_retry_comes_the_catch(most: int, tries: int) -> None:
    execution, services = played(_retrying(MaxAttempts=most), failing(*["E"] * 9))
    assert (len(services.asked), execution.output) == (tries, "E why")


def test_each_repetition_is_a_transition() -> None:
    execution, _ = played(_retrying(MaxAttempts=3), failing("E", "E"))
    assert execution.transitions == 3


def test_a_task_that_takes_too_long_has_timed_out() -> None:
    states = {
        "A": {
            "Type": "Task",
            "Resource": TOKEN,
            "Arguments": {"token": "{% $states.context.Task.Token %}"},
            "TimeoutSeconds": "{% 30 + 30 %}",
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}],
            "Next": "In time",
        },
        "Late": {"Type": "Succeed", "Output": "late"},
        "In time": {"Type": "Succeed", "Output": "{% $states.input %}"},
    }
    late, services = played(states)
    assert (late.output, round(late.ended_at)) == ("late", 60)
    assert services.asked[0][1] == {"token": "token-0"}

    def answer(clock: Clock, services: Services) -> None:
        def succeed() -> None:
            visit = services.tokens["token-0"]
            assert visit.execution is not None
            visit.execution.succeed(visit, {"news": 1})

        clock.at(59.0, succeed)
        clock.at(59.5, succeed)  # a token is valid once

    in_time, _ = played(states, meanwhile=answer)
    assert in_time.output == {"news": 1}


@pytest.mark.parametrize("seconds", ["{% 0 %}", "{% 1.5 %}", "{% 'ten' %}", "{% $states.input.nothing %}"])
def test_a_time_limit_must_be_a_whole_number(seconds: str) -> None:
    states = {"A": {"Type": "Task", "Resource": LAMBDA, "TimeoutSeconds": seconds, "End": True}}
    assert played(states)[0].error == asl.QUERY


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"Type": "Pass", "Output": "{% $nothing %}", "End": True}, asl.QUERY),
        ({"Type": "Pass", "Output": "{% 'x' * 200000 %}", "End": True}, asl.QUERY),
        ({"Type": "Pass", "Output": "{% $pad('x', 300000) %}", "End": True}, asl.LIMIT),
        (
            {
                "Type": "Pass",
                "Assign": {"a": "{% $pad('x', 150000) %}", "b": "{% $pad('x', 150000) %}"},
                "End": True,
            },
            asl.LIMIT,
        ),
        ({"Type": "Wait", "Seconds": "{% 1.5 %}", "End": True}, asl.QUERY),
        ({"Type": "Choice", "Choices": [{"Condition": "{% 1 %}", "Next": "A"}]}, asl.QUERY),
        (
            {"Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "A"}]},
            "States.NoChoiceMatched",
        ),
        ({"Type": "Fail", "Error": "{% 'Own.' & 'Error' %}", "Cause": "why"}, "Own.Error"),
    ],
)
def test_how_an_execution_fails(state: dict[str, Any], error: str) -> None:
    execution, _ = played({"A": state})
    assert (execution.status, execution.error) == ("FAILED", error)


@pytest.mark.parametrize(("answer", "status"), [("x" * 262_000, "SUCCEEDED"), ("x" * 262_200, "FAILED")])
def test_a_result_has_at_most_256_kib(answer: str, status: str) -> None:
    states = {
        "A": {
            "Type": "Task",
            "Resource": LAMBDA,
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}],
            "Output": "",
            "Next": "B",
        },
        "B": {"Type": "Succeed"},
    }
    assert played(states, lambda _arguments: answer)[0].status == status


def test_a_fault_of_the_output_is_caught_like_one_of_the_task() -> None:
    states = {
        "A": {
            "Type": "Task",
            "Resource": LAMBDA,
            "Output": "{% $states.result.missing %}",
            "Catch": [{"ErrorEquals": [asl.QUERY], "Next": "B", "Output": "{% $states.errorOutput.Error %}"}],
            "End": True,
        },
        "B": {"Type": "Succeed"},
    }
    assert played(states, lambda _arguments: {})[0].output == asl.QUERY


def test_an_execution_has_a_time_limit_and_a_most_of_events() -> None:
    forever = {"A": {"Type": "Wait", "Seconds": 60, "Next": "A"}}
    assert played(forever, timeout=600)[0].status == "TIMED_OUT"
    busy, _ = played({"A": {"Type": "Pass", "Next": "A"}})
    assert (busy.status, busy.error) == ("FAILED", asl.RUNTIME)
    assert MOST_EVENTS <= busy.events <= MOST_EVENTS + 1


def test_waiting_until_a_time_of_day() -> None:
    states = {"A": {"Type": "Wait", "Timestamp": "2026-11-21T01:00:00Z", "End": True}}
    assert round(played(states)[0].ended_at) == 3600


def test_what_a_state_sees_of_its_execution() -> None:
    states = {
        "A": {
            "Type": "Pass",
            "Output": "{% $states.context.($.Execution.Name & ' ' & $.Execution.StartTime & ' ' & $.State.Name) %}",
            "End": True,
        }
    }
    assert played(states)[0].output == "one 2026-11-21T00:00:00.000Z A"


@pytest.mark.parametrize(
    "state",
    [
        {"Type": "Parallel", "Branches": [], "End": True},
        {"Type": "Pass", "ResultPath": "$.a", "End": True},
        {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync", "End": True},
        {"Type": "Pass", "Next": "Nowhere"},
    ],
)
def test_what_the_interpreter_does_not_know_is_said(state: dict[str, Any]) -> None:
    with pytest.raises(WorkflowError):
        compile_machine({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}})
