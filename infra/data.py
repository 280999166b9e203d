"""What outlives a run: the table, the queue of what failed, the buckets, and the role that training jobs run as."""

from __future__ import annotations

from aws_cdk import Annotations, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from nightspot.cdk.permissions import accept, accept_wildcard, allow, arn, service
from nightspot.cdk.settings import Settings

# What the upload of large checkpoints needs.
_MULTIPART = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


# Of models that were overwritten or deleted.
_OLD_MODEL_DAYS = 14


def make_log_group(
    scope: Construct, name: str, settings: Settings, group_name: str | None = None
) -> logs.LogGroup:
    """Logs that are kept as long as the settings say; CloudFormation names the group unless `group_name` does."""
    return logs.LogGroup(
        scope,
        name,
        log_group_name=group_name,
        retention=settings.log_retention,
        removal_policy=settings.removal_policy,
    )


class Records(Construct):
    """`table`: one DynamoDB table, paid per request. `dead_letters`: events that all retries failed for."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "Records")
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
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
            encryption=sqs.QueueEncryption.SQS_MANAGED,
        )
        accept(
            self.dead_letters, "AwsSolutions-SQS3", "It is itself the dead-letter queue; an alarm watches it."
        )


class TrainingData(Construct):
    """`checkpoints` and `models`: versioned, encrypted, TLS-only buckets. `role`: what training jobs run as.

    The user's own take their place where the settings name them.
    """

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "Data")
        self._settings = settings
        old_days = settings.checkpoint_version_days
        self.checkpoints = self._bucket("Checkpoints", settings.checkpoint_bucket_name, old_days)
        self.models = self._bucket("Models", settings.model_bucket_name, _OLD_MODEL_DAYS)
        if isinstance(self.checkpoints, s3.Bucket):
            # A run's prefix is never written again once the run is over, so age alone tells.
            self.checkpoints.add_lifecycle_rule(expiration=Duration.days(settings.checkpoint_days))
        self.role = self._role()
        if len(settings.subnet_ids) == 1:
            Annotations.of(self).add_warning_v2(
                "nightspot:one-subnet",
                "nightspot:subnet_ids names a single subnet: Spot capacity is then looked for in one zone only.",
            )

    def _bucket(self, name: str, existing: str | None, old_version_days: int) -> s3.IBucket:
        if existing is not None:
            return s3.Bucket.from_bucket_name(self, name, existing)
        bucket = s3.Bucket(
            self,
            name,
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
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
        accept(
            bucket,
            "AwsSolutions-S1",
            "Only training jobs and Nightspot's functions read it; CloudTrail data events tell more.",
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
            self._let_it_use(role, bucket, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", *_MULTIPART])
        for number, name in enumerate(self._settings.data_bucket_names):
            self._let_it_use(role, s3.Bucket.from_bucket_name(self, f"Data{number}", name), ["s3:GetObject"])
        self._let_it_run_containers(role)
        return role

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
        if self._settings.subnet_ids:
            self._let_it_join_the_vpc(role)

    def _let_it_join_the_vpc(self, role: iam.Role) -> None:
        interfaces = arn(self, "ec2", "network-interface/*")
        allow(
            role,
            [
                "ec2:CreateNetworkInterface",
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            interfaces,
            *(arn(self, "ec2", f"subnet/{subnet}") for subnet in self._settings.subnet_ids),
            *(arn(self, "ec2", f"security-group/{group}") for group in self._settings.security_group_ids),
        )
        accept_wildcard(role, interfaces, "SageMaker makes the interfaces, in the named subnets only.")
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
