"""Where checkpoints go and who is saving them: arguments, environment and SageMaker's configuration files."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from .errors import ClockSettingError, DirectoryError, SettingError

CONFIG_DIRECTORY = "/opt/ml/input/config"
_CHECKPOINT_DIRECTORY = "/opt/ml/checkpoints"

MEAN_LIFE_VARIABLE = "NIGHTSPOT_MEAN_LIFE_SECONDS"
# Spot instances in the traces of "Can't Be Late" (NSDI'24, AWS V100 zones, 2023) lived 3.2 hours on
# average; a little less costs a little more saving and never more work lost.
DEFAULT_MEAN_LIFE_SECONDS = 3 * 3600.0

_SECONDS_RULE = "must be a number of seconds greater than 0"

# How long a file may take to reach S3, where nobody says: AWS does not publish how often it looks for new files,
# nor how fast it uploads. Three times as long as it takes at 50 MB/s, which a small instance's network has.
LEAST_UPLOAD_SECONDS = 600.0
_ASSUMED_BYTES_PER_SECOND = 50e6
_SAFETY = 3


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
    config, document = config_file(environ, "checkpointconfig.json")
    local_path = document.get("LocalPath") if isinstance(document, dict) else None
    if local_path is not None and not isinstance(local_path, str):
        raise SettingError(f"{config}: LocalPath={local_path!r}: must be a path")
    return Path(local_path or _CHECKPOINT_DIRECTORY)


def mirrored_from(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """The folder that SageMaker mirrors in S3, if the directory is in it or is it; None where nothing is uploaded.

    It is LocalPath of checkpointconfig.json; in a training job without that file, the directory itself.
    """
    try:
        config, document = config_file(environ, "checkpointconfig.json")
        if document == {} and not config.exists():
            return directory if environ.get("TRAINING_JOB_NAME") else None
        local_path = directory_from(environ)
    except SettingError:
        return directory  # nobody knows: what must hold where it is uploaded does no harm elsewhere
    inside = local_path.absolute() in (directory.absolute(), *directory.absolute().parents)
    return local_path if inside else None


def config_file(environ: Mapping[str, str], name: str) -> tuple[Path, Any]:
    """One of SageMaker's configuration files, and what is in it: {} where it is not there; SettingError."""
    config = Path(environ.get("SM_INPUT_CONFIG_DIR") or CONFIG_DIRECTORY, name)
    try:
        return config, json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return config, {}
    except (OSError, ValueError) as error:
        raise SettingError(f"{config}: must be readable JSON ({error})") from error


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


def upload_seconds_from(given: object) -> float | None:
    """The setting as given: None, or a number of seconds, 0 included; SettingError otherwise."""
    if given is None or (not isinstance(given, bool) and given == 0):
        return None if given is None else 0.0
    return positive_seconds("upload_seconds", given)


def assumed_upload_seconds(size_bytes: int) -> float:
    """After how long a file of this size is taken to be in S3, where no setting says it."""
    return max(LEAST_UPLOAD_SECONDS, _SAFETY * size_bytes / _ASSUMED_BYTES_PER_SECOND)


def positive_seconds(field: str, value: object) -> float:
    """The value, if it is a finite number greater than 0; SettingError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise SettingError(f"{field}={value!r}: {_SECONDS_RULE}")
    return float(value)


UTC = timezone.utc  # datetime.UTC came with Python 3.11, containers run 3.9
CLOCK_VARIABLE = "NIGHTSPOT_CLOCK"

_RULE = (
    "must be '<real epoch seconds>:<story epoch seconds>:<scale>', "
    "three finite numbers, the scale greater than 0"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def clock_from(
    environ: Mapping[str, str], real_epoch_seconds: Callable[[], float] = time.time
) -> Callable[[], datetime]:
    """The clock to read, as a function that returns an aware UTC datetime.

    Raises ClockSettingError where NIGHTSPOT_CLOCK is set and malformed.
    """
    value = environ.get(CLOCK_VARIABLE)
    if value is None:
        return lambda: _moment(real_epoch_seconds())
    real_start, story_start, scale = _parse(value)

    # A local run plays a night of hours in seconds, and its scheduler plans in the night's time.
    # Training reads the same clock, so that a pace of 600 seconds per step is reported as that,
    # and not as the one second that it took to play.
    return lambda: _moment(story_start + (real_epoch_seconds() - real_start) * scale)


def as_text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond, ending in Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The moment that `as_text` wrote; ValueError for any other text."""
    # fromisoformat() reads the Z only from Python 3.11 on.
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def _moment(epoch_seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=epoch_seconds)


def _parse(value: str) -> tuple[float, float, float]:
    try:
        real_start, story_start, scale = (float(part) for part in value.split(":"))
    except ValueError:
        raise ClockSettingError(f"{CLOCK_VARIABLE}={value!r}: {_RULE}") from None
    if not all(map(math.isfinite, (real_start, story_start, scale))) or scale <= 0:
        raise ClockSettingError(f"{CLOCK_VARIABLE}={value!r}: {_RULE}")
    return real_start, story_start, scale


NOTICE_VARIABLE = "NIGHTSPOT_RECLAIM_NOTICE_FILE"

# 128 + SIGTERM: what a script that knows nothing of signals ends with. To end with 0 would tell
# SageMaker that training is complete, and it would store half a model as the result.
ASKED_TO_STOP_STATUS = 143


class StopRequests:
    """Listens for signals and looks for the notice; a request that was seen once stays."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        notice = environ.get(NOTICE_VARIABLE)
        self._notice = Path(notice) if notice else None
        self._asked = False
        self._previous: dict[int, Any] = {}
        self._process = os.getpid()

    @property
    def requested(self) -> bool:
        """Whether this process has been asked to end."""
        if not self._asked and self._notice is not None and self._notice.exists():
            self._asked = True
        return self._asked

    def listen(self, signum: int) -> None:
        """Take the signal as a request from now on; the handler that was there is still called.

        Raises SettingError outside of the main thread, where Python cannot install handlers.
        """
        if threading.current_thread() is not threading.main_thread():
            raise SettingError(f"signal {signum}: must be installed from the main thread")
        if signum not in self._previous:
            self._previous[signum] = signal.signal(signum, self._on_signal)

    def forget(self) -> None:
        """Put the handlers back that were there before, where nobody else has replaced ours."""
        for signum, previous in list(self._previous.items()):
            if threading.current_thread() is not threading.main_thread():
                return
            if signal.getsignal(signum) == self._on_signal:
                signal.signal(signum, signal.SIG_DFL if previous is None else previous)
            del self._previous[signum]

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        previous = self._previous.get(signum)
        if os.getpid() != self._process and previous == signal.SIG_DFL:
            # A forked data loader has inherited the handler, and its parent means to end it.
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        # Nothing is logged here: the signal may have come in the middle of writing a log line.
        self._asked = True
        if callable(previous):
            previous(signum, frame)
