"""What a run may spend and use, when it is planned: overrides, the month's budget, quotas."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.aws.prices import QuotasUnknownError
from nightspot.cli import _shared
from nightspot.cli._shared import ExitStatus
from nightspot.job.markets import Concurrency
from nightspot.job.model import Budget, OverrideLimits
from nightspot.lambdas import plan_run
from nightspot.lambdas.plan_run import InvalidInputError
from nightspot.local.stage.emulated_aws import LocalContext
from nightspot.record.model import read_record
from nightspot.run.model import Outcome, run_from_json

NIGHT = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:night-{}"


def test_overrides_that_the_ledger_cannot_carry_are_refused(world):
    given = {"job": "recommender", "hyperparameters": {f"h{n}": "x" * 2400 for n in range(30)}}
    with pytest.raises(InvalidInputError, match=r"overrides: 72,.* bytes as JSON must be at most 65,536"):
        world.plan(given)


def test_the_request_travels_beside_the_ledger_and_once(world):
    large = {f"h{n}": "x" * 2500 for n in range(60)}
    job = world.jobs["recommender"]
    request = {**job.training_job, "HyperParameters": large}
    world.jobs["recommender"] = job.model_copy(update={"training_job": request})
    answer = world.plan()
    assert answer["request"]["HyperParameters"] == large
    assert len(json.dumps(answer["run"])) < 10_000
    assert len(json.dumps(world.decide(answer["run"]))) < 20_000


def test_a_workflow_of_an_earlier_version_gets_the_request_whole(world):
    """One that is running while the functions are replaced: it merges nothing."""
    event = {
        "input": {"job": "recommender"},
        "execution": {"id": NIGHT, "started_at": "2026-11-21T00:00:00Z"},
    }
    run = plan_run.handler(event, LocalContext("PlanRun"), use=world.use)["run"]
    request = world.decide(run)["step"]["request"]
    assert (
        request["AlgorithmSpecification"] == world.jobs["recommender"].training_job["AlgorithmSpecification"]
    )


def test_a_function_may_fail_until_the_run_would_give_up(world):
    """32 hours: thirty waits of a minute, and five minutes each after that."""
    assert world.plan()["most_misses"] == 30 + (32 * 60 - 30) // 5


@pytest.fixture
def budget(world):
    """Give the recommender this budget; runs may stand side by side."""

    def change(**usd):
        job = world.jobs["recommender"]
        update = {"budget": Budget(**usd), "concurrency": Concurrency.ALLOW}
        world.jobs["recommender"] = job.model_copy(update=update)

    return change


def test_overrides_shape_the_run_and_are_on_record(world, midnight):
    job = world.jobs["recommender"]
    limits = OverrideLimits.model_validate({"instance_types": {"on_demand": ["ml.p5.48xlarge"]}})
    world.jobs["recommender"] = job.model_copy(update={"overrides": limits})
    given = {
        "job": "recommender",
        "market": "on_demand",
        "instance_types": ["ml.p5.48xlarge"],
        "deadline": "6h",
        "hyperparameters": {"epochs": 3},
        "budget": 55,
    }
    answer = world.plan(given)
    run = run_from_json(answer["run"])
    assert [rung.label for rung in run.rungs] == ["on-demand ml.p5.48xlarge"]
    assert run.deadline == midnight + timedelta(hours=6)
    assert answer["request"]["HyperParameters"]["epochs"] == "3"
    assert run.budget_usd == 55
    assert world.table.history("recommender")[0].overrides["market"] == "on_demand"
    assert world.bus.details()[0]["overrides"]["deadline"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"market": "spot", "instance_types": ["ml.p5.48xlarge"]},
            "add it to overrides.instance_types in the job file",
        ),
        ({"budget": 100000}, "set overrides.per_run_usd in the job file"),
        ({"deadline": "28d"}, "set overrides.deadline in the job file"),
        ({"hyperparameters": {"sagemaker_program": "x.py"}}, "overrides.hyperparameters in the job file"),
    ],
)
def test_what_the_job_file_does_not_let_a_start_change_starts_nothing(world, given, words):
    """However the execution was started: the console asks nobody else."""
    job = world.jobs["recommender"]
    world.jobs["recommender"] = job.model_copy(update={"budget": Budget(per_run_usd=200)})
    with pytest.raises(InvalidInputError, match=words):
        world.plan({"job": "recommender", **given})
    assert world.table.history("recommender") == []
    assert world.bus.entries == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"marked": "spot"}, "marked"),
        ({"market": "cheap"}, "market: 'cheap'"),
        ({"budget": {"per_month_usd": 10}}, "per_month_usd"),
        ({"hyperparameters": ["a"]}, "hyperparameters"),
    ],
)
def test_a_wrong_override_is_refused_before_anything_is_recorded(world, given, words):
    with pytest.raises(InvalidInputError, match=words):
        world.plan({"job": "recommender", **given})
    assert world.table.history("recommender") == []
    assert (
        world.lock.acquire("recommender", "x", "arn", now=world.now, until=world.pass_time(hours=1)) is None
    )


def test_a_job_without_overrides_has_none_on_record(world):
    assert run_from_json(world.plan()["run"]).overrides == {}


class TestTheMonthsBudget:
    @pytest.fixture
    def spend(self, world, midnight):
        """A run of this month that is over and has cost so much."""

        def over(number, usd, day=midnight):
            run = run_from_json(world.plan(execution=NIGHT.format(number), started_at=day)["run"])
            decided = run_from_json(
                world.decide(world.plan(execution=NIGHT.format(number), started_at=day)["run"])["run"]
            )
            attempt = replace(decided.attempts[0], billable_seconds=usd / 2.0 * 3600, trained_seconds=1.0)
            done = replace(run, attempts=(attempt,), steps=9, outcome=Outcome.FAILED, outcome_because="x.")
            world.table.record_outcome(done)

        return over

    def test_a_run_gets_what_the_month_has_left(self, world, budget, spend):
        budget(per_run_usd=40.0, per_month_usd=100.0)
        spend(1, 25.0)
        assert run_from_json(world.plan()["run"]).budget_usd == 40.0
        world.jobs["recommender"] = world.jobs["recommender"].model_copy()
        spend(2, 30.0)
        # $55 are spent, and the run that was planned in between may still come to $40.
        third = run_from_json(world.plan(execution=NIGHT.format(3))["run"])
        assert (third.budget_usd, third.budget_of) == (pytest.approx(5.0), "month")

    def test_another_months_spending_is_another_months(self, world, budget, spend, midnight):
        budget(per_month_usd=100.0)
        spend(1, 90.0, day=midnight - timedelta(days=31))
        assert run_from_json(world.plan()["run"]).budget_usd == pytest.approx(100.0)

    def test_a_run_that_died_keeps_its_promise_until_it_is_closed(self, world, budget):
        """Another execution may go on with it, and spend the rest."""
        budget(per_run_usd=60.0, per_month_usd=100.0)
        world.plan(execution=NIGHT.format(1))
        assert run_from_json(world.plan()["run"]).budget_usd == pytest.approx(40.0)
        world.step_functions.over.add(NIGHT.format(1))
        assert run_from_json(world.plan()["run"]).budget_usd == pytest.approx(40.0)
        world.reconcile()
        assert run_from_json(world.plan()["run"]).budget_usd == 60.0

    def test_a_month_that_is_spent_starts_nothing_and_says_so(self, world, budget, spend):
        budget(per_month_usd=100.0)
        spend(1, 100.0)
        step = world.decide(world.plan()["run"])["step"]
        assert (step["action"], step["outcome"]) == ("finish", "failed")
        assert "the month's last $0.00" in step["because"]


class TestQuotas:
    def test_are_not_asked_for_unless_the_deployment_says_so(self, world):
        assert run_from_json(world.plan()["run"]).left_out == ()

    def test_a_quota_of_zero_leaves_the_rung_out(self, world):
        asked = []

        def quotas(names):
            asked.extend(names)
            return {"ml.g5.xlarge for spot training job usage": 0.0}

        world.quotas = quotas
        run = world.plan()["run"]
        assert asked == ["ml.g5.xlarge for spot training job usage", "ml.g5.xlarge for training job usage"]
        assert [out["rung"]["market"] for out in run["left_out"]] == ["spot"]
        step = world.decide(run)["step"]
        assert step["rung"]["market"] == "on_demand"
        [summary] = world.table.history("recommender")
        assert summary.left_out[0].because == "its quota is 0, and 1 are needed"

    def test_a_ladder_without_any_quota_fails_the_run_and_is_for_its_owner_to_mend(self, world):
        world.quotas = lambda names: dict.fromkeys(names, 0.0)
        decided = world.decide(world.plan()["run"])
        assert decided["step"]["outcome"] == "failed"
        assert _shared.of_record(read_record(world.record(decided["run"]))) is ExitStatus.USER

    def test_quotas_that_nobody_tells_stop_no_run(self, world):
        def quotas(names):
            raise QuotasUnknownError("AccessDenied")

        world.quotas = quotas
        assert run_from_json(world.plan()["run"]).left_out == ()
