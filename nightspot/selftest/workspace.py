"""What a check works with: the account, temporary things in it that are removed again, the clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Lock, RLock
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.runs.api_client import ApiClient
from nightspot.failures.redaction import redact
from nightspot.formats.statuses import ENDED, Status
from nightspot.selftest.model import MACHINE, NotTriedError

PREFIX = "nightspot-selftest-"
# A new role is known everywhere only after some seconds; AWS publishes no number.
ROLE_SECONDS = 15
ASSUME_TRIES = 8
# How long the end of a stopped job is waited for before its bucket is left behind and named.
LONGEST_STOP_SECONDS = 900
_GONE = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "ResourceNotFoundException",
        "ResourceNotFound",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "ExecutionDoesNotExist",
        "NoSuchKey",
        "StateMachineDoesNotExist",
    }
)

Client = Callable[[str], Any]

# What `Workspace.queue` and its removal call.
QUEUE_CALLS = (
    *("sqs:CreateQueue", "sqs:GetQueueAttributes", "sqs:SetQueueAttributes", "sqs:ReceiveMessage"),
    *("sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:DeleteQueue"),
    *("events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:DeleteRule"),
)


class StoppedError(Exception):
    """Somebody wants the self-test to end."""


def code_and_words(error: ClientError) -> tuple[str, str]:
    """AWS's code, and its words without secrets, account ids and addresses."""
    said = error.response.get("Error", {})
    return str(said.get("Code", "")), redact(str(said.get("Message", "")))


@dataclass
class Workspace:
    """One self-test. `client(service)` gives boto3's client, `emulator` is the name of what stands in for AWS.

    A service may be named with a region: "pricing@us-east-1". `price`: USD per hour of an instance type;
    `logs(job name)`: the lines of its log; `say` hears what happens.
    `api(address)`: the deployed API, asked with the caller's signature.
    `token`: six characters that tell this self-test's things from another's.
    """

    client: Client
    region: str
    account_id: str
    token: str
    image: str = ""
    builtin_image: str = ""  # of one of SageMaker's algorithms that cannot checkpoint
    hasty: Client | None = None  # clients that try once; None: the same
    stack: str | None = None
    emulator: str = ""
    price: Callable[[str], float] = lambda _type: 0.2
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    pause: Callable[[float], None] | None = None
    logs: Callable[[str], Iterable[str]] | None = None
    api: Callable[[str], ApiClient] | None = None
    say: Callable[[str], None] = lambda _text: None
    stopping: Event = field(default_factory=Event)
    shared: dict[str, Any] = field(default_factory=dict)
    cassettes: dict[str, str] = field(default_factory=dict)  # file name -> JSON text
    _made: list[tuple[str, str]] = field(default_factory=list)
    _billed: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _kept: dict[str, Any] = field(default_factory=dict)
    _making: Any = field(default_factory=RLock)
    _draining: Lock = field(default_factory=Lock)
    _events: dict[str, list[tuple[dict[str, Any], datetime]]] = field(default_factory=dict)

    def name(self, part: str) -> str:
        """A name that is this self-test's: "nightspot-selftest-1a2b3c-c1"."""
        return f"{PREFIX}{self.token}-{part}".lower()

    def sleep(self, seconds: float) -> None:
        """Sleep, and wake where the self-test is to end. Raises StoppedError then."""
        if self.pause is not None:
            self.pause(seconds)
        if self.stopping.is_set() or (self.pause is None and self.stopping.wait(seconds)):
            raise StoppedError

    @property
    def partition(self) -> str:
        """The partition of ARNs here."""
        return "aws-cn" if self.region.startswith("cn-") else "aws"

    def not_here(self, what: str) -> NotTriedError:
        """The error of what an emulator cannot do."""
        return NotTriedError(f"{self.emulator or 'AWS'} {what}")

    # --- what is made, and removed ----------------------------------------------------------------------------

    def made(self, kind: str, name: str) -> None:
        """Remember, before it is made, what has to be removed."""
        with self._lock:
            if (kind, name) not in self._made:
                self._made.append((kind, name))

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once in a self-test."""
        with self._making:
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]

    def bucket(self) -> str:
        """A versioned bucket."""
        return str(self.once("bucket", self._make_bucket))

    def _make_bucket(self) -> str:
        name, s3 = self.name(self.region), self.client("s3")
        self.made("bucket", name)
        where = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": where} if where else {}))
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def role_arn(self) -> str:
        """A role for training jobs, Step Functions and Lambda, which reaches this self-test's things."""
        return str(self.once("role", lambda: self._make_role("role", _SERVICES, self._training_policy())))

    def caller_arn(self) -> str:
        """A role that this account alone may assume."""
        trust = [{"AWS": f"arn:{self.partition}:iam::{self.account_id}:root"}]
        here, ours = f"{self.region}:{self.account_id}", f"{PREFIX}{self.token}-*"
        arn = f"arn:{self.partition}"
        allowed = {
            "sagemaker:CreateTrainingJob": f"{arn}:sagemaker:{here}:training-job/{ours}",
            "sagemaker:AddTags": f"{arn}:sagemaker:{here}:training-job/{ours}",
            "iam:PassRole": f"{arn}:iam::{self.account_id}:role/{ours}",
            "s3:GetObject": f"{arn}:s3:::{ours}/*",
            "states:SendTaskSuccess": "*",
        }
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": action, "Resource": resource}
                for action, resource in allowed.items()
            ],
        }
        return str(self.once("caller", lambda: self._make_role("caller", trust, policy)))

    def as_caller(self, policy: Mapping[str, Any]) -> Client:
        """Clients that may do what `policy` allows, and nothing else. Raises ClientError."""
        arn, sts = self.caller_arn(), self.client("sts")
        for last in (False,) * (ASSUME_TRIES - 1) + (True,):
            try:
                answer = sts.assume_role(
                    RoleArn=arn, RoleSessionName="selftest", DurationSeconds=900, Policy=json.dumps(policy)
                )
                break
            except ClientError:
                if last:
                    raise
                self.sleep(ROLE_SECONDS / 3)
        keys = answer["Credentials"]

        def client(service: str) -> Any:
            import boto3  # noqa: PLC0415 - a second to load, for two checks

            return boto3.client(
                service,
                region_name=self.region,
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
            )

        return client

    def _make_role(self, part: str, trust: list[dict[str, Any]], policy: Mapping[str, Any]) -> str:
        name, iam = self.name(part), self.client("iam")
        self.made("role", name)
        document = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": each, "Action": "sts:AssumeRole"} for each in trust
            ],
        }
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="selftest", PolicyDocument=json.dumps(policy))
        self.sleep(ROLE_SECONDS)
        return str(arn)

    def _training_policy(self) -> dict[str, Any]:
        # Made before the bucket, so by the name that it will have.
        ours = f"{PREFIX}{self.token}-*"
        mine = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "dynamodb:UpdateItem"]
        mine += [
            "lambda:InvokeFunction",
            "sqs:SendMessage",
            "sagemaker:CreateTrainingJob",
            "sagemaker:StopTrainingJob",
        ]
        arn = f"arn:{self.partition}"
        resources = [f"{arn}:s3:::{ours}", f"{arn}:s3:::{ours}/*"]
        kinds = {"dynamodb": "table/", "lambda": "function:", "sqs": "", "sagemaker": "training-job/"}
        resources += [
            f"{arn}:{service}:{self.region}:{self.account_id}:{kind}{ours}" for service, kind in kinds.items()
        ]
        mine += ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetBucketLocation"]
        # Of training jobs alone: a function that may make no log group leaves none behind.
        job_logging = ["CreateLogGroup", "CreateLogStream", "PutLogEvents", "DescribeLogStreams"]
        logs = f"{arn}:logs:{self.region}:{self.account_id}:log-group:/aws/sagemaker/TrainingJobs*"
        anything = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        anything += ["ecr:BatchCheckLayerAvailability", "events:PutEvents", "cloudwatch:PutMetricData"]
        anything += [
            "pricing:GetProducts",
            "savingsplans:DescribeSavingsPlans",
            "ec2:DescribeSpotPriceHistory",
        ]
        anything.append("savingsplans:DescribeSavingsPlanRates")
        mine.append("sagemaker:AddTags")
        own_role = f"{arn}:iam::{self.account_id}:role/{ours}"
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": mine, "Resource": resources},
                {"Effect": "Allow", "Action": "iam:PassRole", "Resource": own_role},
                {"Effect": "Allow", "Action": [f"logs:{each}" for each in job_logging], "Resource": logs},
                {"Effect": "Allow", "Action": anything, "Resource": "*"},
            ],
        }

    def queue(self) -> tuple[str, str]:
        """URL and ARN of a queue: the events of this self-test's training jobs and executions, and its own."""
        url, arn = self.once("queue", self._make_queue)
        return str(url), str(arn)

    def _make_queue(self) -> tuple[str, str]:
        sqs, events, name = self.client("sqs"), self.client("events"), self.name("events")
        self.made("queue", name)
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                }
            ],
        }
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        for part, pattern in (
            (
                "jobs",
                {"source": ["aws.sagemaker"], "detail": {"TrainingJobName": [{"prefix": self.name("")}]}},
            ),
            ("own", {"source": ["nightspot"], "detail": {"run_id": [{"prefix": self.name("")}]}}),
            ("executions", {"source": ["aws.states"], "detail": {"name": [{"prefix": self.name("")}]}}),
        ):
            rule = self.name(part)
            self.made("rule", rule)
            events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
            events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
        return url, arn

    def messages(self) -> Iterator[dict[str, Any]]:
        """The events that have arrived in the queue since it was asked last."""
        url, _ = self.queue()
        sqs = self.client("sqs")
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
            for message in found:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield json.loads(message["Body"])

    def events_of(self, name: str) -> list[tuple[dict[str, Any], datetime]]:
        """The state changes of a training job or an execution since it was asked last, each with its arrival."""
        with self._draining:
            for event in self.messages():
                detail = event.get("detail", {})
                about = detail.get("TrainingJobName", detail.get("name", ""))
                self._events.setdefault(about, []).append((event, self.now()))
            return self._events.pop(name, [])

    def log_of(self, job: str) -> list[str]:
        """The lines of a job's log, from all its machines. Raises ClientError."""
        if self.logs is not None:
            return list(self.logs(job))
        pages = (
            self.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{job}/")
        )
        return [event["message"].strip() for page in pages for event in page.get("events", ())]

    def request(self, part: str, **changes: Any) -> dict[str, Any]:
        """A CreateTrainingJob request that is right, with `changes` in place of its fields; None leaves one out."""
        bucket = self.bucket()
        given = {
            "TrainingJobName": self.name(part),
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File"},
            "RoleArn": self.role_arn(),
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models/"},
            "ResourceConfig": {"InstanceType": MACHINE, "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "Tags": [{"Key": "nightspot:selftest", "Value": self.token}],
            **changes,
        }
        return {name: value for name, value in given.items() if value is not None}

    # --- the end ----------------------------------------------------------------------------------------------

    def billed(self, job: str, description: Mapping[str, Any]) -> None:
        """Note what a job has cost, by AWS's own figure."""
        kind = description.get("ResourceConfig", {})
        hours = float(description.get("BillableTimeInSeconds", 0)) / 3600 * int(kind.get("InstanceCount", 1))
        with self._lock:
            self._billed[job] = hours * self.price(str(kind.get("InstanceType", MACHINE)))

    def usd(self, part: str | None = None) -> float:
        """What all jobs have cost so far, or those of a check."""
        ours = None if part is None else self.name(part)
        with self._lock:
            billed = self._billed.items()
            return sum(
                usd for name, usd in billed if ours is None or name == ours or name.startswith(f"{ours}-")
            )

    def find_left(self) -> list[tuple[str, str]]:
        """What earlier self-tests, whatever their token, have left: (kind, name). It is then removed by `clean_up`.

        Raises ClientError where something may not be listed.
        """
        found = [(kind, name) for kind, names in _listed(self) for name in names if name.startswith(PREFIX)]
        for kind, name in found:
            self.made(kind, name)
        return found

    def clean_up(self) -> list[str]:
        """Stop every job and remove everything that was made; what could not be removed, each with the reason.

        Jobs first, since they write into the bucket until they have ended. One that cannot be removed keeps none of
        the others from being removed.
        """
        with self._lock:
            made = list(self._made)
        jobs = [name for kind, name in made if kind == "training job"]
        left = [*self._stop(jobs)]
        for kind, name in sorted(made, key=lambda each: _ORDER.index(each[0])):
            if kind == "training job":
                continue
            try:
                _REMOVE[kind](self, name)
            except ClientError as error:
                code, words = code_and_words(error)
                if code not in _GONE:
                    left.append(f"{kind} {name}: {code}: {words}")
            except BotoCoreError as error:
                left.append(f"{kind} {name}: {redact(str(error))}")
        return left

    def _stop(self, jobs: Iterable[str]) -> Iterator[str]:
        sagemaker, open_jobs = self.client("sagemaker"), []
        for name in jobs:
            try:
                described = sagemaker.describe_training_job(TrainingJobName=name)
                if described["TrainingJobStatus"] in ENDED:
                    self.billed(name, described)
                    continue
                sagemaker.stop_training_job(TrainingJobName=name)
            except ClientError as error:
                code, words = code_and_words(error)
                if "not found" in words.lower() or code in _GONE or self._has_ended(name):
                    continue
                # One that stops already cannot be stopped again.
                if self._status(name) == Status.STOPPING:
                    open_jobs.append(name)
                else:
                    yield f"training job {name}: {code}: {words}"
            except BotoCoreError as error:
                yield f"training job {name}: {redact(str(error))}"
            else:
                open_jobs.append(name)
        waited = 0.0
        while open_jobs and waited < LONGEST_STOP_SECONDS:
            open_jobs = [name for name in open_jobs if not self._has_ended(name)]
            if open_jobs:
                self._wait(10)
                waited += 10
        for name in open_jobs:
            yield f"training job {name}: is still stopping after {LONGEST_STOP_SECONDS} s"

    def _has_ended(self, name: str) -> bool:
        return self._status(name) in ENDED

    def _status(self, name: str) -> str:
        """TrainingJobStatus, "" where AWS does not say; the bill of one that has ended is kept."""
        try:
            described = self.client("sagemaker").describe_training_job(TrainingJobName=name)
        except (ClientError, BotoCoreError):
            return ""
        status = str(described["TrainingJobStatus"])
        if status in ENDED:
            self.billed(name, described)
        return status

    def _wait(self, seconds: float) -> None:
        """Sleep although the self-test is to end."""
        if self.pause is not None:
            self.pause(seconds)
        else:
            Event().wait(seconds)


_SERVICES = [{"Service": f"{name}.amazonaws.com"} for name in ("sagemaker", "states", "lambda")]


def _remove_bucket(workspace: Workspace, name: str) -> None:
    s3 = workspace.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        found = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        ]
        if found:
            s3.delete_objects(Bucket=name, Delete={"Objects": found, "Quiet": True})
    s3.delete_bucket(Bucket=name)


def _remove_role(workspace: Workspace, name: str) -> None:
    iam = workspace.client("iam")
    try:
        iam.delete_role_policy(RoleName=name, PolicyName="selftest")
    except ClientError as error:
        if code_and_words(error)[0] not in _GONE:
            raise
    iam.delete_role(RoleName=name)


def _remove_rule(workspace: Workspace, name: str) -> None:
    events = workspace.client("events")
    events.remove_targets(Rule=name, Ids=["queue"])
    events.delete_rule(Name=name)


def _remove_queue(workspace: Workspace, name: str) -> None:
    sqs = workspace.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])


def _remove_machine(workspace: Workspace, name: str) -> None:
    arn = f"arn:{workspace.partition}:states:{workspace.region}:{workspace.account_id}:stateMachine:{name}"
    workspace.client("stepfunctions").delete_state_machine(stateMachineArn=arn)


def _stop_execution(workspace: Workspace, arn: str) -> None:
    # What StopExecution says of one that is over is not documented, and an emulator refuses it.
    states = workspace.client("stepfunctions")
    if states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        states.stop_execution(executionArn=arn)


_REMOVE: Mapping[str, Callable[[Workspace, str], None]] = {
    "rule": _remove_rule,
    "queue": _remove_queue,
    "execution": _stop_execution,
    "state machine": _remove_machine,
    "function": lambda workspace, name: workspace.client("lambda").delete_function(FunctionName=name),
    "schedule": lambda workspace, name: workspace.client("scheduler").delete_schedule(Name=name),
    "table": lambda workspace, name: workspace.client("dynamodb").delete_table(TableName=name),
    "key": lambda workspace, name: workspace.client("kms").schedule_key_deletion(
        KeyId=name, PendingWindowInDays=7
    ),
    "bucket": _remove_bucket,
    "role": _remove_role,
}
# Jobs first; roles last, since what else is there may still use them.
_ORDER = ("training job", *_REMOVE)


def _listed(workspace: Workspace) -> Iterator[tuple[str, Iterable[str]]]:
    """The names of everything that could be a self-test's, by kind."""

    def named(service: str, operation: str, key: str, name: str, **asked: Any) -> list[str]:
        pages = workspace.client(service).get_paginator(operation).paginate(**asked)
        return [str(each[name] if name else each) for page in pages for each in page.get(key, ())]

    open_jobs = {"NameContains": PREFIX, "StatusEquals": "InProgress"}
    yield (
        "training job",
        named("sagemaker", "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", **open_jobs),
    )
    yield "rule", named("events", "list_rules", "Rules", "Name", NamePrefix=PREFIX)
    urls = named("sqs", "list_queues", "QueueUrls", "", QueueNamePrefix=PREFIX)
    yield "queue", [url.rpartition("/")[2] for url in urls]
    yield "state machine", named("stepfunctions", "list_state_machines", "stateMachines", "name")
    yield "function", named("lambda", "list_functions", "Functions", "FunctionName")
    yield "schedule", named("scheduler", "list_schedules", "Schedules", "Name", NamePrefix=PREFIX)
    yield "table", named("dynamodb", "list_tables", "TableNames", "")
    yield "bucket", [str(each["Name"]) for each in workspace.client("s3").list_buckets()["Buckets"]]
    yield "role", named("iam", "list_roles", "Roles", "RoleName")
