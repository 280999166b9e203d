"""A checkpoint directory that SageMaker mirrors, on one host or on several: what of it the scheduler sees.

The mirror here is made up: AWS publishes neither order nor delay. So it uploads in any order, late, not at all
before a machine is gone, and a host's stale copies once more.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.checkpoint import Checkpointer
from nightspot.run.model import Progress
from tests.aws.test_numbered_progress import PREFIX, S3

START = datetime(2026, 11, 21, tzinfo=UTC)
UPLOAD_SECONDS = 600


class Host:
    """One machine's copy of the prefix, and what of it was uploaded or deleted."""

    def __init__(self, s3: S3, folder: Path, order: random.Random) -> None:
        self._s3, self._random = s3, order
        self.directory = folder / "checkpoints"
        self.directory.mkdir(parents=True)
        for key, body in s3.objects.items():
            (self.directory / key.removeprefix(PREFIX)).write_bytes(body)
        self._stored = self._files()

    def _files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}

    def mirror(self, most: int | None = None, *, deletes: bool = True) -> None:
        """Upload what is new, `most` files of it, and delete what is gone, in any order."""
        files = self._files()
        changed = sorted(name for name in files if files[name] != self._stored.get(name))
        self._random.shuffle(changed)
        for name in changed[:most]:
            self._s3.put(name, files[name])
            self._stored[name] = files[name]
        for name in sorted(self._stored.keys() - files.keys()) if deletes else ():
            self._s3.objects.pop(PREFIX + name, None)
            del self._stored[name]

    def upload_all_again(self) -> None:
        """What a host may do when it is stopped: its copies, however old, go up once more."""
        for name, body in self._files().items():
            self._s3.put(name, body)


class Night:
    """Two hosts on one prefix: the first saves, the second only has its copy. Machines come and go."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.s3, self._folder, self.random = S3(), folder, random.Random(seed)
        self.now, self.lives, self.saved = START, 0, 0
        self.begin()

    def begin(self) -> None:
        """Both machines start from what S3 has, and the script restores."""
        self.lives += 1
        folder = self._folder / f"life-{self.lives}"
        self.first, self.second = (Host(self.s3, folder / name, self.random) for name in ("1", "2"))
        self.trainer = Checkpointer(
            self.first.directory,
            total_steps=10**6,
            environ={"TRAINING_JOB_NAME": "job-1", "NIGHTSPOT_ATTEMPT": "1"},
            now=lambda: self.now,
        )
        restored = self.trainer.restore()
        self.step = restored.step if restored else 0
        self.first.mirror()

    def save(self, seconds: float = 60) -> None:
        self.now += timedelta(seconds=seconds)
        self.step += 1
        self.trainer.save(self.step, b"step %d" % self.step)

    def look(self) -> Progress | None:
        """What the scheduler sees."""
        found: Progress | None = self.s3.progress()
        return found


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path, 1)


def test_a_stale_copy_of_another_host_never_hides_newer_progress(night):
    for _ in range(3):
        night.save(700)
        night.first.mirror()
    night.begin()  # the second host now has copies of all that
    for _ in range(3):
        night.save(700)
        night.first.mirror()
    assert night.look().step == 6
    names = set(night.s3.objects)

    night.second.upload_all_again()

    assert set(night.s3.objects) > names, "old checkpoints and progress files are there again"
    assert b'"step": 3' in night.s3.objects[f"{PREFIX}nightspot.json"], "and the mutable file is the old one"
    assert night.look().step == 6
    night.begin()
    assert night.step == 6
    assert night.look().resumed_from_step == 6


def test_files_that_never_arrive_leave_the_one_before(night):
    night.save(700)
    night.first.mirror()
    night.save(700)
    night.first.mirror(most=0)

    assert night.look().step == 1


def test_a_restart_that_lost_what_was_not_uploaded_is_seen_at_once(night):
    night.save(700)
    night.first.mirror()
    night.save(700)  # this one goes with the machine
    night.begin()

    found = night.look()
    assert (found.step, found.resumed_from_step, found.process) == (1, 1, 2)


def test_a_script_that_empties_its_directory_is_seen_to_begin_again(night):
    for _ in range(3):
        night.save(700)
        night.first.mirror()
    known = night.look()
    for path in night.first.directory.iterdir():
        path.unlink()
    night.trainer = Checkpointer(
        night.first.directory, environ={"NIGHTSPOT_ATTEMPT": "1"}, now=lambda: night.now
    )
    night.step = 0
    night.save(700)
    night.first.mirror(deletes=False)  # what was deleted is still in S3, or is there again

    found = night.look()
    assert (found.step, found.resumed_from_step) == (1, None)
    assert not found.is_older_than(known)


MOVES: dict[str, Callable[[Night], Any]] = {
    "save": lambda night: night.save(),
    "save late": lambda night: night.save(900),
    "upload": lambda night: night.first.mirror(),
    "upload one": lambda night: night.first.mirror(1),
    "upload without deletes": lambda night: night.first.mirror(deletes=False),
    "stale copies": lambda night: night.second.upload_all_again(),
    "lose the machines": lambda night: night.begin(),
    "stop": lambda night: (night.first.mirror(), night.second.upload_all_again(), night.begin()),
}


@given(st.lists(st.sampled_from(sorted(MOVES)), min_size=5, max_size=25), st.integers(0, 99))
def test_whatever_is_uploaded_in_whatever_order_progress_is_true_and_never_stale(
    tmp_path_factory, moves, seed
):
    night = Night(tmp_path_factory.mktemp("night"), seed)
    known: Progress | None = None
    for move in moves:
        MOVES[move](night)
        found = night.look()
        if found is None:
            continue
        name = f"{PREFIX}checkpoint-{found.step:09d}-rank00000.nsck"
        assert b"step %d" % found.step in night.s3.objects[name], "what it promises is in S3"
        if known is None or not found.is_older_than(known):
            # An older word only ever shows where the newer one has nothing behind it in S3 any more.
            known = found
        else:
            newer = f"{PREFIX}checkpoint-{known.step:09d}-rank00000.nsck"
            assert newer not in night.s3.objects or not any(
                f"-{known.step:09d}-" in key for key in night.s3.objects if "nightspot-" in key
            )
    night.first.mirror()
    newest = night.look()
    assert (newest.step if newest else 0) == night.step, "once all is uploaded, the newest counts"


@given(st.lists(st.integers(20, 900), min_size=8, max_size=30), st.integers(0, 99))
def test_with_uploads_as_slow_as_assumed_durable_progress_still_advances(tmp_path_factory, intervals, seed):
    """Each file is uploaded ten minutes after it was written, and what is deleted before that never is."""
    night = Night(tmp_path_factory.mktemp("night"), seed)
    due: dict[str, datetime] = {}
    for seconds in intervals:
        night.save(seconds)
        files = {path.name for path in night.first.directory.iterdir()}
        for name in files - {"nightspot.json"}:
            due.setdefault(name, night.now + timedelta(seconds=UPLOAD_SECONDS))
        for name, when in due.items():
            path = night.first.directory / name
            if not path.exists():
                night.s3.objects.pop(PREFIX + name, None)
            elif when <= night.now:
                night.s3.put(name, path.read_bytes())
        found = night.look()
        if (night.now - START).total_seconds() >= UPLOAD_SECONDS + intervals[0]:
            assert found is not None
            behind = (night.now - found.saved_at).total_seconds()
            assert behind <= 2 * UPLOAD_SECONDS + 4 * max(intervals)


def test_of_two_words_the_later_one_is_newer_and_none_is_older_than_itself(night):
    night.save(700)
    night.first.mirror()
    older = night.look()
    night.save(700)
    night.first.mirror()
    newer = night.look()

    assert older.is_older_than(newer)
    assert not newer.is_older_than(older)
    assert not newer.is_older_than(newer)
