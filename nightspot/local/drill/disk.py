"""Decides what a killed machine leaves to the next one: its checkpoints as far as S3 has them, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nightspot.local.sagemaker import container as containers
from nightspot.local.sagemaker.container import Container

_LOOKS = 5  # at a directory that changes while it is copied


class DrillDisk:
    """The disk of one machine after the other, for one training; all at the same path, as on SageMaker."""

    def __init__(self, scratch: Path, request: Mapping[str, Any]) -> None:
        self._machine = scratch / "machine"
        self._s3 = scratch / "s3"
        self._uploaded = scratch / "uploaded"
        self._request = request
        for folder in (self._s3, self._uploaded):
            shutil.rmtree(folder, ignore_errors=True)

    def begin(self, draw: Callable[[], float]) -> Container:
        """A fresh disk with the checkpoints that S3 has.

        Files come from S3 in no order, and with the time at which they come: their times say nothing of their age.
        """
        container = containers.prepare(self._machine, self._request)
        if self._s3.exists():
            container.checkpoints.rmdir()
            self._s3.rename(container.checkpoints)
            now = time.time()
            for path in sorted(_files(container.checkpoints)):
                os.utime(path, (now - draw(), now - draw()))
        return container

    def upload(self, container: Container) -> bool:
        """Keep the checkpoints as they are now for `end`; False, and nothing kept, where they change meanwhile."""
        for _ in range(_LOOKS):
            shutil.rmtree(self._uploaded, ignore_errors=True)
            before = stamps(container.checkpoints)
            try:
                shutil.copytree(container.checkpoints, self._uploaded, symlinks=True)
            except (shutil.Error, FileNotFoundError):
                continue
            if stamps(container.checkpoints) == before:
                return True
        shutil.rmtree(self._uploaded, ignore_errors=True)
        return False

    def end(self, container: Container) -> None:
        """The machine is gone: S3 has what `upload` kept, if it was asked to, else all that was there."""
        if self._uploaded.exists():
            self._uploaded.rename(self._s3)
        elif container.checkpoints.exists():
            container.checkpoints.rename(self._s3)
        container.remove()


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """The time of change (nanoseconds) and size of every file below the folder; files that vanish are left out."""
    found = {}
    for path in _files(folder):
        try:
            status = os.stat(path)  # noqa: PTH116 - as below
        except FileNotFoundError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below the folder, by its relative path."""
    named = {str(Path(path).relative_to(folder)): path for path in _files(folder)}
    return {name: _digest(Path(named[name])) for name in sorted(named)}


def _files(folder: Path) -> list[str]:
    return [
        os.path.join(above, name)  # noqa: PTH118 - every few milliseconds
        for above, _, names in os.walk(folder)
        for name in names
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
