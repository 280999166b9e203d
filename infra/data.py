"""What outlives a run: the table, the queue of what failed, the buckets, and the role that training jobs run as."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Annotations, Duration, RemovalPolicy, Stack, Token
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from nightspot.cdk.named import (
    ACCOUNT,
    OWN_CHECKPOINTS,
    OWN_MODELS,
    REGION,
    Prefix,
    of_the_own_role,
    read_named,
    ungranted_inputs,
)
from nightspot.cdk.permissions import accept, accept_wildcard, allow, arn, service
from nightspot.cdk.settings import Settings
from nightspot.job.model import Job
from nightspot.job.request_shape import fill

# What the upload of large checkpoints needs.
_MULTIPART = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_USE = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", *_MULTIPART]
_WHY_BELOW = "A job file names the prefix; what lies below it is named by runs and by training."


# Of models and pages that were overwritten or deleted.
_OLD_MODEL_DAYS = 14
# What DynamoDB asks a table's user for, and what SNS and SQS ask a sender for.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
_KEY_USES = {
    "dynamodb": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
    "sns": ["kms:Decrypt", "kms:GenerateDataKey"],
    "sqs": ["kms:Decrypt", "kms:GenerateDataKey"],
}


def own_key(scope: Construct, settings: Settings) -> kms.IKey | None:
    """The key of all that the stack makes, None for AWS's own keys. One construct in each scope."""
    if settings.kms_key_arn is None:
        return None
    known = scope.node.try_find_child("Key")
    return known if known is not None else kms.Key.from_key_arn(scope, "Key", settings.kms_key_arn)  # type: ignore[return-value]


def let_it_use_the_key(grantee: iam.IGrantable, scope: Construct, settings: Settings, *services: str) -> None:
    """It may use the stack's own key for what it does with "dynamodb", "sns" or "sqs", through them alone."""
    if settings.kms_key_arn is None:
        return
    for service_name in services:
        allow(
            grantee,
            _KEY_USES[service_name],
            settings.kms_key_arn,
            conditions=via(scope, service_name),
        )


def via(scope: Construct, *services: str) -> dict[str, dict[str, Any]]:
    """IAM's condition that a key is used by one of these services alone, on its user's behalf."""
    stack = Stack.of(scope)
    names = [f"{name}.{stack.region}.{stack.url_suffix}" for name in services]
    return {"StringEquals": {"kms:ViaService": names[0] if len(names) == 1 else names}}


def make_log_group(
    scope: Construct, name: str, settings: Settings, group_name: str | None = None
) -> logs.LogGroup:
    """Logs that are kept as long as the settings say; CloudFormation names the group unless `group_name` does."""
    return logs.LogGroup(
        scope,
        name,
        log_group_name=group_name,
        encryption_key=own_key(scope, settings),
        retention=settings.log_retention,
        removal_policy=settings.removal_policy,
    )


class Records(Construct):
    """`table`: one DynamoDB table, paid per request. `dead_letters`: events that all retries failed for."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "Records")
        key = own_key(self, settings)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED
            if key
            else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires",
            deletion_protection=settings.keep_data,
            # Kept even where the first deployment fails: CloudFormation could not delete a protected table, and the
            # stack would be stuck in ROLLBACK_FAILED.
            removal_policy=RemovalPolicy.RETAIN if settings.keep_data else RemovalPolicy.DESTROY,
        )
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            retention_period=Duration.days(14),
            enforce_ssl=True,
            encryption=None if key else sqs.QueueEncryption.SQS_MANAGED,
        )
        queue = self.dead_letters.node.default_child
        if key is not None and isinstance(queue, sqs.CfnQueue):
            # Not by CDK's own way: it would let each sender encrypt anew, by `kms:ReEncrypt*`, without a condition.
            queue.kms_master_key_id = key.key_arn
        accept(
            self.dead_letters, "AwsSolutions-SQS3", "It is itself the dead-letter queue; an alarm watches it."
        )


class TrainingData(Construct):
    """`checkpoints`, `models`, `reports`: versioned, encrypted, TLS-only buckets. `role`: that of training jobs.

    The user's own take their place where the settings name them. `named`: what the job files name beside them.

    Raises InvalidJobError for what a job file names and no permission can be given on.
    """

    def __init__(self, scope: Construct, settings: Settings, jobs: Mapping[str, Job]) -> None:
        super().__init__(scope, "Data")
        self._settings = settings
        stack = Stack.of(self)
        # A stack of no account goes to that of the CLI's credentials, which the CLI names here.
        # https://docs.aws.amazon.com/cdk/v2/guide/environments.html
        known = os.environ.get("CDK_DEFAULT_ACCOUNT") if Token.is_unresolved(stack.account) else stack.account
        self.named = read_named(jobs, known or None)
        self._named_by_own = read_named(of_the_own_role(jobs), known or None)
        old_days = settings.checkpoint_version_days
        self.checkpoints = self._bucket("Checkpoints", settings.checkpoint_bucket_name, old_days)
        self.models = self._bucket("Models", settings.model_bucket_name, _OLD_MODEL_DAYS)
        self.reports = self._bucket("Reports", settings.report_bucket_name, _OLD_MODEL_DAYS)
        if isinstance(self.checkpoints, s3.Bucket):
            # A run's prefix is never written again once the run is over, so age alone tells.
            self.checkpoints.add_lifecycle_rule(expiration=Duration.days(settings.checkpoint_days))
        self.role = self._role()
        if settings.training_role_arn is None:
            for found in ungranted_inputs(jobs):
                Annotations.of(self).add_warning_v2(
                    f"nightspot:input-not-granted:{found.field}",
                    f"{found}: the training role may not read it.",
                )
        if len(settings.subnet_ids) == 1:
            Annotations.of(self).add_warning_v2(
                "nightspot:one-subnet",
                "nightspot:subnet_ids names a single subnet: Spot capacity is then looked for in one zone only.",
            )

    def checkpoints_elsewhere(self) -> list[Prefix]:
        """The checkpoint prefixes of the job files that lie in other buckets than `checkpoints`."""
        return self._outside(self.named.checkpoints, OWN_CHECKPOINTS, self._settings.checkpoint_bucket_name)

    def models_elsewhere(self) -> list[Prefix]:
        """Where job files send models, outside `models`."""
        return self._outside(self.named.models, OWN_MODELS, self._settings.model_bucket_name)

    def bucket_arn(self, place: Prefix) -> str:
        """The ARN of its bucket."""
        return f"arn:{Stack.of(self).partition}:s3:::{self._filled(place.bucket)}"

    def key_pattern(self, place: Prefix, below: str = "*") -> str:
        """What the keys there are like, for IAM."""
        return self._filled(place.below(below))

    def key_arns(self, keys: Iterable[str]) -> list[str]:
        """ARNs of keys that are named by ARN or id."""
        filled = [self._filled(key) for key in keys]
        return list(
            dict.fromkeys(k if k.startswith("arn:") else arn(self, "kms", f"key/{k}") for k in filled)
        )

    def s3_only(self) -> dict[str, dict[str, Any]]:
        """IAM's condition that a key is used by S3 alone, on its user's behalf."""
        return via(self, "s3")

    @staticmethod
    def _outside(places: Iterable[Prefix], own: str, own_name: str | None) -> list[Prefix]:
        return [place for place in places if place.bucket not in {own, own_name}]

    def _filled(self, text: str) -> str:
        stack = Stack.of(self)
        names = {
            "CheckpointBucket": self.checkpoints.bucket_name,
            "ModelBucket": self.models.bucket_name,
            ACCOUNT: stack.account,
            REGION: stack.region,
        }
        return str(fill(text, names))

    def role_arns(self) -> list[str]:
        """Every role that training jobs run as: `role`, and those of the job files."""
        own = self._settings.training_role_arn
        return [self.role.role_arn, *(self._filled(text) for text in self.named.roles if text != own)]

    def _bucket(self, name: str, existing: str | None, old_version_days: int) -> s3.IBucket:
        if existing is not None:
            return s3.Bucket.from_bucket_name(self, name, existing)
        key, logs_go_to = own_key(self, self._settings), self._settings.access_log_bucket_name
        bucket = s3.Bucket(
            self,
            name,
            versioned=True,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            # Else each object is a call of KMS, which is paid for and limited.
            bucket_key_enabled=True if key else None,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=self._settings.removal_policy,
            auto_delete_objects=not self._settings.keep_data,  # CloudFormation removes empty buckets only
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                    noncurrent_version_expiration=Duration.days(old_version_days),
                )
            ],
        )
        resource = bucket.node.default_child
        if logs_go_to is None:
            accept(
                bucket,
                "AwsSolutions-S1",
                "Only training jobs and Nightspot's functions read it; CloudTrail data events tell more.",
            )
        elif isinstance(resource, s3.CfnBucket):
            # Not by a construct: CDK would warn that it cannot change the other bucket's policy.
            resource.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
                destination_bucket_name=logs_go_to,
                log_file_prefix=f"{Stack.of(self).stack_name}/{name.lower()}/",
            )
        return bucket

    def _role(self) -> iam.IRole:
        if self._settings.training_role_arn is not None:
            return iam.Role.from_role_arn(self, "Role", self._settings.training_role_arn, mutable=False)
        role = iam.Role(
            self,
            "Role",
            # SageMaker's own example names the ARNs of training jobs, for one feature each; the account is enough.
            # https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
            assumed_by=service(self, "sagemaker"),
            description="What Nightspot's training jobs run as",
        )
        for bucket in (self.checkpoints, self.models):
            self._let_it_use(role, bucket, _USE)
        for number, name in enumerate(self._settings.data_bucket_names):
            self._let_it_use(role, s3.Bucket.from_bucket_name(self, f"Data{number}", name), ["s3:GetObject"])
        self._let_it_use_what_its_jobs_name(role)
        self._let_it_run_containers(role)
        return role

    def _let_it_use_what_its_jobs_name(self, role: iam.Role) -> None:
        """Those jobs' own prefixes and keys. A role of the user's gets its permissions from the user."""
        named = self._named_by_own
        own = {
            OWN_CHECKPOINTS,
            OWN_MODELS,
            self._settings.checkpoint_bucket_name,
            self._settings.model_bucket_name,
        }
        for places, pattern, actions in (
            (named.checkpoints, "*", _USE),
            (named.models, "*", ["s3:PutObject", *_MULTIPART]),
            (named.inputs, "", ["s3:GetObject"]),
        ):
            for place in places:
                if place.bucket in own or (not pattern and place.bucket in self._settings.data_bucket_names):
                    continue
                bucket = self.bucket_arn(place)
                # S3Prefix means every key that begins so.
                keys = self.key_pattern(place, pattern) if pattern else f"{self._filled(place.key)}*"
                allow(role, ["s3:ListBucket"], bucket, conditions={"StringLike": {"s3:prefix": keys}})
                allow(role, ["s3:GetBucketLocation"], bucket)
                allow(role, actions, f"{bucket}/{keys}")
                accept_wildcard(role, f"{bucket}/{keys}", _WHY_BELOW)
        stored = self.key_arns([*named.output_keys, *self._settings.bucket_keys])
        if stored:
            # kms:Encrypt: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_OutputDataConfig.html
            actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
            allow(role, actions, *stored, conditions=self.s3_only())
        volumes = self.key_arns(named.volume_keys)
        if volumes:
            # For the volume's own service to go on with:
            # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
            allow(
                role,
                ["kms:CreateGrant"],
                *volumes,
                conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            )
            allow(role, ["kms:DescribeKey"], *volumes)

    def _let_it_use(self, role: iam.Role, bucket: s3.IBucket, actions: list[str]) -> None:
        listing = ["s3:ListBucket", "s3:GetBucketLocation"]
        allow(role, listing, bucket.bucket_arn)
        objects = bucket.arn_for_objects("*")
        allow(role, actions, objects)
        accept_wildcard(role, objects, "Runs name their objects themselves, below prefixes of their own.")

    def _let_it_run_containers(self, role: iam.Role) -> None:
        job_logs = arn(self, "logs", "log-group:/aws/sagemaker/TrainingJobs*")
        allow(
            role,
            [
                f"logs:{name}"
                for name in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
            ],
            job_logs,
        )
        accept_wildcard(
            role, job_logs, "SageMaker names the streams; the group is its one for training jobs."
        )
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
        images = arn(self, "ecr", "repository/*", account="*")
        allow(
            role,
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            images,
        )
        accept_wildcard(
            role, images, "Jobs name their images; AWS's own training images live in other accounts."
        )
        named = self._named_by_own
        subnets = dict.fromkeys([*self._settings.subnet_ids, *named.subnet_ids])
        if subnets:
            groups = dict.fromkeys([*self._settings.security_group_ids, *named.security_group_ids])
            self._let_it_join_the_vpc(role, subnets, groups)

    def _let_it_join_the_vpc(self, role: iam.Role, subnets: Iterable[str], groups: Iterable[str]) -> None:
        interfaces = arn(self, "ec2", "network-interface/*")
        # Of any account: a shared subnet's ARN has its owner's, and an id is one subnet's in all of AWS.
        # https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html
        shared = [
            arn(self, "ec2", each, account="*")
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
