"""What the files in a checkpoint directory are called, how one becomes durable, and which may be deleted."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from .errors import SettingError

# The newest progress once more, under a name that is written again and again: for schedulers that do not
# know the files below.
PROGRESS_NAME = "nightspot.json"
MOST_PROCESSES = 10**6  # that a scheduler reads of; nothing that trains has so many

# SageMaker gives every instance the same prefix, so the writer's rank is part of the name.
_NAME = re.compile(r"checkpoint-(?P<step>\d{9,})-rank(?P<rank>\d{5,})\.nsck")
_PROGRESS = re.compile(r"nightspot-(?P<process>\d{6,7})-(?P<step>\d{9,})-(?P<number>\d{6,10})\.json")

# A sync daemon uploads whatever it sees, half-written files included, and brings them back to the
# next start. The suffix keeps them from ever matching a checkpoint's name. The random part keeps
# two processes that were started on one directory from writing into each other's file.
_TEMPORARY = re.compile(
    r"(checkpoint-\d{9,}-rank(?P<rank>\d{5,})\.nsck|nightspot[\d-]*\.json)((\.[0-9a-f]+)?\.tmp)+"
)


@dataclass(frozen=True)
class Found:
    """A file that is named as a checkpoint; nothing is known yet of what is in it."""

    step: int
    rank: int
    path: Path


def checkpoint_name(step: int, rank: int) -> str:
    """For example checkpoint-000000012-rank00000.nsck; names sort as their steps do."""
    return f"checkpoint-{step:09d}-rank{rank:05d}.nsck"


def all_checkpoints(directory: Path) -> list[Found]:
    """Every rank's checkpoint files, the highest step first; OSError if it cannot be listed."""
    matches = [(path, _NAME.fullmatch(path.name)) for path in directory.iterdir()]
    found = [Found(int(match["step"]), int(match["rank"]), path) for path, match in matches if match]
    return sorted(found, key=lambda each: (-each.step, each.rank))


def checkpoints(directory: Path, rank: int) -> list[Found]:
    """This rank's checkpoint files, the highest step first; OSError if it cannot be listed."""
    return [found for found in all_checkpoints(directory) if found.rank == rank]


@dataclass(frozen=True)
class ProgressFile:
    """A file that is named as a progress file, by which of them are newer."""

    process: int
    step: int
    number: int
    path: Path

    @property
    def order(self) -> tuple[int, int, int]:
        """Higher is newer: a later process, and in it a later step."""
        return self.process, self.step, self.number


def progress_name(process: int, step: int, number: int) -> str:
    """For example nightspot-000003-000000012-000004.json; names sort as the files were written.

    process: which of the processes that announced progress in this directory, from 1 on.
    number: which of its own announcements, from 1 on.
    """
    return f"nightspot-{process:06d}-{step:09d}-{number:06d}.json"


def progress_files(directory: Path) -> list[ProgressFile]:
    """The progress files, the newest first; OSError if the directory cannot be listed."""
    matches = [(path, _PROGRESS.fullmatch(path.name)) for path in directory.iterdir()]
    found = [
        ProgressFile(int(match["process"]), int(match["step"]), int(match["number"]), path)
        for path, match in matches
        if match and int(match["process"]) <= MOST_PROCESSES
    ]
    return sorted(found, key=lambda each: each.order, reverse=True)


def write_durably(path: Path, fill: Callable[[BinaryIO], object], beside: Path | None = None) -> None:
    """Put the file under its name whole or not at all, and return when it survives a power cut.

    `fill` writes the contents. beside: a folder to write in until the file has its name, from which it can be
    renamed (`staging_beside`); default is the file's own. Raises OSError, or whatever `fill` raises, with the
    file that was there before left as it was.
    """
    while not _write_once(path, fill, beside):
        pass
    _sync_directory(path.parent)


def staging_beside(directory: Path, mirrored: Path, rank: int) -> Path | None:
    """The folder beside `mirrored`, which SageMaker uploads, if files can be renamed from it into `directory`.

    None where it cannot be written, or the directory is another mount: a rename does not cross one, even on one
    file system (EXDEV, https://man7.org/linux/man-pages/man2/rename.2.html). So one is tried.
    """
    beside = mirrored.absolute().parent
    probe = directory / f"{checkpoint_name(0, rank)}.{secrets.token_hex(4)}.tmp"
    try:
        written = _write_once(probe, bool, beside)
    except OSError:
        return None
    finally:
        remove(probe)
    return beside if written else None


def remove_leftovers(directory: Path, rank: int, beside: Path | None = None) -> None:
    """Delete the temporary files that killed saves of this rank left behind, in both places; OSError.

    Those of progress files are rank 0's. What a living process is writing stays.
    """
    hidden = _hidden(directory)
    places = [(path, path.name) for path in directory.iterdir()]
    if beside is not None:
        places += [
            (path, path.name[len(hidden) :]) for path in beside.iterdir() if path.name.startswith(hidden)
        ]
    for path, name in places:
        match = _TEMPORARY.fullmatch(name)
        if match and int(match["rank"] or 0) == rank:
            with contextlib.suppress(OSError), path.open("rb") as stream:
                if _lock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    remove(path)


def remove(path: Path) -> None:
    """Delete a file that nobody needs; one that cannot be deleted does no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def _hidden(directory: Path) -> str:
    """How temporary files beside the directory begin: several directories may have one parent."""
    return f".{directory.absolute().name}."


def _write_once(path: Path, fill: Callable[[BinaryIO], object], beside: Path | None) -> bool:
    """Write and rename; False where another process took the new file for a leftover."""
    name = f"{path.name}.{secrets.token_hex(4)}.tmp"
    temporary = path.with_name(name) if beside is None else beside / f"{_hidden(path.parent)}{name}"
    try:
        with temporary.open("xb") as stream:
            # The lock goes with the process, however it ends, and so tells a leftover from a file
            # that is being written.
            _lock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink == 0:
                return False
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
            temporary.replace(path)
    except BaseException:
        # On a full disk the half-written file would stand in the way of every later save.
        remove(temporary)
        raise
    return True


def _lock(stream: BinaryIO, how: int) -> bool:
    """Whether the lock is ours now, or the file system has no locks."""
    try:
        fcntl.flock(stream.fileno(), how)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


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


@dataclass(frozen=True)
class KeepBest:
    """Keep the `count` checkpoints whose `metric` is the lowest ("min") or the highest ("max")."""

    metric: str
    order: str
    count: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise SettingError(f"keep_best.metric={self.metric!r}: must be the name of a metric")
        if self.order not in ("min", "max"):
            raise SettingError(f"keep_best.order={self.order!r}: must be 'min' or 'max'")
        if not isinstance(self.count, int) or isinstance(self.count, bool) or self.count < 1:
            raise SettingError(f"keep_best.count={self.count!r}: must be a whole number from 1 on")


@dataclass(frozen=True)
class Kept:
    """A checkpoint file as this decision sees it; `value` is its metric, None where it has none.

    saved_at: since when it has been there; None: for as long as anybody needs to know.
    """

    step: int
    whole: bool
    value: float | None = None
    saved_at: datetime | None = None


def keep_best_from(value: object) -> KeepBest | None:
    """The setting as given: None, a KeepBest, or its fields as a tuple; SettingError otherwise."""
    if value is None or isinstance(value, KeepBest):
        return value
    if isinstance(value, tuple) and len(value) in (2, 3):
        return KeepBest(*value)
    raise SettingError(f"keep_best={value!r}: must be (metric, 'min' or 'max', count)")


def expendable(
    files: Sequence[Kept],
    keep_last: int,
    keep_best: KeepBest | None,
    uploaded_before: datetime | None = None,
    *,
    alone: bool = True,
) -> list[int]:
    """The steps of the files that may be deleted; `files` are the newest first.

    The newest `keep_last` whole files stay, and so do the `keep_best`; of equally good ones the newer. A file
    that is not whole counts as nothing, and goes once enough newer ones are whole.

    uploaded_before: what was saved until then is taken to be in S3, where a deleted file is deleted too. What
    `for_upload` names stays then as well, so that there is always a whole one. None: nothing is uploaded.
    alone: no other rank writes a part of the same checkpoints.
    """
    whole = [each for each in files if each.whole]
    if len(whole) < keep_last:
        return []
    last = {each.step for each in whole[:keep_last]}
    oldest = min(last)
    stay = _best(whole, keep_best)
    if uploaded_before is not None:
        saved = [each.saved_at for each in whole]
        stay |= {whole[index].step for index in for_upload(saved, uploaded_before, alone=alone)}
    return [each.step for each in files if each.step < oldest and each.step not in stay]


def for_upload(
    saved: Sequence[datetime | None], uploaded_before: datetime, *, alone: bool = True
) -> set[int]:
    """Which of the files saved at these times, the newest first, must stay for S3 to hold a whole one at any time.

    The newest that is taken to be uploaded; and the oldest of those after it, which takes its place one day: were
    that deleted before, none would ever be old enough. Several ranks delete at different moments, and the same
    two may not be left to all: they keep all that come after.
    """
    after = next((i for i, at in enumerate(saved) if at is None or at <= uploaded_before), len(saved))
    first = max(0, after - 1) if alone else 0
    return set(range(first, min(after + 1, len(saved))))


def _best(whole: Sequence[Kept], keep_best: KeepBest | None) -> set[int]:
    if keep_best is None:
        return set()
    sign = 1 if keep_best.order == "min" else -1
    measured = [(sign * each.value, -each.step) for each in whole if each.value is not None]
    return {-step for _, step in sorted(measured)[: keep_best.count]}
