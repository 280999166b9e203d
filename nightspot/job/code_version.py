"""Which code a run trains with: what it is known by, where its archive lies, and how the request names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ARCHIVE = "sourcedir.tar.gz"  # as SageMaker's SDK calls it
PREFIX = "code"  # in the bucket of pages, which no training job can write to
SHORT_CHARACTERS = 12
CODE_FILE = "code.json"  # of the functions' bundle, beside the job files: CodeVersion by job
# From these AWS's framework images read what to fetch and to run, each as JSON.
# https://github.com/aws/sagemaker-training-toolkit (src/sagemaker_training/params.py)
PROGRAM, SUBMIT_DIRECTORY = CODE_PARAMETERS = ("sagemaker_program", "sagemaker_submit_directory")


@dataclass(frozen=True)
class CodeVersion:
    """One state of a job's code."""

    digest: str  # SHA-256 of the archive before its compression, as hex: the same for the same files
    entry_point: str
    revision: str | None = None  # the git commit; None: not in git
    dirty: bool = False  # the files are not those of the commit
    pushed_by: str | None = None  # who pushed it; None: it came with the deployment

    @property
    def words(self) -> str:
        """ "train.py 3f2a91c0b7de (git 1a2b3c4d5e6f, with uncommitted changes; pushed by jo)"."""
        git = "not in git"
        if self.revision is not None:
            git = (
                f"git {self.revision[:SHORT_CHARACTERS]}{', with uncommitted changes' if self.dirty else ''}"
            )
        pushed = f"; pushed by {self.pushed_by}" if self.pushed_by else ""
        return f"{self.entry_point} {self.digest[:SHORT_CHARACTERS]} ({git}{pushed})"

    def key(self, job: str) -> str:
        """Where its archive lies in the bucket. No other state of the code ever lies there."""
        return f"{prefix_of(job)}{self.digest}/{ARCHIVE}"

    @property
    def identity(self) -> str:
        """The same for two that make runs do the same."""
        return f"{self.digest} {self.entry_point}"


@dataclass(frozen=True)
class CarriedCode:
    """The code that a deployment brings along: what each job has, and `body`, the archive of a digest."""

    versions: Mapping[str, CodeVersion] = field(default_factory=dict)  # by job
    body: Callable[[str], bytes] = field(default=lambda _digest: b"", repr=False)


def archive_name(digest: str) -> str:
    """What an archive is called in the functions' bundle."""
    return f"{PREFIX}-{digest}.tar.gz"


def prefix_of(job: str) -> str:
    """Where all archives of a job lie in the bucket; a training role needs to read no more."""
    return f"{PREFIX}/{job}/"


def parameters_of(version: CodeVersion, s3_uri: str) -> Mapping[str, str]:
    """The hyperparameters by which an image finds the code, as SDK v2's estimators write them."""
    return {PROGRAM: json.dumps(version.entry_point), SUBMIT_DIRECTORY: json.dumps(s3_uri)}
