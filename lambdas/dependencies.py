"""What the handlers work with: AWS adapters, jobs, prices and the clock, made once per process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, Json

from nightspot.aws.notices import Notices, Reports
from nightspot.aws.prices import KeptPrices, KnownPrices, Quotas, load_price_book
from nightspot.aws.runs.checkpoints import Checkpoints, Models
from nightspot.aws.runs.executions import Executions, Starter
from nightspot.aws.runs.job_code import CodeArchives, JobCode, PushedCodes
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.job.code_version import CODE_FILE, CarriedCode, CodeVersion, archive_name
from nightspot.lambdas.observability import wake_refused
from nightspot.lambdas.time_left import longest_seconds, watched

if TYPE_CHECKING:
    from nightspot.job.model import Job
    from nightspot.plan.planning import Price


class Environment(BaseModel):
    """The environment of every handler. Raises pydantic.ValidationError, naming the variable, at the first use."""

    model_config = ConfigDict(frozen=True)

    table_name: str = Field(alias="NIGHTSPOT_TABLE_NAME", min_length=3)
    bus_name: str = Field(alias="NIGHTSPOT_BUS_NAME", min_length=1)
    # What this deployment is called; "": nobody has said so.
    environment: str = Field(alias="NIGHTSPOT_ENVIRONMENT", default="")
    jobs_file: Path = Field(alias="NIGHTSPOT_JOBS_FILE", default=Path("jobs.json"))
    region: str = Field(alias="AWS_REGION", min_length=1)
    checkpoint_bucket: str = Field(alias="NIGHTSPOT_CHECKPOINT_BUCKET", default="")
    model_bucket: str = Field(alias="NIGHTSPOT_MODEL_BUCKET", default="")
    report_bucket: str = Field(alias="NIGHTSPOT_REPORT_BUCKET", default="")
    training_role_arn: str = Field(alias="NIGHTSPOT_TRAINING_ROLE_ARN", default="")
    training_role_arns: Json[dict[str, str]] = Field(  # of teams
        alias="NIGHTSPOT_TRAINING_ROLE_ARNS", default_factory=dict
    )
    dlc_account_id: str = Field(alias="NIGHTSPOT_DLC_ACCOUNT_ID", default="")
    state_machine_arn: str = Field(alias="NIGHTSPOT_STATE_MACHINE_ARN", default="")
    check_quotas: bool = Field(alias="NIGHTSPOT_CHECK_QUOTAS", default=False)
    live_prices: bool = Field(alias="NIGHTSPOT_LIVE_PRICES", default=False)
    notice_topic_arn: str = Field(alias="NIGHTSPOT_NOTICE_TOPIC_ARN", default="")
    chat_topic_arn: str = Field(alias="NIGHTSPOT_CHAT_TOPIC_ARN", default="")
    tell_success: bool = Field(alias="NIGHTSPOT_TELL_SUCCESS", default=False)
    harvest_cassettes: bool = Field(alias="NIGHTSPOT_HARVEST_CASSETTES", default=False)
    subnet_ids: str = Field(alias="NIGHTSPOT_SUBNET_IDS", default="")  # comma-separated
    security_group_ids: str = Field(alias="NIGHTSPOT_SECURITY_GROUP_IDS", default="")
    output_key_arn: str = Field(alias="NIGHTSPOT_OUTPUT_KEY_ARN", default="")
    tags: Json[dict[str, str]] = Field(alias="NIGHTSPOT_TAGS", default_factory=dict)  # of training jobs

    @property
    def vpc_config(self) -> dict[str, list[str]] | None:
        """CreateTrainingJob's VpcConfig for jobs that state none; None outside a VPC."""
        if not self.subnet_ids:
            return None
        return {
            "Subnets": self.subnet_ids.split(","),
            "SecurityGroupIds": self.security_group_ids.split(","),
        }

    def names(self, account_id: str) -> dict[str, str]:
        """What the placeholders of a job file stand for in this deployment."""
        return {
            "CheckpointBucket": self.checkpoint_bucket,
            "ModelBucket": self.model_bucket,
            "TrainingRoleArn": self.training_role_arn,
            **{f"TrainingRoleArn.{team}": arn for team, arn in self.training_role_arns.items()},
            "AWS::AccountId": account_id,
            "AWS::Region": self.region,
            "DlcAccountId": self.dlc_account_id,
        }


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """The handlers' environment."""
    return Environment.model_validate(dict(environ))


# Lambda brings an event that its function did not take back after one minute and after two more, so one that is
# older has come for the last time: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
# fact: lambda.async.return.seconds
EVENT_LIFE = timedelta(seconds=126)


# botocore's Config of all others. boto3 itself waits a minute for an answer, five times: longer than a function
# runs. What stays unanswered is asked for again by the next decision.
BOUNDED: Mapping[str, Any] = {
    "connect_timeout": 2,
    "read_timeout": 5,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


def deployed_jobs(environment: Environment) -> Mapping[str, Job]:
    """The jobs of this deployment, by name."""
    from nightspot.job.model import read_jobs  # noqa: PLC0415 - only a plan needs the job's model

    # Validated against AWS's model when they were deployed.
    return read_jobs(environment.jobs_file.read_text(encoding="utf-8"))


def carried_code(environment: Environment) -> CarriedCode:
    """The code of this deployment's jobs, which lies beside the job files."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - the same

    file = environment.jobs_file.with_name(CODE_FILE)
    if not file.is_file():
        return CarriedCode()
    versions = TypeAdapter(dict[str, CodeVersion]).validate_json(file.read_bytes())
    return CarriedCode(versions, lambda digest: file.with_name(archive_name(digest)).read_bytes())


@dataclass(frozen=True)
class Dependencies:
    """The handlers' collaborators. A test or the local run passes its own."""

    region: str
    now: Callable[[], datetime]
    jobs: Callable[[], Mapping[str, Job]]
    # (job, execution ARN) -> the job with its placeholders filled in
    localise: Callable[[Job, str], Job]
    price: Price
    table: RunTable
    lock: JobLock
    executions: Executions
    # (names) -> the account's limits of those that Service Quotas knows; None: not asked before a run
    quotas: Callable[[Iterable[str]], Mapping[str, float]] | None
    training_jobs: TrainingJobs
    checkpoints: Checkpoints
    notices: Notices
    step_functions: Any  # boto3's client
    # (instance types) -> what AWS has said of their prices; None: it is not asked, `price` decides
    live_prices: Callable[[Iterable[str]], KnownPrices] | None = None
    reports: Reports | None = None  # None: no pages are kept
    starter: Starter | None = None  # None: runs are started by others (nightspot audit)
    models: Models | None = None  # None: nobody looks at models
    event_life: timedelta = EVENT_LIFE  # an event that is older is not asked to come again
    harvest_cassettes: bool = False  # whether the lives of ended training jobs are kept beside the reports
    environment: str = ""  # the deployment's, for the names of training jobs; "": they have none
    code: Callable[[], JobCode] | None = None  # None: no job has code


@cache
def dependencies() -> Dependencies:
    """The ones of the deployed functions."""
    environment = read_environment()
    book = load_price_book()

    def localise(job: Job, execution_arn: str) -> Job:
        from nightspot.job.request_shape import fill  # noqa: PLC0415 - the same

        account_id = execution_arn.split(":")[4]
        request = fill(job.training_job, environment.names(account_id))
        if environment.vpc_config is not None:
            request.setdefault("VpcConfig", environment.vpc_config)
        _add_tags(request, environment.tags)
        _encrypt_output(request, environment)
        return job.model_copy(update={"training_job": request})

    def now() -> datetime:
        return datetime.now(UTC)

    dynamodb, step_functions = late_client("dynamodb"), late_client("stepfunctions")
    table = RunTable(dynamodb, environment.table_name)
    prices = KeptPrices(book, table, region=environment.region, now=now)
    return Dependencies(
        region=environment.region,
        now=now,
        jobs=cache(lambda: deployed_jobs(environment)),
        localise=localise,
        price=book.usd_per_hour,
        table=table,
        lock=JobLock(dynamodb, environment.table_name),
        executions=Executions(step_functions, wake_refused),
        quotas=Quotas(late_client("service-quotas")).limits if environment.check_quotas else None,
        training_jobs=TrainingJobs(late_client("sagemaker")),
        checkpoints=Checkpoints(late_client("s3")),
        notices=Notices(late_client("events"), environment.bus_name),
        step_functions=step_functions,
        starter=Starter(step_functions, environment.state_machine_arn),
        live_prices=prices.known if environment.live_prices else None,
        reports=Reports(late_client("s3"), environment.report_bucket) if environment.report_bucket else None,
        models=Models(late_client("s3")),
        harvest_cassettes=environment.harvest_cassettes,
        environment=environment.environment,
        code=cache(
            lambda: JobCode(
                carried_code(environment),
                PushedCodes(dynamodb, environment.table_name),
                CodeArchives(late_client("s3"), environment.report_bucket),
            )
        ),
    )


def _add_tags(request: dict[str, Any], tags: Mapping[str, str]) -> None:
    """The deployment's tags, where the job has none of that name."""
    own = request.get("Tags", [])
    names = {tag["Key"] for tag in own}
    added = [{"Key": name, "Value": value} for name, value in tags.items() if name not in names]
    if added:
        request["Tags"] = [*own, *added]


def _encrypt_output(request: dict[str, Any], environment: Environment) -> None:
    """Models in the deployment's own bucket get its key by name: else SageMaker takes the account's one for S3.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_OutputDataConfig.html (KmsKeyId)
    """
    output = request["OutputDataConfig"]
    bucket = output["S3OutputPath"].removeprefix("s3://").partition("/")[0]
    if environment.output_key_arn and bucket == environment.model_bucket and not output.get("KmsKeyId"):
        request["OutputDataConfig"] = {**output, "KmsKeyId": environment.output_key_arn}


class _LateClient:
    """boto3's client of a service, made at its first call: no handler calls all services.

    Loading boto3 and a service's model is most of a cold start.
    """

    def __init__(self, service: str, **options: Any) -> None:
        self._service = service
        self._options = options

    @cached_property
    def _made(self) -> Any:
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        longest = longest_seconds(self._options["config"])
        options = {**self._options, "config": Config(**self._options["config"])}
        return watched(boto3.client(self._service, **options), longest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def late_client(service: str, **options: Any) -> Any:
    """boto3's client of a service, made at its first call; `config` is a mapping of botocore's Config."""
    return _LateClient(service, **{"config": BOUNDED, **options})
