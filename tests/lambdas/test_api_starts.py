"""Runs that the API starts and stops: what is asked of AWS, and what is refused before."""

from __future__ import annotations

import pytest

from nightspot.job.markets import Concurrency
from nightspot.job.model import Budget
from nightspot.lambdas.run_input import MOST_REQUESTED_BY
from nightspot.run.model import run_from_json

START = "/jobs/recommender/runs"


def test_a_run_is_started_for_who_signed_and_told_with_its_address(api, midnight):
    answer = api.ask("POST", START)
    assert answer.status == 202
    assert answer.headers["location"] == answer.json["links"]["self"] == f"/runs/{answer.json['run_id']}"
    assert answer.json["started_at"] == "2026-11-21T00:00:00Z"
    assert (answer.json["job"], answer.json["is_new"]) == ("recommender", True)
    assert answer.json["execution_arn"].endswith(":nightspot:recommender-20261121T000000-000000")
    assert api.machine.inputs == [{"job": "recommender", "requested_by": f"api: {api.CALLER}"}]


def test_a_caller_of_a_long_name_starts_runs_that_the_plan_takes(api, world):
    path = "/".join(["division"] * 24)
    caller = f"arn:aws:iam::123456789012:user/{path}/ada"
    assert len(caller) > 200
    api.CALLER = caller
    assert api.ask("POST", START).status == 202
    asker = api.machine.inputs[0]["requested_by"]
    assert asker == f"api: …{caller[-194:]}"
    assert len(asker) == MOST_REQUESTED_BY
    assert world.plan(api.machine.inputs[0])["run"]["requested_by"] == asker


def test_a_name_that_just_fits_is_not_cut(api):
    api.CALLER = f"arn:aws:iam::123456789012:user/{'n' * 164}"
    assert api.ask("POST", START).status == 202
    assert api.machine.inputs[0]["requested_by"] == f"api: {api.CALLER}"


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b" {} "])
def test_no_overrides_are_fine(api, body):
    assert api.ask("POST", START, body).status == 202
    assert api.machine.inputs[0].keys() == {"job", "requested_by"}


def test_overrides_go_into_the_execution_as_they_were_given(api):
    given = {"market": "spot", "deadline": "6h", "budget": 12.5, "hyperparameters": {"epochs": 3}}
    assert api.ask("POST", START, given, content_type="application/json; charset=utf-8").status == 202
    assert api.machine.inputs[0] == {
        "job": "recommender",
        "requested_by": f"api: {api.CALLER}",
        "market": "spot",
        "deadline": {"within": 21600},
        "budget": {"per_run_usd": 12.5},
        "hyperparameters": {"epochs": "3"},
    }


def test_what_the_job_file_does_not_let_a_start_change_is_refused_before_it(api, world):
    job = world.jobs["recommender"]
    world.jobs["recommender"] = job.model_copy(update={"budget": Budget(per_run_usd=200)})
    given = {"budget": 100000, "instance_types": ["ml.p5.48xlarge"]}
    answer = api.ask("POST", START, given)
    assert answer.status == 422
    said = {error["field"]: error["rule"] for error in answer.json["errors"]}
    assert said.keys() == {"budget.per_run_usd", "instance_types[0].instance_type"}
    assert "set overrides.per_run_usd in the job file" in said["budget.per_run_usd"]
    assert api.machine.inputs == []


def test_what_the_api_starts_is_what_the_plan_takes(api, world):
    api.ask("POST", START, {"market": "spot", "deadline": "6h"})
    run = run_from_json(world.plan(api.machine.inputs[0])["run"])
    assert run.overrides == {"market": "spot", "deadline": {"within": 21600}}


@pytest.mark.parametrize(
    ("given", "field", "value", "rule"),
    [
        ({"market": "spt"}, "market", "'spt'", "must be 'spot', 'on_demand' or 'auto'"),
        ({"marked": "spot"}, "marked", "'marked'", "is not a known key"),
        ({"budget": 0}, "budget.per_run_usd", "0", "must be above 0"),
        (
            {"instance_types": ["ml.g5"]},
            "instance_types[0].instance_type",
            "'ml.g5'",
            "must be an instance type",
        ),
        ({"instance_types": []}, "instance_types", "a list of 0", "must not be empty"),
        ({"deadline": "soon"}, "deadline", "'soon'", "must be a time of day"),
        ({"market": "spot", "fallback": "on_demand"}, "fallback", "'on_demand'", "contradicts market: spot"),
        ({"job": "another"}, "job", "'job'", "is not a known key"),
        ({"resume_from": "20261120-aaaaaa"}, "resume_from", "'resume_from'", "is not a known key"),
    ],
)
def test_overrides_that_break_a_rule_start_nothing(api, given, field, value, rule):
    answer = api.ask("POST", START, given)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    (error,) = answer.json["errors"]
    assert (error["field"], error["value"]) == (field, value)
    assert error["rule"].startswith(rule)
    assert not api.machine.started


def test_every_broken_rule_is_told_at_once_and_no_secret(api):
    answer = api.ask(
        "POST", START, {"market": "x", "hyperparameters": {"token": ["hunter2"], "a": "hunter2\n"}}
    )
    assert [error["field"] for error in answer.json["errors"]] == [
        "market",
        "hyperparameters.token",
        "hyperparameters.a",
    ]
    assert "hunter2" not in answer.text


def test_a_job_that_is_not_there_is_not_found_and_the_near_one_is_named(api):
    answer = api.ask("POST", "/jobs/recomender/runs")
    assert answer.status == 404
    assert answer.json["detail"] == (
        "job: 'recomender': is not a job (the jobs are another, recommender); did you mean recommender?"
    )


def test_a_job_that_forbids_a_second_run_is_refused_while_one_goes_on(api, world):
    going_on = world.plan()["run"]["run_id"]
    answer = api.ask("POST", START)
    assert (answer.status, answer.json["type"]) == (409, "urn:nightspot:problem:run-is-open")
    assert answer.json["run"] == f"/runs/{going_on}"
    assert not api.machine.started


def test_a_run_whose_execution_is_gone_is_in_nobody_s_way(api, world):
    run = world.plan()["run"]
    api.machine.over.add(run["execution_arn"])
    assert api.ask("POST", START).status == 202


@pytest.mark.parametrize("concurrency", [Concurrency.ALLOW, Concurrency.REPLACE])
def test_a_job_that_lets_runs_meet_is_started_beside_or_in_place_of_the_open_one(api, world, concurrency):
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(update={"concurrency": concurrency})
    world.plan()
    assert api.ask("POST", START).status == 202


@pytest.mark.parametrize("what", ["retry", "stop"])
def test_a_run_that_is_not_there_is_not_found(api, what):
    answer = api.ask("POST", f"/runs/20261121-000000/{what}")
    assert (answer.status, answer.json["type"]) == (404, "urn:nightspot:problem:unknown-run")


def test_a_stop_stops_the_training_job_once_however_often_it_is_asked_for(api, world):
    decided = world.decide(world.plan()["run"])
    run_id, name = decided["run"]["run_id"], decided["step"]["training_job_name"]
    answer = api.ask("POST", f"/runs/{run_id}/stop")
    assert answer.status == 202
    assert (answer.json["state"], answer.json["training_job_name"]) == ("asked", name)
    assert (
        answer.json["sentence"] == f"Training job {name} was asked to stop; the run ends when that is over."
    )
    assert api.stops.names == [name]
    assert api.ask("POST", f"/runs/{run_id}/stop", b"{}").status == 202


def test_a_stop_before_the_first_training_job_is_noted_and_ends_the_run_with_its_next_decision(api, world):
    planned = world.plan()["run"]
    answer = api.ask("POST", f"/runs/{planned['run_id']}/stop")
    assert (answer.status, answer.json["state"], answer.json["training_job_name"]) == (202, "noted", None)
    assert answer.json["sentence"] == (
        f"Run {planned['run_id']} has no training job to stop just now; it ends with its next decision."
    )
    assert not api.stops.names
    over = world.decide(planned)["run"]
    assert over["outcome"] == "stopped"
    assert over["outcome_because"] == (
        "The run was asked to stop (api: arn:aws:sts::<account>:assumed-role/pipeline/ci)."
    )


def test_who_stops_a_run_through_the_api_is_on_record(api, world):
    run_id = world.decide(world.plan()["run"])["run"]["run_id"]
    api.ask("POST", f"/runs/{run_id}/stop")
    assert world.table.stop_asked_by(run_id) == f"api: {api.CALLER}"


def test_a_run_that_is_over_stays_as_it_is(api, failed):
    answer = api.ask("POST", f"/runs/{failed.run_id}/stop")
    assert (answer.status, answer.json["state"], answer.json["outcome"]) == (202, "over", "failed")
    assert answer.json["sentence"] == f"Run {failed.run_id} is over: failed. Out of memory."
    assert not api.stops.names


def test_a_run_whose_execution_is_gone_says_so(api, world):
    run = world.plan()["run"]
    api.machine.over.add(run["execution_arn"])
    answer = api.ask("POST", f"/runs/{run['run_id']}/stop")
    assert (answer.status, answer.json["state"], answer.json["outcome"]) == (202, "unrecorded", "running")


def test_a_stop_that_aws_refuses_is_told_in_its_words_without_the_account(api, world, aws_fault):
    run_id = world.decide(world.plan()["run"])["run"]["run_id"]
    api.stops.refusal = aws_fault("AccessDeniedException", "User: arn:aws:iam::123456789012:user/x may not")
    answer = api.ask("POST", f"/runs/{run_id}/stop")
    assert (answer.status, answer.json["type"]) == (502, "urn:nightspot:problem:refused-by-aws")
    assert "may not" in answer.text
    assert "123456789012" not in answer.text


def test_a_stop_has_nothing_to_choose(api, failed):
    answer = api.ask("POST", f"/runs/{failed.run_id}/stop", {"now": True})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "body")


def test_a_deadline_that_cannot_be_met_is_started_with_a_warning(api):
    answer = api.ask("POST", START, {"deadline": "10m"})
    assert answer.status == 202
    (warning,) = answer.json["warnings"]
    assert warning.startswith(
        "deadline: within 10 min: cannot be met: the start leaves 10 min, and on-demand training"
    )
    assert warning.endswith("the run buys on-demand at once, and is late")


def test_a_start_that_leaves_time_has_no_warning(api):
    assert api.ask("POST", START, {"deadline": "20h"}).json["warnings"] == []


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"hyperparameters": {"epochs": 1, "epochs": 2}}', "epochs"),
        (b'{"market": "spot", "market": "on_demand"}', "market"),
    ],
    ids=["below", "at the top"],
)
def test_a_body_with_a_key_twice_is_refused(api, body, key):
    answer = api.ask("POST", START, body)
    assert answer.status == 422
    (error,) = answer.json["errors"]
    assert (error["field"], error["rule"]) == (key, "the key appears twice")
    assert not api.machine.started
