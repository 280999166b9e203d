"""IAM's verdict on a call, as far as a synthesised template and the documents beside it say it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html: an explicit denial wins,
else one statement that allows is enough; a role's boundary has to allow as well. Organisations are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ACCOUNT, REGION = "123456789012", "eu-west-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
# CDK moves what has no room in a role's own policies into managed ones.
_POLICIES = {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}
_HERE = f"{REGION}:{ACCOUNT}"
# What `Ref` and `Arn` of each type look like, `{0}` being the resource's name.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/ (return values of each)
_REFS = {
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{_HERE}:stateMachine:{{0}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{_HERE}:{{0}}",
}
_ARNS = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{_HERE}:table/{{0}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{0}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{_HERE}:function:{{0}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{_HERE}:log-group:{{0}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{0}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{_HERE}:{{0}}",
    "AWS::StepFunctions::StateMachine": _REFS["AWS::StepFunctions::StateMachine"],
}


class Policies:
    """The roles of a template. A resource's name is its logical id, a bucket's in lower case.

    `boundaries`: the documents of the managed policies that roles have as their boundary, by ARN.
    """

    def __init__(
        self, template: Mapping[str, Any], boundaries: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._resources = template["Resources"]
        self._boundaries = boundaries or {}

    def the(self, kind: str, part: str) -> str:
        """The logical id of the only resource of `kind`, such as "IAM::Role", that has `part` in it."""
        (name,) = (
            name
            for name, resource in self._resources.items()
            if resource["Type"] == f"AWS::{kind}" and part in name
        )
        return str(name)

    def arn(self, kind: str, part: str) -> str:
        """The ARN of that resource."""
        return self.resolved({"Fn::GetAtt": [self.the(kind, part), "Arn"]})

    def ref(self, kind: str, part: str) -> str:
        """What `Ref` says of that resource."""
        return self.resolved({"Ref": self.the(kind, part)})

    def allows(self, role: str, action: str, resource: str = "*", **context: str) -> bool:
        """Whether the role with `role` in its logical id may. Of a context key, `__` stands for its colon.

        `"*"`, as AWS asks for an action that knows no resource.
        """
        keys = {name.replace("__", ":").lower(): value for name, value in context.items()}
        name = self.the("IAM::Role", role)
        boundary = self._resources[name]["Properties"].get("PermissionsBoundary")
        limits = [] if boundary is None else [_listed(self._boundaries[boundary]["Statement"])]
        return all(
            _verdict([self._plain(s) for s in statements], action, resource, keys)
            for statements in (self.statements(role), *limits)
        )

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Every statement of that role's own policies, without CloudFormation's functions."""
        name = self.the("IAM::Role", role)
        documents = [
            policy["PolicyDocument"] for policy in self._resources[name]["Properties"].get("Policies", ())
        ]
        documents += [
            resource["Properties"]["PolicyDocument"]
            for resource in self._resources.values()
            if resource["Type"] in _POLICIES and {"Ref": name} in resource["Properties"].get("Roles", ())
        ]
        return [self._plain(statement) for document in documents for statement in document["Statement"]]

    def _plain(self, statement: Mapping[str, Any]) -> dict[str, Any]:
        plain = dict(statement)
        for key in {"Action", "NotAction", "Resource", "NotResource"} & plain.keys():
            plain[key] = [self.resolved(value) for value in _listed(plain[key])]
        plain["Condition"] = {
            operator: {key: [self.resolved(v) for v in _listed(values)] for key, values in wanted.items()}
            for operator, wanted in plain.get("Condition", {}).items()
        }
        return plain

    def resolved(self, value: Any) -> str:
        """A text of the template. Raises ValueError for a function of CloudFormation's that it does not know."""
        match value:
            case str():
                return value
            case {"Ref": name} if name in _PSEUDO:
                return _PSEUDO[name]
            case {"Ref": name}:
                return _REFS.get(self._resources[name]["Type"], "{0}").format(self._name(name))
            case {"Fn::GetAtt": [name, "Arn"]}:
                return _ARNS[self._resources[name]["Type"]].format(self._name(name))
            case {"Fn::GetAtt": [name, "BackupVaultArn"]}:
                return f"arn:aws:backup:{_HERE}:backup-vault:{self._name(name)}"
            case {"Fn::GetAtt": [name, "Name"]}:
                return self._name(name)
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(self.resolved(part) for part in parts)
        raise ValueError(f"not a text: {value}")

    def _name(self, logical_id: str) -> str:
        is_bucket = self._resources[logical_id]["Type"] == "AWS::S3::Bucket"
        given = self._resources[logical_id].get("Properties", {}).get("BucketName") if is_bucket else None
        return str(given or (logical_id.lower() if is_bucket else logical_id))


def key_allows(document: Mapping[str, Any], principal: str, action: str, **context: str) -> bool:
    """Whether a key's own policy lets `principal` use it: a service, such as "events.amazonaws.com", or an ARN.

    For a principal of the key's account "root" stands for whatever IAM allows.
    """
    keys = {name.replace("__", ":").lower(): value for name, value in context.items()}
    account = principal.split(":")[4] if principal.startswith("arn:") else None
    statements = [
        {"Effect": s["Effect"], "Action": _listed(s["Action"]), "Resource": ["*"],
         "Condition": {o: {k: _listed(v) for k, v in w.items()} for o, w in s.get("Condition", {}).items()}}
        for s in document["Statement"]
        if principal in {*_listed(s["Principal"].get("Service", [])), *_listed(s["Principal"].get("AWS", []))}
        or (account and f"arn:aws:iam::{account}:root" in _listed(s["Principal"].get("AWS", [])))
    ]  # fmt: skip
    return _verdict(statements, action, "*", keys)


def _verdict(
    statements: Iterable[Mapping[str, Any]], action: str, resource: str, keys: Mapping[str, str]
) -> bool:
    found = [
        statement["Effect"]
        for statement in statements
        if _applies(statement, "Action", action.lower(), lower=True)
        and _applies(statement, "Resource", resource, lower=False)
        and _holds(statement.get("Condition", {}), keys)
    ]
    return "Allow" in found and "Deny" not in found


@dataclass(frozen=True)
class Call:
    """What a role asks for; `context` as `Policies.allows` takes it."""

    role: str
    action: str
    resource: str
    context: Mapping[str, str]

    def __str__(self) -> str:
        where = "".join(f", {key}={value}" for key, value in self.context.items())
        return f"{self.role}: {self.action} on {self.resource}{where}"


def call(role: str, action: str, resource: str = "*", **context: str) -> Call:
    return Call(role, action, resource, context)


def verdicts(policies: Policies, calls: Iterable[Call]) -> dict[str, bool]:
    """By call: whether it is allowed."""
    return {str(c): policies.allows(c.role, c.action, c.resource, **c.context) for c in calls}


def _applies(statement: Mapping[str, Any], key: str, value: str, *, lower: bool) -> bool:
    patterns = statement.get(key, statement.get(f"Not{key}"))
    if patterns is None:
        raise ValueError(f"a statement has neither {key} nor Not{key}")
    found = any(_like(value, pattern.lower() if lower else pattern) for pattern in patterns)
    return found if key in statement else not found


def _like(value: str, pattern: str) -> bool:
    """IAM's wildcards: `*` for any text, `?` for one character; nothing else means anything."""
    signs = {"*": ".*", "?": "."}
    return re.fullmatch("".join(signs.get(c) or re.escape(c) for c in pattern), value, re.DOTALL) is not None


def _holds(conditions: Mapping[str, Mapping[str, list[str]]], context: Mapping[str, str]) -> bool:
    """All operators, all keys; of a key's values one is enough. A key that the call does not have fails."""
    return all(
        (given := context.get(key.lower())) is not None and any(_fits(operator, given, v) for v in values)
        for operator, wanted in conditions.items()
        for key, values in wanted.items()
    )


def _fits(operator: str, given: str, wanted: str) -> bool:
    match operator:
        case "StringEquals":
            return given == wanted
        case "StringLike" | "ArnLike" | "ArnEquals":
            return _like(given, wanted)
        case "Bool":
            return given.lower() == wanted.lower()
    raise ValueError(f"the condition operator {operator} is not known here")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
