"""Progress files never promise more than what is durable, and show a resume at once."""

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
        "process": 1,
        "number": 1,
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
        visible = sorted(name for name in names.values() if name.endswith((".nsck", ".json")))
        name = re.sub(r"\.[0-9a-f]{8}\.tmp$", " (temporary)", names.get(inode, "directory"))
        events.append((name, visible))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    name = process().save(3, b"s").name

    numbered = "nightspot-000001-000000003-000001.json"
    assert events == [
        (f"{name} (temporary)", []),
        ("directory", [name]),
        (f"{numbered} (temporary)", [name]),
        ("directory", [name, numbered]),
        ("nightspot.json (temporary)", [name, numbered]),
        ("directory", [name, numbered, "nightspot.json"]),
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
    assert not list(tmp_path.glob("nightspot*"))


def numbered(directory):
    return [path.name for path in sorted(directory.glob("nightspot-*.json"))]


def test_each_word_is_a_file_of_its_own_that_is_never_written_again(process, clock, tmp_path):
    first = process(keep_last=9)
    before = {}
    for step in (1, 1, 2):
        clock.move(60)
        first.save(step, b"s")
        for name, body in before.items():
            path = tmp_path / name
            assert not path.exists() or path.read_bytes() == body
        before = {name: (tmp_path / name).read_bytes() for name in numbered(tmp_path)}
    process(keep_last=9).restore()

    # In a training job, the older word about a step stays until the newer one should be in S3.
    assert numbered(tmp_path) == [
        "nightspot-000001-000000001-000002.json",
        "nightspot-000002-000000002-000001.json",
    ]


def test_the_newest_by_name_is_what_nightspot_json_says_as_well(process, tmp_path):
    process().save(1, b"s")
    second = process()
    second.restore()
    second.save(2, b"s")

    newest = numbered(tmp_path)[-1]
    assert newest == "nightspot-000002-000000002-000002.json"
    assert (tmp_path / newest).read_bytes() == (tmp_path / "nightspot.json").read_bytes()
    assert {key: progress(tmp_path)[key] for key in ("process", "step", "number")} == {
        "process": 2,
        "step": 2,
        "number": 2,
    }


def test_a_process_that_goes_back_is_newer_all_the_same(process, tmp_path):
    writer = process()
    writer.save(3, b"s")
    writer.save(6, b"s").write_bytes(b"half")

    process().restore()

    assert numbered(tmp_path)[-1] == "nightspot-000002-000000003-000001.json"


def test_the_count_of_processes_outlives_a_directory_of_broken_checkpoints(process, tmp_path):
    process().save(3, b"s").write_bytes(b"half")
    second = process()
    assert second.restore() is None
    second.save(1, b"s")

    assert numbered(tmp_path)[-1] == "nightspot-000002-000000001-000001.json"


def test_a_progress_file_goes_with_its_checkpoint(process, tmp_path):
    trainer = process(keep_last=2)
    stale = tmp_path / "nightspot-000001-000000099-000001.json"
    stale.write_text("{}")
    for step in range(1, 6):
        trainer.save(step, b"s")

    assert numbered(tmp_path) == [
        "nightspot-000002-000000004-000004.json",
        "nightspot-000002-000000005-000005.json",
    ]


def test_in_a_training_job_the_older_word_about_a_step_stays_until_the_newer_should_be_in_s3(
    process, clock, tmp_path
):
    process(environ=ENVIRON).save(3, b"s")
    second = process(environ=ENVIRON)
    second.restore()
    assert len(numbered(tmp_path)) == 2

    clock.move(599)
    second.save(4, b"s")
    assert len(numbered(tmp_path)) == 3
    clock.move(1)
    second.save(5, b"s")
    assert numbered(tmp_path)[0] == "nightspot-000002-000000003-000001.json"


def test_restarts_without_a_save_between_them_leave_few_files(process, clock, tmp_path):
    process(environ=ENVIRON).save(3, b"s")
    for _ in range(20):
        clock.move(60)
        process(environ=ENVIRON).restore()

    assert len(numbered(tmp_path)) <= 3


@pytest.mark.parametrize(
    "name",
    [
        "nightspot-99999999999999999999.json",
        "nightspot-9999999-000000001-000001.json",
        "nightspot-000007-000000001-000001.json.bak",
        "nightspot-.json",
    ],
)
def test_a_name_that_nobody_counts_so_far_is_not_counted_on(process, tmp_path, name):
    (tmp_path / name).write_text("{}")
    process().save(3, b"s")

    assert (tmp_path / "nightspot-000001-000000003-000001.json").exists()
    assert (tmp_path / name).exists()
