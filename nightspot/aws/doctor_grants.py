"""Whether the stack's own roles may use what the job files name, as they say it now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.aws.doctor_visit import Check, CheckFinding, CheckState, Visit, guarded
from nightspot.aws.runs.checkpoints import PROGRESS_FILE
from nightspot.job.model import dig

# The stack's outputs that name its roles, by what they do with the things of a job.
PASSES_ROLES = "StartTrainingJobRoleArn"
READ_CHECKPOINTS = ("PlanRunRoleArn", "DecideNextStepRoleArn", "CloseRunRoleArn", "ReconcileRoleArn")
READ_MODELS = ("RecordOutcomeRoleArn", "CloseRunRoleArn", "ReconcileRoleArn")
_ANY_RUN = "20260101-abc123"


@dataclass(frozen=True)
class _Question:
    """One call of IAM's simulator: may the role of this output do this on these, `context` being what it says?"""

    output: str
    action: str
    resources: tuple[str, ...]
    context: tuple[tuple[str, str], ...] = ()

    def ask(self, iam: Any, role_arn: str) -> list[str]:
        """The resources on which it may not."""
        answer = iam.simulate_principal_policy(
            PolicySourceArn=role_arn,
            ActionNames=[self.action],
            ResourceArns=list(self.resources),
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for key, value in self.context
            ],
        )
        return [
            str(each.get("EvalResourceName", "*"))
            for each in answer["EvaluationResults"]
            if each["EvalDecision"] != "allowed"
        ]


def grants(visit: Visit) -> Iterator[CheckFinding]:
    """What starts training jobs may pass the jobs' roles; the others may read their checkpoints and models.

    By IAM's simulator, which does not know the policies of buckets and keys.
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
    refused = [
        f"{question.action} on {resource}"
        for question in questions
        for resource in question.ask(iam, role_arn)
    ]
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
    keys = tuple(key for key in _filled(visit, "OutputDataConfig", "KmsKeyId") if key.startswith("arn:"))
    through_s3 = (("kms:ViaService", f"s3.{visit.region}.{_DOMAINS.get(partition, 'amazonaws.com')}"),)
    for output in dict.fromkeys((*READ_CHECKPOINTS, *READ_MODELS)) if keys else ():
        yield _Question(output, "kms:Decrypt", keys, through_s3)


_DOMAINS: Mapping[str, str] = {"aws-cn": "amazonaws.com.cn"}


def _filled(visit: Visit, *keys: str) -> tuple[str, ...]:
    """What the jobs' requests have there, each once, with its placeholders filled in."""
    values = (dig(job.training_job, *keys) for job in visit.jobs)
    return tuple(dict.fromkeys(visit.filled(value) for value in values if isinstance(value, str)))


def _objects(partition: str, uris: Iterable[str], below: str) -> tuple[str, ...]:
    return tuple(f"arn:{partition}:s3:::{uri.removeprefix('s3://').rstrip('/')}/{below}" for uri in uris)
