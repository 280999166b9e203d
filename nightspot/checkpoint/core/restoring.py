"""Which checkpoint counts: the newest step that is complete, its own file read to the last byte.

Of several ranks each reads its own file and checks every byte of it; of the others' it looks at the
end, which shows whether they are there, whole in length, and of the same number of ranks. Damage
inside another rank's file is seen by that rank only: with `gather` all then go back to an older step
together, without it the ranks must compare the step that they restored.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from . import envelope, files
from .errors import BrokenCheckpointError, StateError, UnreadableStateError, WorldSizeError
from .files import Found
from .progress import Progress, from_document
from .ranks import Gather, Rank
from .state import Deserialise, Form, Kind, Window, can

_LOG = logging.getLogger("nightspot.checkpoint")
_NOTHING = -1
_LOOKS = 5


@dataclass(frozen=True)
class Whole:
    """A checkpoint whose every byte (of this rank) is as it was saved."""

    path: Path
    progress: Progress
    state: Any
    points: object = None  # of the curve, that had not arrived when it was saved; see `curve`

    def restored(self, state: Any, skipped: tuple[Skipped, ...]) -> Restored:
        """What the script gets: `state`, and where it comes from."""
        return Restored(
            step=self.progress.step,
            state=state,
            metrics=self.progress.metrics,
            run_id=self.progress.run_id,
            attempt=self.progress.attempt,
            training_job_name=self.progress.training_job_name,
            saved_at=self.progress.saved_at,
            path=self.path,
            skipped=skipped,
        )


class Restorer:
    """Looks through one directory for one rank."""

    def __init__(
        self, directory: Path, process: Rank, deserialise: Deserialise, gather: Gather | None
    ) -> None:
        self._directory = directory
        self._process = process
        self._deserialise = deserialise
        self._gather = gather

    def newest(self) -> tuple[Whole | None, tuple[Skipped, ...]]:
        """The newest checkpoint that counts, if there is one, and what is newer and does not.

        Raises OSError if the directory cannot be listed, WorldSizeError if the newest complete
        checkpoint is of another number of ranks, and UnreadableStateError where checkpoints are
        whole and none can be read: to train from the beginning would overwrite them.
        """
        limit: int | None = None
        while True:
            whole, skipped, unreadable = self._newest_still_there(limit)
            mine = _NOTHING if whole is None else whole.progress.step
            everyones = [mine] if self._gather is None else list(self._gather(mine))
            if min(everyones) == max(everyones):
                break
            # Some rank cannot read what this one can: all go back to what all can read.
            limit = min(everyones)
        if whole is None and unreadable is not None:
            raise UnreadableStateError(
                f"directory={self._directory}: no checkpoint can be read with this deserialise, "
                f"the newest: {unreadable}"
            ) from unreadable
        return whole, skipped

    def _newest_still_there(
        self, limit: int | None
    ) -> tuple[Whole | None, tuple[Skipped, ...], UnreadableStateError | None]:
        """As `_newest`; another process may save newer ones, and delete those listed, meanwhile."""
        for _ in range(_LOOKS):
            outcome = self._newest(limit)
            if outcome[0] is not None or all(each.path.exists() for each in outcome[1]):
                break
        return outcome

    def _newest(
        self, limit: int | None
    ) -> tuple[Whole | None, tuple[Skipped, ...], UnreadableStateError | None]:
        skipped: list[Skipped] = []
        unreadable = None
        for step, found in self._steps():
            problems = self._problems(step, found)
            own = found.get(self._process.file_rank)
            if limit is not None and step > limit:
                problems.append(Skipped(self._path(step), "another rank cannot read its file of this step"))
            if not problems and own is not None:
                try:
                    return self._read(own), tuple(skipped), unreadable
                except UnreadableStateError as error:
                    unreadable = unreadable or error
                    problems.append(Skipped(own.path, str(error)))
                except (BrokenCheckpointError, OSError) as error:
                    problems.append(Skipped(own.path, str(error)))
            for problem in problems:
                _LOG.warning("skipped %s: %s", problem.path.name, problem.reason)
            skipped += problems
        return None, tuple(skipped), unreadable

    def _steps(self) -> Iterator[tuple[int, dict[int, Found]]]:
        """The files of each step by rank, the highest step first; only steps that concern us."""
        for step, group in groupby(files.all_checkpoints(self._directory), key=lambda each: each.step):
            found = {each.rank: each for each in group}
            if any(rank < self._process.files_per_step for rank in found):
                yield step, found

    def _problems(self, step: int, found: dict[int, Found]) -> list[Skipped]:
        """Why the step does not count, as far as names and footers tell; [] if it does."""
        sizes: dict[int, int] = {}
        problems = []
        for rank in range(self._process.files_per_step):
            if rank not in found:
                reason = f"rank {rank} of {self._process.files_per_step} has not saved this step"
                problems.append(Skipped(self._path(step, rank), reason))
                continue
            try:
                sizes[rank] = _world_size(found[rank])
            except (BrokenCheckpointError, OSError) as error:
                problems.append(Skipped(found[rank].path, str(error)))
        if self._process.replicated:
            return problems
        for rank, size in sizes.items():
            if size != self._process.files_per_step:
                self._refuse_if_complete(step, found, size)
                problems.append(
                    Skipped(found[rank].path, f"saved by {size} ranks, of which not all have saved this step")
                )
        return problems

    def _refuse_if_complete(self, step: int, found: dict[int, Found], size: int) -> None:
        try:
            complete = all(rank in found and _world_size(found[rank]) == size for rank in range(size))
        except (BrokenCheckpointError, OSError):
            complete = False
        if complete:
            raise WorldSizeError(
                f"world_size={self._process.world_size}: step {step} in {self._directory} was saved by {size} "
                "rank(s) and can only be restored by as many; where every rank has the same state, "
                "replicated=True restores rank 0's"
            )

    def _path(self, step: int, rank: int | None = None) -> Path:
        return self._directory / files.checkpoint_name(
            step, self._process.file_rank if rank is None else rank
        )

    def _read(self, found: Found) -> Whole:
        with found.path.open("rb") as stream:
            footer = envelope.read_footer(stream)
            progress = _progress(footer)
            if progress.step != found.step or footer.about.get("rank") != found.rank:
                raise BrokenCheckpointError(f"the file was saved as {progress.checkpoint}")
            state = self._state(stream, footer, found.path)
            return Whole(found.path, progress, state, footer.about.get("points"))

    def _state(self, stream: BinaryIO, footer: envelope.Footer, path: Path) -> Any:
        parts: dict[str, Any] = {}
        for part in footer.parts:
            if part.form is Form.BYTES:
                parts[part.name] = envelope.content(stream, part)
                continue
            envelope.check(stream, part)
            if part.form is Form.FILE:
                parts[part.name] = SavedFile(path, part)
        # Only now: nothing is unpickled from a file of which any byte is wrong.
        serialised = [part for part in footer.parts if part.form is Form.SERIALISED]
        values = self._value(Window(stream, serialised[0].start, serialised[0].size)) if serialised else {}
        if footer.kind is not Kind.MAPPING:
            return parts["state"] if footer.kind is Kind.BYTES else values
        lacking = [name for name in footer.names if name not in parts]
        if lacking and not (isinstance(values, Mapping) and all(name in values for name in lacking)):
            raise UnreadableStateError(f"the file is whole, and deserialise gave no mapping with {lacking}")
        return {name: parts[name] if name in parts else values[name] for name in footer.names}

    def _value(self, window: Window) -> Any:
        try:
            return self._deserialise(io.BufferedReader(window))
        # The callable is the user's, or pickle, which lets through whatever the values raise.
        except Exception as error:
            raise UnreadableStateError(
                f"the file is whole, and its state cannot be read ({type(error).__name__}: {error})"
            ) from error


def _world_size(found: Found) -> int:
    """How many files make this checkpoint complete, as its footer says."""
    size = envelope.footer_of(found.path).about.get("files_per_step")
    if not isinstance(size, int):
        raise BrokenCheckpointError(f"the footer is not this library's (files_per_step={size!r})")
    return size


def _progress(footer: envelope.Footer) -> Progress:
    try:
        return from_document(footer.about["progress"])
    except KeyError as error:
        raise BrokenCheckpointError(f"the footer is not this library's ({error!r})") from error


@dataclass(frozen=True)
class Skipped:
    """A file that is missing from a checkpoint or is not a whole one, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


@dataclass(frozen=True)
class SavedFile:
    """A file whose contents are in a checkpoint. Use it before the next save may delete that one."""

    checkpoint: Path
    part: envelope.StoredPart = field(repr=False)

    def read_bytes(self) -> bytes:
        """The contents; OSError or BrokenCheckpointError if they have changed since the restore."""
        with self.checkpoint.open("rb") as stream:
            return envelope.content(stream, self.part)

    def copy_to(self, target: str | os.PathLike[str]) -> Path:
        """Write the contents to `target`, whole or not at all; errors as `read_bytes`."""
        path = Path(target)
        with self.checkpoint.open("rb") as stream:
            files.write_durably(path, lambda sink: sink.writelines(envelope.chunks(stream, self.part)))
        return path


@dataclass(frozen=True)
class Restored:
    """A checkpoint that was whole: the state as it was saved, and where it comes from.

    `state` has the type that was saved: bytes, what an object's state_dict() gave, or a dict with
    bytes as bytes, files as SavedFile and all else as it went in (objects as their state_dict).
    `run_id`, `attempt` and `training_job_name` are those of the process that saved it, `saved_at`
    is its time in UTC, and `skipped` says which newer files did not count, the newest first.
    """

    step: int
    state: Any = field(repr=False)
    metrics: dict[str, float | None]
    run_id: str | None
    attempt: int | None
    training_job_name: str | None
    saved_at: datetime
    path: Path
    skipped: tuple[Skipped, ...]

    def load_into(self, target: Any) -> None:
        """Hand the state, or each value of a mapping, to `load_state_dict` of the target's object.

        A mapping's values without load_state_dict() are left alone: take those from `state`.
        Raises StateError before anything is loaded where the checkpoint lacks one of the names, or
        nothing in the target can load.
        """
        if can(target, "load_state_dict"):
            target.load_state_dict(self.state)
            return
        named = target.items() if isinstance(target, Mapping) else ()
        objects = {name: each for name, each in named if can(each, "load_state_dict")}
        if not objects:
            raise StateError(f"target is {type(target).__name__}: nothing in it has load_state_dict()")
        missing = [name for name in objects if not isinstance(self.state, Mapping) or name not in self.state]
        if missing:
            raise StateError(f"target has the names {missing}: {self.path.name} must have them too")
        for name, each in objects.items():
            each.load_state_dict(self.state[name])
