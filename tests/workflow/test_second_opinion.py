"""The evaluator of the local run and the reference JSONata agree on every expression of every workflow."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightspot.local.sagemaker.markets import Markets, SimulatedMarket
from nightspot.local.sagemaker.request_rules import THROTTLED, ServiceFault
from nightspot.local.stage import engine
from nightspot.local.stage.engine import UndefinedResultError, evaluate
from nightspot.local.stage.night_files import Night

pytestmark = [pytest.mark.workflow, pytest.mark.long]

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "statemachine").glob("*.asl.json"))
NODE = ROOT / ".venv" / "node" / "node"
SCRIPT = Path(__file__).parent / "scripts" / "evaluate.mjs"

# What breaks naive quoting, escaping and cutting: quotes, controls, and characters outside of JavaScript's 16 bits.
NASTY = 'He said "no"\\n\n\t{% $x %} ${Name} ünï — 機械 \u2028 😀'
LONG = NASTY * 200  # more than the workflow keeps of a cause
ATTEMPTS = [
    {"state": "ended", "training_job_name": "nightspot-one-1"},
    {"state": "waiting", "training_job_name": "nightspot-one-2"},
    {"state": "training", "training_job_name": "nightspot-one-3"},
]
CRASH = {"Error": "RuntimeError", "Cause": LONG}
STATES = {"context": {"Execution": {"Id": "arn:aws:states:eu-west-1:123456789012:execution:a:b"}}}

Question = tuple[str, dict[str, Any]]

# No night of the test comes here, or not with such words.
RARE: tuple[dict[str, Any], ...] = (
    {"step": {"action": "dance"}},
    {"step": {"action": None}},
    {"step": {}},
    {"outcome": {"outcome": "failed", "because": LONG}},
    {"fault": CRASH},
    {"states": {"errorOutput": CRASH}},
    {"states": {"errorOutput": {"Error": "States.Timeout"}}},
    {"states": {"result": {"Payload": {"training_job_arn": "arn", "fault": None}}}},
    {"states": {"result": {"Payload": {"training_job_arn": None, "fault": CRASH}}}},
    {"states": {"result": {"Payload": {}}}},
    {"crash": {"Error": "InvalidInputError", "Cause": json.dumps({"errorMessage": LONG, "n": None})}},
    {"crash": {"Error": "Sandbox.Timedout", "Cause": "Task timed out after 60.00 seconds"}},
    *(
        {"run": {"job": "a", "run_id": "b", "attempts": attempts}, "crash": CRASH, "states": STATES}
        for attempts in ([], ATTEMPTS[:1], ATTEMPTS[:2], ATTEMPTS)
    ),
)
NOTHING = {"run": {}, "step": {}, "fault": None, "outcome": {}, "crash": {}, "states": {"context": {}}}


def expressions_of(value: Any) -> Iterator[str]:
    """Every JSONata expression at any depth of `value`, bare."""
    if isinstance(value, str):
        yield from (found.strip() for found in re.findall(r"^\{%(.*)%\}$", value, re.DOTALL))
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from expressions_of(inner)


def ours(expression: str, bindings: dict[str, Any]) -> dict[str, Any]:
    """What the local run makes of it, as the script answers."""
    try:
        return {"value": evaluate(expression, bindings)}
    except UndefinedResultError:
        return {"nothing": True}
    except Exception:  # every fault of an expression is the same error to a state machine
        return {"failed": True}


def references(questions: list[Question]) -> list[dict[str, Any]]:
    """What the reference makes of them."""
    asked = json.dumps([{"expression": text, "bindings": bindings} for text, bindings in questions])
    done = subprocess.run([NODE, SCRIPT], input=asked, capture_output=True, text=True, check=True)
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def comparable(expression: str, answer: dict[str, Any]) -> dict[str, Any]:
    """`answer`; only its shape where the expression reads the clock, and the document where it is JSON text."""
    value = answer.get("value")
    if isinstance(value, str) and re.search(r"\$(millis|now)\(", expression):
        return {"shape": re.sub(r"[0-9]", "0", value)}
    if isinstance(value, str) and expression.startswith(("$string({", "$string($states.errorOutput")):
        # jsonata-python escapes what is not ASCII, the reference does not: the same document.
        return {"document": json.loads(value)}
    return answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """Every expression that a night evaluates, with its inputs, as they come."""
    questions: list[Question] = []

    def recording(expression: str, bindings: dict[str, Any]) -> Any:
        questions.append((expression.strip(), json.loads(json.dumps(bindings))))
        return evaluate(expression, bindings)

    monkeypatch.setattr(engine, "evaluate", recording)
    return questions


def crash_at_the_second_decision(name, handler):
    """Again and again, until the workflow gives up, which it may after one round of retries here."""

    def call(event):
        if name == "DecideNextStep" and event["run"]["steps"] >= 1:
            raise RuntimeError(NASTY)
        answer = handler(event)
        return {**answer, "most_misses": 1} if name == "PlanRun" else answer

    return call


def die_at_the_first_start(name, handler):
    """Before SageMaker was asked."""
    left = [RuntimeError(NASTY)]

    def call(event):
        if name == "StartTrainingJob" and left:
            raise left.pop()
        return handler(event)

    return call


def test_every_expression_means_the_same_to_the_reference_jsonata(play, asked):
    short = {
        "work": "5m",
        "checkpoint_every": "5m",
        "hyperparameters": {"steps": "1", "every": "1"},
        "stopping": {"MaxRuntimeInSeconds": 600},
    }
    refused = ServiceFault("ValidationException", NASTY, 400)
    ends = [
        play(Night("throttled, then quiet", "", create_faults=(THROTTLED,)), **short).error,
        play(wrap=die_at_the_first_start, **short).error,
        play(Night("refused", "", create_faults=(refused, refused)), **short).error,
        play(
            Night("no Spot", "", Markets(default_spot=SimulatedMarket.never())),
            **short,
            deadline={"within": "1h"},
            fallback="never",
            capacity={"spot": ["ml.g5.xlarge"]},
        ).error,
        play(wrap=crash_at_the_second_decision, **short).error,
        play(run_input={"job": NASTY}, **short).error,
    ]
    assert ends == [
        None,
        None,
        "Nightspot.failed",
        "Nightspot.skipped",
        "Nightspot.DecisionCrashed",
        "Nightspot.InvalidInput",
    ]

    # One expression has a name in it that the deployment fills in.
    files = [path.read_text("utf-8").replace("${Environment}", "local") for path in WORKFLOWS]
    written = {text for file in files for text in expressions_of(json.loads(file))}
    met = {text for text, _ in asked}
    assert met <= written
    # Only a decision that is newer than its workflow asks for an unknown step.
    assert {text for text in written - met if "does not know" not in text} == set()

    distinct = {json.dumps(question, sort_keys=True): question for question in asked}
    questions = [
        *distinct.values(),
        *((text, {**NOTHING, **bindings}) for text in sorted(written) for bindings in RARE),
    ]
    told = references(questions)
    differing = [
        (text, bindings, here, there)
        for (text, bindings), there in zip(questions, told, strict=True)
        if comparable(text, here := ours(text, bindings)) != comparable(text, there)
    ]
    assert differing == []
    # Every expression has had an input that it has a value for.
    valued = {text for (text, _), there in zip(questions, told, strict=True) if "value" in there}
    assert valued == written
