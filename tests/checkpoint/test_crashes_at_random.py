"""A process killed at any moment, and two at work in one directory: what is restored was really saved."""

import errno
import fcntl
import os
import random
import time

import pytest

from nightspot.checkpoint import Checkpointer

# Python 3.12 warns of forks beside threads, and pytest-xdist's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def save_for_ever(directory, training, report, *, asynchronous, pause=lambda: None):
    """Restore, and save one step after the other; a byte is reported before each of these."""
    os.write(report, b"r")
    checkpointer = Checkpointer(directory, environ={}, asynchronous=asynchronous)
    restored = checkpointer.restore()
    step = restored.step if restored else 0
    while True:
        step += 1
        os.write(report, b"s")
        checkpointer.save(step, training.state(step))
        pause()


@pytest.mark.parametrize("kills", [50, pytest.param(250, marks=pytest.mark.long)])
def test_after_every_kill_the_state_is_one_that_was_saved(tmp_path, training, forked, kills):
    moments = random.Random(20)
    steps, leftovers = [0], 0
    for number in range(kills):

        def attempt(report, number=number):
            save_for_ever(tmp_path, training, report, asynchronous=bool(number % 2))

        with forked(attempt) as child:
            for _ in range(moments.randint(1, 6)):
                os.read(child.reading, 1)
            time.sleep(moments.uniform(0, 0.002))  # the moment of the kill is what is tested
        leftovers += len(list(tmp_path.glob("*.tmp")))

        restored = Checkpointer(tmp_path, environ={}).restore()

        assert restored is None or training.was_saved(restored)
        assert restored is None or restored.skipped == ()
        steps.append(restored.step if restored else 0)

    assert steps == sorted(steps)
    assert steps[-1] > kills / 2
    assert leftovers > kills / 20, "hardly a kill came in the middle of a save: the test has lost its point"


def test_where_nothing_can_be_locked_two_processes_never_leave_a_mixture_or_nothing(
    tmp_path, training, forked, monkeypatch
):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    Checkpointer(tmp_path, environ={}).save(1, training.state(1))
    moments = random.Random(2)
    newest = 1
    for _ in range(12):

        def attempt(report):
            save_for_ever(tmp_path, training, report, asynchronous=True, pause=lambda: time.sleep(0))

        with forked(attempt) as one, forked(attempt) as other:
            for _ in range(moments.randint(1, 8)):
                assert os.read(one.reading, 1), "one process has failed because of the other"
                assert os.read(other.reading, 1), "one process has failed because of the other"
                restored = Checkpointer(tmp_path, environ={}).restore()
                assert restored is not None
                assert training.was_saved(restored)

        restored = Checkpointer(tmp_path, environ={}).restore()
        assert training.was_saved(restored)
        assert restored.step >= newest
        newest = restored.step

    assert newest > 12
