"""Runs that the API retries: what is asked of AWS, and which retries are refused before."""

from __future__ import annotations

import dataclasses

import pytest

from nightspot.job.markets import Concurrency
from nightspot.job.model import OverrideLimits
from nightspot.run.model import Outcome, run_from_json, to_json

START = "/jobs/recommender/runs"
RETRY = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:retry"


@pytest.fixture
def retried(world, failed):
    """A run that continues from the checkpoints of the failed one."""
    world.record({**to_json(failed), "prefix_locked": False})
    given = {"job": "recommender", "resume_from": failed.run_id}
    return run_from_json(world.plan(given, execution=RETRY)["run"])


def test_a_retry_goes_on_from_the_run_with_its_overrides_and_the_new_ones(api, failed):
    answer = api.ask("POST", f"/runs/{failed.run_id}/retry", {"market": "on_demand", "hyperparameters": None})
    assert answer.status == 202
    assert answer.headers["location"] == f"/runs/{answer.json['run_id']}"
    assert api.machine.inputs == [
        {
            "job": "recommender",
            "resume_from": failed.run_id,
            "requested_by": f"api: {api.CALLER}",
            "market": "on_demand",
            "budget": {"per_run_usd": 20},
        }
    ]


def test_hyperparameters_of_a_retry_are_merged_by_their_names(api, failed):
    kept = failed.overrides["hyperparameters"]
    assert "added" not in kept
    api.ask("POST", f"/runs/{failed.run_id}/retry", {"hyperparameters": {"added": "1"}})
    (given,) = api.machine.inputs
    assert given["hyperparameters"] == {**kept, "added": "1"}


def test_a_retry_says_the_same_again_where_nothing_is_overridden(api, failed):
    api.ask("POST", f"/runs/{failed.run_id}/retry")
    (given,) = api.machine.inputs
    assert {name: given[name] for name in ("market", "budget", "hyperparameters")} == failed.overrides


def test_a_retry_with_a_key_is_one_run_and_not_the_start_of_that_key(api, failed):
    first = api.ask("POST", f"/runs/{failed.run_id}/retry", idempotency_key="k")
    again = api.ask("POST", f"/runs/{failed.run_id}/retry", idempotency_key="k")
    assert again.json == {**first.json, "is_new": False}
    assert api.ask("POST", START, failed.overrides, idempotency_key="k").status == 409


def test_what_does_not_fit_the_retried_run_s_overrides_is_refused(api, failed):
    answer = api.ask("POST", f"/runs/{failed.run_id}/retry", {"fallback": "on_demand"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "fallback")


def test_what_the_job_file_allows_no_longer_is_refused_until_it_is_taken_back(api, world, failed):
    job = world.jobs["recommender"]
    limits = OverrideLimits(hyperparameters=())
    world.jobs["recommender"] = job.model_copy(update={"overrides": limits})
    answer = api.ask("POST", f"/runs/{failed.run_id}/retry")
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "hyperparameters.epochs")
    assert api.machine.inputs == []
    assert api.ask("POST", f"/runs/{failed.run_id}/retry", {"hyperparameters": None}).status == 202


def test_a_run_that_goes_on_cannot_be_retried(api, world):
    run_id = world.plan()["run"]["run_id"]
    answer = api.ask("POST", f"/runs/{run_id}/retry")
    assert (answer.status, answer.json["type"]) == (409, "urn:nightspot:problem:run-is-not-over")


def test_a_crashed_run_can_be_retried_once_its_end_is_on_record(api, world):
    run = world.plan()["run"]
    api.machine.over.add(run["execution_arn"])
    answer = api.ask("POST", f"/runs/{run['run_id']}/retry")
    assert (answer.status, answer.json["type"]) == (409, "urn:nightspot:problem:run-is-not-over")
    assert "its execution is gone" in answer.json["detail"]
    assert not api.machine.started
    over = dataclasses.replace(
        run_from_json(run), steps=1, outcome=Outcome.FAILED, outcome_because="Crashed."
    )
    world.table.record_outcome(over)
    assert api.ask("POST", f"/runs/{run['run_id']}/retry").status == 202


@pytest.mark.parametrize(
    ("outcome", "problem", "state"),
    [
        (None, "run-is-open", "continues from"),
        (Outcome.SUCCEEDED, "run-has-succeeded", "went on from"),
    ],
)
def test_a_run_whose_retry_goes_on_or_has_succeeded_cannot_be_retried_again(
    api, world, failed, retried, outcome, problem, state
):
    api.machine.started[RETRY] = {}
    # Beside an open run of a job that forbids it nothing is started in any case.
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(
        update={"concurrency": Concurrency.ALLOW}
    )
    if outcome is not None:
        world.table.record_outcome(dataclasses.replace(retried, steps=1, outcome=outcome))
    answer = api.ask("POST", f"/runs/{failed.run_id}/retry")
    assert (answer.status, answer.json["type"]) == (409, f"urn:nightspot:problem:{problem}")
    assert answer.json["run"] == f"/runs/{retried.run_id}"
    assert answer.json["detail"].startswith(f"Run {retried.run_id}")
    assert f"{state} the checkpoints of run {failed.run_id}" in answer.json["detail"]
    assert api.machine.started == {RETRY: {}}


def test_a_run_whose_retry_has_failed_can_be_retried_again(api, world, failed, retried):
    world.table.record_outcome(dataclasses.replace(retried, steps=1, outcome=Outcome.FAILED))
    assert api.ask("POST", f"/runs/{failed.run_id}/retry").status == 202


def test_another_night_that_has_succeeded_is_no_retry_of_the_run(api, world, failed):
    world.record({**to_json(failed), "prefix_locked": False})
    another = run_from_json(world.plan(execution=RETRY)["run"])
    world.table.record_outcome(dataclasses.replace(another, steps=1, outcome=Outcome.SUCCEEDED))
    assert api.ask("POST", f"/runs/{failed.run_id}/retry").status == 202


def test_a_retry_whose_execution_died_is_for_the_plan_to_judge(api, failed, retried):
    api.machine.started[RETRY] = {}
    api.machine.over.add(RETRY)
    assert api.ask("POST", f"/runs/{failed.run_id}/retry").status == 202


def test_without_checkpoints_of_its_own_a_job_s_runs_do_not_meet(api, world, failed, retried):
    world.table.record_outcome(dataclasses.replace(retried, steps=1, outcome=Outcome.SUCCEEDED))
    job = world.jobs["recommender"]
    request = {name: value for name, value in job.training_job.items() if name != "CheckpointConfig"}
    world.jobs["recommender"] = job.model_copy(update={"training_job": request})
    assert api.ask("POST", f"/runs/{failed.run_id}/retry").status == 202


@pytest.mark.parametrize("outcome", [None, Outcome.SUCCEEDED])
def test_a_retry_s_key_finds_it_again_also_after_it_has_succeeded(api, world, failed, outcome):
    address = f"/runs/{failed.run_id}/retry"
    first = api.ask("POST", address, idempotency_key="k").json
    world.record({**to_json(failed), "prefix_locked": False})
    run = run_from_json(world.plan(api.machine.inputs[0], execution=first["execution_arn"])["run"])
    if outcome is not None:
        world.table.record_outcome(dataclasses.replace(run, steps=1, outcome=outcome))
    again = api.ask("POST", address, idempotency_key="k")
    assert (again.status, again.json) == (202, {**first, "is_new": False})
    assert api.ask("POST", address).status == 409


def test_a_run_that_succeeded_cannot_be_retried(api, world, failed):
    world.table.record_outcome(dataclasses.replace(failed, steps=2, outcome=Outcome.SUCCEEDED))
    answer = api.ask("POST", f"/runs/{failed.run_id}/retry")
    assert (answer.status, answer.json["type"]) == (409, "urn:nightspot:problem:run-has-succeeded")


def test_a_retry_of_a_job_that_is_no_longer_deployed_is_refused(api, world, failed):
    del world.jobs["recommender"]
    answer = api.ask("POST", f"/runs/{failed.run_id}/retry")
    assert (answer.status, answer.json["type"]) == (404, "urn:nightspot:problem:unknown-job")
