"""The order in which a save touches the disk, so that a kill between any two steps loses nothing.

The checkpoint is durable before nightspot.json speaks of it, and both are before an older one goes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from . import envelope, files
from .errors import BrokenCheckpointError, DirectoryError
from .files import Found, KeepBest, Kept, expendable
from .progress import Progress, fitted
from .settings import Rank, as_text
from .state import Serialise, State

_LOG = logging.getLogger("nightspot.checkpoint")

# Ranks train in step and save beside it: when this one's newest file is durable, another may still be
# writing the one before, and the last that all have is two back.
_LEAST_KEPT_IN_COMPANY = 3


class Writer:
    """Writes one rank's checkpoints. One thread at a time may use it."""

    def __init__(
        self,
        directory: Path,
        process: Rank,
        keep_last: int,
        keep_best: KeepBest | None,
        serialise: Serialise,
        now: Callable[[], datetime],
    ) -> None:
        self._directory = directory
        self._process = process
        self._keep_last = max(keep_last, _LEAST_KEPT_IN_COMPANY) if process.files_per_step > 1 else keep_last
        self._keep_best = keep_best
        self._serialise = serialise
        self._now = now
        self._tidied = False
        self._known: dict[str, Kept] = {}
        self._warned_of: set[str] = set()

    def save(self, progress: Progress, state: State) -> None:
        """Make the checkpoint durable, then nightspot.json, then drop old ones; DirectoryError."""
        path = self._directory / progress.checkpoint
        about = {
            "progress": progress.document(),
            "rank": self._process.rank,
            "files_per_step": self._process.files_per_step,
        }
        try:
            # Once, and not at every save: what appears later belongs to a process that is alive.
            if not self._tidied:
                files.remove_leftovers(self._directory, self._process.rank)
                self._tidied = True
            files.write_durably(path, lambda stream: envelope.write(stream, about, state, self._serialise))
            self.announce(progress)
            self._known[path.name] = Kept(progress.step, True, self._value(progress.metrics))
            self._prune(progress.step)
        except OSError as error:
            raise DirectoryError(
                f"step={progress.step}: cannot save in {self._directory} ({error})"
            ) from error
        _LOG.info("saved step %d as %s", progress.step, path.name)

    def announce(self, progress: Progress) -> None:
        """Write nightspot.json, on the rank that does; OSError."""
        if not self._process.announces:
            return
        fits, left_out = fitted(progress.document())
        self._warn_of(left_out)
        document = {**fits, "written_at": as_text(self._now())}
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        files.write_durably(self._directory / files.PROGRESS_NAME, lambda stream: stream.write(text.encode()))

    def withdraw(self) -> None:
        """Delete nightspot.json: it would promise progress that no checkpoint backs; OSError."""
        stale = self._directory / files.PROGRESS_NAME
        if self._process.announces and stale.exists():
            _LOG.warning("removed %s: no whole checkpoint stands behind it", stale.name)
            stale.unlink()

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
        self._known[progress.checkpoint] = Kept(progress.step, True, self._value(progress.metrics))

    def _warn_of(self, left_out: dict[str, list[str]]) -> None:
        """Log, once for each rule, what the progress file does without; the checkpoint has it all."""
        for rule in sorted(left_out.keys() - self._warned_of):
            what = ", ".join(left_out[rule][:3]) + (", …" if len(left_out[rule]) > 3 else "")
            _LOG.warning(
                "not in %s: %s (%d in all): %s", files.PROGRESS_NAME, what, len(left_out[rule]), rule
            )
        self._warned_of.update(left_out)

    def _prune(self, done: int) -> None:
        # A later step than ours is broken, or was never restored: not ours to delete.
        found = [each for each in files.checkpoints(self._directory, self._process.rank) if each.step <= done]
        kept, whole = [], 0
        for each in found:
            kept.append(self._look(each, thoroughly=whole < self._keep_last))
            whole += kept[-1].whole
        steps = set(expendable(kept, self._keep_last, self._keep_best))
        for each in found:
            if each.step in steps:
                files.remove(each.path)
                self._known.pop(each.path.name, None)

    def _look(self, found: Found, *, thoroughly: bool) -> Kept:
        """What is known of a file. Only those of an earlier process are opened, and once."""
        known = self._known.get(found.path.name)
        if known is None:
            try:
                footer = envelope.verify(found.path) if thoroughly else envelope.footer_of(found.path)
                known = Kept(found.step, True, self._value(footer.about["progress"]["metrics"]))
            except (BrokenCheckpointError, OSError, KeyError, TypeError):
                known = Kept(found.step, False)
            self._known[found.path.name] = known
        return known

    def _value(self, metrics: dict[str, float | None]) -> float | None:
        return None if self._keep_best is None else metrics.get(self._keep_best.metric)


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
