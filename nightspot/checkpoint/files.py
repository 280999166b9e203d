"""Decides what the files in a checkpoint directory are called and how one becomes durable."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROGRESS_NAME = "nightspot.json"

# A sync daemon uploads whatever it sees, half-written files included, and brings them back to the
# next start. The suffix keeps them from ever matching a checkpoint's name. There is no random part
# in it: the next attempt at the same step then overwrites the leftover.
_TEMPORARY_SUFFIX = ".tmp"

# SageMaker gives every instance the same prefix, so the writer's rank is part of the name.
_NAME = re.compile(r"checkpoint-(?P<step>\d{9,})-rank(?P<rank>\d{5})\.nsck")


@dataclass(frozen=True)
class Found:
    """A file that is named as a checkpoint; nothing is known yet of what is in it."""

    step: int
    path: Path


def checkpoint_name(step: int, rank: int) -> str:
    """For example checkpoint-000000012-rank00000.nsck; names sort as their steps do."""
    return f"checkpoint-{step:09d}-rank{rank:05d}.nsck"


def checkpoints(directory: Path, rank: int) -> list[Found]:
    """This rank's checkpoint files, the highest step first; OSError if it cannot be listed."""
    found = []
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and int(match["rank"]) == rank:
            found.append(Found(int(match["step"]), path))
    return sorted(found, key=lambda each: each.step, reverse=True)


def write_durably(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Put the file under its name whole or not at all, and return when it survives a power cut.

    Raises OSError, with the file that was there before left as it was.
    """
    temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
    try:
        with temporary.open("wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError:
        # On a full disk the half-written file would stand in the way of every later save.
        remove_leftover(temporary)
        raise


def remove_leftovers(directory: Path, rank: int) -> None:
    """Delete the temporary files that a killed save of this rank left behind."""
    ours = f"-rank{rank:05d}.nsck{_TEMPORARY_SUFFIX}"
    for path in directory.iterdir():
        if path.name.endswith(ours) or path.name == PROGRESS_NAME + _TEMPORARY_SUFFIX:
            remove_leftover(path)


def remove_leftover(path: Path) -> None:
    """Delete a file that nobody needs; one that cannot be deleted does no harm."""
    try:
        path.unlink()
    except OSError:
        return


def _sync_directory(directory: Path) -> None:
    # The rename itself is durable only once the directory is.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a directory; they keep its entries themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
