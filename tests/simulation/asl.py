"""A workflow file, compiled: Amazon States Language with JSONata, as far as Step Functions documents it.

https://states-language.net/spec.html, https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html,
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.simulation.jsonata import Bindings, QueryError, Surroundings, expression, is_expression

WORKFLOW = Path(__file__).parents[2] / "statemachine" / "training_run.asl.json"

QUERY = "States.QueryEvaluationError"
TIMEOUT = "States.Timeout"
LIMIT = "States.DataLimitExceeded"
RUNTIME = "States.Runtime"
ALL, TASK_FAILED = "States.ALL", "States.TaskFailed"
# "can't be caught by the States.ALL error type"
_TERMINAL = frozenset({LIMIT, RUNTIME})
MOST_BYTES = 256 * 1024

Template = Callable[[Bindings, Surroundings], Any]


class StateError(Exception):
    """An error of a state, by its name and cause."""

    def __init__(self, error: str, cause: str = "", *, injected: bool = False) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause, self.injected = error, cause, injected

    @property
    def output(self) -> dict[str, str]:
        """`$states.errorOutput`."""
        return {"Error": self.error, "Cause": self.cause}


class WorkflowError(ValueError):
    """The workflow file uses what this interpreter does not know."""


@dataclass(frozen=True)
class Retrier:
    """One entry of Retry."""

    errors: tuple[str, ...]
    interval: float = 1.0
    most: int = 3
    rate: float = 2.0
    longest: float | None = None
    full_jitter: bool = False

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds before the `attempt`-th repetition, 1 for the first."""
        delay: float = self.interval * self.rate ** (attempt - 1)
        if self.longest is not None:
            delay = min(delay, self.longest)
        return delay * random() if self.full_jitter else delay


@dataclass(frozen=True)
class Catcher:
    """One entry of Catch."""

    errors: tuple[str, ...]
    following: str
    assign: Template | None
    output: Template | None


@dataclass(frozen=True)
class Rule:
    """One entry of Choices."""

    condition: Template
    following: str
    assign: Template | None
    output: Template | None


@dataclass(frozen=True)
class State:
    """One state. What a type does not have is None."""

    name: str
    type: str
    following: str | None = None
    is_end: bool = False
    service: str = ""  # of a Task: "lambda", "sagemaker", …
    operation: str = ""  # "invoke", "createTrainingJob"
    waits_for_token: bool = False
    arguments: Template | None = None
    assign: Template | None = None
    output: Template | None = None
    timeout: Template | None = None
    heartbeat: Template | None = None
    retriers: tuple[Retrier, ...] = ()
    catchers: tuple[Catcher, ...] = ()
    rules: tuple[Rule, ...] = ()
    default: str | None = None
    seconds: Template | None = None
    timestamp: Template | None = None
    error: Template | None = None
    cause: Template | None = None


@dataclass(frozen=True)
class Machine:
    """A compiled state machine."""

    start_at: str
    states: Mapping[str, State]
    timeout_seconds: float | None
    placeholders: frozenset[str] = field(default_factory=frozenset)


def matches(errors: Sequence[str], error: str) -> bool:
    """Whether an ErrorEquals with these names is for `error`."""
    if error in errors:
        return True
    if error in _TERMINAL:
        return False
    return ALL in errors or (TASK_FAILED in errors and error != TIMEOUT)


def size_of(value: Any) -> int:
    """Bytes of a payload."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass"))


def read_workflow(substitutions: Mapping[str, str], path: Path = WORKFLOW) -> Machine:
    """The workflow file with the names of a deployment filled in, as CloudFormation does."""
    return compile_text(path.read_text(encoding="utf-8"), substitutions)


def compile_text(text: str, substitutions: Mapping[str, str]) -> Machine:
    """A definition as text with `${Name}` in it, compiled."""
    return _read(text, tuple(sorted(substitutions.items())))


@cache
def _read(text: str, substitutions: tuple[tuple[str, str], ...]) -> Machine:
    names = dict(substitutions)
    filled = re.sub(r"\$\{([\w:]+)\}", lambda match: names.get(match[1], f"unknown-{match[1]}"), text)
    return compile_machine(json.loads(filled))


def compile_machine(definition: Mapping[str, Any]) -> Machine:
    """The machine of a definition. Raises WorkflowError for what is not JSONata or not known."""
    if definition.get("QueryLanguage") != "JSONata":
        raise WorkflowError("QueryLanguage must be JSONata")
    states = {name: _state(name, state) for name, state in definition["States"].items()}
    machine = Machine(definition["StartAt"], states, definition.get("TimeoutSeconds"))
    _check_targets(machine)
    return machine


def _check_targets(machine: Machine) -> None:
    for state in machine.states.values():
        targets = [state.following, state.default]
        targets += [other.following for other in (*state.catchers, *state.rules)]
        for target in targets:
            if target is not None and target not in machine.states:
                raise WorkflowError(f"{state.name}: there is no state {target!r}")
    if machine.start_at not in machine.states:
        raise WorkflowError(f"StartAt: there is no state {machine.start_at!r}")


_KNOWN = {
    "Task": {
        "Resource",
        "Arguments",
        "Retry",
        "Catch",
        "TimeoutSeconds",
        "HeartbeatSeconds",
        "Assign",
        "Output",
    },
    "Choice": {"Choices", "Default", "Assign", "Output"},
    "Wait": {"Seconds", "Timestamp", "Assign", "Output"},
    "Pass": {"Assign", "Output"},
    "Succeed": {"Output"},
    "Fail": {"Error", "Cause"},
}


def _state(name: str, given: Mapping[str, Any]) -> State:
    kind = given["Type"]
    if kind not in _KNOWN:
        raise WorkflowError(f"{name}: the interpreter does not know {kind} states")
    unknown = given.keys() - _KNOWN[kind] - {"Type", "Comment", "Next", "End", "QueryLanguage"}
    if unknown:
        raise WorkflowError(f"{name}: the interpreter does not know {sorted(unknown)} of a {kind} state")
    service, operation, waits = _resource(given["Resource"]) if kind == "Task" else ("", "", False)
    return State(
        name=name,
        type=kind,
        following=given.get("Next"),
        is_end=bool(given.get("End")),
        service=service,
        operation=operation,
        waits_for_token=waits,
        **{
            field_name: _optional(given, key)
            for field_name, key in (
                ("arguments", "Arguments"),
                ("assign", "Assign"),
                ("output", "Output"),
                ("timeout", "TimeoutSeconds"),
                ("heartbeat", "HeartbeatSeconds"),
                ("seconds", "Seconds"),
                ("timestamp", "Timestamp"),
                ("error", "Error"),
                ("cause", "Cause"),
            )
        },
        retriers=tuple(_retrier(name, each) for each in given.get("Retry", ())),
        catchers=tuple(
            Catcher(_errors(name, each), each["Next"], _optional(each, "Assign"), _optional(each, "Output"))
            for each in given.get("Catch", ())
        ),
        rules=tuple(
            Rule(
                template(each["Condition"]),
                each["Next"],
                _optional(each, "Assign"),
                _optional(each, "Output"),
            )
            for each in given.get("Choices", ())
        ),
        default=given.get("Default"),
    )


def _errors(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    errors = tuple(given["ErrorEquals"])
    if ALL in errors and len(errors) > 1:
        raise WorkflowError(f"{name}: {ALL} must stand alone in ErrorEquals")
    return errors


def _retrier(name: str, given: Mapping[str, Any]) -> Retrier:
    return Retrier(
        _errors(name, given),
        float(given.get("IntervalSeconds", 1)),
        int(given.get("MaxAttempts", 3)),
        float(given.get("BackoffRate", 2.0)),
        given.get("MaxDelaySeconds"),
        given.get("JitterStrategy", "NONE") == "FULL",
    )


def _resource(resource: str) -> tuple[str, str, bool]:
    parts = resource.removeprefix("arn:aws:states:::").split(":")
    operation, _, pattern = parts[-1].partition(".")
    service = parts[-2]
    if pattern not in {"", "waitForTaskToken"}:
        raise WorkflowError(f"{resource}: the interpreter does not know .{pattern}")
    return service, operation, bool(pattern)


def _optional(given: Mapping[str, Any], key: str) -> Template | None:
    return template(given[key]) if key in given else None


def template(value: Any) -> Template:
    """A value of the file that may hold expressions, as a function of the variables."""
    if is_expression(value):
        parsed = expression(value[2:-2])
        # Looked up at each call: a workflow is read once for all tests, and one of them records what is evaluated.
        return lambda bindings, around: parsed.evaluate(bindings, around)  # noqa: PLW0108
    if isinstance(value, dict):
        parts = {key: template(inner) for key, inner in value.items()}
        return lambda bindings, around: {key: part(bindings, around) for key, part in parts.items()}
    if isinstance(value, list):
        members = [template(inner) for inner in value]
        return lambda bindings, around: [member(bindings, around) for member in members]
    return lambda _bindings, _around: value


def evaluated(part: Template, bindings: Bindings, around: Surroundings) -> Any:
    """The value of a template. Raises StateError."""
    try:
        return part(bindings, around)
    except QueryError as error:
        raise StateError(QUERY, str(error)) from error
