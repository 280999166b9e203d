"""Decides whether a run may go on from the checkpoints of another one: an ended run of its job, without a model.

The lock of the prefix is taken first and everything else looked at then, so that of two at once one is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightspot.lambdas import turns
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.run_input import InvalidInputError
from nightspot.plan import request as requests
from nightspot.plan.planning import Resumed
from nightspot.run.model import Outcome, Run

if TYPE_CHECKING:
    from nightspot.job import Job

HISTORY_RUNS = 60
_ENDED = frozenset({"Completed", "Failed", "Stopped"})


def take(resume_from: str, job: Job, *, run_id: str, execution_arn: str, use: Dependencies) -> Resumed:
    """The run to resume, with its checkpoints locked for the run `run_id` of `job`, where both keep any.

    Raises InvalidInputError with the rule that forbids it; then nothing stays locked. Raises TransientAwsError.
    """
    before = _ended_without_model(resume_from, job.name, use)
    prefix = before.checkpoint_s3_uri
    if prefix is None or requests.checkpoint_prefix(job.training_job, run_id) is None:
        return Resumed(before)
    holder = turns.take_prefix(prefix, run_id, execution_arn, use)
    if holder is not None:
        raise _refusal(resume_from, f"run {holder.run_id} goes on from its checkpoints already")
    try:
        _check_that_nobody_else_uses(prefix, before, run_id, use)
    except InvalidInputError:
        turns.free_prefix(prefix, run_id, use)
        raise
    return Resumed(before, use.checkpoints.progress(prefix), is_empty=use.checkpoints.is_empty(prefix))


def _ended_without_model(resume_from: str, job: str, use: Dependencies) -> Run:
    before = use.table.run(resume_from)
    if before is None:
        raise InvalidInputError(
            f"resume_from: {resume_from!r} must be the id of a run on record, and there is none"
        )
    if before.job != job:
        raise _refusal(resume_from, f"it is a run of {before.job}, and must be one of {job}")
    if before.outcome is None:
        raise _refusal(resume_from, "it must be over, and no outcome of it is on record")
    if before.outcome is Outcome.SUCCEEDED:
        raise _refusal(resume_from, "it has succeeded: its model is there, and nothing is left to be done")
    return before


def _check_that_nobody_else_uses(prefix: str, before: Run, run_id: str, use: Dependencies) -> None:
    if (why := _still_saving(before, use)) is not None:
        raise _refusal(before.run_id, why)
    for summary in use.table.history(before.job, limit=HISTORY_RUNS):
        if summary.get("checkpoints") != prefix or summary["run_id"] in (run_id, before.run_id):
            continue
        other = use.table.run(summary["run_id"])
        why = _why_not(other, use) if other is not None else None
        if why is not None:
            raise _refusal(before.run_id, why)


def _why_not(other: Run, use: Dependencies) -> str | None:
    """Why a run that went on from the same checkpoints stands in the way; None where it does not."""
    name = f"run {other.run_id}"
    if other.outcome is Outcome.SUCCEEDED:
        return f"{name}, which went on from its checkpoints, has succeeded: nothing is left to be done"
    if other.outcome is None and use.executions.is_running(other.execution_arn) is not False:
        return f"{name} goes on from its checkpoints already"
    return _still_saving(other, use)


def _still_saving(run: Run, use: Dependencies) -> str | None:
    """The training job that a crashed run has left behind, and that is not over yet; None where there is none."""
    attempt = run.open_attempt
    view = use.training_jobs.describe(attempt.training_job_name) if attempt is not None else None
    if view is None or view.status in _ENDED:
        return None
    job = f"training job {view.training_job_name} of run {run.run_id}"
    return f"{job} still saves there, and must be over: it is {view.status}, stop it or wait"


def _refusal(resume_from: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"resume_from: run {resume_from!r} cannot be resumed: {why}")
