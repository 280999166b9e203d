"""The job that comes out when a run overrides its own."""

from datetime import time

import pytest

from nightspot.job.errors import InvalidOverridesError
from nightspot.job.markets import Fallback, Policy
from nightspot.job.model import Budget, InstanceType
from nightspot.job.overrides import apply_overrides, read_overrides
from nightspot.job.request_shape import fill
from nightspot.job.times import Deadline

P4D, G5, P5 = "ml.p4d.24xlarge", "ml.g5.48xlarge", "ml.p5.48xlarge"
REQUEST = "training_job"
SPOT_ONLY = {"capacity.on_demand": [], "fallback": "never"}
ON_DEMAND_ONLY = {"capacity.spot": []}
# How far a start may go is tests/job/test_override_limits.py's: here it may buy them all.
ANY_TYPE = {"overrides.instance_types": [P4D, G5, P5, "ml.m5.large"]}


def rung(name, speed=1.0, patience=None):
    return InstanceType(instance_type=name, speed=speed, patience_seconds=patience)


@pytest.fixture
def overridden(job_with):
    """The good job with changes to its file, as a run with overrides has it."""

    def make(overrides, changes=None):
        return apply_overrides(job_with({**ANY_TYPE, **(changes or {})}), read_overrides(overrides))

    return make


@pytest.fixture
def problems_of(overridden):
    def make(overrides, changes=None):
        with pytest.raises(InvalidOverridesError) as caught:
            overridden(overrides, changes)
        return caught.value.problems

    return make


def test_only_spot_buys_no_on_demand_at_all(overridden):
    job = overridden({"market": "spot"})
    assert job.capacity.on_demand == ()
    assert job.capacity.spot == (rung(P4D), rung(G5, 0.8))
    assert job.fallback is Fallback.NEVER


@pytest.mark.parametrize("fallback", [{}, {"fallback": "never"}, {"fallback": "on_demand"}])
@pytest.mark.parametrize("changes", [{}, {"fallback": "never"}])
def test_only_on_demand_has_nothing_to_fall_from(overridden, fallback, changes):
    job = overridden({"market": "on_demand", **fallback}, changes)
    assert job.capacity.spot == ()
    assert job.capacity.on_demand == (rung(P4D),)
    assert job.fallback is Fallback.ON_DEMAND


def test_auto_is_the_jobs_own_ladder(job_with, overridden):
    assert overridden({"market": "auto"}) == job_with(ANY_TYPE)


@pytest.mark.parametrize(
    ("market", "changes"), [("on_demand", SPOT_ONLY), ("spot", ON_DEMAND_ONLY)], ids=["on_demand", "spot"]
)
def test_a_market_without_types_is_refused_and_with_types_it_is_not(problems_of, overridden, market, changes):
    (problem,) = problems_of({"market": market}, changes)
    assert (problem.field, problem.value) == ("market", repr(market))
    assert f"the job has none under capacity.{market}; name them as instance_types" in problem.rule
    job = overridden({"market": market, "instance_types": [P5]}, changes)
    assert getattr(job.capacity, market) == (rung(P5),)


def test_a_list_of_types_is_the_ladder_of_each_market_in_use(overridden):
    job = overridden({"instance_types": [P5, G5]})
    assert job.capacity.spot == job.capacity.on_demand == (rung(P5), rung(G5, 0.8))
    assert overridden({"instance_types": [P5]}, SPOT_ONLY).capacity.on_demand == ()
    assert overridden({"instance_types": [P5]}, ON_DEMAND_ONLY).capacity.spot == ()
    assert overridden({"instance_types": [P5], "market": "spot"}).capacity.on_demand == ()


def test_falling_back_brings_a_list_of_types_to_on_demand(overridden):
    job = overridden({"instance_types": [P5], "fallback": "on_demand"}, SPOT_ONLY)
    assert job.capacity.on_demand == (rung(P5),)
    assert job.fallback is Fallback.ON_DEMAND


def test_a_mapping_of_types_leaves_the_other_market_as_it_is(overridden):
    job = overridden({"instance_types": {"spot": [P5]}})
    assert (job.capacity.spot, job.capacity.on_demand) == ((rung(P5),), (rung(P4D),))
    job = overridden({"instance_types": {"on_demand": [P5]}})
    assert (job.capacity.spot, job.capacity.on_demand) == ((rung(P4D), rung(G5, 0.8)), (rung(P5),))


OWN_PACES = {
    "capacity": {
        "spot": [P4D, {"instance_type": G5, "speed": 0.5, "patience": "10m"}],
        "on_demand": [P4D, {"instance_type": P5, "speed": 2, "patience": "20m"}],
    },
    f"{REQUEST}.StoppingCondition.MaxRuntimeInSeconds": 40000,
}


@pytest.mark.parametrize(
    ("given", "spot"),
    [
        (G5, rung(G5, 0.5, 600)),
        # The pace of a type is known from either market; how long to wait for it is not.
        (P5, rung(P5, 2.0)),
        ("ml.m5.large", rung("ml.m5.large")),
        ({"instance_type": G5, "speed": 0.9}, rung(G5, 0.9, 600)),
        ({"instance_type": G5, "speed": 1.0}, rung(G5, 1.0, 600)),
        ({"instance_type": G5, "patience": "1h"}, rung(G5, 0.5, 3600)),
        ({"instance_type": G5, "patience": None}, rung(G5, 0.5, 600)),
    ],
)
def test_what_a_type_leaves_unsaid_is_the_jobs_own(overridden, given, spot):
    assert overridden({"instance_types": {"spot": [given]}}, OWN_PACES).capacity.spot == (spot,)


def test_where_the_markets_differ_a_type_has_the_pace_of_its_own_market(overridden):
    changes = {"capacity.on_demand.1": {"instance_type": G5, "speed": 0.6}}
    job = overridden({"instance_types": [G5]}, changes)
    assert (job.capacity.spot, job.capacity.on_demand) == ((rung(G5, 0.8),), (rung(G5, 0.6),))


def test_an_overrides_ladder_may_begin_with_a_slower_type(overridden):
    job = overridden({"market": "spot", "instance_types": [G5]})
    assert job.capacity.first == rung(G5, 0.8)
    assert job.work_seconds == 4 * 3600  # still at speed 1.0


def test_a_request_that_names_a_rung_of_the_file_does_not_bind_a_run(overridden):
    changes = {
        f"{REQUEST}.ResourceConfig.InstanceType": G5,
        f"{REQUEST}.StoppingCondition.MaxWaitTimeInSeconds": 30000,
    }
    job = overridden({"market": "on_demand", "instance_types": [P5]}, changes)
    assert job.training_job["ResourceConfig"]["InstanceType"] == G5


@pytest.mark.parametrize(
    ("own", "given", "deadline"),
    [
        ({"at": "08:00", "timezone": "UTC"}, "6h", Deadline(within_seconds=21600)),
        (
            {"at": "08:00", "timezone": "Europe/Dublin"},
            "07:00",
            Deadline(at=time(7), timezone="Europe/Dublin"),
        ),
        (
            {"at": "08:00", "timezone": "Europe/Dublin"},
            {"at": "07:00"},
            Deadline(at=time(7), timezone="Europe/Dublin"),
        ),
        (
            {"at": "08:00", "timezone": "Europe/Dublin"},
            {"at": "07:00", "timezone": "UTC"},
            Deadline(at=time(7)),
        ),
        ({"within": "8h"}, "07:00", Deadline(at=time(7), timezone="UTC")),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_of_the_jobs_deadline(overridden, own, given, deadline):
    assert overridden({"deadline": given}, {"deadline": own}).deadline == deadline


def test_hyperparameters_are_merged_over_the_jobs(job_with, overridden):
    changes = {f"{REQUEST}.HyperParameters": {"epochs": "24", "seed": "7"}}
    own = job_with(changes)
    job = overridden({"hyperparameters": {"epochs": 12, "augment": True}}, changes)
    assert job.training_job["HyperParameters"] == {"epochs": "12", "seed": "7", "augment": "true"}
    assert {**job.training_job, "HyperParameters": None} == {**own.training_job, "HyperParameters": None}
    assert own.training_job["HyperParameters"]["epochs"] == "24"


def test_hyperparameters_come_to_a_job_that_has_none(overridden):
    job = overridden({"hyperparameters": {"epochs": "12"}})
    assert job.training_job["HyperParameters"] == {"epochs": "12"}


def test_with_the_jobs_own_there_are_at_most_100_hyperparameters(overridden, problems_of):
    changes = {f"{REQUEST}.HyperParameters": {f"k{n}": "" for n in range(60)}}
    (problem,) = problems_of({"hyperparameters": {f"l{n}": n for n in range(41)}}, changes)
    assert (problem.field, problem.value) == ("hyperparameters", "a mapping of 41")
    assert "at most 100 with the job's own, not 101" in problem.rule
    # The same names count once.
    job = overridden({"hyperparameters": {f"k{n}": n for n in range(20, 100)}}, changes)
    assert len(job.training_job["HyperParameters"]) == 100


@pytest.mark.parametrize(
    ("own", "budget"),
    [
        (None, Budget(per_run_usd=100)),
        ({"per_run_usd": 160}, Budget(per_run_usd=100)),
        ({"per_month_usd": 3000}, Budget(per_run_usd=100, per_month_usd=3000)),
        ({"per_run_usd": 160, "per_month_usd": 3000}, Budget(per_run_usd=100, per_month_usd=3000)),
    ],
)
def test_a_run_has_its_own_budget_within_the_jobs_month(overridden, own, budget):
    assert overridden({"budget": 100}, {"budget": own}).budget == budget


def test_a_run_cannot_have_more_than_the_month(problems_of):
    (problem,) = problems_of({"budget": 3001}, {"budget": {"per_month_usd": 3000}})
    assert (problem.field, problem.value) == ("budget.per_run_usd", "3001.0")
    assert "budget.per_month_usd must be at least per_run_usd (3001)" in problem.rule


def test_a_fallback_is_the_runs_own(overridden):
    job = overridden({"fallback": "never"})
    assert job.fallback is Fallback.NEVER
    assert overridden({"fallback": "on_demand"}, {"fallback": "never"}).fallback is Fallback.ON_DEMAND


def test_a_fallback_needs_somewhere_to_go_and_to_come_from(problems_of):
    (problem,) = problems_of({"fallback": "on_demand"}, SPOT_ONLY)
    assert problem.field == "fallback"
    assert "the job has none under capacity.on_demand" in problem.rule
    (problem,) = problems_of({"fallback": "never"}, ON_DEMAND_ONLY)
    assert (problem.field, problem.value) == ("fallback", "'never'")
    assert "nothing to fall from" in problem.rule


def test_on_demand_types_that_would_never_be_bought_are_refused(problems_of, overridden):
    types = {"instance_types": {"on_demand": [P5]}}
    (problem,) = problems_of(types, {"fallback": "never"})
    assert problem.field == "instance_types.on_demand"
    assert "the job says fallback: never" in problem.rule
    for said in ({"fallback": "on_demand"}, {"fallback": "never"}, {"market": "on_demand"}):
        assert overridden({**types, **said}, {"fallback": "never"}).capacity.on_demand == (rung(P5),)


@pytest.mark.parametrize(
    ("types", "market", "field"),
    [({"spot": [P5]}, None, "instance_types.spot"), ([P5], "spot", "instance_types")],
)
@pytest.mark.parametrize(
    ("changes", "drops", "rule"),
    [
        ({}, f"{REQUEST}.CheckpointConfig", "CheckpointConfig.S3Uri is required with Spot rungs"),
        (
            {f"{REQUEST}.ResourceConfig.KeepAlivePeriodInSeconds": 600},
            None,
            "KeepAlivePeriodInSeconds must not be given: warm pools exclude managed Spot",
        ),
    ],
)
def test_spot_for_a_job_that_was_not_made_for_it_is_refused(
    problems_of, drop, types, market, field, changes, drops, rule
):
    changes = {**ON_DEMAND_ONLY, **changes, **({drops: drop} if drops else {})}
    (problem,) = problems_of({"market": market, "instance_types": types}, changes)
    assert (problem.field, problem.value) == (field, "a list of 1")
    assert f"does not fit the job: {REQUEST}." in problem.rule
    assert rule in problem.rule


def test_what_the_job_broke_before_is_not_blamed_on_the_overrides(job_with):
    job = job_with({}).model_copy(update={"training_job": {}})
    assert apply_overrides(job, read_overrides({"deadline": "6h"})).deadline.within_seconds == 21600


def test_the_names_of_a_deployment_may_be_filled_in_before_or_after(job_with):
    changes = {f"{REQUEST}.CheckpointConfig.S3Uri": "s3://${CheckpointBucket}/nightly/"}
    overrides = read_overrides({"hyperparameters": {"models": "s3://${ModelBucket}/"}, "market": "spot"})
    names = {"CheckpointBucket": "our-checkpoints", "ModelBucket": "our-models"}
    job = job_with(changes)
    after = fill(apply_overrides(job, overrides).training_job, names)
    filled = job.model_copy(update={"training_job": fill(job.training_job, names)})
    before = fill(apply_overrides(filled, overrides).training_job, names)
    assert after == before
    assert after["HyperParameters"] == {"models": "s3://our-models/"}


def test_a_hasty_job_that_may_buy_only_spot_tonight_is_patient(overridden):
    assert overridden({}, {"policy": "eager"}).policy is Policy.EAGER
    assert overridden({"market": "spot"}, {"policy": "eager"}).policy is Policy.PATIENT
