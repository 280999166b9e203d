"""First state: makes the run's ledger out of the execution's input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from lambdas import month, turns
from lambdas.dependencies import Dependencies, dependencies
from lambdas.observability import logger, metrics, tell, traced
from nightspot import job as job_room  # by its names' first use: an import must stay light
from nightspot.aws.live_prices import KnownPrices
from nightspot.aws.quotas import QuotasUnknownError
from nightspot.happenings import Happening
from nightspot.job import Market
from nightspot.planning import Known, plan_run, quota_name
from nightspot.run import Run, to_json

if TYPE_CHECKING:
    from nightspot.job import Job

HISTORY_RUNS = 60  # two months of nights to learn from


class InvalidInputError(ValueError):
    """The execution's input does not say what to train."""


class RunInput(BaseModel):
    """The execution's input: `{"job": "recommender"}`, and what this run does otherwise than the job file says."""

    model_config = ConfigDict(extra="allow")

    job: str


class Execution(BaseModel):
    """Step Functions' context object, as far as a plan needs it."""

    id: str
    started_at: AwareDatetime


class PlanRequest(BaseModel):
    """What the state machine passes."""

    input: dict[str, Any]
    execution: Execution


@logger.inject_lambda_context
@traced
@metrics.log_metrics
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"run": ledger}`. Raises InvalidInputError with the field, its value and the rule, or the known jobs."""
    metrics.add_metric(name="RunRequested", unit=MetricUnit.Count, value=1)
    use = use or dependencies()
    request = PlanRequest.model_validate(event)
    jobs = use.jobs()
    job_name = _job_name(request.input, sorted(jobs))
    job, overrides = _overridden(jobs[job_name], request.input)
    job = use.localise(job, request.execution.id)
    run = _plan(job, request.execution, overrides, use)
    use.table.record_plan(run)
    metrics.add_dimensions(job=run.job)
    if run.refused_because is not None:
        logger.warning(run.refused_because, extra={"job": run.job, "run": run.run_id})
        return {"run": to_json(run)}
    logger.info(
        "run planned", extra={"job": run.job, "run": run.run_id, "deadline": run.deadline.isoformat()}
    )
    detail = {
        "started_at": run.started_at.isoformat(),
        "work_seconds": run.work_seconds,
        "overrides": overrides,
    }
    tell([Happening.RUN_STARTED], run, use.now(), detail, use.notices)
    return {"run": to_json(run)}


def _plan(job: Job, execution: Execution, overrides: dict[str, Any], use: Dependencies) -> Run:
    """The run with its turn and its budget. What it needs to know of AWS beside the job is asked here."""
    prices = _live_prices(job, use)
    known = Known(
        price=prices.price if prices else use.price,
        history=use.table.history(job.name, limit=HISTORY_RUNS),
        quotas=_quotas(job, use),
        spot_hints=prices.spot_hints if prices else {},
    )

    def plan(known: Known) -> Run:
        return plan_run(
            job,
            started_at=execution.started_at.astimezone(UTC),
            execution_arn=execution.id,
            region=use.region,
            known=known,
            overrides=overrides,
        )

    run = plan(known)
    taken = turns.take(run, job.concurrency, use)
    if job.budget is not None and job.budget.per_month_usd is not None and not taken.refused_because:
        # Written first and read then: of two runs that start at once, one sees the other's promise at least.
        use.table.record_plan(run)
        run = plan(replace(known, month_usd=month.promised_usd(run, use)))
    return replace(
        run,
        locked=taken.locked,
        waits_for_run=taken.waits_for_run,
        refused_because=taken.refused_because,
    )


def _live_prices(job: Job, use: Dependencies) -> KnownPrices | None:
    """What AWS says of the ladder's prices; None where it is not asked. It never fails a plan."""
    if use.live_prices is None:
        return None
    prices = use.live_prices(
        spec.instance_type for market in Market for spec in job.capacity.rungs_of(market)
    )
    if prices.problems:
        logger.warning(
            "planned with the prices known before", extra={"job": job.name, "error": prices.problems}
        )
    return prices


def _quotas(job: Job, use: Dependencies) -> Mapping[str, float]:
    if use.quotas is None:
        return {}
    names = [
        *(quota_name(Market.SPOT, spec.instance_type) for spec in job.capacity.spot),
        *(quota_name(Market.ON_DEMAND, spec.instance_type) for spec in job.capacity.on_demand),
    ]
    try:
        return use.quotas(names)
    except QuotasUnknownError as error:
        logger.warning("planned without quotas", extra={"job": job.name, "error": str(error)})
        return {}


def _overridden(job: Job, given: dict[str, Any]) -> tuple[Job, dict[str, Any]]:
    """The job as this run trains it, and what the input changed of it."""
    mapping = {name: value for name, value in given.items() if name != "job"}
    try:
        overrides = job_room.read_overrides(mapping)
        return job_room.apply_overrides(job, overrides), job_room.overrides_as_json(overrides)
    except job_room.InvalidJobError as error:
        raise InvalidInputError("; ".join(str(problem) for problem in error.problems)) from error


def _job_name(given: dict[str, Any], known: list[str]) -> str:
    rule = f'must be like {{"job": "{known[0] if known else "name"}"}}; the jobs are: {", ".join(known) or "none"}'
    try:
        job_name = RunInput.model_validate(given).job
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "input"
        raise InvalidInputError(f"{field}: {first['msg']}. The input {rule}") from error
    if job_name not in known:
        raise InvalidInputError(f"job: {job_name!r} is not a job. The input {rule}")
    return job_name
