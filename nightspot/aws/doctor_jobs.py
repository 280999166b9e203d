"""Whether what the job files name is there: quotas, role, buckets, image, and the schedule that starts each job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.doctor_visit import (
    Check,
    CheckFinding,
    CheckState,
    Visit,
    guarded,
    is_missing,
    job_of,
    key_of_bucket,
    listed,
    unanswered,
)
from nightspot.aws.prices import Quotas, QuotasUnknownError
from nightspot.formats.figures import MINUTE_SECONDS
from nightspot.job.markets import Market
from nightspot.job.model import Job, dig
from nightspot.job.times import Schedule
from nightspot.plan.planning import quota_name

SERVICE = "sagemaker.amazonaws.com"
# What a training job does at the least, on the objects of its buckets.
ACTIONS = ("s3:GetObject", "s3:PutObject")
WRITE = ("s3:PutObject",)
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<name>[^:@]+)"
    r"(?:(?P<mark>[:@])(?P<which>.+))?"
)


def jobs(visit: Visit) -> Iterator[CheckFinding]:
    """The job files describe jobs that can run."""
    if not visit.files:
        yield CheckFinding(
            Check.JOBS, CheckState.NOT_CHECKED, "there are no job files here", "nightspot doctor FILE"
        )
    for each in visit.files:
        name, fix = str(each.path), f"nightspot validate {each.path}"
        errors = [str(found) for found in each.problems if found.severity == "error"]
        if errors:
            found = f"{errors[0]}{_and_more(len(errors))}"
            yield CheckFinding(Check.JOBS, CheckState.PROBLEM, found, fix, name)
        elif each.problems:
            found = f"{each.problems[0]}{_and_more(len(each.problems))}"
            yield CheckFinding(Check.JOBS, CheckState.WARNING, found, fix, name)
        else:
            yield CheckFinding(Check.JOBS, CheckState.OK, "valid", subject=name)


def quotas(visit: Visit) -> Iterator[CheckFinding]:
    """The account may have the machines of each rung. A job needs one good rung in each market it names."""
    names = {quota_name(*rung) for job in visit.jobs for rung in _rungs(job)}
    try:
        limits = Quotas(visit.client("service-quotas")).limits(names)
    except QuotasUnknownError as error:
        if isinstance(error.__cause__, (ClientError, BotoCoreError)):
            raise error.__cause__ from error
        raise
    for job in visit.jobs:
        for market in Market:
            rungs = [quota_name(market, spec.instance_type) for spec in job.capacity.rungs_of(market)]
            one_is_enough = any(limits.get(name, 0) >= job.instance_count for name in rungs)
            for name in rungs:
                yield _quota(visit, job, name, limits.get(name), one_is_enough=one_is_enough)


def _quota(visit: Visit, job: Job, name: str, limit: float | None, *, one_is_enough: bool) -> CheckFinding:
    where = f"Service Quotas in the console ({visit.region}): Amazon SageMaker, {name!r}, request an increase"
    if limit is None:
        found = f"Service Quotas does not show {name!r}"
        return CheckFinding(Check.QUOTAS, CheckState.NOT_CHECKED, found, where, job.name)
    found = f"{name}: {limit:g}, needed {job.instance_count}"
    if limit >= job.instance_count:
        return CheckFinding(Check.QUOTAS, CheckState.OK, found, subject=job.name)
    return CheckFinding(
        Check.QUOTAS, CheckState.WARNING if one_is_enough else CheckState.PROBLEM, found, where, job.name
    )


def role(visit: Visit) -> Iterator[CheckFinding]:
    """SageMaker may take on the role of the training jobs, and the role may use their buckets."""
    yield from _each(visit, Check.ROLE, "RoleArn", look=_role)


def _role(visit: Visit, arn: str) -> Iterator[CheckFinding]:
    name = arn.rpartition("/")[2]
    account = arn.split(":")[4] if arn.count(":") >= 5 else ""
    if account != visit.identity.account:
        found = f"belongs to account {account or 'nobody knows which'}, not to this one"
        yield CheckFinding(Check.ROLE, CheckState.NOT_CHECKED, found, subject=name)
        return
    iam = visit.client("iam")
    try:
        policy = iam.get_role(RoleName=name)["Role"].get("AssumeRolePolicyDocument", {})
    except ClientError as error:
        if not is_missing(error, "NoSuchEntity"):
            raise
        fix = "make deploy, or fix training_job.RoleArn"
        yield CheckFinding(Check.ROLE, CheckState.PROBLEM, "there is no such role", fix, name)
        return
    if not _trusts(policy):
        fix = f"add {SERVICE} to its trust policy: aws iam update-assume-role-policy --role-name {name} …"
        yield CheckFinding(Check.ROLE, CheckState.PROBLEM, f"does not trust {SERVICE}", fix, name)
        return
    yield _may_use_buckets(visit, iam, arn, name)


def _trusts(policy: Any) -> bool:
    for statement in listed(dig(policy, "Statement")):
        services = listed(dig(statement, "Principal", "Service"))
        actions = {str(action).lower() for action in listed(dig(statement, "Action"))}
        if dig(statement, "Effect") == "Allow" and SERVICE in services:
            return bool(actions & {"sts:assumerole", "sts:*", "*"})
    return False


def _may_use_buckets(visit: Visit, iam: Any, arn: str, name: str) -> CheckFinding:
    """What IAM's simulator says of the places that this role's jobs name; few may ask it, so it passes without."""
    partition = arn.split(":")[1]
    trusted = f"trusts {SERVICE}"
    refused = set()
    for keys, actions in (
        (("CheckpointConfig", "S3Uri"), ACTIONS),
        (("OutputDataConfig", "S3OutputPath"), WRITE),
    ):
        uris = [dig(job.training_job, *keys) for job in visit.jobs if _runs_as(visit, job, arn)]
        places = [visit.filled(uri).removeprefix("s3://").rstrip("/") for uri in uris if isinstance(uri, str)]
        if not places:
            continue
        try:
            answer = iam.simulate_principal_policy(
                PolicySourceArn=arn,
                ActionNames=list(actions),
                ResourceArns=[f"arn:{partition}:s3:::{place}/*" for place in dict.fromkeys(places)],
            )
        except (ClientError, BotoCoreError) as error:
            found = f"{trusted}; what it may do was not simulated: {unanswered(error)[0]}"
            return CheckFinding(Check.ROLE, CheckState.OK, found, subject=name)
        refused |= {
            f"{each['EvalActionName']} on {each.get('EvalResourceName', '*')}"
            for each in answer["EvaluationResults"]
            if each["EvalDecision"] != "allowed"
        }
    if not refused:
        return CheckFinding(Check.ROLE, CheckState.OK, f"{trusted}, and may use the buckets", subject=name)
    fix = f"give it these: aws iam put-role-policy --role-name {name} …"
    return CheckFinding(Check.ROLE, CheckState.PROBLEM, f"may not {', '.join(sorted(refused))}", fix, name)


def _runs_as(visit: Visit, job: Job, role_arn: str) -> bool:
    role = dig(job.training_job, "RoleArn")
    return isinstance(role, str) and visit.filled(role) == role_arn


def buckets(visit: Visit) -> Iterator[CheckFinding]:
    """The buckets of checkpoints and models are there, in this region, versioned; by which key they encrypt."""
    for bucket, has_checkpoints in _buckets_of(visit):
        yield from guarded(
            Check.BUCKETS,
            lambda bucket=bucket, kept=has_checkpoints: _bucket(visit, bucket, kept),  # type: ignore[misc]
            bucket,
        )


def _buckets_of(visit: Visit) -> list[tuple[str, bool]]:
    """(bucket, whether checkpoints go there) of all jobs."""
    found: dict[str, bool] = {}
    for job in visit.jobs:
        for keys, kept in (
            (("CheckpointConfig", "S3Uri"), True),
            (("OutputDataConfig", "S3OutputPath"), False),
        ):
            if isinstance(uri := dig(job.training_job, *keys), str):
                bucket = urlsplit(visit.filled(uri)).netloc
                found[bucket] = found.get(bucket, False) or kept
    return list(found.items())


def _bucket(visit: Visit, bucket: str, has_checkpoints: bool) -> Iterator[CheckFinding]:
    s3 = visit.client("s3")
    try:
        answer = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if is_missing(error, "301"):
            answer = error.response
        elif is_missing(error, "404", "NoSuchBucket"):
            fix = "make deploy, or fix the S3 address in the job file"
            yield CheckFinding(Check.BUCKETS, CheckState.PROBLEM, "there is no such bucket", fix, bucket)
            return
        else:
            raise
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    where = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
    if where is not None and where != visit.region:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html: same region only
        found = f"is in {where}; training in {visit.region} needs one there"
        fix = "name a bucket of the region in the job file, or deploy where the bucket is"
        yield CheckFinding(Check.BUCKETS, CheckState.PROBLEM, found, fix, bucket)
        return
    good = ["there"]
    if has_checkpoints:
        if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
            found = "keeps no versions: a restart that does not restore would overwrite better checkpoints"
            fix = (
                f"aws s3api put-bucket-versioning --bucket {bucket} "
                f"--versioning-configuration Status=Enabled{visit.options}"
            )
            yield CheckFinding(Check.BUCKETS, CheckState.WARNING, found, fix, bucket)
        else:
            good.append("versioned")
    key = key_of_bucket(visit, bucket)
    good.append("encrypted by S3's own keys" if key is None else f"encrypted by the key {key}")
    yield CheckFinding(Check.BUCKETS, CheckState.OK, ", ".join(good), subject=bucket)


def image(visit: Visit) -> Iterator[CheckFinding]:
    """The training image is in the account's ECR. Nobody but its owner can be asked for another's."""
    yield from _each(visit, Check.IMAGE, "AlgorithmSpecification", "TrainingImage", look=_image)


def _image(visit: Visit, uri: str) -> Iterator[CheckFinding]:
    parts = _IMAGE.fullmatch(uri)
    if parts is None or parts["account"] != visit.identity.account:
        found = "is not in this account's ECR: AWS's own images and other registries are not looked into"
        yield CheckFinding(Check.IMAGE, CheckState.NOT_CHECKED, found, subject=uri.rpartition("/")[2])
        return
    name, which = parts["name"], parts["which"] or "latest"
    subject = f"{name}{parts['mark'] or ':'}{which}"
    if parts["region"] != visit.region:
        found = f"is in {parts['region']}; training in {visit.region} needs it there"
        fix = "push it there, and write ${AWS::Region} in training_job.AlgorithmSpecification.TrainingImage"
        yield CheckFinding(Check.IMAGE, CheckState.PROBLEM, found, fix, subject)
        return
    key = "imageDigest" if parts["mark"] == "@" else "imageTag"
    try:
        wanted = [{key: which}]
        images = visit.client("ecr").describe_images(repositoryName=name, imageIds=wanted)["imageDetails"]
    except ClientError as error:
        if is_missing(error, "RepositoryNotFoundException"):
            fix = f"aws ecr create-repository --repository-name {name}{visit.options}; then push the image"
            yield CheckFinding(Check.IMAGE, CheckState.PROBLEM, "there is no such repository", fix, subject)
            return
        if not is_missing(error, "ImageNotFoundException"):
            raise
        images = []
    if images:
        yield CheckFinding(Check.IMAGE, CheckState.OK, "there", subject=subject)
    else:
        fix = "build and push it (ECR in the console: the repository, View push commands)"
        yield CheckFinding(Check.IMAGE, CheckState.PROBLEM, "the repository has no such image", fix, subject)


def _each(visit: Visit, check: Check, *keys: str, look: Any) -> Iterator[CheckFinding]:
    """`look` at every value that the jobs' requests have below `keys`, each once."""
    values = [dig(job.training_job, *keys) for job in visit.jobs]
    for text in dict.fromkeys(value for value in values if isinstance(value, str)):
        yield from guarded(
            check,
            lambda text=text: look(visit, visit.filled(text)),  # type: ignore[misc]
            text,
        )


def _rungs(job: Job) -> Iterator[tuple[Market, str]]:
    for market in Market:
        yield from ((market, spec.instance_type) for spec in job.capacity.rungs_of(market))


def _and_more(count: int) -> str:
    return "" if count == 1 else f" (and {count - 1} more)"


# CloudFormation would not: its template has not changed.
_ENABLE = (
    "enable it in the console: Amazon EventBridge, Scheduler, Schedules; or say paused: true in the file"
)


def schedules(visit: Visit) -> Iterator[CheckFinding]:
    """Every job with a schedule is started by one that is enabled, or paused where its file says so."""
    deployed = _by_job(visit) if any(job.schedule is not None for job in visit.jobs) else {}
    for job in visit.jobs:
        yield _finding(job, deployed.get(job.name))


def _finding(job: Job, there: Mapping[str, Any] | None) -> CheckFinding:
    def found(state: CheckState, words: str, fix: str = "") -> CheckFinding:
        return CheckFinding(Check.SCHEDULES, state, words, fix, job.name)

    schedule = job.schedule
    if schedule is None:
        return found(CheckState.OK, "started by hand or through the API only")
    if there is None:
        return found(CheckState.PROBLEM, "no schedule of the stack starts it", "make deploy")
    deployed, stated = _deployed_words(there), _stated_words(schedule)
    if deployed != stated:
        return found(CheckState.WARNING, f"deployed as {deployed}, the file says {stated}", "make deploy")
    match schedule.paused, there.get("State") == "ENABLED":
        case True, True:
            return found(
                CheckState.WARNING,
                f"{there['Name']} is enabled, and the file says it is paused",
                "make deploy; or disable it in the console, if it was enabled there",
            )
        case True, False:
            return found(CheckState.OK, f"paused, {stated}: no run starts by itself")
        case False, False:
            return found(CheckState.WARNING, f"{there['Name']} is disabled: no run starts by itself", _ENABLE)
        case _:
            return found(CheckState.OK, f"enabled, {stated}")


def _stated_words(schedule: Schedule) -> str:
    return _words(schedule.expression, schedule.timezone, (schedule.flexible_seconds or 0) // MINUTE_SECONDS)


def _deployed_words(there: Mapping[str, Any]) -> str:
    flexible = there.get("FlexibleTimeWindow", {}).get("MaximumWindowInMinutes", 0)
    return _words(there["ScheduleExpression"], there.get("ScheduleExpressionTimezone", "UTC"), flexible)


def _words(expression: str, timezone: str, flexible_minutes: int) -> str:
    flexible = f", up to {flexible_minutes} min later" if flexible_minutes else ""
    return f"{expression} {timezone}{flexible}"


def _by_job(visit: Visit) -> dict[str, dict[str, Any]]:
    """The stack's schedules, by the job that they start."""
    names = {physical for kind, _, physical in visit.resources if kind == "AWS::Scheduler::Schedule"}
    # A schedule in a group is known to CloudFormation by `group|name`.
    names |= {name.rpartition("|")[2] for name in names}
    scheduler = visit.client("scheduler")
    found = {}
    for page in scheduler.get_paginator("list_schedules").paginate():
        for each in page["Schedules"]:
            if each["Name"] in names:
                schedule = scheduler.get_schedule(Name=each["Name"], GroupName=each["GroupName"])
                if job := job_of(schedule["Target"].get("Input", "")):
                    found[job] = schedule
    return found
