"""First state: makes the run's ledger out of the execution's input."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from lambdas.dependencies import Dependencies, dependencies
from lambdas.observability import logger, metrics, tell, traced
from nightspot.happenings import Happening
from nightspot.planning import plan_run
from nightspot.run import to_json


class InvalidInputError(ValueError):
    """The execution's input does not say what to train."""


class RunInput(BaseModel):
    """The execution's input: `{"job": "recommender"}`."""

    model_config = ConfigDict(extra="forbid")

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
    """`{"run": ledger}`. Raises InvalidInputError with the rule and the known jobs."""
    metrics.add_metric(name="RunRequested", unit=MetricUnit.Count, value=1)
    use = use or dependencies()
    request = PlanRequest.model_validate(event)
    jobs = use.jobs()
    job_name = _job_name(request.input, sorted(jobs))
    run = plan_run(
        use.localise(jobs[job_name], request.execution.id),
        started_at=request.execution.started_at.astimezone(UTC),
        execution_arn=request.execution.id,
        region=use.region,
        price=use.price,
    )
    use.table.record_plan(run)
    logger.info(
        "run planned", extra={"job": run.job, "run": run.run_id, "deadline": run.deadline.isoformat()}
    )
    metrics.add_dimensions(job=run.job)
    detail = {"started_at": run.started_at.isoformat(), "work_seconds": run.work_seconds}
    tell([Happening.RUN_STARTED], run, use.now(), detail, use.notices)
    return {"run": to_json(run)}


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
