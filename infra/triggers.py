"""What starts and wakes runs: one schedule per job file, and one rule on SageMaker's state changes."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration, TimeZone
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as event_targets
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from constructs import Construct

from infra.functions import Functions
from infra.records import Records
from infra.workflow import Workflow
from nightspot.job import Job


class Schedules(Construct):
    """One EventBridge Scheduler schedule for each job that has one."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        jobs: Mapping[str, Job],
        workflow: Workflow,
        records: Records,
    ) -> None:
        super().__init__(scope, construct_id)
        for name, job in sorted(jobs.items()):
            if job.schedule is None:
                continue
            scheduler.Schedule(
                self,
                name,
                schedule=scheduler.ScheduleExpression.expression(
                    job.schedule.expression, TimeZone.of(job.schedule.timezone)
                ),
                target=scheduler_targets.StepFunctionsStartExecution(
                    workflow.state_machine,
                    input=scheduler.ScheduleTargetInput.from_object({"job": name}),
                    retry_attempts=10,
                    # A start that comes later than this is no longer tonight's.
                    max_event_age=Duration.hours(1),
                    dead_letter_queue=records.dead_letters,
                ),
                time_window=scheduler.TimeWindow.off(),
                description=f"Starts the nightly run of {name}",
            )


class WakeUp(Construct):
    """SageMaker's state changes of Nightspot's own training jobs go to the function that wakes runs."""

    def __init__(
        self, scope: Construct, construct_id: str, *, functions: Functions, records: Records
    ) -> None:
        super().__init__(scope, construct_id)
        self.rule = events.Rule(
            self,
            "StateChange",
            description="News of Nightspot's training jobs wakes the run that waits for them",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Training Job State Change"],
                detail={"TrainingJobName": [{"prefix": "nightspot-"}]},
            ),
            targets=[
                event_targets.LambdaFunction(
                    functions.wake_run,
                    dead_letter_queue=records.dead_letters,
                    max_event_age=Duration.hours(1),
                    retry_attempts=10,
                )
            ],
        )
