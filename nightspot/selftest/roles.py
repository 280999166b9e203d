"""What the deployed roles may do and must not: questions for IAM's simulator. A test asks the template the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nightspot.selftest.model import NotTriedError
from nightspot.selftest.workspace import Workspace

_TO_SAGEMAKER = {"iam:PassedToService": "sagemaker.amazonaws.com"}
_OURS = {"events:source": "nightspot"}
# A request has several events: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
_LISTS = frozenset({"events:source"})
FUNCTIONS = ("PlanRun", "DecideNextStep", "RecordOutcome", "CloseRun", "Reconcile")
READ_PROGRESS = ("PlanRun", "DecideNextStep", "CloseRun", "Reconcile")


@dataclass(frozen=True)
class Grant:
    """A question: `role` is that of the output "<role>RoleArn"; `{…}` in `resource` is one of `names_of`."""

    role: str
    action: str
    resource: str
    allowed: bool = True
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.role} {'may not' if self.allowed else 'may'} {self.action} on {self.resource}"


def _needed() -> Iterator[Grant]:
    yield Grant("Workflow", "sagemaker:StopTrainingJob", "{job}")
    for action in ("CreateTrainingJob", "AddTags"):
        yield Grant("StartTrainingJob", f"sagemaker:{action}", "{job}")
    yield Grant("StartTrainingJob", "iam:PassRole", "{training_role}", context=_TO_SAGEMAKER)
    yield Grant("Workflow", "dynamodb:UpdateItem", "{table}")
    yield Grant("Workflow", "events:PutEvents", "{bus}", context=_OURS)
    for role in FUNCTIONS:
        yield Grant(role, "dynamodb:PutItem", "{table}")
        yield Grant(role, "dynamodb:UpdateItem", "{table}")
        yield Grant(role, "events:PutEvents", "{bus}", context=_OURS)
    for role in READ_PROGRESS:
        yield Grant(role, "sagemaker:DescribeTrainingJob", "{job}")
        yield Grant(role, "states:DescribeExecution", "{execution}")
        yield Grant(role, "s3:GetObject", "{checkpoints}/nightly/20261121-abcdefgh/nightspot.json")
    for action in ("GetObject", "PutObject", "DeleteObject"):
        yield Grant("Training", f"s3:{action}", "{checkpoints}/nightly/20261121-abcdefgh/nightspot.json")
    yield Grant("Training", "s3:PutObject", "{models}/nightly/model.tar.gz")


def _forbidden() -> Iterator[Grant]:
    for role in FUNCTIONS:
        for action, resource in (
            ("dynamodb:DeleteTable", "{table}"),
            ("dynamodb:PutItem", "{foreign_table}"),
            ("sagemaker:StopTrainingJob", "{foreign_job}"),
            ("s3:GetObject", "arn:{partition}:s3:::payroll/salaries.csv"),
            ("iam:PassRole", "{foreign_role}"),
        ):
            yield Grant(role, action, resource, allowed=False)
    for role, action, resource in (
        ("StartTrainingJob", "sagemaker:CreateTrainingJob", "{foreign_job}"),
        ("StartTrainingJob", "iam:PassRole", "{foreign_role}"),
        ("StartTrainingJob", "dynamodb:DeleteTable", "{table}"),
        ("Workflow", "sagemaker:StopTrainingJob", "{foreign_job}"),
        ("Workflow", "iam:PassRole", "{foreign_role}"),
        ("Workflow", "s3:GetObject", "{checkpoints}/nightly/x"),
        ("Workflow", "dynamodb:DeleteTable", "{table}"),
    ):
        yield Grant(role, action, resource, allowed=False, context=_TO_SAGEMAKER if "Pass" in action else {})
    for action, resource in (
        ("s3:GetObject", "arn:{partition}:s3:::payroll/salaries.csv"),
        ("sagemaker:CreateTrainingJob", "{job}"),
        ("dynamodb:GetItem", "{table}"),
        ("iam:PassRole", "{training_role}"),
    ):
        yield Grant("Training", action, resource, allowed=False)


GRANTS = (*_needed(), *_forbidden())


def names_of(outputs: Mapping[str, str], partition: str, region: str, account_id: str) -> dict[str, str]:
    """What stands for the stack's things, by its outputs. KeyError for one that is not there."""
    here = f"{region}:{account_id}"
    machine, ours = outputs["StateMachineArn"], f"nightspot-{outputs['Environment']}-a-20261121-abcdefgh-1"
    return {
        "partition": partition,
        "table": f"arn:{partition}:dynamodb:{here}:table/{outputs['TableName']}",
        "foreign_table": f"arn:{partition}:dynamodb:{here}:table/payroll",
        "bus": f"arn:{partition}:events:{here}:event-bus/default",
        "job": f"arn:{partition}:sagemaker:{here}:training-job/{ours}",
        "foreign_job": f"arn:{partition}:sagemaker:{here}:training-job/payroll-1",
        "execution": machine.replace(":stateMachine:", ":execution:") + ":one",
        "training_role": outputs["TrainingRoleArn"],
        "foreign_role": f"arn:{partition}:iam::{account_id}:role/administrator",
        "checkpoints": f"arn:{partition}:s3:::{outputs['CheckpointBucket']}",
        "models": f"arn:{partition}:s3:::{outputs['ModelBucket']}",
    }


def filled(resource: str, names: Mapping[str, str]) -> str:
    """A resource with the stack's things in it."""
    return re.sub(r"\{(\w+)\}", lambda match: names[match[1]], resource)


def stack_outputs(workspace: Workspace) -> dict[str, str]:
    """The outputs of the deployed stack. Raises NotTriedError without --stack, ClientError without the stack."""
    if workspace.stack is None:
        raise NotTriedError("needs --stack")
    (stack,) = workspace.client("cloudformation").describe_stacks(StackName=workspace.stack)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}


def wrong_grants(workspace: Workspace) -> list[str]:
    """The questions that IAM's simulator answers otherwise than planned."""
    outputs, iam = stack_outputs(workspace), workspace.client("iam")
    try:
        names = names_of(outputs, workspace.partition, workspace.region, workspace.account_id)
        roles = {grant.role: outputs[f"{grant.role}RoleArn"] for grant in GRANTS}
    except KeyError as error:
        raise NotTriedError(
            f"stack {workspace.stack!r} has no output {error}: it is of another version"
        ) from error
    wrong = []
    for grant in GRANTS:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=roles[grant.role],
            ActionNames=[grant.action],
            ResourceArns=[filled(grant.resource, names)],
            ContextEntries=[
                {
                    "ContextKeyName": key,
                    "ContextKeyValues": [value],
                    "ContextKeyType": "stringList" if key in _LISTS else "string",
                }
                for key, value in grant.context.items()
            ],
        )
        if (answer["EvaluationResults"][0]["EvalDecision"] == "allowed") != grant.allowed:
            wrong.append(str(grant))
    return wrong
