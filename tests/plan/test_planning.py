"""A run is made out of a job and a moment."""

from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from nightspot.costs.account import needed_seconds
from nightspot.costs.lost_work import kept_work_of
from nightspot.decide.policy import next_step
from nightspot.job.markets import Fallback, Market
from nightspot.job.model import Budget, Capacity, ChangeOver, InstanceType, Job
from nightspot.job.times import Deadline
from nightspot.plan.planning import Known, ResumedRun, RunOrigin, plan_run
from nightspot.run.model import Action, Progress
from nightspot.run.pricing import Basis, PlanRate, Price, PriceSource, SpotDiscount
from tests.records import past_run

ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot-recommender:night-1"
PRICE = Price(33.0, "the reference story", date(2026, 11, 21), assumed=True)
PRICES = {("ml.p4d.24xlarge", "eu-west-1"): PRICE}


def price_of(*of):
    return PRICES.get(of)


@pytest.fixture
def plan(story):
    def plan(
        *,
        started_at=story.midnight,
        execution_arn=ARN,
        region="eu-west-1",
        known=None,
        origin=None,
        resumed=None,
        **changes,
    ):
        fields = {
            "name": "recommender",
            "deadline": Deadline(at=time(8)),
            "work_seconds": 14_400,
            "capacity": Capacity(spot=("ml.p4d.24xlarge",), on_demand=("ml.p4d.24xlarge",)),
            "change_over": ChangeOver(spot_seconds=600, on_demand_seconds=900),
            "training_job": dict(story.run().training_job),
        }
        return plan_run(
            Job(**{**fields, **changes}),
            started_at=started_at,
            execution_arn=execution_arn,
            region=region,
            known=Known(**{"price": price_of, **(known or {})}),
            origin=origin or RunOrigin(),
            resumed=resumed,
        )

    return plan


def test_the_reference_job_becomes_the_reference_run(story, plan):
    run = plan()
    prefix = f"s3://checkpoints/nightly/{run.run_id}"
    pedigree = {"price_source": PriceSource.BOOK, "price_date": PRICE.date, "price_assumed": True}
    expected = {"spot_discount": 0.65, "spot_discount_basis": Basis.ASSUMED}
    assert run == story.run(
        run_id=run.run_id,
        execution_arn=ARN,
        checkpoint_s3_uri=prefix,
        work_key=run.work_key,
        rungs=(replace(story.spot, **pedigree, **expected), replace(story.on_demand, **pedigree)),
    )


def test_the_same_execution_is_always_the_same_run(plan):
    assert plan() == plan()


def test_two_executions_at_the_same_moment_share_neither_id_nor_checkpoints(plan):
    one, other = plan(), plan(execution_arn=f"{ARN}-again")
    assert one.run_id != other.run_id
    assert one.checkpoint_s3_uri != other.checkpoint_s3_uri


def test_the_deadline_is_the_next_one_after_the_start(story, plan):
    assert plan(started_at=story.at("07:59")).deadline == story.at("08:00")
    assert plan(started_at=story.at("08:01")).deadline == story.at("32:00")
    assert plan(deadline=Deadline(within_seconds=3600)).deadline == story.at("01:00")


def test_the_ladder_is_spot_first_each_with_its_speed_price_and_change_over(plan):
    slow = InstanceType(instance_type="ml.g5.48xlarge", speed=0.45)
    rungs = plan(capacity=Capacity(spot=("ml.p4d.24xlarge", slow), on_demand=("ml.p4d.24xlarge",))).rungs
    assert [(r.label, r.speed, r.usd_per_hour, r.change_over_seconds) for r in rungs] == [
        ("Spot ml.p4d.24xlarge", 1.0, 33.0, 600),
        ("Spot ml.g5.48xlarge", 0.45, None, 600),
        ("on-demand ml.p4d.24xlarge", 1.0, 33.0, 900),
    ]


def test_prices_are_those_of_the_region(plan):
    assert {rung.usd_per_hour for rung in plan(region="us-east-1").rungs} == {None}


def test_a_bare_number_is_a_price_that_nobody_stands_behind(plan):
    rung = plan(known={"price": lambda *_: 33.0}).rungs[0]
    assert (rung.usd_per_hour, rung.price_source, rung.price_date) == (33.0, None, None)


def test_an_idle_savings_plan_makes_on_demand_cheaper_as_far_as_it_reaches(story, plan):
    """A commitment of $80 an hour pays for four of eight instances at $20; the other four add $33 each."""
    saving = replace(PRICE, plans=(PlanRate(20.0, 80.0, story.deadline),))
    request = {**story.run().training_job, "ResourceConfig": {"InstanceCount": 8}}
    spot, on_demand = plan(training_job=request, known={"price": lambda *_: saving}).rungs
    # Of a Spot rung it is what the type would add on-demand: Spot itself is at list price (`costs`).
    for rung in (spot, on_demand):
        assert (rung.usd_per_hour, rung.least_usd_per_hour) == (33.0, 16.5)


def test_a_savings_plan_that_other_work_uses_up_makes_nothing_cheaper(story, plan):
    used_up = replace(PRICE, plans=(PlanRate(20.0, 80.0, story.deadline, used_share=1.0),))
    rungs = plan(known={"price": lambda *_: used_up}).rungs
    assert {rung.least_usd_per_hour for rung in rungs} == {33.0}


def test_the_expected_discount_of_spot_is_what_own_runs_saved_else_ec2_s_hint(plan):
    hint = SpotDiscount(0.4, Basis.PRICED, "priced", PRICE.date)
    hints = {"spot_hints": {"ml.p4d.24xlarge": hint}}
    assert plan(known=hints).rungs[0].spot_discount == 0.4
    past = {"market": "spot", "instance_type": "ml.p4d.24xlarge", "ended_at": "2026-11-20T08:00:00+00:00"}
    attempt = {**past, "trained_seconds": 3600.0, "billable_seconds": 1800.0}
    rung = plan(known={**hints, "history": [past_run([attempt] * 5)]}).rungs[0]
    assert (rung.spot_discount, rung.spot_discount_basis) == (0.5, Basis.MEASURED)


def test_every_rung_has_the_requests_instances(story, plan):
    request = {**story.run().training_job, "ResourceConfig": {"InstanceCount": 4}}
    assert {rung.instance_count for rung in plan(training_job=request).rungs} == {4}


def test_without_a_checkpoint_prefix_the_run_has_none(plan):
    assert plan(training_job={"RoleArn": "x"}).checkpoint_s3_uri is None


def test_fallback_and_budget_are_the_jobs(plan):
    run = plan(fallback=Fallback.NEVER, budget=Budget(per_run_usd=150.0))
    assert (run.fallback, run.budget_usd) == (Fallback.NEVER, 150.0)


def test_a_late_start_has_the_deadline_of_the_night_for_which_it_was_scheduled(story, plan):
    late = plan(started_at=story.at("08:30"), origin=RunOrigin(scheduled_at=story.midnight))
    assert late.deadline == story.deadline
    assert late.scheduled_at == story.midnight
    assert plan(started_at=story.at("08:30")).deadline == story.deadline + timedelta(days=1)


def test_a_deadline_within_hours_counts_from_the_scheduled_moment_too(story, plan):
    six_hours = Deadline(within_seconds=6 * 3600)
    late = plan(
        started_at=story.at("02:00"), origin=RunOrigin(scheduled_at=story.midnight), deadline=six_hours
    )
    assert late.deadline == story.at("06:00")


def test_a_run_that_resumes_another_one_has_its_checkpoints_and_its_progress(story, plan):
    before = story.run(
        run_id="20261120-aaaaaa",
        checkpoint_s3_uri="s3://elsewhere/20261120-aaaaaa",
        work_key=plan().work_key,
    )
    progress = Progress(60, story.midnight, total_steps=100, fraction=0.6, attempt=2)
    run = plan(resumed=ResumedRun(before, progress, is_empty=False))
    assert run.checkpoint_s3_uri == before.checkpoint_s3_uri
    assert run.progress == replace(progress, attempt=0)
    assert (run.inherited, run.furthest_step) == (progress, 60)


def test_the_work_of_a_resumed_run_teaches_no_later_night_where_nobody_saw_its_steps(story):
    attempt = story.training(since="00:10", trained_seconds=3600.0)
    assert needed_seconds(story.run(attempts=(attempt,))) == 3600
    assert needed_seconds(story.run(attempts=(attempt,), resume_from="20261120-aaaaaa")) is None


def test_what_another_run_had_saved_is_not_counted_as_this_one_s_fruit(story):
    before = Progress(60, story.midnight, total_steps=100, fraction=0.6, attempt=2)
    attempt = story.training(
        since="00:00",
        trained_seconds=3600.0,
        worked_seconds=3600.0,
        seconds_per_step=100.0,
        interruptions=1,
        step_before=60,
        step_after=90,
    )
    run = story.run(
        attempts=(attempt,), inherited=before, progress=replace(before, step=90, attempt=1), resume_from="x"
    )
    assert kept_work_of(run)[1].kept_seconds == 30 * 100
    assert kept_work_of(run)[1].repeated_seconds == 600


def test_a_share_that_was_done_of_other_work_is_not_counted(story, plan):
    before = story.run(run_id="20261120-aaaaaa", inherited_fraction=0.5)
    same = replace(before, work_key=plan().work_key)
    assert plan(resumed=ResumedRun(same, is_empty=False)).inherited_fraction == 0.5
    assert plan(resumed=ResumedRun(before, is_empty=False)).inherited_fraction == 0.0
    assert plan(resumed=ResumedRun(same, is_empty=True)).inherited_fraction == 0.0


@pytest.mark.parametrize(
    ("request_changes", "checkpoints", "out"),
    [
        # An algorithm of the Marketplace without checkpoints has an hour on Spot, and the work is four.
        ({"AlgorithmSpecification": {"AlgorithmName": "forest"}}, False, True),
        ({"AlgorithmSpecification": {"AlgorithmName": "forest"}}, True, False),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 14_400}}, False, True),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 14_401}}, False, False),
        ({}, False, False),
    ],
)
def test_spot_is_left_out_where_nothing_could_be_done_there(story, plan, request_changes, checkpoints, out):
    request = {**story.run().training_job, **request_changes}
    if not checkpoints:
        del request["CheckpointConfig"]
    run = plan(training_job=request)
    assert [each.rung.market for each in run.left_out] == ([Market.SPOT] if out else [])
    if out:
        assert "lets a job without checkpoints wait and train for" in run.left_out[0].because
        first = next_step(run, story.midnight)
        assert (first.action, first.rung.market) == (Action.START, Market.ON_DEMAND)
