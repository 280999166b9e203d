"""cfn-lint on the synthesised template. asl-validator, which needs Node, runs in `make lint`."""

import json
from pathlib import Path

import pytest
import yaml
from cfnlint.api import ManualArgs, lint

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
        ('"Seconds": 60', '"Seconds": 60, "Minutes": 1'),
    ],
)
def test_a_spoilt_definition_would_be_found(deployed, definition, right, wrong):
    assert right in definition
    assert definition_findings(deployed, definition.replace(right, wrong, 1))
