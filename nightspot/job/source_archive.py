"""A job's code as the archive that AWS's framework images unpack, the same for the same files; and its commit."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nightspot.job.code_version import CarriedCode, CodeVersion
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job
from nightspot.job.source_files import SourceFiles, source_files

_GIT_SECONDS = 30.0
_EXECUTABLE = 0o100  # its owner's bit


@dataclass(frozen=True)
class SourceArchive:
    """`body` is a .tar.gz."""

    version: CodeVersion
    body: bytes = field(repr=False)


def pack(job: Job) -> SourceArchive:
    """The archive of the job's code. Raises InvalidJobError, also where it is not known where the job file is."""
    code = job.code
    if code is None or code.job_folder is None:
        rule = "is required" if code is None else "needs its job file: read it with load_job"
        raise InvalidJobError([Problem("code", "nothing", rule)], job.name)
    source = source_files(code, code.job_folder)
    if source.problems:
        raise InvalidJobError(source.problems, job.name)
    tar = _tar(source)
    revision, dirty = _git(source)
    version = CodeVersion(hashlib.sha256(tar).hexdigest(), code.entry_point, revision, dirty)
    # Without time and name. Another version of zlib may compress otherwise: the digest is of what is inside.
    return SourceArchive(version, gzip.compress(tar, mtime=0))


def pack_all(jobs: Mapping[str, Job]) -> tuple[CarriedCode, dict[str, bytes]]:
    """The code of all jobs that have any, and each archive once, by digest. Raises InvalidJobError."""
    packed = {name: pack(job) for name, job in sorted(jobs.items()) if job.code is not None}
    bodies = {archive.version.digest: archive.body for archive in packed.values()}
    versions = {name: archive.version for name, archive in packed.items()}
    return CarriedCode(versions, bodies.__getitem__), bodies


def _tar(source: SourceFiles) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in source.files.items():
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)  # of nobody, at no time
            entry.size = len(content)
            entry.mode = 0o755 if path.stat().st_mode & _EXECUTABLE else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _git(source: SourceFiles) -> tuple[str | None, bool]:
    """The last commit that changed the folder, and whether what travels is not what it has.

    (None, False) outside of git. Not HEAD: with each commit of other files the same code would be deployed again.
    """
    head = _asked(source.root, "rev-parse", "--verify", "--quiet", "HEAD")
    if head is None:
        return None, False
    revision = _asked(source.root, "log", "-1", "--format=%H", "--", ".") or head
    changed = _asked(source.root, "status", "--porcelain", "--untracked-files=no", "--", ".")
    tracked = _asked(source.root, "ls-files", "-z", "--", ".")
    known = set((tracked or "").split("\0"))
    return revision.strip(), bool(changed) or not _own_names(source) <= known


def _own_names(source: SourceFiles) -> set[str]:
    paths: Iterable[Path] = source.files.values()
    return {path.relative_to(source.root).as_posix() for path in paths}


def _asked(folder: Path, *words: str) -> str | None:
    """What git says; None where it is not installed, fails or takes too long."""
    # Inside a git hook these name the repository that is committed to or pushed.
    elsewhere = [part for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE") for part in ("-u", name)]
    command = ["env", *elsewhere, "git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, timeout=_GIT_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        return done.stdout.decode()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
