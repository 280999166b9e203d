"""The golden cases of every state: both local interpreters come to what the file says; TestState is asked that."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import pytest
from moto.stepfunctions.parser.asl.component.state.exec.state_task import mock_eval_utils

from nightspot.selftest.states import (
    WORKFLOW_FILE,
    After,
    StateCase,
    answer,
    definition,
    differences,
    placeholders,
    question,
    read_cases,
    sample_names,
)
from tests.selftest import golden, in_moto

CASES = {case.name: case for case in read_cases()}
STATES = json.loads(WORKFLOW_FILE.read_text(encoding="utf-8"))["States"]


@pytest.mark.parametrize("name", CASES)
def test_the_local_interpreter_comes_to_what_the_file_says(name):
    case = CASES[name]
    is_task = STATES[case.state]["Type"] == "Task"

    assert differences(case.then, golden.carried_out(case), is_task=is_task) == []


@cache
def moto_s_program():
    return in_moto.parsed(definition(sample_names(golden.REGION, golden.ACCOUNT)))


def in_moto_s_interpreter(case):
    with in_moto.moto_s_interpreter():
        return in_moto.carried_out(moto_s_program(), case)


@pytest.mark.parametrize("name", CASES)
def test_moto_s_interpreter_comes_to_what_the_file_says(name):
    """A second one, which nobody here wrote: LocalStack's, in moto."""
    case = CASES[name]
    is_task = STATES[case.state]["Type"] == "Task"

    got, waited_seconds = in_moto_s_interpreter(case)

    assert differences(case.then, got, is_task=is_task) == []
    assert waited_seconds == case.waits_seconds


def test_moto_s_interpreter_is_not_told_the_answer():
    """Else the comparison would compare nothing."""
    changed = definition(sample_names(golden.REGION, golden.ACCOUNT))
    changed["States"]["Plan the run"]["Catch"][0]["Next"] = "Record the crash"
    changed["States"]["Decide the next step"]["Assign"]["misses"] = 1
    changed["States"]["Decide the next step"]["Retry"][0]["MaxAttempts"] = 7
    changed["States"]["Sound the alarm"]["Arguments"]["Entries"][0]["Source"] = "nightspot2"
    changed["States"]["The decision crashed"]["Cause"] = "{% $crash.Error %}"
    program = in_moto.parsed(changed)

    def found(name):
        with in_moto.moto_s_interpreter():
            got, _ = in_moto.carried_out(program, CASES[name])
        return differences(CASES[name].then, got, is_task=True)

    assert found("Plan the run: an input that is refused") == ["next"]
    assert found("Decide the next step: it answers") == ["variables"]
    assert found("Decide the next step: Lambda.Unknown again and again")[0] == "status"
    assert found("Sound the alarm: it works") == ["arguments"]
    assert found("The decision crashed: a cause of 21 characters") == ["cause"]


# Where moto is wrong by AWS's documentation. Each fails when moto has learnt it: then in_moto.py can lose its
# patch, or the case can move into state_cases.json.


@pytest.mark.parametrize("error", ["States.Runtime", "States.DataLimitExceeded"])
def test_moto_s_states_all_catches_what_only_ends_an_execution(error):
    """On AWS it cannot: docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html."""
    case = StateCase(
        name="an error of Step Functions' own",
        state="Record the crash",
        variables=golden.VARIABLES,
        error={"Error": error, "Cause": "why"},
        then=After(status="FAILED", error=error, cause="why", variables=golden.VARIABLES),
    )

    got, _ = in_moto_s_interpreter(case)

    assert differences(case.then, golden.carried_out(case), is_task=True) == []
    assert differences(case.then, got, is_task=True)[:2] == ["status", "next"]


def test_moto_s_own_mocked_responses_throw_no_time_out():
    """TestState's mock can; so in_moto.py throws errors by itself."""
    case = CASES["Wait for news: States.Timeout"]
    own = mock_eval_utils._eval_mocked_response_throw

    with in_moto.moto_s_interpreter(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(mock_eval_utils, "_eval_mocked_response_throw", own)
        got, _ = in_moto.carried_out(moto_s_program(), case)

    assert got.output["Error"] == "States.Runtime"


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
