"""Security findings that are accepted, each beside its resource and with its reason."""

from __future__ import annotations

from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import Construct

_PACK = "AwsSolutions"


def accept(resource: Construct, finding: str, reason: str) -> None:
    """Acknowledge a cdk-nag finding, such as "AwsSolutions-S1", on this resource alone."""
    Validations.of(resource).acknowledge(Acknowledgment(id=f"{_PACK}::{finding}", reason=reason))


def accept_wildcard(resource: Construct, arn: str, reason: str) -> None:
    """Acknowledge that a policy of `resource` names `arn`, which holds a wildcard, and nothing wider."""
    text = _as_nag_writes(Stack.of(resource).resolve(arn))
    accept(resource, f"{_PACK}-IAM5[Resource::{text}]", reason)


def _as_nag_writes(value: Any) -> str:
    """cdk-nag's spelling of a resolved token: `<LogicalId.Arn>`, `<AWS::Region>`."""
    if isinstance(value, str):
        return value
    (function, argument), *_ = value.items()
    if function == "Ref":
        return f"<{argument}>"
    if function == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    if function == "Fn::Join":
        return str(argument[0]).join(_as_nag_writes(part) for part in argument[1])
    raise ValueError(f"an ARN is not made with {function}")
