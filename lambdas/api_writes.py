"""Which runs the API starts and stops: what is checked before AWS is asked, and what names a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nightspot.api.models import RunLinks, RunOverrides, RunStarted, RunStopping
from nightspot.api.routes import ProblemError, ProblemKind, invalid
from nightspot.aws.runs.executions import InvalidStartError, NameTakenError, Started, fresh_name, keyed_name
from nightspot.aws.runs.training_jobs import StopRefusedError, UnknownRunError, sentence_of
from nightspot.job.cautions import warnings_of_start
from nightspot.job.errors import InvalidJobError
from nightspot.job.markets import Concurrency
from nightspot.job.model import Job
from nightspot.job.overrides import apply_overrides, merge_overrides, overrides_as_json, read_overrides
from nightspot.lambdas.api_reads import ApiDependencies, known_run, link_of, links_of, unknown_job
from nightspot.lambdas.run_input import MOST_REQUESTED_BY
from nightspot.plan import planning
from nightspot.record.model import RunRecord, outcome_of
from nightspot.run.model import Outcome, Run
from nightspot.view.messages.plain import Console

_GOES_ON = "is still going on; it can be retried when it is over"
# Its training job may still make the model: lambdas/close_run.py records the end.
_CRASHED = (
    "has no outcome yet: its execution is gone; within minutes another one goes on with it, or it is closed"
)
_LOOKED_BACK = 60  # runs of a job, for one that is in the way or that a key has started


def start_run(
    use: ApiDependencies, job: str, overrides: RunOverrides | None, *, key: str | None, caller: str | None
) -> RunStarted:
    """A run of `job`, or the one that `key` has started before. Raises ProblemError, and what AWS raises."""
    given = overrides_as_json(overrides) if overrides is not None else {}
    return _start(use, job, given, key=key, caller=caller)


def retry_run(
    use: ApiDependencies, run_id: str, overrides: RunOverrides | None, *, key: str | None, caller: str | None
) -> RunStarted:
    """A run that goes on where `run_id` ended, with its overrides but for those given now; null takes one back."""
    run = known_run(run_id, use)
    kept, given = dict(run.overrides), {}
    if overrides is not None:
        given = overrides_as_json(overrides)
        for name in overrides.model_fields_set - given.keys():
            kept.pop(name, None)
    merged = merge_overrides(kept, given)
    return _start(use, run.job, merged, key=key, caller=caller, resumed=run)


def stop_run(use: ApiDependencies, run_id: str, *, caller: str | None) -> RunStopping:
    """How far the stop of a run is, which is asked for now. Raises ProblemError, and what AWS raises."""
    known_run(run_id, use)
    try:
        look = use.stopper.ask(run_id, by=_asker(caller))
    except UnknownRunError:
        look = None
    except StopRefusedError as error:
        raise ProblemError(
            ProblemKind.REFUSED_BY_AWS, f"run: {run_id!r}: cannot be stopped: {error}"
        ) from error
    if look is None:
        raise ProblemError(ProblemKind.UNKNOWN_RUN, f"run: {run_id!r}: is no longer on record")
    run = look.run
    return RunStopping(
        run_id=run.run_id,
        job=run.job,
        state=look.state,
        sentence=sentence_of(look),
        training_job_name=look.training_job_name,
        outcome=outcome_of(run.outcome),
        because=run.outcome_because,
        links=links_of(run.run_id, outcome_of(run.outcome), run.execution_arn),
    )


def _asker(caller: str | None) -> str:
    """Who asks, for a run's record, which has room for so many characters; the end tells people apart."""
    if not caller:
        return "api"
    room = MOST_REQUESTED_BY - len("api: ")
    return f"api: {caller if len(caller) <= room else '…' + caller[1 - room :]}"


def _start(
    use: ApiDependencies,
    job: str,
    given: dict[str, Any],
    *,
    key: str | None,
    caller: str | None,
    resumed: Run | None = None,
) -> RunStarted:
    described = use.jobs().get(job)
    if described is None:
        raise unknown_job(job, use)
    try:
        tonight = apply_overrides(described, read_overrides(given))
    except InvalidJobError as error:
        raise invalid(error.problems) from error
    name = keyed_name(job, key) if key is not None else fresh_name(job, use.now(), use.token_hex6())
    resume_from = resumed.run_id if resumed is not None else None
    try:
        # What a key has started is answered before anything else: by now it may itself be in the way.
        started = (
            use.starter.known(job, given, name=name, resume_from=resume_from) if key is not None else None
        )
        if started is None:
            if resumed is not None:
                _check_retryable(resumed, described, name, use)
            _check_free(described, name, use)
            started = use.starter.start(
                job, given, name=name, resume_from=resume_from, requested_by=_asker(caller)
            )
    except NameTakenError as error:
        detail = f"Idempotency-Key: {key!r}: has started another run of {job}; a new request needs a new key"
        raise ProblemError(ProblemKind.KEY_IS_TAKEN, detail) from error
    except InvalidStartError as error:
        raise ProblemError(ProblemKind.INVALID_INPUT, str(error)) from error
    warnings = warnings_of_start(tonight, started.started_at) if resumed is None else ()
    return _told(started, job, use, [str(warning) for warning in warnings])


def _told(started: Started, job: str, use: ApiDependencies, warnings: list[str]) -> RunStarted:
    # A key may have started it before an update of the code, with an id of the first form.
    known = None if started.is_new else use.table.run_of_execution(started.execution_arn, started.started_at)
    run_id = started.run_id if known is None else known.run_id
    here = link_of(run_id)
    console = Console.of_arn(started.execution_arn)
    return RunStarted(
        run_id=run_id,
        job=job,
        execution_arn=started.execution_arn,
        started_at=started.started_at,
        is_new=started.is_new,
        links=RunLinks(
            self=here,
            stop=f"{here}/stop",
            console=console.execution(started.execution_arn) if console else None,
        ),
        warnings=warnings,
    )


def _check_free(job: Job, name: str, use: ApiDependencies) -> None:
    """Refuses what the run's plan would refuse: a second run of a job that forbids it. The plan has the last word.

    A run that the same key has started is no other run, though Step Functions may not have shown it just now. One
    whose execution is gone stands in nobody's way, though its record says that it is running.
    """
    if job.concurrency is not Concurrency.FORBID:
        return
    runs = use.table.history(job.name, limit=_LOOKED_BACK)
    if any(_has_name(run, name) for run in runs):
        return
    for run in use.table.history(job.name, limit=_LOOKED_BACK, where=lambda run: not run.was_refused):
        if _goes_on(run, use):
            detail = f"Run {run.run_id} of {job.name} is still going on, and the job's concurrency is forbid."
            raise ProblemError(ProblemKind.RUN_IS_OPEN, detail, run=link_of(run.run_id))


def _check_retryable(run: Run, job: Job, name: str, use: ApiDependencies) -> None:
    """Refuses what lambdas/run_input.py is sure to refuse. The plan has the last word."""
    if run.outcome is Outcome.SUCCEEDED:
        detail = f"Run {run.run_id} has succeeded: there is nothing to go on with. Start a new run instead."
        raise ProblemError(ProblemKind.RUN_HAS_SUCCEEDED, detail, run=link_of(run.run_id))
    if run.outcome is None:
        is_gone = use.executions.is_running(run.execution_arn) is False
        detail = f"Run {run.run_id} {_CRASHED if is_gone else _GOES_ON}."
        raise ProblemError(ProblemKind.RUN_IS_NOT_OVER, detail, run=link_of(run.run_id))
    if (
        run.checkpoint_s3_uri is not None
        and planning.checkpoint_prefix(job.training_job, run.run_id) is not None
    ):
        known = use.table.history(run.job, limit=_LOOKED_BACK, where=lambda run: not run.was_refused)
        others = (one for one in known if not _has_name(one, name))
        _check_checkpoints(run, others, use)


def _check_checkpoints(run: Run, others: Iterable[RunRecord], use: ApiDependencies) -> None:
    for other in others:
        if other.checkpoints != run.checkpoint_s3_uri:
            continue
        who, there = f"Run {other.run_id}", link_of(other.run_id)
        of = f"the checkpoints of run {run.run_id}"
        if other.has_model:
            detail = f"{who}, which went on from {of}, has succeeded: nothing is left to be done."
            raise ProblemError(ProblemKind.RUN_HAS_SUCCEEDED, detail, run=there)
        if _goes_on(other, use):
            raise ProblemError(ProblemKind.RUN_IS_OPEN, f"{who} continues from {of} already.", run=there)


def _has_name(run: RunRecord, name: str) -> bool:
    return str(run.execution_arn).endswith(f":{name}")


def _goes_on(run: RunRecord, use: ApiDependencies) -> bool:
    """Whether a run goes on, as far as its record and its execution say."""
    arn = run.execution_arn
    return not run.is_over and (arn is None or use.executions.is_running(arn) is not False)
