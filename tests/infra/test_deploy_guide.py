"""What docs/deploy.md promises to who sets up several environments, teams and permissions."""

from __future__ import annotations

import json
import re

import pytest

from nightspot.cdk import read_settings
from nightspot.cdk.identity import default_environment
from tools.documented_commands import command_lines

pytestmark = pytest.mark.xdist_group("infra")

# The first part of a CloudFormation type, as the guide calls the service.
CALLED = {
    "ApiGateway": "API Gateway",
    "CloudWatch": "CloudWatch (alarms, dashboard)",
    "DynamoDB": "DynamoDB",
    "Events": "EventBridge",
    "IAM": "IAM (roles and policies below the stack's name)",
    "Lambda": "Lambda",
    "Logs": "CloudWatch Logs",
    "S3": "S3",
    "SNS": "SNS",
    "SQS": "SQS",
    "Scheduler": "EventBridge Scheduler",
    "StepFunctions": "Step Functions",
}


@pytest.fixture(scope="module")
def page(pytestconfig):
    return pytestconfig.rootpath / "docs" / "deploy.md"


@pytest.fixture(scope="module")
def section(page):
    """section(heading) -> the text below it, on one line."""
    parts = page.read_text(encoding="utf-8").split("\n## ")

    def of(heading):
        (found,) = (part for part in parts if part.startswith(f"{heading}\n"))
        return re.sub(r"\s+", " ", found)

    return of


@pytest.fixture(scope="module")
def side_by_side(page, synthesise):
    """By stack: the template of each environment that a documented command deploys."""
    found = {}
    for line in command_lines(page):
        if line.words[:2] == ("nightspot", "deploy") and any("environment=" in word for word in line.words):
            given = dict(word.split("=", 1) for word in line.words if "=" in word)
            found[given["nightspot:stack_name"]] = synthesise(read_settings(given.get))
    return found


def test_the_three_environments_of_the_guide_stand_side_by_side(side_by_side):
    told = {
        stack: each.template["Outputs"]["Environment"]["Value"].strip()
        for stack, each in side_by_side.items()
    }
    assert told == {"Nightspot-dev": "dev", "Nightspot-staging": "staging", "Nightspot-prod": "prod"}
    for stack, each in side_by_side.items():
        others = {name for other, name in told.items() if other != stack}
        text = json.dumps(each.template)
        assert f"nightspot-{told[stack]}-" in text
        assert [name for name in others if f"nightspot-{name}-" in text] == []


def test_the_default_names_of_the_guide_s_environments_are_those_that_it_gives(side_by_side):
    assert {stack: default_environment(stack) for stack in side_by_side} == {
        "Nightspot-dev": "dev",
        "Nightspot-staging": "staging",
        "Nightspot-prod": "prod",
    }
    assert [default_environment(f"Nightspot-{team}") for team in ("ads", "adsstage")] == ["ads", "adsstage"]


def test_the_security_department_is_told_every_service_that_the_template_has_resources_of(shipped, section):
    services = {each["Type"].split("::")[1] for each in shipped.template["Resources"].values()}
    text = section("What to ask the security department for")
    listed = re.search(r"resources of these services: (.*?)\. A policy", text)[1]
    assert services - {"CDK"} <= CALLED.keys()
    assert sorted(re.split(r", (?![^(]*\))", listed)) == sorted(CALLED[each] for each in services - {"CDK"})
