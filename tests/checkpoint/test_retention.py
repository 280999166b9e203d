"""The last and the best checkpoints stay, the newest whole one always."""

import errno
import os
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.checkpoint import DirectoryError, KeepBest, SettingError
from nightspot.checkpoint.core.files import Kept, expendable
from nightspot.checkpoint.core.settings import LEAST_UPLOAD_SECONDS, assumed_upload_seconds
from tests.checkpoint.conftest import START


def steps(directory):
    return sorted(int(path.name[11:20]) for path in directory.glob("*.nsck"))


def train(trainer, losses):
    for step, loss in enumerate(losses, 1):
        trainer.save(step, b"s", metrics={} if loss is None else {"loss": loss})


@pytest.mark.parametrize(
    ("keep_best", "left"),
    [
        (None, [6]),
        (("loss", "min"), [2, 6]),
        (("loss", "min", 2), [2, 4, 6]),
        (("loss", "max", 2), [1, 3, 6]),
        (KeepBest("loss", "max"), [1, 6]),
        (("accuracy", "max", 3), [6]),
    ],
)
def test_the_best_are_kept_beside_the_last(process, tmp_path, keep_best, left):
    train(process(keep_last=1, keep_best=keep_best), [0.9, 0.1, 0.8, 0.2, float("nan"), 0.5])

    assert steps(tmp_path) == left


def test_what_an_earlier_process_found_best_is_kept_too(process, tmp_path):
    train(process(keep_last=1, keep_best=("loss", "min")), [0.1, 0.2])
    later = process(keep_last=1, keep_best=("loss", "min"))
    later.restore()
    later.save(3, b"s", metrics={"loss": 0.3})
    later.save(4, b"s", metrics={"loss": 0.4})

    assert steps(tmp_path) == [1, 4]


def test_of_equally_good_ones_the_newer_is_kept(process, tmp_path):
    train(process(keep_last=1, keep_best=("loss", "min")), [0.1, 0.1, 0.1, 0.7])

    assert steps(tmp_path) == [3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (("loss", "lowest"), "keep_best.order='lowest': must be 'min' or 'max'"),
        (("", "min"), "keep_best.metric='': must be the name"),
        (("loss", "min", 0), "keep_best.count=0: must be a whole number from 1"),
        ("loss", "keep_best='loss': must be \\(metric"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(process, value, message):
    with pytest.raises(SettingError, match=message):
        process(keep_best=value)


FILES = st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.floats(allow_nan=False))), max_size=12).map(
    lambda each: [Kept(step, *rest) for step, rest in reversed(list(enumerate(each)))]
)


@given(FILES, st.integers(1, 4), st.sampled_from([None, KeepBest("m", "min", 2), KeepBest("m", "max", 1)]))
def test_the_newest_whole_ones_are_never_among_those_that_may_go(files, keep_last, keep_best):
    gone = expendable(files, keep_last, keep_best)

    whole = [each.step for each in files if each.whole]
    assert not set(whole[:keep_last]) & set(gone)
    assert len(whole) - len(set(whole) & set(gone)) >= min(len(whole), keep_last)
    if keep_best is None and len(whole) >= keep_last:
        assert [step for step in whole if step not in gone] == whole[:keep_last]


JOB = {"TRAINING_JOB_NAME": "job-1"}


def train_every(trainer, clock, seconds, saves, first=1):
    for step in range(first, first + saves):
        clock.move(seconds)
        trainer.save(step, b"s")


def test_outside_of_a_training_job_the_number_alone_counts(process, clock, tmp_path):
    train_every(process(), clock, 60, 9)

    assert steps(tmp_path) == [8, 9]


def test_an_older_checkpoint_stays_until_a_newer_one_should_be_in_s3(process, clock, tmp_path):
    trainer = process(environ=JOB)
    train_every(trainer, clock, 60, 10)
    assert steps(tmp_path) == [1, 9, 10], "the oldest is the next that is old enough"

    train_every(trainer, clock, 60, 1, first=11)
    assert steps(tmp_path) == [1, 9, 10, 11], "step 1 is now; step 9 will take its place"
    train_every(trainer, clock, 60, 8, first=12)
    assert steps(tmp_path) == [9, 17, 18, 19]


def test_where_saves_are_further_apart_than_uploads_nothing_more_stays(process, clock, tmp_path):
    train_every(process(environ=JOB), clock, LEAST_UPLOAD_SECONDS, 5)

    assert steps(tmp_path) == [4, 5]


@pytest.mark.parametrize(("seconds", "left"), [(0, [8, 9]), (120, [7, 8, 9]), (3600, [1, 8, 9])])
def test_how_long_an_upload_takes_can_be_said(process, clock, tmp_path, seconds, left):
    train_every(process(environ=JOB, upload_seconds=seconds), clock, 60, 9)

    assert steps(tmp_path) == left


@pytest.mark.parametrize("value", [-1, True, float("nan"), "600"])
def test_an_upload_time_that_makes_no_sense_is_refused(process, value):
    with pytest.raises(SettingError, match="upload_seconds="):
        process(upload_seconds=value)


def test_what_is_large_is_given_more_time():
    assert assumed_upload_seconds(10**9) == LEAST_UPLOAD_SECONDS == 600
    assert assumed_upload_seconds(40 * 10**9) == 2400


def test_a_clock_that_was_set_back_keeps_no_checkpoint_for_ever(process, clock, tmp_path):
    trainer = process(environ=JOB)
    train_every(trainer, clock, 60, 5)
    clock.move(-365 * 86400)
    train_every(trainer, clock, 60, 30, first=6)

    assert len(steps(tmp_path)) <= 4
    assert steps(tmp_path)[0] > 5


def test_ranks_with_parts_of_their_own_keep_all_until_then(process, clock, tmp_path):
    ranks = [process(rank=rank, world_size=2, environ=JOB, every_steps=1) for rank in range(2)]
    for step in range(1, 16):
        for trainer in ranks:
            clock.move(30)
            trainer.save(step, b"part")

    both = [sorted(int(p.name[11:20]) for p in tmp_path.glob(f"*rank0000{rank}.nsck")) for rank in range(2)]
    common = sorted(set(both[0]) & set(both[1]))
    assert common == list(range(common[0], 16))
    assert 4 <= common[0] <= 5
    assert all(len(each) <= 13 for each in both)


@given(
    intervals=st.lists(st.integers(1, 900), min_size=3, max_size=60),
    upload=st.integers(0, 900),
    keep_last=st.integers(1, 3),
)
def test_while_uploads_take_no_longer_than_assumed_s3_always_has_a_whole_one(intervals, upload, keep_last):
    """Deletes reach S3 at once, uploads late, and what is deleted before its upload never comes."""
    files, assumed, now = [], timedelta(seconds=900), START
    for step, seconds in enumerate(intervals, 1):
        now += timedelta(seconds=seconds)
        files.insert(0, Kept(step, True, None, now))
        gone = expendable(files, keep_last, None, now - assumed)
        files = [each for each in files if each.step not in gone]
        stored = [each for each in files if each.saved_at + timedelta(seconds=upload) <= now]
        if now - START >= timedelta(seconds=900 + intervals[0]):
            assert stored, "S3 holds nothing"
            longest = max(intervals) * (keep_last + 1)
            assert now - stored[0].saved_at <= 2 * assumed + timedelta(seconds=longest)
        assert len(files) <= keep_last + 2


def test_a_full_disk_costs_what_waited_for_its_upload_and_not_the_save(
    process, clock, tmp_path, disk, caplog
):
    trainer = process(environ=JOB, keep_last=1)
    train_every(trainer, clock, 60, 4)
    assert steps(tmp_path) == [1, 4]
    refused = []

    def act(number, name, half):
        if name == "write" and not refused:
            refused.append(number)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.act = act
    train_every(trainer, clock, 60, 1, first=5)

    assert refused
    assert 1 not in steps(tmp_path)
    assert 5 in steps(tmp_path)
    assert "the disk is full: deleted 1 older checkpoint(s)" in caplog.text


def test_a_full_disk_with_nothing_to_delete_is_an_error_as_ever(process, clock, tmp_path, disk):
    trainer = process(environ=JOB, keep_last=1)
    train_every(trainer, clock, 60, 1)

    def act(number, name, half):
        if name == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.act = act
    with pytest.raises(DirectoryError, match="No space left"):
        trainer.save(2, b"s")
    assert steps(tmp_path) == [1]
