"""What the handlers read from their environment, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Environment(BaseModel):
    """The environment of every handler. Raises pydantic.ValidationError, naming the variable, at the first use."""

    model_config = ConfigDict(frozen=True)

    table_name: str = Field(alias="NIGHTSPOT_TABLE_NAME", min_length=3)
    bus_name: str = Field(alias="NIGHTSPOT_BUS_NAME", min_length=1)
    jobs_file: Path = Field(alias="NIGHTSPOT_JOBS_FILE", default=Path("jobs.json"))
    region: str = Field(alias="AWS_REGION", min_length=1)
    checkpoint_bucket: str = Field(alias="NIGHTSPOT_CHECKPOINT_BUCKET", default="")
    model_bucket: str = Field(alias="NIGHTSPOT_MODEL_BUCKET", default="")
    training_role_arn: str = Field(alias="NIGHTSPOT_TRAINING_ROLE_ARN", default="")
    dlc_account_id: str = Field(alias="NIGHTSPOT_DLC_ACCOUNT_ID", default="")
    state_machine_arn: str = Field(alias="NIGHTSPOT_STATE_MACHINE_ARN", default="")
    check_quotas: bool = Field(alias="NIGHTSPOT_CHECK_QUOTAS", default=False)
    live_prices: bool = Field(alias="NIGHTSPOT_LIVE_PRICES", default=False)
    notice_topic_arn: str = Field(alias="NIGHTSPOT_NOTICE_TOPIC_ARN", default="")
    chat_topic_arn: str = Field(alias="NIGHTSPOT_CHAT_TOPIC_ARN", default="")
    tell_success: bool = Field(alias="NIGHTSPOT_TELL_SUCCESS", default=False)
    subnet_ids: str = Field(alias="NIGHTSPOT_SUBNET_IDS", default="")  # comma-separated
    security_group_ids: str = Field(alias="NIGHTSPOT_SECURITY_GROUP_IDS", default="")

    @property
    def vpc_config(self) -> dict[str, list[str]] | None:
        """CreateTrainingJob's VpcConfig for jobs that state none; None outside a VPC."""
        if not self.subnet_ids:
            return None
        return {
            "Subnets": self.subnet_ids.split(","),
            "SecurityGroupIds": self.security_group_ids.split(","),
        }

    def names(self, account_id: str) -> dict[str, str]:
        """What the placeholders of a job file stand for in this deployment."""
        return {
            "CheckpointBucket": self.checkpoint_bucket,
            "ModelBucket": self.model_bucket,
            "TrainingRoleArn": self.training_role_arn,
            "AWS::AccountId": account_id,
            "AWS::Region": self.region,
            "DlcAccountId": self.dlc_account_id,
        }


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """The handlers' environment."""
    return Environment.model_validate(dict(environ))
