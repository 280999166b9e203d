"""The state machine: the workflow file as it is, with the names of this stack filled in."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnResource, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

import nightspot
from nightspot.cdk.data import Records, TrainingData
from nightspot.cdk.functions import BUS_NAME, Functions
from nightspot.cdk.permissions import accept_wildcard, allow, arn, training_jobs_arn
from nightspot.cdk.settings import Settings, log_retention

WORKFLOW_FILE = Path(nightspot.__file__).parent / "statemachine" / "training_run.asl.json"


class Workflow(Construct):
    """`state_machine`: one execution is one run."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        functions: Functions,
        records: Records,
        data: TrainingData,
        settings: Settings,
    ) -> None:
        super().__init__(scope, construct_id)
        keep = settings.keep_data
        log_group = logs.LogGroup(
            self,
            "Logs",
            retention=log_retention(settings),
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("states.amazonaws.com"),
            description="What a run may do",
        )
        steps = (functions.plan_run, functions.decide_next_step, functions.record_outcome)
        allow(role, ["lambda:InvokeFunction"], *(function.function_arn for function in steps))
        allow(
            role,
            ["sagemaker:CreateTrainingJob", "sagemaker:StopTrainingJob", "sagemaker:AddTags"],
            training_jobs_arn(self),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[data.role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
        allow(role, ["dynamodb:UpdateItem"], records.table.table_arn)
        allow(role, ["events:PutEvents"], arn(self, "events", f"event-bus/{BUS_NAME}"))
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            definition_body=sfn.DefinitionBody.from_string(WORKFLOW_FILE.read_text(encoding="utf-8")),
            definition_substitutions={
                "PlanRunFunctionArn": functions.plan_run.function_arn,
                "DecideNextStepFunctionArn": functions.decide_next_step.function_arn,
                "RecordOutcomeFunctionArn": functions.record_outcome.function_arn,
                "TableName": records.table.table_name,
                "EventBusName": BUS_NAME,
            },
            role=role,
            state_machine_type=sfn.StateMachineType.STANDARD,
            tracing_enabled=True,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=True),
            comment="One night of one training job",
        )
        _let_cfn_lint_pass_computed_timeouts(self.state_machine)
        allow(functions.wake_run, ["states:SendTaskSuccess"], self.state_machine.state_machine_arn)
        self._let_runs_take_turns(functions)
        accept_wildcard(role, training_jobs_arn(self), "Training jobs are named by their runs.")
        accept_wildcard(role, "*", "X-Ray's actions and those of log delivery know no resources.")

    def _let_runs_take_turns(self, functions: Functions) -> None:
        """A run sees whether the one before it is still alive, and wakes the one whose place it takes.

        Policies of their own: CloudFormation makes a function after its role's default policy, and the state
        machine after the function.
        """
        machine = self.state_machine
        executions = arn(self, "states", f"execution:{machine.state_machine_name}:*")
        look = iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[executions])
        wake = iam.PolicyStatement(actions=["states:SendTaskSuccess"], resources=[machine.state_machine_arn])
        for name, function, statements in (
            ("PlanRunTurns", functions.plan_run, [look, wake]),
            ("DecideNextStepTurns", functions.decide_next_step, [look, wake]),
        ):
            if function.role is None:
                raise ValueError("the function has no role")
            policy = iam.Policy(self, name, statements=statements, roles=[function.role])
            accept_wildcard(policy, executions, "Executions are named by what starts them.")


def _let_cfn_lint_pass_computed_timeouts(state_machine: sfn.StateMachine) -> None:
    """cfn-lint's schema knows `TimeoutSeconds` as a number only; AWS takes a JSONata expression as well.

    https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_stepfunctions.Timeout.html
    A test runs the rule on the same definition with a number in its place, so the rest stays checked.
    """
    resource = state_machine.node.default_child
    if isinstance(resource, CfnResource):
        resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["E3601"]}})
