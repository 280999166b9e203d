"""The index of unfinished runs: noted once, taken on by one execution, forgotten when nothing is left."""

from __future__ import annotations

from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from nightspot.aws.table.open_runs import OpenRun
from nightspot.aws.table.run_table import RunTable
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import Action, Outcome, Step

FIRST, SECOND, THIRD = (
    f"arn:aws:states:eu-west-1:123456789012:execution:nightspot:{name}" for name in ("one", "two", "three")
)


@pytest.fixture
def table():
    with mock_aws():
        create_resources([])
        yield RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)


@pytest.fixture
def run(story):
    return story.run(execution_arn=FIRST)


def test_a_planned_run_is_open_and_says_which_execution_has_it(table, run):
    assert table.open_runs.all() == []
    table.record_plan(run)
    noted = OpenRun(run.run_id, "recommender", FIRST, run.started_at)
    assert table.open_runs.all() == [noted]
    assert table.open_runs.get(run.run_id) == noted
    assert table.open_runs.get("20261121-ffffff") is None


def test_a_run_whose_plan_is_not_whole_cannot_be_gone_on_with(table, run):
    table.record_promise(run)
    assert table.run(run.run_id) == run
    assert table.summary(run).outcome == "running"
    assert (table.open_runs.all(), table.request(run.run_id)) == ([], None)


def test_the_request_is_kept_beside_the_ledger(table, run):
    table.record_plan(run, {"HyperParameters": {"epochs": "3"}, "Tags": [{"Key": "team", "Value": "x"}]})
    assert table.request(run.run_id) == {
        "HyperParameters": {"epochs": "3"},
        "Tags": [{"Key": "team", "Value": "x"}],
    }
    table.record_plan(replace(run, run_id="20261121-abc124"))
    assert table.request("20261121-abc124") == run.training_job


def test_the_next_start_notes_a_run_that_an_older_version_planned(table, run, story):
    def step(action):
        return Step(1, story.midnight, action, "because", attempt=1)

    table.record_step(run, replace(run, steps=1), step(Action.WATCH))
    assert table.open_runs.all() == []
    table.record_step(run, replace(run, steps=1), step(Action.START))
    assert [each.run_id for each in table.open_runs.all()] == [run.run_id]


def test_of_two_executions_that_take_a_run_on_one_has_it(table, run):
    table.record_plan(run)
    assert table.open_runs.take_on(run, SECOND, from_arn=FIRST)
    assert not table.open_runs.take_on(run, THIRD, from_arn=FIRST)
    # The answer of the first may have been lost.
    assert table.open_runs.take_on(run, SECOND, from_arn=FIRST)
    assert table.open_runs.get(run.run_id).execution_arn == SECOND


def test_a_late_write_of_the_plan_gives_the_run_back_to_nobody(table, run):
    table.record_plan(run)
    table.open_runs.take_on(run, SECOND, from_arn=FIRST)
    table.record_plan(run)
    assert table.open_runs.get(run.run_id).execution_arn == SECOND


def test_a_run_that_nobody_had_noted_can_be_taken_on(table, run):
    assert table.open_runs.take_on(run, SECOND, from_arn=FIRST)
    assert table.open_runs.get(run.run_id).execution_arn == SECOND


def test_what_is_forgotten_is_gone_and_may_be_forgotten_twice(table, run):
    table.record_plan(run)
    other = replace(run, run_id="20261120-abc123")
    table.record_plan(other)
    table.open_runs.forget(run.run_id)
    table.open_runs.forget(run.run_id)
    assert [each.run_id for each in table.open_runs.all()] == [other.run_id]


def test_more_runs_than_a_page_holds_are_all_found(table, run, monkeypatch):
    for number in range(5):
        table.record_plan(replace(run, run_id=f"20261121-abc12{number}"))
    real = table.open_runs._call
    monkeypatch.setattr(table.open_runs, "_call", lambda op, **given: real(op, **given, Limit=2))
    assert len(table.open_runs.all()) == 5


def test_the_summary_is_read_by_its_own_key(table, run):
    assert table.summary(run) is None
    table.record_plan(run)
    over = replace(run, steps=2, outcome=Outcome.FAILED, outcome_because="x.")
    table.record_outcome(over)
    assert table.summary(run).because == "x."


def test_the_last_step_is_the_newest(table, run, story):
    assert table.last_step(run.run_id) is None
    for number in (1, 2, 10):
        step = Step(number, story.midnight, Action.WATCH, f"because {number}", attempt=1)
        table.record_step(run, replace(run, steps=number), step)
    assert table.last_step(run.run_id).because == "because 10"
