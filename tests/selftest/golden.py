"""Carries out single states in the local interpreter, and writes nightspot/selftest/state_cases.json.

python -m tests.selftest.golden
"""

from __future__ import annotations

import json
import uuid

from nightspot.selftest.states import (
    CASES_FILE,
    After,
    StateCase,
    context,
    definition,
    dump_cases,
    sample_names,
)
from tests.simulation import asl
from tests.simulation.asl import StateError
from tests.simulation.clock import Clock
from tests.simulation.execution import Execution
from tests.simulation.jsonata import Surroundings

REGION, ACCOUNT = "eu-west-1", "123456789012"
ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:nightspot:nightly"
LONG = "x" * 4001
QUOTED = "say \"hi\" and 'ho', C:\\temp"
LONGEST_WAIT = 600
MACHINE = asl.compile_machine(definition(sample_names(REGION, ACCOUNT)))
FUNCTION_ERRORS = (
    "States.Timeout",
    "Lambda.Unknown",
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "TransientAwsError",
)

OPEN = {"number": 2, "state": "training", "training_job_name": "nightspot-main-recommender-1-2"}
OVER = {"number": 1, "state": "ended", "training_job_name": "nightspot-main-recommender-1-1"}
RUN = {"job": "recommender", "run_id": "20261121-abcdefgh", "attempts": [OVER, OPEN]}
REQUEST = {
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/training",
    "Environment": {"A": "1"},
    "Tags": [{"Key": "team", "Value": "search"}],
}
STEP = {
    "action": "start",
    "because": "It begins.",
    "training_job_name": OPEN["training_job_name"],
    "wait_seconds": 1,
    "request": {
        "TrainingJobName": OPEN["training_job_name"],
        "Environment": {"B": "2"},
        "Tags": [{"Key": "nightspot:run", "Value": "r"}],
    },
}
VARIABLES = {
    "run": RUN,
    "request": REQUEST,
    "step": STEP,
    "fault": None,
    "outcome": {},
    "crash": {"Error": "Lambda.Unknown", "Cause": "The function crashed."},
    "misses": 0,
    "most_misses": 72,
}


class _Alone:
    """The world of one state: its task's result or error is given."""

    def __init__(self, case):
        self.case, self.errors, self.arguments = case, [], None

    def perform(self, execution, visit, arguments):
        self.arguments = arguments
        visit.retries = dict.fromkeys(range(len(visit.state.retriers)), self.case.retries)
        if self.case.error is not None:
            # A real time-out arrives with the cause "":
            # https://github.com/cdklabs/construct-hub keeps such an error in a test of its own.
            raise StateError(self.case.error["Error"], self.case.error.get("Cause", ""))
        if visit.state.waits_for_token:
            execution.succeed(visit, self.case.result)
        return self.case.result

    def token(self, _visit):
        return context(ARN)["Task"]["Token"]

    def stalled_until(self):
        return 0.0

    def on_state(self, _execution, _state):
        """Nobody listens."""

    def on_error(self, _execution, _state, error, then):
        self.errors.append((error, then))

    def on_end(self, _execution):
        """Nobody listens."""


class _OneState(Execution):
    """An execution that stops where it would go on to another state."""

    following, left_with = None, None

    def _go(self, name, given):
        self.following, self.left_with = name, given

    def _context(self, visit):
        return {**super()._context(visit), **context(ARN)}


def carried_out(case: StateCase) -> After:
    """What the local interpreter makes of a case."""
    clock, world = Clock(), _Alone(case)
    around = Surroundings(clock.moment, uuid.uuid4, lambda: 0.5)
    execution = _OneState(MACHINE, ARN, context(ARN)["Execution"]["Input"], clock, world, around)
    execution.variables = json.loads(json.dumps(case.variables))
    execution._enter(case.state, json.loads(json.dumps(case.input)))
    if execution.is_running and execution.following is None and not world.errors:
        clock.run(LONGEST_WAIT)
    after = _after(execution, world, MACHINE.states[case.state].type == "Task")
    # A state that fails the execution, or is tried again, assigns nothing.
    return after if after.variables else after.model_copy(update={"variables": case.variables})


def _after(execution, world, is_task):
    variables = execution.variables
    if world.errors and execution.following is None and execution.is_running:
        return After(status="RETRIABLE", error=world.errors[-1][0].error)
    if execution.status == "FAILED":
        return After(status="FAILED", error=execution.error, cause=execution.cause, variables=variables)
    output = execution.output if execution.following is None else execution.left_with
    return After(
        status="CAUGHT_ERROR" if world.errors else "SUCCEEDED",
        next=execution.following,
        output=output,
        variables=variables,
        arguments=world.arguments if is_task and not world.errors else None,
    )


# --- the cases ------------------------------------------------------------------------------------------------


def questions():
    """Every case without its answer: (state, what is special, changes)."""
    yield "Begin", "whatever the input is", {"variables": {}, "input": {"job": "recommender"}}
    yield from _functions()
    yield from _starts()
    for action in ("start", "watch", "stop", "pause", "finish", "dance", 'a "quoted" one', None):
        yield "Which step?", f"the action {action}", {"step": {**STEP, "action": action}}
        if action in {"dance", 'a "quoted" one', None}:
            yield "No such step", f"the action {action}", {"step": {**STEP, "action": action}}
    yield from _calls()
    yield "Look again later", "a minute", {"waits_seconds": 60}
    for seconds, name in (
        (3600, "five minutes"),
        (200, "not later than the step says"),
        (7, "a minute at least"),
    ):
        long = {"run": {**RUN, "unwritten": [{"number": n} for n in range(30)]}}
        waits = {"step": {**STEP, "wait_seconds": seconds}, "waits_seconds": min(300, max(60, seconds))}
        yield "Look again later", f"{name}, where the table took nothing for long", {**long, **waits}
    yield "Pause", "a second", {"waits_seconds": 1}
    yield "Wait after a failure", "a minute at first", {"misses": 1, "waits_seconds": 60}
    yield "Wait after a failure", "five minutes after half an hour", {"misses": 31, "waits_seconds": 300}
    for outcome in ("succeeded", "failed", None):
        yield "Did it succeed?", f"the outcome {outcome}", {"outcome": {"outcome": outcome}}
    yield "Did it succeed?", "no outcome at all", {"outcome": {}}
    yield (
        "Model is ready",
        "its outcome is the output",
        {"outcome": {"outcome": "succeeded", "cost_usd": 1.25}},
    )
    for because in ("Out of time.", QUOTED, LONG):
        given = {"outcome": "failed", "because": because}
        yield "No model tonight", f"because of {len(because)} characters", {"outcome": given}
    for misses, action in (
        (1, "decide"),
        (2, "decide"),
        (72, "decide"),
        (73, "decide"),
        (73, "plan"),
        (1, "plan"),
    ):
        changes = {"misses": misses, "step": {"action": action}}
        yield "How often has it failed?", f"{misses} times at {action}", changes
    for action in ("plan", "finish", "decide", "watch"):
        yield "What had failed?", action, {"step": {"action": action}}
    for cause in ("The function crashed.", "", LONG, QUOTED):
        crash = {"Error": "Lambda.Unknown", "Cause": cause}
        yield "The decision crashed", f"a cause of {len(cause)} characters", {"crash": crash}
    yield "The decision crashed", "no cause", {"crash": {"Error": "States.Timeout"}}
    said = json.dumps({"errorMessage": QUOTED, "errorType": "InvalidInputError"})
    yield (
        "The input was refused",
        "the function's own words",
        {"crash": {"Error": "InvalidInputError", "Cause": said}},
    )


def _starts():
    state = "Start the training job"
    fault = {"Error": "SageMaker.ResourceLimitExceeded", "Cause": QUOTED}
    yield state, "it is there", {"result": {"StatusCode": 200, "Payload": {"fault": None}}}
    yield state, "a refusal", {"result": {"StatusCode": 200, "Payload": {"fault": fault}}}
    yield (
        state,
        "a request without environment and tags",
        {
            "result": {"StatusCode": 200, "Payload": {"fault": None}},
            "request": {"RoleArn": REQUEST["RoleArn"]},
        },
    )
    for name in FUNCTION_ERRORS:
        yield state, f"{name}: nobody knows", {"error": {"Error": name, "Cause": QUOTED}}
    yield state, "an error without a cause", {"error": {"Error": "States.Timeout"}}
    for given in (None, fault):
        yield "Was it started?", "no fault" if given is None else "a fault", {"fault": given}


def _functions():
    plan = {"run": {**RUN, "plan_note": "By 07:00."}, "request": REQUEST, "most_misses": 90}
    decided = {"run": RUN, "step": STEP}
    outcome = {"outcome": "succeeded", "because": "It is there."}
    for state, payload in (
        ("Plan the run", plan),
        ("Decide the next step", decided),
        ("Record the outcome", outcome),
    ):
        yield state, "it answers", {"result": {"StatusCode": 200, "Payload": payload}, "misses": 3}
        for name in FUNCTION_ERRORS:
            yield state, f"{name} again and again", {"error": {"Error": name, "Cause": QUOTED}, "retries": 6}
        yield state, "its first failure", {"error": {"Error": "Lambda.Unknown", "Cause": "once"}}
    yield "Plan the run", "an error without a cause", {"error": {"Error": "States.Timeout"}, "retries": 6}
    said = json.dumps({"errorMessage": "job: 'x': is unknown", "errorType": "InvalidInputError"})
    yield "Plan the run", "an input that is refused", {"error": {"Error": "InvalidInputError", "Cause": said}}
    yield (
        "Plan the run",
        "a cause of 4,001 characters",
        {"error": {"Error": "States.Timeout", "Cause": LONG}, "retries": 6},
    )
    null = {"run": RUN, "step": STEP, "fault": {"Error": "SageMaker.SageMakerException", "Cause": QUOTED}}
    yield (
        "Decide the next step",
        "a fault that is passed on",
        {"result": {"Payload": decided}, "fault": null["fault"]},
    )
    empty = {**RUN, "attempts": []}
    yield (
        "Decide the next step",
        "no attempts yet",
        {"result": {"Payload": {**decided, "run": empty}}, "run": empty},
    )


def _calls():
    for state in MACHINE.states.values():
        if state.type != "Task" or (state.service == "lambda" and state.name in _ANSWERED):
            continue
        yield state.name, "it works", {"result": _RESULTS.get(state.operation, {})}
        retries = max((each.most for each in state.retriers), default=0)
        for name in ("States.Timeout", "States.TaskFailed", "SageMaker.SageMakerException"):
            yield state.name, name, {"error": {"Error": name, "Cause": QUOTED}, "retries": retries}
        if retries:
            yield state.name, "its first failure", {"error": {"Error": "States.Timeout", "Cause": ""}}
    for state in ("Report the failure", "Sound the alarm"):
        empty = {"run": {**RUN, "attempts": []}}
        over = {"run": {**RUN, "attempts": [OVER]}}
        yield state, "no attempts", {"result": {}, **empty}
        yield state, "none that is open", {"result": {}, **over}


_ANSWERED = {"Plan the run", "Decide the next step", "Record the outcome", "Start the training job"}
_RESULTS = {"putEvents": {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}}


def cases() -> list[StateCase]:
    """Every case with the local interpreter's answer."""
    found = []
    for state, special, changes in questions():
        about = {
            key: changes.pop(key)
            for key in ("input", "result", "error", "retries", "waits_seconds")
            if key in changes
        }
        variables = changes.pop("variables", {**VARIABLES, **changes})
        open_case = StateCase(
            name=f"{state}: {special}", state=state, variables=variables, then=After(status="?"), **about
        )
        found.append(open_case.model_copy(update={"then": carried_out(open_case)}))
    return found


def dumped() -> str:
    """The file's text."""
    return dump_cases(cases(), VARIABLES)


if __name__ == "__main__":
    CASES_FILE.write_text(dumped(), encoding="utf-8")
