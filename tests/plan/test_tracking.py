"""A tracker knows all attempts of a run as one, by variables that the plan writes into the request."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nightspot.job.model import Job, Tracking, dump_jobs, read_jobs
from nightspot.plan.planning import Known, ResumedRun, create_training_job, plan_run, split
from nightspot.record.summary import summarise
from nightspot.run.model import Progress, run_from_json, to_json

ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot-recommender:night-1"
WANDB = {"wandb": {"project": "recommender", "entity": "our-team"}}
PAGE = "https://mlflow.example.com/#/experiments/1/runs/53bc4d89"


@pytest.fixture
def plan(story):
    def planned(tracking=None, resumed=None, **request):
        job = Job.model_validate(
            {
                "name": "recommender",
                "deadline": {"within": "8h"},
                "work": "4h",
                "capacity": {"spot": ["ml.p4d.24xlarge"], "on_demand": ["ml.p4d.24xlarge"]},
                "training_job": {**story.run().training_job, **request},
                "tracking": tracking,
            }
        )
        # As it is deployed.
        job = read_jobs(dump_jobs({"recommender": job}))["recommender"]
        known = Known(price=lambda _type, _region: 33.0)
        return plan_run(
            job,
            started_at=story.midnight,
            execution_arn=ARN,
            region="eu-west-1",
            known=known,
            resumed=resumed,
        )

    return planned


def environment_of(run, attempt):
    rung = run.rungs[0]
    changed, fixed = split(run.training_job)
    request = create_training_job(replace(run, training_job=changed), rung, attempt, run.started_at)
    return {**fixed.get("Environment", {}), **request["Environment"]}


def test_every_attempt_has_the_same_run_of_wandb(plan):
    run = plan(WANDB, Environment={"WANDB_MODE": "online"})
    first, third = environment_of(run, 1), environment_of(run, 3)

    assert first | {"NIGHTSPOT_ATTEMPT": "3"} == third
    assert {name: value for name, value in first.items() if name.startswith("WANDB")} == {
        "WANDB_MODE": "online",
        "WANDB_RUN_ID": run.run_id,
        "WANDB_RESUME": "allow",
        "WANDB_NAME": f"recommender-{run.run_id}",
        "WANDB_RUN_GROUP": "recommender",
        "WANDB_PROJECT": "recommender",
        "WANDB_ENTITY": "our-team",
    }
    assert run.trackers == {"wandb": f"https://wandb.ai/our-team/recommender/runs/{run.run_id}"}


def test_a_server_of_one_s_own_and_a_name_with_a_space_are_in_variables_and_link(plan):
    given = {"project": "click model", "entity": "our-team", "url": "https://wandb.example.com/"}
    run = plan({"wandb": given})

    assert environment_of(run, 1)["WANDB_BASE_URL"] == "https://wandb.example.com"
    assert run.trackers["wandb"] == f"https://wandb.example.com/our-team/click%20model/runs/{run.run_id}"


def test_mlflow_is_told_server_experiment_and_the_run_as_tags(plan):
    run = plan({"mlflow": {"uri": "https://mlflow.example.com", "experiment": "nightly"}})
    environment = environment_of(run, 2)

    assert environment["MLFLOW_TRACKING_URI"] == "https://mlflow.example.com"
    assert environment["MLFLOW_EXPERIMENT_NAME"] == "nightly"
    assert environment["SERVERLESS_GPU_COMPUTE_ASSOCIATED_JOB_RUN_ID"] == run.run_id
    assert json.loads(environment["MLFLOW_RUN_CONTEXT"]) == {
        "nightspot.run_id": run.run_id,
        "nightspot.job": "recommender",
        "mlflow.runName": f"recommender-{run.run_id}",
    }
    assert run.trackers == {}  # the container alone knows which run it is


@pytest.mark.parametrize("tracking", [{"wandb": {}}, {"wandb": {"project": "p"}}], ids=["nothing", "project"])
def test_where_the_container_says_the_rest_there_is_no_page_yet(plan, tracking):
    run = plan(tracking)

    assert run.trackers == {}
    assert environment_of(run, 1)["WANDB_RUN_ID"] == run.run_id
    assert "WANDB_ENTITY" not in environment_of(run, 1)


def test_without_tracking_nothing_is_added(plan):
    environment = environment_of(plan(), 1)

    assert not [name for name in environment if name.startswith(("WANDB", "MLFLOW"))]


def test_the_variables_fit_what_wandb_takes_as_an_id(plan):
    run_id = environment_of(plan(WANDB), 1)["WANDB_RUN_ID"]

    # https://docs.wandb.ai: at most 64 characters, and none of these.
    assert len(run_id) <= 64
    assert not set(run_id) & set(":;,#?/'")


def test_the_record_has_the_page_that_the_container_says_and_the_job_file_has_the_last_word(plan, story):
    said = {"mlflow": PAGE, "wandb": "https://phishing.example.com/"}
    progress = Progress(step=4, saved_at=story.at("01:00"), trackers=said)
    run = replace(plan({**WANDB, "mlflow": {}}), progress=progress)

    assert summarise(run).trackers == {"mlflow": PAGE, **run.trackers}
    assert summarise(run_from_json(to_json(run))).trackers == {"mlflow": PAGE, **run.trackers}


def test_a_run_that_goes_on_from_another_has_not_that_one_s_page(plan, story):
    before = plan({"mlflow": {}})
    progress = Progress(step=4, saved_at=story.at("01:00"), trackers={"mlflow": PAGE})
    run = plan({"mlflow": {}}, resumed=ResumedRun(before, progress, is_empty=False))

    assert run.progress.step == 4
    assert summarise(run).trackers == {}


def test_a_ledger_from_before_there_were_trackers_is_read(plan):
    ledger = {name: value for name, value in to_json(plan(WANDB)).items() if name != "trackers"}

    assert run_from_json(ledger).trackers == {}


def test_the_names_of_tracking_are_those_that_a_progress_file_may_have():
    from nightspot.run.progress_file import TRACKERS

    assert set(TRACKERS) == set(Tracking.model_fields)
