"""A disk that is full, read-only or wrong never costs the checkpoints that were good."""

import errno
import json
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.checkpoint import Checkpointer, DirectoryError

REFUSALS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failing": errno.EIO}


@pytest.fixture
def saved(tmp_path, training):
    """A directory with steps 1 and 2."""
    checkpointer = Checkpointer(tmp_path / "checkpoints", environ={})
    for step in (1, 2):
        checkpointer.save(step, training.state(step))
    return checkpointer.directory


def start(directory, training, **options):
    """A process that has restored step 2 and has saved before."""
    trainer = Checkpointer(directory, environ={}, keep_last=1, **options)
    assert trainer.restore().step == 2
    trainer.save(2, training.state(2), wait=True)
    return trainer


def calls_of_a_save(directory, training, disk):
    trainer = start(directory, training)
    disk.names.clear()
    trainer.save(3, training.state(3))
    return list(disk.names)


@pytest.mark.parametrize("half", [False, True], ids=["at the call", "after half a write"])
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["in the loop", "in the background"])
def test_a_disk_that_refuses_any_call_is_reported_and_costs_nothing(
    saved, tmp_path, training, disk, refusal, asynchronous, half
):
    names = calls_of_a_save(shutil.copytree(saved, tmp_path / "rehearsal"), training, disk)
    assert len(names) > 12
    for number, name in enumerate(names):
        if half and name != "write":
            continue
        directory = shutil.copytree(saved, tmp_path / str(number))
        trainer = start(directory, training, asynchronous=asynchronous)
        disk.calls = 0
        disk.fail_at(number, OSError(REFUSALS[refusal], os.strerror(REFUSALS[refusal])), half=half)

        if name == "unlink":  # of an older checkpoint: no harm
            save_and_wait(trainer, training)
        else:
            with pytest.raises(DirectoryError, match=r"step=3: cannot save in .*\(\[Errno \d+\]"):
                save_and_wait(trainer, training)
        disk.act = lambda number, name, half: None

        restored = Checkpointer(directory, environ={}).restore()
        assert training.was_saved(restored)
        assert restored.step in (2, 3)
        assert not list(directory.glob("*.tmp")), f"call {number} ({name}) left its file behind"
        trainer.save(3, training.state(3), wait=True)
        assert Checkpointer(directory, environ={}).restore().step == 3


def save_and_wait(trainer, training):
    trainer.save(3, training.state(3))
    trainer.wait()


def test_a_directory_that_has_become_read_only_is_named_with_what_was_refused(saved, training, disk):
    trainer = Checkpointer(saved, environ={})

    def refuse(number, name, half):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    disk.act = refuse
    with pytest.raises(DirectoryError, match=r"step=3: cannot save in .*Read-only file system"):
        trainer.save(3, training.state(3))
    with pytest.raises(DirectoryError, match=r"directory=.*cannot be used .*Read-only file system"):
        trainer.restore()

    disk.act = lambda number, name, half: None
    assert Checkpointer(saved, environ={}).restore().step == 2


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of every file of a directory with three checkpoints."""
    directory = tmp_path_factory.mktemp("good")
    checkpointer = Checkpointer(directory, environ={}, keep_last=3)
    for step in (1, 2, 3):
        checkpointer.save(step, state_of(step))
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def state_of(step):
    return {"bytes": bytes([step]) * 100, "values": {"step": step}}


DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10_000), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 10_000), st.just(0)),
    st.tuples(st.just("zero"), st.integers(0, 10_000), st.integers(1, 600)),
    st.tuples(st.just("append"), st.integers(1, 50), st.integers(0, 255)),
    st.tuples(st.just("other"), st.integers(0, 3), st.integers(0, 10_000)),
)


def damaged(content, damage, files):
    kind, first, second = damage
    at = first % len(content)
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ second]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "zero":
        return content[:at] + bytes(len(content[at : at + second])) + content[at + second :]
    if kind == "append":
        return content + bytes([second]) * first
    # Torn: the beginning of this file, and the end of another one.
    other = list(files.values())[first]
    cut = second % len(content)
    return content[:cut] + other[cut:]


@given(st.lists(st.tuples(st.integers(0, 3), DAMAGE), min_size=1, max_size=4))
def test_whatever_happens_to_whichever_file_the_newest_undamaged_one_is_restored(
    good, tmp_path_factory, damages
):
    directory = tmp_path_factory.mktemp("damaged")
    files = dict(good)
    for index, damage in damages:
        name = list(good)[index]
        files[name] = damaged(files[name] or b"\0", damage, good)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    whole = [step for step in (1, 2, 3) if files[name_of(step)] == good[name_of(step)]]

    restored = Checkpointer(directory, environ={}).restore()

    assert (restored and restored.step) == (max(whole) if whole else None)
    if restored is not None:
        assert restored.state == state_of(restored.step)
        assert json.loads((directory / "nightspot.json").read_text())["step"] == restored.step


def name_of(step):
    return f"checkpoint-{step:09d}-rank00000.nsck"
