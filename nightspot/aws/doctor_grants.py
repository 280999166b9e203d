"""Whether the stack's own roles may use what the job files name, as they say it now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.doctor_visit import (
    AWS_S3_KEY,
    Check,
    CheckFinding,
    CheckState,
    Visit,
    guarded,
    is_missing,
    key_of_bucket,
    listed,
)
from nightspot.aws.runs.checkpoints import PROGRESS_FILE
from nightspot.job.model import dig

# The stack's outputs that name its roles, by what they do with the things of a job.
PASSES_ROLES = "StartTrainingJobRoleArn"
READ_CHECKPOINTS = ("PlanRunRoleArn", "DecideNextStepRoleArn", "CloseRunRoleArn", "ReconcileRoleArn")
READ_MODELS = ("RecordOutcomeRoleArn", "CloseRunRoleArn", "ReconcileRoleArn")
_ANY_RUN = "20260101-abc123"
# What a list names, as a policy's condition knows it.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_PREFIX_KEY = "s3:prefix"


@dataclass(frozen=True)
class _Question:
    """One call of IAM's simulator: may the role of this output do this on these, `context` being what it says?"""

    output: str
    action: str
    resources: tuple[str, ...]
    context: tuple[tuple[str, str], ...] = ()

    def ask(self, iam: Any, role_arn: str) -> list[str]:
        """What it may not: "s3:GetObject on arn:…", for each resource that is refused."""
        answer = iam.simulate_principal_policy(
            PolicySourceArn=role_arn,
            ActionNames=[self.action],
            ResourceArns=list(self.resources),
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for key, value in self.context
            ],
        )
        listed_below = dict(self.context).get(_PREFIX_KEY)
        below = f" with the prefix {listed_below}" if listed_below else ""
        return [
            f"{self.action} on {each.get('EvalResourceName', '*')}{below}"
            for each in answer["EvaluationResults"]
            if each["EvalDecision"] != "allowed"
        ]


def grants(visit: Visit) -> Iterator[CheckFinding]:
    """What starts training jobs may pass the jobs' roles; the others may list and read what the jobs write.

    By IAM's simulator, which does not know the policies of buckets and keys: for keys see `keys`.
    """
    by_role: dict[str, list[_Question]] = {}
    for question in _questions(visit):
        by_role.setdefault(question.output, []).append(question)
    for output, questions in sorted(by_role.items()):
        yield from guarded(Check.GRANTS, lambda o=output, q=questions: [_finding(visit, o, q)], output)  # type: ignore[misc]


def _finding(visit: Visit, output: str, questions: Iterable[_Question]) -> CheckFinding:
    name = output.removesuffix("RoleArn")
    role_arn = visit.output(output)
    if role_arn is None:
        found = f"stack {visit.stack!r} has no output {output}: it is of an older version"
        return CheckFinding(Check.GRANTS, CheckState.NOT_CHECKED, found, "make deploy", name)
    iam = visit.client("iam")
    refused = [each for question in questions for each in question.ask(iam, role_arn)]
    if refused:
        fix = "make deploy: the stack may use what the job files named when it was deployed"
        return CheckFinding(Check.GRANTS, CheckState.PROBLEM, f"may not {', '.join(refused)}", fix, name)
    return CheckFinding(Check.GRANTS, CheckState.OK, "may use what the job files name", subject=name)


def _questions(visit: Visit) -> Iterator[_Question]:
    roles = _filled(visit, "RoleArn")
    partition = next((role.split(":")[1] for role in roles if role.startswith("arn:")), "aws")
    to_sagemaker = (("iam:PassedToService", "sagemaker.amazonaws.com"),)
    yield _Question(PASSES_ROLES, "iam:PassRole", roles, to_sagemaker)
    saved = _objects(partition, _filled(visit, "CheckpointConfig", "S3Uri"), f"{_ANY_RUN}/{PROGRESS_FILE}")
    models = _filled(visit, "OutputDataConfig", "S3OutputPath")
    models = _objects(partition, models, f"nightspot-job-{_ANY_RUN}-1/output/model.tar.gz")
    for outputs, objects in ((READ_CHECKPOINTS, saved), (READ_MODELS, models)):
        for output in outputs if objects else ():
            yield _Question(output, "s3:GetObject", objects)
            for bucket, key in _lists(visit, objects):
                # Without it numbered progress files are not found, and what is missing is "access denied".
                yield _Question(output, "s3:ListBucket", (bucket,), ((_PREFIX_KEY, key),))
    through_s3 = (("kms:ViaService", f"s3.{visit.region}.{_DOMAINS.get(partition, 'amazonaws.com')}"),)
    try:
        used = _used_keys(visit)
    except (ClientError, BotoCoreError):
        used = {}  # the check of keys says why
    for key, readers in used.items():
        for output in readers if key.startswith("arn:") else ():
            yield _Question(output, "kms:Decrypt", (key,), through_s3)


def _used_keys(visit: Visit) -> dict[str, tuple[str, ...]]:
    """By KMS key (ARN, id or alias): the outputs of the roles that read by it.

    The keys are those that job files name, those that their buckets encrypt by, and those of one object of each
    place, which may be older than the bucket's choice.
    """
    readers: dict[str, dict[str, None]] = {}
    for key in _filled(visit, "OutputDataConfig", "KmsKeyId"):
        readers.setdefault(key, {}).update(dict.fromkeys((*READ_CHECKPOINTS, *READ_MODELS)))
    places: tuple[tuple[tuple[str, str], tuple[str, ...]], ...] = (
        (("CheckpointConfig", "S3Uri"), READ_CHECKPOINTS),
        (("OutputDataConfig", "S3OutputPath"), READ_MODELS),
    )
    for keys, outputs in places:
        for uri in _filled(visit, *keys):
            bucket, _, prefix = uri.removeprefix("s3://").partition("/")
            for found in (key_of_bucket(visit, bucket), _key_of_an_object(visit, bucket, prefix)):
                # Whoever may use the bucket may use AWS's own key for S3.
                if found is not None and not found.endswith(AWS_S3_KEY):
                    readers.setdefault(found, {}).update(dict.fromkeys(outputs))
    return {key: tuple(outputs) for key, outputs in readers.items()}


def _key_of_an_object(visit: Visit, bucket: str, prefix: str) -> str | None:
    """The ARN of the key of some object below the prefix; None without one, or where the caller may not look."""
    s3 = visit.client("s3")
    try:
        there = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents", ())
        head = s3.head_object(Bucket=bucket, Key=there[0]["Key"]) if there else {}
    except (ClientError, BotoCoreError):
        return None
    key = head.get("SSEKMSKeyId")
    return None if key is None else str(key)


def keys(visit: Visit) -> Iterator[CheckFinding]:
    """Each KMS key is enabled, and its policy knows the roles of the stack that read by it, or leaves it to IAM."""
    used = _used_keys(visit)
    if not used:
        yield CheckFinding(Check.KEYS, CheckState.OK, "no KMS key of yours is used")
    for key, outputs in used.items():
        yield from guarded(Check.KEYS, lambda k=key, o=outputs: [_key(visit, k, o)], key.rpartition("/")[2])  # type: ignore[misc]


def _key(visit: Visit, key: str, outputs: Iterable[str]) -> CheckFinding:
    kms, name = visit.client("kms"), key.rpartition("/")[2]
    try:
        found = kms.describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        if not is_missing(error, "NotFoundException"):
            raise
        fix = "name a key that is there, or restore the one that the objects are encrypted by"
        return CheckFinding(Check.KEYS, CheckState.PROBLEM, "there is no such key in this region", fix, name)
    state = found["KeyState"]
    if state != "Enabled":
        fix = f"KMS in the console ({visit.region}): enable it, or cancel its deletion"
        return CheckFinding(Check.KEYS, CheckState.PROBLEM, f"is {state}: nothing can be read", fix, name)
    if found.get("AWSAccountId", visit.identity.account) != visit.identity.account:
        said = f"belongs to account {found['AWSAccountId']}, whose policy of it is not looked at"
        return CheckFinding(Check.KEYS, CheckState.NOT_CHECKED, said, subject=name)
    policy = json.loads(kms.get_key_policy(KeyId=found["KeyId"], PolicyName="default")["Policy"])
    roles = [arn for arn in map(visit.output, outputs) if arn is not None]
    unknown = [arn.rpartition("/")[2] for arn in roles if not _lets_decrypt(policy, arn)]
    if not unknown:
        return CheckFinding(
            Check.KEYS, CheckState.OK, "enabled; its policy lets the stack's roles decrypt", "", name
        )
    fix = "add them to the key's policy: docs/deploy.md has the statement"
    said = f"its policy does not let these roles decrypt: {', '.join(unknown)}"
    return CheckFinding(Check.KEYS, CheckState.PROBLEM, said, fix, name)


def _lets_decrypt(policy: Mapping[str, Any], role_arn: str) -> bool:
    """Whether a statement names the role, its account, or anybody. Conditions and denials are not looked at."""
    _, partition, _, _, account, _ = role_arn.split(":", 5)
    whom = {role_arn, account, f"arn:{partition}:iam::{account}:root", "*"}
    return any(
        statement["Effect"] == "Allow"
        and whom & set(_principals(statement.get("Principal", {})))
        and {"kms:*", "*", "kms:decrypt", "kms:de*"}
        & {str(each).lower() for each in listed(statement.get("Action", ()))}
        for statement in listed(policy["Statement"])
    )


def _principals(principal: Any) -> Iterable[str]:
    return (principal,) if isinstance(principal, str) else listed(principal.get("AWS", ()))


_DOMAINS: Mapping[str, str] = {"aws-cn": "amazonaws.com.cn"}


def _filled(visit: Visit, *keys: str) -> tuple[str, ...]:
    """What the jobs' requests have there, each once, with its placeholders filled in."""
    values = (dig(job.training_job, *keys) for job in visit.jobs)
    return tuple(dict.fromkeys(visit.filled(value) for value in values if isinstance(value, str)))


def _objects(partition: str, uris: Iterable[str], below: str) -> tuple[str, ...]:
    return tuple(f"arn:{partition}:s3:::{uri.removeprefix('s3://').rstrip('/')}/{below}" for uri in uris)


def _lists(visit: Visit, objects: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(bucket's ARN, prefix) of the lists in which these objects are looked for.

    The stack's own buckets may be listed whole, so one prefix speaks for all; a grant of another bucket names each.
    """
    own = {visit.filled(name) for name in ("${CheckpointBucket}", "${ModelBucket}")}
    seen = set()
    for each in objects:
        bucket, _, key = each.partition("/")
        if bucket not in seen:
            yield bucket, key
        if bucket.rpartition(":")[2] in own:
            seen.add(bucket)
