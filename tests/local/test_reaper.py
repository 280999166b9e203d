"""No training process outlives the program that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from nightspot.local.sagemaker.process import Reaper

PROGRAM = """
import os, signal, subprocess, sys
from nightspot.local.sagemaker.process import Reaper
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleeper, start_new_session=True, stdout=subprocess.DEVNULL)
Reaper().watch(child.pid)
print(child.pid, flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
"""


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_a_program_that_is_killed_takes_its_training_with_it(end):
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, end], stdout=subprocess.PIPE, check=False, timeout=120
    )
    assert program.returncode < 0
    group = int(program.stdout)
    deadline = time.monotonic() + 60
    while _running(group):
        assert time.monotonic() < deadline, "the child outlived its program"
        time.sleep(0.01)


def test_a_group_that_is_forgotten_is_left_alone():
    reaper = Reaper()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as child:
        reaper.watch(child.pid)
        reaper.forget(child.pid)
        reaper.close()
        assert child.poll() is None
        child.communicate(b"\n")
    assert child.returncode == 0


def test_a_group_that_is_watched_ends_when_the_reaper_closes():
    reaper = Reaper()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as child:
        reaper.watch(child.pid)
        reaper.close()
        assert child.wait(timeout=60) < 0


def _running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # Where nothing reaps orphans, a killed one stays as a zombie.
    status = f"/proc/{process_id}/stat"
    if not os.path.exists(status):  # noqa: PTH110
        return True
    with open(status) as file:  # noqa: PTH123
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
