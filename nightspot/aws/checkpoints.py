"""Reads the progress file that the training side writes beside its checkpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.run import Progress

PROGRESS_FILE = "nightspot.json"
CHECKPOINT_END = ".nsck"  # what half-written files, which may be uploaded too, do not end with
MAX_SECONDS = 28 * 24 * 3600.0  # of a step: SageMaker's longest job

N = TypeVar("N", int, float)
T = TypeVar("T")

_log = logging.getLogger(__name__)


class S3Client(Protocol):
    """The part of boto3's S3 client that is used here."""

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...  # noqa: N803
    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...  # noqa: N803
    def list_objects_v2(self, *, Bucket: str, Prefix: str, **page: str) -> dict[str, Any]: ...  # noqa: N803


class Checkpoints:
    """The checkpoint prefixes of runs in S3."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def progress(self, s3_uri: str) -> Progress | None:
        """What is durable below `s3_uri`, or None where the training script says nothing readable.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        parts = urlsplit(s3_uri)
        prefix = f"{parts.path.strip('/')}/"
        body = self._read(parts.netloc, prefix + PROGRESS_FILE)
        if body is None:
            return None
        try:
            document = json.loads(body)
            progress = progress_of(document)
            checkpoint = document.get("checkpoint")
            files = _within(1, inf, int(document.get("files") or 1))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            # A file that cannot be read costs an estimate, never the run.
            _log.warning("%s/%s is not a progress file: %s", s3_uri, PROGRESS_FILE, error)
            return None
        # SageMaker uploads files in no promised order: the word may arrive before what it speaks of.
        if checkpoint is not None and not self._is_complete(parts.netloc, f"{prefix}{checkpoint}", files):
            _log.info("%s: checkpoint %s is not uploaded yet", s3_uri, checkpoint)
            return None
        return progress

    def is_empty(self, s3_uri: str) -> bool:
        """Whether nothing at all lies below `s3_uri`. Raises like `progress`."""
        parts = urlsplit(s3_uri)
        prefix = f"{parts.path.strip('/')}/"
        try:
            return not self._client.list_objects_v2(Bucket=parts.netloc, Prefix=prefix).get("Contents")
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            raise

    def _is_complete(self, bucket: str, key: str, files: int) -> bool:
        """Whether the checkpoint is there: of sharded state each rank uploads a file of its own."""
        if files == 1:
            return self._exists(bucket, key)
        same_step, _, _ = key.rpartition("-rank")
        return self._count(bucket, f"{same_step}-rank") >= files

    def _read(self, bucket: str, key: str) -> bytes | None:
        try:
            body: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            _raise_unless_missing(error)
            return None
        return body

    def _count(self, bucket: str, prefix: str) -> int:
        count = 0
        page: dict[str, str] = {}
        try:
            while True:
                answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **page)
                keys = [str(found["Key"]) for found in answer.get("Contents", ())]
                count += sum(key.endswith(CHECKPOINT_END) for key in keys)
                if not answer.get("IsTruncated"):
                    return count
                page = {"ContinuationToken": str(answer["NextContinuationToken"])}
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            raise

    def _exists(self, bucket: str, key: str) -> bool:
        try:
            self._client.head_object(Bucket=bucket, Key=key)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            _raise_unless_missing(error)
            return False
        return True


def _raise_unless_missing(error: ClientError) -> None:
    if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
        return
    raise_if_transient(error)
    raise error


def progress_of(document: dict[str, Any]) -> Progress:
    """The progress in a `nightspot.json` document. Metrics without a finite value are left out.

    Raises ArithmeticError, AttributeError, KeyError, TypeError or ValueError where it does not have the shape that
    `nightspot.checkpoint` writes.
    """
    resumed = document.get("resumed_from") or {}
    metrics = {str(name): _optional(float, value) for name, value in (document.get("metrics") or {}).items()}
    return Progress(
        step=_within(0, inf, int(document["step"])),
        saved_at=_moment(document["saved_at"]),
        total_steps=_optional(lambda value: _within(1, inf, int(value)), document.get("total_steps")),
        fraction=_optional(lambda value: _within(0.0, 1.0, float(value)), document.get("fraction")),
        seconds_per_step=_optional(
            lambda value: _within(0.0, MAX_SECONDS, float(value)), document.get("seconds_per_step")
        ),
        attempt=_optional(int, document.get("attempt")),
        resumed_from_step=_optional(int, resumed.get("step")),
        process_started_at=_optional(_moment, document.get("started_at")),
        # The library writes null for a loss that has blown up.
        metrics={name: value for name, value in metrics.items() if value is not None and isfinite(value)},
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.astimezone(UTC)


def _within(least: float, most: float, value: N) -> N:
    # Written so that NaN, which the policy cannot calculate with, is refused too.
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)
