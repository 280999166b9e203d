"""Which runs had the same work to do: what decides how long a training takes, and nothing else of its request.

A date that CI passes, another tag of the same image or a log level make no other work; other channels, another
algorithm or another number of epochs do. On which machines it ran is no part of the work: it stands with each
observation.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nightspot.record.model import RunRecord

if TYPE_CHECKING:
    from nightspot.job.model import Job

# Hyperparameters that name, date or report a run.
_OF_NO_LENGTH = re.compile(
    r"(?:.*_)?(?:date|timestamp|seed|commit|sha|revision)|ds|random_state|tags?|log(?:ging)?_level|verbos(?:e|ity)"
    r"|(?:run|job|experiment)(?:_name|_id)?|wandb_\w+|output(?:_dir|_path)?"
    r"|sagemaker_(?:container_log_level|job_name|region|submit_directory)",
    re.IGNORECASE,
)
# What changes from night to night in a value: a date (with its time), a UUID, a commit.
_DATE = (
    r"(?<!\d)20\d\d[-/_]?(?:0[1-9]|1[0-2])[-/_]?(?:0[1-9]|[12]\d|3[01])(?!\d)"
    r"(?:[T _-]\d\d:?\d\d(?::?\d\d)?(?:\.\d+)?Z?)?"
)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_COMMIT = r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])(?:[0-9a-f]{40}|[0-9a-f]{7,8})\b"
_PASSING = re.compile(f"{_DATE}|{_UUID}|{_COMMIT}", re.IGNORECASE)


def work_key_of(job: Job) -> str:
    """What makes two runs the same work: eight characters.

    The hyperparameters that may decide its length, the algorithm without its tag, the input channels, and the
    length that the job file states: who restates it says that the work is another one.
    """
    request = job.training_job
    known = {
        "hyperparameters": _hyperparameters(request.get("HyperParameters")),
        "algorithm": _algorithm(request.get("AlgorithmSpecification")),
        "channels": _lasting(request.get("InputDataConfig")),
        "work": job.work_seconds,
    }
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def work_key_in(history: Iterable[RunRecord]) -> str | None:
    """The key of the newest run that changed nothing of its job; None: there is none.

    For who has a job's records, and of its request only what stands in the file: a deployment fills in `${Names}`.
    """
    own = [run for run in history if run.work_key and not run.overrides and not run.forgotten]
    return max(own, key=lambda run: run.started_at).work_key if own else None


def _hyperparameters(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        return {}
    return {
        name: _lasting(value)
        for name, value in given.items()
        if not _OF_NO_LENGTH.fullmatch(str(name).replace("-", "_"))
    }


def _algorithm(given: object) -> list[Any]:
    """The image or algorithm without tag and digest, and what it is told to run."""
    if not isinstance(given, Mapping):
        return []
    name = str(given.get("TrainingImage") or given.get("AlgorithmName") or "")
    path, slash, last = name.partition("@")[0].rpartition("/")
    return [
        f"{path}{slash}{last.partition(':')[0]}",
        given.get("TrainingInputMode"),
        given.get("ContainerEntrypoint"),
        _lasting(given.get("ContainerArguments")),
    ]


def _lasting(value: Any) -> Any:
    """The same without what changes from night to night, such as the date in a path."""
    if isinstance(value, str):
        return _PASSING.sub("*", value)
    if isinstance(value, Mapping):
        return {name: _lasting(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lasting(each) for each in value]
    return value
