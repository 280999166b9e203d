"""/opt/ml of a training process: its container's own where this machine allows it, else watched.

On SageMaker /opt/ml belongs to the job. Linux can show a process another folder there (see `opt_ml_namespace`).
Where that is not allowed, and on other systems, a script that writes /opt/ml/checkpoints writes into this machine's
own, and the next run would resume from it: such a script is found, and told what to write instead.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

OPT_ML = Path("/opt/ml")
# What SageMaker Studio writes by itself, on the machines where it runs.
_NOT_TRAINING = frozenset({"metadata"})
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from opt_ml_namespace import main; "
    "sys.exit(main(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:]))"
)
_PROBE_SECONDS = 30.0
# What the container sets for the checkpoints; SageMaker has no variable for them.
CHECKPOINTS_VARIABLE = "NIGHTSPOT_CHECKPOINT_DIR"
_VARIABLES = {
    "model": "SM_MODEL_DIR",
    "output": "SM_OUTPUT_DIR",
    "input": "SM_INPUT_DIR",
    "code": "SM_MODULE_DIR",
}


def wrapped(command: Sequence[str], folder: Path, directory: str, errors: int) -> list[str]:
    """The command line that runs `command` with `folder` at /opt/ml; see `opt_ml_namespace.main`."""
    here = str(Path(__file__).parent)
    return [sys.executable, "-I", "-S", "-c", _CODE, here, str(folder), directory, str(errors), *command]


@functools.cache
def can_be_private() -> bool:
    """Whether a process of this user can be given an /opt/ml of its own here; tried once, by doing it.

    As root a mount namespace is enough; others need a user namespace, which Ubuntu 24.04 forbids by AppArmor and
    most container runtimes by seccomp.
    """
    if sys.platform != "linux":
        return False
    read, write = os.pipe()
    try:
        with tempfile.TemporaryDirectory(prefix="nightspot-opt-ml-") as folder:
            tried = subprocess.run(  # noqa: S603 - this Python, and the lines above
                wrapped([], Path(folder), "/", write),
                pass_fds=[write],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_PROBE_SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        os.close(read)
        os.close(write)
    return tried.returncode == 0


def is_private(*places: Path) -> bool:
    """Whether a process gets an /opt/ml of its own that still has to reach `places` by their names.

    What lies below this machine's /opt/ml would be hidden from it.
    """
    hidden = OPT_ML.resolve()
    needed = (*places, Path(sys.prefix), Path(__file__))
    return not any(place.resolve().is_relative_to(hidden) for place in needed) and can_be_private()


class HostWatch:
    """Finds what a process writes into this machine's own /opt/ml, from the moment of its making on."""

    def __init__(self, folder: Path = OPT_ML) -> None:
        self._folder = folder
        self._before = self._seen()
        self._look_at = 0.0

    def changed(self, *, at_once: bool = False) -> Path | None:
        """The first file or folder that is new or was changed, as a script calls it; None without one.

        At most a tenth of the time is spent on looking, unless `at_once`.
        """
        began = time.monotonic()
        if not at_once and began < self._look_at:
            return None
        now = self._seen()
        ended = time.monotonic()
        self._look_at = ended + max(0.1, 10 * (ended - began))
        old = self._before
        different = [path for path, stamp in now.items() if path not in old or old[path] != stamp]
        if not at_once and different == [self._folder]:
            return None  # what goes into it says more
        first = min(different, key=lambda path: (now[path] is None, -len(path.parts), path), default=None)
        return None if first is None else OPT_ML / first.relative_to(self._folder)

    def take_away(self, to: Path) -> list[str]:
        """Move every new file below `to`, remove new folders, and return the files.

        What was there before stays as it is now, and what cannot be moved stays where it is.
        """
        new = [path for path in self._seen() if path not in self._before]
        moved = []
        for path in sorted(new, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):  # of another user, or gone since
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                    continue
                target = to / path.relative_to(self._folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)
                moved.append(str(path))
        return sorted(moved)

    def _seen(self) -> dict[Path, tuple[int, int] | None]:
        """Every file with its time and size, every folder with None; the folder itself included."""
        return dict(self._entries(self._folder)) if self._folder.exists() else {}

    def _entries(self, folder: Path) -> Iterator[tuple[Path, tuple[int, int] | None]]:
        yield folder, None
        try:
            with os.scandir(folder) as listing:
                left_out = _NOT_TRAINING if folder == self._folder else ()
                entries = [entry for entry in listing if entry.name not in left_out]
        except OSError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._entries(Path(entry.path))
            else:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield Path(entry.path), (status.st_mtime_ns, status.st_size)


def two_lines(path: str) -> str:
    """What to write into a script in place of a path below /opt/ml that stands in it."""
    parts = Path(path).parts[len(OPT_ML.parts) :]
    folder = parts[0] if parts else "checkpoints"
    variable = _VARIABLES.get(folder, CHECKPOINTS_VARIABLE)
    return f'import os\n{folder.upper()} = os.environ.get("{variable}", "{OPT_ML / folder}")'


def explanation(path: str) -> str:
    """Why a script cannot go on that used `path` of this machine's /opt/ml, and what to write instead."""
    lines = "\n".join(f"    {line}" for line in two_lines(path).splitlines())
    return (
        f"the script uses {path} of this machine. On SageMaker {OPT_ML} belongs to the job; this machine cannot "
        "give it one of its own (Linux does, where user namespaces are allowed, and as root). Take the folder from "
        f"the environment instead, which is right on both:\n{lines}"
    )
