"""Everything that runs need as one construct for any CDK app, and the stack that holds it alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from aws_cdk import CfnOutput, Stack, Tags, Token
from aws_cdk import aws_iam as iam
from constructs import Construct

import nightspot
from nightspot.cdk.api import Api, PipelineRole
from nightspot.cdk.backup import Backup
from nightspot.cdk.bundle import Bundle
from nightspot.cdk.data import Records, TrainingData
from nightspot.cdk.functions import Functions
from nightspot.cdk.identity import identity_of
from nightspot.cdk.observability import NoticeTopic, Observability
from nightspot.cdk.settings import Settings, SettingsError, key_region, trust_of
from nightspot.cdk.triggers import Workflow, add_rules, add_schedules
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job
from nightspot.job.rules import LARGEST_TAG_COUNT, OWN_TAG_COUNT

_DLC_ACCOUNT = "${DlcAccountId}"  # in a job file, see nightspot.job.request_shape


class TrainingRuns(Construct):
    """`TrainingRuns(self, "Training", jobs=load_jobs(Path("jobs")), bundle=build_bundle(…))`.

    `workflow.state_machine` starts a run with `{"job": name}`; `records.table` is its record; `data` the buckets
    and the role of the training jobs; `notices.topic` what people subscribe to; `identity.environment` what this
    deployment is called among others of its account and region. Raises InvalidJobError where a job file names a
    role, bucket or key that no permission can be given on, or has too many tags; SettingsError for a key elsewhere.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        jobs: Mapping[str, Job],
        bundle: Bundle,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        chosen = settings or Settings()
        _check_place(self, chosen)
        _check_tags(jobs, chosen)
        self.identity = identity_of(self, chosen, jobs)
        self._check_that_it_is_the_only_one()
        Tags.of(self).add("nightspot:environment", self.identity.environment)
        govern(self, chosen)
        self.records = Records(self, chosen)
        self.data = TrainingData(self, chosen, jobs)
        self.functions = Functions(self, bundle, self.records, self.data, chosen, self.identity)
        if any(_DLC_ACCOUNT in json.dumps(job.training_job) for job in jobs.values()):
            self.functions.let_it_name_aws_images(self.functions.plan_run)
        if chosen.tags:
            # The bill is that of training jobs, which no stack makes.
            self.functions.plan_run.add_environment("NIGHTSPOT_TAGS", json.dumps(chosen.tag_values))
        if self.data.team_roles:
            arns = {team: role.role_arn for team, role in self.data.team_roles.items()}
            as_json = Stack.of(self).to_json_string(arns)
            self.functions.plan_run.add_environment("NIGHTSPOT_TRAINING_ROLE_ARNS", as_json)
        if chosen.kms_key_arn and chosen.model_bucket_name is None:
            self.functions.plan_run.add_environment("NIGHTSPOT_OUTPUT_KEY_ARN", chosen.kms_key_arn)
        self.workflow = Workflow(self, self.functions, self.records, self.data, chosen, self.identity)
        add_schedules(self, jobs, self.functions, self.workflow, self.records, chosen)
        function = self.functions.api
        self.api = (
            None
            if function is None
            else Api(self, function, self.workflow, self.records, chosen, self.identity)
        )
        add_rules(self, self.functions, self.workflow, self.records, self.identity)
        self.notices = NoticeTopic(self, self.functions, self.workflow, self.records, chosen, self.identity)
        if chosen.backup_days:
            Backup(self, self.records, chosen)
        # Alarms and dashboards cost money by the month; without jobs there is nothing to watch.
        if jobs:
            Observability(
                self, self.functions, self.workflow, self.records, self.notices, self.identity.environment
            )

    def _check_that_it_is_the_only_one(self) -> None:
        """Raises SettingsError where another one of the app has the same environment in its account and region."""
        name, place = self.identity.environment, Stack.of(self).environment
        for other in self.node.root.node.find_all():
            if not isinstance(other, TrainingRuns) or other is self:
                continue
            if other.identity.environment == name and Stack.of(other).environment == place:
                raise SettingsError(
                    f"nightspot:environment: {name!r} must be another one than that of {other.node.path}"
                )

    def roles_for_policies(self) -> dict[str, iam.IRole]:
        """By name: the workflow's role, and of the functions that pass roles or use the users' buckets."""
        functions = self.functions
        those = {
            "PlanRun": functions.plan_run,
            "DecideNextStep": functions.decide_next_step,
            "RecordOutcome": functions.record_outcome,
            "CloseRun": functions.close_run,
            "Reconcile": functions.reconcile,
            "StartTrainingJob": functions.start_training_job,
        }
        roles = {name: function.role for name, function in those.items() if function.role is not None}
        return {**roles, "Workflow": self.workflow.state_machine.role}

    def grant_start(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` start runs and read how they go."""
        self.workflow.state_machine.grant_start_execution(grantee)
        self.workflow.state_machine.grant_read(grantee)
        self.records.table.grant_read_data(grantee)


def govern(scope: Construct, settings: Settings) -> None:
    """The settings' boundary on every role in `scope`, the settings' tags on everything there that takes tags."""
    if settings.permissions_boundary_arn is not None:
        boundary = iam.ManagedPolicy.from_managed_policy_arn(
            scope, "Boundary", settings.permissions_boundary_arn
        )
        iam.PermissionsBoundary.of(scope).apply(boundary)
    for name, value in settings.tag_values.items():
        Tags.of(scope).add(name, value)


def _check_place(scope: Construct, settings: Settings) -> None:
    """Raises SettingsError for a key of another region than the stack's, as far as that is known."""
    stack, key = Stack.of(scope), settings.kms_key_arn
    region = os.environ.get("CDK_DEFAULT_REGION") if Token.is_unresolved(stack.region) else stack.region
    if key is not None and region and key_region(key) != region:
        raise SettingsError(f"nightspot:kms_key_arn: {key!r} must be a key of {region}, where the stack is")


def _check_tags(jobs: Mapping[str, Job], settings: Settings) -> None:
    """Raises InvalidJobError for a job whose tags leave no room for the settings'."""
    most = LARGEST_TAG_COUNT - OWN_TAG_COUNT - len(settings.tags)
    rule = f"must be at most {most}: nightspot:tags adds {len(settings.tags)}, and Nightspot up to {OWN_TAG_COUNT}"
    too_many = [
        Problem(f"{name}: training_job.Tags", str(count), rule)
        for name, job in sorted(jobs.items())
        if (count := len(job.training_job.get("Tags", ()))) > most
    ]
    if too_many:
        raise InvalidJobError(too_many, "the jobs")


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
        # The roles beside the construct as well: the pipelines' and CDK's own.
        govern(self, settings)
        self.training = TrainingRuns(self, "Training", jobs=jobs, bundle=bundle, settings=settings)
        # What lies beside the construct is of the environment as well.
        Tags.of(self).add("nightspot:environment", self.training.identity.environment)
        # One that waits for somebody to start it, where there is any.
        first_job = min(jobs, key=lambda name: (jobs[name].schedule is not None, name), default="JOB")
        machine_arn = self.training.workflow.state_machine.state_machine_arn

        def tell(name: str, value: str, description: str | None = None) -> None:
            CfnOutput(self, name, value=value, description=description)

        tell("Version", nightspot.__version__, "Of Nightspot")
        tell("Environment", self.training.identity.environment, "In the names of training jobs")
        start = f"aws stepfunctions start-execution --state-machine-arn {machine_arn} "
        tell("StartARun", f'{start}--input \'{{"job": "{first_job}"}}\'', "Starts a run now")
        tell("StateMachineArn", machine_arn)
        tell("TableName", self.training.records.table.table_name)
        api, trust = self.training.api, trust_of(settings)
        if api is not None:
            tell("ApiUrl", api.url, "The HTTP API; requests are signed with SigV4")
        if trust is not None and api is not None:
            pipelines = PipelineRole(
                self, "Pipelines", rest_api=api.rest_api, trust=trust, jobs=jobs, settings=settings
            )
            tell("PipelineRoleArn", pipelines.role.role_arn, "What the repository's pipelines assume")
        notices, data = self.training.notices, self.training.data
        tell("NoticeTopicArn", notices.topic.topic_arn)
        if notices.chat_topic is not None:
            channel = "For a channel of Amazon Q Developer in chat applications"
            tell("ChatTopicArn", notices.chat_topic.topic_arn, channel)
        tell("CheckpointBucket", data.checkpoints.bucket_name)
        tell("ModelBucket", data.models.bucket_name)
        tell("ReportBucket", data.reports.bucket_name)
        tell("TrainingRoleArn", data.role.role_arn)
        for team, role in data.team_roles.items():
            name = "".join(word.capitalize() for word in team.split("-"))
            tell(f"TrainingRoleArnOf{name}", role.role_arn, f"What the jobs of {team} run as")
        # What the policies of keys and buckets of the user's name, which only exist once the stack does.
        for name, role in self.training.roles_for_policies().items():
            tell(f"{name}RoleArn", role.role_arn, "For the policies of your keys and buckets")
