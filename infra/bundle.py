"""Builds the folder that all functions are deployed from: wheels for arm64, our own code, the job files. No Docker.

The same sources give the same digest, and the digest is the asset's hash: an unchanged source deploys nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform as platforms
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import nightspot
from nightspot.cdk.byte_code import compile_all, python_of
from nightspot.cdk.wheels import SDK_DATA, BundleError, Target, content_of, installed, locked, whole
from nightspot.job.code_version import CODE_FILE, archive_name
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.model import Job, dump_jobs
from nightspot.job.request_shape import SAMPLES, fill, request_problems
from nightspot.job.source_archive import pack_all
from nightspot.view.html import charts_script

PYTHON_VERSION = "3.13"
PLATFORM = "aarch64-manylinux2014"
JOBS_FILE = "jobs.json"
MOST_CODE_BYTES = 50 * 1024 * 1024
# What draws the charts of reports; made here, because what makes it is ten times the size of the rest.
CHARTS_FILE = Path("nightspot", "view", "html", charts_script.FILE.name)
# Where this package is, in a checkout or installed; the functions' lock file is in it.
PACKAGE = Path(nightspot.__file__).parent
PACKAGE_NAME = "nightspot"
LOCK_FILE = Path("lambdas", "requirements.txt")
OWN_SUFFIXES = frozenset({".css", ".j2", ".js", ".json", ".py"})
# What never runs in a function.
LEFT_OUT = (
    "nightspot/advise",
    "nightspot/aws/doctor.py",
    "nightspot/aws/doctor_code.py",
    "nightspot/aws/doctor_grants.py",
    "nightspot/aws/doctor_jobs.py",
    "nightspot/aws/doctor_visit.py",
    "nightspot/aws/drill.py",
    "nightspot/aws/drill_plan.py",
    "nightspot/aws/runs/api_client.py",
    "nightspot/aws/runs/operating.py",
    "nightspot/aws/smoke.py",
    "nightspot/cassettes/comparing.py",
    "nightspot/cassettes/folding.py",
    "nightspot/cassettes/life.py",
    "nightspot/cassettes/recording.py",
    "nightspot/cdk",
    "nightspot/checkpoint",
    "nightspot/cli",
    "nightspot/client",
    "nightspot/demo",
    "nightspot/documents",
    "nightspot/drill",
    "nightspot/facts",
    "nightspot/job/from_request.py",
    "nightspot/job/schema.py",
    "nightspot/job/source_archive.py",
    "nightspot/job/source_files.py",
    "nightspot/local",
    "nightspot/market",
    "nightspot/selftest",
    "nightspot/statemachine",
    "nightspot/terminal",
)


@dataclass(frozen=True)
class Bundle:
    """A folder to deploy and the digest of all that went into it; whether byte code is in it."""

    path: Path
    digest: str
    has_byte_code: bool = True


def build_bundle(
    jobs: Mapping[str, Job],
    build: Path,
    *,
    package: Path = PACKAGE,
    python_version: str = PYTHON_VERSION,
    platform: str = PLATFORM,
    byte_code: bool = True,
) -> Bundle:
    """The bundle of these jobs and of Nightspot's own code, made in `build` unless it is there already.

    `python_version`, such as "3.13", and `platform`, one of uv's (`--python-platform`), are those of the wheels: on
    AWS, of the functions' runtime; an emulator runs the bundle on a machine of its own. `byte_code`: put it in,
    where there is a Python of that version here to write it.

    Raises BundleError where uv cannot install the wheels, nothing can make the charts' script, or a source does not
    compile; InvalidJobError where a request has what the functions' botocore does not know, and for code that
    cannot travel.
    """
    lock = locked(package / LOCK_FILE)
    root = package.parent
    sources = sorted(_sources(package))
    document = dump_jobs(jobs)
    carried, archives = pack_all(jobs)
    _check_archives(archives)
    code = json.dumps({name: asdict(version) for name, version in carried.versions.items()}, indent=1)
    target = Target(python_version, platform)
    python = python_of(python_version) if byte_code else None
    # A bundle with byte code and one without are two: else the first of them to be uploaded would stand for both.
    content = f"{content_of(lock, target)}\n{'byte code' if python else 'sources'}"
    # The archives by their digests, which are in `code`.
    digest = _digest(root, content, sources, f"{document}\n{code}" if archives else document)
    path = build / "bundle" / digest[:16]
    if not path.exists():
        with whole(path) as fresh:
            shutil.copytree(_packages(lock, build, target, python), fresh, dirs_exist_ok=True)
            for source in sources:
                copy = fresh / source.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
            (fresh / JOBS_FILE).write_text(document, encoding="utf-8")
            if archives:
                (fresh / CODE_FILE).write_text(code, encoding="utf-8")
            for its_digest, body in archives.items():
                (fresh / archive_name(its_digest)).write_bytes(body)
            (fresh / CHARTS_FILE).write_text(charts_script.make(), encoding="utf-8")
            if python is not None:
                compile_all(fresh / PACKAGE_NAME, fresh, python)
    _check_requests(jobs, path / SDK_DATA)
    return Bundle(path, digest, has_byte_code=python is not None)


def _check_archives(archives: Mapping[str, bytes]) -> None:
    """Lambda takes 250 MiB of a function's code in all, and most of it is there for each cold start to load."""
    size = sum(map(len, archives.values()))
    if size > MOST_CODE_BYTES:
        rule = (
            f"must have at most {MOST_CODE_BYTES // 1024**2} MiB of archives in all: they travel with the "
            "functions; data belongs into a channel of InputDataConfig"
        )
        raise InvalidJobError([Problem("code", f"{size / 1024**2:.1f} MiB", rule)], "the jobs")


# uv's names of what Nightspot runs on, by platform.system() and platform.machine().
_HERE = {
    ("Darwin", "arm64"): "aarch64-apple-darwin",
    ("Darwin", "x86_64"): "x86_64-apple-darwin",
    ("Linux", "aarch64"): "aarch64-unknown-linux-gnu",
    ("Linux", "x86_64"): "x86_64-unknown-linux-gnu",
}


def target_named(name: str | None) -> tuple[str, str]:
    """Python version and platform of "lambda" (or None), Lambda's runtime, or of "this-machine", an emulator's.

    Raises BundleError for another name, and for a machine whose wheels uv has no name for.
    """
    if name in (None, "lambda"):
        return PYTHON_VERSION, PLATFORM
    if name != "this-machine":
        raise BundleError(f"nightspot:bundle_for: {name!r} must be lambda or this-machine")
    here = (platforms.system(), platforms.machine())
    if here not in _HERE:
        known = ", ".join(" ".join(each) for each in _HERE)
        raise BundleError(f"nightspot:bundle_for: this machine is {' '.join(here)}; it must be {known}")
    return f"{sys.version_info.major}.{sys.version_info.minor}", _HERE[here]


def _check_requests(jobs: Mapping[str, Job], data: Path) -> None:
    """The botocore that checked the job files may be newer than the locked one, which starts the training jobs."""
    if not data.exists():
        return
    problems = [
        Problem(
            f"{name}: {found.field}",
            found.value,
            f"{found.rule}, for the functions' botocore (lambdas/{LOCK_FILE.name})",
        )
        for name, job in sorted(jobs.items())
        for found in request_problems(fill(job.training_job, SAMPLES), data)
    ]
    if problems:
        raise InvalidJobError(problems, "the jobs")


def _packages(lock: str, build: Path, target: Target, python: str | None) -> Path:
    """The installed packages, with byte code where there is a `python` to write it. Made once, as they are slow."""
    sources = installed(lock, build, target)
    if python is None:
        return sources
    compiled = sources.with_name(f"{sources.name}-compiled")
    if not compiled.exists():
        with whole(compiled) as fresh:
            shutil.copytree(sources, fresh, dirs_exist_ok=True)
            compile_all(fresh, fresh, python)
    return compiled


def _sources(package: Path) -> Iterable[Path]:
    left_out = {package.parent / name for name in LEFT_OUT}
    # In a checkout some rooms are links to the folders at the repository's top level.
    for folder, folders, names in os.walk(package, followlinks=True):
        here = Path(folder)
        folders[:] = [n for n in folders if n != "__pycache__" and here / n not in left_out]
        for path in (here / name for name in names):
            if path.suffix in OWN_SUFFIXES and path not in left_out:
                yield path


def _digest(root: Path, wheels: str, sources: Iterable[Path], jobs: str) -> str:
    digest = hashlib.sha256(f"{_charts_maker()}\n{wheels}\n{jobs}\n".encode())
    for source in sources:
        digest.update(f"{source.relative_to(root).as_posix()}\n".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _charts_maker() -> str:
    try:
        return charts_script.made_by()
    except PackageNotFoundError as error:
        raise BundleError("the package vl-convert-python is missing: install nightspot[cdk]") from error


def size_bytes(path: Path) -> int:
    """The unzipped size of a bundle."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def read_jobs_file(bundle: Bundle) -> dict[str, object]:
    """The job files as they travel in the bundle."""
    document: dict[str, object] = json.loads((bundle.path / JOBS_FILE).read_text(encoding="utf-8"))
    return document
