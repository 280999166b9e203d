"""The golden cases of every state: the local interpreter comes to what the file says; TestState is asked that."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from nightspot.selftest.states import (
    WORKFLOW_FILE,
    After,
    answer,
    definition,
    differences,
    placeholders,
    question,
    read_cases,
    sample_names,
)
from tests.selftest import golden

CASES = {case.name: case for case in read_cases()}
STATES = json.loads(WORKFLOW_FILE.read_text(encoding="utf-8"))["States"]


@pytest.mark.parametrize("name", CASES)
def test_the_local_interpreter_comes_to_what_the_file_says(name):
    case = CASES[name]
    is_task = STATES[case.state]["Type"] == "Task"

    assert differences(case.then, golden.carried_out(case), is_task=is_task) == []


def test_the_file_is_that_of_today_s_workflow():
    assert [case.name for case in golden.cases()] == list(CASES), "run: python -m tests.selftest.golden"


def test_every_way_out_of_every_state_has_a_case():
    taken = {(case.state, case.then.next) for case in CASES.values()}
    ways = {
        (name, way)
        for name, state in STATES.items()
        for way in (
            state.get("Next"),
            state.get("Default"),
            *(each["Next"] for each in (*state.get("Catch", ()), *state.get("Choices", ()))),
        )
        if way is not None
    }

    assert ways - taken == set()
    assert {case.state for case in CASES.values()} == STATES.keys()
    assert Counter(case.then.status for case in CASES.values()).keys() == {
        "SUCCEEDED",
        "CAUGHT_ERROR",
        "FAILED",
        "RETRIABLE",
    }


def test_a_workflow_that_has_changed_differs_from_its_cases(monkeypatch):
    """Else the comparison would compare nothing."""
    changed = definition(sample_names(golden.REGION, golden.ACCOUNT))
    changed["States"]["Plan the run"]["Catch"][0]["Next"] = "Record the crash"
    changed["States"]["Decide the next step"]["Assign"]["misses"] = 1
    changed["States"]["Sound the alarm"]["Arguments"]["Entries"][0]["Source"] = "nightspot2"
    monkeypatch.setattr(golden, "MACHINE", golden.asl.compile_machine(changed))

    def found(name):
        return differences(CASES[name].then, golden.carried_out(CASES[name]), is_task=True)

    assert found("Plan the run: an input that is refused") == ["next"]
    assert found("Decide the next step: it answers") == ["variables"]
    assert found("Sound the alarm: it works") == ["arguments"]


def test_teststate_is_asked_with_the_state_its_variables_and_a_mock():
    workflow = definition(sample_names("eu-west-1", "123456789012"))
    asked = question(CASES["Plan the run: Lambda.Unknown again and again"], workflow, golden.ARN, "arn:role")
    answered = question(CASES["Record the crash: it works"], workflow, golden.ARN, "arn:role")
    passed = question(CASES["Which step?: the action start"], workflow, golden.ARN, "arn:role")

    assert asked["stateName"] == "Plan the run"
    assert asked["mock"]["errorOutput"] == {"error": "Lambda.Unknown", "cause": golden.QUOTED}
    assert asked["stateConfiguration"] == {"retrierRetryCount": 6}
    assert json.loads(asked["variables"])["most_misses"] == 72
    assert "mock" not in passed
    assert answered["mock"]["result"] == "{}"


def test_teststate_s_answer_is_read_as_the_file_has_it():
    said = {
        "status": "SUCCEEDED",
        "nextState": "Wait",
        "output": '{"a": 1}',
        "inspectionData": {"variables": '{"misses": 0}', "afterArguments": '{":now": "2026", "x": 2.0}'},
    }

    got = answer(said)

    assert got == After(
        status="SUCCEEDED",
        next="Wait",
        output={"a": 1},
        variables={"misses": 0},
        arguments={":now": "2026", "x": 2},
    )
    later = got.model_copy(update={"arguments": {":now": "2027", "x": 2}})
    assert differences(got, later, is_task=True) == []
    assert differences(got, later.model_copy(update={"next": "Else"}), is_task=True) == ["next"]


def test_every_placeholder_of_the_workflow_has_a_sample():
    assert placeholders() == sample_names("eu-west-1", "123456789012").keys()
    assert "${" not in json.dumps(definition(sample_names("eu-west-1", "123456789012")))
