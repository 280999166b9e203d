"""What outlives a run: the table, the queue of what failed, the buckets; and what training jobs run as."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from aws_cdk import Annotations, Duration, RemovalPolicy, Stack, Token
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from nightspot.cdk.named import (
    OWN_CHECKPOINTS,
    OWN_MODELS,
    Prefix,
    check_teams,
    jobs_by_team,
    read_named,
    ungranted_inputs,
)
from nightspot.cdk.permissions import accept, allow, via
from nightspot.cdk.settings import Settings, SettingsError
from nightspot.cdk.training_roles import Places, make_training_role
from nightspot.job.model import Job

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

    `team_roles`: those of teams, by name. `places`: where what job files name lies.

    The user's own take their place where the settings name them. `named`: what the job files name beside them.

    Raises InvalidJobError for what a job file names and no permission can be given on, and for teams whose places
    are not apart; SettingsError for a role of a team that no job file names.
    """

    def __init__(self, scope: Construct, settings: Settings, jobs: Mapping[str, Job]) -> None:
        super().__init__(scope, "Data")
        self._settings = settings
        stack = Stack.of(self)
        # A stack of no account goes to that of the CLI's credentials, which the CLI names here.
        # https://docs.aws.amazon.com/cdk/v2/guide/environments.html
        known = os.environ.get("CDK_DEFAULT_ACCOUNT") if Token.is_unresolved(stack.account) else stack.account
        self._account = known or None
        self.named = read_named(jobs, self._account)
        self._jobs = jobs_by_team(jobs)
        self._check_teams()
        old_days = settings.checkpoint_version_days
        self.checkpoints = self._bucket("Checkpoints", settings.checkpoint_bucket_name, old_days)
        self.models = self._bucket("Models", settings.model_bucket_name, _OLD_MODEL_DAYS)
        self.reports = self._bucket("Reports", settings.report_bucket_name, _OLD_MODEL_DAYS)
        if isinstance(self.checkpoints, s3.Bucket):
            # A run's prefix is never written again once the run is over, so age alone tells.
            self.checkpoints.add_lifecycle_rule(expiration=Duration.days(settings.checkpoint_days))
        self.places = Places(self, self.checkpoints, self.models, self.reports)
        self._teams = Construct(self, "Teams")
        self.role = self._made(None)
        self.team_roles = {team: self._made(team) for team in sorted(filter(None, self._jobs))}
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

    @staticmethod
    def _outside(places: Iterable[Prefix], own: str, own_name: str | None) -> list[Prefix]:
        return [place for place in places if place.bucket not in {own, own_name}]

    def role_arns(self) -> list[str]:
        """Every role that training jobs run as: `role`, those of teams, and those of the job files, each once."""
        made = [self.role.role_arn, *(role.role_arn for role in self.team_roles.values())]
        return list(dict.fromkeys([*made, *map(self.places.filled, self.named.roles)]))

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

    def _check_teams(self) -> None:
        settings = self._settings
        teams = {team: jobs for team, jobs in self._jobs.items() if team is not None}
        for team, arn in settings.training_role_values.items():
            if team not in teams:
                known = ", ".join(sorted(teams)) or "none does"
                rule = f"must be of a team that a job file names as ${{TrainingRoleArn.TEAM}}: {known}"
                raise SettingsError(f"nightspot:training_roles: {f'{team}={arn}'!r} {rule}")
        buckets = {
            OWN_CHECKPOINTS: settings.checkpoint_bucket_name or OWN_CHECKPOINTS,
            OWN_MODELS: settings.model_bucket_name or OWN_MODELS,
        }
        check_teams(teams, buckets, made=teams.keys() - settings.training_role_values.keys())

    def _made(self, team: str | None) -> iam.IRole:
        """The role of a team's jobs, or of those without a team: the one of the settings, or one of the stack's."""
        settings = self._settings
        jobs = self._jobs.get(team, {})
        given = settings.training_role_arn if team is None else settings.training_role_values.get(team)
        scope, name = (self, "Role") if team is None else (self._teams, team)
        if given is not None:
            return iam.Role.from_role_arn(scope, name, given, mutable=False)
        for found in ungranted_inputs(jobs):
            Annotations.of(self).add_warning_v2(
                f"nightspot:input-not-granted:{found.field}",
                f"{found}: the training role may not read it.",
            )
        return make_training_role(
            scope,
            name,
            self.places,
            settings,
            read_named(jobs, self._account),
            whole=(self.checkpoints, self.models) if team is None else (),
        )
