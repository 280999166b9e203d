"""The order in which a save touches the disk, so that a kill between any two steps loses nothing.

The checkpoint is durable before a progress file speaks of it, and both are before an older one goes. SageMaker
uploads the directory in an order and with a delay of its own, deletes included: so no progress file that the
scheduler has seen is ever written again, and nothing goes before what takes its place should be in S3.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from . import envelope, files
from .errors import BrokenCheckpointError, DirectoryError
from .files import Found, KeepBest, Kept, expendable, for_upload
from .progress import Progress, fitted, from_document
from .ranks import Rank
from .settings import as_text, assumed_upload_seconds
from .state import Serialise, State
from .writing_alone import WritingAlone

_LOG = logging.getLogger("nightspot.checkpoint")

# Ranks train in step and save beside it: when this one's newest file is durable, another may still be
# writing the one before, and the last that all have is two back.
_LEAST_KEPT_IN_COMPANY = 3


@dataclass(frozen=True)
class Keep:
    """How many checkpoints stay, and for how long.

    mirrored: the folder that SageMaker mirrors in S3, which is the directory or has it inside; None: nothing is
        uploaded.
    upload_seconds: after how long a file is taken to be in S3; None: by its size.
    """

    last: int
    best: KeepBest | None
    mirrored: Path | None = None
    upload_seconds: float | None = None


class Writer:
    """Writes one rank's checkpoints. One thread at a time may use it."""

    def __init__(
        self,
        directory: Path,
        process: Rank,
        keep: Keep,
        serialise: Serialise,
        now: Callable[[], datetime],
        links: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._directory = directory
        self._process = process
        self._keep_last = max(keep.last, _LEAST_KEPT_IN_COMPANY) if process.files_per_step > 1 else keep.last
        self._keep = keep
        self._alone = WritingAlone(directory, process, keep.mirrored)
        self._serialise = serialise
        self._now = now
        self._links = links
        self._beside: Path | None = None
        self._found_place = False
        self._tidied = False
        self._known: dict[str, Kept] = {}
        self._warned_of: set[str] = set()
        self._announcer: int | None = None  # which process this is among those that wrote progress files here
        self._announcements = 0
        self._announced: dict[
            str, datetime
        ] = {}  # the progress files of this process, and when they were durable

    def claim(self) -> None:
        """Keep other processes from writing this rank's files; DirectoryError where one does already."""
        if self._process.writes:
            self._alone.claim()

    def release(self) -> None:
        """Nothing more is written for now."""
        self._alone.release()

    def save(self, progress: Progress, state: State, points: Sequence[object] = ()) -> None:
        """Make the checkpoint durable, then its progress files, then drop old ones; DirectoryError.

        points: of the curve, that it carries until they have arrived.
        """
        path = self._directory / progress.checkpoint
        about = {
            "progress": progress.document(),
            "rank": self._process.rank,
            "files_per_step": self._process.files_per_step,
            **({"points": list(points)} if points else {}),
        }
        try:
            self._find_place()
            # Once, and not at every save: what appears later belongs to a process that is alive.
            if not self._tidied:
                files.remove_leftovers(self._directory, self._process.rank, self._beside)
                self._tidied = True
            self._write(path, progress.step, about, state)
            self._known[path.name] = Kept(progress.step, True, self._value(progress.metrics), self._now())
            self._write_progress(progress)
            self._prune(progress.step, self._uploaded_before(path))
            self._prune_progress(self._uploaded_before(path))
        except OSError as error:
            raise DirectoryError(
                f"step={progress.step}: cannot save in {self._directory} ({error})"
            ) from error
        _LOG.info("saved step %d as %s", progress.step, path.name)

    def announce(self, progress: Progress) -> None:
        """Write a progress file of a checkpoint that is there, on the rank that does; OSError."""
        self._find_place()
        self._write_progress(progress)
        self._prune_progress(self._uploaded_before(self._directory / progress.checkpoint))

    def _write_progress(self, progress: Progress) -> None:
        """Write a new progress file, and nightspot.json."""
        if not self._process.announces:
            return
        fits, left_out = fitted(progress.document())
        self._warn_of(left_out)
        process = self._announcer_number()
        self._announcements += 1  # also where it fails: no name is used twice
        written = {"written_at": as_text(self._now()), "process": process, "number": self._announcements}
        links = {"trackers": dict(found)} if (found := self._links()) else {}
        text = json.dumps({**fits, **written, **links}, indent=2, allow_nan=False) + "\n"
        name = files.progress_name(process, progress.step, self._announcements)
        for each in (name, files.PROGRESS_NAME):
            files.write_durably(
                self._directory / each, lambda stream: stream.write(text.encode()), self._beside
            )
        self._announced[name] = self._now()

    def withdraw(self) -> None:
        """Delete the progress files: they would promise progress that no checkpoint backs; OSError."""
        if not self._process.announces:
            return
        self._announcer_number()  # while those before it are still there
        stale = [each.path for each in files.progress_files(self._directory)]
        stale += [path for path in [self._directory / files.PROGRESS_NAME] if path.exists()]
        for path in stale:
            _LOG.warning("removed %s: no whole checkpoint stands behind it", path.name)
            path.unlink(missing_ok=True)

    def warn_of_unrestored(self, step: int) -> None:
        """Log where the first save of a process is behind what a restore would have found."""
        with suppress(OSError):  # the save that follows says it better
            found = files.checkpoints(self._directory, self._process.rank)
            if found and found[0].step > step and not self._known:
                _LOG.warning(
                    "saving step %d although %s is further on: call restore() before training",
                    step,
                    found[0].path.name,
                )

    def know(self, progress: Progress) -> None:
        """This checkpoint was read to its last byte."""
        self._known[progress.checkpoint] = Kept(
            progress.step, True, self._value(progress.metrics), progress.saved_at
        )

    def _warn_of(self, left_out: dict[str, list[str]]) -> None:
        """Log, once for each rule, what the progress file does without; the checkpoint has it all."""
        for rule in sorted(left_out.keys() - self._warned_of):
            what = ", ".join(left_out[rule][:3]) + (", …" if len(left_out[rule]) > 3 else "")
            _LOG.warning(
                "not in %s: %s (%d in all): %s", files.PROGRESS_NAME, what, len(left_out[rule]), rule
            )
        self._warned_of.update(left_out)

    def _find_place(self) -> None:
        """Where files are written until they have their names: out of what SageMaker uploads, if possible."""
        if not self._found_place and self._keep.mirrored is not None:
            self._beside = files.staging_beside(self._directory, self._keep.mirrored, self._process.rank)
        self._found_place = True

    def _write(self, path: Path, step: int, about: dict[str, object], state: State) -> None:
        def fill(stream: BinaryIO) -> None:
            envelope.write(stream, about, state, self._serialise)

        try:
            files.write_durably(path, fill, self._beside)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._make_room(step):
                raise
            files.write_durably(path, fill, self._beside)

    def _make_room(self, step: int) -> bool:
        """Whether checkpoints before this step could be deleted that stayed for their upload alone."""
        gone = 0 if self._keep.mirrored is None else self._prune(step - 1, uploaded_before=None)
        if gone:
            said = "the disk is full: deleted %d older checkpoint(s) before a newer one was sure to be in S3"
            _LOG.warning(said, gone)
        return gone > 0

    def _announcer_number(self) -> int:
        """This process's number among those that have written progress files here: one more than any before.

        By a count and not by a clock, which may be wrong on the next machine. All files before are here, because
        the prefix is restored before a container starts.
        """
        if self._announcer is None:
            found = files.progress_files(self._directory)
            self._announcer = 1 + max((each.process for each in found), default=0)
        return self._announcer

    def _uploaded_before(self, newest: Path) -> datetime | None:
        """What was saved until then is taken to be in S3; None where nothing is uploaded."""
        return None if self._keep.mirrored is None else self._now() - self.upload_time(newest)

    def upload_time(self, saved: Path) -> timedelta:
        """After how long a checkpoint is taken to be in S3; nothing is waited for where nothing is uploaded."""
        if self._keep.mirrored is None:
            return timedelta(0)
        seconds = self._keep.upload_seconds
        return timedelta(seconds=assumed_upload_seconds(saved.stat().st_size) if seconds is None else seconds)

    def _prune(self, done: int, uploaded_before: datetime | None) -> int:
        """Delete the older checkpoints that nobody needs; how many."""
        # A later step than ours is broken, or was never restored: not ours to delete.
        found = [each for each in files.checkpoints(self._directory, self._process.rank) if each.step <= done]
        kept, whole = [], 0
        for each in found:
            kept.append(self._look(each, thoroughly=whole < self._keep_last))
            whole += kept[-1].whole
        alone = self._process.files_per_step == 1
        steps = set(expendable(kept, self._keep_last, self._keep.best, uploaded_before, alone=alone))
        for each in found:
            if each.step in steps:
                files.remove(each.path)
                self._known.pop(each.path.name, None)
        return len(steps)

    def _prune_progress(self, uploaded_before: datetime | None) -> None:
        """Delete the progress files without a checkpoint, and of each step those that have a newer one in S3."""
        if not self._process.announces:
            return
        steps = {each.step for each in files.checkpoints(self._directory, self._process.rank)}
        before = self._now() if uploaded_before is None else uploaded_before
        newest_first = files.progress_files(self._directory)
        for step in {each.step for each in newest_first}:
            same_step = [each for each in newest_first if each.step == step]
            # What another process has written came from S3.
            written = [self._announced.get(each.path.name) for each in same_step]
            stay = {0} | for_upload(written, before) if step in steps else set()
            for index, each in enumerate(same_step):
                if index not in stay:
                    files.remove(each.path)
                    self._announced.pop(each.path.name, None)

    def _look(self, found: Found, *, thoroughly: bool) -> Kept:
        """What is known of a file. Only those of an earlier process are opened, and once."""
        known = self._known.get(found.path.name)
        if known is None:
            try:
                footer = envelope.verify(found.path) if thoroughly else envelope.footer_of(found.path)
                progress = from_document(footer.about["progress"])
                known = Kept(found.step, True, self._value(progress.metrics), progress.saved_at)
            except (BrokenCheckpointError, OSError, KeyError, TypeError):
                known = Kept(found.step, False)
        now = self._now()
        if known.saved_at is not None and known.saved_at > now:
            known = replace(known, saved_at=now)  # the clock was set back: its age counts from here
        self._known[found.path.name] = known
        return known

    def _value(self, metrics: dict[str, float | None]) -> float | None:
        return None if self._keep.best is None else metrics.get(self._keep.best.metric)


class Background:
    """One thread that does one piece of work at a time.

    An interpreter that exits finishes the piece in flight: the executor joins its thread at exit.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._flight: Future[None] | None = None
        self._process = os.getpid()

    @property
    def busy(self) -> bool:
        """Whether a piece of work is not done yet."""
        return self._flight is not None and not self._flight.done()

    def start(self, work: Callable[[], None]) -> None:
        """Do the work beside the caller, after `settle`."""
        self.settle()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="nightspot-checkpoint")
        try:
            self._flight = self._pool.submit(work)
        except RuntimeError:
            # The interpreter is going down and starts no threads; there is no loop left to hold up.
            work()

    def settle(self) -> None:
        """Wait for the work in flight, and raise what it raised, once."""
        if self._process != os.getpid():
            # The thread did not come along into a forked child, and neither did the work.
            self._pool, self._flight, self._process = None, None, os.getpid()
        if self._flight is None:
            return
        # An interrupted wait leaves the flight where it is: the next call waits for it again.
        wait([self._flight])
        done, self._flight = self._flight, None
        done.result()
