"""Where people hear of a run: a topic that gets the notices that matter."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.arns import arn
from infra.records import Records
from infra.settings import Settings

# A quiet success is quiet. The rest of Nightspot's events stay on the bus for whoever wants them.
TOLD = (
    "Nightspot Fell Back",
    "Nightspot At Risk Of Being Late",
    "Nightspot Unknown Failure",
    "Nightspot Resume Broken",
    "Nightspot Run Failed",
    "Nightspot Run Skipped",
    "Nightspot Run Stopped",
    "Nightspot Run Refused",
)
# The state machine sends it by itself, so it knows the crash and not the ledger's deadline.
CRASHED = "Nightspot Decision Crashed"


class NoticeTopic(Construct):
    """`topic`: e-mail (if the settings name an address) or whatever else subscribes to it.

    `crashed`: the rule that matches crashed decisions.
    """

    def __init__(self, scope: Construct, construct_id: str, *, records: Records, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(self, "Topic", display_name="Nightspot", enforce_ssl=True)
        if settings.notice_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.notice_email))
        self._let_alarms_ring()
        detail = events.EventField.from_path
        run = (
            f"{events.EventField.detail_type}: job {detail('$.detail.job')}, run {detail('$.detail.run_id')}"
        )
        self._tell(
            "Told",
            "Notices of Nightspot that a person should hear of",
            TOLD,
            f"{run}, deadline {detail('$.detail.deadline')}. {detail('$.detail.because')}",
            records,
        )
        self.crashed = self._tell(
            "Crashed",
            "A run crashed; what it started may still be training",
            (CRASHED,),
            f"{run}. {detail('$.detail.error')}: {detail('$.detail.cause')} "
            f"Training jobs left running: {detail('$.detail.training_jobs_left_running')}. "
            f"Execution: {detail('$.detail.execution_arn')}",
            records,
        )

    def _let_alarms_ring(self) -> None:
        # A topic policy of its own takes the place of SNS's default one, which lets alarms publish.
        # https://repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Stack.of(self).account},
                    "ArnLike": {"aws:SourceArn": arn(self, "cloudwatch", "alarm:*")},
                },
            )
        )

    def _tell(
        self, name: str, description: str, detail_types: tuple[str, ...], text: str, records: Records
    ) -> events.Rule:
        return events.Rule(
            self,
            name,
            description=description,
            event_pattern=events.EventPattern(source=["nightspot"], detail_type=list(detail_types)),
            targets=[
                targets.SnsTopic(
                    self.topic,
                    message=events.RuleTargetInput.from_text(text),
                    dead_letter_queue=records.dead_letters,
                )
            ],
        )
