"""Decides which runs the API starts and stops: what is checked before AWS is asked, and what names a run."""

from __future__ import annotations

from typing import Any

from lambdas.api_dependencies import ApiDependencies
from lambdas.api_reads import known_run, link_of, links_of, unknown_job
from nightspot.api.models import RunLinks, RunOverrides, RunStarted, RunState, RunStopping
from nightspot.api.problems import ProblemError, ProblemKind, invalid
from nightspot.aws.run_table import RUNNING
from nightspot.aws.starting import InvalidStartError, NameTakenError, fresh_name, keyed_name
from nightspot.aws.stopping import StopRefusedError, UnknownRunError, sentence_of
from nightspot.job import (
    Concurrency,
    InvalidJobError,
    Job,
    apply_overrides,
    overrides_as_json,
    read_overrides,
)
from nightspot.messages.links import Console
from nightspot.run import Outcome, Run

_LOOKED_BACK = 60  # runs of a job, for one that is open or that a key has started


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
    _check_retryable(run, use)
    merged = dict(run.overrides)
    if overrides is not None:
        for name in overrides.model_fields_set:
            merged.pop(name, None)
        merged |= overrides_as_json(overrides)
    return _start(use, run.job, merged, key=key, caller=caller, resume_from=run_id)


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
        outcome=RunState(run.outcome.value if run.outcome else RUNNING),
        because=run.outcome_because,
        links=links_of(run),
    )


def _asker(caller: str | None) -> str:
    return f"api: {caller}" if caller else "api"


def _start(
    use: ApiDependencies,
    job: str,
    given: dict[str, Any],
    *,
    key: str | None,
    caller: str | None,
    resume_from: str | None = None,
) -> RunStarted:
    described = use.jobs().get(job)
    if described is None:
        raise unknown_job(job, use)
    try:
        apply_overrides(described, read_overrides(given))
    except InvalidJobError as error:
        raise invalid(error.problems) from error
    name = keyed_name(job, key) if key is not None else fresh_name(job, use.now(), use.token_hex6())
    _check_free(described, name, use)
    try:
        started = use.starter.start(
            job,
            given,
            name=name,
            resume_from=resume_from,
            requested_by=_asker(caller),
        )
    except NameTakenError as error:
        detail = f"Idempotency-Key: {key!r}: has started another run of {job}; a new request needs a new key"
        raise ProblemError(ProblemKind.KEY_IS_TAKEN, detail) from error
    except InvalidStartError as error:
        raise ProblemError(ProblemKind.INVALID_INPUT, str(error)) from error
    here = link_of(started.run_id)
    console = Console.of_arn(started.execution_arn)
    return RunStarted(
        run_id=started.run_id,
        job=job,
        execution_arn=started.execution_arn,
        started_at=started.started_at,
        is_new=started.is_new,
        links=RunLinks(
            self=here,
            stop=f"{here}/stop",
            console=console.execution(started.execution_arn) if console else None,
        ),
    )


def _check_free(job: Job, name: str, use: ApiDependencies) -> None:
    """Refuses what the run's plan would refuse: a second run of a job that forbids it. The plan has the last word.

    A run that the same key has started is no other run. One whose execution is gone stands in nobody's way, though
    its record says that it goes on.
    """
    if job.concurrency is not Concurrency.FORBID:
        return
    summaries = use.table.history(job.name, limit=_LOOKED_BACK)
    if any(str(summary.get("execution_arn")).endswith(f":{name}") for summary in summaries):
        return
    for summary in summaries:
        if summary["outcome"] != RUNNING or use.executions.is_running(summary["execution_arn"]) is False:
            continue
        open_run = str(summary["run_id"])
        detail = f"Run {open_run} of {job.name} is still going on, and the job's concurrency is forbid."
        raise ProblemError(ProblemKind.RUN_IS_OPEN, detail, run=link_of(open_run))


def _check_retryable(run: Run, use: ApiDependencies) -> None:
    if run.outcome is Outcome.SUCCEEDED:
        detail = f"Run {run.run_id} has succeeded: there is nothing to go on with. Start a new run instead."
        raise ProblemError(ProblemKind.RUN_HAS_SUCCEEDED, detail, run=link_of(run.run_id))
    if run.outcome is None and use.executions.is_running(run.execution_arn) is not False:
        detail = f"Run {run.run_id} is still going on; it can be retried when it is over."
        raise ProblemError(ProblemKind.RUN_IS_NOT_OVER, detail, run=link_of(run.run_id))
