"""Part A against moto and against recorded answers; its tables are held against the template in tests/infra."""

from __future__ import annotations

import json
import re

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto.events import models as moto_events

from nightspot.facts.model import Verdict
from nightspot.selftest import free
from nightspot.selftest.free import CHECKS
from nightspot.selftest.model import NotTriedError, Seen
from nightspot.selftest.roles import GRANTS, filled, names_of
from nightspot.selftest.samples import requests_by_field
from nightspot.selftest.states import read_cases
from tests.selftest.recorded import with_states

BY_ID = {check.id: check for check in CHECKS}


def made(check_id, workspace):
    seen = Seen()
    BY_ID[check_id].run(workspace, seen)
    return {each.id: each for each in seen.observations(workspace.now())}


@pytest.mark.parametrize("check_id", ["A1", "A2", "A4"])
def test_what_moto_cannot_do_is_not_pretended(account, check_id):
    with pytest.raises((NotImplementedError, ClientError)):
        made(check_id, account().workspace)


@pytest.mark.parametrize(
    ("diagnostics", "verdict"),
    [([], Verdict.AS_DESIGNED), ([{"severity": "ERROR", "code": "X", "message": "no"}], Verdict.BREAKS)],
    ids=["no finding", "an error"],
)
def test_step_functions_verdict_on_the_workflow_is_read(account, diagnostics, verdict):
    workspace = account().workspace
    with_states(
        workspace, lambda _asked: {"result": "FAIL" if diagnostics else "OK", "diagnostics": diagnostics}
    )

    assert made("A1", workspace)["stepfunctions.definition.valid"].verdict is verdict


def _error(case):
    return case.error and {key.lower(): value for key, value in case.error.items()}


def as_the_file_says(asked):
    """TestState's answer that agrees with the golden file."""
    case = next(
        case
        for case in read_cases()
        if case.state == asked["stateName"]
        and json.dumps(case.variables) == asked["variables"]
        and _error(case) == asked.get("mock", {}).get("errorOutput")
        and case.retries == asked.get("stateConfiguration", {}).get("retrierRetryCount", case.retries)
        and (case.result is None or json.dumps(case.result) == asked.get("mock", {}).get("result"))
    )
    then = case.then
    said = {"status": then.status, "inspectionData": {"variables": json.dumps(then.variables)}}
    said |= {} if then.next is None else {"nextState": then.next}
    said |= {"error": then.error} if then.error else {}
    said |= {"cause": then.cause} if then.cause is not None else {}
    said |= {"output": json.dumps(then.output)}
    said["inspectionData"] |= {"afterArguments": json.dumps(then.arguments)} if then.arguments else {}
    return said


def test_every_short_case_is_sent_and_an_aws_that_agrees_is_as_designed(account):
    workspace = account().workspace
    recorded = with_states(workspace, as_the_file_says)

    (seen,) = made("A2", workspace).values()

    assert seen.evidence == ()
    assert seen.observed == (0,)
    assert len(recorded.asked) == len([case for case in read_cases() if case.waits_seconds <= 60])


def test_an_aws_that_goes_elsewhere_breaks_and_is_named(account):
    workspace = account().workspace

    def otherwise(asked):
        said = as_the_file_says(asked)
        return {**said, "nextState": "Pause"} if asked["stateName"] == "Begin" else said

    with_states(workspace, otherwise)

    (seen,) = made("A2", workspace).values()

    assert (seen.observed, seen.verdict) == ((1,), Verdict.BREAKS)
    assert seen.evidence[0].startswith("Begin: whatever the input is: next")


def test_fields_that_step_functions_does_not_know_are_named(account):
    workspace = account().workspace

    def unless_new(asked):
        known = "MlflowConfig" not in json.loads(asked["definition"])["Arguments"]
        error = {"error": "SageMaker.SageMakerException", "cause": "Could not assume role"}
        new = {
            "error": "States.Runtime",
            "cause": "The field 'MlflowConfig' is not supported by Step Functions",
        }
        return {"status": "FAILED", **(error if known else new)}

    recorded = with_states(workspace, unless_new)

    (seen,) = made("A4", workspace).values()

    assert len(recorded.asked) > 140
    assert seen.observed[0] >= 1
    assert "MlflowConfig" in seen.evidence[0]
    assert seen.verdict is Verdict.SAFE
    roles = {json.loads(each["definition"])["Arguments"]["RoleArn"] for each in recorded.asked}
    assert roles == {f"arn:aws:iam::123456789012:role/{workspace.name('nobody')}"}, "else a job could start"


def test_each_request_has_its_field_and_what_aws_requires():
    import botocore.session
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateTrainingJob").input_shape
    requests = dict(requests_by_field(shape, {"RoleArn": "x" * 20, "TrainingJobName": "x"}))

    assert len(requests) == len(set(requests)) > 140
    assert set(shape.members) <= requests.keys()
    for request in requests.values():
        assert not ParamValidator().validate(request, shape).has_errors()
    assert requests["RetryStrategy.MaximumRetryAttempts"]["RetryStrategy"] == {"MaximumRetryAttempts": 1}


def test_the_item_of_a_crash_and_its_event_are_looked_for(account):
    """TestState is recorded; table, queue and bus are moto's."""
    workspace = account().workspace

    def carried_out(asked):
        state = json.loads(asked["definition"])
        if "updateItem" in state["Resource"]:
            workspace.client("dynamodb").put_item(
                TableName=workspace.name("table"),
                Item={
                    "pk": {"S": f"RUN#{workspace.name('crash')}"},
                    "sk": {"S": "CRASH"},
                    "error": {"S": "Lambda.Unknown"},
                    "crashed_at": {"S": "2026"},
                },
            )
        elif "putEvents" in state["Resource"]:
            detail = json.dumps({"run_id": workspace.name("crash")})
            entry = {"Source": "nightspot", "DetailType": "Nightspot Decision Crashed", "Detail": detail}
            workspace.client("events").put_events(Entries=[entry])
        else:
            return {"status": "FAILED", "error": "SageMaker.SageMakerException", "cause": "not found"}
        return {"status": "SUCCEEDED", "output": "{}"}

    with_states(workspace, carried_out)

    seen = made("A3", workspace)

    assert {name: each.observed for name, each in seen.items()} == {
        "stepfunctions.updateitem.written": ("yes",),
        "stepfunctions.event.detail": ("object",),
        "stepfunctions.sdk.error": ("SageMaker.",),
    }
    assert workspace.clean_up() == []
    assert workspace.client("dynamodb").list_tables()["TableNames"] == []


class Matcher:
    """EventBridge's TestEventPattern by moto's matcher, which moto does not offer as a call."""

    def test_event_pattern(self, *, EventPattern, Event):  # noqa: N803 - as boto3 has it
        return {"Result": moto_events.EventPattern.load(EventPattern).matches_event(json.loads(Event))}


def test_moto_has_no_such_call(account):
    with pytest.raises(NotTriedError, match="does not answer TestEventPattern"):
        made("A5", account().workspace)


def test_patterns_match_the_events_that_they_must(account):
    workspace = account().workspace
    workspace.client = lambda _service: Matcher()

    (seen,) = made("A5", workspace).values()

    assert (seen.observed, seen.evidence) == ((0,), ())


def test_a_pattern_that_matches_too_much_is_found(account, monkeypatch):
    everything = {"source": ["aws.sagemaker"]}
    monkeypatch.setattr(free, "PATTERNS", {**free.PATTERNS, "an execution's end": everything})
    workspace = account().workspace
    workspace.client = lambda _service: Matcher()

    (seen,) = made("A5", workspace).values()

    assert seen.verdict is Verdict.BREAKS
    assert "an execution's end: a job of somebody else's" in seen.evidence[0]


def test_quotas_that_are_not_listed_are_not_checked(account):
    workspace = account().workspace
    client = boto3.client("service-quotas", region_name="eu-west-1")
    names = ("ml.m5.large for training job usage", "ml.m5.large for spot training job usage")
    listed = [{"QuotaName": name, "Value": 4.0} for name in names]
    others = workspace.client
    workspace.client = lambda service: client if service == "service-quotas" else others(service)
    with Stubber(client) as stubber:
        stubber.add_response("list_service_quotas", {"Quotas": listed})
        stubber.add_response("list_aws_default_service_quotas", {"Quotas": []})
        seen = made("A7", workspace)

    assert seen["sagemaker.quota.names"].observed == ("both listed", *["none listed"] * 5)
    assert seen["sagemaker.quota.names"].verdict is Verdict.SAFE
    assert workspace.shared["quotas"] == dict.fromkeys(names, 4.0)


def test_the_roles_question_needs_a_stack(account):
    with pytest.raises(NotTriedError, match="needs --stack"):
        made("A8", account().workspace)


OUTPUTS = {
    "StateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot",
    "TableName": "runs",
    "Environment": "main",
    "CheckpointBucket": "checkpoints",
    "ModelBucket": "models",
    **{f"{grant.role}RoleArn": f"arn:aws:iam::123456789012:role/{grant.role}" for grant in GRANTS},
}


class Simulator:
    """IAM's simulator by a function (role, action) -> allowed."""

    def __init__(self, allows):
        self._allows = allows

    def simulate_principal_policy(self, **asked):
        (resource,), (action,) = asked["ResourceArns"], asked["ActionNames"]
        assert not re.search(r"[{}]", resource)
        allowed = self._allows(asked["PolicySourceArn"].rpartition("/")[2], action, resource)
        return {"EvaluationResults": [{"EvalDecision": "allowed" if allowed else "implicitDeny"}]}


def test_a_role_that_may_too_little_or_too_much_is_named(account):
    workspace = account().workspace
    workspace.stack = "Nightspot"
    names = names_of(OUTPUTS, "aws", "eu-west-1", "123456789012")
    right = {(grant.role, grant.action, filled(grant.resource, names)): grant.allowed for grant in GRANTS}
    wrong = {
        ("PlanRun", "dynamodb:PutItem", names["table"]): False,
        ("Workflow", "iam:PassRole", names["foreign_role"]): True,
    }
    iam = Simulator(lambda *asked: {**right, **wrong}[asked])
    stacks = [{"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()]}]

    class CloudFormation:
        def describe_stacks(self, **_asked):
            return {"Stacks": stacks}

    workspace.client = {"iam": iam, "cloudformation": CloudFormation()}.__getitem__

    (seen,) = made("A8", workspace).values()

    assert (seen.observed, seen.verdict) == ((2,), Verdict.BREAKS)
    assert "PlanRun may not dynamodb:PutItem" in seen.evidence[0]
    assert "Workflow may iam:PassRole" in seen.evidence[0]


def test_twenty_calls_must_be_denied():
    assert sum(not grant.allowed for grant in GRANTS) >= 20
