"""The environment that the emulator runs in: its own, because ministack pins botocore. Made at its first use."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from nightspot.local.emulator.account import EmulatorError

LOCK_FILE = Path(__file__).with_name("requirements.txt")


def emulator_python(say: Callable[[str], None]) -> Path:
    """The Python of an environment with the locked packages, which is made where it is not there; `say` is told.

    It is in the user's cache, by the digest of what is in it. Raises EmulatorError.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(f"{version}\n{LOCK_FILE.read_text(encoding='utf-8')}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "nightspot" / f"emulator-{digest}"
    if not folder.exists():
        say(f"Installing the emulator, about 100 MB, into {folder}.")
        _make(folder)
    return folder / "bin" / "python"


def _make(folder: Path) -> None:
    """Whole or not at all: made beside its place, by uv, which can move what it made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
        fresh = Path(scratch, "new")
        _uv("venv", "--quiet", "--python", sys.executable, str(fresh))
        python = fresh / "bin" / "python"
        _uv("pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK_FILE))
        try:
            fresh.rename(folder)
        except OSError:
            # Another process was faster, with the same content.
            if not folder.exists():
                raise


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise EmulatorError(f"the emulator cannot be installed:\n{done.stderr.strip()}")
