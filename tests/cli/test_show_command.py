"""`nightspot show`, and the records it shows."""

import json
import os
from datetime import UTC, datetime

import pytest

from nightspot.local.stage import records
from nightspot.record.model import read_as
from tests import records as past_records

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "terminal" / "bad_night.json").read_text(encoding="utf-8"))


def keep(directory, record, name, seconds):
    path = past_records.keep(directory, {**record, "run_id": name})
    os.utime(path, (seconds, seconds))
    return path


def test_the_newest_record_is_shown_by_default(nightspot, tmp_path, record):
    keep(tmp_path / "build" / "runs", {**record, "night": "older"}, "b", 1000)
    keep(tmp_path / "build" / "runs", {**record, "night": "newer"}, "a", 2000)
    answer = nightspot("show")
    assert answer.status == 0
    assert "newer: Spot is empty" in answer.out


def test_a_record_is_shown_with_decisions_attempts_and_totals(nightspot, tmp_path, record):
    keep(tmp_path / "records", record, record["run_id"], 1000)
    answer = nightspot("show", record["run_id"], "--records", "records")
    assert "FALLBACK: START on-demand ml.p4d.24xlarge as job 2" in answer.out
    assert "2  on-demand  ml.p4d.24xlarge" in answer.out
    assert "37.2 % saved" in answer.out


def test_a_record_is_shown_with_what_it_is_compared_with_and_how_it_could_be_too_high(
    nightspot, tmp_path, record
):
    compared = {"yardstick": "ml.p4d.24xlarge", "yardstick_in_time": True, "repeated_evidence": "estimated"}
    keep(tmp_path / "records", {**record, **compared}, record["run_id"], 1000)
    said = " ".join(nightspot("show", "--records", "records").out.split())
    assert "on-demand alone (ml.p4d.24xlarge) would have cost $127.19" in said
    assert "Caution The saving could be too high: its repeated work is an estimate; a cheaper type" in said


STEERING = "x\x1b[2J\x1b]0;owned\x07\u202e\u200b\x9b1Ay\x00"


def test_what_a_record_says_does_not_steer_the_terminal(nightspot, tmp_path, record):
    """Of a version that redacted less, or of a table that somebody else writes to."""
    for step in record["steps"]:
        step["because"] = STEERING
    for attempt in record["attempts"]:
        attempt["instance_type"] = STEERING
    hostile = {**record, "because": STEERING, "metrics": {STEERING: 1.0}, "model_artifact": STEERING}
    keep(tmp_path / "records", {**hostile, "outcome": "failed"}, "a", 1000)
    answer = nightspot("show", "--records", "records")
    assert answer.status == 0
    assert "none (failed). xy" in answer.out
    assert [c for c in answer.out + answer.err if not c.isprintable() and c != "\n"] == []


def test_json_is_the_record_itself(nightspot, tmp_path, record):
    keep(tmp_path / "records", record, record["run_id"], 1000)
    shown = json.loads(nightspot("show", "--records", "records", "--json").out)
    assert shown == read_as(records.LocalRecord, record).to_json()


def test_an_unknown_run_is_answered_with_the_newest_few(nightspot, tmp_path, record):
    for number in range(7):
        keep(tmp_path / "records", record, f"run-{number}", 1000 + number)
    answer = nightspot("show", "elsewhere", "--records", "records")
    assert answer.status == 1
    assert (
        "run: 'elsewhere': is not in records; the newest are run-6, run-5, run-4, run-3, run-2" in answer.err
    )
    assert "run-1" not in answer.err


def test_no_record_yet_says_how_to_make_one(nightspot):
    answer = nightspot("show")
    assert answer.status == 1
    assert "run: nothing: build/runs has no run; `nightspot demo` makes one" in answer.err


def test_a_name_cannot_lead_out_of_the_directory(nightspot, tmp_path, record):
    keep(tmp_path, record, "outside", 1000)
    keep(tmp_path / "records", record, "inside", 1000)
    assert "is not in records" in nightspot("show", "../outside", "--records", "records").err


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"simulated": true}', "\ufeff"])
def test_a_file_that_is_no_record_is_named(nightspot, tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    answer = nightspot("show", "--records", ".")
    assert answer.status == 1
    assert "error: x.json: " in answer.err


def test_a_second_run_of_the_same_id_does_not_replace_the_first(tmp_path, record):
    paths = [past_records.keep(tmp_path, {**record, "night": str(n)}) for n in range(3)]
    name = record["run_id"]
    assert [path.name for path in paths] == [f"{name}.json", f"{name}-2.json", f"{name}-3.json"]
    assert [records.read(tmp_path, path.stem).night for path in paths] == ["0", "1", "2"]


def test_nothing_is_left_of_a_record_that_cannot_be_written(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        records.write_text(tmp_path, "a", "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_has_a_record_too(tmp_path):
    played = records.Played(job="recommender", spot_first=True, time_scale=480.0, story_started_at=MIDNIGHT)
    record = records.record_of(played, None, records.Ended(cause="job: 'x' is not a job."), MIDNIGHT)
    assert records.write(tmp_path, record).name == "refused.json"
    kept = records.read(tmp_path)
    assert (kept.simulated, kept.deadline_met, kept.attempts) == (True, False, ())
    assert (kept.outcome, kept.because, kept.started_at) == ("refused", "job: 'x' is not a job.", MIDNIGHT)
