"""First state: makes the run's ledger out of the execution's input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import AwareDatetime, BaseModel

from nightspot.aws.prices import KnownPrices, QuotasUnknownError
from nightspot.aws.runs.job_code import CodeMissingError
from nightspot.decide import ladder
from nightspot.formats.run_ids import run_id_of
from nightspot.job.markets import Market
from nightspot.lambdas import run_input, turns
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import entry, logger, metrics, tell
from nightspot.lambdas.run_input import InvalidInputError, RunInput, check_deadline, read_input
from nightspot.learn.history import LEARNT_FROM, teaches
from nightspot.plan import planning
from nightspot.plan.planning import Known, ResumedRun, plan_note, plan_run, quota_name
from nightspot.record.events import RunEvent
from nightspot.run.model import Run, to_json

if TYPE_CHECKING:
    from nightspot.job.code_version import CodeVersion
    from nightspot.job.model import Job

FIRST_MISSES = 30  # after which the workflow waits five minutes and no longer one
# fact: stepfunctions.payload.bytes
LARGEST_OVERRIDES_BYTES = 64 * 1024  # the ledger carries them; the API takes no more either


class PlannedExecution(BaseModel):
    """Step Functions' context object, as far as a plan needs it."""

    id: str
    started_at: AwareDatetime


class PlanRequest(BaseModel):
    """What the state machine passes."""

    input: Any  # as a person may have typed it
    execution: PlannedExecution
    # A workflow of an earlier version, which may be running while this code is deployed, does not: it passes on the
    # step's request as it is.
    merges_request: bool = False


@entry("RunRequested")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"run": ledger, "request": …, "most_misses": …}`, see `_planned`.

    Raises InvalidInputError with the field, its value and the rule, or the known jobs.
    """
    use = use or dependencies()
    request = PlanRequest.model_validate(event)
    continued = run_input.asked_for(request.input)
    if continued is not None:
        run = run_input.take_on(continued, request.execution.id, use)
        logger.warning(run.plan_note or "", extra={"job": run.job, "run": run.run_id, "step": run.steps})
        # An older version kept the whole request in the ledger, and no item of it.
        return _planned(run, planning.split(use.table.request(run.run_id) or {})[1])
    jobs = use.jobs()
    started_at = request.execution.started_at.astimezone(UTC)
    given = read_input(request.input, sorted(jobs), started_at)
    job, overrides = _overridden(jobs[given.job], given.overrides)
    scheduled_at = given.origin.scheduled_at
    check_deadline(scheduled_at, job.deadline.after(scheduled_at or started_at), started_at)
    job, code = _with_code(use.localise(job, request.execution.id), use)
    resumed = _resumed(given.resume_from, job, request.execution.id, started_at, use)
    run = _plan(job, request.execution, given, overrides, resumed, code, use)
    whole = run.training_job
    changed, fixed = planning.split(whole) if request.merges_request else (whole, {})
    run = replace(run, training_job=changed)
    use.table.record_plan(run, whole)
    turns.has_planned(run, use)
    metrics.add_dimensions(job=run.job)
    if run.refused_because is not None:
        logger.warning(run.refused_because, extra={"job": run.job, "run": run.run_id})
        return _planned(run, fixed)
    detail = {
        "started_at": run.started_at.isoformat(),
        "scheduled_at": run.scheduled_at.isoformat() if run.scheduled_at else None,
        "requested_by": run.requested_by,
        "resume_from": run.resume_from,
        "plan_note": run.plan_note,
        "code": run.code.words if run.code else None,
        "work_seconds": run.work_seconds,
        "overrides": overrides,
    }
    said = {"job": run.job, "run": run.run_id, "deadline": run.deadline.isoformat(), **detail}
    logger.info("run planned", extra=said)
    tell([RunEvent.RUN_STARTED], run, use.now(), detail, use.notices)
    if run.limited_by is not None and run.limited_by.is_new:
        told = {**detail, "because": run.plan_note}
        tell([RunEvent.NO_SPOT_PLANNED], run, use.now(), told, use.notices)
    return _planned(run, fixed)


def _planned(run: Run, request: dict[str, Any]) -> dict[str, Any]:
    """What the state machine goes on with.

    `most_misses`: how many calls of a function may fail in a row, each with all its retries, before it gives up.
    Its waits between them (a minute, after half an hour five) last until the run would give up by itself.
    """
    waits = (ladder.give_up_at(run) - run.started_at).total_seconds() - FIRST_MISSES * 60
    most_misses = FIRST_MISSES + max(0, ceil(waits / 300))
    return {"run": to_json(run), "request": request, "most_misses": most_misses}


def _resumed(
    resume_from: str | None, job: Job, execution_arn: str, started_at: datetime, use: Dependencies
) -> ResumedRun | None:
    if resume_from is None:
        return None
    run_id = run_id_of(execution_arn, started_at)
    return run_input.resume(resume_from, job, run_id=run_id, execution_arn=execution_arn, use=use)


def _plan(
    job: Job,
    execution: PlannedExecution,
    given: RunInput,
    overrides: dict[str, Any],
    resumed: ResumedRun | None,
    code: CodeVersion | None,
    use: Dependencies,
) -> Run:
    """The run with its turn and its budget. What it needs to know of AWS beside the job is asked here."""
    # First what there is no plan without: where the table is away, nothing else is waited for.
    history = use.table.history(job.name, limit=LEARNT_FROM, where=teaches)
    prices = _live_prices(job, use)
    known = Known(
        price=prices.price if prices else use.price,
        history=history,
        quotas=_quotas(job, use),
        spot_hints=prices.spot_hints if prices else {},
    )

    run = plan_run(
        job,
        started_at=execution.started_at.astimezone(UTC),
        execution_arn=execution.id,
        region=use.region,
        known=known,
        overrides=overrides,
        origin=given.origin,
        resumed=resumed,
        environment=use.environment,
        code=code,
    )
    run = turns.take(run, job.concurrency, use)
    if run.month_budget_usd is not None and not run.refused_because:
        # Written first and read then: of two runs that start at once, one sees the other's promise at least.
        use.table.record_promise(run)
        run = turns.with_share(run, use)
    # The checkpoints that it continues from are another run's, and locked.
    prefix_locked = (
        resumed is not None
        and resumed.run.checkpoint_s3_uri is not None
        and run.checkpoint_s3_uri == resumed.run.checkpoint_s3_uri
    )
    return replace(
        run,
        plan_note=plan_note(run, resumed) if run.refused_because is None else None,
        prefix_locked=prefix_locked,
    )


def _with_code(job: Job, use: Dependencies) -> tuple[Job, CodeVersion | None]:
    """The job with its code in the request, whose archive is in S3, and which code that is; None where it has none.

    Raises InvalidInputError where the archive is gone, TransientAwsError.
    """
    if job.code is None:
        return job, None
    if use.code is None:
        raise InvalidInputError(f"code: {job.name} has some, and nothing here knows where its archive is")
    try:
        version, s3_uri = use.code().of_next_run(job.name)
    except CodeMissingError as error:
        raise InvalidInputError(str(error)) from error
    request = planning.with_code(job.training_job, version, s3_uri)
    return job.model_copy(update={"training_job": request}), version


def _live_prices(job: Job, use: Dependencies) -> KnownPrices | None:
    """What AWS has said of the ladder's prices; None where it is not asked. It never fails a plan."""
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


def _overridden(job: Job, mapping: Mapping[str, Any]) -> tuple[Job, dict[str, Any]]:
    """The job as this run trains it, and what the input changed of it."""
    # Here, because an import of the handler must stay light.
    from nightspot.job.errors import InvalidJobError  # noqa: PLC0415
    from nightspot.job.overrides import apply_overrides, overrides_as_json, read_overrides  # noqa: PLC0415

    size = len(json.dumps(mapping))
    if size > LARGEST_OVERRIDES_BYTES:
        raise InvalidInputError(
            f"overrides: {size:,} bytes as JSON must be at most {LARGEST_OVERRIDES_BYTES:,}: the run's ledger "
            "holds them, and Step Functions passes on no more than 256 KiB"
        )
    try:
        overrides = read_overrides(mapping)
        return apply_overrides(job, overrides), overrides_as_json(overrides)
    except InvalidJobError as error:
        raise InvalidInputError("; ".join(str(problem) for problem in error.problems)) from error
