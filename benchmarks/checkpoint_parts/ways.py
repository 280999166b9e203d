"""What saving is compared with: copies in memory, pickle and the library itself, on NumPy arrays."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from checkpoint_parts.states import arrays, copied
from nightspot.checkpoint import Checkpointer
from nightspot.checkpoint.core.state import ReusedCopies

OURS, OURS_BESIDE = "Nightspot, waiting", "Nightspot, beside"
COPY_FRESH, COPY_REUSED = "copy, fresh memory", "copy, reused memory"
DURABLY = " + fsync + rename"


def nothing() -> None:
    """What is left to do where a save does all of it at once."""


@dataclass(frozen=True)
class Way:
    """One way to save.

    save: called with a step that rises; returns when the loop may go on.
    finish: returns when all that was asked for is done.
    stored: the files and folders of the newest save; empty where nothing is written.
    restore: reads the newest save into memory; None where nothing is written.
    """

    name: str
    save: Callable[[int], object]
    finish: Callable[[], object] = nothing
    stored: Callable[[], list[Path]] = list
    restore: Callable[[], object] | None = None
    close: Callable[[], object] = nothing


@dataclass(frozen=True)
class Kit:
    """How to do with an array library what all ways need: the plain save is its own, or pickle's.

    room: gives memory of the host for an array's copy; copy_into: target, source.
    """

    name: str
    copy_fresh: Callable[[Any], Any]
    room: Callable[[Any], Any]
    copy_into: Callable[[Any, Any], object]
    dump: Callable[[Any, Any], object]
    load: Callable[[Any], object]
    checkpointer: Callable[[Path], Checkpointer]
    synchronise: Callable[[], object]


def numpy_kit() -> Kit:
    """NumPy arrays, pickle beside the library's defaults."""
    return Kit(
        name="pickle",
        copy_fresh=np.copy,
        room=np.empty_like,
        copy_into=np.copyto,
        dump=lambda state, stream: pickle.dump(state, stream, protocol=5),
        load=pickle.load,
        checkpointer=lambda directory: Checkpointer(directory, snapshot=ReusedCopies(), environ={}),
        synchronise=nothing,
    )


def ways_of(state: Any, directory: Path, kit: Kit) -> list[Way]:
    """What every array library allows; each way writes to a folder of its own below `directory`."""
    return [
        *_copies(state, kit),
        _plain(state, _folder(directory, "plain"), kit, durably=False),
        _plain(state, _folder(directory, "durable"), kit, durably=True),
        _ours(state, directory / "waiting", kit, wait=True),
        _ours(state, directory / "beside", kit, wait=False),
    ]


def bytes_of(paths: list[Path]) -> int:
    """What these files hold, and those below these folders."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def keep_newest(folder: Path, newest: Path) -> None:
    """Delete what else is in the folder, as the library does within its saves."""
    for path in folder.iterdir():
        if path == newest:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _copies(state: Any, kit: Kit) -> list[Way]:
    kept = copied(state, kit.room)

    def fresh(_: int) -> None:
        copied(state, kit.copy_fresh)
        kit.synchronise()

    def reused(_: int) -> None:
        for target, source in zip(arrays(kept), arrays(state), strict=True):
            kit.copy_into(target, source)
        kit.synchronise()

    return [Way(COPY_FRESH, fresh), Way(COPY_REUSED, reused)]


def _plain(state: Any, folder: Path, kit: Kit, *, durably: bool) -> Way:
    newest = [folder / "none"]

    def save(step: int) -> None:
        path = folder / f"{step}.state"
        target = path.with_suffix(".tmp") if durably else path
        with target.open("wb") as stream:
            kit.dump(state, stream)
            if durably:
                stream.flush()
                os.fsync(stream.fileno())
        if durably:
            target.replace(path)
        newest[0] = path

    def restore() -> object:
        with newest[0].open("rb") as stream:
            return kit.load(stream)

    return Way(
        kit.name + (DURABLY if durably else ""),
        save,
        finish=lambda: keep_newest(folder, newest[0]),
        stored=lambda: [newest[0]],
        restore=restore,
    )


def _ours(state: Any, folder: Path, kit: Kit, *, wait: bool) -> Way:
    checkpointer = kit.checkpointer(folder)
    newest: list[Path] = []

    def save(step: int) -> None:
        path = checkpointer.save(step, state, wait=wait)
        newest[:] = [folder / "nightspot.json"] if path is None else [path, folder / "nightspot.json"]

    return Way(
        OURS if wait else OURS_BESIDE,
        save,
        finish=checkpointer.wait,
        stored=lambda: newest,
        restore=lambda: kit.checkpointer(folder).restore(),
        close=checkpointer.close,
    )


def _folder(directory: Path, name: str) -> Path:
    folder = directory / name
    folder.mkdir()
    return folder
