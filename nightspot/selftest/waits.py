"""C16 and C17: what Step Functions calls the errors of functions, and what SendTaskSuccess says of tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from nightspot.selftest.functions import RUNTIME, make_function
from nightspot.selftest.model import Check, NotTriedError, Seen
from nightspot.selftest.workspace import Workspace, code_and_words

_ALLOWED, _DENIED = "allowed", "denied"
_CODE = """
import os, time
import boto3, botocore
def handler(event, context):
    kind = event["kind"]
    if kind == "sleeps": time.sleep(30)
    if kind == "eats": taken = [bytes(64 * 2**20) + b"1" for _ in range(64)]
    if kind == "exits": os._exit(1)
    if kind == "raises": raise ValueError("as asked")
    return {"boto3": boto3.__version__, "botocore": botocore.__version__}
"""
_BROKEN = "import a_module_that_is_not_there\n"
KINDS = ("sleeps", "eats", "exits", "raises")
LIMIT_SECONDS = 3


def function_errors(workspace: Workspace, seen: Seen) -> None:
    """C16: five ways in which a function fails, each called by Step Functions itself."""
    good, broken = (
        make_function(workspace, part, code, limit_seconds=LIMIT_SECONDS)
        for part, code in (("works", _CODE), ("broken", _BROKEN))
    )
    runtime = _invoked(workspace, good, "nothing")
    brought = f"{RUNTIME} brings {runtime.get('output', runtime.get('cause', ''))}"
    for name, kind in (*((good, kind) for kind in KINDS), (broken, "cannot be imported")):
        said = _invoked(workspace, name, kind)
        error = str(said.get("error", "none"))
        seen.saw(
            "lambda.error.names", error, f"{kind}: {error}: {str(said.get('cause', ''))[:200]}; {brought}"
        )


def _invoked(workspace: Workspace, name: str, kind: str) -> Mapping[str, Any]:
    state = {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": name, "Payload": {"kind": kind}},
        "Output": "{% $states.result.Payload %}",
        "End": True,
    }
    answer: Mapping[str, Any] = workspace.client("stepfunctions").test_state(
        definition=json.dumps(state), roleArn=workspace.role_arn(), input="{}"
    )
    return answer


def tokens(workspace: Workspace, seen: Seen) -> None:
    """C17: whom IAM lets send, and what is said of a token that was used, is too late, or is none."""
    states = workspace.client("stepfunctions")
    machine = _machine(workspace)
    answers = {}
    for where, resource in (("the ARN", machine), ("*", "*")):
        token = _waiting(workspace, machine, 600)
        answers[where] = _sent_by(workspace, resource, token)
    both = {
        (_ALLOWED, _ALLOWED): "both",
        (_DENIED, _ALLOWED): "* alone",
        (_ALLOWED, _DENIED): "the ARN alone",
        (_DENIED, _DENIED): "neither",
    }
    seen.saw("stepfunctions.token.resource", both[answers["the ARN"], answers["*"]])
    token = _waiting(workspace, machine, 600)
    states.send_task_success(taskToken=token, output="{}")
    late = _waiting(workspace, machine, 5)
    workspace.sleep(15)
    for what, each in (("used", token), ("late", late), ("none", "AAAA" * 30)):
        try:
            states.send_task_success(taskToken=each, output="{}")
        except ClientError as error:
            code, words = code_and_words(error)
            seen.saw("stepfunctions.token.codes", code, f"{what}: {code}: {words}")
        else:
            seen.saw("stepfunctions.token.codes", "accepted", what)


def _machine(workspace: Workspace) -> str:
    name, (url, _) = workspace.name("tokens"), workspace.once("token queue", lambda: _token_queue(workspace))
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Wait",
        "States": {
            "Wait": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "TimeoutSeconds": "{% $states.input.seconds %}",
                "Arguments": {
                    "QueueUrl": url,
                    "MessageBody": {
                        "token": "{% $states.context.Task.Token %}",
                        "for": "{% $states.context.Execution.Name %}",
                    },
                },
                "End": True,
            }
        },
    }
    workspace.made("state machine", name)
    answer = workspace.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=workspace.role_arn()
    )
    return str(answer["stateMachineArn"])


def _token_queue(workspace: Workspace) -> tuple[str, str]:
    name = workspace.name("tokens")
    workspace.made("queue", name)
    return workspace.client("sqs").create_queue(QueueName=name)["QueueUrl"], name


def _waiting(workspace: Workspace, machine: str, seconds: int) -> str:
    """The token of an execution that waits for so long."""
    number = workspace.shared["executions"] = workspace.shared.get("executions", 0) + 1
    name = f"wait-{number}"
    workspace.client("stepfunctions").start_execution(
        stateMachineArn=machine, name=name, input=json.dumps({"seconds": seconds})
    )
    url, _ = workspace.once("token queue", lambda: _token_queue(workspace))
    sqs = workspace.client("sqs")
    for _ in range(30):
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", ()):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            body = json.loads(message["Body"])
            if body["for"] == name:
                return str(body["token"])
        workspace.sleep(1)
    raise NotTriedError("no task token arrived in the queue")


def _sent_by(workspace: Workspace, resource: str, token: str) -> str:
    statement = {"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": resource}
    sender = workspace.as_caller({"Version": "2012-10-17", "Statement": [statement]})("stepfunctions")
    try:
        sender.send_task_success(taskToken=token, output="{}")
    except ClientError as error:
        if "AccessDenied" in code_and_words(error)[0]:
            return _DENIED
        raise
    return _ALLOWED


_ROLE = ("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRole", "iam:PassRole")

CHECKS = (
    Check(
        "C16",
        "What does Step Functions call the errors of functions, and which boto3 has their runtime?",
        (
            *_ROLE,
            *("lambda:CreateFunction", "lambda:GetFunctionConfiguration", "lambda:DeleteFunction"),
            "states:TestState",
        ),
        ("lambda.error.names",),
        function_errors,
        minutes=2,
    ),
    Check(
        "C17",
        "Whom does IAM let send a task token, and what is said of one that is used, late or none?",
        (
            *_ROLE,
            *("states:CreateStateMachine", "states:StartExecution", "states:SendTaskSuccess"),
            *("states:DeleteStateMachine", "sts:AssumeRole", "sqs:CreateQueue", "sqs:ReceiveMessage"),
            *("sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:DeleteQueue"),
        ),
        ("stepfunctions.token.resource", "stepfunctions.token.codes"),
        tokens,
        minutes=3,
    ),
)
