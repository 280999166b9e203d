"""A process killed at any moment, and two at work in one directory: what is restored was really saved."""

import os
import random
import time

import pytest

from nightspot.checkpoint import Checkpointer

# Python 3.12 warns of forks beside threads, and pytest-xdist's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

KILLS = 400


def save_for_ever(directory, training, report, *, asynchronous, pause=lambda: None):
    """Restore, say so, and save one step after the other."""
    os.write(report, b"r")
    checkpointer = Checkpointer(directory, environ={}, asynchronous=asynchronous)
    restored = checkpointer.restore()
    step = restored.step if restored else 0
    while True:
        step += 1
        checkpointer.save(step, training.state(step))
        pause()


def test_after_every_one_of_four_hundred_kills_the_state_is_one_that_was_saved(tmp_path, training, forked):
    moments = random.Random(20)
    steps, leftovers = [0], 0
    for number in range(KILLS):

        def attempt(report, number=number):
            save_for_ever(tmp_path, training, report, asynchronous=bool(number % 2))

        with forked(attempt) as child:
            os.read(child.reading, 1)
            time.sleep(moments.uniform(0, 0.012))  # the moment of the kill is what is tested
        leftovers += len(list(tmp_path.glob("*.tmp")))

        restored = Checkpointer(tmp_path, environ={}).restore()

        assert restored is None or training.was_saved(restored)
        assert restored is None or restored.skipped == ()
        steps.append(restored.step if restored else 0)

    assert steps == sorted(steps)
    assert steps[-1] > KILLS
    assert leftovers > KILLS / 20, "hardly a kill came in the middle of a save: the test has lost its point"


def test_two_processes_in_one_directory_never_leave_a_mixture_or_nothing(tmp_path, training, forked):
    Checkpointer(tmp_path, environ={}).save(1, training.state(1))
    moments = random.Random(2)
    newest, looks = 1, 0
    for _ in range(12):

        def attempt(report):
            save_for_ever(tmp_path, training, report, asynchronous=True, pause=lambda: time.sleep(0))

        with forked(attempt) as one, forked(attempt) as other:
            os.read(one.reading, 1)
            os.read(other.reading, 1)
            until = time.monotonic() + moments.uniform(0.01, 0.06)
            while time.monotonic() < until:
                restored = Checkpointer(tmp_path, environ={}).restore()
                assert restored is not None
                assert training.was_saved(restored)
                looks += 1

        restored = Checkpointer(tmp_path, environ={}).restore()
        assert training.was_saved(restored)
        assert restored.step >= newest
        newest = restored.step

    assert newest > 12
    assert looks > 24
