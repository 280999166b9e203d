"""What the self-test asks AWS of rules and roles is what the template has."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import typer

from nightspot.cdk import Settings
from nightspot.cli.selftest import probe_image
from nightspot.job.reading import load_jobs
from nightspot.selftest.aftermath import (
    METRICS,
    QUERIES_OF_FAILURES,
    RUN_IN_QUERY,
    metrics_of_alarm,
    metrics_of_dashboard,
)
from nightspot.selftest.patterns import ENVIRONMENT, MACHINE_ARN, PATTERNS, STACK_ID
from nightspot.selftest.permissions import resources
from nightspot.selftest.roles import GRANTS, filled, names_of
from tests.infra.policies import ACCOUNT, REGION, Policies

pytestmark = pytest.mark.xdist_group("infra")

ROOT = Path(__file__).parents[2]
# The roles by a part of their logical ids.
LOGICAL = {"Workflow": "WorkflowRole", "Training": "DataRole"}


@pytest.fixture(scope="module")
def synthesised(synthesise):
    return synthesise(Settings(environment=ENVIRONMENT))


def test_the_patterns_are_those_of_the_template(synthesised):
    policies = Policies(synthesised.template)
    machine = policies.ref("StepFunctions::StateMachine", "")
    there = []
    for rule in synthesised.of_type("Events::Rule").values():
        if "EventPattern" in rule:
            text = json.dumps(resolved(rule["EventPattern"], policies))
            name = machine.rpartition(":")[2]
            there.append(
                text.replace(machine, MACHINE_ARN).replace(f"execution:{name}:", "execution:nightspot:")
            )

    wanted = sorted(json.dumps(pattern, sort_keys=True) for pattern in PATTERNS.values())
    assert sorted(json.dumps(json.loads(text), sort_keys=True) for text in there) == wanted


def resolved(value, policies):
    match value:
        case {"Ref": "AWS::StackId"}:
            return STACK_ID
        case {"Ref": _} | {"Fn::Join": _} | {"Fn::GetAtt": _}:
            return policies.resolved(value)
        case dict():
            return {key: resolved(inner, policies) for key, inner in value.items()}
        case list():
            return [resolved(inner, policies) for inner in value]
        case _:
            return value


@pytest.mark.parametrize("grant", GRANTS, ids=str)
def test_the_template_s_roles_may_what_the_self_test_expects(synthesised, grant):
    policies = Policies(synthesised.template)
    outputs = {
        name: policies.resolved(value["Value"])
        for name, value in synthesised.template["Outputs"].items()
        if name
        in {
            "StateMachineArn",
            "TableName",
            "Environment",
            "CheckpointBucket",
            "ModelBucket",
            "TrainingRoleArn",
        }
    }
    names = names_of(outputs, "aws", REGION, ACCOUNT)
    role = LOGICAL.get(grant.role, f"{grant.role}Role")
    context = {key.replace(":", "__"): value for key, value in grant.context.items()}

    assert policies.allows(role, grant.action, filled(grant.resource, names), **context) is grant.allowed
    assert f"{grant.role}RoleArn" in synthesised.template["Outputs"]


def test_of_each_metric_of_alarms_and_dashboard_it_is_said_when_it_has_a_value(synthesised, as_text):
    def plain(value):
        if isinstance(value, list):
            return [plain(each) for each in value]
        if not isinstance(value, dict):
            return value
        is_function = any(key == "Ref" or key.startswith("Fn::") for key in value)
        return as_text(value) if is_function else {key: plain(each) for key, each in value.items()}

    (dashboard,) = synthesised.of_type("CloudWatch::Dashboard").values()
    found = {
        *(
            m
            for each in synthesised.of_type("CloudWatch::Alarm").values()
            for m in metrics_of_alarm(plain(each))
        ),
        *metrics_of_dashboard(as_text(dashboard["DashboardBody"])),
    }

    assert {each.name for each in found} == METRICS.keys()
    assert {each.dimensions for each in found if each.namespace == "Nightspot"} == {
        (("environment", ENVIRONMENT), ("service", "nightspot"))
    }


def test_the_saved_queries_are_those_that_it_fills_in(synthesised):
    saved = synthesised.of_type("Logs::QueryDefinition").values()
    names = {each["Name"].rpartition("/")[2] for each in saved}

    assert names >= QUERIES_OF_FAILURES
    assert {each["Name"].rpartition("/")[0] for each in saved} == {f"Nightspot/{ENVIRONMENT}"}
    assert sum(RUN_IN_QUERY in each["QueryString"] for each in saved) == 1
    assert all(each["LogGroupNames"] for each in saved)


def test_the_policy_of_who_makes_it_reaches_what_a_run_of_the_stack_leaves(synthesised):
    ids = {kind: list(synthesised.of_type(kind)) for kind in ("S3::Bucket", "DynamoDB::Table")}
    ids["Lambda::Function"] = [name for name in synthesised.of_type("Lambda::Function") if "Notify" in name]
    # CloudFormation's names have the stack's and the logical id in them; a bucket's in small letters.
    named = {
        "s3:GetObject": [
            f"arn:aws:s3:::nightspot-{name.lower()}-x/reports/a.html" for name in ids["S3::Bucket"]
        ],
        "dynamodb:Query": [
            f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Nightspot-{name}-X" for name in ids["DynamoDB::Table"]
        ],
        "lambda:GetFunctionConfiguration": [
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Nightspot-{name}-X"
            for name in ids["Lambda::Function"]
        ],
    }

    for action, wanted in named.items():
        assert wanted, action
        for each in wanted:
            assert any(fnmatchcase(each, pattern) for pattern in resources(action)), each


def test_the_probe_runs_in_the_image_of_the_smoke_job():
    smoke = load_jobs(ROOT / "jobs")["smoke"].training_job["AlgorithmSpecification"]["TrainingImage"]

    image = probe_image("eu-west-1")

    assert image.split("amazonaws.com/")[1] == smoke.split("amazonaws.com/")[1]
    assert re.fullmatch(r"[0-9]{12}\.dkr\.ecr\.eu-west-1\.amazonaws\.com/.+", image)


def test_a_region_that_cdk_does_not_know_needs_an_image(capsys):
    with pytest.raises(typer.Exit):
        probe_image("xx-north-9")
    assert "--image: must be given" in capsys.readouterr().err
