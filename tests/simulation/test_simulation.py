"""A few seeds of each family of faults hold all rules; broken products do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.decide import ladder, policy, rule
from nightspot.failures import classify as failures
from nightspot.failures.codes import FailureClass
from nightspot.lambdas import record_outcome, turns
from nightspot.run.model import Outcome, Run
from nightspot.run.reasons import Reason
from tests.simulation.clock import HOUR
from tests.simulation.families import FAMILIES, scenario_of
from tests.simulation.invariants import Invariant
from tests.simulation.playing import played

# Families that the product does not stand up to yet; each is to be taken out of this list.
NOT_YET: frozenset[str] = frozenset()
SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in NOT_YET])
def test_a_run_holds_all_rules(kind: str, seed: int) -> None:
    _, verdict = played(scenario_of(seed, kind))
    assert [f"{each.invariant.value}: {each.text}" for each in verdict.violations] == []


@pytest.mark.parametrize("kind", ["none", "mixed", "events"])
def test_a_seed_is_always_the_same_run(kind: str) -> None:
    stories = [[(e.at, e.who, e.what) for e in played(scenario_of(5, kind))[0].story] for _ in range(2)]
    assert stories[0] == stories[1]
    assert len(stories[0]) > 10


def test_two_seeds_are_two_runs() -> None:
    one, other = (played(scenario_of(seed, "none"))[0].story for seed in (1, 2))
    assert one != other


# --- what the rules must catch --------------------------------------------------------------------------------


def _is_caught(rule: Invariant, kind: str, seeds: Iterable[int] = range(12)) -> bool:
    """Whether one of the seeds breaks the rule."""
    return any(played(scenario_of(seed, kind))[1].count(rule) for seed in seeds)


def test_a_stop_that_counts_as_success_is_caught() -> None:
    def of_stopped(run: Run, now: Any) -> Any:
        last = run.last_attempt
        if last is not None and not last.is_open and last.status == "Stopped":
            name = {"training_job_name": last.training_job_name}
            return policy._finish(run, now, Outcome.SUCCEEDED, Reason.COMPLETED, name)
        return original(run, now)

    original = policy.next_step
    with patch("nightspot.lambdas.decide_next_step.next_step", of_stopped):
        assert _is_caught(Invariant.HONEST, "none")


def test_attempts_that_are_not_recorded_are_caught() -> None:
    original = RunTable.record_outcome

    def without_the_last(self: RunTable, run: Run) -> None:
        original(self, replace(run, attempts=run.attempts[:-1]))

    with patch.object(RunTable, "record_outcome", without_the_last):
        assert _is_caught(Invariant.ON_RECORD, "none")


def test_a_failure_of_the_users_that_is_bought_again_is_caught() -> None:
    bought_again = {FailureClass.USER_CODE: failures.Response.MARKET}
    with patch.dict(failures.RESPONSES, bought_again), patch.object(policy, "MOST_ATTEMPTS", 3):
        assert _is_caught(Invariant.NOTHING_BOUGHT, "failures")


def test_locks_that_are_not_freed_are_caught() -> None:
    with patch.object(JobLock, "release", lambda *_args, **_more: True):
        assert _is_caught(Invariant.FREED, "none")


def test_an_end_that_nobody_is_told_is_caught() -> None:
    with patch.object(record_outcome, "tell", lambda *_args, **_more: True):
        assert _is_caught(Invariant.NOTIFIED, "none")


def test_spot_that_is_waited_for_too_long_is_caught() -> None:
    with patch.object(rule.Situation, "leave_before_seconds", lambda *_, **__: 0.0):
        assert _is_caught(Invariant.IN_TIME, "none")


def test_a_handler_that_raises_is_caught() -> None:
    def raises(*_: Any, **__: Any) -> Any:
        raise ArithmeticError("a number")

    with patch.object(policy, "_while_open", raises):
        assert _is_caught(Invariant.NO_ERROR, "none")


def test_two_runs_that_train_at_once_are_caught() -> None:
    with patch.object(turns, "take", lambda run, *_: run):
        assert _is_caught(Invariant.ONE_MACHINE, "second run, forbid")


def test_a_budget_that_is_passed_is_caught() -> None:
    seeds = [seed for seed in range(60) if scenario_of(seed, "none").job.budget is not None][:4]
    assert seeds
    with (
        patch.object(ladder, "paid_seconds", lambda *_: 1000 * HOUR),
        patch.object(ladder, "within_budget", lambda *_: True),
    ):
        assert _is_caught(Invariant.WITHIN_BUDGET, "none", seeds)
