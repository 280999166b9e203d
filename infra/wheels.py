"""The packages that the functions need, installed for their machine, and cut down to what they use of them."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

# The job files travel as checked JSON, so nothing reads YAML there.
NOT_NEEDED = frozenset({"pyyaml"})
# What functions make clients of; a test compares it with their code. Of 27 MB of data 3 are left.
AWS_SERVICES = (
    "ce",
    "dynamodb",
    "ec2",
    "events",
    "pricing",
    "s3",
    "sagemaker",
    "savingsplans",
    "service-quotas",
    "sns",
    "stepfunctions",
)
# Of what the wheels bring: what only installs; what only a browser needs, since no page is served for the API's
# document; the SDK's resources and examples.
_SWAGGER = "aws_lambda_powertools/event_handler/openapi/swagger_ui"
WASTE = (
    "bin",
    ".lock",
    f"{_SWAGGER}/swagger-ui-bundle.min.js",
    f"{_SWAGGER}/swagger-ui.min.css",
    "boto3/data",
    "boto3/examples",
)
SDK_DATA = Path("botocore", "data")
_EXAMPLES = "examples-1.json*"


class BundleError(Exception):
    """The functions' code could not be put together."""


@dataclass(frozen=True)
class Target:
    """The machine that a bundle is for: a Python, such as "3.13", and one of uv's `--python-platform`."""

    python_version: str
    platform: str


def locked(lock_file: Path) -> str:
    """The locked requirements, without what no function needs. Entries keep their hashes."""
    entries = re.split(r"\n(?=\S)", lock_file.read_text(encoding="utf-8"))
    return "\n".join(
        entry for entry in entries if "==" in entry and entry.partition("==")[0].strip() not in NOT_NEEDED
    )


def content_of(lock: str, target: Target) -> str:
    """What decides what `installed` gives."""
    return f"{target.python_version}\n{target.platform}\n{WASTE}\n{AWS_SERVICES}\n{lock}"


def installed(lock: str, build: Path, target: Target) -> Path:
    """The folder with the packages of `lock`, made in `build` unless it is there. Raises BundleError."""
    digest = hashlib.sha256(content_of(lock, target).encode()).hexdigest()
    path = build / "dependencies" / digest[:16]
    if path.exists():
        return path
    with whole(path) as fresh:
        _install(lock, fresh, target)
        for waste in WASTE:
            unwanted = fresh / waste
            shutil.rmtree(unwanted) if unwanted.is_dir() else unwanted.unlink(missing_ok=True)
        _cut_sdk_data(fresh / SDK_DATA)
    return path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
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


def _install(lock: str, fresh: Path, target: Target) -> None:
    requirements = fresh.with_suffix(".txt")
    requirements.write_text(lock + "\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--target", str(fresh), "--only-binary", ":all:", "--no-compile"),
        *("--python-version", target.python_version, "--python-platform", target.platform),
        *("--requirements", str(requirements)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise BundleError(f"uv could not install the functions' dependencies:\n{done.stderr.strip()}")


def _cut_sdk_data(data: Path) -> None:
    """Leave of botocore's data what is of no service (endpoints, partitions, retries), and AWS_SERVICES' newest."""
    for service in data.iterdir() if data.exists() else ():
        if not service.is_dir():
            continue
        if service.name not in AWS_SERVICES:
            shutil.rmtree(service)
            continue
        # A date each; botocore takes the last one.
        *older, newest = sorted(version for version in service.iterdir() if version.is_dir())
        for version in older:
            shutil.rmtree(version)
        for examples in newest.glob(_EXAMPLES):
            examples.unlink()
