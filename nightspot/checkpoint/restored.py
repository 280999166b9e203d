"""Decides what a script gets back from a restore."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from . import envelope, files
from .errors import StateError
from .state import can


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
