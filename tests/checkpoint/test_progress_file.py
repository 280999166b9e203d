"""nightspot.json never promises more than what is durable, and shows a resume at once."""

import json
import os
import re

import pytest

from nightspot.checkpoint import LIBRARY_VERSION, DirectoryError

ENVIRON = {"NIGHTSPOT_RUN_ID": "run-1", "NIGHTSPOT_ATTEMPT": "1", "TRAINING_JOB_NAME": "job-1"}


def progress(directory):
    return json.loads((directory / "nightspot.json").read_text())


def test_the_progress_file_says_how_far_and_how_fast(process, clock, tmp_path):
    trainer = process(total_steps=24, environ=ENVIRON)
    assert trainer.restore() is None
    clock.move(1800)
    trainer.save(3, b"s", metrics={"recall_at_10": 0.2})

    assert progress(tmp_path) == {
        "schema": 1,
        "run_id": "run-1",
        "attempt": 1,
        "training_job_name": "job-1",
        "step": 3,
        "total_steps": 24,
        "fraction": 0.125,
        "seconds_per_step": 600.0,
        "saved_at": "2026-11-20T22:30:00.000Z",
        "written_at": "2026-11-20T22:30:00.000Z",
        "checkpoint": "checkpoint-000000003-rank00000.nsck",
        "metrics": {"recall_at_10": 0.2},
        "resumed_from": None,
        "started_at": "2026-11-20T22:00:00.000Z",
        "world_size": 1,
        "files": 1,
        "library_version": LIBRARY_VERSION,
    }


def test_outside_of_a_run_the_unknown_is_null(process, tmp_path):
    process().save(3, b"s")

    unknown = ("run_id", "attempt", "training_job_name", "total_steps", "fraction")
    assert {progress(tmp_path)[name] for name in unknown} == {None}


def test_a_resume_shows_before_the_next_save(process, clock, tmp_path):
    first = process(total_steps=24, environ=ENVIRON)
    first.restore()
    clock.move(1800)
    first.save(3, b"s", metrics={"loss": 0.5})
    clock.move(7200)

    process(total_steps=24, environ=ENVIRON | {"NIGHTSPOT_ATTEMPT": "2"}).restore()

    document = progress(tmp_path)
    assert document["resumed_from"] == {"step": 3, "attempt": 1}
    assert (document["attempt"], document["step"], document["fraction"]) == (2, 3, 0.125)
    assert document["saved_at"] == "2026-11-20T22:30:00.000Z"
    assert document["written_at"] == "2026-11-21T00:30:00.000Z"
    assert document["metrics"] == {"loss": 0.5}
    assert document["seconds_per_step"] == 600.0


def test_a_process_that_did_not_resume_says_since_when_it_runs(process, clock, tmp_path):
    process(environ=ENVIRON).save(3, b"s")
    clock.move(3600)
    second = process(environ=ENVIRON | {"NIGHTSPOT_ATTEMPT": "2"})
    clock.move(60)
    second.save(4, b"s")

    document = progress(tmp_path)
    assert (document["attempt"], document["resumed_from"]) == (2, None)
    assert document["started_at"] == "2026-11-20T23:00:00.000Z"


def test_a_resumed_process_says_since_when_it_runs_itself(process, clock, tmp_path):
    process().save(3, b"s")
    clock.move(3600)
    process().restore()

    assert progress(tmp_path)["started_at"] == "2026-11-20T23:00:00.000Z"


def test_later_saves_still_say_where_the_attempt_resumed_from(process, tmp_path):
    process(environ=ENVIRON).save(3, b"s")
    second = process(environ=ENVIRON | {"NIGHTSPOT_ATTEMPT": "2"})
    second.restore()
    second.save(6, b"s")

    assert progress(tmp_path)["resumed_from"] == {"step": 3, "attempt": 1}


def test_the_pace_is_this_attempts_own_without_the_wait_before_it(process, clock, tmp_path):
    first = process()
    first.restore()
    clock.move(600)
    first.save(1, b"s")
    clock.move(4 * 3600)
    second = process()
    second.restore()
    clock.move(3 * 100)
    second.save(4, b"s")

    assert progress(tmp_path)["seconds_per_step"] == 100.0


def test_the_pace_is_null_until_it_is_known(process, clock, tmp_path):
    trainer = process()
    trainer.save(5, b"s")
    assert progress(tmp_path)["seconds_per_step"] is None

    clock.move(20)
    trainer.save(7, b"s")
    assert progress(tmp_path)["seconds_per_step"] == 10.0


def test_a_clock_that_was_set_back_leaves_the_last_known_pace(process, clock, tmp_path):
    first = process()
    first.restore()
    clock.move(600)
    first.save(1, b"s")
    second = process()
    second.restore()
    clock.move(-50)
    second.save(2, b"s")

    assert progress(tmp_path)["seconds_per_step"] == 600.0


def test_numbers_that_json_cannot_say_become_null(process, tmp_path):
    process().save(1, b"s", metrics={"loss": float("nan"), "best": float("inf"), "ok": 1})

    assert progress(tmp_path)["metrics"] == {"loss": None, "best": None, "ok": 1}
    assert process().restore().metrics == {"loss": None, "best": None, "ok": 1}


def test_a_checkpoint_that_could_not_be_written_is_not_announced(process, tmp_path):
    trainer = process()
    trainer.save(3, b"s")
    # Stands where the checkpoint has to go.
    (tmp_path / "checkpoint-000000006-rank00000.nsck").mkdir()

    with pytest.raises(DirectoryError, match="step=6: cannot save"):
        trainer.save(6, b"s")

    assert progress(tmp_path)["step"] == 3
    assert process().restore().step == 3


def test_the_checkpoint_is_there_before_it_is_announced_and_nothing_goes_before_that(process, tmp_path):
    trainer = process(keep_last=1)
    trainer.save(3, b"s")
    announced = tmp_path / "nightspot.json"
    announced.unlink()
    announced.mkdir()

    with pytest.raises(DirectoryError):
        trainer.save(6, b"six")

    assert (tmp_path / "checkpoint-000000003-rank00000.nsck").exists()
    announced.rmdir()
    assert process().restore().state == b"six"


def test_content_is_synced_before_the_rename_and_the_directory_after_it(process, tmp_path, monkeypatch):
    events = []
    fsync = os.fsync

    def recording(descriptor):
        inode = os.fstat(descriptor).st_ino
        names = {each.stat().st_ino: each.name for each in tmp_path.iterdir()}
        visible = sorted(name for name in names.values() if not name.endswith(".tmp"))
        name = re.sub(r"\.[0-9a-f]{8}\.tmp$", " (temporary)", names.get(inode, "directory"))
        events.append((name, visible))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    name = process().save(3, b"s").name

    assert events == [
        (f"{name} (temporary)", []),
        ("directory", [name]),
        ("nightspot.json (temporary)", [name]),
        ("directory", [name, "nightspot.json"]),
    ]


def test_falling_back_to_an_older_checkpoint_takes_the_announcement_back(process, tmp_path):
    writer = process()
    writer.save(3, b"s")
    writer.save(6, b"s").write_bytes(b"half")

    process().restore()

    assert progress(tmp_path)["step"] == 3


def test_with_no_whole_checkpoint_left_there_is_no_announcement_either(process, tmp_path):
    process().save(3, b"s").write_bytes(b"half")

    assert process().restore() is None
    assert not (tmp_path / "nightspot.json").exists()
