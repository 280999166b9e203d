"""What an execution's input asks for: a run of a job, or to go on with a crashed run or from an ended one.

`{"continue_run": "20261121-d74a4a"}` continues at the same step, with the same attempts; of several executions that
ask for one run, one takes it on. `resume_from` names an ended run of the same job, without a model: the lock of its
checkpoint prefix is taken first and everything else is checked then, so that of two at once one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import CONTINUE_RUN
from nightspot.aws.runs.looks import with_unrecorded
from nightspot.failures.redaction import redact
from nightspot.formats.statuses import ENDED
from nightspot.job.errors import describe, nearest
from nightspot.lambdas import turns
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import count, logger
from nightspot.plan import planning
from nightspot.plan.planning import ResumedRun, RunOrigin
from nightspot.run.model import CONSOLE, Outcome, Run, evolve
from nightspot.run.reasons import clock

if TYPE_CHECKING:
    from nightspot.job.model import Job


# Machines' clocks differ by seconds; an older night than this is nobody's any more.
MOST_AHEAD = timedelta(minutes=1)
OLDEST = timedelta(days=7)
MOST_PAST_DEADLINE = timedelta(days=1)  # such as a start that was redriven: its model is nobody's either
MOST_REQUESTED_BY = 200
_ABOUT = ("job", "scheduled_at", "resume_from", "requested_by")


class InvalidInputError(ValueError):
    """The execution's input does not say what to train."""


@dataclass(frozen=True)
class RunInput:
    """`{"job": "recommender"}`, and what this run does otherwise than the job file says."""

    job: str
    origin: RunOrigin
    resume_from: str | None
    overrides: Mapping[str, Any]  # as they were given


def read_input(given: object, jobs: Sequence[str], started_at: datetime) -> RunInput:
    """The input of an execution that began at `started_at` (aware). `jobs`: the names of all jobs.

    Raises InvalidInputError with the field, its value and the rule; where no job is named, with the known jobs.
    """
    mapping, job = _job_of(given, jobs)
    return RunInput(
        job=job,
        origin=RunOrigin(_scheduled_at(mapping.get("scheduled_at"), started_at), _requested_by(mapping)),
        resume_from=_resume_from(mapping.get("resume_from")),
        overrides={name: value for name, value in mapping.items() if name not in _ABOUT},
    )


def check_deadline(scheduled_at: datetime | None, deadline: datetime, started_at: datetime) -> None:
    """Refuse a night that begins when its own deadline, counted from `scheduled_at`, is long past; all aware UTC.

    Raises InvalidInputError with the field, its value and the rule.
    """
    if scheduled_at is None or started_at - deadline <= MOST_PAST_DEADLINE:
        return
    raise InvalidInputError(
        f"scheduled_at: {scheduled_at.isoformat()} gives the run the deadline "
        f"{deadline.isoformat(timespec='seconds')}, which must not be more than a day before {_start(started_at)}"
    )


def _job_of(given: object, jobs: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    example = jobs[0] if jobs else "name"
    rule = f'The input must be like {{"job": "{example}"}}; the jobs are: {", ".join(jobs) or "none"}'
    if not isinstance(given, dict):
        near = nearest(given, jobs) if isinstance(given, str) else ""
        raise InvalidInputError(f"input: {_short(given)} is not a mapping{near}. {rule}")
    if "job" not in given:
        near = next((f"; did you mean job instead of {n}?" for n in given if nearest(n, ["job"])), "")
        raise InvalidInputError(f"job: is missing{near}. {rule}")
    job = given["job"]
    if not isinstance(job, str):
        raise InvalidInputError(f"job: {_short(job)} must be the name of a job, as text. {rule}")
    if job not in jobs:
        raise InvalidInputError(f"job: {_short(job)} is not a job{nearest(job, jobs)}. {rule}")
    return given, job


def _scheduled_at(given: object, started_at: datetime) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise InvalidInputError(
            f"scheduled_at: {_short(given)} must be a time with its zone, such as 2026-11-21T00:00:00Z"
        )
    start = _start(started_at)
    if moment - started_at > MOST_AHEAD:
        raise InvalidInputError(f"scheduled_at: {_short(given)} must not be more than a minute after {start}")
    if started_at - moment > OLDEST:
        raise InvalidInputError(f"scheduled_at: {_short(given)} must not be more than 7 days before {start}")
    return moment.astimezone(UTC)


def _start(started_at: datetime) -> str:
    return f"the start of the execution, {started_at.astimezone(UTC).isoformat(timespec='seconds')}"


def _requested_by(mapping: Mapping[str, Any]) -> str:
    given = mapping.get("requested_by")
    if given is None:
        return CONSOLE
    if (
        not isinstance(given, str)
        or not given.strip()
        or len(given) > MOST_REQUESTED_BY
        or not given.isprintable()
    ):
        rule = f"must be text of 1 to {MOST_REQUESTED_BY} characters, all of them printable"
        raise InvalidInputError(f"requested_by: {_short(given)} {rule}")
    return given


def _resume_from(given: object) -> str | None:
    if given is not None and not (isinstance(given, str) and given):
        raise InvalidInputError(f"resume_from: {_short(given)} must be the id of a run, as text")
    return given


def _short(value: object) -> str:
    return describe(value)


def asked_for(given: object) -> str | None:
    """The id of the run that an execution's input wants to be gone on with; None for every other input.

    Raises InvalidInputError.
    """
    if not isinstance(given, dict) or CONTINUE_RUN not in given:
        return None
    run_id = given[CONTINUE_RUN]
    if not isinstance(run_id, str) or not run_id:
        raise InvalidInputError(f"{CONTINUE_RUN}: {describe(run_id)} must be the id of a run, as text")
    if others := sorted(given.keys() - {CONTINUE_RUN}):
        raise InvalidInputError(
            f"{others[0]}: must not stand beside {CONTINUE_RUN}: the run is planned already"
        )
    return run_id


def take_on(run_id: str, execution_arn: str, use: Dependencies) -> Run:
    """The run as its last decision left it, which the execution has from now on.

    Raises InvalidInputError with the rule where it must not be gone on with, TransientAwsError where AWS does not
    say.
    """
    run = use.table.run(run_id)
    if run is None:
        raise InvalidInputError(
            f"{CONTINUE_RUN}: {run_id!r} must be the id of a run on record, and there is none"
        )
    if run.outcome is not None:
        raise _no_continuing(run_id, f"it is over ({run.outcome.value}); retry it instead")
    noted = use.table.open_runs.get(run_id)
    if noted is None and run.steps == 0:
        raise _no_continuing(run_id, "its plan was not made to the end; start a new run instead")
    owner = run.execution_arn if noted is None else noted.execution_arn
    if owner != execution_arn:
        _check_that_it_is_over(run_id, owner, use)
    if not use.table.open_runs.take_on(run, execution_arn, from_arn=owner):
        raise _no_continuing(run_id, "another execution has just taken it on")
    taken = run if run.execution_arn == execution_arn else _restarted(run, execution_arn, use)
    # Without them, one that a newer run replaces would end, and leave a training job behind that nobody knows.
    taken = with_unrecorded(taken, use.training_jobs)
    taken = turns.keep(taken, use)
    use.table.record_promise(taken)
    return taken


def _restarted(run: Run, execution_arn: str, use: Dependencies) -> Run:
    said = f"Restarted at {clock(use.now(), run.started_at)}, because its execution had crashed."
    return evolve(
        run,
        execution_arn=execution_arn,
        restarts=run.restarts + 1,
        plan_note=f"{run.plan_note} {said}" if run.plan_note else said,
    )


def _check_that_it_is_over(run_id: str, execution_arn: str, use: Dependencies) -> None:
    is_running = use.executions.is_running(execution_arn)
    if is_running is None:
        raise TransientAwsError(f"AWS does not say whether {execution_arn} goes on")
    if is_running:
        raise _no_continuing(run_id, f"its execution {execution_arn.rpartition(':')[2]} goes on")


def _no_continuing(run_id: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"{CONTINUE_RUN}: run {run_id!r} cannot be continued: {why}")


_MOST_LOOKED_AT = 60  # runs of the job, the newest


def resume(resume_from: str, job: Job, *, run_id: str, execution_arn: str, use: Dependencies) -> ResumedRun:
    """The run to resume, with its checkpoints locked for the run `run_id` of `job`, where both keep any.

    Raises InvalidInputError with the rule that forbids it; then nothing stays locked. Raises TransientAwsError.
    """
    before = _ended_without_model(resume_from, job.name, use)
    prefix = before.checkpoint_s3_uri
    if prefix is None or planning.checkpoint_prefix(job.training_job, run_id) is None:
        return ResumedRun(before)
    holder = turns.take_prefix(prefix, run_id, execution_arn, use)
    if holder is not None:
        raise _no_resuming(resume_from, f"run {holder.run_id} continues from its checkpoints already")
    try:
        _check_that_nobody_else_uses(prefix, before, run_id, use)
    except InvalidInputError:
        turns.free_prefix(prefix, run_id, use)
        raise
    return _resumed(before, prefix, use)


def _resumed(before: Run, prefix: str, use: Dependencies) -> ResumedRun:
    try:
        return ResumedRun(before, use.checkpoints.progress(prefix), is_empty=use.checkpoints.is_empty(prefix))
    except ClientError as error:
        # The training job may read them all the same: the run counts on what is on record of the one before.
        extra = {"run": before.run_id, "error": redact(str(error))}
        logger.warning("planned without a look at its checkpoints", extra=extra)
        count("DecidedWithout")
        return ResumedRun(before, is_empty=False)


def _ended_without_model(resume_from: str, job: str, use: Dependencies) -> Run:
    before = use.table.run(resume_from)
    if before is None:
        raise InvalidInputError(
            f"resume_from: {resume_from!r} must be the id of a run on record, and there is none"
        )
    if before.job != job:
        raise _no_resuming(resume_from, f"it is a run of {before.job}, and must be one of {job}")
    if before.outcome is None:
        raise _no_resuming(resume_from, "it must be over, and no outcome of it is on record")
    if before.outcome is Outcome.SUCCEEDED:
        raise _no_resuming(
            resume_from, "it has succeeded: its model is there, and nothing is left to be done"
        )
    return before


def _check_that_nobody_else_uses(prefix: str, before: Run, run_id: str, use: Dependencies) -> None:
    if (why := _still_saving(before, use)) is not None:
        raise _no_resuming(before.run_id, why)
    for record in use.table.history(before.job, limit=_MOST_LOOKED_AT, where=lambda run: not run.was_refused):
        if record.checkpoints != prefix or record.run_id in (run_id, before.run_id):
            continue
        other = use.table.run(record.run_id)
        why = _why_not(other, use) if other is not None else None
        if why is not None:
            raise _no_resuming(before.run_id, why)


def _why_not(other: Run, use: Dependencies) -> str | None:
    """Why a run that went on from the same checkpoints stands in the way; None where it does not."""
    name = f"run {other.run_id}"
    if other.outcome is Outcome.SUCCEEDED:
        return f"{name}, which went on from its checkpoints, has succeeded: nothing is left to be done"
    if other.outcome is None and use.executions.is_running(other.execution_arn) is not False:
        return f"{name} continues from its checkpoints already"
    return _still_saving(other, use)


def _still_saving(run: Run, use: Dependencies) -> str | None:
    """The training job that a crashed run has left behind, and that is not over yet; None where there is none."""
    attempt = run.open_attempt
    view = use.training_jobs.describe(attempt.training_job_name) if attempt is not None else None
    if view is None or view.status in ENDED:
        return None
    job = f"training job {view.training_job_name} of run {run.run_id}"
    return f"{job} still saves there, and must be over: it is {view.status}, stop it or wait"


def _no_resuming(resume_from: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"resume_from: run {resume_from!r} cannot be resumed: {why}")
