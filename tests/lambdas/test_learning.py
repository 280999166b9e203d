"""What a plan learns from the runs on record, and what is said where they leave Spot no turn."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.decide.policy import next_step
from nightspot.job.markets import Concurrency, Market
from nightspot.job.model import OverrideLimits
from nightspot.run.model import Attempt, AttemptState, Outcome, run_from_json

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:{}"


@pytest.fixture(autouse=True)
def _side_by_side(world):
    job = world.jobs["recommender"]
    world.jobs["recommender"] = job.model_copy(update={"concurrency": Concurrency.ALLOW})


@pytest.fixture
def night(world, midnight):
    """A run so many days before, planned by the handler, that trained for so many hours without interruption."""

    def night(days, hours=4.0, **input_):
        start = midnight - timedelta(days=days)
        arn = EXECUTION.format(f"night-{days}-{hours}")
        run = run_from_json(world.plan({"job": "recommender", **input_}, start, arn)["run"])
        seconds, rung = hours * 3600, run.rungs[0]
        attempt = Attempt(
            1,
            rung,
            f"nightspot-recommender-{run.run_id}-1",
            start,
            state=AttemptState.ENDED,
            status="Completed",
            ended_at=start + timedelta(seconds=seconds + 300),
            queued_seconds=60.0,
            ready_seconds=300.0,
            trained_seconds=seconds + 240,
            worked_seconds=seconds,
            billable_seconds=seconds / 3,
        )
        over = replace(run, steps=9, attempts=(attempt,), outcome=Outcome.SUCCEEDED, limited_by=None)
        world.table.record_outcome(over)
        world.bus.entries.clear()
        return over

    return night


def plan(world, midnight, name="tonight", **input_):
    arn = EXECUTION.format(name)
    return run_from_json(world.plan({"job": "recommender", **input_}, midnight, arn)["run"])


def is_spot(run):
    return next_step(run, run.started_at).rung.market is Market.SPOT


def test_one_run_on_another_type_costs_no_night_of_spot(world, midnight, night):
    """L1."""
    for days in range(20, 1, -1):
        night(days, 4.0 + days / 400)
    job = world.jobs["recommender"]
    limits = OverrideLimits.model_validate({"instance_types": ["ml.g5.12xlarge"]})
    world.jobs["recommender"] = job.model_copy(update={"overrides": limits})
    night(1, 12.0, instance_types=["ml.g5.12xlarge"], deadline={"within": "20h"})
    run = plan(world, midnight)
    assert is_spot(run)
    assert run.work_upper_seconds < 4.3 * 3600


def test_a_rung_is_planned_with_the_speed_that_was_measured(world, midnight, night):
    """A stated speed is checked against the paces on its type and on the first one."""
    ladder = {"spot": ["ml.g5.xlarge"], "on_demand": [{"instance_type": "ml.g5.2xlarge", "speed": 2.0}]}
    job = world.jobs["recommender"]
    capacity = type(job.capacity).model_validate(ladder)
    world.jobs["recommender"] = job.model_copy(update={"capacity": capacity})
    for days in range(6, 0, -1):
        over = night(days)
        first = replace(over.attempts[0], seconds_per_step=3.0)
        second = replace(first, number=2, rung=over.rungs[1], seconds_per_step=2.0)
        world.table.record_outcome(replace(over, steps=10, attempts=(first, second)))
    assert [rung.speed for rung in plan(world, midnight).rungs] == [1.0, 1.5]


def test_refused_runs_take_no_place_of_those_that_teach(world, midnight, night):
    """L5: a start each 20 minutes with `concurrency: forbid` left three nights of sixty."""
    for days in range(8, 0, -1):
        night(days, 3.0)
    for number in range(70):
        refused = plan(world, midnight - timedelta(minutes=80 - number), name=f"refused-{number}")
        world.table.record_outcome(
            replace(refused, steps=1, outcome=Outcome.REFUSED, outcome_because="taken")
        )
    assert plan(world, midnight).work_upper_seconds == pytest.approx(3.0 * 3600, rel=0.01)


class TestSpotIsLeftNoTurn:
    """A plan that history keeps from Spot says so and names the run that sets the limit; people hear of it once."""

    def test_it_is_said_with_the_run_that_sets_the_limit(self, world, midnight, night):
        runs = [night(days, 7.2 + days / 100) for days in range(9, 0, -1)]
        run = plan(world, midnight)
        assert not is_spot(run)
        assert run.limited_by.run_id == runs[0].run_id
        assert f"run {runs[0].run_id}, its training sets a limit of" in run.plan_note
        assert f"--forget {runs[0].run_id}" in run.plan_note
        assert world.bus.told == ["Nightspot Run Started", "Nightspot No Spot Planned"]
        assert world.bus.details()[1]["because"] == run.plan_note
        assert world.table.history("recommender")[0].limited_by_run == runs[0].run_id

    def test_it_is_told_once_and_again_after_a_run_that_had_spot(self, world, midnight, night):
        for days in range(9, 0, -1):
            night(days, 7.2)
        first = plan(world, midnight, name="first")
        ended = Attempt(1, first.rungs[1], "job", midnight, state=AttemptState.ENDED, status="Completed")
        world.table.record_outcome(replace(first, steps=9, attempts=(ended,), outcome=Outcome.SUCCEEDED))
        world.bus.entries.clear()
        second = plan(world, midnight + timedelta(days=1), name="second")
        assert not is_spot(second)
        assert "because of what past runs teach" in second.plan_note
        assert world.bus.told == ["Nightspot Run Started"]

    def test_a_slow_on_demand_market_can_set_the_limit_too(self, world, midnight, night):
        for days in range(25, 0, -1):
            over = night(days, 4.0)
            waited = replace(
                over.attempts[0],
                number=2,
                rung=over.rungs[1],
                status="Stopped",
                queued_seconds=None,
                ready_seconds=None,
                trained_seconds=0.0,
                worked_seconds=0.0,
                waited_seconds=4 * 3600.0,
            )
            world.table.record_outcome(replace(over, steps=10, attempts=(*over.attempts, waited)))
        run = plan(world, midnight)
        assert not is_spot(run)
        assert run.limited_by.is_start
        assert "its on-demand start sets a limit of 4 h" in run.plan_note

    def test_a_forgotten_run_sets_none(self, world, midnight, night):
        for days in range(9, 0, -1):
            over = night(days, 7.2)
            record = next(r for r in world.table.history("recommender") if r.run_id == over.run_id)
            world.table.forget(record)
        assert is_spot(plan(world, midnight))

    def test_a_job_file_that_leaves_spot_no_turn_by_itself_is_nothing_to_tell(self, world, midnight):
        run = plan(world, midnight, deadline={"within": "4h"})
        assert not is_spot(run)
        assert run.limited_by is None
        assert world.bus.told == ["Nightspot Run Started"]
