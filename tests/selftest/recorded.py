"""A Step Functions with TestState, which nothing local has: it answers from a function, by AWS's rules."""

from __future__ import annotations

import json

import boto3
from botocore.stub import ANY, Stubber


class Recorded:
    """A client of Step Functions; `answer(asked)` gives TestState's answer."""

    def __init__(self, answer):
        self._answer = answer
        self.asked = []
        self._model = boto3.client("stepfunctions", region_name="eu-west-1")

    def test_state(self, **asked):
        self.asked.append(asked)
        follows_the_rules(asked)
        # The request must be one that AWS's own model takes.
        with Stubber(self._model) as stubber:
            stubber.add_response("test_state", self._answer(asked), dict.fromkeys(asked, ANY))
            return self._model.test_state(**asked)

    def validate_state_machine_definition(self, **asked):
        with Stubber(self._model) as stubber:
            stubber.add_response("validate_state_machine_definition", self._answer(asked), asked)
            return self._model.validate_state_machine_definition(**asked)


def follows_the_rules(asked):
    """What the model's types do not hold: https://docs.aws.amazon.com/step-functions/latest/apireference/API_TestState.html."""
    definition = json.loads(asked["definition"])
    state = definition["States"][asked["stateName"]] if "stateName" in asked else definition
    assert "Type" in state
    assert "mock" in asked or "context" not in asked, "a context is taken only beside a mock"
    assert "mock" in asked or "stateConfiguration" not in asked
    assert "mock" not in asked or state["Type"] in {"Task", "Map", "Parallel"}, "only a task has a mock"
    assert "mock" in asked or "waitForTaskToken" not in state.get("Resource", ""), "its token is for a mock"


def with_states(workspace, answer):
    """The workspace with a Step Functions that answers so."""
    recorded, others = Recorded(answer), workspace.client
    workspace.client = lambda service: recorded if service == "stepfunctions" else others(service)
    return recorded
