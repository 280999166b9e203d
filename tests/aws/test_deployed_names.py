"""What a deployed stack says of the placeholders of job files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from nightspot.aws.runs.operating import PLANNER, VARIABLES, DeploymentError, output_of, read_deployment
from nightspot.lambdas.dependencies import Environment

NIGHTSPOT = [
    ("TrainingDataCheckpoints1A2B3C4D", "AWS::S3::Bucket", "stack-checkpoints"),
    ("TrainingFunctionsPlanRunRole5E6F7A8B", "AWS::IAM::Role", "stack-plan-run-role"),
    ("TrainingFunctionsPlanRun2052680D", "AWS::Lambda::Function", "stack-plan-run"),
]
ENVIRONMENT = {
    "NIGHTSPOT_CHECKPOINT_BUCKET": "our-checkpoints",
    "NIGHTSPOT_MODEL_BUCKET": "our-models",
    "NIGHTSPOT_TRAINING_ROLE_ARN": "arn:aws:iam::123456789012:role/ours",
    "NIGHTSPOT_SUBNET_IDS": "",
    "NIGHTSPOT_SECURITY_GROUP_IDS": "",
}


class Stack:
    """CloudFormation and Lambda, of one stack whose resources fill two pages."""

    def __init__(self, resources: list[tuple[str, str, str]] = NIGHTSPOT, **environment: str) -> None:
        self.resources = resources
        self.environment = {**ENVIRONMENT, **environment}

    def get_paginator(self, operation: str) -> Stack:
        assert operation == "list_stack_resources"
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        if request["StackName"] != "Nightspot":
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": "Stack with id other does not exist"}},
                "ListStackResources",
            )
        found = [
            {"LogicalResourceId": logical, "ResourceType": kind, "PhysicalResourceId": physical}
            for logical, kind, physical in self.resources
        ]
        return [{"StackResourceSummaries": found[:1]}, {"StackResourceSummaries": found[1:]}]

    def get_function_configuration(self, **request: str) -> dict[str, Any]:
        assert request["FunctionName"] == "stack-plan-run"
        return {"Environment": {"Variables": self.environment}}

    def describe_stacks(self, **request: str) -> dict[str, Any]:
        self.paginate(**request)
        outputs = {"TableName": "runs", "ApiUrl": "https://api.example/"}
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()]}]}


def read(stack: Stack, name: str = "Nightspot"):
    return read_deployment(name, cloudformation=stack, lambdas=stack)


def test_a_stack_says_what_its_own_function_fills_in():
    deployment = read(Stack())
    assert deployment.names == {
        "CheckpointBucket": "our-checkpoints",
        "ModelBucket": "our-models",
        "TrainingRoleArn": "arn:aws:iam::123456789012:role/ours",
    }
    assert deployment.vpc_config is None


def test_a_stack_with_teams_says_which_roles_are_theirs():
    names = read(
        Stack(NIGHTSPOT_TRAINING_ROLE_ARNS='{"search": "arn:aws:iam::123456789012:role/search"}')
    ).names
    assert names["TrainingRoleArn.search"] == "arn:aws:iam::123456789012:role/search"
    assert names["TrainingRoleArn"] == "arn:aws:iam::123456789012:role/ours"


def test_a_stack_in_a_vpc_gives_its_jobs_the_vpc():
    deployment = read(Stack(NIGHTSPOT_SUBNET_IDS="subnet-1,subnet-2", NIGHTSPOT_SECURITY_GROUP_IDS="sg-1"))
    assert deployment.vpc_config == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}


def test_a_name_that_the_stack_does_not_know_is_left_out():
    assert "ModelBucket" not in read(Stack(NIGHTSPOT_MODEL_BUCKET="")).names


def test_a_stack_that_is_not_there_is_told_with_awss_words():
    with pytest.raises(DeploymentError, match=r"stack 'other' could not be read: .*does not exist"):
        read(Stack(), "other")


def test_a_stack_of_somebody_elses_is_told():
    with pytest.raises(DeploymentError, match="stack 'Nightspot' is not Nightspot's"):
        read(Stack(NIGHTSPOT[:2]))


def test_a_stack_is_asked_for_one_of_its_outputs():
    assert output_of("Nightspot", "TableName", cloudformation=Stack()) == "runs"


@pytest.mark.parametrize(
    ("stack", "output", "words"),
    [
        ("other", "TableName", "stack 'other' could not be read: .*does not exist"),
        ("Nightspot", "Table", "stack 'Nightspot' has no output Table: is it Nightspot's"),
    ],
)
def test_an_output_that_there_is_not_is_named(stack, output, words):
    with pytest.raises(DeploymentError, match=words):
        output_of(stack, output, cloudformation=Stack())


def test_the_names_are_those_that_the_deployed_functions_read(request):
    aliases = {field.alias for field in Environment.model_fields.values()}
    assert set(VARIABLES.values()) <= aliases
    known = Environment.model_construct(
        checkpoint_bucket="", model_bucket="", training_role_arn="", region=""
    )
    assert set(VARIABLES) <= set(known.names("123456789012"))
    snapshot = json.loads((request.config.rootpath / "tests/infra/snapshot.json").read_text(encoding="utf-8"))
    assert PLANNER in json.dumps(snapshot["what_a_run_may_do"])
