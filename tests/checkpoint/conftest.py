"""A clock that the test moves, a checkpointer that reads nothing of this machine, and a disk that fails on call."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nightspot.checkpoint import Checkpointer, Restored

START = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)


class Clock:
    """Stands still until it is told to move on."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(tmp_path: Path, clock: Clock) -> Callable[..., Checkpointer]:
    """Each call is a process that starts on the same directory."""

    def start(**options: Any) -> Checkpointer:
        return Checkpointer(tmp_path, **{"environ": {}, "now": clock, **options})

    return start


class Disk:
    """Counts every call that changes the disk and lets one of them fail, or be the last.

    Opening for writing, each write, fsync (of files and directories), rename and unlink are calls.
    `act` is asked before each with its number and, for a write, how to write half of it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.names: list[str] = []
        self.act: Callable[[int, str, Callable[[], None]], None] = lambda number, name, half: None
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
            monkeypatch.setattr(owner, name, self._watched(name, getattr(owner, name)))
        self._open = Path.open
        monkeypatch.setattr(Path, "open", self._watched_open())

    def fail_at(self, number: int, error: OSError, *, half: bool = False) -> None:
        """Let the call with this number (from 0) raise, a write after half of its bytes if so wished."""

        def act(call: int, name: str, write_half: Callable[[], None]) -> None:
            if call == number:
                if half:
                    write_half()
                raise error

        self.act = act

    def kill_at(self, number: int, *, half: bool = False) -> None:
        """Let the call with this number (from 0) never return: the process is gone."""

        def act(call: int, name: str, write_half: Callable[[], None]) -> None:
            if call == number:
                if half:
                    write_half()
                os.kill(os.getpid(), signal.SIGKILL)

        self.act = act

    def _count(self, name: str, half: Callable[[], None]) -> None:
        number, self.calls = self.calls, self.calls + 1
        self.names.append(name)
        self.act(number, name, half)

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._count(name, lambda: None)
            return real(*arguments, **options)

        return call

    def _watched_open(self) -> Callable[..., Any]:
        def call(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if "r" in mode:
                return self._open(path, mode, *arguments, **options)
            self._count("open", lambda: None)
            return _WatchedFile(self._open(path, mode, *arguments, **options), self._count)

        return call


class _WatchedFile:
    """A file whose writes are calls of the disk."""

    def __init__(self, stream: Any, count: Callable[[str, Callable[[], None]], None]) -> None:
        self._stream, self._count = stream, count

    def __enter__(self) -> _WatchedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: Any) -> int:
        def half() -> None:
            self._stream.write(memoryview(data)[: len(data) // 2])
            self._stream.flush()

        self._count("write", half)
        written = self._stream.write(data)
        # Each write reaches the kernel at once, as a large one does.
        self._stream.flush()
        return int(written)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Training:
    """A training whose state after any step is known, so that a mixture of two shows."""

    @staticmethod
    def state(step: int) -> dict[str, Any]:
        block = hashlib.sha256(str(step).encode()).digest()
        return {"head": block, "body": block * 300, "values": {"step": step, "block": block}}

    def was_saved(self, restored: Restored) -> bool:
        return restored.state == self.state(restored.step)


@pytest.fixture
def training() -> Training:
    return Training()


class Child:
    """A forked process; `reading` is the pipe that its work writes to."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self.reading, writing = os.pipe()
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(300)  # whatever happens, it does not outlive its test for long
                os.close(self.reading)
                work(writing)
            finally:
                os._exit(0)  # whatever happened, a child never goes on with the tests
        os.close(writing)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.close(self.reading)

    def kill(self) -> None:
        """End it, if it has not ended, and wait for that."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status()

    def status(self) -> int:
        """Wait for its end; minus the signal that ended it, as subprocess has it, or its exit status."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


@pytest.fixture
def forked() -> type[Child]:
    """To be called with the work, a function of the pipe to report to; kills at the end of `with`."""
    return Child
