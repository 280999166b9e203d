"""The first state: from the execution's input to a ledger, or to a refusal that a person understands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lambdas.plan_run import InvalidInputError
from nightspot.run import Outcome, run_from_json


def test_a_job_becomes_a_run_with_its_deadline_and_its_ladder(world, midnight):
    run = run_from_json(world.plan()["run"])
    assert (run.job, run.started_at, run.deadline) == ("recommender", midnight, midnight + timedelta(hours=8))
    assert [rung.label for rung in run.rungs] == ["Spot ml.g5.xlarge", "on-demand ml.g5.xlarge"]
    assert [(rung.usd_per_hour, rung.region) for rung in run.rungs] == [(2.0, "eu-west-1")] * 2
    assert run.checkpoint_s3_uri == f"s3://checkpoints/nightly/{run.run_id}"


def test_the_run_is_on_record_before_anything_is_asked_for(world):
    run = run_from_json(world.plan()["run"])
    assert world.table.run(run.run_id) == run
    assert [summary["outcome"] for summary in world.table.history("recommender")] == ["running"]


def test_the_start_is_in_utc_whatever_zone_it_is_given_in(world, midnight):
    given = midnight.replace(tzinfo=None).isoformat() + "-05:00"
    run = run_from_json(world.plan(started_at=midnight.fromisoformat(given))["run"])
    assert run.started_at == midnight + timedelta(hours=5)
    assert run.started_at.utcoffset() == timedelta(0)


def test_a_run_that_starts_is_told_and_counted_once(world, metrics):
    run = world.plan()["run"]
    assert world.bus.told == ["Nightspot Run Started"]
    assert world.bus.details()[0]["run_id"] == run["run_id"]
    counted = metrics()
    assert counted["RunStarted"] == [1]
    assert counted["RunRequested"] == [1]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "job: Field required"),
        ({"job": "recomender"}, "job: 'recomender' is not a job"),
        ({"job": None}, "job: Input should be a valid string"),
    ],
)
def test_a_wrong_input_is_refused_with_the_rule_and_the_known_jobs(world, given, complaint):
    with pytest.raises(InvalidInputError) as caught:
        world.plan(given)
    message = str(caught.value)
    assert message.startswith(complaint)
    assert 'The input must be like {"job": "another"}; the jobs are: another, recommender' in message


def test_a_refused_input_leaves_no_trace(world, metrics):
    with pytest.raises(InvalidInputError):
        world.plan({"job": "recomender"})
    assert world.table.history("recomender") == []
    assert world.bus.told == []
    assert "RunStarted" not in metrics()


def test_without_any_job_the_refusal_says_so(world):
    world.jobs = {}
    with pytest.raises(InvalidInputError, match="the jobs are: none"):
        world.plan()


def test_the_same_execution_planned_twice_is_one_run(world):
    first = world.plan()
    assert world.plan() == first
    assert len(world.table.history("recommender")) == 1
    ids = {detail["notice_id"] for detail in world.bus.details()}
    assert len(ids) == 1


def test_planning_late_a_second_time_does_not_turn_the_record_back(world):
    run = run_from_json(world.plan()["run"])
    over = replace(run, steps=4, outcome=Outcome.SUCCEEDED, outcome_because="done")
    world.table.record_outcome(over)
    world.plan()
    assert world.table.run(run.run_id) == over
    assert [summary["outcome"] for summary in world.table.history("recommender")] == ["succeeded"]
