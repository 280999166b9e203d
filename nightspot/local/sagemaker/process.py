"""How the training command runs: in its own process group, its words in the job's log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread

PYTHON_NAMES = {"python", "python3"}


class CommandError(Exception):
    """The training command could not be started."""


class TrainingProcess:
    """One running training command and everything it starts.

    Raises `CommandError` where the command does not exist or may not be run. `on_line` gets every
    line of standard output and error, without its end, from a thread of its own; the same lines
    are appended to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        on_line: Callable[[str], None] | None,
        reaper: Reaper,
    ) -> None:
        self._reaper = reaper
        self._log = log
        self._on_line = on_line
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            # The command is the user's own, from the job file; running it is what was asked for.
            self._popen = subprocess.Popen(  # noqa: S603
                _with_this_python(command),
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{' '.join(command)}: {error.strerror or error}") from error
        reaper.watch(self._popen.pid)
        self._reader = Thread(target=self._copy_lines, name=f"log-{log.stem}", daemon=True)
        self._reader.start()

    def exit_code(self) -> int | None:
        """None while it runs, else its exit code as Docker counts: 128 + N for signal N."""
        code = self._popen.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """Ask it to end: SIGTERM to the command itself only, as `docker stop` does.

        https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
        """
        self._popen.terminate()

    def kill(self) -> None:
        """End it and all its children at once; returns when their words are in the log."""
        # A leader that has ended may have left children in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._reaper.forget(self._popen.pid)
        self._reader.join(timeout=5)

    def _copy_lines(self) -> None:
        with self._popen, self._log.open("ab") as log:
            for line in self._popen.stdout or ():
                log.write(line)
                log.flush()
                if self._on_line is not None:
                    self._on_line(line.decode("utf-8", errors="replace").rstrip("\r\n"))


def _with_this_python(command: Sequence[str]) -> list[str]:
    """`python` is the one that runs Nightspot, so that the script finds what is installed here."""
    first, *others = command
    return [sys.executable if first in PYTHON_NAMES else first, *others]


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
