"""Byte code for the functions: without it every cold start compiles all, as Lambda's files are read-only."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from nightspot.cdk.wheels import BundleError

IN_LAMBDA = "/var/task"
# Longer than both take on a busy machine.
_FIND_SECONDS, _COMPILE_SECONDS = 60, 600


def missing_note(python_version: str) -> str:
    """What a person is told who deploys without byte code."""
    return (
        f"note: there is no Python {python_version} on this machine, so the functions are deployed without byte "
        "code, and take longer to start (docs/deploy.md, What a cold start takes)"
    )


@cache
def python_of(version: str) -> str | None:
    """A CPython of this version ("3.13"): this one, or one that uv finds on this machine; None without any."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version and _is_python(
        sys.executable, version
    ):
        return sys.executable
    # None is downloaded: what a deployment needs is in the lock files.
    find = [sys.executable, "-m", "uv", "python", "find", "--no-project", "--no-python-downloads", version]
    found = _output(find)
    return found if found and _is_python(found, version) else None


def _is_python(executable: str, version: str) -> bool:
    """Byte code is of one version of CPython; an executable may also be a script that finds none."""
    tag = _output([executable, "-I", "-c", "import sys; print(sys.implementation.cache_tag)"])
    return tag == f"cpython-{version.replace('.', '')}"


def _output(command: list[str]) -> str:
    """What it prints; "" where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            command, capture_output=True, text=True, check=False, timeout=_FIND_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def compile_all(folder: Path, root: Path, python: str) -> None:
    """Write byte code beside every source below `folder`, a part of the bundle `root`. Raises BundleError.

    Whether it fits its source is not checked when it is loaded: times do not survive the upload, and nothing can
    change there. Tracebacks name the files as they lie in Lambda.
    https://docs.python.org/3/library/compileall.html
    """
    command = [
        *(python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
        *("-s", str(root), "-p", IN_LAMBDA, str(folder)),
    ]
    done = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, check=False, timeout=_COMPILE_SECONDS
    )
    if done.returncode != 0:
        raise BundleError(
            f"{python} could not compile the functions' code:\n{done.stdout}{done.stderr}".rstrip()
        )
