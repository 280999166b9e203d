"""The state machine, and what starts, wakes, closes and repairs its runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import CfnResource, Duration, Fn, Names, NestedStack, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as event_targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

import nightspot
from nightspot.cdk.data import Records, TrainingData, let_it_use_the_key, make_log_group
from nightspot.cdk.functions import (
    BUS_NAME,
    Functions,
    let_it_send_notices,
    let_it_start_training_jobs,
)
from nightspot.cdk.identity import Identity
from nightspot.cdk.permissions import accept_wildcard, allow, arn, service
from nightspot.cdk.placement import placed
from nightspot.cdk.settings import Settings
from nightspot.formats.figures import MINUTE_SECONDS
from nightspot.formats.statuses import ENDED, Status
from nightspot.job.cautions import start_try_seconds
from nightspot.job.model import Job

WORKFLOW_FILE = Path(nightspot.__file__).parent / "statemachine" / "training_run.asl.json"


class Workflow(Construct):
    """`state_machine`: one execution is one run."""

    def __init__(
        self,
        scope: Construct,
        functions: Functions,
        records: Records,
        data: TrainingData,
        settings: Settings,
        identity: Identity,
    ) -> None:
        super().__init__(scope, "Workflow")
        jobs = identity.training_jobs(self)
        log_group = make_log_group(self, "Logs", settings, _log_group_name(self))
        role = iam.Role(
            self,
            "Role",
            # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
            assumed_by=service(self, "states", source=arn(self, "states", "stateMachine:*"), documented=True),
            description="What a run may do",
        )
        steps = (
            functions.plan_run,
            functions.decide_next_step,
            functions.start_training_job,
            functions.record_outcome,
        )
        allow(role, ["lambda:InvokeFunction"], *(function.function_arn for function in steps))
        allow(role, ["sagemaker:StopTrainingJob"], *jobs)
        if identity.has_older_runs:
            # An execution goes on with the workflow that it began with, and with what the role may do now. Before
            # there was StartTrainingJob, the workflow itself asked SageMaker.
            let_it_start_training_jobs(self, role, data, identity)
        allow(role, ["dynamodb:UpdateItem"], records.table.table_arn)
        let_it_use_the_key(role, self, settings, "dynamodb")
        let_it_send_notices(self, role)
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            definition_body=sfn.DefinitionBody.from_string(WORKFLOW_FILE.read_text(encoding="utf-8")),
            definition_substitutions={
                "PlanRunFunctionArn": functions.plan_run.function_arn,
                "DecideNextStepFunctionArn": functions.decide_next_step.function_arn,
                "StartTrainingJobFunctionArn": functions.start_training_job.function_arn,
                "RecordOutcomeFunctionArn": functions.record_outcome.function_arn,
                "TableName": records.table.table_name,
                "EventBusName": BUS_NAME,
                "Environment": identity.environment,
            },
            role=role,
            state_machine_type=sfn.StateMachineType.STANDARD,
            tracing_enabled=True,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=True),
            comment="One night of one training job",
        )
        _let_cfn_lint_pass_computed_timeouts(self.state_machine)
        self._let_runs_take_turns(functions)
        for each in jobs:
            accept_wildcard(role, each, "Training jobs are named by their runs.")
        accept_wildcard(role, "*", "X-Ray's actions and those of log delivery know no resources.")

    @property
    def executions_arn(self) -> str:
        """Every execution of the state machine."""
        return arn(self, "states", f"execution:{self.state_machine.state_machine_name}:*")

    def _let_runs_take_turns(self, functions: Functions) -> None:
        """A run sees whether the one before it is still alive.

        Policies of their own: CloudFormation makes a function after its role's default policy, and the state
        machine after the function.
        """
        executions = self.executions_arn
        look = iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[executions])
        for name, function in (
            ("PlanRunTurns", functions.plan_run),
            ("DecideNextStepTurns", functions.decide_next_step),
        ):
            if function.role is None:
                raise ValueError("the function has no role")
            policy = iam.Policy(self, name, statements=[look], roles=[function.role])
            accept_wildcard(policy, executions, "Executions are named by what starts them.")


def _log_group_name(scope: Construct) -> str:
    """Of a workflow's log: below the prefix that one entry in CloudWatch Logs' resource policy stands for.

    Each log group elsewhere adds an entry of its own, and the policy may have 5,120 characters: in an account with
    many workflows the next one could not be made. The name ends in eight digits of the stack's id, because the log
    of a removed stack is kept and a new stack of the same name needs another.
    https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
    """
    # arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/NAME/UUID
    stack_id = Fn.select(2, Fn.split("/", Stack.of(scope).stack_id))
    path = Names.unique_resource_name(scope, max_length=200, separator="-")
    return f"/aws/vendedlogs/states/{path}-{Fn.select(0, Fn.split('-', stack_id))}"


def _let_cfn_lint_pass_computed_timeouts(state_machine: sfn.StateMachine) -> None:
    """cfn-lint's schema knows `TimeoutSeconds` as a number only; AWS takes a JSONata expression as well.

    https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_stepfunctions.Timeout.html
    A test runs the rule on the same definition with a number in its place, so the rest stays checked.
    """
    resource = state_machine.node.default_child
    if isinstance(resource, CfnResource):
        resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["E3601"]}})


# The most that Scheduler does: how long it goes on is for the age to say.
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html
# fact: scheduler.tries
MOST_TRIES = 185
# How long a run can be without a loop that watches it, where the event of its crash was lost.
RECONCILE_EVERY = Duration.minutes(5)
# Each type is asked for once a day; so often it is looked whether one is due, and asked again where AWS was silent.
ASK_PRICES_EVERY = Duration.hours(1)


def add_schedules(
    scope: Construct,
    jobs: Mapping[str, Job],
    functions: Functions,
    workflow: Workflow,
    records: Records,
    settings: Settings,
) -> None:
    """One EventBridge Scheduler schedule for each job that has one; each calls the function that starts runs.

    In nested stacks where there are very many (`nightspot.cdk.placement`). Raises TooManySchedulesError.
    """
    here = Construct(scope, "Schedules")
    machine_arn = workflow.state_machine.state_machine_arn
    # It looks whether the night's run is there already.
    functions.start_run.add_environment("NIGHTSPOT_STATE_MACHINE_ARN", machine_arn)
    allow(functions.start_run, ["states:StartExecution"], machine_arn)
    _let_it_see_executions(functions.start_run, workflow)
    scheduled = {name: job for name, job in sorted(jobs.items()) if job.schedule is not None}
    if not scheduled:
        return
    role = iam.Role(
        here,
        "Role",
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
        assumed_by=service(here, "scheduler", documented=True),
        description="What a schedule may do",
    )
    allow(role, ["lambda:InvokeFunction"], functions.start_run.function_arn)
    allow(role, ["sqs:SendMessage"], records.dead_letters.queue_arn)
    let_it_use_the_key(role, here, settings, "sqs")
    places = placed(scheduled)
    numbers = sorted({number for number in places.values() if number is not None})
    nested = {
        number: NestedStack(here, f"More{number}", description="Schedules that its parent has no room for")
        for number in numbers
    }
    for name, job in scheduled.items():
        number = places[name]
        home = here if number is None else nested[number]
        schedule = _schedule(home, name, job, functions.start_run, role, records)
        # Else the first start could come before the role may call the function.
        schedule.node.add_dependency(role)


def _schedule(
    scope: Construct, name: str, job: Job, function: lambda_.Function, role: iam.Role, records: Records
) -> scheduler.CfnSchedule:
    schedule = job.schedule
    if schedule is None:
        raise ValueError(f"{name} has no schedule")
    return scheduler.CfnSchedule(
        scope,
        name,
        description=f"Starts the nightly run of {name}",
        schedule_expression=schedule.expression,
        schedule_expression_timezone=schedule.timezone,
        state="DISABLED" if schedule.paused else "ENABLED",
        flexible_time_window=_flexible(schedule.flexible_seconds),
        target=scheduler.CfnSchedule.TargetProperty(
            arn=function.function_arn,
            role_arn=role.role_arn,
            input=Stack.of(scope).to_json_string(
                {"job": name, "scheduled_at": scheduler.ContextAttribute.scheduled_time}
            ),
            retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                maximum_event_age_in_seconds=start_try_seconds(job), maximum_retry_attempts=MOST_TRIES
            ),
            dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(
                arn=records.dead_letters.queue_arn
            ),
        ),
    )


def _flexible(seconds: int | None) -> scheduler.CfnSchedule.FlexibleTimeWindowProperty:
    if seconds is None:
        return scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF")
    return scheduler.CfnSchedule.FlexibleTimeWindowProperty(
        mode="FLEXIBLE", maximum_window_in_minutes=seconds // MINUTE_SECONDS
    )


def _let_it_restart(function: lambda_.Function, workflow: Workflow) -> None:
    """The function looks at executions, and starts one that goes on with a run."""
    allow(function, ["states:StartExecution"], workflow.state_machine.state_machine_arn)
    _let_it_see_executions(function, workflow)


def _let_it_see_executions(function: lambda_.Function, workflow: Workflow) -> None:
    executions = workflow.executions_arn
    allow(function, ["states:DescribeExecution"], executions)
    accept_wildcard(function.role, executions, "Executions are named by what starts them.")


def add_rules(
    scope: Construct, functions: Functions, workflow: Workflow, records: Records, identity: Identity
) -> None:
    """What EventBridge calls: news of training jobs wakes runs, ends of executions and of training jobs close them.

    The end of every training job of Nightspot's own: the bill of a run that was closed before it, and a second
    chance where the execution's event was lost, which Step Functions sends as a best effort.
    https://docs.aws.amazon.com/eventbridge/latest/ref/events-ref-states.html
    """
    _rule(
        Construct(scope, "WakeUp"),
        "StateChange",
        functions.wake_run,
        records,
        age=Duration.hours(1),
        description="News of Nightspot's training jobs wakes the run that waits for them",
        event_pattern=_training_job_changes(identity),
    )
    closing = Construct(scope, "Closing")
    _let_it_restart(functions.close_run, workflow)
    _rule(
        closing,
        "ExecutionEnded",
        functions.close_run,
        records,
        age=Duration.hours(6),
        description="A run's execution ended without a model; its record may be open",
        event_pattern=events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={
                "stateMachineArn": [workflow.state_machine.state_machine_arn],
                "status": ["ABORTED", "FAILED", "TIMED_OUT"],
            },
        ),
    )
    _rule(
        closing,
        "TrainingJobEnded",
        functions.close_run,
        records,
        age=Duration.hours(6),
        description="A training job of Nightspot's is over; its run may be closed already, or have to be",
        event_pattern=_training_job_changes(
            identity,
            TrainingJobStatus=[status.value for status in Status if status in ENDED],
        ),
    )
    reconciling = Construct(scope, "Reconciling")
    _let_it_restart(functions.reconcile, workflow)
    # It starts what StartRun could not.
    functions.reconcile.add_environment(
        "NIGHTSPOT_STATE_MACHINE_ARN", workflow.state_machine.state_machine_arn
    )
    _rule(
        reconciling,
        "EveryFiveMinutes",
        functions.reconcile,
        records,
        age=RECONCILE_EVERY,
        description="Checks unfinished runs and repairs what nothing else would",
        schedule=events.Schedule.rate(RECONCILE_EVERY),
    )
    if functions.ask_prices is not None:
        _ask_for_prices(scope, functions.ask_prices, records)


def _ask_for_prices(scope: Construct, function: lambda_.Function, records: Records) -> None:
    """Every hour, and at once where a deployment may have brought types that nobody has asked for yet.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/event-detail-stack-status-change.html
    """
    asking = Construct(scope, "Prices")
    _rule(
        asking,
        "EveryHour",
        function,
        records,
        age=ASK_PRICES_EVERY,
        description="Asks AWS what instance types cost, each once a day",
        schedule=events.Schedule.rate(ASK_PRICES_EVERY),
    )
    _rule(
        asking,
        "Deployed",
        function,
        records,
        age=ASK_PRICES_EVERY,
        description="Asks AWS what the instance types of new job files cost",
        event_pattern=events.EventPattern(
            source=["aws.cloudformation"],
            detail_type=["CloudFormation Stack Status Change"],
            detail={
                "stack-id": [Stack.of(scope).stack_id],
                "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
            },
        ),
    )


def _training_job_changes(identity: Identity, **detail: list[str]) -> events.EventPattern:
    return events.EventPattern(
        source=["aws.sagemaker"],
        detail_type=["SageMaker Training Job State Change"],
        detail={"TrainingJobName": identity.training_job_names, **detail},
    )


def _rule(
    scope: Construct,
    name: str,
    function: lambda_.Function,
    records: Records,
    *,
    age: Duration,
    **options: Any,
) -> None:
    events.Rule(
        scope,
        name,
        targets=[
            event_targets.LambdaFunction(
                function, dead_letter_queue=records.dead_letters, max_event_age=age, retry_attempts=10
            )
        ],
        **options,
    )
