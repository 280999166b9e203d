"""The API's jobs and runs, as they are read: lists in pages, records whole, and what is not there."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import timedelta
from itertools import chain

import pytest

from nightspot.api.models import (
    LastRun,
    RunResource,
)
from nightspot.api.queries import ENDINGS, Wanted
from nightspot.job.model import OverrideLimits
from nightspot.lambdas import api_reads
from nightspot.record.model import Ending, RunRecord, RunState
from nightspot.record.summary import summarise
from nightspot.run.model import Action, Outcome, Step, run_from_json
from nightspot.run.reasons import Reason


@pytest.fixture
def nights(world):
    """nights(n, job) -> the ids of n runs that are over, an hour apart, the newest first."""

    def make(count, job="recommender", outcome=Outcome.SUCCEEDED, **changes):
        ids = []
        for n in range(count):
            started = world.now + timedelta(hours=n)
            arn = f"arn:aws:states:eu-west-1:123456789012:execution:nightspot:{job}-{outcome.value}-{n}"
            run = run_from_json(world.plan({"job": job}, started, arn)["run"])
            over = dataclasses.replace(
                run, locked=False, steps=1, outcome=outcome, outcome_because="It is over.", **changes
            )
            world.table.record_outcome(over)
            world.lock.release(job, run.run_id)
            ids.append(run.run_id)
        return ids[::-1]

    return make


def pages(api, *query):
    """The run ids of each page, until there is none behind it."""
    cursor = ()
    while True:
        answer = api.ask("GET", "/runs", query=[*query, *cursor])
        assert answer.status == 200
        yield [run["run_id"] for run in answer.json["runs"]]
        if answer.json["next"] is None:
            return
        cursor = (("cursor", answer.json["next"]),)


def test_runs_of_all_jobs_come_newest_first(api, nights):
    mine, others = nights(3), nights(2, "another")
    answer = api.ask("GET", "/runs")
    starts = [run["started_at"] for run in answer.json["runs"]]
    assert starts == sorted(starts, reverse=True)
    assert {run["run_id"] for run in answer.json["runs"]} == {*mine, *others}
    assert answer.json["next"] is None


@pytest.mark.parametrize("limit", ["1", "2", "3", "7", "100"])
def test_pages_of_any_size_hold_every_run_once_and_in_one_order(api, nights, limit):
    ids = {*nights(4), *nights(3, "another")}
    whole = list(pages(api))
    found = list(pages(api, ("limit", limit)))
    assert list(chain(*found)) == list(chain(*whole))
    assert set(chain(*found)) == ids
    assert all(len(page) == int(limit) for page in found[:-1])


def test_a_run_that_begins_between_two_pages_moves_nothing(api, nights, world):
    ids = nights(4)
    first = api.ask("GET", "/runs", query=[("limit", "2")]).json
    world.pass_time(days=1)
    nights(1)
    second = api.ask("GET", "/runs", query=[("limit", "2"), ("cursor", first["next"])]).json
    assert [run["run_id"] for run in (*first["runs"], *second["runs"])] == ids


def test_runs_of_one_job_are_its_own(api, nights):
    nights(2)
    others = nights(2, "another")
    assert list(pages(api, ("job", "another"))) == [others]


def test_a_job_that_is_no_longer_deployed_is_listed_by_its_name_alone(api, nights, world):
    old = nights(1, "another")
    del world.jobs["another"]
    assert list(pages(api, ("job", "another"))) == [old]
    assert list(pages(api)) == [[]]


def test_a_job_that_never_was_is_not_found_and_the_near_one_is_named(api):
    answer = api.ask("GET", "/runs", query=[("job", "recomender")])
    assert answer.status == 404
    assert answer.json["detail"].endswith("did you mean recommender?")


def test_outcomes_may_be_named_several_times(api, nights, world):
    late = nights(1)
    world.pass_time(days=1)
    failed = nights(1, outcome=Outcome.FAILED)
    world.pass_time(days=1)
    nights(1, outcome=Outcome.SKIPPED)
    assert list(pages(api, ("outcome", "failed"))) == [failed]
    assert list(pages(api, ("outcome", "failed"), ("outcome", "succeeded"))) == [[*failed, *late]]
    assert list(pages(api, ("outcome", "in_time"))) == [[]]


def test_runs_are_listed_by_the_reason_for_which_they_fell_back(api, nights, world, story):
    nights(1)
    world.pass_time(hours=1)
    bought = {"attempts": (story.ended(None, story.on_demand),), "fell_back_reason": Reason.TOO_SLOW}
    slow = nights(1, **bought)
    world.pass_time(hours=1)
    late = nights(1, **{**bought, "fell_back_reason": Reason.LAST_SAFE_MOMENT})
    assert list(pages(api, ("reason", "too_slow"))) == [slow]
    assert list(pages(api, ("reason", "too_slow"), ("reason", "last_safe_moment"))) == [[*late, *slow]]
    assert list(pages(api, ("reason", "thrashing"))) == [[]]
    (listed,) = api.ask("GET", "/runs", query=[("reason", "too_slow")]).json["runs"]
    assert listed["fell_back_reason"] == "too_slow"


def test_a_rare_outcome_does_not_read_the_whole_history_at_once(api, nights, monkeypatch):
    monkeypatch.setattr(api_reads, "MOST_READ", 2)
    nights(5)
    assert list(pages(api, ("outcome", "failed"))) == [[], [], []]


def test_a_page_ends_before_it_is_too_large_for_lambda(api, nights, monkeypatch):
    monkeypatch.setattr(api_reads, "MOST_BYTES", 10)
    ids = nights(3)
    assert list(pages(api)) == [[run_id] for run_id in ids]


@pytest.mark.parametrize(("since", "expected"), [("90m", 2), ("2026-11-21T02:00:00Z", 2), ("2026-11-22", 0)])
def test_since_is_a_duration_ago_or_a_time(api, nights, world, since, expected):
    ids = nights(4)
    world.pass_time(hours=3)
    assert list(pages(api, ("since", since))) == [ids[:expected]]


@pytest.mark.parametrize(
    ("month", "expected"), [("2026-11", 2), ("2026-12", 0), ("2026-10", 0), ("0999-01", 0)]
)
def test_a_month_holds_what_started_in_it(api, nights, month, expected):
    assert [len(page) for page in pages(api, ("month", month), ("limit", str(len(nights(2)) + 1)))] == [
        expected
    ]


def mangled(cursor, version=None):
    if version is not None:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        return base64.urlsafe_b64encode(json.dumps([version, *found[1:]]).encode()).decode().rstrip("=")
    return cursor[:-4]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cursor: "",
        lambda cursor: "x",
        lambda cursor: "é",
        lambda cursor: cursor * 40,
        lambda cursor: base64.urlsafe_b64encode(b'[1, "a"]').decode(),
        lambda cursor: base64.urlsafe_b64encode(b"[" * 300).decode(),
        mangled,
        lambda cursor: mangled(cursor, 2),
    ],
)
def test_a_mangled_cursor_is_refused_by_name(api, nights, spoil):
    nights(2)
    cursor = api.ask("GET", "/runs", query=[("limit", "1")]).json["next"]
    answer = api.ask("GET", "/runs", query=[("limit", "1"), ("cursor", spoil(cursor))])
    assert answer.status == 422
    assert [error["field"] for error in answer.json["errors"]] == ["cursor"]


def test_a_cursor_goes_on_with_its_own_question_alone(api, nights):
    nights(3)
    cursor = api.ask("GET", "/runs", query=[("limit", "1")]).json["next"]
    assert api.ask("GET", "/runs", query=[("limit", "2"), ("cursor", cursor)]).status == 200
    answer = api.ask("GET", "/runs", query=[("job", "recommender"), ("cursor", cursor)])
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        (("limit", "0"), "limit", "must be at least 1"),
        (("limit", "101"), "limit", "must be at most 100"),
        (("limit", "ten"), "limit", "must be a whole number"),
        (("outcome", "lost"), "outcome", "must be 'running', 'succeeded'"),
        (("reason", "bad_luck"), "reason", "must be 'wait_for_spot', 'on_demand_only'"),
        (("since", "yesterday"), "since", "must be a duration such as 7d"),
        (("since", "999999999d"), "since", "must be a duration such as 7d"),
        (("month", "2026-13"), "month", "must be a month such as 2026-11"),
        (("jop", "x"), "jop", "is not a known parameter (the parameters are job, outcome"),
    ],
)
def test_a_parameter_that_breaks_its_rule_is_named_with_value_and_rule(api, query, field, rule):
    answer = api.ask("GET", "/runs", query=[query])
    assert answer.status == 422
    (error,) = answer.json["errors"]
    assert (error["field"], error["value"]) == (field, repr(query[0] if field == "jop" else query[1]))
    assert error["rule"].startswith(rule)


def test_a_parameter_that_comes_twice_is_refused(api):
    answer = api.ask("GET", "/runs", query=[("limit", "1"), ("limit", "2")])
    assert answer.json["errors"] == [{"field": "limit", "value": "2 values", "rule": "must be given once"}]


def test_a_record_has_the_attempts_their_phases_and_every_decision(api, world):
    plan = world.plan()["run"]
    decided = world.decide(plan)
    name = decided["step"]["training_job_name"]
    world.sagemaker.shows(name, "InProgress", ("Starting", world.now), ("Training", world.now))
    world.pass_time(minutes=10)
    world.decide(decided["run"])
    answer = api.ask("GET", f"/runs/{plan['run_id']}")
    assert answer.status == 200
    assert [attempt["training_job_name"] for attempt in answer.json["attempts"]] == [name]
    assert [phase["state"] for phase in answer.json["attempts"][0]["phases"]]
    assert [step["action"] for step in answer.json["steps"]] == ["start", "watch"]
    assert all(step["because"] for step in answer.json["steps"])
    assert [step["reason"] for step in answer.json["steps"]] == ["wait_for_spot", "on_track"]
    assert answer.json["steps"][0]["figures"]["type"] == "ml.g5.xlarge"
    here = f"/runs/{plan['run_id']}"
    links = answer.json["links"]
    assert (links["self"], links["stop"], links["retry"]) == (here, f"{here}/stop", None)
    assert links["console"].startswith("https://eu-west-1.console.aws.amazon.com/states/")


def test_of_very_many_decisions_the_first_and_the_last_are_told(api, world, monkeypatch):
    monkeypatch.setattr(api_reads, "MOST_STEPS", 4)
    run = run_from_json(world.plan()["run"])
    steps = [run_step(world, n) for n in range(1, 8)]
    for step in steps:
        world.table.record_step(run, run, step)
    told = api.ask("GET", f"/runs/{run.run_id}").json["steps"]
    assert [step["because"] for step in told] == ["1", "2", "6", "7"]


def run_step(world, number):
    return Step(number=number, at=world.now, action=Action.WATCH, because=str(number))


def test_who_looks_at_an_open_run_is_told_when_to_look_again(api, world, nights):
    (over,) = nights(1)
    world.pass_time(days=1)
    going_on = world.plan()["run"]["run_id"]
    assert api.ask("GET", f"/runs/{going_on}").headers["retry-after"] == "30"
    assert "retry-after" not in api.ask("GET", f"/runs/{over}").headers


def test_a_run_that_failed_can_be_retried_and_one_that_succeeded_cannot(api, nights, world):
    (succeeded,) = nights(1)
    world.pass_time(days=1)
    (failed,) = nights(1, outcome=Outcome.FAILED)
    links = {run["run_id"]: run["links"] for run in api.ask("GET", "/runs").json["runs"]}
    assert links[failed]["retry"] == f"/runs/{failed}/retry"
    assert links[succeeded]["retry"] is None
    assert links[failed]["stop"] is links[succeeded]["stop"] is None


def test_a_run_that_is_not_there_is_told_with_the_near_ones_of_its_day(api, nights, world):
    (today,) = nights(1)
    asked = f"{today[:-1]}{'0' if today[-1] != '0' else '1'}"
    answer = api.ask("GET", f"/runs/{asked}")
    assert answer.status == 404
    assert answer.json["detail"] == f"run: '{asked}': is not on record; did you mean {today}?"
    other_day = api.ask("GET", f"/runs/20261122-{today[9:]}")
    assert other_day.json["detail"].endswith("is not on record")


@pytest.mark.parametrize(("method", "what"), [("GET", ""), ("POST", "/stop"), ("POST", "/retry")])
@pytest.mark.parametrize(
    "run_id",
    ["x", "20261121-9F2AB4", "99999999-9f2ab4", "00000000-000000", "99991231-000000", "a%20b", '"x', "☃"],
)
def test_what_cannot_be_an_id_is_not_found_either(api, method, what, run_id):
    answer = api.ask(method, f"/runs/{run_id}{what}")
    assert (answer.status, answer.json["type"]) == (404, "urn:nightspot:problem:unknown-run")


def test_a_job_is_told_with_its_ladder_its_last_run_and_its_month(api, nights, world):
    (run_id,) = nights(1)
    answer = api.ask("GET", "/jobs")
    assert answer.json["month"] == "2026-11"
    another, recommender = answer.json["jobs"]
    assert (another["name"], another["last_run"], another["month"]["runs"]) == ("another", None, 0)
    assert recommender["last_run"]["run_id"] == run_id
    assert recommender["month"]["runs"] == 1
    assert recommender["deadline"]["within"] == 28800
    assert [rung["instance_type"] for rung in recommender["capacity"]["spot"]] == ["ml.g5.xlarge"]
    assert (recommender["concurrency"], recommender["described"]) == ("forbid", True)


def test_a_job_is_told_with_what_a_start_may_change(api, world):
    job = world.jobs["recommender"]
    limits = OverrideLimits(allow=("budget", "hyperparameters"), per_run_usd=30, hyperparameters=("epochs",))
    world.jobs["recommender"] = job.model_copy(update={"overrides": limits})
    (told,) = (each for each in api.ask("GET", "/jobs").json["jobs"] if each["name"] == "recommender")
    assert told["overrides"] == {
        "allow": ["budget", "hyperparameters"],
        "instance_types": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]},
        "per_run_usd": 30,
        "deadline": 86400,
        "hyperparameters": ["epochs"],
    }


def test_the_last_run_of_an_earlier_month_is_told_without_its_costs(api, nights, world):
    (run_id,) = nights(1)
    world.pass_time(days=40)
    (recommender,) = (job for job in api.ask("GET", "/jobs").json["jobs"] if job["name"] == "recommender")
    assert recommender["last_run"]["run_id"] == run_id
    assert recommender["month"] == {"runs": 0, "cost_usd": 0.0, "cost_at_least_usd": 0.0}


def test_nothing_of_a_training_job_s_own_request_is_told(api, world):
    secret = "hunter2-hunter2"
    job = world.jobs["recommender"]
    request = {**job.training_job, "HyperParameters": {"token": secret}, "Environment": {"TOKEN": secret}}
    world.jobs["recommender"] = job.model_copy(update={"training_job": request})
    run_id = world.plan()["run"]["run_id"]
    for path in ("/jobs", "/runs", f"/runs/{run_id}"):
        answer = api.ask("GET", path)
        assert answer.status == 200
        assert secret not in answer.text


def test_an_answer_has_every_field_of_the_record():
    """A figure that a record gains is told by the API as well."""
    assert set(RunResource.model_fields) == {*RunRecord.model_fields, "links"}


def test_a_job_tells_every_figure_of_its_newest_run(world):
    assert set(LastRun.model_fields) == set(summarise(run_from_json(world.plan()["run"])).account())


def test_every_outcome_and_every_ending_can_be_told_and_asked_for():
    assert {state.value for state in RunState} == {"running", *(outcome.value for outcome in Outcome)}
    assert set(ENDINGS) == set(Wanted)
    assert frozenset().union(*ENDINGS.values()) == set(Ending)
