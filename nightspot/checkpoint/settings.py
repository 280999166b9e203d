"""Decides where checkpoints go and who is saving them, from arguments and the environment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import DirectoryError, SettingError

CONFIG_DIRECTORY = "/opt/ml/input/config"
_CHECKPOINT_DIRECTORY = "/opt/ml/checkpoints"

MEAN_LIFE_VARIABLE = "NIGHTSPOT_MEAN_LIFE_SECONDS"
# Spot instances in the traces of "Can't Be Late" (NSDI'24, AWS V100 zones, 2023) lived 3.2 hours on
# average; a little less costs a little more saving and never more work lost.
DEFAULT_MEAN_LIFE_SECONDS = 3 * 3600.0

_SECONDS_RULE = "must be a number of seconds greater than 0"


@dataclass(frozen=True)
class Origin:
    """Who is training: each None outside of a Nightspot run."""

    run_id: str | None
    attempt: int | None
    training_job_name: str | None


def origin_from(environ: Mapping[str, str]) -> Origin:
    """Read NIGHTSPOT_RUN_ID, NIGHTSPOT_ATTEMPT and SageMaker's TRAINING_JOB_NAME.

    Raises SettingError if the attempt is not a whole number from 1 on.
    """
    attempt = environ.get("NIGHTSPOT_ATTEMPT") or None
    if attempt is not None and (not attempt.isdecimal() or int(attempt) < 1):
        raise SettingError(f"NIGHTSPOT_ATTEMPT={attempt!r}: must be a whole number from 1 on")
    return Origin(
        run_id=environ.get("NIGHTSPOT_RUN_ID") or None,
        attempt=None if attempt is None else int(attempt),
        training_job_name=environ.get("TRAINING_JOB_NAME") or None,
    )


def directory_from(environ: Mapping[str, str]) -> Path:
    """The directory SageMaker syncs: LocalPath of checkpointconfig.json, else its default.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
    Raises SettingError if the file is there and cannot be understood.
    """
    config = Path(environ.get("SM_INPUT_CONFIG_DIR") or CONFIG_DIRECTORY, "checkpointconfig.json")
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Path(_CHECKPOINT_DIRECTORY)
    except (OSError, ValueError) as error:
        raise SettingError(f"{config}: must be readable JSON ({error})") from error
    local_path = document.get("LocalPath") if isinstance(document, dict) else None
    if local_path is not None and not isinstance(local_path, str):
        raise SettingError(f"{config}: LocalPath={local_path!r}: must be a path")
    return Path(local_path or _CHECKPOINT_DIRECTORY)


def mean_life_from(environ: Mapping[str, str]) -> float:
    """NIGHTSPOT_MEAN_LIFE_SECONDS, or what Spot instances lived on average where it was measured.

    Raises SettingError if it is set and not a number of seconds greater than 0.
    """
    value = environ.get(MEAN_LIFE_VARIABLE)
    if not value:
        return DEFAULT_MEAN_LIFE_SECONDS
    try:
        return positive_seconds(MEAN_LIFE_VARIABLE, float(value))
    except ValueError:
        raise SettingError(f"{MEAN_LIFE_VARIABLE}={value!r}: {_SECONDS_RULE}") from None


def prepare(directory: Path) -> Path:
    """Create the directory if need be; DirectoryError now, not after hours of training."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DirectoryError(f"directory={directory}: cannot be created ({error})") from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise DirectoryError(f"directory={directory}: must be readable and writable")
    return directory


def at_least_one(field: str, value: object) -> int:
    """The value, if it is a count from 1 on; SettingError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError(f"{field}={value!r}: must be a whole number from 1 on")
    return value


def positive_seconds(field: str, value: object) -> float:
    """The value, if it is a finite number greater than 0; SettingError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise SettingError(f"{field}={value!r}: {_SECONDS_RULE}")
    return float(value)
