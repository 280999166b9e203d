"""The Lambda functions: one bundle, one handler each, with only the permissions that it uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aws_cdk import AssetHashType, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk.region_info import FactName
from constructs import Construct

from nightspot.cdk.bundle import JOBS_FILE, Bundle
from nightspot.cdk.data import Records, TrainingData, let_it_use_the_key, make_log_group, own_key
from nightspot.cdk.identity import Identity
from nightspot.cdk.named import Prefix
from nightspot.cdk.network import FunctionNetwork
from nightspot.cdk.permissions import accept, accept_wildcard, allow, arn, service
from nightspot.cdk.settings import Settings
from nightspot.job.code_version import PREFIX

# Reads of public prices and of the account's own rates. Prices know no resources; a Savings Plan's ARN is known
# only once all of them have been listed.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awspricelist.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssavingsplans.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscostexplorerservice.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
PRICE_ACTIONS = [
    "pricing:GetProducts",
    "savingsplans:DescribeSavingsPlans",
    "savingsplans:DescribeSavingsPlanRates",
    "ce:GetSavingsPlansUtilization",
    "ec2:DescribeSpotPriceHistory",
]

QUOTA_ACTIONS = ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"]

BUS_NAME = "default"  # where SageMaker's own events arrive as well
SOURCE = "nightspot"  # of Nightspot's events; a test compares it with nightspot.aws.notices
# What returns task tokens.
# fact: stepfunctions.token.resource
WAKING = frozenset({"Api", "CloseRun", "DecideNextStep", "PlanRun", "Reconcile", "WakeRun"})


def let_it_send_notices(scope: Construct, grantee: iam.IGrantable) -> None:
    """It may put events on the bus, of Nightspot's own source alone: rules for other sources never see them.

    A request has several events, so the key has several values, which are compared by a set operator alone.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    """
    bus = arn(scope, "events", f"event-bus/{BUS_NAME}")
    own = {"ForAllValues:StringEquals": {"events:source": SOURCE}, "Null": {"events:source": "false"}}
    allow(grantee, ["events:PutEvents"], bus, conditions=own)


def let_it_start_training_jobs(
    scope: Construct, grantee: iam.IGrantable, data: TrainingData, identity: Identity
) -> None:
    """It may make this environment's training jobs, as the roles that jobs run as and no others."""
    jobs = identity.training_jobs(scope)
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerai.html
    allow(grantee, ["sagemaker:CreateTrainingJob", "sagemaker:AddTags"], *jobs)
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    allow(grantee, ["iam:PassRole"], *data.role_arns(), conditions=to_sagemaker)


class Functions(Construct):
    """The functions, each named as its module in nightspot.lambdas; `api` is None where the settings want none."""

    def __init__(
        self,
        scope: Construct,
        bundle: Bundle,
        records: Records,
        data: TrainingData,
        settings: Settings,
        identity: Identity,
    ) -> None:
        super().__init__(scope, "Functions")
        self._settings = settings
        self._identity = identity
        self._network = FunctionNetwork(self, settings)
        self._code = lambda_.Code.from_asset(
            str(bundle.path), asset_hash=bundle.digest, asset_hash_type=AssetHashType.CUSTOM
        )
        self._environment = {
            "NIGHTSPOT_ENVIRONMENT": identity.environment,
            "NIGHTSPOT_TABLE_NAME": records.table.table_name,
            "NIGHTSPOT_BUS_NAME": BUS_NAME,
            "NIGHTSPOT_JOBS_FILE": JOBS_FILE,
            "NIGHTSPOT_CHECKPOINT_BUCKET": data.checkpoints.bucket_name,
            "NIGHTSPOT_MODEL_BUCKET": data.models.bucket_name,
            "NIGHTSPOT_REPORT_BUCKET": data.reports.bucket_name,
            "NIGHTSPOT_TRAINING_ROLE_ARN": data.role.role_arn,
            "NIGHTSPOT_SUBNET_IDS": ",".join(settings.subnet_ids),
            "NIGHTSPOT_SECURITY_GROUP_IDS": ",".join(settings.security_group_ids),
            "POWERTOOLS_SERVICE_NAME": "nightspot",
            "POWERTOOLS_METRICS_NAMESPACE": "Nightspot",
            "POWERTOOLS_LOG_LEVEL": "INFO",
        }
        self.plan_run = self._function("PlanRun", "Makes a run's ledger out of the execution's input")
        self.decide_next_step = self._function(
            "DecideNextStep",
            "Looks at the world, decides one step, books it",
            # Long enough for a decision while none of the services that it asks gives an answer.
            timeout=Duration.seconds(120),
        )
        self.record_outcome = self._function(
            "RecordOutcome", "Closes a run's record and notifies how it ended"
        )
        self.wake_run = self._function(
            "WakeRun",
            "Wakes the run that waits for a training job's news",
            # An event may arrive before the run waits for it.
            **_brought_back(records, Duration.hours(1)),
        )
        # What may start and close runs of which state machine is nightspot.cdk.triggers'.
        self.start_run = self._function(
            "StartRun",
            "Starts the run of a scheduled night, once",
            # Scheduler has done its part once Lambda has taken the event.
            **_brought_back(records, Duration.hours(6)),
        )
        self.close_run = self._function(
            "CloseRun",
            "Closes the record of a run whose execution ended without doing so",
            **_brought_back(records, Duration.hours(6)),
        )
        self.reconcile = self._function(
            "Reconcile",
            "Repairs what is unfinished of runs, every few minutes",
            # Less than until it is called again: it works alone.
            timeout=Duration.minutes(4),
            reserved_concurrent_executions=1 if settings.reserved_concurrency else None,
            **_brought_back(records, Duration.minutes(5), retries=0),
        )
        self.notify = self._function(
            "Notify",
            "Sends the notifications of a run",
            # What SNS or the table would not take is tried again, and then told.
            **_brought_back(records, Duration.hours(6)),
        )
        self.ask_prices = (
            self._function(
                "AskPrices",
                "Asks AWS once a day what instance types cost",
                # The next hour asks again.
                **_brought_back(records, Duration.hours(1), retries=0),
            )
            if settings.live_prices
            else None
        )
        # One call, of 42 seconds at most.
        self.start_training_job = self._function("StartTrainingJob", "Asks SageMaker for a training job")
        # API Gateway waits no longer than 29 seconds. Its permissions and addresses are nightspot.cdk.api's.
        self.api = (
            self._function("Api", "Answers the HTTP API", timeout=Duration.seconds(29))
            if settings.api
            else None
        )
        self._network.keep_their_code_out()
        settling = (self.close_run, self.reconcile)
        for function in (self.plan_run, self.decide_next_step, self.record_outcome, *settling):
            let_it_send_notices(self, function)
        self._let_them_use_the_table(records)
        for name, is_asked in (
            ("NIGHTSPOT_CHECK_QUOTAS", settings.check_quotas),
            ("NIGHTSPOT_LIVE_PRICES", settings.live_prices),
        ):
            self.plan_run.add_environment(name, "true" if is_asked else "false")
        if settings.check_quotas:
            allow(self.plan_run, QUOTA_ACTIONS, "*")
        if self.ask_prices is not None:
            allow(self.ask_prices, PRICE_ACTIONS, "*")
            allow(self.ask_prices, ["dynamodb:PutItem", "dynamodb:Query"], records.table.table_arn)
            let_it_use_the_key(self.ask_prices, self, settings, "dynamodb")
        if settings.harvest_cassettes:
            # It hears of each training job's end, may look at it, and writes beside the reports.
            self.close_run.add_environment("NIGHTSPOT_HARVEST_CASSETTES", "true")
        for function in (self.plan_run, self.decide_next_step, *settling):
            self._let_it_look(function, data)
            # Of a run that is over, or that has lost its lock.
            allow(function, ["sagemaker:StopTrainingJob"], *identity.training_jobs(self))
        # It knows no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerai.html
        allow(self.reconcile, ["sagemaker:ListTrainingJobs"], "*")
        for function in (self.record_outcome, *settling):
            self._let_it_write_reports(function, data)
            self._let_it_see_models(function, data)
        if data.named.code:
            self._let_it_store_code(self.plan_run, data)
        let_it_start_training_jobs(self, self.start_training_job, data, identity)
        for each in identity.training_jobs(self):
            accept_wildcard(self.start_training_job.role, each, "Training jobs are named by their runs.")

    def let_it_name_aws_images(self, function: lambda_.Function) -> None:
        """Tell it whose account the region's Deep Learning Containers are in, as far as CDK knows; else "".

        The template gets a table of all regions.
        https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.region_info.FactName.html
        """
        account = Stack.of(self).regional_fact(FactName.DLC_REPOSITORY_ACCOUNT, "")
        function.add_environment("NIGHTSPOT_DLC_ACCOUNT_ID", account)

    def _function(self, name: str, description: str, **options: Any) -> lambda_.Function:
        log_group = make_log_group(self, f"{name}Logs", self._settings)
        role = iam.Role(
            self,
            f"{name}Role",
            assumed_by=service(self, "lambda"),
            description=f"What {name} may do",
        )
        log_group.grant_write(role)
        if "on_failure" in options:
            let_it_use_the_key(role, self, self._settings, "sqs")
        self._network.let_in(role)
        function = lambda_.Function(
            self,
            name,
            code=self._code,
            handler=f"nightspot.lambdas.{_snake(name)}.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=512,
            tracing=lambda_.Tracing.ACTIVE,
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            environment=self._environment,
            environment_encryption=own_key(self, self._settings),
            description=description,
            **{
                "timeout": Duration.seconds(60),
                "reserved_concurrent_executions": self._settings.reserved_concurrency or None,
                **options,
            },
        )
        self._network.place(function)
        if name in WAKING:
            # It knows no resources, say AWS's lists. The state machine's ARN works as well, but that is documented
            # nowhere, and every wake-up hangs on it. Who has no token wakes nothing.
            # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
            allow(role, ["states:SendTaskSuccess"], "*")
        accept_wildcard(role, "*", self._why_any_resource(name))
        accept(
            function, "AwsSolutions-L1", "The bundle's wheels are built for this version; both move together."
        )
        return function

    def _let_them_use_the_table(self, records: Records) -> None:
        # The lock of a job and the tokens are taken, renewed and freed by conditional writes alone.
        for function, also in (
            (self.plan_run, ["PutItem", "GetItem", "DeleteItem", "Query"]),
            (self.decide_next_step, ["PutItem", "GetItem"]),
            (self.record_outcome, ["PutItem", "DeleteItem", "Query"]),
            (self.close_run, ["PutItem", "GetItem", "DeleteItem", "Query"]),
            (self.reconcile, ["PutItem", "GetItem", "DeleteItem", "Query"]),
            (self.wake_run, ["GetItem"]),
            (self.start_run, []),
            (self.notify, ["DeleteItem"]),
        ):
            actions = [f"dynamodb:{action}" for action in ("UpdateItem", *also)]
            allow(function, actions, records.table.table_arn)
            let_it_use_the_key(function, self, self._settings, "dynamodb")

    def _let_it_look(self, function: lambda_.Function, data: TrainingData) -> None:
        """At training jobs and at how far they have come."""
        jobs = self._identity.training_jobs(self)
        allow(function, ["sagemaker:DescribeTrainingJob"], *jobs)
        # Without ListBucket a missing progress file would be "access denied".
        allow(function, ["s3:ListBucket"], data.checkpoints.bucket_arn)
        checkpoints = data.checkpoints.arn_for_objects("*")
        allow(function, ["s3:GetObject"], checkpoints)
        self._let_it_read(function, data, data.checkpoints_elsewhere(), "*")
        self._let_it_decrypt(function, data)
        accept_wildcard(function.role, checkpoints, "Every run has a prefix of its own in this bucket.")
        for each in jobs:
            accept_wildcard(function.role, each, "Training jobs are named by their runs.")

    def _let_it_write_reports(self, function: lambda_.Function, data: TrainingData) -> None:
        reports = data.reports.arn_for_objects("reports/*")
        allow(function, ["s3:PutObject"], reports)
        accept_wildcard(function.role, reports, "Every run has a page of its own below this prefix.")
        keys = self._settings.bucket_keys
        if keys:
            # What is put into a bucket with a default key is encrypted in its writer's name.
            allow(function, ["kms:GenerateDataKey"], *keys, conditions=data.places.s3_only())

    def _let_it_store_code(self, function: lambda_.Function, data: TrainingData) -> None:
        """The archives that came with it, each once; and see whether one is there."""
        archives = data.reports.arn_for_objects(f"{PREFIX}/*")
        allow(function, ["s3:PutObject"], archives)
        listed = {"StringLike": {"s3:prefix": f"{PREFIX}/*"}}
        allow(function, ["s3:ListBucket"], data.reports.bucket_arn, conditions=listed)
        accept_wildcard(function.role, archives, "Each state of a job's code has a key of its own.")
        keys = self._settings.bucket_keys
        if keys:
            allow(function, ["kms:GenerateDataKey"], *keys, conditions=data.places.s3_only())

    def _let_it_see_models(self, function: lambda_.Function, data: TrainingData) -> None:
        """Whether a model is there, and not empty."""
        # Without ListBucket a missing model would be "access denied".
        allow(function, ["s3:ListBucket"], data.models.bucket_arn)
        models = data.models.arn_for_objects("*/output/model.tar.gz")
        allow(function, ["s3:GetObject"], models)
        accept_wildcard(function.role, models, "Every training job has a prefix of its own in this bucket.")
        self._let_it_read(function, data, data.models_elsewhere(), "nightspot-*/output/model.tar.gz")
        if function is self.record_outcome:
            self._let_it_decrypt(function, data)

    def _let_it_read(
        self, function: lambda_.Function, data: TrainingData, places: Iterable[Prefix], below: str
    ) -> None:
        """What job files' prefixes have `below` them, and the list of those prefixes alone."""
        listed: dict[str, list[str]] = {}
        for place in places:
            bucket = data.places.bucket_arn(place)
            listed.setdefault(bucket, []).append(
                data.places.key_pattern(place, below.partition("*")[0] + "*")
            )
            objects = f"{bucket}/{data.places.key_pattern(place, below)}"
            allow(function, ["s3:GetObject"], objects)
            accept_wildcard(
                function.role, objects, "A job file names the prefix; runs have their own below it."
            )
        # One statement for a bucket: a role's policies have a limited size.
        for bucket, prefixes in listed.items():
            allow(function, ["s3:ListBucket"], bucket, conditions={"StringLike": {"s3:prefix": prefixes}})

    def _let_it_decrypt(self, function: lambda_.Function, data: TrainingData) -> None:
        """What is stored under a key of the user's. The key's own policy has to name the role as well."""
        keys = data.places.key_arns([*data.named.output_keys, *self._settings.bucket_keys])
        if keys:
            allow(function, ["kms:Decrypt"], *keys, conditions=data.places.s3_only())

    def _why_any_resource(self, name: str) -> str:
        """Why a statement of this function's role stands on `*`; one reason for all, as cdk-nag counts it once."""
        blind = ["X-Ray's actions"]
        if name == "PlanRun" and self._settings.check_quotas:
            blind.append("lists of quotas")
        if name == "AskPrices":
            blind.append("prices, the listing of Savings Plans")
        if name == "Reconcile":
            blind.append("lists of training jobs")
        if name in WAKING:
            blind.append("the return of task tokens")
        if self._settings.function_subnet_ids:
            blind.append("EC2's Describe actions")
        return f"{', '.join(blind)} know no resources that could be named beforehand."


def _brought_back(records: Records, age: Duration, retries: int = 2) -> dict[str, Any]:
    """Options of a function that events call: what it could not take comes back so often, then it is told."""
    return {
        "retry_attempts": retries,
        "max_event_age": age,
        "on_failure": destinations.SqsDestination(records.dead_letters),
    }


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
