"""The stack: training runs, and the commands that a person needs next as outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import CfnOutput, Stack
from constructs import Construct

import nightspot
from infra.bundle import Bundle
from infra.oidc import trust_of
from infra.pipelines import PipelineRole
from infra.settings import Settings
from infra.training_runs import TrainingRuns
from nightspot.job.model import Job


class NightspotStack(Stack):
    """One environment of Nightspot."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        jobs: Mapping[str, Job],
        bundle: Bundle,
        settings: Settings,
        **options: Any,
    ) -> None:
        super().__init__(scope, construct_id, **options)
        self.training = TrainingRuns(self, "Training", jobs=jobs, bundle=bundle, settings=settings)
        # One that waits for somebody to start it, where there is any.
        first_job = min(jobs, key=lambda name: (jobs[name].schedule is not None, name), default="JOB")
        machine_arn = self.training.workflow.state_machine.state_machine_arn
        CfnOutput(self, "Version", description="Of Nightspot", value=nightspot.__version__)
        CfnOutput(
            self,
            "StartARun",
            description="Starts a run now",
            value=(
                f"aws stepfunctions start-execution --state-machine-arn {machine_arn} "
                f'--input \'{{"job": "{first_job}"}}\''
            ),
        )
        CfnOutput(self, "StateMachineArn", value=machine_arn)
        CfnOutput(self, "TableName", value=self.training.records.table.table_name)
        if self.training.api is not None:
            CfnOutput(
                self,
                "ApiUrl",
                description="The HTTP API; requests are signed with SigV4",
                value=self.training.api.url,
            )
        trust = trust_of(settings)
        if trust is not None and self.training.api is not None:
            pipelines = PipelineRole(
                self,
                "Pipelines",
                rest_api=self.training.api.rest_api,
                trust=trust,
                jobs=jobs,
                settings=settings,
            )
            CfnOutput(
                self,
                "PipelineRoleArn",
                description="What the repository's pipelines assume",
                value=pipelines.role.role_arn,
            )
        CfnOutput(self, "NoticeTopicArn", value=self.training.notices.topic.topic_arn)
        if self.training.notices.chat_topic is not None:
            CfnOutput(
                self,
                "ChatTopicArn",
                description="For a channel of Amazon Q Developer in chat applications",
                value=self.training.notices.chat_topic.topic_arn,
            )
        CfnOutput(self, "CheckpointBucket", value=self.training.data.checkpoints.bucket_name)
        CfnOutput(self, "ModelBucket", value=self.training.data.models.bucket_name)
        CfnOutput(self, "TrainingRoleArn", value=self.training.data.role.role_arn)
