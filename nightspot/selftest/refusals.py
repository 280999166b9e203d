"""Part B: the gallery of what SageMaker must refuse, and as what the classifier reads each refusal.

Asked by boto3, as the deployed functions ask: StartTrainingJob alone creates training jobs. All that the workflow
itself asks SageMaker is to stop one, so B17 is asked through Step Functions' TestState as well.
A request that AWS takes all the same has a limit of one second and is stopped at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.prices import Quotas, QuotasUnknownError
from nightspot.failures.classify import Fault, classify
from nightspot.formats.statuses import ENDED
from nightspot.job.markets import Market
from nightspot.plan.planning import quota_name
from nightspot.selftest.model import MACHINE, Check, Machine, NotTriedError, Seen
from nightspot.selftest.states import stopped_by_the_workflow
from nightspot.selftest.workspace import Workspace, code_and_words

# Cheap ones, of which new accounts may have none.
SCARCE = ("ml.g4dn.xlarge", "ml.p2.xlarge", "ml.c4.xlarge", "ml.m4.xlarge", "ml.g5.xlarge")
WITHOUT_SPOT = "ml.t3.medium"
RETIRED = "ml.p2.xlarge"
PARALLEL_DESCRIBES = 60
SECOND = {"MaxRuntimeInSeconds": 1}
SPOT_SECOND = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
ACCEPTED = "accepted"

Request = Callable[[Workspace], Mapping[str, Any]]


def class_of(error: ClientError) -> str:
    """What the classifier makes of a refused call of boto3's."""
    said = error.response.get("Error", {})
    return _read_as(Fault(str(said.get("Code", "")), str(said.get("Message", ""))))


def _read_as(fault: Fault) -> str:
    return classify(fault=fault).failure.value


def in_words(error: ClientError) -> str:
    """Code, HTTP status and words, redacted."""
    code, words = code_and_words(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return f"{code} ({status}): {words}"


def asked(workspace: Workspace, seen: Seen, row: str, request: Mapping[str, Any], client: Any = None) -> None:
    """CreateTrainingJob, and as what its refusal is read. Raises NotTriedError where an emulator takes it."""
    fact = f"sagemaker.refusal.{row}"
    workspace.made("training job", str(request["TrainingJobName"]))
    try:
        (client or workspace.client("sagemaker")).create_training_job(**request)
    except ClientError as error:
        seen.saw(fact, class_of(error), in_words(error))
        return
    if workspace.emulator:
        raise workspace.not_here(f"takes it: {row}")
    seen.saw(fact, ACCEPTED, "AWS took the request; it was stopped")


def _machine(kind: str, count: int = 1) -> dict[str, Any]:
    return {"InstanceType": kind, "InstanceCount": count, "VolumeSizeInGB": 5}


def _without_quota(workspace: Workspace, market: Market) -> str:
    """A type of whose quota the account has nothing. Raises NotTriedError."""
    names = {kind: quota_name(market, kind) for kind in SCARCE}
    limits = dict(workspace.shared.get("quotas", {}))
    if not limits.keys() & set(names.values()):
        try:
            limits = dict(Quotas(workspace.client("service-quotas")).limits(names.values()))
        except QuotasUnknownError as error:
            raise NotTriedError(str(error)) from error
    found = next((kind for kind, name in names.items() if limits.get(name) == 0), None)
    if found is None:
        raise NotTriedError(f"none of {', '.join(SCARCE)} has a quota of 0 here")
    return found


def _request(part: str, **changes: Any) -> Request:
    return lambda workspace: workspace.request(part, **{"StoppingCondition": SECOND, **changes})


def _spot(part: str, **changes: Any) -> Request:
    usual = {"EnableManagedSpotTraining": True, "StoppingCondition": SPOT_SECOND}
    return lambda workspace: workspace.request(part, **{**usual, **changes})


def _builtin(workspace: Workspace) -> Mapping[str, Any]:
    wait = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 7200}
    algorithm = {"TrainingInputMode": "File"}
    if workspace.emulator:
        algorithm["AlgorithmName"] = "linear-learner"
    elif workspace.builtin_image:
        algorithm["TrainingImage"] = workspace.builtin_image
    else:
        raise NotTriedError("needs --builtin-image: the address of SageMaker's linear-learner in this region")
    return _spot("b7", StoppingCondition=wait, AlgorithmSpecification=algorithm)(workspace)


def _image(workspace: Workspace) -> Mapping[str, Any]:
    host = f"{workspace.account_id}.dkr.ecr.{workspace.region}.amazonaws.com"
    algorithm = {"TrainingImage": f"{host}/{workspace.name('none')}:latest", "TrainingInputMode": "File"}
    return _request("b9", AlgorithmSpecification=algorithm)(workspace)


_VPC = {"Subnets": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
_TAGS = [{"Key": f"tag-{number}", "Value": "x"} for number in range(51)]


def _row(row: str, request: Request) -> Callable[[Workspace, Seen], None]:
    return lambda workspace, seen: asked(workspace, seen, row, request(workspace))


def no_spot_quota(workspace: Workspace, seen: Seen) -> None:
    """B1."""
    kind = _without_quota(workspace, Market.SPOT)
    asked(workspace, seen, "spotquota", _spot("b1", ResourceConfig=_machine(kind))(workspace))


def no_quota(workspace: Workspace, seen: Seen) -> None:
    """B2."""
    kind = _without_quota(workspace, Market.ON_DEMAND)
    asked(workspace, seen, "ondemandquota", _request("b2", ResourceConfig=_machine(kind))(workspace))


def not_assumable(workspace: Workspace, seen: Seen) -> None:
    """B10: a role that trusts the account, and not SageMaker."""
    asked(workspace, seen, "role", _request("b10", RoleArn=workspace.caller_arn())(workspace))


def may_not_pass(workspace: Workspace, seen: Seen) -> None:
    """B11: a caller that may create training jobs and pass no role."""
    request = _request("b11", Tags=None)(workspace)
    client = workspace.as_caller(_may("sagemaker:CreateTrainingJob"))("sagemaker")
    asked(workspace, seen, "passrole", request, client)


def may_not_tag(workspace: Workspace, seen: Seen) -> None:
    """B14: a caller that may create training jobs and pass roles, and not tag."""
    request = _request("b14")(workspace)
    client = workspace.as_caller(_may("sagemaker:CreateTrainingJob", "iam:PassRole"))("sagemaker")
    asked(workspace, seen, "tagging", request, client)


def _may(*actions: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
    }


def name_again(workspace: Workspace, seen: Seen) -> None:
    """B13: the name of a job that has ended, whose ever it was."""
    sagemaker = workspace.client("sagemaker")
    names = [
        each["TrainingJobName"]
        for status in ENDED
        for each in sagemaker.list_training_jobs(StatusEquals=status, MaxResults=1)["TrainingJobSummaries"]
    ]
    if not names:
        raise NotTriedError("no training job has ended here yet: part C leaves some")
    request = {**workspace.request("b13", StoppingCondition=SECOND), "TrainingJobName": names[0]}
    try:
        sagemaker.create_training_job(**request)
    except ClientError as error:
        code, _ = code_and_words(error)
        seen.saw("sagemaker.name.reuse", code, in_words(error).replace(names[0], "<name>"))
        return
    workspace.made("training job", names[0])
    seen.saw("sagemaker.name.reuse", ACCEPTED)


def too_much(workspace: Workspace, seen: Seen) -> None:
    """B16: 51 tags, a name of 64 characters, a line break in a hyperparameter."""
    problems = []
    long_name = workspace.name("b16").ljust(64, "x")
    for row, changes in (
        ("tags", {"Tags": _TAGS}),
        ("name", {"TrainingJobName": long_name}),
        ("newline", {"HyperParameters": {"a": "one\ntwo"}}),
    ):
        try:
            asked(workspace, seen, row, {**_request(f"b16-{row}")(workspace), **changes})
        except NotTriedError as error:
            problems.append(str(error))
    if problems:
        raise NotTriedError("; ".join(problems))


def stop_in_vain(workspace: Workspace, seen: Seen) -> None:
    """B17: by boto3, as people and CloseRun stop a job, and by the workflow's own state."""
    sagemaker, ended = workspace.client("sagemaker"), _ended(workspace)
    jobs = {"stopunknown": workspace.name("never"), **({"stopended": ended} if ended else {})}
    for row, job in jobs.items():
        try:
            sagemaker.stop_training_job(TrainingJobName=job)
        except ClientError as error:
            seen.saw(f"sagemaker.refusal.{row}", class_of(error), in_words(error))
        else:
            seen.saw(f"sagemaker.refusal.{row}", ACCEPTED)
    for row, job in jobs.items():
        name, cause = stopped_by_the_workflow(workspace, job)
        if workspace.emulator and not name.startswith("SageMaker."):
            raise workspace.not_here(f"answers TestState of a real call with {name or 'no error'}")
        words = f"{row}: {name}: {cause}" if name else row
        seen.saw("stepfunctions.stop.error", name or ACCEPTED, words)
        seen.saw("stepfunctions.stop.class", _read_as(Fault(name, cause)) if name else ACCEPTED, words)
    if not ended:
        raise NotTriedError("no training job of this self-test has ended: part C leaves some")


def _ended(workspace: Workspace) -> str | None:
    """A training job of this self-test that has ended: its role may stop no other."""
    for status in ENDED:
        found = workspace.client("sagemaker").list_training_jobs(
            NameContains=workspace.name(""), StatusEquals=status, MaxResults=1
        )["TrainingJobSummaries"]
        if found:
            return str(found[0]["TrainingJobName"])
    return None


def describe_unknown(workspace: Workspace, seen: Seen) -> None:
    """B18."""
    try:
        workspace.client("sagemaker").describe_training_job(TrainingJobName=workspace.name("never"))
    except ClientError as error:
        seen.saw("sagemaker.describe.unknown", code_and_words(error)[0], in_words(error))
    else:
        seen.saw("sagemaker.describe.unknown", ACCEPTED)


def describe_often(workspace: Workspace, seen: Seen) -> None:
    """B19: many DescribeTrainingJob at once, each asked once."""
    if workspace.emulator:
        raise workspace.not_here("throttles nobody")
    client = (workspace.hasty or workspace.client)("sagemaker")

    def describe(_number: int) -> tuple[str, str]:
        try:
            client.describe_training_job(TrainingJobName=workspace.name("never"))
        except ClientError as error:
            return class_of(error), in_words(error)
        return ACCEPTED, ""

    with ThreadPoolExecutor(PARALLEL_DESCRIBES) as pool:
        answers = dict(pool.map(describe, range(PARALLEL_DESCRIBES)))
    # That the job is not there is what the others say.
    refused = {name: words for name, words in answers.items() if name != "configuration"}
    for name, words in refused.items() or [("not reached", "")]:
        seen.saw("sagemaker.describe.throttled", name, words)


_CREATE = (
    "sagemaker:CreateTrainingJob",
    "sagemaker:AddTags",
    "sagemaker:StopTrainingJob",
    "sagemaker:DescribeTrainingJob",
)
_ROLE = ("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRole", "iam:PassRole")
_MADE = (
    *_ROLE,
    "s3:CreateBucket",
    "s3:PutBucketVersioning",
    "s3:ListBucketVersions",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:DeleteBucket",
)
_QUOTAS = ("servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas")


def _checks() -> Iterator[Check]:
    def check(
        id_: str,
        question: str,
        run: Callable[[Workspace, Seen], None],
        rows: tuple[str, ...],
        *,
        kind: str = MACHINE,
        more: tuple[str, ...] = (),
        last: bool = False,
    ) -> Check:
        jobs = tuple(Machine(1, instance_type=kind) for _ in rows)
        facts = tuple(f"sagemaker.{row}" for row in rows)
        return Check(id_, question, (*_CREATE, *_MADE, *more), facts, run, jobs=jobs, last=last)

    def row(id_: str, name: str, question: str, request: Request, kind: str = MACHINE) -> Check:
        return check(id_, question, _row(name, request), (f"refusal.{name}",), kind=kind)

    yield check(
        "B1", "Spot with a quota of 0", no_spot_quota, ("refusal.spotquota",), kind=SCARCE[0], more=_QUOTAS
    )
    yield check(
        "B2",
        "on-demand with a quota of 0",
        no_quota,
        ("refusal.ondemandquota",),
        kind=SCARCE[0],
        more=_QUOTAS,
    )
    yield row(
        "B3",
        "spottype",
        "Spot of a type that has none",
        _spot("b3", ResourceConfig=_machine(WITHOUT_SPOT)),
        WITHOUT_SPOT,
    )
    yield row(
        "B4",
        "regiontype",
        "a type that the region does not have (any more)",
        _request("b4", ResourceConfig=_machine(RETIRED)),
        RETIRED,
    )
    below = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 30}
    yield row("B5", "waitbelowruntime", "MaxWait below MaxRuntime", _spot("b5", StoppingCondition=below))
    yield row("B6", "waitondemand", "MaxWait without Spot", _request("b6", StoppingCondition=SPOT_SECOND))
    yield row("B7", "waitnocheckpoints", "two hours of wait for a built-in algorithm", _builtin)
    warm = {**_machine(MACHINE), "KeepAlivePeriodInSeconds": 60}
    yield row("B8", "warmpoolspot", "a warm pool on Spot", _spot("b8", ResourceConfig=warm))
    yield row("B9", "image", "an image that is not there", _image)
    yield check("B10", "a role that SageMaker may not assume", not_assumable, ("refusal.role",))
    yield check(
        "B11",
        "a role that the caller may not pass",
        may_not_pass,
        ("refusal.passrole",),
        more=("sts:AssumeRole",),
    )
    yield row(
        "B12",
        "bucket",
        "a bucket that is not there",
        lambda workspace: _request(
            "b12", OutputDataConfig={"S3OutputPath": f"s3://{workspace.name('none')}/x"}
        )(workspace),
    )
    yield check(
        "B13",
        "the name of a job that has ended",
        name_again,
        ("name.reuse",),
        more=("sagemaker:ListTrainingJobs",),
        last=True,
    )
    yield check(
        "B14",
        "tags from a caller that may not tag",
        may_not_tag,
        ("refusal.tagging",),
        more=("sts:AssumeRole",),
    )
    yield row("B15", "subnet", "a subnet that is not there", _request("b15", VpcConfig=_VPC))
    yield check(
        "B16",
        "51 tags, a name of 64 characters, a line break",
        too_much,
        ("refusal.tags", "refusal.name", "refusal.newline"),
    )
    yield Check(
        "B17",
        "StopTrainingJob of a job that is not there, and of one that has ended",
        ("sagemaker:StopTrainingJob", "sagemaker:ListTrainingJobs", "states:TestState", *_ROLE),
        (
            *("sagemaker.refusal.stopunknown", "sagemaker.refusal.stopended"),
            *("stepfunctions.stop.error", "stepfunctions.stop.class"),
        ),
        stop_in_vain,
        minutes=0.5,
        last=True,
    )
    for id_, question, call, run, fact in (
        (
            "B18",
            "DescribeTrainingJob of a job that is not there",
            "DescribeTrainingJob",
            describe_unknown,
            "describe.unknown",
        ),
        (
            "B19",
            f"{PARALLEL_DESCRIBES} DescribeTrainingJob at once",
            "DescribeTrainingJob",
            describe_often,
            "describe.throttled",
        ),
    ):
        yield Check(id_, question, (f"sagemaker:{call}",), (f"sagemaker.{fact}",), run)


CHECKS = tuple(_checks())
