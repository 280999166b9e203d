"""`show`, `watch`, `logs`, `runs`, `report` of every kind of run, whole or torn: words or JSON, no traceback."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from moto import mock_aws

from nightspot.aws.runs import operating
from nightspot.aws.table.run_table import RunTable
from nightspot.cli import account
from nightspot.cli._shared import ExitStatus
from nightspot.cli.account import Aws
from nightspot.cli.runs import watch
from nightspot.failures.codes import FailureClass
from nightspot.job.reading import load_job
from nightspot.local.stage import records, staging
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.local.stage.night_files import NIGHTS
from nightspot.record import summary as pages_record
from nightspot.run.model import Action, AttemptState, Outcome, Phase, Step
from tests import records as past_records

ENDED = records.Ended(execution_status="SUCCEEDED", dead_letters=0, real_seconds=9.0, state_transitions=45)
KINDS = [
    "succeeded",
    "succeeded without a price",
    "failed",
    "refused by the lock",
    "skipped",
    "without an attempt",
    "stopped",
    "crashed",
    "going on",
    "just planned",
]
COMMANDS = [("show",), ("watch",), ("logs",), ("runs",), ("report", "--out", "page.html")]
JSON = {"report": ("--format", "json")}


def run_of(kind, story):
    user_code = story.ended(
        FailureClass.USER_CODE, status="Failed", failure_reason="AlgorithmError: \x1b[31mno"
    )
    waited = story.ended(FailureClass.WAIT_LIMIT, status="Stopped", waited_seconds=7200.0)
    completed = story.ended(None, status="Completed", trained_seconds=9000.0, billable_seconds=2700.0)
    no_price = replace(completed, rung=replace(story.spot, usd_per_hour=None))
    fields = {
        "succeeded": {"attempts": (completed,), "outcome": Outcome.SUCCEEDED},
        "succeeded without a price": {"attempts": (no_price,), "outcome": Outcome.SUCCEEDED},
        "failed": {"attempts": (user_code,), "outcome": Outcome.FAILED, "outcome_because": "A ValueError."},
        "refused by the lock": {"outcome": Outcome.REFUSED, "outcome_because": "Another run holds the job."},
        "skipped": {"attempts": (waited,), "outcome": Outcome.SKIPPED, "outcome_because": "No Spot."},
        "without an attempt": {"outcome": Outcome.FAILED, "outcome_because": "The budget is too small."},
        "stopped": {"attempts": (story.training(since="01:00"),), "outcome": Outcome.STOPPED},
        "crashed": {"attempts": (story.attempt(),), "outcome": Outcome.FAILED, "crashed": True},
        "going on": {"attempts": (story.training(since="01:00"),)},
        "just planned": {},
    }[kind]
    return story.run(steps=1, **fields)


def steps_of(run, story):
    if not run.attempts and run.outcome is None:
        return ()
    action = Action.FINISH if run.outcome else Action.START
    number = run.attempts[-1].number if run.attempts else None
    progress = story.progress(12, "02:00", fraction=0.5, metrics={"loss": 0.4})
    return (Step(1, story.at("02:01"), action, "Because.", attempt=number, progress=progress),)


@pytest.fixture
def local_record(root, story):
    """`local_record(kind)`: as `nightspot run --local` keeps it."""
    job = load_job(root / "jobs" / "recommender.yaml")
    places = {"job_file": "jobs/recommender.yaml", "scratch": "build/demo"}
    played = staging.facts(job, NIGHTS["quiet"], story.midnight, **places)
    recorded_at = story.at("09:00")

    def make(kind):
        if kind == "refused input":
            return records.record_of(
                played, None, ENDED.model_copy(update={"cause": "job: 7"}), recorded_at
            ).to_json()
        run = run_of(kind, story)
        phases = {1: (Phase(AttemptState.TRAINING, story.at("01:00")),)} if run.attempts else {}
        record = pages_record.record_of(run, steps_of(run, story), phases)
        return records.record_of(played, record, ENDED, recorded_at).to_json()

    return make


def check(nightspot, *place):
    """All commands about the newest run: text, then JSON that parses."""
    for name, *options in COMMANDS:
        answer = nightspot(name, *place, *options)
        assert answer.status in {*range(7), ExitStatus.STILL_RUNNING, ExitStatus.INTERRUPTED}, name
        assert answer.out + answer.err, name
        assert "\x1b" not in answer.out, name
        as_json = nightspot(name, *place, *JSON.get(name, ("--json",))).out
        lines = as_json.splitlines() if name == "watch" else [as_json]
        assert all(json.loads(line) for line in lines), name


@pytest.mark.parametrize("kind", [*KINDS, "refused input"])
def test_a_local_run_of_every_kind_is_shown(nightspot, local_record, tmp_path, kind):
    path = past_records.keep(tmp_path / "build" / "runs", local_record(kind))
    check(nightspot)
    for command in ("show", "watch", "logs"):
        assert nightspot(command, path.stem).out == nightspot(command).out


@pytest.mark.parametrize("kind", KINDS)
def test_a_deployed_run_of_every_kind_is_shown(nightspot, story, monkeypatch, kept_client, kind):
    with mock_aws():
        create_resources(())
        run = run_of(kind, story)
        table = RunTable(kept_client("dynamodb", region_name=REGION), TABLE)
        table.record_plan(run)
        for step in steps_of(run, story):
            table.record_step(run, run, step)
        if run.outcome is not None:
            table.record_outcome(run)
        found = Aws(REGION, lambda service: kept_client(service, region_name=REGION), None)
        monkeypatch.setattr(account, "aws_of", lambda _profile, _region: found)
        monkeypatch.setattr(operating, "training_logs", lambda _client, _name: iter(()))
        monkeypatch.setattr(watch, "sleep", interrupt)
        check(nightspot, "--table", TABLE)
        # There is no workflow and no training job behind the table; moto cannot stop one.
        for command in (("retry",), *([("stop", "--no-wait")] if kind != "going on" else [])):
            answer = nightspot(*command, run.run_id, "--table", TABLE, "--yes", "--json")
            assert json.loads(answer.out) if answer.status == 0 else "error: run: " in answer.err


def interrupt(_seconds):
    raise KeyboardInterrupt


def test_the_header_says_the_work_that_was_expected_and_not_the_work_that_was_done(
    nightspot, local_record, tmp_path
):
    record = local_record("succeeded")
    assert (record["expected_work_seconds"], record["work_seconds"]) == (14_400.0, 9000.0)
    past_records.keep(tmp_path / "build" / "runs", record)
    told = " ".join(nightspot("show").out.split())
    assert "4 h of work expected, start 2026-11-21 00:00 UTC, model due by 08:00 UTC." in told


@pytest.mark.parametrize("kind", ["succeeded", "failed"])
def test_a_record_from_before_the_two_were_told_apart_says_nothing_of_the_work(
    nightspot, local_record, tmp_path, kind
):
    record = local_record(kind)
    del record["expected_work_seconds"]
    past_records.keep(tmp_path / "build" / "runs", record)
    answer = nightspot("show")
    assert (answer.status, "of work expected" in answer.out) == (0, False)
    assert "): start 2026-11-21 00:00 UTC, model due by 08:00 UTC." in " ".join(answer.out.split())


def test_the_newest_run_is_the_one_that_was_recorded_last_whatever_its_story_says(
    nightspot, local_record, tmp_path, root
):
    """Five runs of a day: the first began its story some seconds later than the others, the last one earliest."""
    folder, names = tmp_path / "build" / "runs", []
    for number in range(5):
        record = {
            **local_record("succeeded"),
            "recorded_at": f"2026-11-21T09:0{number}:00+00:00",
            "started_at": f"2026-11-21T00:00:{50 - number}+00:00",
            "story": f"This is run {number}.",
        }
        names.append(past_records.keep(folder, record).stem)
    for seconds, name in enumerate(reversed(names)):
        os.utime(folder / f"{name}.json", (seconds, seconds))  # as after a copy
    assert [each["run_id"] for each in json.loads(nightspot("runs", "--json").out)["runs"]] == names[::-1]
    for command in ("show", "watch"):
        assert "This is run 4." in nightspot(command).out
    assert json.loads(nightspot("logs", "--json").out)["run_id"] == names[-1]
    assert json.loads(nightspot("report", "--format", "json").out)["story"] == "This is run 4."
    jobs = json.loads(nightspot("jobs", root / "jobs", "--local", "--json").out)["jobs"]
    assert [job["last_run"]["run_id"] for job in jobs if job["last_run"]] == [names[-1]]
    assert f"the newest are {', '.join(names[::-1])}" in nightspot("show", "elsewhere").err


def test_records_of_older_versions_stand_by_the_time_of_their_file(nightspot, local_record, tmp_path):
    for number, seconds in enumerate((2000, 3000, 1000)):
        record = {**local_record("succeeded"), "run_id": f"run-{number}"}
        del record["recorded_at"]
        os.utime(past_records.keep(tmp_path / "build" / "runs", record), (seconds, seconds))
    runs = json.loads(nightspot("runs", "--json").out)["runs"]
    assert [each["run_id"] for each in runs] == ["run-1", "run-0", "run-2"]


def test_a_folder_of_records_is_listed_once(nightspot, local_record, tmp_path, monkeypatch):
    text = json.dumps(local_record("succeeded"))
    folder = tmp_path / "build" / "runs"
    folder.mkdir(parents=True)
    for number in range(50):
        (folder / f"run-{number}.json").write_text(text)
    listed, glob = [], Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: listed.append(pattern) or glob(self, pattern))
    assert len(json.loads(nightspot("runs", "--limit", "99", "--json").out)["runs"]) == 50
    assert listed == ["*.json"]


TORN = {
    "nothing": b"",
    "half a record": b'{"simulated": true, "run_id": "2026',
    "a list": b"[]",
    "an empty mapping": b"{}",
    "another program's": b'{"version": 2, "data": [1, 2]}',
    "no text": b"\xff\xfe\x00",
    "nested without end": b"[" * 100_000,
    "a number without end": b'{"cost_usd": ' + b"1" * 5000 + b"}",
}


@pytest.mark.parametrize("torn", TORN)
def test_a_file_that_is_no_record_is_named_and_the_others_are_shown(nightspot, local_record, tmp_path, torn):
    path = tmp_path / "build" / "runs" / "torn.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(TORN[torn])
    for command in COMMANDS:
        alone = nightspot(*command)
        assert alone.status == (0 if command == ("runs",) else 1)
        assert "build/runs/torn.json: " in alone.err
    past_records.keep(path.parent, local_record("succeeded"))
    os.utime(path)  # the last written
    for command in COMMANDS:
        answer = nightspot(*command)
        assert answer.status == 0
        assert "left out: build/runs/torn.json: " in answer.err


def paths_of(value, path=()):
    """Every place in a record, that of lists by their first and last entry."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    entries = list(inner)
    for key, child in entries if isinstance(value, dict) else entries[:1] + entries[1:][-1:]:
        yield from paths_of(child, (*path, key))


GONE = object()
ODD = [
    None,
    "x",
    "",
    -1,
    0,
    1e308,
    10**400,
    True,
    [],
    {},
    [{}],
    "\ud800",
    "0001-01-01T00:00:00+23:59",
    "\x1b[2J",
    7,
]


def test_whatever_stands_in_a_field_is_shown_or_refused_by_name(nightspot, root, tmp_path):
    """One field at a time of a recorded run has a value that nobody would write there, or is missing."""
    record = json.loads((root / "tests" / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))
    file = tmp_path / "build" / "runs" / "20261121-d74a4a.json"
    file.parent.mkdir(parents=True)
    commands = (("show",), ("watch",), ("logs",), ("runs",), ("watch", "--json"))
    refused = 0
    for number, path in enumerate(path for path in paths_of(record) if path):
        odd = deepcopy(record)
        place = odd
        for key in path[:-1]:
            place = place[key]
        value = ODD[number % len(ODD)]
        if value is GONE and isinstance(place, dict):
            del place[path[-1]]
        else:
            place[path[-1]] = None if value is GONE else value
        file.write_text(json.dumps(odd), encoding="utf-8")
        # Whatever is not a clean exit fails here, see `Answer`.
        answer = nightspot(*commands[number % len(commands)])
        assert "\x1b" not in answer.out, path
        refused += answer.status == 1
    assert refused > 20
