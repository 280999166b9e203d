"""Builds the folder that all functions are deployed from: wheels for arm64, our own code, the job files. No Docker.

The same sources give the same digest, and the digest is the asset's hash: an unchanged source deploys nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from tempfile import TemporaryDirectory

import nightspot
from nightspot.job.model import Job, dump_jobs
from nightspot.view.html import charts_script

PYTHON_VERSION = "3.13"
PLATFORM = "aarch64-manylinux2014"
JOBS_FILE = "jobs.json"
# What draws the charts of reports; made here, because what makes it is ten times the size of the rest.
CHARTS_FILE = Path("nightspot", "view", "html", charts_script.FILE.name)
# Lambda's runtime brings boto3 and what it needs; the X-Ray SDK asks for it once more.
IN_THE_RUNTIME = frozenset(
    {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
)
# The job files travel as checked JSON, so nothing reads YAML there.
NOT_NEEDED = frozenset({"pyyaml"})
# Of what the wheels bring: what only installs or only a browser needs. A page for the API's document is not served.
_SWAGGER = "aws_lambda_powertools/event_handler/openapi/swagger_ui"
WASTE = ("bin", ".lock", f"{_SWAGGER}/swagger-ui-bundle.min.js", f"{_SWAGGER}/swagger-ui.min.css")
# Where this package is, in a checkout or installed; the functions' lock file is in it.
PACKAGE = Path(nightspot.__file__).parent
LOCK_FILE = Path("lambdas", "requirements.txt")
OWN_SUFFIXES = frozenset({".css", ".j2", ".js", ".json", ".py"})
# What never runs in a function.
LEFT_OUT = (
    "nightspot/advise",
    "nightspot/aws/doctor.py",
    "nightspot/aws/doctor_grants.py",
    "nightspot/aws/doctor_jobs.py",
    "nightspot/aws/doctor_visit.py",
    "nightspot/aws/drill.py",
    "nightspot/aws/drill_plan.py",
    "nightspot/aws/runs/api_client.py",
    "nightspot/aws/runs/operating.py",
    "nightspot/cassettes/comparing.py",
    "nightspot/cassettes/folding.py",
    "nightspot/cassettes/life.py",
    "nightspot/cassettes/recording.py",
    "nightspot/cdk",
    "nightspot/checkpoint",
    "nightspot/cli",
    "nightspot/demo",
    "nightspot/drill",
    "nightspot/job/from_request.py",
    "nightspot/job/from_request.py",
    "nightspot/job/schema.py",
    "nightspot/local",
    "nightspot/market",
    "nightspot/statemachine",
    "nightspot/terminal",
)


class BundleError(Exception):
    """The functions' dependencies could not be installed."""


@dataclass(frozen=True)
class Bundle:
    """A folder to deploy and the digest of all that went into it."""

    path: Path
    digest: str


def build_bundle(jobs: Mapping[str, Job], build: Path, *, package: Path = PACKAGE) -> Bundle:
    """The bundle of these jobs and of Nightspot's own code, made in `build` unless it is there already.

    Raises BundleError where uv cannot install the wheels, or where nothing can make the charts' script.
    """
    lock = _needed(package / LOCK_FILE)
    root = package.parent
    sources = sorted(_sources(package))
    document = dump_jobs(jobs)
    digest = _digest(root, lock, sources, document)
    path = build / "bundle" / digest[:16]
    if not path.exists():
        with _whole(path) as fresh:
            shutil.copytree(_dependencies(lock, build), fresh, dirs_exist_ok=True)
            for source in sources:
                target = fresh / source.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            (fresh / JOBS_FILE).write_text(document, encoding="utf-8")
            (fresh / CHARTS_FILE).write_text(charts_script.make(), encoding="utf-8")
    return Bundle(path, digest)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A folder to fill, which then is `path`: whole or not at all, and once, however many make it at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as scratch:
        fresh = Path(scratch, "new")
        fresh.mkdir()
        yield fresh
        try:
            fresh.rename(path)
        except OSError:
            # Another process was faster, with the same content: the name is a digest of it.
            if not path.exists():
                raise


def _needed(lock_file: Path) -> str:
    """The locked requirements without what the runtime brings. Entries keep their hashes."""
    entries = re.split(r"\n(?=\S)", lock_file.read_text(encoding="utf-8"))
    left_out = IN_THE_RUNTIME | NOT_NEEDED
    return "\n".join(
        entry for entry in entries if "==" in entry and entry.partition("==")[0].strip() not in left_out
    )


def _sources(package: Path) -> Iterable[Path]:
    left_out = {package.parent / name for name in LEFT_OUT}
    # In a checkout some rooms are links to the folders at the repository's top level.
    for folder, folders, names in os.walk(package, followlinks=True):
        here = Path(folder)
        folders[:] = [n for n in folders if n != "__pycache__" and here / n not in left_out]
        for path in (here / name for name in names):
            if path.suffix in OWN_SUFFIXES and path not in left_out:
                yield path


def _digest(root: Path, lock: str, sources: Iterable[Path], jobs: str) -> str:
    versions = f"{PYTHON_VERSION}\n{PLATFORM}\n{_charts_maker()}"
    digest = hashlib.sha256(f"{versions}\n{WASTE}\n{lock}\n{jobs}\n".encode())
    for source in sources:
        digest.update(f"{source.relative_to(root).as_posix()}\n".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _charts_maker() -> str:
    try:
        return charts_script.made_by()
    except PackageNotFoundError as error:
        raise BundleError("the package vl-convert-python is missing: install nightspot[cdk]") from error


def _dependencies(lock: str, build: Path) -> Path:
    path = build / "dependencies" / hashlib.sha256(f"{WASTE}\n{lock}".encode()).hexdigest()[:16]
    if path.exists():
        return path
    with _whole(path) as fresh:
        _install(lock, fresh)
        for waste in WASTE:
            target = fresh / waste
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    return path


def _install(lock: str, fresh: Path) -> None:
    requirements = fresh.with_suffix(".txt")
    requirements.write_text(lock + "\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--target", str(fresh), "--only-binary", ":all:", "--no-compile"),
        *("--python-version", PYTHON_VERSION, "--python-platform", PLATFORM),
        *("--requirements", str(requirements)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise BundleError(f"uv could not install the functions' dependencies:\n{done.stderr.strip()}")


def size_bytes(path: Path) -> int:
    """The unzipped size of a bundle."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def read_jobs_file(bundle: Bundle) -> dict[str, object]:
    """The job files as they travel in the bundle."""
    document: dict[str, object] = json.loads((bundle.path / JOBS_FILE).read_text(encoding="utf-8"))
    return document
