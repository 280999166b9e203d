"""Decides which checkpoint to restore, when a save counts, and which older ones may go."""

from __future__ import annotations

import json
import logging
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import SupportsIndex

from . import envelope, files, settings
from .clock import as_text, clock_from
from .errors import BrokenCheckpointError, DirectoryError, StepError
from .pace import Pace
from .progress import Progress, ResumedFrom, check_metrics, from_document

_LOG = logging.getLogger("nightspot.checkpoint")
_RANK = 0


@dataclass(frozen=True)
class Skipped:
    """A file that is named as a checkpoint and is not a whole one, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Restored:
    """A checkpoint that was whole: the state as it was saved, and where it comes from.

    `state` is bytes or a dict of bytes, as saved. `run_id`, `attempt` and `training_job_name`
    are those of the process that saved it, `saved_at` is its time in UTC, and `skipped` lists the
    newer files that were not whole, the newest first.
    """

    step: int
    state: bytes | dict[str, bytes] = field(repr=False)
    metrics: dict[str, float | None]
    run_id: str | None
    attempt: int | None
    training_job_name: str | None
    saved_at: datetime
    path: Path
    skipped: tuple[Skipped, ...]


class Checkpointer:
    """Saves and restores the state of one training process in one directory.

    directory: default is the one SageMaker syncs with the job's S3 prefix.
    total_steps: how many steps make the whole training, for the progress file.
    keep_last: how many whole checkpoints to keep.
    environ: SM_INPUT_CONFIG_DIR, NIGHTSPOT_RUN_ID, NIGHTSPOT_ATTEMPT, TRAINING_JOB_NAME and
        NIGHTSPOT_CLOCK are read from it, once.
    now: returns an aware UTC datetime; outranks NIGHTSPOT_CLOCK.

    Raises SettingError or DirectoryError. One process writes to a directory at a time.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        total_steps: int | None = None,
        keep_last: int = 2,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        if total_steps is not None:
            settings.at_least_one("total_steps", total_steps)
        self._total_steps = total_steps
        self._keep_last = settings.at_least_one("keep_last", keep_last)
        self._origin = settings.origin_from(environ)
        self._now = now or clock_from(environ)
        chosen = settings.directory_from(environ) if directory is None else Path(directory)
        self._directory = settings.prepare(chosen)
        self._last_step: int | None = None
        self._resumed_from: ResumedFrom | None = None
        self._pace: Pace | None = None
        self._whole: dict[str, bool] = {}

    @property
    def directory(self) -> Path:
        """Where the checkpoints are."""
        return self._directory

    def save(
        self,
        step: SupportsIndex,
        state: bytes | Mapping[str, bytes],
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> Path:
        """Make the state after `step` steps durable, then nightspot.json, then drop old ones.

        Returns the checkpoint's path. Raises StepError, StateError or MetricsError before
        anything is written, DirectoryError if it cannot be written; what was saved before is
        then still there.
        """
        done = self._check_step(step)
        envelope.check_state(state)
        now = self._now()
        # Without a restore() nothing says when the first step began: time from the first save on.
        pace = self._pace or Pace(now, done)
        progress = self._describe(done, check_metrics(metrics), pace, now)
        path = self._directory / progress.checkpoint
        try:
            if self._last_step is None:
                self._warn_of_unrestored(done)
            files.remove_leftovers(self._directory, _RANK)
            files.write_durably(path, envelope.encode(progress.document(), _RANK, state))
            self._write_progress(progress, now)
            self._last_step, self._pace = done, pace
            self._whole[path.name] = True
            self._prune(done)
        except OSError as error:
            raise DirectoryError(f"step={done}: cannot save in {self._directory} ({error})") from error
        _LOG.info("saved step %d as %s", done, path.name)
        return path

    def restore(self) -> Restored | None:
        """The newest checkpoint that is whole, or None; nightspot.json then says so at once.

        Newest is the highest step. Files that are not whole are logged and left where they are.
        Raises DirectoryError if the directory cannot be listed or written.
        """
        skipped: list[Skipped] = []
        try:
            for found in files.checkpoints(self._directory, _RANK):
                try:
                    progress, state = _read(found)
                except (BrokenCheckpointError, OSError) as error:
                    _LOG.warning("skipped %s: %s", found.path.name, error)
                    self._whole[found.path.name] = False
                    skipped.append(Skipped(found.path, str(error)))
                else:
                    return self._resume(found, progress, state, tuple(skipped))
            self._start_from_nothing(skipped)
        except OSError as error:
            raise DirectoryError(f"directory={self._directory}: cannot be used ({error})") from error
        return None

    def _describe(self, done: int, metrics: dict[str, float | None], pace: Pace, now: datetime) -> Progress:
        return Progress(
            run_id=self._origin.run_id,
            attempt=self._origin.attempt,
            training_job_name=self._origin.training_job_name,
            step=done,
            total_steps=self._total_steps,
            seconds_per_step=pace.seconds_per_step(done, now),
            saved_at=now,
            checkpoint=files.checkpoint_name(done, _RANK),
            metrics=metrics,
            resumed_from=self._resumed_from,
        )

    def _resume(
        self,
        found: files.Found,
        progress: Progress,
        state: bytes | dict[str, bytes],
        skipped: tuple[Skipped, ...],
    ) -> Restored:
        self._warn_of_other_training(progress)
        now = self._now()
        self._whole[found.path.name] = True
        self._last_step = progress.step
        self._pace = Pace(now, progress.step, progress.seconds_per_step)
        self._resumed_from = ResumedFrom(progress.step, progress.attempt)
        resumed = replace(
            progress,
            run_id=self._origin.run_id,
            attempt=self._origin.attempt,
            training_job_name=self._origin.training_job_name,
            total_steps=self._total_steps,
            resumed_from=self._resumed_from,
        )
        self._write_progress(resumed, now)
        _LOG.info("restored step %d from %s", progress.step, found.path.name)
        return Restored(
            step=progress.step,
            state=state,
            metrics=progress.metrics,
            run_id=progress.run_id,
            attempt=progress.attempt,
            training_job_name=progress.training_job_name,
            saved_at=progress.saved_at,
            path=found.path,
            skipped=skipped,
        )

    def _start_from_nothing(self, skipped: list[Skipped]) -> None:
        self._pace = Pace(self._now(), 0)
        self._resumed_from = None
        if skipped:
            _LOG.error(
                "no checkpoint in %s is whole, training starts from the beginning: %s",
                self._directory,
                "; ".join(f"{each.path.name}: {each.reason}" for each in skipped),
            )
        # It would promise progress that no checkpoint backs.
        stale = self._directory / files.PROGRESS_NAME
        if stale.exists():
            _LOG.warning("removed %s: no whole checkpoint stands behind it", stale.name)
            stale.unlink()

    def _write_progress(self, progress: Progress, now: datetime) -> None:
        document = {**progress.document(), "written_at": as_text(now)}
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        files.write_durably(self._directory / files.PROGRESS_NAME, [text.encode()])

    def _check_step(self, step: SupportsIndex) -> int:
        try:
            done = operator.index(step)
        except TypeError:
            done = -1
        if isinstance(step, bool) or done < 0:
            raise StepError(f"step={step!r}: must be a whole number of steps done, from 0 on")
        if self._total_steps is not None and done > self._total_steps:
            raise StepError(f"step={done}: must not be beyond total_steps={self._total_steps}")
        if self._last_step is not None and done < self._last_step:
            raise StepError(
                f"step={done}: must not go backwards, step {self._last_step} was saved or restored"
            )
        return done

    def _prune(self, done: int) -> None:
        kept = 0
        for found in files.checkpoints(self._directory, _RANK):
            # A later step than ours is broken, or was never restored: not ours to delete.
            if found.step > done:
                continue
            if kept < self._keep_last:
                kept += self._is_whole(found)
            else:
                files.remove_leftover(found.path)

    def _is_whole(self, found: files.Found) -> bool:
        # Only files of an earlier process that restore() did not need to open are read here, once.
        known = self._whole.get(found.path.name)
        if known is None:
            try:
                envelope.verify(found.path)
                known = True
            except (BrokenCheckpointError, OSError):
                known = False
            self._whole[found.path.name] = known
        return known

    def _warn_of_unrestored(self, done: int) -> None:
        ahead = [f.path.name for f in files.checkpoints(self._directory, _RANK) if f.step > done]
        if ahead and not self._whole:
            _LOG.warning(
                "saving step %d although %s is further on: call restore() before training",
                done,
                ahead[0],
            )

    def _warn_of_other_training(self, progress: Progress) -> None:
        ours = self._origin.run_id
        if ours is not None and progress.run_id is not None and progress.run_id != ours:
            _LOG.warning(
                "%s is of run %s, this is run %s: a checkpoint prefix should belong to one run",
                progress.checkpoint,
                progress.run_id,
                ours,
            )
        if self._total_steps is not None and progress.step > self._total_steps:
            _LOG.warning(
                "%s is beyond total_steps=%d: nothing is left to train",
                progress.checkpoint,
                self._total_steps,
            )


def _read(found: files.Found) -> tuple[Progress, bytes | dict[str, bytes]]:
    contents = envelope.read(found.path)
    progress = from_document(contents.progress)
    if progress.step != found.step or contents.rank != _RANK:
        raise BrokenCheckpointError(f"the file was saved as {progress.checkpoint}")
    return progress, contents.state
