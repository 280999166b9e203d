"""Whatever three runs do in whatever order: at most one holds the lock at any moment, and no crash keeps it.

A run holds the lock from the answer that says so until the time that it asked for. Each step is one call: DynamoDB
makes a conditional write one step, moto does not, so nothing is raced here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from math import ceil

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from nightspot.aws.table.job_lock import JobLock
from nightspot.local.stage.emulated_aws import TABLE
from tests.simulation.dynamodb import without_faults

RUNS = ("one", "two", "three")
A_RUN = st.sampled_from(RUNS)
SECONDS = st.integers(1, 30).map(float) | st.floats(0.001, 30)
START = datetime(2026, 11, 21, tzinfo=UTC)


class ThreeRuns(RuleBasedStateMachine):
    """`held`: each run's time of expiry, as it was told. `owner` is the one who was told last, expired or not."""

    def __init__(self, client, job: str) -> None:
        super().__init__()
        self._client = client
        self.job = job
        self.lock = JobLock(client, TABLE)
        self.now = START
        self.held: dict[str, datetime] = {}
        self.crashed: set[str] = set()
        self.owner: str | None = None
        self.wanted_by: str | None = None

    @property
    def holders(self) -> list[str]:
        return [run for run, until in self.held.items() if self.now < until]

    def others(self, run: str) -> list[str]:
        return [other for other in self.holders if other != run]

    def call(self, call, run: str, seconds: float, **more):
        """The answer to a call that would hold the lock for so long, and the time of its expiry."""
        until = self.now + timedelta(seconds=seconds)
        answer = call(self.job, run, f"arn:{run}", now=self.now, until=until, **more)
        return answer, START + timedelta(seconds=ceil((until - START).total_seconds()))

    def give(self, run: str, until: datetime) -> None:
        if run != self.owner or run not in self.holders:
            self.wanted_by = None
        self.owner = run
        self.held[run] = until

    @invariant()
    def at_most_one_run_holds_the_lock(self) -> None:
        assert len(self.holders) <= 1

    @rule(run=A_RUN, seconds=SECONDS)
    def acquire(self, run: str, seconds: float) -> None:
        assume(run not in self.crashed)
        present, until = self.call(self.lock.acquire, run, seconds)
        if present is None:
            assert not self.others(run)
            self.give(run, self.held[run] if run in self.holders else until)
        else:
            assert [present.run_id] == self.others(run)
            assert present.execution_arn == f"arn:{present.run_id}"
            assert (present.until, present.wanted_by) == (self.held[present.run_id], self.wanted_by)

    @rule(run=A_RUN, seconds=SECONDS)
    def renew(self, run: str, seconds: float) -> None:
        assume(run not in self.crashed)
        present, until = self.call(self.lock.renew, run, seconds)
        if self.owner not in (None, run):
            assert present is None
            self.held.pop(run, None)
            return
        wanted_by = self.wanted_by if self.owner == run else None
        self.give(run, max(until, self.held.get(run, until)) if self.owner == run else until)
        self.wanted_by = wanted_by
        assert (present.run_id, present.until, present.wanted_by) == (run, self.held[run], wanted_by)

    @rule(owner=A_RUN, by=A_RUN)
    def ask_for(self, owner: str, by: str) -> None:
        assert self.lock.ask_for(self.job, owner_run_id=owner, by_run_id=by) is (owner == self.owner)
        if owner == self.owner:
            self.wanted_by = by

    @rule(run=A_RUN)
    def release(self, run: str) -> None:
        assume(run not in self.crashed)
        assert self.lock.release(self.job, run) is (run == self.owner)
        self.held.pop(run, None)
        if run == self.owner:
            self.owner = self.wanted_by = None

    @rule(run=A_RUN, dead=A_RUN, seconds=SECONDS)
    def take_over(self, run: str, dead: str, seconds: float) -> None:
        assume(run not in self.crashed and dead in self.crashed)
        took, until = self.call(self.lock.take_over, run, seconds, from_run_id=dead)
        assert took is (self.owner in (run, dead))
        if self.owner == dead:
            del self.held[dead]
            self.give(run, until)

    @rule(run=A_RUN)
    def crash(self, run: str) -> None:
        self.crashed.add(run)

    @rule(run=A_RUN)
    def come_back(self, run: str) -> None:
        self.crashed.discard(run)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def the_table_forgets(self) -> None:
        """DynamoDB's TTL: some time after the expiry."""
        assume(self.owner is not None and not self.holders)
        key = {"pk": {"S": f"JOB#{self.job}"}, "sk": {"S": "LOCK"}}
        self._client.delete_item(TableName=TABLE, Key=key)
        self.owner = self.wanted_by = None

    @rule(run=A_RUN, seconds=SECONDS)
    def every_holder_crashes_and_its_time_runs_out(self, run: str, seconds: float) -> None:
        self.now = max([self.now, *self.held.values()])
        present, until = self.call(self.lock.acquire, run, seconds)
        assert present is None
        self.crashed.discard(run)
        self.give(run, until)


def test_at_most_one_run_holds_the_lock_and_a_crash_ends_with_its_time():
    jobs = count()
    table = without_faults()
    run_state_machine_as_test(
        lambda: ThreeRuns(table, f"job-{next(jobs)}"),
        settings=settings(
            max_examples=settings.default.max_examples // 2,
            stateful_step_count=20,
            suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.filter_too_much],
        ),
    )
