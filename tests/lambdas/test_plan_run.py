"""The first state: from the execution's input to a ledger, or to a refusal that a person understands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.job.model import OverrideLimits
from nightspot.lambdas.plan_run import InvalidInputError
from nightspot.run.model import Outcome, run_from_json


def test_a_job_becomes_a_run_with_its_deadline_and_its_ladder(world, midnight):
    run = run_from_json(world.plan()["run"])
    assert (run.job, run.started_at, run.deadline) == ("recommender", midnight, midnight + timedelta(hours=8))
    assert [rung.label for rung in run.rungs] == ["Spot ml.g5.xlarge", "on-demand ml.g5.xlarge"]
    assert [(rung.usd_per_hour, rung.region) for rung in run.rungs] == [(2.0, "eu-west-1")] * 2
    assert run.checkpoint_s3_uri == f"s3://checkpoints/nightly/{run.run_id}"


def test_the_run_is_on_record_before_anything_is_asked_for(world):
    run = run_from_json(world.plan()["run"])
    assert world.table.run(run.run_id) == run
    assert [summary.outcome for summary in world.table.history("recommender")] == ["running"]


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
        ({}, "job: is missing."),
        ({"jobs": "x"}, "job: is missing; did you mean job instead of jobs?"),
        ([], "input: a list of 0 is not a mapping"),
        ("recommender", "input: 'recommender' is not a mapping; did you mean recommender?"),
        ({"job": 7}, "job: 7 must be the name of a job, as text"),
        ({"job": "recomender"}, "job: 'recomender' is not a job; did you mean recommender?"),
        ({"job": None}, "job: nothing must be the name of a job, as text"),
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
    assert [summary.outcome for summary in world.table.history("recommender")] == ["succeeded"]


def test_a_scheduled_night_that_started_late_keeps_its_deadline_and_says_what_is_possible(world, midnight):
    late = midnight + timedelta(hours=2)
    given = {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z", "requested_by": "schedule"}
    run = run_from_json(world.plan(given, started_at=late)["run"])
    assert (run.scheduled_at, run.started_at) == (midnight, late)
    assert run.deadline == midnight + timedelta(hours=8)
    assert run.requested_by == "schedule"
    assert run.plan_note.startswith("Started 2 h late: 6 h are left of 8 h, with 4 h 48 min of work")
    assert world.table.history("recommender")[0].plan_note == run.plan_note
    assert world.bus.details()[0]["plan_note"] == run.plan_note
    assert run.overrides == {}


def test_an_overridden_deadline_counts_from_the_scheduled_moment_too(world, midnight):
    given = {"job": "recommender", "scheduled_at": "2026-11-20T23:00:00-01:00", "deadline": "6h"}
    run = run_from_json(world.plan(given, started_at=midnight + timedelta(hours=2))["run"])
    assert run.deadline == midnight + timedelta(hours=6)


def test_a_night_whose_deadline_has_passed_is_begun_all_the_same(world, midnight):
    given = {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z"}
    world.pass_time(hours=30)
    planned = world.plan(given, started_at=midnight + timedelta(hours=30))
    step = world.decide(planned["run"])["step"]
    assert (step["action"], step["late"]) == ("start", True)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"scheduled_at": "2026-11-21T00:00:00"},
            "scheduled_at: '2026-11-21T00:00:00' must be a time with its",
        ),
        ({"scheduled_at": "yesterday"}, "scheduled_at: 'yesterday' must be a time with its zone"),
        ({"scheduled_at": 7}, "scheduled_at: 7 must be a time with its zone"),
        (
            {"scheduled_at": "2026-11-21T00:01:01Z"},
            "scheduled_at: .* must not be more than a minute after the",
        ),
        (
            {"scheduled_at": "2026-11-13T23:59:59Z"},
            "scheduled_at: .* must not be more than 7 days before the",
        ),
        (
            {"scheduled_at": "2026-11-19T15:59:59Z"},
            "scheduled_at: 2026-11-19T15:59:59.00:00 gives the run the deadline 2026-11-19T23:59:59.00:00, "
            "which must not be more than a day before the start of the execution, 2026-11-21T00:00:00.00:00",
        ),
        ({"scheduled_at": "2026-11-19T21:00:00Z", "deadline": "2h"}, "must not be more than a day before"),
        ({"requested_by": ""}, "requested_by: '' must be text of 1 to 200 characters"),
        ({"requested_by": "two\nlines"}, "requested_by: .* all of them printable"),
        ({"requested_by": "x" * 201}, "requested_by: .* must be text of 1 to 200"),
        ({"requested_by": 7}, "requested_by: 7 must be text"),
        ({"resume_from": 7}, "resume_from: 7 must be the id of a run"),
        ({"resume_from": ""}, "resume_from: '' must be the id of a run"),
        ({"dead_line": "6h"}, "dead_line"),
    ],
)
def test_every_wrong_field_is_refused_by_name_value_and_rule(world, given, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        world.plan({"job": "recommender", **given})
    assert world.bus.told == []


@pytest.mark.parametrize(
    ("scheduled_at", "deadline"),
    [
        ("2026-11-21T00:01:00Z", "8h"),
        ("2026-11-14T00:00:00Z", "7d"),  # seven days ago
        ("2026-11-19T16:00:00Z", "8h"),  # its deadline a day ago
    ],
)
def test_the_bounds_of_the_scheduled_moment_are_allowed(world, scheduled_at, deadline):
    job = world.jobs["recommender"]
    world.jobs["recommender"] = job.model_copy(
        update={"overrides": OverrideLimits(deadline_seconds=7 * 86400)}
    )
    given = {"job": "recommender", "scheduled_at": scheduled_at, "deadline": deadline}
    assert run_from_json(world.plan(given)["run"]).scheduled_at is not None


def test_a_run_that_does_not_say_who_asked_was_asked_for_in_the_console(world):
    assert run_from_json(world.plan()["run"]).requested_by == "console"
