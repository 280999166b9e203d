"""Whose turn it is: one run per job, and one per checkpoint prefix, by locks that every decision renews.

No crash holds them for ever: they expire, and the lock of an execution that is over can be taken at once. The
training job that a crashed run has left is stopped then, and waited for: two runs of a job never train at once.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.looks import with_unrecorded
from nightspot.aws.table.job_lock import Holder
from nightspot.aws.table.open_runs import PlannedLock
from nightspot.decide.audit import MAY_COME
from nightspot.formats.statuses import GOES_ON, Status
from nightspot.job.markets import Concurrency
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import logger
from nightspot.run.model import Run

# Longer than the longest wait between two decisions, which renew it.
LOCK_LIFE = timedelta(hours=2)
FRESH = timedelta(minutes=1)


def take(run: Run, concurrency: Concurrency, use: Dependencies) -> Run:
    """`run` with the job's lock, or refused, or waiting for the run whose place it takes."""
    if concurrency is Concurrency.ALLOW:
        return run
    _note(run.job, run.run_id, run.execution_arn, use)
    holder = _holder_unless_free(run.job, run.run_id, run.execution_arn, use)
    if holder is None:
        return _behind_the_last(replace(run, locked=True), use)
    if concurrency is Concurrency.FORBID:
        because = (
            f"Run {holder.run_id} of {run.job} is still going on, and the job's concurrency is forbid: "
            f"nothing was started."
        )
        return replace(run, refused_because=because)
    use.lock.ask_for(run.job, owner_run_id=holder.run_id, by_run_id=run.run_id)
    _wake_holder(holder.run_id, use)
    return replace(run, waits_for_run=holder.run_id)


def take_prefix(prefix: str, run_id: str, execution_arn: str, use: Dependencies) -> Holder | None:
    """Take the lock of the checkpoints at `prefix` for a run that continues from them, else name its holder."""
    _note(prefix, run_id, execution_arn, use)
    return _holder_unless_free(prefix, run_id, execution_arn, use)


def has_planned(run: Run, use: Dependencies) -> None:
    """The run is on record: from now on its locks are found by it. What the table does not take is done later."""
    keys = [run.job] if run.locked or run.waits_for_run is not None or run.refused_because is not None else []
    if run.resume_from is not None and run.checkpoint_s3_uri is not None:
        keys.append(run.checkpoint_s3_uri)
    try:
        for key in keys:
            use.table.open_runs.has_planned(run.run_id, key)
    except TransientAwsError as error:
        logger.warning("a lock is left to the reconciler", extra={"run": run.run_id, "error": str(error)})


def _note(key: str, run_id: str, execution_arn: str, use: Dependencies) -> None:
    """Before a lock is taken that no record tells of yet: the plan may end before there is one."""
    use.table.open_runs.will_lock(PlannedLock(key, run_id, execution_arn, use.now()))


def free_prefix(prefix: str, run_id: str, use: Dependencies) -> None:
    """Free the checkpoints at `prefix` for the next run that continues from them."""
    use.lock.release(prefix, run_id)


def keep(run: Run, use: Dependencies) -> Run:
    """`run` with its locks renewed, or with the one that it waited for, or with the run that takes its place."""
    return with_share(_keep_prefix(_keep_job(run, use), use), use)


def with_share(run: Run, use: Dependencies) -> Run:
    """`run` with what the month's budget leaves it, once: when it has its turn.

    Not before: the run whose place it takes has promised to itself what it will not spend any more.
    """
    if run.month_budget_usd is None or run.waits_for_run is not None or run.replaced_by is not None:
        return run
    start = run.started_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month = use.table.month(run.job, start, _next_month(start), without_run_id=run.run_id)
    # One whose execution has crashed may be restarted, and is closed within the hour if it is not.
    left_usd = max(0.0, run.month_budget_usd - month.total_usd)
    if run.budget_usd is not None and left_usd >= run.budget_usd:
        return replace(run, month_budget_usd=None)
    dead = _taken_from(run, use)
    if dead is not None and dead in month.open_run_ids:
        # What it has promised is free once its record is closed.
        return replace(run, waits_for_run=dead)
    return replace(run, budget_usd=left_usd, budget_of="month", month_budget_usd=None)


def _next_month(start: datetime) -> datetime:
    year, month = divmod(start.month, 12)
    return start.replace(year=start.year + year, month=month + 1)


def _keep_prefix(run: Run, use: Dependencies) -> Run:
    if not run.prefix_locked or run.checkpoint_s3_uri is None:
        return run
    now = use.now()
    holder = use.lock.renew(
        run.checkpoint_s3_uri, run.run_id, execution_arn=run.execution_arn, now=now, until=now + LOCK_LIFE
    )
    if holder is not None:
        return run
    # Two that train on the same checkpoints would spoil them for each other.
    return replace(
        run, prefix_locked=False, replaced_by=run.replaced_by or "that now continues from its checkpoints"
    )


def _keep_job(run: Run, use: Dependencies) -> Run:
    if not run.locked:
        return run if run.waits_for_run is None else _wait_on(run, use)
    run = _renewed(run, use)
    if run.waits_for_run is not None and not _trains(run.waits_for_run, use):
        return replace(run, waits_for_run=None)
    return run


def _renewed(run: Run, use: Dependencies) -> Run:
    now = use.now()
    holder = use.lock.renew(
        run.job, run.run_id, execution_arn=run.execution_arn, now=now, until=now + LOCK_LIFE
    )
    if holder is None:
        # It expired while nothing could be decided, and somebody else has it.
        return replace(run, locked=False, replaced_by=run.replaced_by or "that now holds the lock")
    return replace(run, replaced_by=run.replaced_by or holder.wanted_by)


def give_back(run: Run, use: Dependencies) -> None:
    """Free the job, and the checkpoints of the run that it resumed, for the next run."""
    if run.locked:
        use.lock.release(run.job, run.run_id)
    if run.prefix_locked and run.checkpoint_s3_uri is not None:
        free_prefix(run.checkpoint_s3_uri, run.run_id, use)


def _wait_on(run: Run, use: Dependencies) -> Run:
    holder = _holder_unless_free(run.job, run.run_id, run.execution_arn, use)
    if holder is None:
        return _behind_the_last(replace(run, waits_for_run=None, locked=True), use)
    # A third run may have come in between, as owner or as another that asks: the one that started last wins.
    for other in (holder.run_id, holder.wanted_by):
        if other not in (None, run.run_id, run.waits_for_run) and _is_newer(other, run, use):
            return replace(run, replaced_by=other)
    if holder.run_id != run.waits_for_run or holder.wanted_by != run.run_id:
        use.lock.ask_for(run.job, owner_run_id=holder.run_id, by_run_id=run.run_id)
    # It may have been deciding, and so not waiting, when it was woken before.
    _wake_holder(holder.run_id, use)
    return replace(run, waits_for_run=holder.run_id)


def _behind_the_last(run: Run, use: Dependencies) -> Run:
    """`run`, which has just got the lock: waiting, where the run that it was taken from has left a training job."""
    before = _taken_from(run, use)
    return replace(run, waits_for_run=before) if before is not None and _trains(before, use) else run


def _taken_from(run: Run, use: Dependencies) -> str | None:
    """The dead run from which `run` has taken the job's lock."""
    held = use.lock.holder(run.job)
    return held.taken_from if held is not None and held.run_id == run.run_id else None


def _trains(run_id: str, use: Dependencies) -> bool:
    """Whether a training job of this run, which has lost its lock, is not over. It is asked to stop."""
    run = use.table.run(run_id)
    if run is None:
        return False
    try:
        attempt = with_unrecorded(run, use.training_jobs).open_attempt
        if attempt is None:
            return False
        name = attempt.training_job_name
        view = use.training_jobs.describe(name)
        if view is None:
            return use.now() - attempt.asked_at < MAY_COME
        if view.status == Status.IN_PROGRESS:
            logger.warning("training job of a dead run stopped", extra={"run": run_id, "training_job": name})
            use.training_jobs.stop(name)
    except TransientAwsError as error:
        logger.warning("cannot tell how a training job is", extra={"run": run_id, "error": str(error)})
        return True
    return view.status in GOES_ON


def _is_newer(run_id: str, run: Run, use: Dependencies) -> bool:
    other = use.table.run(run_id)
    return other is None or other.started_at > run.started_at


def _holder_unless_free(key: str, run_id: str, execution_arn: str, use: Dependencies) -> Holder | None:
    """Who holds the lock of `key`, a job or a prefix; None once it is this run's."""
    now = use.now()
    until = now + LOCK_LIFE
    holder = use.lock.acquire(key, run_id, execution_arn, now=now, until=until)
    # Step Functions may not know an execution yet that has just begun.
    is_fresh = holder is not None and holder.until - LOCK_LIFE > now - FRESH
    if holder is None or is_fresh or use.executions.is_running(holder.execution_arn) is not False:
        return holder
    dead = holder.run_id
    if use.lock.take_over(key, run_id, execution_arn, from_run_id=dead, now=now, until=until):
        logger.warning("lock of a dead run taken over", extra={"lock": key, "dead_run": dead})
        return None
    return holder


def _wake_holder(run_id: str, use: Dependencies) -> None:
    """Let the run that stands in the way see that it does. One whose ledger shows that it knows is left alone."""
    run = use.table.run(run_id)
    if run is not None and run.replaced_by is None and run.stop_asked_by is None:
        wake(run, use)


def wake(run: Run, use: Dependencies) -> None:
    """Let the run decide at once. Where it does not wait just now, its next decision comes by itself."""
    attempt = run.open_attempt
    waiting = use.table.waiting(attempt.training_job_name) if attempt is not None else None
    if waiting is not None and waiting.token is not None:
        use.executions.wake(waiting.token)
