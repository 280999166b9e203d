"""Looks at a deployment for the checks of `nightspot.decide.audit`: table, executions, training jobs and locks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from pydantic import ValidationError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import Executions, restart_arn
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.open_runs import PlannedLock
from nightspot.aws.table.run_table import RunTable
from nightspot.decide import ledger
from nightspot.decide.audit import (
    MOST_RESTARTS,
    Execution,
    ExecutionState,
    HeldLock,
    ListedJob,
    RunLook,
    Snapshot,
    is_plan_over,
    is_unsettled,
)
from nightspot.decide.ledger import JobView
from nightspot.formats.run_ids import names_of
from nightspot.plan.planning import training_job_name
from nightspot.record.model import RunRecord
from nightspot.run.model import Run, evolve

NEWEST_RUNS = 60  # of a job, in which a thorough look searches for records that are open
_log = logging.getLogger(__name__)


def with_unrecorded(run: Run, training_jobs: TrainingJobs) -> Run:
    """`run`, whose execution is over, with the training jobs that it has started and that are not on its record.

    A decision is carried out also where the table cannot take it; the next one writes it. An execution that ends
    before leaves training jobs that only SageMaker knows, by the names that the next attempts would have had.
    Raises as `TrainingJobs.describe`.
    """
    while run.rungs:
        name = training_job_name(run, len(run.attempts) + 1)
        view = training_jobs.describe(name)
        if view is None:
            break
        run = ledger.with_found(run, view)
    return run


class Looks:
    """Looks at one deployment; with "" as its `environment`, other deployments' training jobs are seen as well.

    Raises TransientAwsError where a look is worth repeating, ClientError for all else.
    """

    def __init__(
        self,
        table: RunTable,
        lock: JobLock,
        executions: Executions,
        training_jobs: TrainingJobs,
        environment: str = "",
    ) -> None:
        self._table = table
        self._lock = lock
        self._executions = executions
        self._training_jobs = training_jobs
        self._own_names = names_of(environment)

    def of_run(
        self, run_id: str, *, heard: Execution | None = None, listed: Iterable[str] = ()
    ) -> RunLook | None:
        """The run as it is now; None where it is not on record.

        `heard`: an execution's end of which an event told, which Step Functions may not show yet. `listed`: its
        training jobs that go on. Raises pydantic.ValidationError for a record that cannot be read.
        """
        run = self._table.run(run_id)
        if run is None:
            return None
        noted = self._table.open_runs.get(run_id)
        arn = run.execution_arn if noted is None else noted.execution_arn
        summary = None if run.outcome is None else self._table.summary(run)
        closed = summary if summary is not None and summary.is_over else None
        is_recorded = closed is not None
        untold = self._table.close_turns.untold(run_id) if is_recorded else None
        execution, restarts, last_decision_at = None, run.restarts, None
        if not is_recorded or untold is not None:
            execution, restarts = self._execution(run, arn, heard)
            last = self._table.last_step(run_id)
            last_decision_at = None if last is None else last.at
        may_train_unseen = False
        if run.outcome is None:
            wish = run.stop_asked_by or self._table.stop_asked_by(run_id)
            run = evolve(run, stop_asked_by=wish)
            if _is_over(execution):
                try:
                    run = with_unrecorded(run, self._training_jobs)
                except TransientAwsError as error:
                    # Its execution can be started again all the same.
                    may_train_unseen = True
                    _log.warning("run %s may have started more than is on record: %s", run_id, error)
        return RunLook(
            may_train_unseen=may_train_unseen,
            run=run,
            is_recorded=is_recorded,
            unrecorded=frozenset() if closed is None else _unrecorded(run, closed),
            is_planned=noted is not None or run.steps > 0,
            untold=untold,
            execution=execution,
            restarts=restarts,
            last_decision_at=last_decision_at,
            jobs=self._jobs(run, listed, is_watched=not is_recorded and not _is_over(execution)),
        )

    def snapshot(self, now: datetime, *, thorough: bool = False) -> Snapshot:
        """Every run of which something is unfinished, every training job that goes on, every pending delivery.

        `thorough`: also all locks, and of every job the newest runs whose records are open.
        """
        unseen: dict[str, str] = {}
        listed = self._going_on(now, unseen)
        by_run: dict[str, list[str]] = {}
        for job in listed:
            by_run.setdefault(job.run_id, []).append(job.name)
        open_runs, planned_locks = self._table.open_runs.everything()
        noted = [each.run_id for each in open_runs]
        jobs = self._table.jobs() if thorough else []
        run_ids = dict.fromkeys([*noted, *by_run, *self._open_records(jobs)])
        known = _Known(self, by_run, unseen)
        for run_id in run_ids:
            known.look(run_id)
        locks, done_plans = self._planned_locks(planned_locks, known, now)
        keys = {lock.key for lock in locks}
        locks += [lock for lock in self._locks(jobs, known) if lock.key not in keys]
        pending = tuple(self._table.pending.all())
        # Of a run that is not on record here only the name says whose it may be.
        ours = tuple(
            job for job in listed if job.run_id not in known.absent or job.name.startswith(self._own_names)
        )
        return Snapshot(
            at=now,
            runs=tuple(known.looks.values()),
            listed=ours,
            locks=tuple(locks),
            done_plans=tuple(done_plans),
            pending=pending,
            unreadable=known.unreadable,
            unseen=unseen,
        )

    def _going_on(self, now: datetime, unseen: dict[str, str]) -> tuple[ListedJob, ...]:
        try:
            return self._training_jobs.going_on(now)
        except TransientAwsError as error:
            # A loop that is gone can be restarted all the same.
            unseen["the training jobs that go on"] = str(error)
            return ()

    def _execution(self, run: Run, arn: str, heard: Execution | None) -> tuple[Execution, int]:
        """The newest execution of the run, and how many restarts there were.

        A restart that ended before it had taken the run on is not on record: it is found by its name.
        """

        def describe(wanted: str) -> Execution:
            return heard if heard is not None and heard.arn == wanted else self._executions.describe(wanted)

        execution, restarts = describe(arn), run.restarts
        while execution.is_over and restarts < MOST_RESTARTS:
            following = describe(restart_arn(run, restarts + 1, like=arn))
            if following.state is ExecutionState.FORGOTTEN:
                break
            execution, restarts = following, restarts + 1
        return execution, restarts

    def _jobs(self, run: Run, listed: Iterable[str], *, is_watched: bool) -> Mapping[str, JobView | None]:
        """The training jobs that a check turns on: those that the run's own loop looks at are its own affair.

        Without one of which SageMaker says nothing just now.
        """
        known = {attempt.training_job_name: attempt for attempt in run.attempts}
        wanted = [] if is_watched else [name for name, attempt in known.items() if is_unsettled(attempt)]
        wanted += [name for name in listed if name not in known or not known[name].is_open]
        views = {}
        for name in dict.fromkeys(wanted):
            try:
                views[name] = self._training_jobs.describe(name)
            except TransientAwsError as error:
                _log.warning("training job %s cannot be looked at just now: %s", name, error)
        return views

    def _open_records(self, jobs: Iterable[str]) -> Iterator[str]:
        for job in jobs:
            for run in self._table.history(job, limit=NEWEST_RUNS, where=lambda run: not run.was_refused):
                if not run.is_over:
                    yield run.run_id

    def _planned_locks(
        self, plans: Iterable[PlannedLock], known: _Known, now: datetime
    ) -> tuple[list[HeldLock], list[HeldLock]]:
        """Locks of runs that are not on record, as the plans noted them; and notes that say nothing any more.

        A run whose plan got no further than its promise is looked at: nothing else notes it.
        """
        held: list[HeldLock] = []
        done: list[HeldLock] = []
        for plan in plans:
            known.look(plan.run_id)
            look = known.looks.get(plan.run_id)
            if plan.run_id in known.unreadable or (
                look is not None and (look.is_planned or look.is_recorded)
            ):
                done.append(HeldLock(plan.key, plan.run_id))
            if plan.run_id not in known.absent:
                continue
            execution = self._executions.describe(plan.execution_arn)
            lock = HeldLock(plan.key, plan.run_id, execution, plan.since)
            holder = self._lock.holder(plan.key)
            if holder is not None and holder.run_id == plan.run_id:
                held.append(lock)
            elif is_plan_over(execution, plan.since, now):
                done.append(lock)
        return held, done

    def _locks(self, jobs: Iterable[str], known: _Known) -> Iterator[HeldLock]:
        prefixes = [look.run.checkpoint_s3_uri for look in known.looks.values() if look.run.prefix_locked]
        for lock_key in dict.fromkeys([*jobs, *(prefix for prefix in prefixes if prefix is not None)]):
            holder = self._lock.holder(lock_key)
            if holder is None:
                continue
            known.look(holder.run_id)
            if holder.run_id in known.absent:
                yield HeldLock(lock_key, holder.run_id, self._executions.describe(holder.execution_arn))
            elif holder.run_id in known.looks:
                yield HeldLock(lock_key, holder.run_id)


class _Known:
    """The looks of one snapshot: a run that cannot be looked at keeps nobody from the others."""

    def __init__(self, looks: Looks, listed: Mapping[str, list[str]], unseen: dict[str, str]) -> None:
        self._of = looks
        self._listed = listed
        self._unseen = unseen
        self.looks: dict[str, RunLook] = {}
        self.unreadable: dict[str, str] = {}
        self.absent: set[str] = set()

    def look(self, run_id: str) -> None:
        """Look at the run, once."""
        if run_id in {*self.looks, *self.unreadable, *self.absent}:
            return
        try:
            look = self._of.of_run(run_id, listed=self._listed.get(run_id, ()))
        except TransientAwsError as error:
            self._unseen[f"run {run_id}"] = str(error)
        except (ValidationError, KeyError, ValueError) as error:
            self.unreadable[run_id] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        else:
            if look is None:
                self.absent.add(run_id)
            else:
                self.looks[run_id] = look


def _unrecorded(run: Run, summary: RunRecord) -> frozenset[str]:
    """The training jobs whose end or bill the ledger has, and the summary, which is written after it, has not."""
    known = {attempt.number: attempt for attempt in summary.attempts}
    return frozenset(
        attempt.training_job_name
        for attempt in run.attempts
        for on_record in (known.get(attempt.number),)
        if (attempt.ended_at is not None and (on_record is None or on_record.ended_at is None))
        or (
            attempt.billable_seconds is not None and (on_record is None or on_record.billable_seconds is None)
        )
    )


def _is_over(execution: Execution | None) -> bool:
    return execution is not None and execution.is_over
