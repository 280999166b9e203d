"""Trainers that run the loop and write files themselves: how a Checkpointer serves them and packs their files."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, SupportsIndex

from .carried import CALLBACKS, Carried, load_memories
from .checkpointer import Checkpointer
from .core.errors import DirectoryError, SettingError, StateError
from .core.restoring import Restored, SavedFile
from .core.settings import ASKED_TO_STOP_STATUS

Write = Callable[[Path], object]


def save_with(
    checkpointer: Checkpointer,
    step: SupportsIndex,
    write: Write,
    *,
    also: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    scratch: str | os.PathLike[str] | None = None,
) -> Path | None:
    """Save what `write` puts into the empty folder it is called with: files, in folders of any depth.

    also: more parts of the state, as for `Checkpointer.save`.
    scratch: where that folder is made; default is beside the checkpoint directory, on the same disk
        and out of what SageMaker uploads, or in the system's place where that cannot be written. It
        is gone when this returns; an asynchronous save has read the files into memory by then.

    Returns and raises as `Checkpointer.save`, with whatever `write` raises: what was saved before is
    then still there. Raises StateError where `write` leaves no file, or one named as a part of `also`,
    and DirectoryError where the folder cannot be made.
    """
    with ExitStack() as cleanup:
        state = _written(checkpointer, write, also, scratch, cleanup)
        return checkpointer.save(step, state, metrics=metrics)


def save_with_if_due(
    checkpointer: Checkpointer,
    step: SupportsIndex,
    write: Write,
    *,
    also: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    scratch: str | os.PathLike[str] | None = None,
) -> Path | None:
    """`save_with` where `Checkpointer.due` says so; `write` is not called otherwise."""
    with ExitStack() as cleanup:
        return checkpointer.save_if_due(
            step, lambda: _written(checkpointer, write, also, scratch, cleanup), metrics=metrics
        )


def unpack(restored: Restored, folder: str | os.PathLike[str]) -> Path:
    """Write the files of a checkpoint into `folder`, as `write` left them; returns it.

    Each file is whole or not there. Files that are in the folder already are overwritten or left
    alone, so give it one of its own. Raises StateError where the checkpoint has no files, or a name
    that leads out of the folder; OSError or BrokenCheckpointError where they cannot be copied.
    """
    state = restored.state if isinstance(restored.state, Mapping) else {}
    files = {name: each for name, each in state.items() if isinstance(each, SavedFile)}
    if not files:
        raise StateError(f"{restored.path.name}: must have files in it, it has {sorted(state)}")
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise StateError(
                f"{restored.path.name} has the file {name!r}: must be a path inside of the folder"
            )
    target = Path(folder)
    for name, each in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        each.copy_to(target / name)
    return target


def _written(
    checkpointer: Checkpointer,
    write: Write,
    also: Mapping[str, Any] | None,
    scratch: str | os.PathLike[str] | None,
    cleanup: ExitStack,
) -> dict[str, Any]:
    """The state: `also` and every file that `write` leaves, by its path in the folder."""
    folder = _new_folder(checkpointer.directory, scratch, "nightspot-save-")
    cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    write(folder)
    state = dict(also or {})
    found = files_in(folder)
    if not found:
        raise StateError("write has left no file: must put what is to be saved into the folder it is given")
    both = sorted(set(found) & set(state))
    if both:
        raise StateError(
            f"also has the names {both}: must be others than those of the files that write leaves"
        )
    return {**state, **found}


def _new_folder(directory: Path, scratch: str | os.PathLike[str] | None, prefix: str) -> Path:
    """Below `scratch`, else beside the directory, else where the system has such; DirectoryError."""
    beside = directory.absolute().parent
    place = scratch or (beside if os.access(beside, os.W_OK | os.X_OK) else None)
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    except OSError as error:
        raise DirectoryError(f"scratch={place}: must be a folder that can be written ({error})") from error


def files_in(folder: Path) -> dict[str, Path]:
    """Every file below the folder by its path in it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


_KNOWN_TO_THE_TRAINER = ("total_steps", "rank", "world_size", "replicated")


class Attached:
    """What the callbacks for such trainers have in common.

    A trainer wants its checkpoint before it knows how many steps there will be, and which process this
    is. So `unpacked` only reads, on every rank, and `begin` makes the Checkpointer that continues from
    there. All ranks have the same state, or one folder for all: rank 0 writes it.

    settings: those of Checkpointer that the trainer does not know itself; SettingError for others.
    scratch: where a checkpoint is unpacked; default is beside the checkpoint directory, on the same
        disk and out of what SageMaker uploads, or in the system's place where that cannot be written.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        scratch: str | os.PathLike[str] | None,
        settings: Mapping[str, Any],
    ) -> None:
        given = [name for name in _KNOWN_TO_THE_TRAINER if name in settings]
        if given:
            raise SettingError(f"{given}: must not be given, the trainer says it")
        self._directory = directory
        self._scratch = scratch
        self._settings = dict(settings)
        self._checkpointer: Checkpointer | None = None
        self._carried: list[Carried] = []
        self._memories: list[tuple[str, Mapping[str, Any]]] = []
        self._remove_unpacked: weakref.finalize[Any, Any] | None = None

    @property
    def checkpointer(self) -> Checkpointer:
        """The one that saves; SettingError before training has begun."""
        if self._checkpointer is None:
            raise SettingError("checkpointer: must not be asked for before training has begun")
        return self._checkpointer

    @property
    def began(self) -> bool:
        """Whether training has begun."""
        return self._checkpointer is not None

    def unpacked(self) -> Path | None:
        """A folder with the files of the newest checkpoint that is whole, or None; as Checkpointer.restore.

        It is there until the first step of the training is done.
        """
        for_reading = {name: self._settings[name] for name in ("environ", "now") if name in self._settings}
        # A second of two ranks that have the same: it reads what rank 0 wrote, and announces nothing.
        reader = Checkpointer(self._directory, rank=1, world_size=2, replicated=True, **for_reading)
        restored = reader.restore()
        if restored is None:
            return None
        self._forget_unpacked()
        folder = _new_folder(reader.directory, self._scratch, "nightspot-restored-")
        self._remove_unpacked = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return unpack(restored, folder)

    def begin(self, step: int, *, how: str, **known: Any) -> Checkpointer:
        """The Checkpointer for a training that has done `step` steps.

        known: what only the trainer knows. Raises StateError where there is a checkpoint and training
        does not continue from it: `how` says what must be done with what `unpacked` returned.
        """
        if self._checkpointer is not None:
            self._checkpointer.close()
        checkpointer = Checkpointer(self._directory, **{"replicated": True, **known, **self._settings})
        restored = checkpointer.restore()
        if restored is not None and restored.step != step:
            checkpointer.close()
            raise StateError(
                f"training begins after step {step}, and the newest checkpoint in {checkpointer.directory} is of "
                f"step {restored.step}: what restore() returned must be passed to {how}"
            )
        self._checkpointer = checkpointer
        state = restored.state if restored is not None and isinstance(restored.state, Mapping) else {}
        self._memories = list(state.get(CALLBACKS, ()))
        return checkpointer

    def carry(self, carried: Sequence[Carried]) -> None:
        """From now on what these callbacks remember is in every save; `give_back` loads what was."""
        self._carried = list(carried)

    def give_back(self) -> None:
        """Load what the callbacks remembered, once; StateError where one of them is there no more."""
        memories, self._memories = self._memories, []
        load_memories(self._carried, memories)

    def due(self, step: int) -> bool:
        """`Checkpointer.due`."""
        self._forget_unpacked()
        return self.checkpointer.due(step)

    def exit_if_asked(self, status: int = ASKED_TO_STOP_STATUS) -> None:
        """As Checkpointer.exit_if_asked, for the line after the training; nothing before it has begun."""
        if self._checkpointer is not None:
            self._checkpointer.exit_if_asked(status)

    def _forget_unpacked(self) -> None:
        if self._remove_unpacked is not None:
            self._remove_unpacked()
