"""A training command that runs in a container, and what ends it with this program."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock, Thread

from nightspot.local.sagemaker import opt_ml
from nightspot.local.sagemaker.container import Container
from nightspot.local.sagemaker.opt_ml import HostWatch

# In the notes of a process that would have packages installed on SageMaker.
NOT_INSTALLED = "nothing is installed here"
PYTHON_NAMES = {"python", "python3"}


class CommandError(Exception):
    """The training command could not be started."""


class TrainingProcess:
    """One running training command and everything it starts, with its container's /opt/ml.

    Raises `CommandError` where the command does not exist or may not be run. `directory` is as the command calls
    it (see `Container.inside`). `on_line` gets every line of standard output and error, without its end, from a
    thread of its own; the same lines are appended to `log`, after `notes`. Where the container is not private, a
    command that writes into this machine's /opt/ml is ended with status 1 and the reason in output/failure.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        container: Container,
        directory: str,
        log: Path,
        on_line: Callable[[str], None] | None,
        reaper: Reaper,
        notes: Sequence[str] = (),
    ) -> None:
        self._reaper = reaper
        self._log = log
        self._on_line = on_line
        self._container = container
        self._notes = notes
        self._host = None if container.is_private else HostWatch()
        self._used: Path | None = None
        self._ended: int | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        first, *others = command
        # `python` is the one that runs Nightspot, so that the script finds what is installed here.
        words = [sys.executable if first in PYTHON_NAMES else first, *others]
        self._words_begin = log.stat().st_size if log.exists() else 0
        self._killed = False
        try:
            self._popen = self._start(words, environment, directory)
        except OSError as error:
            raise CommandError(f"{' '.join(command)}: {error.strerror or error}") from error
        self._reader = Thread(target=self._copy_lines, name=f"log-{log.stem}", daemon=True)
        self._reader.start()

    def _start(
        self, words: Sequence[str], environment: Mapping[str, str], directory: str
    ) -> subprocess.Popen[bytes]:
        """The running command. Raises OSError."""
        is_private = self._container.is_private
        read, write = os.pipe()
        try:
            # The command is the user's own, from the job file; running it is what was asked for.
            popen = subprocess.Popen(  # noqa: S603
                opt_ml.wrapped(words, self._container.opt_ml, directory, write) if is_private else words,
                env=dict(environment),
                cwd=None if is_private else directory,
                pass_fds=[write] if is_private else [],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._reaper.watch(popen.pid)
            os.close(write)
            write = -1
            # Ends when the command has taken the wrapper's place, or at once where there is none.
            said = os.read(read, 16)
        finally:
            for descriptor in (read, write):
                if descriptor >= 0:
                    os.close(descriptor)
        if said:
            with popen:
                self._reaper.forget(popen.pid)
            raise OSError(int(said), os.strerror(int(said)))
        return popen

    def exit_code(self) -> int | None:
        """None while it runs, else its exit code as Docker counts: 128 + N for signal N."""
        if self._ended is not None:
            return self._ended
        code = self._popen.poll()
        if self._looked(at_once=code is not None):
            self.kill()
            return self._ended
        if code is not None:
            self._ended = code if code >= 0 else 128 - code
            if code > 0:
                self._explain()
        return self._ended

    def terminate(self) -> None:
        """Ask it to end: SIGTERM to the command itself only, as `docker stop` does.

        https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
        """
        self._popen.terminate()

    def kill(self) -> None:
        """End it and all its children at once; returns when their words are in the log. Idempotent.

        What it wrote into this machine's /opt/ml goes to `opt-ml-of-this-machine` beside the log.
        """
        if self._killed:
            return
        self._killed = True
        # A leader that has ended may have left children in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._reaper.forget(self._popen.pid)
        self._reader.join(timeout=5)
        if self._looked(at_once=True) and self._host is not None:
            # Whatever it says of itself does not count: it trained with what is not the job's.
            self._ended = 1
            self._fail(opt_ml.explanation(str(self._used)))
            self._host.take_away(self._log.parent / "opt-ml-of-this-machine")

    def _looked(self, *, at_once: bool) -> bool:
        """Whether it has used this machine's /opt/ml by now."""
        if self._host is not None and self._used is None:
            self._used = self._host.changed(at_once=at_once)
        return self._used is not None

    def _explain(self) -> None:
        """Say why it failed, where that is because of how it is run here and it does not say so itself."""
        if self._container.failure_text() is not None:
            return
        self._reader.join(timeout=5)
        with self._log.open("rb") as log:
            log.seek(max(self._words_begin, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            last = log.read().decode("utf-8", errors="replace")
        if self._host is not None and (used := _REFUSED_PATH.findall(last)):
            self._fail(f"{used[-1][0].strip()}\n{opt_ml.explanation(used[-1][1])}")
        elif unknown := _UNKNOWN_ARGUMENTS.findall(last):
            self._fail(f"{unknown[-1]}\n{PASSED}")
        elif any(NOT_INSTALLED in note for note in self._notes) and (missing := _NO_MODULE.findall(last)):
            self._fail(
                f"{missing[-1]}\nOf the archive's requirements {NOT_INSTALLED}: install them beside Nightspot."
            )

    def _fail(self, reason: str) -> None:
        self._container.output.mkdir(parents=True, exist_ok=True)
        (self._container.output / "failure").write_text(reason, encoding="utf-8")

    def _copy_lines(self) -> None:
        with self._popen, self._log.open("ab") as log:
            for line in chain(
                (f"nightspot: {note}\n".encode() for note in self._notes), self._popen.stdout or ()
            ):
                log.write(line)
                log.flush()
                if self._on_line is not None:
                    self._on_line(line.decode("utf-8", errors="replace").rstrip("\r\n"))


_TAIL_BYTES = 8192
_UNKNOWN_ARGUMENTS = re.compile(r"(?m)^.*error: unrecognized arguments: .*$")  # argparse's words
PASSED = (
    "Hyperparameters are passed as arguments, as SageMaker's training toolkit passes them; for a command that does "
    "not take them, set local.pass_hyperparameters: false."
)
_NO_MODULE = re.compile(r"(?m)^ModuleNotFoundError: .*$")
# The last line of a traceback about a file, such as
# FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/checkpoints/ckpt-0001.pt'
_REFUSED_PATH = re.compile(r"(?m)^(.*(?:Error|error|denied|No such file).*?(/opt/ml[^\s'\":]*).*)$")


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
                # A session of its own: Ctrl-C in the terminal must not take the helper with the program.
                self._helper = subprocess.Popen(  # noqa: S603 - this Python, and the lines above
                    [sys.executable, "-I", "-S", "-c", HELPER],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
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
