"""Every expression of every workflow has one value: of JSONata's reference implementation and of both of ours.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html: Step Functions has JSONata 2.0.6, so
package.json has it. Ours are the evaluator of the local run and the short ways of the simulation.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nightspot.local.stage.engine import UndefinedResultError, evaluate
from tests.simulation.families import scenario_of
from tests.simulation.jsonata import Expression, QueryError, Surroundings
from tests.simulation.playing import played
from tests.simulation.world import SUBSTITUTIONS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "statemachine").glob("*.asl.json"))
NODE = ROOT / ".venv" / "node" / "node"
SCRIPT = Path(__file__).parent / "scripts" / "evaluate.mjs"
AWS_VERSION = "2.0.6"

# What breaks naive quoting, escaping and cutting: quotes, controls, and characters outside of JavaScript's 16 bits.
NASTY = 'He said "no"\\n\n\t{% $x %} ${Name} ünï — 機械 \u2028 😀'
LONG = NASTY * 200  # more than the workflow keeps of a cause
ATTEMPTS = [
    {"state": "ended", "training_job_name": "nightspot-one-1"},
    {"state": "waiting", "training_job_name": "nightspot-one-2"},
    {"state": "training", "training_job_name": "nightspot-one-3"},
]
CRASH = {"Error": NASTY, "Cause": LONG}
STATES = {"context": {"Execution": {"Id": "arn:aws:states:eu-west-1:123456789012:execution:a:b"}}}
AROUND = Surroundings(lambda: datetime(2026, 11, 21, 2, 30, tzinfo=UTC), lambda: UUID(int=7), lambda: 0.25)
SHAPED = re.compile(r"\$(millis|now)\(")

# Runs (family, seed) whose variables are asked about: good ones, bad ones, and one that fails to decide at first.
RUNS = (
    ("none", 1),
    ("kill", 6),
    ("failures", 1),
    ("stops refused", 1),
    ("person stops", 1),
    ("odd refusals", 1),
)

Question = tuple[str, dict[str, Any]]

# What no run of the simulation brings. Each expression is asked about each.
RARE: dict[str, dict[str, Any]] = {
    "nothing of anything": {},
    "an unknown action": {"step": {"action": "dance"}},
    "an action that is null": {"step": {"action": None}},
    "an outcome without a model": {"outcome": {"outcome": "failed", "because": LONG}},
    "an error of a handler": {
        "crash": {"Error": "InvalidInputError", "Cause": json.dumps({"errorMessage": LONG, "n": None})}
    },
    "a cause that is no JSON": {
        "crash": {"Error": "Sandbox.Timedout", "Cause": "Task timed out after 60.00 s"}
    },
    "a cause that is null": {"crash": {"Error": "RuntimeError", "Cause": None}},
    "an error without a cause": {"crash": {"Error": "RuntimeError"}},
    "a cause of 5,000 characters": {"crash": {"Error": "RuntimeError", "Cause": "x" * 5000}},
    "a fault of a start": {"states": {"result": {"Payload": {"training_job_arn": None, "fault": CRASH}}}},
    "a training job": {"states": {"result": {"Payload": {"training_job_arn": "arn", "fault": None}}}},
    "an empty answer of a start": {"states": {"result": {"Payload": {}}}},
    "a start that crashed": {"states": {"errorOutput": CRASH}},
    "a start that timed out": {"states": {"errorOutput": {"Error": "States.Timeout"}}},
    "a fault for the decision": {"fault": CRASH},
    "a cause of emoji": {"crash": {"Error": "RuntimeError", "Cause": "😀" * 2500}},
    **{
        f"a crash with {len(attempts)} attempts": {
            "run": {"job": "a", "run_id": "b", "attempts": attempts},
            "crash": CRASH,
            "states": STATES,
        }
        for attempts in ([], ATTEMPTS[:1], ATTEMPTS[:2], ATTEMPTS)
    },
}


def expressions_of(value: Any) -> Iterator[str]:
    """Every JSONata expression at any depth of `value`, bare."""
    if isinstance(value, str):
        yield from (found.strip() for found in re.findall(r"^\{%(.*)%\}$", value, re.DOTALL))
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from expressions_of(inner)


@pytest.fixture(scope="module")
def workflows() -> list[dict[str, Any]]:
    """The workflow files, with the names that the deployment fills in."""
    texts = [path.read_text("utf-8") for path in WORKFLOWS]
    return [json.loads(re.sub(r"\$\{(\w+)\}", lambda name: SUBSTITUTIONS[name[1]], text)) for text in texts]


@pytest.fixture(scope="module")
def written(workflows) -> set[str]:
    """Their expressions."""
    return set(expressions_of(workflows))


@pytest.fixture(scope="module")
def nothing(workflows) -> dict[str, Any]:
    """All variables, as empty as they can be."""
    assigned = [workflow["States"][workflow["StartAt"]]["Assign"] for workflow in workflows]
    empty = {
        name: {} if isinstance(value, dict) else value for given in assigned for name, value in given.items()
    }
    return {**empty, "states": {"context": {}}}


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    """What runs of the simulation evaluate, and with which variables."""
    questions: dict[str, Question] = {}
    ask = Expression.evaluate

    def recording(self: Expression, bindings: Any, around: Surroundings) -> Any:
        read = {name: value for name, value in bindings.items() if name in self.variables}
        text = json.dumps(read, default=str, sort_keys=True)
        questions[f"{self.text} {text}"] = (self.text, json.loads(text))
        return ask(self, bindings, around)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Expression, "evaluate", recording)
        for kind, seed in RUNS:
            played(scenario_of(seed, kind))
    return list(questions.values())


def by_the_local_run(expression: str, bindings: dict[str, Any]) -> dict[str, Any]:
    """What the local run makes of it, as the script answers."""
    try:
        return {"value": evaluate(expression, bindings)}
    except UndefinedResultError:
        return {"nothing": True}
    except Exception:  # every fault of an expression is the same error to a state machine
        return {"failed": True}


def by_the_simulation(expression: str, bindings: dict[str, Any]) -> dict[str, Any]:
    """The same of the simulation, which tells no fault from nothing: both fail the state."""
    try:
        return {"value": Expression(expression).evaluate(bindings, AROUND)}
    except QueryError:
        return {"without": "a value"}


def by_the_reference(questions: list[Question]) -> list[dict[str, Any]]:
    """What the reference makes of them."""
    asked = json.dumps([{"expression": text, "bindings": bindings} for text, bindings in questions])
    done = subprocess.run([NODE, SCRIPT], input=asked, capture_output=True, text=True, check=True)
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def comparable(expression: str, answer: dict[str, Any]) -> dict[str, Any]:
    """`answer`; only its shape where the expression reads the clock, and the document where it is JSON text."""
    value = answer.get("value")
    if isinstance(value, str) and SHAPED.search(expression):
        return {"shape": re.sub(r"[0-9]", "0", value)}
    if isinstance(value, str) and expression.startswith(("$string({", "$string($states.errorOutput")):
        # jsonata-python escapes what is not ASCII, the reference does not: the same document.
        return {"document": json.loads(value)}
    return answer


def test_the_reference_has_the_version_of_step_functions():
    assert json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]["jsonata"] == AWS_VERSION
    installed = json.loads((ROOT / "node_modules" / "jsonata" / "package.json").read_text("utf-8"))
    assert installed["version"] == AWS_VERSION


def test_runs_ask_for_most_expressions_and_for_none_that_is_not_in_the_file(asked, written):
    met = {text for text, _ in asked}
    assert met <= written
    assert len(met) > len(written) / 2


def test_every_expression_means_the_same_to_the_reference(asked, written, nothing):
    rare = [(text, {**nothing, **bindings}) for text in sorted(written) for bindings in RARE.values()]
    questions = [*asked, *rare]
    told = by_the_reference(questions)
    differing = [
        (text, bindings, here, there)
        for (text, bindings), there in zip(questions, told, strict=True)
        for here in (by_the_local_run(text, bindings), by_the_simulation(text, bindings))
        if comparable(text, here)
        != comparable(text, there if "value" in there or "without" not in here else {"without": "a value"})
    ]
    assert differing == []
    # Every expression has had an input that it has a value for.
    assert {text for (text, _), there in zip(questions, told, strict=True) if "value" in there} == written
    assert len(questions) > 15 * len(written)
