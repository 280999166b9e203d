"""The functions in a VPC: their subnets, and the network interfaces that Lambda makes there in their name."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from nightspot.cdk.permissions import accept_wildcard, allow, arn
from nightspot.cdk.settings import Settings

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html (required permissions)
CHANGES = [
    f"ec2:{name}"
    for name in (
        "AssignPrivateIpAddresses",
        "CreateNetworkInterface",
        "DeleteNetworkInterface",
        "UnassignPrivateIpAddresses",
    )
]
LOOKS = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]


class FunctionNetwork:
    """Where the functions of `scope` run; outside a VPC, where the settings name no subnets for them."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        self._scope = scope
        self._subnets, self._groups = settings.function_subnet_ids, settings.function_security_group_ids
        self._inside: list[lambda_.Function] = []

    def let_in(self, role: iam.Role) -> None:
        """A function with this role may be put into the VPC. Before the function is made: Lambda looks."""
        if not self._subnets:
            return
        # AWS says so: "specify a unique resource ID, or include all resource IDs", and an id is not known before.
        every = arn(self._scope, "ec2", "*")
        # A shared subnet's ARN has the account of its owner.
        shared = [arn(self._scope, "ec2", f"subnet/{subnet}", account="*") for subnet in self._subnets]
        shared += [arn(self._scope, "ec2", f"security-group/{group}", account="*") for group in self._groups]
        allow(role, CHANGES, every, *shared)
        allow(role, LOOKS, "*")
        accept_wildcard(
            role,
            every,
            "Lambda makes the interfaces and checks for this; the function's own code is denied it.",
        )
        for each in shared:
            accept_wildcard(role, each, "One subnet or group, whichever account shares it.")

    def place(self, function: lambda_.Function) -> None:
        """Put the function there."""
        resource = function.node.default_child
        if self._subnets and isinstance(resource, lambda_.CfnFunction):
            # By ids: CDK's own way asks for the VPC, which the settings need not know.
            resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
                subnet_ids=list(self._subnets), security_group_ids=list(self._groups)
            )
            self._inside.append(function)

    def keep_their_code_out(self) -> None:
        """What Lambda may do with network interfaces for these functions, their own code may not.

        A policy of its own: it names the functions, which are made after their roles' policies.
        https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html (lambda:SourceFunctionArn)
        """
        if not self._inside:
            return
        iam.Policy(
            self._scope,
            "NoNetworkInterfaces",
            roles=[function.role for function in self._inside if function.role is not None],
            statements=[
                iam.PolicyStatement(
                    effect=iam.Effect.DENY,
                    actions=[*CHANGES, *LOOKS, "ec2:DetachNetworkInterface"],
                    resources=["*"],
                    conditions={
                        "ArnEquals": {
                            "lambda:SourceFunctionArn": [function.function_arn for function in self._inside]
                        }
                    },
                )
            ],
        )
