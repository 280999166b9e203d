"""The workflow file keeps its promises: nothing fails unseen, nothing is read unset, nothing is unreachable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonata import Jsonata

from nightspot.failures.classify import Fault, of_start
from nightspot.failures.codes import START_UNANSWERED, FailureClass
from nightspot.local.stage.engine import evaluate as evaluate_jsonata

WORKFLOW = Path(__file__).parents[1] / "statemachine" / "training_run.asl.json"
DEFINITION = json.loads(WORKFLOW.read_text(encoding="utf-8"))
STATES: dict[str, Any] = DEFINITION["States"]
FIRST = DEFINITION["StartAt"]

LAMBDA = "arn:aws:states:::lambda:invoke"
# Step Functions' own, beside JSONata's.
# https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
RESERVED = {*Jsonata.static_frame.bindings, "states", "partition", "range", "hash", "uuid", "parse"}

TASKS = sorted(name for name, state in STATES.items() if state["Type"] == "Task")
LAMBDA_TASKS = [name for name in TASKS if STATES[name]["Resource"] == LAMBDA]
START = "Start the training job"
REPEATED = [name for name in LAMBDA_TASKS if name != START]


def next_states(state: dict[str, Any]) -> list[str]:
    """Every state to which `state` may lead."""
    branches = [*state.get("Choices", ()), *state.get("Catch", ())]
    names = [branch["Next"] for branch in branches]
    return names + [state[key] for key in ("Next", "Default") if key in state]


def expressions(value: Any) -> Iterator[str]:
    """Every JSONata expression at any depth of `value`."""
    if isinstance(value, str):
        yield from re.findall(r"^\{%(.*)%\}$", value, re.DOTALL)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def variables_of(expression: str) -> set[str]:
    """The names with `$` in an expression, without functions."""
    text = re.sub(r"'[^']*'", "''", expression)
    return set(re.findall(r"\$([A-Za-z_]\w*)\b(?!\s*\()", text)) - {"states"}


def assigned(state: dict[str, Any]) -> set[str]:
    """The variables that `state` may assign, its catchers included."""
    blocks = [state, *state.get("Catch", ()), *state.get("Choices", ())]
    return {name for block in blocks for name in block.get("Assign", {})}


def assigned_anywhere() -> set[str]:
    return set().union(*map(assigned, STATES.values()))


def test_the_definition_is_jsonata_throughout():
    assert DEFINITION["QueryLanguage"] == "JSONata"
    assert not [name for name, state in STATES.items() if "QueryLanguage" in state]
    assert not re.search(r'"[^"]+\.\$":', WORKFLOW.read_text(encoding="utf-8"))


def test_every_state_that_is_named_exists():
    named = {FIRST}.union(*(next_states(state) for state in STATES.values()))
    assert named - STATES.keys() == set()


def test_every_state_can_be_reached():
    reached, frontier = set(), [FIRST]
    while frontier:
        name = frontier.pop()
        if name not in reached:
            reached.add(name)
            frontier.extend(next_states(STATES[name]))
    assert STATES.keys() - reached == set()


def test_every_state_can_come_to_an_end():
    ends = {name for name, state in STATES.items() if state["Type"] in {"Succeed", "Fail"}}
    assert ends
    while more := {name for name, state in STATES.items() if ends & set(next_states(state))} - ends:
        ends |= more
    assert STATES.keys() - ends == set()


@pytest.mark.parametrize("name", [name for name, state in STATES.items() if state["Type"] == "Choice"])
def test_a_choice_always_has_a_way_on(name):
    assert "Default" in STATES[name]


@pytest.mark.parametrize("name", TASKS)
def test_no_task_fails_unseen(name):
    catchers = STATES[name]["Catch"]
    assert catchers[-1]["ErrorEquals"] == ["States.ALL"]
    # moto falls through where a catcher leads back to its own state, and on AWS it would spin.
    assert name not in {catcher["Next"] for catcher in catchers}


@pytest.mark.parametrize("name", REPEATED)
def test_a_function_is_called_again_whatever_it_failed_with(name):
    """Nobody knows all names of Lambda's errors, and a decision is safe to repeat."""
    *exceptions, retry = STATES[name]["Retry"]
    assert retry["ErrorEquals"] == ["States.ALL"]
    assert retry["JitterStrategy"] == "FULL"
    assert retry["BackoffRate"] > 1
    assert retry["MaxAttempts"] >= 5
    assert retry["MaxDelaySeconds"] <= 60
    # An input that is refused is refused again.
    refused = [{"ErrorEquals": ["InvalidInputError"], "MaxAttempts": 0}]
    assert exceptions == (refused if name == "Plan the run" else [])


@pytest.mark.parametrize("name", REPEATED)
def test_a_function_that_keeps_failing_ends_no_run(name):
    catcher = STATES[name]["Catch"][-1]
    assert catcher["Next"] == "How often has it failed?"
    assert catcher["Assign"] == {"crash": "{% $states.errorOutput %}", "misses": "{% $misses + 1 %}"}
    assert STATES[name]["Assign"].get("misses") == (None if name == "Record the outcome" else 0)


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("plan", "Plan the run"),
        ("decide", "Decide the next step"),
        ("stop", "Decide the next step"),
        ("finish", "Record the outcome"),
    ],
)
def test_what_had_failed_is_called_again(action, name):
    state = STATES["What had failed?"]
    for choice in state["Choices"]:
        (expression,) = expressions(choice["Condition"])
        program = Jsonata(expression)
        frame = program.create_frame()
        frame.bind("step", {"action": action})
        if program.evaluate(None, frame):
            assert choice["Next"] == name
            break
    else:
        assert state["Default"] == name


def test_it_waits_a_minute_and_after_half_an_hour_five():
    (expression,) = expressions(STATES["Wait after a failure"]["Seconds"])
    program = Jsonata(expression)

    def seconds(misses):
        frame = program.create_frame()
        frame.bind("misses", misses)
        return program.evaluate(None, frame)

    from nightspot.lambdas.plan_run import FIRST_MISSES

    assert [seconds(n) for n in (1, FIRST_MISSES, FIRST_MISSES + 1)] == [60, 60, 300]


def test_there_are_four_functions_to_call():
    assert LAMBDA_TASKS == ["Decide the next step", "Plan the run", "Record the outcome", START]


@pytest.mark.parametrize("name", [name for name in TASKS if name not in REPEATED])
def test_only_a_stop_is_repeated_without_a_look(name):
    """It does no harm twice, and the deadline may hang on it; all else is the next decision's to repeat."""
    assert ("Retry" in STATES[name]) == (name == "Stop the training job")


def test_the_first_state_assigns_every_variable():
    first = STATES[FIRST]
    everything = assigned_anywhere()
    assert everything == {"run", "request", "step", "fault", "outcome", "crash", "misses", "most_misses"}
    assert first["Type"] == "Pass"
    assert set(first["Assign"]) == everything


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_state_reads_assigned_variables_only(name):
    read = set().union(*map(variables_of, expressions(STATES[name])))
    known = set() if name == FIRST else assigned_anywhere()
    assert read - known == set()


def test_no_variable_is_named_like_a_function():
    assert "count" in RESERVED
    assert assigned_anywhere() & RESERVED == set()


@pytest.mark.parametrize("name", sorted(STATES))
def test_every_expression_is_jsonata(name):
    for expression in expressions(STATES[name]):
        Jsonata(expression)


def test_the_training_job_is_asked_for_and_not_waited_for_by_the_service():
    resources = {name: STATES[name]["Resource"] for name in TASKS}
    assert resources[START] == LAMBDA
    assert STATES[START]["Arguments"]["FunctionName"] == "${StartTrainingJobFunctionArn}"
    assert not [name for name, resource in resources.items() if ".sync" in resource]


def evaluate(expression, **variables):
    return evaluate_jsonata(next(expressions(expression)), variables)


def test_the_request_is_the_user_s_with_what_the_decision_changes():
    request = {
        "AlgorithmSpecification": {"TrainingImage": "x"},
        "HyperParameters": {"epochs": "3"},
        "Environment": {"MINE": "1"},
        "Tags": [{"Key": "team", "Value": "ranking"}],
    }
    step = {
        "request": {
            "TrainingJobName": "n",
            "ResourceConfig": {"InstanceType": "ml.m5.large"},
            "Environment": {"NIGHTSPOT_ATTEMPT": "1"},
            "Tags": [{"Key": "nightspot:job", "Value": "x"}, {"Key": "nightspot:run", "Value": "y"}],
        }
    }
    merge = STATES[START]["Arguments"]["Payload"]["request"]
    own = step["request"]
    assert evaluate(merge, request=request, step=step) == {
        **request,
        **own,
        "Environment": {"MINE": "1", "NIGHTSPOT_ATTEMPT": "1"},
        "Tags": [*request["Tags"], *own["Tags"]],
    }
    # A ledger of an earlier version has the whole request in it.
    assert evaluate(merge, request={}, step=step) == own


def test_the_wait_ends_when_the_policy_wants_to_look_again():
    wait = STATES["Wait for news"]
    assert wait["Resource"].endswith(".waitForTaskToken")
    assert wait["TimeoutSeconds"] == "{% $step.wait_seconds %}"
    by_error = {tuple(catcher["ErrorEquals"]): catcher["Next"] for catcher in wait["Catch"]}
    assert by_error["States.Timeout",] == "Decide the next step"
    # A wait that cannot begin must not spin through decisions.
    assert by_error["States.ALL",] == "Look again later"
    seconds = STATES["Look again later"]["Seconds"]
    step = {"wait_seconds": 3600}
    assert evaluate(seconds, run={}, step=step) == 60  # a ledger of an older version has no such list
    assert evaluate(seconds, run={"unwritten": [{}] * 29}, step=step) == 60
    assert evaluate(seconds, run={"unwritten": [{}] * 30}, step=step) == 300
    assert evaluate(seconds, run={"unwritten": [{}] * 30}, step={"wait_seconds": 100}) == 100


def test_a_refused_stop_goes_back_to_the_decision_with_its_fault():
    (catcher,) = STATES["Stop the training job"]["Catch"]
    assert catcher["Next"] == "Decide the next step"
    assert catcher["Assign"] == {"fault": "{% $states.errorOutput %}"}


FAULT = {"Error": "SageMaker.ResourceInUse", "Cause": "it exists"}


@pytest.mark.parametrize(
    ("fault", "following"),
    [(None, "Wait for news"), (FAULT, "Decide the next step")],
    ids=["taken", "refused"],
)
def test_what_sagemaker_said_to_the_start_goes_back_to_the_decision(fault, following):
    states = {"result": {"Payload": {"training_job_arn": None, "fault": fault}}}
    assert evaluate(STATES[START]["Assign"]["fault"], states=states) == fault
    choice = STATES[STATES[START]["Next"]]
    (rule,) = choice["Choices"]
    was_taken = evaluate(rule["Condition"], fault=fault)
    assert (rule["Next"] if was_taken else choice["Default"]) == following


@pytest.mark.parametrize(
    "error",
    [{"Error": "Lambda.Unknown", "Cause": 'a "quote"'}, {"Error": "States.Timeout"}, {}],
    ids=["with a cause", "without a cause", "without anything"],
)
def test_a_start_without_an_answer_is_told_so_whatever_its_error_is_called(error):
    (catcher,) = STATES[START]["Catch"]
    assert catcher["Next"] == "Decide the next step"
    fault = catcher["Assign"]["fault"]
    assert fault["Error"] == START_UNANSWERED
    assert json.loads(evaluate(fault["Cause"], states={"errorOutput": error})) == error
    told = Fault(fault["Error"], evaluate(fault["Cause"], states={"errorOutput": error}))
    failure, in_doubt = of_start(told)
    assert (failure.failure, in_doubt) == (FailureClass.SERVICE_FAULT, True)


def test_a_fault_is_shown_to_one_decision_only():
    assert STATES["Decide the next step"]["Assign"]["fault"] is None


def test_every_action_of_a_decision_has_its_state():
    from nightspot.run.model import Action

    choices = STATES["Which step?"]["Choices"]
    chosen = {match for choice in choices for match in re.findall(r"'(\w+)'", choice["Condition"])}
    assert chosen == {action.value for action in Action}


def test_a_crash_is_always_told():
    """Whatever is given up ends in the alarm, never in a bare failure."""
    quiet_ends = {"Model is ready", "No model tonight", "The input was refused"}
    for last in ("Record the crash", "Sound the alarm"):
        assert not quiet_ends & _everything_after(last)
    gives_up = STATES["How often has it failed?"]["Choices"]
    assert [choice["Next"] for choice in gives_up] == [
        "Sound the alarm",
        "Record the crash",
        "Report the failure",
    ]


@pytest.mark.parametrize("name", ["Report the failure", "Sound the alarm", "Record the crash"])
def test_no_text_that_nobody_has_redacted_leaves_the_execution(name):
    assert "Cause" not in json.dumps(STATES[name]["Arguments"])


def _everything_after(name: str) -> set[str]:
    after, frontier = set(), [name]
    while frontier:
        for follower in next_states(STATES[frontier.pop()]):
            if follower not in after:
                after.add(follower)
                frontier.append(follower)
    return after
