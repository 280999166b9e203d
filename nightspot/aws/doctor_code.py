"""Whether the next run of each job with code finds its archive, and whether its training role may read it."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.doctor_visit import Check, CheckFinding, CheckState, Visit, guarded, unanswered
from nightspot.aws.runs.job_code import CodeArchives, PushedCodes
from nightspot.job.code_version import ARCHIVE, prefix_of
from nightspot.job.model import Job


def code(visit: Visit) -> Iterator[CheckFinding]:
    """What was pushed is there, and the training role may read the job's archives."""
    coded = [job for job in visit.jobs if job.code is not None]
    if not coded:
        yield CheckFinding(Check.CODE, CheckState.OK, "no job here has code")
    for job in coded:
        yield from guarded(Check.CODE, lambda job=job: [_code(visit, job)], job.name)  # type: ignore[misc]


def _code(visit: Visit, job: Job) -> CheckFinding:
    table, bucket = visit.output("TableName"), visit.output("ReportBucket")
    if table is None or bucket is None:
        found = f"stack {visit.stack!r} has no outputs TableName and ReportBucket"
        return CheckFinding(Check.CODE, CheckState.PROBLEM, found, "make deploy", job.name)
    pushed = PushedCodes(visit.client("dynamodb"), table).get(job.name)
    if pushed is None:
        said = "comes with the deployment; a run stores its archive"
    elif CodeArchives(visit.client("s3"), bucket).has(job.name, pushed.version):
        said = f"pushed: {pushed.version.words}"
    else:
        found = f"the archive of what was pushed is gone: {pushed.version.words}"
        return CheckFinding(Check.CODE, CheckState.PROBLEM, found, f"nightspot push {job.name}", job.name)
    return _with_role(visit, job, bucket, said)


def _with_role(visit: Visit, job: Job, bucket: str, said: str) -> CheckFinding:
    """IAM's simulator does not know the bucket's policy; few may ask it, so it passes without."""
    role = visit.filled(str(job.training_job["RoleArn"]))
    objects = f"arn:{role.split(':')[1]}:s3:::{bucket}/{prefix_of(job.name)}any/{ARCHIVE}"
    try:
        answer = visit.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=["s3:GetObject"], ResourceArns=[objects]
        )
    except (ClientError, BotoCoreError) as error:
        found = f"{said}; whether the training role may read it was not simulated: {unanswered(error)[0]}"
        return CheckFinding(Check.CODE, CheckState.OK, found, subject=job.name)
    if all(each["EvalDecision"] == "allowed" for each in answer["EvaluationResults"]):
        found = f"{said}; the training role may read it"
        return CheckFinding(Check.CODE, CheckState.OK, found, subject=job.name)
    found = f"{role.rpartition('/')[2]} may not s3:GetObject on {objects}"
    fix = "make deploy; a role of yours has to be given it (docs/deploy.md)"
    return CheckFinding(Check.CODE, CheckState.PROBLEM, found, fix, job.name)
