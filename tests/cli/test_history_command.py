"""`nightspot history`: what is learnt from which run, and what is forgotten."""

import json

import boto3
import pytest

from nightspot.aws.table.run_table import RunTable
from nightspot.cli import account
from nightspot.cli.account import Aws
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import AttemptState, Outcome
from tests import records as past_records

TYPE = "ml.p4d.24xlarge"


def record(number, hours, **fields):
    attempt = {
        "number": 1,
        "training_job_name": f"job-{number}",
        "market": "spot",
        "instance_type": TYPE,
        "instance_count": 1,
        "asked_at": f"2026-11-{number:02d}T00:00:10+00:00",
        "status": "Completed",
        "queued_seconds": 120.0,
        "ready_seconds": 400.0,
        "trained_seconds": hours * 3600 + 300,
        "starting_seconds": 300.0,
        "repeated_seconds": 0.0,
        "repeated_evidence": "measured",
    }
    return {
        "job": "recommender",
        "run_id": f"202611{number:02d}-abc123",
        "started_at": f"2026-11-{number:02d}T00:00:00+00:00",
        "recorded_at": f"2026-11-{number:02d}T08:00:00+00:00",
        "outcome": "succeeded",
        "deadline_met": True,
        "work_key": "k",
        "simulated": True,
        "spot_first": True,
        "time_scale": 480.0,
        "attempts": [attempt],
        "steps": [],
        **fields,
    }


@pytest.fixture
def nights(tmp_path, good_job):
    """Seven nights of four hours, one of eight, and one with other work."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "recommender.yaml").write_text(good_job, encoding="utf-8")
    folder = tmp_path / "build" / "runs"
    for number in range(1, 8):
        past_records.keep(folder, record(number, 4.0 + number / 100))
    past_records.keep(folder, record(8, 8.0))
    past_records.keep(
        folder, record(9, 1.0, work_key="other", overrides={"hyperparameters": {"epochs": "6"}})
    )
    return folder


def test_it_says_what_is_planned_with_and_which_run_says_so(nightspot, nights):
    answer = nightspot("history", "recommender")
    assert answer.status == 0, answer.err
    told = " ".join(answer.out.split())
    assert "recommender: what 9 runs in build/runs teach" in told
    assert "8 runs;" in told
    assert "20261107-abc123 sets" in told
    assert "20261108-abc123, far above" in told
    assert "20261108-abc123 8 November 2026 8 h on ml.p4d.24xlarge" in told
    assert "other work: algorithm, channels, hyperparameters or `work` differ" in told


def test_json_has_the_same_figures(nightspot, nights):
    shown = json.loads(nightspot("history", "jobs/recommender.yaml", "--json").out)
    assert shown["work"]["stated_seconds"] == 14_400
    assert shown["work"]["planned_seconds"] <= 4.9 * 3600
    assert shown["work"]["limited_by_run"] == "20261107-abc123"
    assert shown["work"]["odd_runs"] == ["20261108-abc123"]
    spot = shown["rungs"][0]
    assert (spot["market"], spot["starts"], spot["start_seconds"]) == ("spot", 9, 400)
    assert [run["same_work"] for run in shown["runs"]] == [False, *[True] * 8]


def test_a_forgotten_run_stays_on_record_and_teaches_nothing(nightspot, nights):
    assert nightspot("history", "recommender", "--forget", "20261108-abc123").status == 0
    shown = json.loads(nightspot("history", "recommender", "--json").out)
    assert shown["work"]["odd_runs"] == []
    assert {run["run_id"]: run["forgotten"] for run in shown["runs"]}["20261108-abc123"] is True
    assert nightspot("show", "20261108-abc123").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["ranking"], 2, "JOB: 'ranking': is no job of jobs/; it has recommender"),
        (["recommender", "--forget", "x"], 1, "run: 'x': is not in build/runs"),
        (["recommender", "--from-folder", "nowhere"], 1, "has no record of it"),
    ],
    ids=["no-such-job", "no-such-run", "no-records"],
)
def test_what_is_not_there_is_named(nightspot, nights, arguments, status, words):
    answer = nightspot("history", *arguments)
    assert (answer.status, words in answer.err) == (status, True), answer.err


def test_a_deployed_run_is_forgotten_in_its_table_for_good(
    nightspot, nights, emulated_aws, monkeypatch, story
):
    create_resources(())
    client = boto3.client("dynamodb", region_name=REGION)
    table = RunTable(client, TABLE)
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, lambda _service: client, profile)
    )
    attempt = story.attempt(state=AttemptState.ENDED, status="Completed", trained_seconds=60.0)
    run = story.run(attempts=(attempt,), steps=4, outcome=Outcome.SUCCEEDED)
    table.record_outcome(run)
    answer = nightspot("history", "recommender", "--table", TABLE, "--forget", run.run_id)
    assert answer.status == 0, answer.err
    assert [past.forgotten for past in table.history("recommender")] == [True]
    table.record_outcome(table.run(run.run_id))  # a bill that came late
    assert [past.forgotten for past in table.history("recommender")] == [True]


def test_a_run_that_goes_on_is_not_forgotten(nightspot, nights, emulated_aws, monkeypatch, story):
    create_resources(())
    client = boto3.client("dynamodb", region_name=REGION)
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, lambda _service: client, profile)
    )
    run = story.run()
    RunTable(client, TABLE).record_plan(run)
    answer = nightspot("history", "recommender", "--table", TABLE, "--forget", run.run_id)
    assert answer.status == 2
    assert "must be over, and it is still running" in answer.err
