"""The loop's only decision: look at the world, fold it into the ledger, decide one step, book it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, Field

from nightspot.aws.faults import TransientAwsError
from nightspot.decide import ladder, ledger
from nightspot.decide.ledger import JobView, phases_of
from nightspot.decide.policy import next_step
from nightspot.failures.classify import Fault
from nightspot.failures.redaction import redact
from nightspot.lambdas import turns
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import count, entry, logger, metrics, tell
from nightspot.plan import planning
from nightspot.record import events as run_events
from nightspot.run.model import Action, Attempt, Phase, Progress, Run, Step, run_from_json, to_json

# As JSON: Step Functions carries 256 KiB, and the step comes beside it.
# fact: stepfunctions.payload.bytes
LARGEST_LEDGER_BYTES = 224 * 1024


class CallFault(BaseModel):
    """The error output of the state machine's last AWS call."""

    error: str = Field(default="", alias="Error")
    cause: str = Field(default="", alias="Cause")


class DecisionRequest(BaseModel):
    """What the state machine passes."""

    run: dict[str, Any]
    fault: CallFault | None = None


@entry("Decision")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"run": ledger, "step": step}`. The same event twice decides twice on the newest truth and harms nothing.

    An AWS service that gives no answer stops no decision: what it would have told stays as it was last known, and
    what it would have kept is written with a later decision.
    """
    use = use or dependencies()
    request = DecisionRequest.model_validate(event)
    before = run_from_json(request.run)
    now = use.now()
    kept = _answer_of("the locks", lambda: _with_wish(turns.keep(before, use), use))
    look = _look(before, request.fault, use)
    seen = ledger.fold(kept or before, look, now)
    step = next_step(seen, now)
    job_name = None
    if step.action is Action.START and step.rung is not None and step.attempt is not None:
        job_name = planning.training_job_name(seen, step.attempt)
        asked = planning.create_training_job(seen, step.rung, step.attempt, now)
        step = replace(step, training_job_name=job_name, request=asked)
    after = ledger.book(seen, step, job_name)
    asked_for = step.rung if step.action is Action.START else None
    last_safe_at = None if step.action is Action.FINISH else ladder.last_safe_at(seen, now, asked_for)
    written = replace(step, request=None, progress=seen.progress, last_safe_at=last_safe_at)
    # A table that has just given no answer is not waited for once more.
    after = _record(before, after, written, look, use if kept is not None else None)
    _say(before, after, step, use)
    return {"run": to_json(after), "step": to_json(step)}


_T = TypeVar("_T")


def _answer_of(what: str, ask: Callable[[], _T]) -> _T | None:
    """What AWS answers; None where it does not, which is logged and counted."""
    try:
        return ask()
    except (TransientAwsError, ClientError, BotoCoreError) as error:
        logger.warning(f"decided without {what}", extra={"error": redact(str(error))})
        count("DecidedWithout")
        return None


def _with_wish(run: Run, use: Dependencies) -> Run:
    """`run` with who wants its end, if anybody does (`nightspot.aws.runs.training_jobs`)."""
    if run.stop_asked_by is not None:
        return run
    return replace(run, stop_asked_by=use.table.stop_asked_by(run.run_id))


def _look(run: Run, fault: CallFault | None, use: Dependencies) -> ledger.Observation:
    jobs: dict[str, JobView | None] = {}

    def describe() -> bool:
        for attempt in run.attempts:
            if _is_looked_at(run, attempt):
                jobs[attempt.training_job_name] = use.training_jobs.describe(attempt.training_job_name)
        return True

    _answer_of("a look at its training jobs", describe)
    refused: list[str] = []

    def progress() -> Progress | None:
        if run.checkpoint_s3_uri is None or not run.attempts:
            return None
        try:
            return use.checkpoints.progress(run.checkpoint_s3_uri)
        except ClientError as error:  # what may pass is another error
            refused.append(redact(str(error)))
            raise

    return ledger.Observation(
        jobs=jobs,
        progress=_answer_of("its progress", progress),
        fault=None if fault is None else Fault(fault.error, fault.cause),
        unreadable=refused[0] if refused else None,
    )


def _is_looked_at(run: Run, attempt: Attempt) -> bool:
    if attempt.is_open or attempt.unsettled:
        return True
    # What it went through could not be written when it ended.
    return bool(run.unwritten) and attempt.ended_at is not None and attempt.ended_at >= run.unwritten[0].at


def _record(before: Run, after: Run, step: Step, look: ledger.Observation, use: Dependencies | None) -> Run:
    """`after`, with the decisions that the table could not take: a later one writes them down."""
    behind = list(before.unwritten)
    if use is not None:
        # Of a table that is behind nobody knows which attempts it has.
        known = before if not behind else replace(before, attempts=())
        recorded = replace(after, unwritten=())

        def write() -> bool:
            use.table.record_phases(recorded, _phases(recorded, look))
            while behind:
                # What is written once need not be written again, whatever becomes of the rest.
                use.table.record_earlier_step(after.run_id, behind[0])
                del behind[0]
            use.table.record_step(known, recorded, step)
            return True

        if _answer_of("the record", write):
            return recorded
    # Its curves miss what is left out; the step and its reason do not.
    light = replace(step, progress=replace(step.progress, metrics={}) if step.progress else None)
    unwritten = (*behind, light)
    while unwritten and len(json.dumps(to_json(replace(after, unwritten=unwritten)))) > LARGEST_LEDGER_BYTES:
        logger.error("a decision is on record in this log alone", extra={"lost": to_json(unwritten[0])})
        unwritten = unwritten[1:]
    return replace(after, unwritten=unwritten)


def _phases(run: Run, look: ledger.Observation) -> dict[int, tuple[Phase, ...]]:
    views = ((attempt.number, look.jobs.get(attempt.training_job_name)) for attempt in run.attempts)
    return {number: phases_of(view) for number, view in views if view is not None}


def _say(before: Run, after: Run, step: Step, use: Dependencies) -> None:
    attempt = after.last_attempt
    detail = {
        "step": step.number,
        "action": step.action.value,
        "because": step.because,
        "reason": step.reason.value if step.reason else None,
        "attempt": attempt.number if attempt else None,
        "training_job_name": attempt.training_job_name if attempt else None,
        "market": attempt.rung.market.value if attempt else None,
        "instance_type": attempt.rung.instance_type if attempt else None,
        "failure_class": attempt.failure.value if attempt and attempt.failure else None,
        "progress_unreadable": after.progress_unreadable,
    }
    logger.info(
        step.because, extra={"job": after.job, "run": after.run_id, **detail, "figures": step.figures}
    )
    left_out = after.progress.left_out if after.progress else ()
    if left_out and left_out != (before.progress.left_out if before.progress else ()):
        logger.warning("left out of nightspot.json", extra={"run": after.run_id, "left_out": left_out})
    metrics.add_dimensions(job=after.job)
    tell(run_events.between(before, after, step), after, step.at, detail, use.notices)
