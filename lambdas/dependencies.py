"""What the handlers work with: AWS adapters, jobs, prices and the clock, made once per process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from lambdas.environment import read_environment
from nightspot import job as job_room  # by its names' first use: only a plan needs the job's model
from nightspot.aws.checkpoints import Checkpoints
from nightspot.aws.executions import Executions
from nightspot.aws.job_lock import JobLock
from nightspot.aws.notices import Notices
from nightspot.aws.prices import load_price_book
from nightspot.aws.quotas import Quotas
from nightspot.aws.run_table import RunTable
from nightspot.aws.training_jobs import TrainingJobs

if TYPE_CHECKING:
    from nightspot.job import Job
    from nightspot.planning import Price


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


@cache
def dependencies() -> Dependencies:
    """The ones of the deployed functions."""
    environment = read_environment()
    prices = load_price_book()

    def price(instance_type: str, region: str) -> float | None:
        found = prices.usd_per_hour(instance_type, region)
        return None if found is None else found.usd_per_hour

    @cache
    def jobs() -> Mapping[str, Job]:
        # Validated against AWS's model when they were deployed; the runtime's botocore may be older.
        return job_room.read_jobs(environment.jobs_file.read_text(encoding="utf-8"))

    def localise(job: Job, execution_arn: str) -> Job:
        account_id = execution_arn.split(":")[4]
        request = job_room.fill(job.training_job, environment.names(account_id))
        if environment.vpc_config is not None:
            request.setdefault("VpcConfig", environment.vpc_config)
        return job.model_copy(update={"training_job": request})

    dynamodb, step_functions = _client("dynamodb"), _client("stepfunctions")
    return Dependencies(
        region=environment.region,
        now=lambda: datetime.now(UTC),
        jobs=jobs,
        localise=localise,
        price=price,
        table=RunTable(dynamodb, environment.table_name),
        lock=JobLock(dynamodb, environment.table_name),
        executions=Executions(step_functions),
        quotas=Quotas(_client("service-quotas")).limits if environment.check_quotas else None,
        training_jobs=TrainingJobs(_client("sagemaker")),
        checkpoints=Checkpoints(_client("s3")),
        notices=Notices(_client("events"), environment.bus_name),
        step_functions=step_functions,
    )


class _LateClient:
    """boto3's client of a service, made at its first call: no handler calls all services.

    Loading boto3 and a service's model is most of a cold start.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    @cached_property
    def _made(self) -> Any:
        import boto3  # noqa: PLC0415

        return boto3.client(self._service)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def _client(service: str) -> Any:
    return _LateClient(service)
