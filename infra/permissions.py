"""What the constructs' policies are written with: ARNs, statements, and the findings that are accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

_PACK = "AwsSolutions"


def arn(scope: Construct, service: str, resource: str, account: str | None = None) -> str:
    """`arn:<partition>:<service>:<region>:<account>:<resource>` in the stack of `scope`."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:{service}:{stack.region}:{account or stack.account}:{resource}"


def service(
    scope: Construct, name: str, *, source: str | None = None, documented: bool = False
) -> iam.IPrincipal:
    """The AWS service `name`, such as "states", as what may become a role: on behalf of this account alone.

    `source`: the ARN, perhaps with wildcards, of what it works for. `documented`: AWS says that the service names
    both when it assumes a role. Where AWS does not say so, the conditions hold only if it does: a condition on a
    key that is not sent would keep the service out.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    end = "" if documented else "IfExists"
    conditions: dict[str, Any] = {f"StringEquals{end}": {"aws:SourceAccount": Stack.of(scope).account}}
    if source is not None:
        conditions[f"ArnLike{end}"] = {"aws:SourceArn": source}
    return iam.ServicePrincipal(f"{name}.amazonaws.com", conditions=conditions)


def via(scope: Construct, *services: str) -> dict[str, dict[str, Any]]:
    """IAM's condition that a key is used by one of these services alone, on its user's behalf."""
    stack = Stack.of(scope)
    names = [f"{name}.{stack.region}.{stack.url_suffix}" for name in services]
    return {"StringEquals": {"kms:ViaService": names[0] if len(names) == 1 else names}}


def allow(
    grantee: iam.IGrantable,
    actions: list[str],
    *resources: str,
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Give the role, or a function's role, one statement: these actions on these resources."""
    grantee.grant_principal.add_to_principal_policy(
        iam.PolicyStatement(actions=actions, resources=list(resources), conditions=conditions)
    )


def accept(resource: IConstruct, finding: str, reason: str) -> None:
    """Acknowledge a cdk-nag finding, such as "AwsSolutions-S1", on this resource alone."""
    Validations.of(resource).acknowledge(Acknowledgment(id=f"{_PACK}::{finding}", reason=reason))


def accept_wildcard(resource: IConstruct | None, arn: str, reason: str) -> None:
    """Acknowledge that a policy of `resource` names `arn`, which holds a wildcard, and nothing wider."""
    if resource is None:
        raise ValueError("the function has no role")
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
