"""C16 and C17 with a Step Functions that answers as recorded; queue, roles and functions are moto's."""

from __future__ import annotations

import json
from itertools import count

import pytest
from botocore.exceptions import ClientError

from nightspot.facts.model import Verdict
from nightspot.selftest.model import Seen
from nightspot.selftest.waits import function_errors, tokens

ERRORS = {"sleeps": "Sandbox.Timedout", "eats": "Runtime.OutOfMemory", "exits": "Runtime.ExitError"}


class Functions:
    """Step Functions that calls functions, and names their errors so."""

    def test_state(self, *, definition, **_rest):
        arguments = json.loads(definition)["Arguments"]
        kind = arguments["Payload"]["kind"]
        if kind == "nothing":
            return {"status": "SUCCEEDED", "output": '{"boto3": "1.42.0"}'}
        name = "Runtime.ImportModuleError" if "broken" in arguments["FunctionName"] else "ValueError"
        return {"status": "FAILED", "error": ERRORS.get(kind, name), "cause": "as asked"}


class Tokens:
    """Step Functions with tasks that wait; `allowed`: on which resources it may be granted."""

    def __init__(self, workspace, allowed):
        self.workspace, self.allowed, self.numbers = workspace, allowed, count(1)
        self.open, self.late = set(), set()

    def create_state_machine(self, *, name, definition, **_rest):
        assert json.loads(definition)["States"]["Wait"]["Resource"].endswith("waitForTaskToken")
        return {"stateMachineArn": f"arn:aws:states:eu-west-1:123456789012:stateMachine:{name}"}

    def start_execution(self, *, name, input, **_rest):  # noqa: A002 - as boto3 has it
        token = f"token-{next(self.numbers)}"
        (self.open if json.loads(input)["seconds"] > 60 else self.late).add(token)
        sqs = self.workspace.client("sqs")
        url = sqs.get_queue_url(QueueName=self.workspace.name("tokens"))["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"token": token, "for": name}))

    def send_task_success(self, *, taskToken, resource=None, **_rest):  # noqa: N803 - as boto3 has it
        kind = "*" if resource == "*" else "the ARN"
        if resource is not None and kind not in self.allowed:
            raise ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "SendTaskSuccess"
            )
        if taskToken in self.late:
            raise ClientError({"Error": {"Code": "TaskTimedOut", "Message": "late"}}, "SendTaskSuccess")
        if taskToken not in self.open:
            code = "TaskDoesNotExist" if taskToken.startswith("token-") else "InvalidToken"
            raise ClientError({"Error": {"Code": code, "Message": "gone"}}, "SendTaskSuccess")
        self.open.remove(taskToken)

    def delete_state_machine(self, **_rest):
        pass


def with_states(workspace, states):
    others = workspace.client
    workspace.client = lambda service: states if service == "stepfunctions" else others(service)


def seen_by(run, workspace):
    seen = Seen()
    run(workspace, seen)
    return {each.id: each for each in seen.observations(workspace.now())}


def test_each_error_of_a_function_is_named_with_the_runtime_s_boto3(account):
    workspace = account().workspace
    with_states(workspace, Functions())

    (errors,) = seen_by(function_errors, workspace).values()

    names = (
        "Sandbox.Timedout",
        "Runtime.OutOfMemory",
        "Runtime.ExitError",
        "ValueError",
        "Runtime.ImportModuleError",
    )
    assert errors.observed == names
    assert errors.verdict is Verdict.AS_DESIGNED
    assert "1.42.0" in errors.evidence[0]
    assert len(workspace.client("lambda").list_functions()["Functions"]) == 2
    assert workspace.clean_up() == []
    assert workspace.client("lambda").list_functions()["Functions"] == []


@pytest.mark.parametrize(
    ("allowed", "words", "verdict"),
    [
        ({"the ARN", "*"}, "both", Verdict.AS_DESIGNED),
        ({"*"}, "* alone", Verdict.AS_DESIGNED),
        ({"the ARN"}, "the ARN alone", Verdict.BREAKS),
    ],
    ids=["both", "any", "arn"],
)
def test_tokens_are_sent_used_late_and_made_up(account, allowed, words, verdict):
    workspace = account().workspace
    states = Tokens(workspace, allowed)
    with_states(workspace, states)

    def as_caller(policy):
        resource = policy["Statement"][0]["Resource"]

        class Sender:
            def send_task_success(self, **asked):
                return states.send_task_success(resource=resource, **asked)

        return lambda _service: Sender()

    workspace.as_caller = as_caller

    seen = seen_by(tokens, workspace)

    assert seen["stepfunctions.token.resource"].observed == (words,)
    assert seen["stepfunctions.token.resource"].verdict is verdict
    assert seen["stepfunctions.token.codes"].observed == ("TaskDoesNotExist", "TaskTimedOut", "InvalidToken")
    assert workspace.clean_up() == []
