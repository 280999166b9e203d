"""What people hear and see: topics, the rules that bring notices there, a dashboard, alarms, saved queries."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from nightspot.cdk.data import Records, let_it_use_the_key, own_key
from nightspot.cdk.functions import SOURCE, Functions
from nightspot.cdk.identity import Identity
from nightspot.cdk.permissions import allow, arn
from nightspot.cdk.settings import Settings
from nightspot.cdk.triggers import Workflow

# What can become a message; nightspot.view.messages.wording decides what does, and a test compares the two. The
# rest of Nightspot's events stay on the bus for whoever wants them.
TOLD = (
    "Nightspot No Spot Planned",
    "Nightspot At Risk Of Being Late",
    "Nightspot Unknown Failure",
    "Nightspot Resume Broken",
    "Nightspot Progress Unreadable",
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
        functions: Functions,
        workflow: Workflow,
        records: Records,
        settings: Settings,
        identity: Identity,
    ) -> None:
        super().__init__(scope, "Notices")
        self._detail = identity.notices(workflow.executions_arn)
        self._functions = functions
        self._records = records
        key = own_key(self, settings)
        self.topic = sns.Topic(self, "Topic", display_name="Nightspot", enforce_ssl=True, master_key=key)
        if settings.notice_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.notice_email))
        self.chat_topic = (
            sns.Topic(self, "ChatTopic", display_name="Nightspot", enforce_ssl=True, master_key=key)
            if settings.chat_topic
            else None
        )
        self._let_alarms_ring()
        self._let_messages_out(settings)
        self._tell("Told", "Notices that a person may have to act on", TOLD)
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
        messenger = self._functions.notify
        topics = [topic for topic in (self.topic, self.chat_topic) if topic is not None]
        allow(messenger, ["sns:Publish"], *(topic.topic_arn for topic in topics))
        let_it_use_the_key(messenger, self, settings, "sns")
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
            event_pattern=events.EventPattern(
                source=[SOURCE], detail_type=list(detail_types), detail=self._detail
            ),
            targets=[
                targets.LambdaFunction(
                    self._functions.notify,
                    dead_letter_queue=self._records.dead_letters,
                    max_event_age=Duration.hours(6),
                    retry_attempts=10,
                )
            ],
        )


NAMESPACE = "Nightspot"
_DAY = Duration.days(1)
_SHORT = Duration.minutes(5)
_LATE_PERIODS = 4  # of five minutes


class Observability(Construct):
    """`dashboard`, the alarms (all ring at the topic), saved Logs Insights queries."""

    def __init__(
        self,
        scope: Construct,
        functions: Functions,
        workflow: Workflow,
        records: Records,
        notices: NoticeTopic,
        environment: str,
    ) -> None:
        super().__init__(scope, "Observability")
        self._environment = environment
        self._ring = actions.SnsAction(notices.topic)
        # Of Nightspot's own counts: any occurrence in five minutes rings.
        self._alarm(
            "RunFailed",
            self._metric("RunFailed", period=_SHORT),
            "A run ended without a model. The execution's cause says why.",
        )
        self._alarm(
            "RunAtRisk",
            self._metric("AtRiskOfBeingLate", period=_SHORT),
            "A model is expected after its deadline.",
        )
        self._alarm(
            "UnknownFailure",
            self._metric("UnknownFailure", period=_SHORT),
            "SageMaker said something that Nightspot does not understand.",
        )
        self._alarm(
            "ResumeBroken",
            self._metric("ResumeBroken", period=_SHORT),
            "A training job was given a checkpoint and started over, or went far back: its script must be fixed.",
        )
        self._alarm(
            "WakeRefused",
            self._metric("WakeRefused", period=_SHORT),
            "Step Functions does not let runs be woken: they look by their timers alone, up to an hour late.",
        )
        self._alarm(
            "NoticeLost", self._metric("NoticeLost", period=_SHORT), "EventBridge did not take a notice."
        )
        self._alarm(
            "Reconciled",
            self._metric("Reconciled", period=_SHORT),
            "The reconciler found what no loop had dealt with, or could not repair it: nightspot audit shows it.",
        )
        self._alarm(
            "ReportLost",
            self._metric("ReportLost", period=_SHORT),
            "A run's page was not written. Its record is complete: report it again.",
        )
        if functions.ask_prices is not None:
            self._alarm(
                "PriceMissing",
                # It is counted every hour while it is so.
                self._metric("PriceMissing"),
                "AWS's Price List has no price of a type of the job files: the book's counts, or none.",
            )
        self._alarm(
            "DecisionCrashed",
            _matches(notices.crashed),
            "A function of a run keeps failing. The run tries again; its training job goes on meanwhile.",
        )
        self._alarm(
            "RunTimedOut",
            workflow.state_machine.metric_timed_out(period=_SHORT),
            "An execution reached the workflow's own time limit of 30 days.",
        )
        self._alarm(
            "RunLate",
            self._metric("DeadlineMarginSeconds", "Minimum", _SHORT),
            "A model was ready after its deadline.",
            below=True,
        )
        self._alarm(
            "DeadLetters",
            # Each that arrives, and not those that lie there: the next one rings too while nobody has emptied the
            # queue. EventBridge, Scheduler and Lambda's destinations send a letter as anybody sends a message.
            # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
            records.dead_letters.metric_number_of_messages_sent(period=_SHORT, statistic="Sum"),
            "An event or a start was given up after all retries: a run may not have started. It is in the queue.",
            # A queue without traffic sends its metrics up to 15 minutes late.
            periods=_LATE_PERIODS,
        )
        self._alarm(
            "FallbackRate",
            cloudwatch.MathExpression(
                expression="IF(started > 0, 100 * fell / started, 0)",
                using_metrics={"fell": self._metric("FellBack"), "started": self._metric("RunStarted")},
                period=_DAY,
                label="Runs that fell back to on-demand, percent",
            ),
            "More than half of a day's runs fell back to on-demand: Spot may be the wrong market for them.",
            threshold=50,
        )
        self.dashboard = self._dashboard(workflow, records)
        self._queries(functions)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        says: str,
        threshold: float = 0,
        *,
        below: bool = False,
        periods: int = 1,
    ) -> None:
        """It rings when one of the last `periods` periods is beyond the threshold."""
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            alarm_description=says,
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=1 if periods > 1 else None,
            comparison_operator=(
                cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
                if below
                else cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
            ),
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._ring)

    def _metric(self, name: str, statistic: str = "Sum", period: Duration = _DAY) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"service": "nightspot", "environment": self._environment},
            statistic=statistic,
            period=period,
            label=f"{name} ({statistic})" if statistic != "Sum" else name,
        )

    def _dashboard(self, workflow: Workflow, records: Records) -> cloudwatch.Dashboard:
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.days(14))
        dashboard.add_widgets(
            _graph(
                "How runs ended, per day",
                [self._metric(m) for m in ("RunSucceeded", "RunFailed", "RunSkipped", "RunStopped")],
            ),
            _graph(
                "What the market did, per day",
                [self._metric(m) for m in ("Interrupted", "FellBack", "AtRiskOfBeingLate")],
            ),
        )
        dashboard.add_widgets(
            _graph(
                "Margin to the deadline (seconds)",
                [self._metric("DeadlineMarginSeconds", s) for s in ("Minimum", "Average")],
            ),
            _graph(
                "Waiting against training (seconds)",
                [self._metric(m) for m in ("WaitedSeconds", "TrainedSeconds")],
            ),
        )
        dashboard.add_widgets(
            _graph(
                "Cost against on-demand alone (USD per day)",
                [self._metric(m) for m in ("CostUsd", "OnDemandCostUsd")],
            ),
            _graph("Saved (percent)", [self._metric("SavedPercent", "Average")]),
        )
        dashboard.add_widgets(
            _graph(
                "Executions",
                [workflow.state_machine.metric_started(), workflow.state_machine.metric_failed()],
            ),
            _graph("Given up", [records.dead_letters.metric_approximate_number_of_messages_visible()]),
        )
        return dashboard

    def _queries(self, functions: Functions) -> None:
        decisions = functions.decide_next_step.log_group
        for name, query in QUERIES.items():
            logs.QueryDefinition(
                self,
                name.replace(" ", ""),
                query_definition_name=f"Nightspot/{self._environment}/{name}",
                query_string=query,
                log_groups=[decisions, functions.record_outcome.log_group],
            )


QUERIES = {
    "Why did last night cost more": logs.QueryString(
        fields=[
            "@timestamp",
            "job",
            "run",
            "step",
            "action",
            "market",
            "instance_type",
            "failure_class",
            "message",
        ],
        filter_statements=["ispresent(action) and action != 'watch'"],
        sort="@timestamp asc",
        limit=1000,
    ),
    "Every decision of a run": logs.QueryString(
        fields=["@timestamp", "step", "action", "message"],
        filter_statements=["run = 'put the run id here'"],
        sort="step asc",
        limit=1000,
    ),
    "Decisions by reason": logs.QueryString(
        fields=["reason"],
        filter_statements=["ispresent(reason)"],
        stats_statements=["count(*) as decisions by reason, action, job"],
    ),
    "Failures by class": logs.QueryString(
        fields=["failure_class"],
        filter_statements=["ispresent(failure_class)"],
        stats_statements=["count_distinct(training_job_name) as training_jobs by failure_class, job"],
    ),
}


def _matches(rule: events.Rule) -> cloudwatch.Metric:
    """How often a rule matched: EventBridge counts it, whatever happens to the target."""
    return cloudwatch.Metric(
        namespace="AWS/Events",
        metric_name="MatchedEvents",
        dimensions_map={"RuleName": rule.rule_name},
        statistic="Sum",
        period=_SHORT,
    )


def _graph(title: str, metrics: list[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title, left=metrics, width=12, left_y_axis=cloudwatch.YAxisProps(min=0)
    )
