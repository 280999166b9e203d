"""What is saved comes back as it was, and only the last good ones are kept."""

import logging
from datetime import timedelta

import pytest

from nightspot.checkpoint import Checkpointer


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.suffix == ".nsck")


def checkpoint(step):
    return f"checkpoint-{step:09d}-rank00000.nsck"


@pytest.mark.parametrize(
    "state",
    [b"", b"weights", bytes(range(256)) * 5000, {}, {"model": b"m", "optimiser": b""}, {"": b"x"}],
    ids=["empty", "short", "long", "no-parts", "two-parts", "part-without-name"],
)
def test_the_state_comes_back_with_the_type_and_the_bytes_it_was_saved_with(process, state):
    process().save(3, state)

    restored = process().restore()

    assert restored.state == state
    assert type(restored.state) is type(state)


def test_buffers_come_back_as_bytes(process):
    numbers = memoryview(b"abcdefgh").cast("I")
    process().save(1, {"array": bytearray(b"one"), "view": numbers, "every other": numbers[::2]})

    assert process().restore().state == {
        "array": b"one",
        "view": b"abcdefgh",
        "every other": numbers[::2].tobytes(),
    }


def test_a_restored_checkpoint_says_who_saved_it_when_and_how_good_it_was(process, clock, tmp_path):
    environ = {
        "NIGHTSPOT_RUN_ID": "run-1",
        "NIGHTSPOT_ATTEMPT": "2",
        "TRAINING_JOB_NAME": "nightspot-recommender-2",
    }
    saved = process(environ=environ).save(6, b"s", metrics={"recall": 0.25, "seen": 12})
    clock.move(3600)

    restored = process(environ=environ | {"NIGHTSPOT_ATTEMPT": "3"}).restore()

    assert (restored.step, restored.run_id, restored.attempt) == (6, "run-1", 2)
    assert restored.training_job_name == "nightspot-recommender-2"
    assert restored.metrics == {"recall": 0.25, "seen": 12}
    assert restored.saved_at == clock.moment - timedelta(hours=1)
    assert restored.path == saved == tmp_path / checkpoint(6)
    assert restored.skipped == ()


def test_a_restored_checkpoint_can_be_logged_without_its_gigabytes(process):
    process().save(6, b"weights")

    restored = repr(process().restore())

    assert "step=6" in restored
    assert "weights" not in restored


def test_an_empty_directory_has_nothing_to_restore(process):
    assert process().restore() is None


def test_the_highest_step_is_restored_whatever_order_files_were_touched_in(process, tmp_path):
    writer = process(keep_last=3)
    for step in (9, 10, 1_000_000_000):
        writer.save(step, str(step).encode())
    (tmp_path / checkpoint(9)).touch()

    assert process().restore().state == b"1000000000"


def test_only_the_last_two_checkpoints_are_kept(process, tmp_path):
    writer = process()
    for step in (3, 6, 9, 12):
        writer.save(step, b"s")

    assert names(tmp_path) == [checkpoint(9), checkpoint(12)]


def test_keep_last_counts_over_restarts(process, tmp_path):
    for step in (1, 2, 3, 4, 5):
        starting = process(keep_last=3)
        starting.restore()
        starting.save(step, b"s")

    assert names(tmp_path) == [checkpoint(3), checkpoint(4), checkpoint(5)]


def test_broken_files_do_not_count_as_kept(process, tmp_path):
    writer = process(keep_last=4)
    for step in (1, 2, 3, 4):
        writer.save(step, b"s")
    for step in (3, 4):
        (tmp_path / checkpoint(step)).write_bytes(b"half")

    process(keep_last=2).save(5, b"s")

    assert checkpoint(2) in names(tmp_path)
    assert checkpoint(1) not in names(tmp_path)


def test_a_checkpoint_just_saved_is_never_pruned_in_favour_of_a_broken_later_one(process, tmp_path):
    process().save(6, b"good")
    (tmp_path / checkpoint(9)).write_bytes(b"half")
    starting = process(keep_last=1)
    assert starting.restore().step == 6

    starting.save(7, b"seven")

    assert process().restore().state == b"seven"


def test_the_same_step_can_be_saved_again(process):
    writer = process()
    writer.save(3, b"first")
    writer.save(3, b"second")

    assert process().restore().state == b"second"


def test_another_rank_keeps_its_own_files(process, tmp_path):
    others = [tmp_path / f"checkpoint-{step:09d}-rank00001.nsck" for step in (0, 99)]
    for other in others:
        other.write_bytes(b"of the other host")
    leftover = tmp_path / "checkpoint-000000100-rank00001.nsck.tmp"
    leftover.write_bytes(b"the other host is writing this")
    writer = process(keep_last=1)
    writer.save(1, b"s")
    writer.save(2, b"s")

    assert all(other.exists() for other in others)
    assert leftover.exists()
    restored = process().restore()
    assert (restored.step, restored.skipped) == (2, ())


def test_training_without_restore_keeps_the_checkpoints_that_are_further_on(process, tmp_path, caplog):
    process().save(20, b"hours of work")

    careless = process(keep_last=1)
    careless.save(1, b"s")
    careless.save(2, b"s")

    assert names(tmp_path) == [checkpoint(2), checkpoint(20)]
    assert process().restore().state == b"hours of work"
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert [checkpoint(20) in r.getMessage() for r in warnings] == [True]


def test_a_checkpoint_of_another_run_is_restored_with_a_warning(process, caplog):
    process(environ={"NIGHTSPOT_RUN_ID": "monday"}).save(24, b"s")

    restored = process(environ={"NIGHTSPOT_RUN_ID": "tuesday"}).restore()

    assert restored.run_id == "monday"
    assert "is of run monday, this is run tuesday" in caplog.text


def test_the_directory_is_the_one_sagemaker_syncs(tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    local_path = tmp_path / "synced" / "here"
    (config / "checkpointconfig.json").write_text(f'{{"LocalPath": "{local_path}"}}')

    checkpointer = Checkpointer(environ={"SM_INPUT_CONFIG_DIR": str(config)})
    checkpointer.save(1, b"s")

    assert checkpointer.directory == local_path
    assert names(local_path) == [checkpoint(1)]
