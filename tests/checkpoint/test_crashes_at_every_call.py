"""A process killed at, or in the middle of, any call that touches the disk leaves a state that was really saved."""

import json
import os
import re
import shutil
import signal

import pytest

from nightspot.checkpoint import Checkpointer
from nightspot.checkpoint.core.files import checkpoint_name, progress_files

# Python 3.12 warns of forks beside threads, and pytest-xdist's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

TEMPORARY = re.compile(r".*\.tmp")


@pytest.fixture
def before(tmp_path, training):
    """What the killed process finds: two checkpoints, a broken one, and leftovers."""
    directory = tmp_path / "before"
    earlier = Checkpointer(directory, environ={})
    for step in (1, 2, 3):
        earlier.save(step, training.state(step))
    (directory / "checkpoint-000000003-rank00000.nsck").write_bytes(b"half")
    (directory / "checkpoint-000000004-rank00000.nsck.00c0ffee.tmp").write_bytes(b"half")
    return directory


JOB = {"TRAINING_JOB_NAME": "job-1"}


def go_on(directory, training, report, environ=JOB, **options):
    """A whole attempt: restore, four saves, each reported once it is known to be durable."""
    checkpointer = Checkpointer(directory, environ=environ, keep_last=1, upload_seconds=0, **options)
    restored = checkpointer.restore()
    for step in range(restored.step + 1, restored.step + 5):
        checkpointer.save(step, training.state(step))
        checkpointer.wait()
        os.write(report, step.to_bytes(4, "big"))
    checkpointer.close()


def durable_of(reading):
    """The last step reported, 0 if none."""
    steps = b"".join(iter(lambda: os.read(reading, 4096), b""))
    return int.from_bytes(steps[-4:], "big")


def check(directory, durable, training):
    """What holds after any kill."""
    announced = json.loads((directory / "nightspot.json").read_text())["step"]
    numbered = progress_files(directory)
    assert all(json.loads(each.path.read_text())["number"] == each.number for each in numbered), (
        "half written"
    )
    assert any((directory / checkpoint_name(each.step, 0)).exists() for each in numbered)

    restored = Checkpointer(directory, environ={}).restore()

    assert training.was_saved(restored)
    assert restored.step >= max(durable, 2)
    # The broken step 3 takes its announcement with it once somebody restores.
    assert announced <= restored.step or (announced, durable) == (3, 0)
    return restored.step


@pytest.mark.parametrize(
    ("asynchronous", "half", "environ"),
    [
        pytest.param(False, False, JOB, id="in the loop, before the call"),
        pytest.param(False, True, {}, id="in the loop, in the middle of the write, in no training job"),
        pytest.param(True, False, {}, id="in the background, before the call", marks=pytest.mark.long),
        pytest.param(True, True, JOB, id="in the background, in the middle of the write"),
    ],
)
def test_a_kill_at_any_call_loses_nothing_that_was_durable(
    before, tmp_path, training, disk, forked, asynchronous, half, environ
):
    rehearsal = tmp_path / "rehearsal"
    shutil.copytree(before, rehearsal)
    sink = os.open(os.devnull, os.O_WRONLY)
    disk.names.clear()
    go_on(rehearsal, training, sink, environ, asynchronous=asynchronous)
    os.close(sink)
    names = list(disk.names)
    assert len(names) > 60

    reached = set()
    for number, name in enumerate(names):
        if half and name != "write":
            continue
        directory = tmp_path / str(number)
        shutil.copytree(before, directory)

        def attempt(report, directory=directory, number=number):
            disk.calls = 0
            disk.kill_at(number, half=half)
            go_on(directory, training, report, environ, asynchronous=asynchronous)

        with forked(attempt) as child:
            durable = durable_of(child.reading)
            assert child.status() == -signal.SIGKILL, f"call {number} ({name}) was never reached"

        reached.add(check(directory, durable, training))
        disk.act = lambda number, name, half: None
        sink = os.open(os.devnull, os.O_WRONLY)
        go_on(directory, training, sink, environ)
        os.close(sink)
        left = [*directory.iterdir(), *tmp_path.iterdir()]
        assert not [each for each in left if TEMPORARY.fullmatch(each.name)]
        shutil.rmtree(directory)

    assert reached == {2, 3, 4, 5, 6}


def test_every_kind_of_call_is_among_those_that_are_tried(before, tmp_path, training, disk):
    sink = os.open(os.devnull, os.O_WRONLY)
    go_on(before, training, sink)
    os.close(sink)

    assert set(disk.names) == {"open", "write", "fsync", "replace", "unlink"}
