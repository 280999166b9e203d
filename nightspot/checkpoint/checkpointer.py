"""When a save counts, what a restore means for the training, and when the process should leave."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, SupportsIndex

from .core import settings
from .core.curve import Curve, Tracker, check_trackers
from .core.errors import CheckpointError, DirectoryError
from .core.files import KeepBest, keep_best_from
from .core.journal import Event, journal_from
from .core.progress import Pace, Progress, ProgressWriter, ResumedFrom, check_metrics, check_step
from .core.ranks import Gather, rank_from
from .core.restoring import Restored, Restorer, Skipped, Whole
from .core.schedule import Due
from .core.settings import ASKED_TO_STOP_STATUS, clock_from
from .core.state import (
    Deserialise,
    ReusedCopies,
    Serialise,
    Snapshot,
    State,
    called,
    describe,
    hold,
    pickled,
    unpickled,
)
from .core.writer import Background, Keep, Writer

_LOG = logging.getLogger("nightspot.checkpoint")


class Checkpointer:
    """Saves and restores the state of one training process in one directory.

    directory: default is the one SageMaker syncs with the job's S3 prefix.
    total_steps: how many steps make the whole training, for the progress file and the last save.
    keep_last, keep_best: how many whole checkpoints to keep; ("loss", "min", 2) keeps the best two
        by a metric as well.
    upload_seconds: after how long a file is taken to be in S3; an older checkpoint stays until a newer
        one is. Default: 10 minutes, or three times what its size takes at 50 MB/s. Outside of a training
        job nothing waits for an upload.
    every_steps, every_seconds, interval: when `due` says yes; "auto" if none is given.
    asynchronous: write beside training; `snapshot` copies the values (default `state.ReusedCopies`).
    serialise, deserialise: value and binary stream, binary stream; default pickle.
    rank, world_size, replicated: several processes on one prefix; see `ranks.rank_from`. With
        replicated state rank 0 writes alone and every rank restores its file.
    gather: all ranks' numbers from this rank's (mpi4py's `comm.allgather`); they then decide as one.
    handle_sigterm: as `on_signal`.
    trackers: where `log` shows the curve (`nightspot.checkpoint.trackers`); rank 0 alone sends, and no drill.
    environ: SageMaker's and Nightspot's variables are read from it, once.
    now: returns an aware UTC datetime; outranks NIGHTSPOT_CLOCK.

    Raises SettingError or DirectoryError. One process per rank writes to a directory at a time (`restore` and
    `save` raise DirectoryError in any other until it ends or calls `close`), and one thread uses a Checkpointer.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        total_steps: int | None = None,
        keep_last: int = 2,
        keep_best: KeepBest | tuple[str, str] | tuple[str, str, int] | None = None,
        upload_seconds: float | None = None,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        interval: str | None = None,
        asynchronous: bool = False,
        snapshot: Snapshot | None = None,
        serialise: Serialise = pickled,
        deserialise: Deserialise = unpickled,
        rank: int | None = None,
        world_size: int | None = None,
        replicated: bool = False,
        gather: Gather | None = None,
        handle_sigterm: bool = False,
        trackers: Sequence[Tracker] = (),
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        if total_steps is not None:
            settings.at_least_one("total_steps", total_steps)
        self._total_steps = total_steps
        self._asynchronous = asynchronous
        self._snapshot = snapshot or ReusedCopies()
        origin = settings.origin_from(environ)
        self._process = rank_from(environ, rank, world_size, replicated)
        self._now = now or clock_from(environ)
        self._journal = journal_from(environ, self._process.rank, self._now)
        started_at = self._now()
        self._progress_writer = ProgressWriter(origin, self._process, total_steps, started_at)
        every = every_steps, every_seconds, interval
        self._due = Due(every, total_steps, self._process, gather, environ, self._now, started_at)
        chosen = settings.directory_from(environ) if directory is None else Path(directory)
        keep = Keep(
            settings.at_least_one("keep_last", keep_last),
            keep_best_from(keep_best),
            settings.mirrored_from(chosen, environ),
            settings.upload_seconds_from(upload_seconds),
        )
        self._directory = settings.prepare(chosen)
        shown = check_trackers(trackers) if self._process.announces and not self._journal.on else ()
        self._curve = Curve(shown, self._now)
        self._writer = Writer(self._directory, self._process, keep, serialise, self._now, self._curve.links)
        self._restorer = Restorer(self._directory, self._process, deserialise, gather)
        self._background = Background()
        self._last_step: int | None = None
        self._resumed_from: ResumedFrom | None = None
        self._pace: Pace | None = None
        self._journal.tell(Event.STARTED, total_steps=total_steps)
        if handle_sigterm:
            self.on_signal()

    @property
    def directory(self) -> Path:
        """Where the checkpoints are."""
        return self._directory

    @property
    def interval_seconds(self) -> float | None:
        """The time from one checkpoint to the next that `due` goes by now; None where steps decide."""
        return self._due.interval_seconds

    def save(
        self,
        step: SupportsIndex,
        state: Any,
        *,
        metrics: Mapping[str, float] | None = None,
        wait: bool | None = None,
        skip_if_busy: bool = False,
    ) -> Path | None:
        """Make the state after `step` steps durable, then its progress file, then drop old ones.

        state: bytes; an object with state_dict(); or a mapping of names to bytes, files
            (pathlib.Path, whose contents are saved), such objects and plain values.
        wait: False returns as soon as the state is copied; the default goes by `asynchronous`.
            Once a stop is requested, every save waits.
        skip_if_busy: do nothing, rather than wait, where the save before is still being written.

        Returns the path that the checkpoint has, or will have; None where nothing is saved: it was
        skipped, or this rank does not write. Raises StepError, StateError or MetricsError before
        anything is written, DirectoryError if it cannot be written; what was saved before is then
        still there. Raises what the background save before this one failed with, if it did.
        """
        self._journal.step(step, state, metrics)
        done = check_step(step, self._total_steps, self._last_step)
        checked = check_metrics(metrics)
        asked = self._due.asked_to_stop
        if skip_if_busy and not asked and self._background.busy:
            return None
        described = describe(state)
        self._background.settle()
        path = None
        if self._process.writes:
            self._writer.claim()
            now = self._now()
            # Without a restore() nothing says when the first step began: time from the first save on.
            pace = self._pace or Pace(now, done)
            progress = self._progress_writer.progress(done, checked, pace, now, self._resumed_from)
            path = self._directory / progress.checkpoint
            if self._last_step is None:
                self._writer.warn_of_unrestored(done)
            background = self._asynchronous if wait is None else not wait
            self._write(progress, described, background=background and not asked)
            self._pace = pace
        self._last_step = done
        self._due.saved(done, was_asked=asked)
        return path

    def log(self, step: SupportsIndex, metrics: Mapping[str, float]) -> None:
        """A point of the curve, for the `trackers`; call it before the save of the same step.

        It is sent once a checkpoint of this step or a later one should be in S3, or at `close`, so that no
        point is of steps that are repeated. Costs some 50 microseconds; a tracker that cannot be reached holds
        nothing up. Numbers that are not finite, and steps up to the one that was restored, are left out.
        Raises StepError or MetricsError.
        """
        self._curve.log(check_step(step, self._total_steps, None), check_metrics(metrics))

    def due(self, step: SupportsIndex) -> bool:
        """Whether to save after this step; cheap enough to be asked after each.

        True once the interval has passed, after the last of `total_steps`, and at once when a stop
        is requested. With `gather` every rank must ask after the same steps, and all get the same
        answer. Raises StepError, and SettingError where several ranks would go by their own clocks.
        """
        self._journal.step(step, None, None)
        return self._due.is_due(check_step(step, self._total_steps, self._last_step))

    def save_if_due(
        self, step: SupportsIndex, state: Any, *, metrics: Mapping[str, float] | None = None
    ) -> Path | None:
        """`save` where `due` says so; the path, or None where nothing was saved.

        `state` can be a function without arguments, called only if its result is needed; in a drill
        (`journal`) after every step.
        """
        if self._journal.on:
            state = called(state)
            self._journal.step(step, state, metrics)
        return self.save(step, called(state), metrics=metrics) if self.due(step) else None

    def restore(self) -> Restored | None:
        """The newest checkpoint that counts, or None; a progress file then says so at once.

        Newest is the highest step; `restoring` says what counts. Files that are not whole are logged
        and left where they are. Raises DirectoryError if the directory cannot be listed or written,
        WorldSizeError if the checkpoint is of another number of ranks, UnreadableStateError if
        there are whole ones that `deserialise` cannot read.
        """
        self._background.settle()
        self._writer.claim()
        self._journal.tell(Event.RESTORING)
        begun = self._now()
        try:
            whole, skipped = self._restorer.newest()
            if whole is not None:
                self._due.assume((self._now() - begun).total_seconds(), beside=self._asynchronous)
                return self._resume(whole, skipped)
            self._start_from_nothing(skipped)
        except OSError as error:
            raise DirectoryError(f"directory={self._directory}: cannot be used ({error})") from error
        self._journal.tell(Event.RESTORED, step=None, skipped=skipped)
        return None

    def on_signal(self, signum: int = signal.SIGTERM) -> None:
        """Take the signal as a request to stop: finish the step, save once more, leave.

        Only from the main thread, SettingError elsewhere. A handler that was there before is still
        called. Where the variable NIGHTSPOT_RECLAIM_NOTICE_FILE names a file, its appearance is
        such a request too, with no call of this.
        """
        self._due.stop.listen(signum)

    @property
    def stop_requested(self) -> bool:
        """Whether this process, or one it trains together with, was asked to end."""
        return self._due.stop_requested

    @property
    def should_stop(self) -> bool:
        """Whether it was asked to end and the state has been saved since: the script can leave."""
        return self._due.should_stop

    def exit_if_asked(self, status: int = ASKED_TO_STOP_STATUS) -> None:
        """Raise SystemExit where `should_stop`; the default status is that of an end by SIGTERM."""
        if self.should_stop:
            self.close()
            raise SystemExit(status)

    def wait(self) -> None:
        """Return when the save in flight is durable; raises what it failed with, once."""
        self._background.settle()

    def close(self) -> None:
        """`wait`, and give signals back to the handlers that were there before.

        The points of the curve that still wait are sent (for a minute at most), unless a stop was requested: the
        next attempt has them from the checkpoint. Another process may write to the directory then.
        """
        self._close(complete=not self.stop_requested)

    def __enter__(self) -> Checkpointer:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        # What ended the training must not be replaced by a save that failed; that one is in the log.
        try:
            self._close(complete=error is None and not self.stop_requested)
        except CheckpointError:
            if error is None:
                raise

    def _close(self, *, complete: bool) -> None:
        self._due.stop.forget()
        try:
            self._background.settle()
            self._curve.close(complete=complete)
        finally:
            self._writer.release()

    def _write(self, progress: Progress, state: State, *, background: bool) -> None:
        begun = self._now()
        if background:
            state = hold(state, self._snapshot)
        points = self._curve.held(progress.step)
        held = self._now()
        held_up_seconds = (held - begun).total_seconds()

        def write() -> None:
            self._journal.tell(Event.SAVING, step=progress.step)
            self._writer.save(progress, state, points)
            if self._curve.on:
                upload = self._writer.upload_time(self._directory / progress.checkpoint)
                self._curve.saved(progress.step, self._now() + upload)
            self._journal.tell(Event.SAVED, step=progress.step)
            written_seconds = (self._now() - held).total_seconds()
            if background:
                self._due.learn(held_up_seconds, written_seconds)
            else:
                self._due.learn(written_seconds)

        def write_and_log() -> None:
            try:
                write()
            except CheckpointError:
                # It is raised at the next call, which after the last save may never come.
                _LOG.exception("the save of step %d failed", progress.step)
                raise

        if background:
            self._background.start(write_and_log)
        else:
            write()

    def _resume(self, whole: Whole, skipped: tuple[Skipped, ...]) -> Restored:
        progress, now = whole.progress, self._now()
        run_id, total_steps = self._progress_writer.origin.run_id, self._total_steps
        if run_id is not None and progress.run_id is not None and progress.run_id != run_id:
            said = "%s is of run %s, this is run %s: a checkpoint prefix should belong to one run"
            _LOG.warning(said, progress.checkpoint, progress.run_id, run_id)
        if total_steps is not None and progress.step > total_steps:
            said = "%s is beyond total_steps=%d: nothing is left to train"
            _LOG.warning(said, progress.checkpoint, total_steps)
        self._last_step = progress.step
        self._pace = Pace(now, progress.step, progress.seconds_per_step)
        self._resumed_from = ResumedFrom(progress.step, progress.attempt)
        self._due.begin(progress.step)
        self._curve.begin(progress.step, whole.points)
        self._writer.know(progress)
        self._writer.announce(
            self._progress_writer.progress(
                progress.step, progress.metrics, self._pace, progress.saved_at, self._resumed_from
            )
        )
        _LOG.info("restored step %d from %s", progress.step, whole.path.name)
        self._journal.tell(Event.RESTORED, step=progress.step, skipped=skipped)
        return whole.restored(self._journal.watched(whole.state), skipped)

    def _start_from_nothing(self, skipped: tuple[Skipped, ...]) -> None:
        self._pace = Pace(self._now(), 0)
        self._resumed_from = None
        self._due.begin(0)
        self._curve.begin(None, None)
        if skipped:
            said = "no checkpoint in %s is whole, training starts from the beginning: %s"
            _LOG.error(said, self._directory, "; ".join(map(str, skipped)))
        self._writer.withdraw()
