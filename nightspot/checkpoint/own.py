"""Decides how files that a framework writes by a function of its own get into a checkpoint and out again.

save_with_if_due(checkpointer, step, lambda folder: model.save(folder / "model"), metrics={"loss": loss})
...
restored = checkpointer.restore()
if restored:
    model = Model.load(unpack(restored, work / "restored") / "model")
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, SupportsIndex

from .checkpointer import Checkpointer
from .core.errors import DirectoryError, StateError
from .core.restoring import Restored, SavedFile

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
    beside = checkpointer.directory.absolute().parent
    place = Path(scratch) if scratch is not None else beside if os.access(beside, os.W_OK | os.X_OK) else None
    try:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="nightspot-save-", dir=place)))
    except OSError as error:
        raise DirectoryError(f"scratch={place}: must be a folder that can be written ({error})") from error
    write(folder)
    state = dict(also or {})
    found = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    if not found:
        raise StateError("write has left no file: must put what is to be saved into the folder it is given")
    both = sorted(set(found) & set(state))
    if both:
        raise StateError(
            f"also has the names {both}: must be others than those of the files that write leaves"
        )
    return {**state, **found}
