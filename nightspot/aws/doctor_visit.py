"""What the doctor's findings are, what each check may ask, and what AWS's refusal of a call means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, code_of
from nightspot.aws.runs.operating import Deployment, DeploymentError, read_deployment
from nightspot.failures.redaction import redact
from nightspot.job.model import Job
from nightspot.job.reading import CheckedFile
from nightspot.job.request_shape import PlaceholderError, fill, placeholders


class CheckState(StrEnum):
    """How a check came out. Only a problem makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


class Check(StrEnum):
    """What the doctor looks at; the values are what people read."""

    REGION = "region"
    CREDENTIALS = "credentials"
    CLOCK = "clock"
    STACK = "stack"
    STATE_MACHINE = "state machine"
    JOBS = "job files"
    SCHEDULES = "schedules"
    QUOTAS = "quotas"
    ROLE = "training role"
    GRANTS = "stack's roles"
    BUCKETS = "buckets"
    KEYS = "keys"
    IMAGE = "image"
    CODE = "code"
    PRICES = "prices"
    NOTICES = "notices"
    DEAD_LETTERS = "dead letters"
    PYTHON = "Python"
    PACKAGES = "packages"
    DISK = "disk"
    COMMAND = "local command"


@dataclass(frozen=True)
class CheckFinding:
    """What a check found. `subject`: of what of several. `fix`: a command, or a place in the console.

    `check`: one of the doctor's, or of `nightspot.aws.smoke.SmokeCheck`.
    """

    check: StrEnum
    state: CheckState
    found: str
    fix: str = ""
    subject: str = ""


@dataclass(frozen=True)
class CallerIdentity:
    """AWS's answer to "who am I", or why there is none. `dated`: AWS's clock at `at`, ours; both aware UTC."""

    at: datetime
    dated: datetime | None = None
    arn: str = ""
    account: str = ""
    error: ClientError | BotoCoreError | None = None


# Action of IAM, by boto3's name of the call.
PERMISSIONS: Mapping[str, str] = {
    "DescribeStacks": "cloudformation:DescribeStacks",
    "ListStackResources": "cloudformation:ListStackResources",
    "GetFunctionConfiguration": "lambda:GetFunctionConfiguration",
    "DescribeStateMachine": "states:DescribeStateMachine",
    "ListSchedules": "scheduler:ListSchedules",
    "GetSchedule": "scheduler:GetSchedule",
    "ListServiceQuotas": "servicequotas:ListServiceQuotas",
    "ListAWSDefaultServiceQuotas": "servicequotas:ListAWSDefaultServiceQuotas",
    "GetRole": "iam:GetRole",
    "SimulatePrincipalPolicy": "iam:SimulatePrincipalPolicy",
    "HeadBucket": "s3:ListBucket",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "DescribeKey": "kms:DescribeKey",
    "GetKeyPolicy": "kms:GetKeyPolicy",
    "DescribeImages": "ecr:DescribeImages",
    "ListObjectsV2": "s3:ListBucket",
    "ListSubscriptionsByTopic": "sns:ListSubscriptionsByTopic",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "Query": "dynamodb:Query",
}
# The same of what is looked at after a first run alone.
PERMISSIONS_AFTER_A_RUN: Mapping[str, str] = {
    "GetItem": "dynamodb:GetItem",
    "HeadObject": "s3:GetObject",
    "DescribeAlarms": "cloudwatch:DescribeAlarms",
}
# What the services call a missing permission; HeadBucket's answer has no body, so its status is the code.
DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "Forbidden",
    }
)


@dataclass(frozen=True)
class Visit:
    """One visit of the doctor to an account in a region.

    `client(service)`: boto3's client of that service. `now`: aware UTC. `files`: the job files that are looked at.
    `given`: what --placeholder says. `options`: what every proposed command of AWS's has to have behind it.
    `version`: Nightspot's own, here.
    """

    region: str | None
    client: Callable[[str], Any]
    now: Callable[[], datetime]
    files: tuple[CheckedFile, ...] = ()
    stack: str = "Nightspot"
    version: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    options: str = ""

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs of the files without errors."""
        return tuple(each.job for each in self.files if each.job is not None)

    @cached_property
    def identity(self) -> CallerIdentity:
        """Whose credentials these are; never raises what AWS or the way to it does."""
        try:
            answer = self.client("sts").get_caller_identity()
        except ClientError as error:
            return CallerIdentity(self.now(), _dated(error.response), error=error)
        except BotoCoreError as error:
            return CallerIdentity(self.now(), error=error)
        return CallerIdentity(self.now(), _dated(answer), answer["Arn"], answer["Account"])

    @cached_property
    def described(self) -> dict[str, Any]:
        """The stack as CloudFormation describes it."""
        found: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][
            0
        ]
        return found

    def output(self, name: str) -> str | None:
        """What the stack tells under this name."""
        values = {each["OutputKey"]: each["OutputValue"] for each in self.described.get("Outputs", ())}
        return values.get(name)

    @cached_property
    def resources(self) -> tuple[tuple[str, str, str], ...]:
        """(type, logical id, physical id) of everything in the stack and in those nested in it."""
        return tuple(self._resources_of(self.stack))

    def _resources_of(self, stack: str) -> Iterator[tuple[str, str, str]]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        for each in (each for page in pages for each in page["StackResourceSummaries"]):
            if "PhysicalResourceId" not in each:
                continue
            yield each["ResourceType"], each["LogicalResourceId"], each["PhysicalResourceId"]
            if each["ResourceType"] == "AWS::CloudFormation::Stack":
                yield from self._resources_of(each["PhysicalResourceId"])

    @cached_property
    def deployment(self) -> Deployment:
        """What the stack fills in. Raises AWS's own error where there is one, else DeploymentError."""
        try:
            return read_deployment(
                self.stack, cloudformation=self.client("cloudformation"), lambdas=self.client("lambda")
            )
        except DeploymentError as error:
            if isinstance(error.__cause__, (ClientError, BotoCoreError)):
                raise error.__cause__ from error
            raise

    def filled(self, text: str) -> str:
        """A text of a job file with its placeholders filled in. Raises as `deployment`, and PlaceholderError."""
        names = {"AWS::Region": str(self.region), "AWS::AccountId": self.identity.account, **self.given}
        if names.keys() >= set(placeholders(text)):
            return str(fill(text, names))
        return str(fill(text, {**self.deployment.names, **names}))


def key_of_bucket(visit: Visit, bucket: str) -> str | None:
    """The KMS key by which a bucket encrypts what names none: an ARN, an id or an alias. None: S3's own keys.

    Every bucket encrypts; without a configuration of its own by S3's keys.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html
    """
    try:
        answer = visit.client("s3").get_bucket_encryption(Bucket=bucket)
    except ClientError as error:
        if is_missing(error, "ServerSideEncryptionConfigurationNotFoundError"):
            return None
        raise
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
    chosen = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    by_kms = (each for each in chosen if str(each.get("SSEAlgorithm", "")).startswith("aws:kms"))
    return next((str(each.get("KMSMasterKeyID") or AWS_S3_KEY) for each in by_kms), None)


# What S3 takes where a bucket says "by KMS" and names no key.
AWS_S3_KEY = "alias/aws/s3"


def guarded(
    check: StrEnum, look: Callable[[], Iterable[CheckFinding]], subject: str = ""
) -> Iterator[CheckFinding]:
    """What `look` finds; where AWS refuses or does not answer, a finding that says so in its place."""
    try:
        yield from look()
    except (ClientError, BotoCoreError, TransientAwsError, DeploymentError, PlaceholderError) as error:
        found, fix = unanswered(error)
        yield CheckFinding(check, CheckState.NOT_CHECKED, found, fix, subject)


def unanswered(error: Exception) -> tuple[str, str]:
    """What a call that gave no answer means, and its fix: the permission that is missing, or AWS's own words."""
    if isinstance(error, ClientError):
        operation = error.operation_name
        if code_of(error) in DENIED:
            permission = {**PERMISSIONS, **PERMISSIONS_AFTER_A_RUN}.get(operation, operation)
            return f"needs the permission {permission}", f"let these credentials {permission}"
        return f"AWS refused {operation}: {redact(str(error))}", ""
    if isinstance(error, NO_ANSWER):
        return f"AWS could not be reached: {redact(str(error))}", "check the network, proxy and region"
    return redact(str(error)), ""


def listed(value: Any) -> Iterable[Any]:
    """IAM writes one of a thing bare, several as a list."""
    return value if isinstance(value, (list, tuple)) else [value]


def is_missing(error: ClientError, *codes: str) -> bool:
    """Whether AWS says by one of these codes that the thing is not there."""
    return code_of(error) in codes


def job_of(text: str) -> str | None:
    """The job that a schedule's input names, also where it stands inside the input of another call."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("job"), str):
        return str(value["job"])
    return job_of(value["Input"]) if isinstance(value.get("Input"), str) else None


def _dated(answer: Mapping[str, Any]) -> datetime | None:
    """The Date header of an answer of AWS's."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if text is None else parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None
