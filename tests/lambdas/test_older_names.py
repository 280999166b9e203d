"""A run that was planned before there were environments goes on under its names in a deployment that has one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.training_jobs import Stopper, StopState
from nightspot.run.model import run_from_json
from tests.lambdas.conftest import MIDNIGHT, World


@pytest.fixture
def older(emulated_aws, world):
    """(the world of a deployment called prod, the ledger of a run that it took over)"""
    before = world.plan()["run"]
    del before["environment"]
    now = World("prod", world.dynamodb)
    return now, before


def first_of(run):
    return run_from_json(run).attempts[0].training_job_name


def news(name, status, secondary, at=MIDNIGHT):
    return {
        "TrainingJobName": name,
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "LastModifiedTime": int(at.timestamp() * 1000),
    }


def test_it_asks_for_training_jobs_by_the_names_that_it_began_with(older):
    world, before = older
    asked = world.decide(before)
    run = run_from_json(asked["run"])
    assert first_of(asked["run"]) == f"nightspot-recommender-{run.run_id}-1"
    assert not [tag for tag in asked["step"]["request"]["Tags"] if tag["Key"] == "nightspot:environment"]


def test_its_next_training_job_too(older):
    world, before = older
    asked = world.decide(before)["run"]
    failed = (("Starting", MIDNIGHT), ("Failed", MIDNIGHT + timedelta(minutes=5)))
    why = "CapacityError: Unable to provision requested ML compute capacity. Please retry."
    world.sagemaker.shows(first_of(asked), "Failed", *failed, FailureReason=why)
    world.pass_time(minutes=6)
    again = world.decide(asked)
    while again["step"]["action"] == "pause":
        world.pass_time(seconds=again["step"]["wait_seconds"])
        again = world.decide(again["run"])
    second = run_from_json(again["run"]).attempts[1]
    assert second.training_job_name == f"nightspot-recommender-{run_from_json(asked).run_id}-2"


def test_it_is_woken_and_its_end_is_seen(older):
    world, before = older
    asked = world.decide(before)["run"]
    world.begin_to_wait(first_of(asked), "token")
    assert world.wake(**news(first_of(asked), "InProgress", "Training"))
    assert world.step_functions.returned == ["token"]


def test_it_is_stopped_by_a_person(older):
    world, before = older
    asked = world.decide(before)["run"]
    world.sagemaker.shows(first_of(asked), "InProgress", ("Starting", MIDNIGHT))
    stopper = Stopper(world.table, world.sagemaker, Executions(world.step_functions))
    assert stopper.ask(run_from_json(asked).run_id, by="ann").state is not StopState.OVER
    assert world.sagemaker.stops == [first_of(asked)]


def test_a_run_that_the_same_deployment_plans_has_the_environment_in_its_names(older):
    world, _ = older
    planned = world.plan(execution="arn:aws:states:eu-west-1:123456789012:execution:nightspot:two")["run"]
    assert planned["environment"] == "prod"
