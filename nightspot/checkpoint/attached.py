"""Decides how a Checkpointer serves a trainer that runs the loop and writes its state into files itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checkpointer import Checkpointer
from .core.errors import DirectoryError, SettingError, StateError
from .core.settings import ASKED_TO_STOP_STATUS
from .own import unpack

_KNOWN_TO_THE_TRAINER = ("total_steps", "rank", "world_size", "replicated")


class Attached:
    """What the callbacks for such trainers have in common.

    A trainer wants its checkpoint before it knows how many steps there will be, and which process this
    is. So `restore` only reads, on every rank, and `begin` makes the Checkpointer that goes on from
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

    def restore(self) -> Path | None:
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
        folder = self._folder_beside(reader.directory)
        self._remove_unpacked = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return unpack(restored, folder)

    def begin(self, step: int, *, how: str, **known: Any) -> Checkpointer:
        """The Checkpointer for a training that has done `step` steps.

        known: what only the trainer knows. Raises StateError where there is a checkpoint and training
        does not go on from it: `how` says what must be done with what `restore` returned.
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
        return checkpointer

    def due(self, step: int) -> bool:
        """`Checkpointer.due`."""
        self._forget_unpacked()
        return self.checkpointer.due(step)

    def exit_if_asked(self, status: int = ASKED_TO_STOP_STATUS) -> None:
        """`Checkpointer.exit_if_asked`; nothing before training has begun."""
        if self._checkpointer is not None:
            self._checkpointer.exit_if_asked(status)

    def _forget_unpacked(self) -> None:
        if self._remove_unpacked is not None:
            self._remove_unpacked()

    def _folder_beside(self, directory: Path) -> Path:
        beside = directory.absolute().parent
        place = self._scratch or (beside if os.access(beside, os.W_OK | os.X_OK) else None)
        try:
            return Path(tempfile.mkdtemp(prefix="nightspot-restored-", dir=place))
        except OSError as error:
            raise DirectoryError(
                f"scratch={place}: must be a folder that can be written ({error})"
            ) from error
