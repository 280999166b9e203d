"""cfn-lint on the synthesised template, and IAM's linters on its policies. asl-validator runs in `make lint`."""

import json
from pathlib import Path

import pytest
import yaml
from cfnlint.api import ManualArgs, lint
from cloudsplaining.scan.policy_document import PolicyDocument

from tests.infra.policies import Policies

pytestmark = pytest.mark.xdist_group("infra")

ROOT = Path(__file__).parents[2]
# The one value that cfn-lint's schema does not know: AWS takes an expression for it as well.
COMPUTED_TIMEOUT = '"TimeoutSeconds": "{% $step.wait_seconds %}"'


def findings(template):
    """(rule, message) of every finding, with the project's own configuration."""
    configuration = yaml.safe_load((ROOT / ".cfnlintrc.yaml").read_text(encoding="utf-8"))
    arguments = ManualArgs(regions=["eu-west-1", "us-east-1"], **configuration)
    return [(match.rule.id, match.message) for match in lint(json.dumps(template), config=arguments)]


def machine_alone(deployed, definition):
    """A template with nothing but the state machine, its definition checked by every rule."""
    substitutions = dict.fromkeys(
        deployed.only("StepFunctions::StateMachine")[1]["DefinitionSubstitutions"], "x"
    )
    properties = {
        "RoleArn": "arn:aws:iam::123456789012:role/nightspot",
        "DefinitionString": definition,
        "DefinitionSubstitutions": substitutions,
    }
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    return {"Resources": {"Machine": machine}}


def definition_findings(deployed, definition):
    return [message for rule, message in findings(machine_alone(deployed, definition)) if rule == "E3601"]


@pytest.fixture(scope="module")
def definition(deployed):
    """The workflow with a number where it computes one."""
    _, machine = deployed.only("StepFunctions::StateMachine")
    assert machine["DefinitionString"].count(COMPUTED_TIMEOUT) == 1
    return machine["DefinitionString"].replace(COMPUTED_TIMEOUT, '"TimeoutSeconds": 60')


@pytest.mark.parametrize(
    "variant",
    [
        "shipped",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("deployed", "in_one_subnet", "joined")),
    ],
)
def test_cfn_lint_finds_nothing(request, variant):
    assert findings(request.getfixturevalue(variant).template) == []


def test_cfn_lint_would_find_a_mistake(deployed):
    template = json.loads(json.dumps(deployed.template))
    name, _ = deployed.only("Lambda::Function", "PlanRun")
    template["Resources"][name]["Properties"]["Architectures"] = ["arm65"]
    assert [rule for rule, _ in findings(template)] == ["E3030"]


def test_the_workflow_s_definition_breaks_no_rule(deployed, definition):
    assert definition_findings(deployed, definition) == []


def test_the_computed_timeout_is_all_that_the_rule_is_silenced_for(deployed):
    _, machine = deployed.only("StepFunctions::StateMachine")
    (message,) = definition_findings(deployed, machine["DefinitionString"])
    assert "States/Wait for news/TimeoutSeconds" in message


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"StartAt": "Begin"', '"StartAt": "Nowhere"'),
        ('"Type": "Pass"', '"Type": "Pasta"'),
        ('"Seconds": "{% $step.wait_seconds %}"', '"Seconds": 60, "Minutes": 1'),
    ],
)
def test_a_spoilt_definition_would_be_found(deployed, definition, right, wrong):
    assert right in definition
    assert definition_findings(deployed, definition.replace(right, wrong, 1))


# What cloudsplaining looks for in a policy: https://github.com/salesforce/cloudsplaining
RISKS = (
    "allows_data_exfiltration_actions",
    "allows_privilege_escalation",
    "credentials_exposure",
    "infrastructure_modification",
    "permissions_management_without_constraints",
    "service_wildcard",
    "write_actions_without_constraints",
)
# (role, risk, finding): why it stays.
ACCEPTED = {
    ("DataRole", "credentials_exposure", "ecr:GetAuthorizationToken"): (
        "Pulling an image starts with it, and it knows no resources; what may be pulled is another permission."
    ),
}


def risks(role, *statements):
    """What cloudsplaining finds in the statements of a role."""
    document = PolicyDocument({"Version": "2012-10-17", "Statement": list(statements)})
    return {(role, risk, str(finding)) for risk in RISKS for finding in getattr(document, risk)}


def risks_of(synthesised):
    policies = Policies(synthesised.template)
    found = set()
    for name in synthesised.of_type("IAM::Role"):
        role = next((role for role, _, _ in ACCEPTED if role in name), name)
        found |= risks(role, *policies.statements(name))
    return found


@pytest.mark.parametrize(
    "variant", ["deployed", "joined", "in_one_subnet", "checking_quotas", "chatting", "disposable"]
)
def test_no_role_is_more_of_a_risk_than_it_has_to_be(request, variant):
    assert risks_of(request.getfixturevalue(variant)) - ACCEPTED.keys() == set()


def test_no_risk_is_accepted_that_is_none_any_more(deployed):
    assert risks_of(deployed) == ACCEPTED.keys()


@pytest.mark.parametrize(
    ("actions", "risk"),
    [
        (["iam:PassRole", "lambda:CreateFunction", "lambda:InvokeFunction"], "allows_privilege_escalation"),
        (["s3:GetObject"], "allows_data_exfiltration_actions"),
        (["kms:PutKeyPolicy"], "permissions_management_without_constraints"),
        (["sqs:*"], "service_wildcard"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_role_that_may_too_much_would_be_found(actions, risk):
    found = risks("Role", {"Effect": "Allow", "Action": actions, "Resource": "*"})
    assert risk in {name for _, name, _ in found}


def idle_grants(policies, role):
    """Actions of the role's statements that no call could use: of no resource named, or under no such condition."""
    for statement in policies.statements(role):
        said = {
            key.replace(":", "__"): values[0].replace("*", "x")
            for operator, wanted in statement["Condition"].items()
            for key, values in wanted.items()
            if operator != "Null"
        }
        for action in statement["Action"]:
            if not any(_is_of_use(policies, role, action, r, said) for r in statement["Resource"]):
                yield f"{role}: {action} on {statement['Resource']} with {said}"


def _is_of_use(policies, role, action, resource, said):
    try:
        return policies.allows(role, action, resource, **said)
    except ValueError:  # there is no such call
        return False


@pytest.mark.parametrize("variant", ["deployed", "joined", "in_one_subnet", "checking_quotas", "chatting"])
def test_every_action_is_granted_on_something_that_iam_knows_it_to_have(request, variant):
    synthesised = request.getfixturevalue(variant)
    policies = Policies(synthesised.template)
    roles = synthesised.of_type("IAM::Role")
    assert [found for role in roles for found in idle_grants(policies, role)] == []


@pytest.mark.parametrize(
    ("action", "resource", "condition"),
    [
        ("states:SendTaskSuccess", "arn:aws:states:eu-west-1:123456789012:stateMachine:m", {}),
        ("s3:GetObject", "arn:aws:s3:::bucket", {}),
        (
            "events:PutEvents",
            "arn:aws:events:eu-west-1:123456789012:event-bus/default",
            {"StringEquals": {"events:source": "nightspot"}},
        ),
        ("sqs:SendMessage", "*", {"StringEquals": {"events:source": "nightspot"}}),
    ],
    ids=[
        "a resource where there is none",
        "one of another kind",
        "an operator of one value",
        "a foreign key",
    ],
)
def test_a_grant_that_no_call_can_use_would_be_found(action, resource, condition):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}
    properties = {"Policies": [{"PolicyDocument": {"Statement": [statement]}}]}
    role = {"Type": "AWS::IAM::Role", "Properties": properties}
    (found,) = idle_grants(Policies({"Resources": {"Role": role}}), "Role")
    assert found.startswith(f"Role: {action} on ['{resource}']")
