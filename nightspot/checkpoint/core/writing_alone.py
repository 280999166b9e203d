"""One process at a time writes a rank's checkpoints: a lock that ends with the process, however it ends.

The lock is on one byte per rank of a file, by fcntl (https://man7.org/linux/man-pages/man2/fcntl_locking.2.html).
Unlike flock's, such a lock does not pass on to forked data loaders, which may outlive a killed parent. What the
file says is for the message alone: left over, or brought to another machine, it locks nobody out.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import socket
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import DirectoryError
from .ranks import Rank

_LOG = logging.getLogger("nightspot.checkpoint")
_RECORD_BYTES = 128  # per rank; the longest host name of Linux has 64 characters

# A process loses all its locks on a file when it closes any descriptor of that file. So each is opened once in a
# process, and closed when the last lock is gone.
_open: dict[tuple[int, Path], int] = {}
_holders: dict[tuple[int, int, int], int] = {}  # how many in this process, by process, descriptor and rank


class WritingAlone:
    """The right to write one rank's files in a directory.

    mirrored: the folder that SageMaker uploads. The lock file is then where the system has temporary files, so
        that it is not uploaded; else in the directory itself, where processes of other machines see it too.
    """

    def __init__(self, directory: Path, process: Rank, mirrored: Path | None) -> None:
        self._directory = directory
        self._process = process
        self._mirrored = mirrored
        self._held: weakref.finalize[Any, Any] | None = None
        self._process_id = 0

    def claim(self) -> None:
        """Keep it until `release`, or the end of this process; DirectoryError where another process has it.

        Where no lock can be had (a file system without locks, no place for the file) nothing is checked.
        """
        if self._held is not None and self._process_id == os.getpid():
            return
        descriptor = self._locked()
        if descriptor is None:
            return
        record = f"process {os.getpid()} on {socket.gethostname()}".encode()[:_RECORD_BYTES]
        with suppress(OSError):  # a full disk; the lock holds all the same
            os.pwrite(descriptor, record.ljust(_RECORD_BYTES, b"\0"), self._start)
        holder = (os.getpid(), descriptor, self._process.rank)
        # A Checkpointer that nobody has any more writes nothing either.
        self._held = weakref.finalize(self, _let_go, holder, self._start)
        self._held.atexit = False  # the lock ends with the process
        self._process_id = os.getpid()

    def release(self) -> None:
        """Let another process write, unless another Checkpointer of this one does."""
        if self._held is not None:
            self._held()
            self._held = None

    @property
    def _start(self) -> int:
        return self._process.rank * _RECORD_BYTES

    def _locked(self) -> int | None:
        """The file with this rank's lock on it, None where there can be none; DirectoryError."""
        try:
            path = _place(self._directory, self._mirrored)
            while True:
                key = (os.getpid(), path)
                if key not in _open or not _is_still(path, _open[key]):
                    _open[key] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                descriptor = _open[key]
                holder = (os.getpid(), descriptor, self._process.rank)
                # Before it is locked: a Checkpointer that is collected meanwhile must not take the lock along.
                _holders[holder] = _holders.get(holder, 0) + 1
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _RECORD_BYTES, self._start)
                    if _is_still(path, descriptor):
                        return descriptor
                except (BlockingIOError, PermissionError):
                    _holders[holder] -= 1
                    raise DirectoryError(self._refusal(descriptor)) from None
                except OSError:
                    _holders[holder] -= 1
                    raise
                _holders[holder] -= 1
                # The last one before has just removed the file: another process locks the next.
        except OSError as error:
            _LOG.info("directory=%s: no lock (%s), other writers go unnoticed", self._directory, error)
            return None

    def _refusal(self, descriptor: int) -> str:
        holder = os.pread(descriptor, _RECORD_BYTES, self._start).rstrip(b"\0").decode("ascii", "replace")
        return (
            f"directory={self._directory}: {holder or 'another process'} is saving here as rank "
            f"{self._process.rank}, and this process is rank {self._process.rank} of {self._process.world_size} "
            "too: must be one process per rank. If they train together, start them with a launcher (torchrun, "
            "mpirun, srun) or pass rank= and world_size=; if not, give each a directory of its own, or let the "
            "other one end or close() first"
        )


def _place(directory: Path, mirrored: Path | None) -> Path:
    """The lock file of a directory, the same for all processes that write there."""
    if mirrored is None:
        return directory.absolute() / ".nightspot.lock"
    # With the inode, which is another one in another container, and the path: an inode is given out again.
    where = f"{os.path.realpath(directory)} {directory.stat().st_dev} {directory.stat().st_ino} {os.getuid()}"
    return Path(tempfile.gettempdir(), f"nightspot-{hashlib.sha256(where.encode()).hexdigest()[:16]}.lock")


def _let_go(holder: tuple[int, int, int], start: int) -> None:
    process_id, descriptor, _ = holder
    if process_id != os.getpid():  # a fork has no share in its parent's locks
        return
    _holders[holder] -= 1
    if _holders[holder]:
        return
    with suppress(OSError):
        fcntl.lockf(descriptor, fcntl.LOCK_UN, _RECORD_BYTES, start)
        if not any(count and each[:2] == holder[:2] for each, count in _holders.items()):
            _remove(descriptor)


def _remove(descriptor: int) -> None:
    """Delete and close the file, unless another process has a lock on it."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for key, each in list(_open.items()):
        if (key[0], each) == (os.getpid(), descriptor):
            if _is_still(key[1], descriptor):
                os.unlink(key[1])  # noqa: PTH108 - no call of a save, which the tests count by Path's
            del _open[key]
    os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file at the path is the one that was opened: a folder may be deleted and made again."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
