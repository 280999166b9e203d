"""What training jobs run as: the stack's own role, and one for each team, which uses that team's places alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from nightspot.cdk.named import ACCOUNT, OWN_CHECKPOINTS, OWN_MODELS, OWN_PAGES, REGION, Named, Prefix
from nightspot.cdk.permissions import accept_wildcard, allow, arn, service, via
from nightspot.cdk.settings import Settings
from nightspot.job.code_version import PREFIX
from nightspot.job.request_shape import fill

# What the upload of large checkpoints needs.
_MULTIPART = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_USE = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", *_MULTIPART]
_WHY_BELOW = "A job file names the prefix; what lies below it is named by runs and by training."


@dataclass(frozen=True)
class Places:
    """Where what job files name lies in the stack of `scope`: ARNs, with the placeholders filled in."""

    scope: Construct
    checkpoints: s3.IBucket
    models: s3.IBucket
    reports: s3.IBucket

    def bucket_arn(self, place: Prefix) -> str:
        """The ARN of its bucket."""
        return f"arn:{Stack.of(self.scope).partition}:s3:::{self.filled(place.bucket)}"

    def key_pattern(self, place: Prefix, below: str = "*") -> str:
        """What the keys there are like, for IAM."""
        return self.filled(place.below(below))

    def key_arns(self, keys: Iterable[str]) -> list[str]:
        """ARNs of KMS keys that are named by ARN or id."""
        filled = [self.filled(key) for key in keys]
        return list(
            dict.fromkeys(k if k.startswith("arn:") else arn(self.scope, "kms", f"key/{k}") for k in filled)
        )

    def s3_only(self) -> dict[str, dict[str, Any]]:
        """IAM's condition that a key is used by S3 alone, on its user's behalf."""
        return via(self.scope, "s3")

    def filled(self, text: str) -> str:
        """A text of a job file, with what the stack knows in its placeholders' place."""
        stack = Stack.of(self.scope)
        names = {
            "CheckpointBucket": self.checkpoints.bucket_name,
            "ModelBucket": self.models.bucket_name,
            "ReportBucket": self.reports.bucket_name,
            ACCOUNT: stack.account,
            REGION: stack.region,
        }
        return str(fill(text, names))


def make_training_role(
    scope: Construct,
    name: str,
    places: Places,
    settings: Settings,
    named: Named,
    *,
    whole: tuple[s3.IBucket, ...] = (),
) -> iam.Role:
    """A role for the jobs that name `named`. It uses the buckets `whole`, and of all others what its jobs name."""
    role = iam.Role(
        scope,
        name,
        # SageMaker's own example names the ARNs of training jobs, for one feature each; the account is enough.
        # https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
        assumed_by=service(scope, "sagemaker"),
        description="What Nightspot's training jobs run as"
        if whole
        else f"What {name}'s training jobs run as",
    )
    for bucket in whole:
        _let_it_use(role, bucket, _USE)
    for number, data in enumerate(settings.data_bucket_names):
        known = s3.Bucket.from_bucket_name(scope, f"{'' if whole else name}Data{number}", data)
        _let_it_use(role, known, ["s3:GetObject"])
    granted = set(settings.data_bucket_names)
    own = {OWN_CHECKPOINTS, OWN_MODELS, settings.checkpoint_bucket_name, settings.model_bucket_name}
    _let_it_use_places(role, places, named, own if whole else set(), granted)
    _let_it_read_code(role, places, [Prefix(OWN_PAGES, f"{PREFIX}/")] if whole and named.code else named.code)
    _let_it_use_keys(role, places, named, settings)
    _let_it_run_containers(role, scope)
    subnets = dict.fromkeys([*settings.subnet_ids, *named.subnet_ids])
    if subnets:
        groups = dict.fromkeys([*settings.security_group_ids, *named.security_group_ids])
        _let_it_join_the_vpc(role, scope, subnets, groups)
    return role


def _let_it_use(role: iam.Role, bucket: s3.IBucket, actions: list[str]) -> None:
    listing = ["s3:ListBucket", "s3:GetBucketLocation"]
    allow(role, listing, bucket.bucket_arn)
    objects = bucket.arn_for_objects("*")
    allow(role, actions, objects)
    accept_wildcard(role, objects, "Runs name their objects themselves, below prefixes of their own.")


def _let_it_use_places(
    role: iam.Role, places: Places, named: Named, used: set[str | None], read: set[str]
) -> None:
    """Its jobs' own prefixes, but for those in buckets that it may use, or read, as a whole."""
    for prefixes, pattern, actions in (
        (named.checkpoints, "*", _USE),
        (named.models, "*", ["s3:PutObject", *_MULTIPART]),
        (named.inputs, "", ["s3:GetObject"]),
    ):
        for place in prefixes:
            if place.bucket in used or (not pattern and place.bucket in read):
                continue
            bucket = places.bucket_arn(place)
            # S3Prefix means every key that begins so.
            keys = places.key_pattern(place, pattern) if pattern else f"{places.filled(place.key)}*"
            allow(role, ["s3:ListBucket"], bucket, conditions={"StringLike": {"s3:prefix": keys}})
            allow(role, ["s3:GetBucketLocation"], bucket)
            allow(role, actions, f"{bucket}/{keys}")
            accept_wildcard(role, f"{bucket}/{keys}", _WHY_BELOW)


def _let_it_read_code(role: iam.Role, places: Places, prefixes: Iterable[Prefix]) -> None:
    """Where the archives of its jobs are; it writes none, so no training changes what another one runs."""
    for place in prefixes:
        objects = f"{places.bucket_arn(place)}/{places.filled(place.key)}*"
        allow(role, ["s3:GetObject"], objects)
        accept_wildcard(role, objects, "Each state of a job's code has a key of its own below this prefix.")


def _let_it_use_keys(role: iam.Role, places: Places, named: Named, settings: Settings) -> None:
    stored = places.key_arns([*named.output_keys, *settings.bucket_keys])
    if stored:
        # kms:Encrypt: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_OutputDataConfig.html
        actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        allow(role, actions, *stored, conditions=places.s3_only())
    volumes = places.key_arns(named.volume_keys)
    if volumes:
        # For the volume's own service to go on with:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
        allow(role, ["kms:CreateGrant"], *volumes, conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}})
        allow(role, ["kms:DescribeKey"], *volumes)


def _let_it_run_containers(role: iam.Role, scope: Construct) -> None:
    job_logs = arn(scope, "logs", "log-group:/aws/sagemaker/TrainingJobs*")
    allow(
        role,
        [
            f"logs:{name}"
            for name in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
        ],
        job_logs,
    )
    accept_wildcard(role, job_logs, "SageMaker names the streams; the group is its one for training jobs.")
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "Nightspot*"]}},
        )
    )
    allow(role, ["ecr:GetAuthorizationToken"], "*")
    accept_wildcard(
        role,
        "*",
        "Neither action knows a resource: cloudwatch:PutMetricData is held to two "
        "namespaces, ecr:GetAuthorizationToken only opens the door. EC2's Describe actions likewise.",
    )
    images = arn(scope, "ecr", "repository/*", account="*")
    allow(
        role,
        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        images,
    )
    accept_wildcard(role, images, "Jobs name their images; AWS's own training images live in other accounts.")


def _let_it_join_the_vpc(
    role: iam.Role, scope: Construct, subnets: Iterable[str], groups: Iterable[str]
) -> None:
    interfaces = arn(scope, "ec2", "network-interface/*")
    # Of any account: a shared subnet's ARN has its owner's, and an id is one subnet's in all of AWS.
    # https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html
    shared = [
        arn(scope, "ec2", each, account="*")
        for each in (
            *(f"subnet/{subnet}" for subnet in subnets),
            *(f"security-group/{group}" for group in groups),
        )
    ]
    allow(
        role,
        [
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DeleteNetworkInterfacePermission",
        ],
        interfaces,
        *shared,
    )
    accept_wildcard(role, interfaces, "SageMaker makes the interfaces, in the named subnets only.")
    for each in shared:
        accept_wildcard(role, each, "One subnet or group, whichever account shares it.")
    allow(
        role,
        [
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
        "*",
    )
