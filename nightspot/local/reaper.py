"""Decides that no training process outlives the program that started it, however that one ends.

`atexit` does not run on SIGKILL, and asking the kernel for a death signal is Linux only. So a
small helper process reads a pipe: when the other end closes, it kills what is still running.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from threading import Lock

HELPER = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Reaper:
    """Kills the watched process groups when this program ends. Thread safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._helper: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Kill this process group when the program ends."""
        with self._lock:
            if self._helper is None:
                self._helper = _start_helper()
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended; its number may come to belong to somebody else."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the helper; it kills what is still watched. Idempotent."""
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            with contextlib.suppress(BrokenPipeError):
                helper.communicate()

    def _tell(self, message: str) -> None:
        # A helper killed by hand only costs the safety net, not the training.
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._helper is not None and self._helper.stdin is not None:
                self._helper.stdin.write(message.encode())
                self._helper.stdin.flush()


def _start_helper() -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal must not take the helper with the program.
    return subprocess.Popen(  # noqa: S603 - this Python, and the lines above
        [sys.executable, "-I", "-S", "-c", HELPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
