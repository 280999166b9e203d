"""A daily copy of the table in AWS Backup, apart from the table: it is there when the table is deleted."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_backup as backup
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from nightspot.cdk.data import Records, own_key
from nightspot.cdk.permissions import accept_wildcard, allow, service, via
from nightspot.cdk.settings import Settings

# What AWS Backup does with a DynamoDB table, from AWSBackupServiceRolePolicyForBackup:
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSBackupServiceRolePolicyForBackup.html
_OF_THE_TABLE = [
    f"dynamodb:{name}"
    for name in ("CreateBackup", "DescribeTable", "ListTagsOfResource", "StartAwsBackupJob")
]
_OF_ITS_COPIES = ["dynamodb:DeleteBackup", "dynamodb:DescribeBackup"]
_OF_THE_VAULT = ["backup:CopyIntoBackupVault", "backup:DescribeBackupVault"]
# Before the nights begin in most places, and out of the hours in which AWS itself is busiest.
_EVERY_DAY = events.Schedule.cron(hour="17", minute="20")


class Backup(Construct):
    """A vault, and a plan that copies the table into it each day. The vault is kept as the table is."""

    def __init__(self, scope: Construct, records: Records, settings: Settings) -> None:
        super().__init__(scope, "Backup")
        key = own_key(self, settings)
        vault = backup.BackupVault(self, "Vault", encryption_key=key, removal_policy=settings.removal_policy)
        role = iam.Role(
            self,
            "Role",
            # https://docs.aws.amazon.com/aws-backup/latest/devguide/confused-deputy.html
            assumed_by=service(self, "backup"),
            description="What AWS Backup may do to copy the table",
        )
        copies = f"{records.table.table_arn}/backup/*"
        allow(role, _OF_THE_TABLE, records.table.table_arn)
        allow(role, _OF_ITS_COPIES, copies)
        accept_wildcard(role, copies, "Copies are named by DynamoDB.")
        allow(role, _OF_THE_VAULT, vault.backup_vault_arn)
        self._let_it_use_the_key(role, settings)
        plan = backup.BackupPlan(self, "Plan", backup_vault=vault)
        plan.add_rule(
            backup.BackupPlanRule(
                rule_name="Daily",
                schedule_expression=_EVERY_DAY,
                delete_after=Duration.days(settings.backup_days),
            )
        )
        plan.add_selection(
            "Table",
            resources=[backup.BackupResource.from_dynamo_db_table(records.table)],
            role=role,
            disable_default_backup_policy=True,
        )

    def _let_it_use_the_key(self, role: iam.Role, settings: Settings) -> None:
        """As in AWS's own policy for this role."""
        key = settings.kms_key_arn
        if key is None:
            return
        allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], key, conditions=via(self, "dynamodb"))
        allow(role, ["kms:CreateGrant"], key, conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}})
        allow(role, ["kms:DescribeKey"], key)
