"""Where people hear of a run: a topic that gets the notices that matter."""

from __future__ import annotations

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.records import Records
from infra.settings import Settings

# A quiet success is quiet. The rest of Nightspot's events stay on the bus for whoever wants them.
TOLD = (
    "Nightspot Fell Back",
    "Nightspot At Risk Of Being Late",
    "Nightspot Unknown Failure",
    "Nightspot Run Failed",
    "Nightspot Run Skipped",
    "Nightspot Run Stopped",
    "Nightspot Decision Crashed",
)


class NoticeTopic(Construct):
    """`topic`: e-mail (if the settings name an address) or whatever else subscribes to it."""

    def __init__(self, scope: Construct, construct_id: str, *, records: Records, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(self, "Topic", display_name="Nightspot", enforce_ssl=True)
        if settings.notice_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.notice_email))
        detail = events.EventField.from_path
        text = (
            f"{events.EventField.detail_type}: job {detail('$.detail.job')}, run {detail('$.detail.run_id')}, "
            f"deadline {detail('$.detail.deadline')}. {detail('$.detail.because')}"
        )
        events.Rule(
            self,
            "Told",
            description="Notices of Nightspot that a person should hear of",
            event_pattern=events.EventPattern(source=["nightspot"], detail_type=list(TOLD)),
            targets=[
                targets.SnsTopic(
                    self.topic,
                    message=events.RuleTargetInput.from_text(text),
                    dead_letter_queue=records.dead_letters,
                )
            ],
        )
