"""Where people hear of a run: topics for e-mail and chat, and the rules by which notices become messages."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from nightspot.cdk.data import Records
from nightspot.cdk.functions import Functions
from nightspot.cdk.permissions import allow, arn
from nightspot.cdk.settings import Settings

# What can become a message; nightspot.view.messages.wording decides what does, and a test compares the two. The
# rest of Nightspot's events stay on the bus for whoever wants them.
TOLD = (
    "Nightspot At Risk Of Being Late",
    "Nightspot Unknown Failure",
    "Nightspot Resume Broken",
    "Nightspot Stop Refused",
    "Nightspot Run Succeeded",
    "Nightspot Run Failed",
    "Nightspot Run Skipped",
    "Nightspot Run Stopped",
    "Nightspot Run Refused",
)
# The state machine sends these by itself, because no function could: it tries again; it has given up.
FAILING = "Nightspot Decision Failing"
CRASHED = "Nightspot Decision Crashed"


class NoticeTopic(Construct):
    """`topic`: e-mail (if the settings name an address) or whatever else subscribes to it; alarms ring here.

    `chat_topic`: the same messages in the form for chat, where the settings ask for it. `crashed`: the rule that
    matches crashed decisions.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        functions: Functions,
        records: Records,
        settings: Settings,
    ) -> None:
        super().__init__(scope, construct_id)
        self._functions = functions
        self._records = records
        self.topic = sns.Topic(self, "Topic", display_name="Nightspot", enforce_ssl=True)
        if settings.notice_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.notice_email))
        self.chat_topic = (
            sns.Topic(self, "ChatTopic", display_name="Nightspot", enforce_ssl=True)
            if settings.chat_topic
            else None
        )
        self._let_alarms_ring()
        self._let_messages_out(settings)
        self._tell("Told", "Notices of Nightspot that a person may have to hear of", TOLD)
        self.crashed = self._tell(
            "Crashed", "Decisions of a run fail; what it started may still be training", (FAILING, CRASHED)
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

    def _let_messages_out(self, settings: Settings) -> None:
        messenger = self._functions.tell_people
        topics = [topic for topic in (self.topic, self.chat_topic) if topic is not None]
        allow(messenger, ["sns:Publish"], *(topic.topic_arn for topic in topics))
        messenger.add_environment("NIGHTSPOT_NOTICE_TOPIC_ARN", self.topic.topic_arn)
        messenger.add_environment(
            "NIGHTSPOT_CHAT_TOPIC_ARN", self.chat_topic.topic_arn if self.chat_topic else ""
        )
        messenger.add_environment("NIGHTSPOT_TELL_SUCCESS", "true" if settings.tell_success else "false")

    def _tell(self, name: str, description: str, detail_types: tuple[str, ...]) -> events.Rule:
        return events.Rule(
            self,
            name,
            description=description,
            event_pattern=events.EventPattern(source=["nightspot"], detail_type=list(detail_types)),
            targets=[
                targets.LambdaFunction(
                    self._functions.tell_people,
                    dead_letter_queue=self._records.dead_letters,
                    max_event_age=Duration.hours(6),
                    retry_attempts=10,
                )
            ],
        )
