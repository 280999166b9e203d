"""Decides what the placeholders of a job file stand for, by asking a deployed stack what it fills in itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.failures.classify import redact

# The function that fills them in when a run is planned; CDK puts the constructs above it before the name.
PLANNER = "FunctionsPlanRun"
# (placeholder, variable of that function)
VARIABLES = {
    "CheckpointBucket": "NIGHTSPOT_CHECKPOINT_BUCKET",
    "ModelBucket": "NIGHTSPOT_MODEL_BUCKET",
    "TrainingRoleArn": "NIGHTSPOT_TRAINING_ROLE_ARN",
    "DlcAccountId": "NIGHTSPOT_DLC_ACCOUNT_ID",
}


class DeploymentError(Exception):
    """A deployed stack of Nightspot could not be asked; the text tells why."""


@dataclass(frozen=True)
class Deployment:
    """What a stack knows: the names by placeholder, and the VpcConfig of jobs that state none (None: no VPC)."""

    names: Mapping[str, str] = field(default_factory=dict)
    vpc_config: dict[str, list[str]] | None = None


def read_deployment(stack: str, *, cloudformation: Any, lambdas: Any) -> Deployment:
    """What the stack of this name fills in. The clients are boto3's of CloudFormation and Lambda.

    Raises DeploymentError where it is not there, is not Nightspot's, or may not be read.
    """
    try:
        function = planner_of(stack, cloudformation)
        variables = lambdas.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    except (ClientError, BotoCoreError) as error:
        raise DeploymentError(f"stack {stack!r} could not be read: {redact(str(error))}") from error
    subnets = variables.get("NIGHTSPOT_SUBNET_IDS")
    return Deployment(
        names={name: variables[key] for name, key in VARIABLES.items() if variables.get(key)},
        vpc_config={
            "Subnets": subnets.split(","),
            "SecurityGroupIds": variables.get("NIGHTSPOT_SECURITY_GROUP_IDS", "").split(","),
        }
        if subnets
        else None,
    )


def planner_of(stack: str, cloudformation: Any) -> str:
    """The physical name of the function that plans runs. Raises DeploymentError where the stack has none."""
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            is_function = resource["ResourceType"] == "AWS::Lambda::Function"
            if is_function and PLANNER in resource["LogicalResourceId"]:
                return str(resource["PhysicalResourceId"])
    raise DeploymentError(f"stack {stack!r} is not Nightspot's: it has no function {PLANNER}")


def output_of(stack: str, name: str, *, cloudformation: Any) -> str:
    """The stack's output `name`. Raises DeploymentError where the stack cannot be read or has none."""
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except (ClientError, BotoCoreError) as error:
        raise DeploymentError(f"stack {stack!r} could not be read: {redact(str(error))}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}
    if name not in outputs:
        raise DeploymentError(
            f"stack {stack!r} has no output {name}: is it Nightspot's, and of this version?"
        )
    return str(outputs[name])
