"""ARNs of what CDK has no construct for."""

from __future__ import annotations

from aws_cdk import Stack
from constructs import Construct


def arn(scope: Construct, service: str, resource: str, account: str | None = None) -> str:
    """`arn:<partition>:<service>:<region>:<account>:<resource>` in the stack of `scope`."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:{service}:{stack.region}:{account or stack.account}:{resource}"


def training_jobs_arn(scope: Construct) -> str:
    """Nightspot's own training jobs, and nobody else's."""
    return arn(scope, "sagemaker", "training-job/nightspot-*")
