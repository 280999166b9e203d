"""The loop's only decision: look at the world, fold it into the ledger, decide one step, book it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field

from lambdas import turns
from lambdas.dependencies import Dependencies, dependencies
from lambdas.observability import logger, metrics, tell, traced
from nightspot import happenings, ladder, ledger, requests
from nightspot.failures import Fault
from nightspot.phases import phases_of
from nightspot.policy import next_step
from nightspot.run import Action, Phase, Run, Step, run_from_json, to_json


class CallFault(BaseModel):
    """The error output of the state machine's last AWS call."""

    model_config = ConfigDict(extra="ignore")

    error: str = Field(default="", alias="Error")
    cause: str = Field(default="", alias="Cause")


class DecisionRequest(BaseModel):
    """What the state machine passes."""

    run: dict[str, Any]
    fault: CallFault | None = None


@logger.inject_lambda_context
@traced
@metrics.log_metrics
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"run": ledger, "step": step}`. The same event twice decides twice on the newest truth and harms nothing.

    Raises TransientAwsError, which the state machine repeats.
    """
    metrics.add_metric(name="Decision", unit=MetricUnit.Count, value=1)
    use = use or dependencies()
    request = DecisionRequest.model_validate(event)
    before = run_from_json(request.run)
    now = use.now()
    look = _look(before, request.fault, use)
    seen = ledger.fold(_with_wish(turns.keep(before, use), use), look, now)
    step = next_step(seen, now)
    job_name = None
    if step.action is Action.START and step.rung is not None and step.attempt is not None:
        job_name = requests.training_job_name(seen, step.attempt)
        asked = requests.create_training_job(seen, step.rung, step.attempt, now)
        step = replace(step, training_job_name=job_name, request=asked)
    after = ledger.book(seen, step, job_name)
    asked_for = step.rung if step.action is Action.START else None
    last_safe_at = None if step.action is Action.FINISH else ladder.last_safe_at(seen, now, asked_for)
    written = replace(step, request=None, progress=seen.progress, last_safe_at=last_safe_at)
    use.table.record_step(before, after, written)
    use.table.record_phases(after, _phases(after, look))
    _say(before, after, step, use)
    return {"run": to_json(after), "step": to_json(step)}


def _with_wish(run: Run, use: Dependencies) -> Run:
    """`run` with who wants its end, if anybody does (`nightspot.aws.stopping`)."""
    if run.stop_asked_by is not None:
        return run
    return replace(run, stop_asked_by=use.table.stop_asked_by(run.run_id))


def _look(run: Run, fault: CallFault | None, use: Dependencies) -> ledger.Observation:
    open_names = [attempt.training_job_name for attempt in run.attempts if attempt.is_open]
    progress = None
    if run.checkpoint_s3_uri is not None and run.attempts:
        progress = use.checkpoints.progress(run.checkpoint_s3_uri)
    return ledger.Observation(
        jobs={name: use.training_jobs.describe(name) for name in open_names},
        progress=progress,
        fault=None if fault is None else Fault(fault.error, fault.cause),
    )


def _phases(run: Run, look: ledger.Observation) -> dict[int, tuple[Phase, ...]]:
    views = ((attempt.number, look.jobs.get(attempt.training_job_name)) for attempt in run.attempts)
    return {number: phases_of(view) for number, view in views if view is not None}


def _say(before: Run, after: Run, step: Step, use: Dependencies) -> None:
    attempt = after.last_attempt
    detail = {
        "step": step.number,
        "action": step.action.value,
        "because": step.because,
        "attempt": attempt.number if attempt else None,
        "training_job_name": attempt.training_job_name if attempt else None,
        "market": attempt.rung.market.value if attempt else None,
        "instance_type": attempt.rung.instance_type if attempt else None,
        "failure_class": attempt.failure.value if attempt and attempt.failure else None,
    }
    logger.info(step.because, extra={"job": after.job, "run": after.run_id, **detail})
    left_out = after.progress.left_out if after.progress else ()
    if left_out and left_out != (before.progress.left_out if before.progress else ()):
        logger.warning("left out of nightspot.json", extra={"run": after.run_id, "left_out": left_out})
    metrics.add_dimensions(job=after.job)
    tell(happenings.between(before, after, step), after, step.at, detail, use.notices)
