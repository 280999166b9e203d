"""Requests to the API with an Idempotency-Key: the same key and request are one run, whatever comes in between."""

from __future__ import annotations

import dataclasses

import pytest

from nightspot.formats.run_ids import first_run_id_of
from nightspot.plan import planning
from nightspot.run.model import Outcome, run_from_json, to_json

START = "/jobs/recommender/runs"


def test_the_same_key_and_request_are_one_run(api):
    first = api.ask("POST", START, {"market": "spot"}, idempotency_key="build 7")
    again = api.ask("POST", START, {"market": "spot"}, idempotency_key="build 7")
    assert (first.status, again.status) == (202, 202)
    assert again.json == {**first.json, "is_new": False}
    assert len(api.machine.started) == 1


def test_the_same_key_with_another_request_is_refused(api):
    api.ask("POST", START, {"market": "spot"}, idempotency_key="build 7")
    answer = api.ask("POST", START, idempotency_key="build 7")
    assert (answer.status, answer.json["type"]) == (409, "urn:nightspot:problem:key-is-taken")
    assert len(api.machine.started) == 1


def test_without_a_key_every_request_is_a_run(api):
    first, second = api.ask("POST", START), api.ask("POST", START)
    assert first.json["run_id"] != second.json["run_id"]


@pytest.mark.parametrize("key", ["", "é", "a\tb", "k" * 129])
def test_a_key_must_be_printable_and_not_too_long(api, key):
    answer = api.ask("POST", START, idempotency_key=key)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert not api.machine.started


def test_a_key_finds_its_own_run_again_while_that_goes_on(api, world):
    first = api.ask("POST", START, idempotency_key="build 7").json
    world.plan(api.machine.inputs[0], execution=first["execution_arn"])
    again = api.ask("POST", START, idempotency_key="build 7")
    assert (again.status, again.json["run_id"], again.json["is_new"]) == (202, first["run_id"], False)


def test_a_key_finds_its_own_run_again_though_another_one_of_the_job_goes_on(api, world):
    first = api.ask("POST", START, idempotency_key="build 7").json
    scheduled = world.plan()["run"]["run_id"]
    again = api.ask("POST", START, idempotency_key="build 7")
    assert (again.status, again.json) == (202, {**first, "is_new": False})
    refused = api.ask("POST", START, idempotency_key="build 8")
    assert (refused.status, refused.json["run"]) == (409, f"/runs/{scheduled}")


def test_a_key_finds_the_run_that_it_started_before_an_update_of_the_code(api, world, monkeypatch):
    first = api.ask("POST", START, idempotency_key="build 7").json
    monkeypatch.setattr(planning, "run_id_of", first_run_id_of)
    run_id = world.plan(api.machine.inputs[0], execution=first["execution_arn"])["run"]["run_id"]
    assert run_id != first["run_id"]
    again = api.ask("POST", START, idempotency_key="build 7")
    assert (again.status, again.json["run_id"], again.json["is_new"]) == (202, run_id, False)
    assert again.json["links"]["self"] == f"/runs/{run_id}"


def test_a_key_of_another_request_is_called_taken_though_a_run_goes_on(api, world):
    api.ask("POST", START, {"market": "spot"}, idempotency_key="build 7")
    world.plan()
    answer = api.ask("POST", START, idempotency_key="build 7")
    assert (answer.status, answer.json["type"]) == (409, "urn:nightspot:problem:key-is-taken")


@pytest.mark.parametrize("what", ["start", "retry"])
def test_a_key_finds_a_run_that_step_functions_does_not_show_at_once(
    api, world, failed, monkeypatch, aws_fault, what
):
    """DescribeExecution may be some seconds behind, and the run on record by then."""
    world.record({**to_json(failed), "prefix_locked": False})
    address = START if what == "start" else f"/runs/{failed.run_id}/retry"
    first = api.ask("POST", address, idempotency_key="build 7").json
    world.plan(api.machine.inputs[0], execution=first["execution_arn"])
    behind = iter([aws_fault("ExecutionDoesNotExist")])
    describe = api.machine.describe_execution

    def sometimes(**arguments):
        if (error := next(behind, None)) is not None:
            raise error
        return describe(**arguments)

    monkeypatch.setattr(api.machine, "describe_execution", sometimes)
    again = api.ask("POST", address, idempotency_key="build 7")
    assert (again.status, again.json["run_id"]) == (202, first["run_id"])


@pytest.mark.parametrize("progress", ["nothing on record", "going on", "over"])
def test_a_pipeline_that_starts_and_then_waits_with_one_key_has_one_run(api, world, progress):
    """As the CI examples do: once for the id, and once more, as another session, to wait."""
    first = api.ask("POST", START, {"market": "spot"}, idempotency_key="pipeline 41").json
    if progress != "nothing on record":
        run = run_from_json(world.plan(api.machine.inputs[0], execution=first["execution_arn"])["run"])
    if progress == "over":
        world.table.record_outcome(dataclasses.replace(run, steps=1, outcome=Outcome.SUCCEEDED))
        api.machine.over.add(first["execution_arn"])
    world.pass_time(seconds=20)
    api.CALLER = f"{api.CALLER}-second-step"
    again = api.ask("POST", START, {"market": "spot"}, idempotency_key="pipeline 41")
    assert (again.status, again.json) == (202, {**first, "is_new": False})
    assert len(api.machine.started) == 1
