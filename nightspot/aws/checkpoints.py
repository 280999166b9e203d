"""Reads the progress file that the training side writes beside its checkpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from nightspot.aws.faults import raise_if_transient
from nightspot.run import Progress

PROGRESS_FILE = "nightspot.json"

T = TypeVar("T")

_log = logging.getLogger(__name__)


class S3Client(Protocol):
    """The part of boto3's S3 client that is used here."""

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...  # noqa: N803
    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...  # noqa: N803


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
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A file that cannot be read costs an estimate, never the run.
            _log.warning("%s/%s is not a progress file: %s", s3_uri, PROGRESS_FILE, error)
            return None
        # SageMaker uploads files in no promised order: the word may arrive before what it speaks of.
        if checkpoint is not None and not self._exists(parts.netloc, f"{prefix}{checkpoint}"):
            _log.info("%s: checkpoint %s is not uploaded yet", s3_uri, checkpoint)
            return None
        return progress

    def _read(self, bucket: str, key: str) -> bytes | None:
        try:
            body: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            _raise_unless_missing(error)
            return None
        return body

    def _exists(self, bucket: str, key: str) -> bool:
        try:
            self._client.head_object(Bucket=bucket, Key=key)
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
    """The progress in a `nightspot.json` document.

    Raises KeyError, TypeError or ValueError where it does not have the shape that `nightspot.checkpoint` writes.
    """
    resumed = document.get("resumed_from") or {}
    metrics = document.get("metrics") or {}
    return Progress(
        step=int(document["step"]),
        saved_at=datetime.fromisoformat(document["saved_at"]).astimezone(UTC),
        total_steps=_optional(int, document.get("total_steps")),
        fraction=_optional(float, document.get("fraction")),
        seconds_per_step=_optional(float, document.get("seconds_per_step")),
        attempt=_optional(int, document.get("attempt")),
        resumed_from_step=_optional(int, resumed.get("step")),
        metrics={str(name): float(value) for name, value in metrics.items()},
    )


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)
