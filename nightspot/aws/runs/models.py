"""Looks at the model that a training job has left in S3: whether there is one, and whether anything is in it."""

from __future__ import annotations

import io
import logging
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.failures.redaction import redact
from nightspot.formats.plain_text import visible
from nightspot.record.remarks import ModelState

ARCHIVE_END = ".tar.gz"
# A larger archive has something in it. An empty folder's has about 100 bytes.
MOST_ARCHIVE_BYTES = 64 * 1024
# Of what is packed so small: a thousand times more, where somebody means harm.
MOST_UNPACKED_BYTES = 4 * 1024 * 1024

_log = logging.getLogger(__name__)


class S3Client(Protocol):
    """The part of boto3's S3 client that is used here."""

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...  # noqa: N803
    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...  # noqa: N803
    def list_objects_v2(self, *, Bucket: str, Prefix: str, **page: Any) -> dict[str, Any]: ...  # noqa: N803


class Models:
    """Model artefacts in S3."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def state(self, s3_uri: str | None) -> ModelState | None:
        """What lies at ModelArtifacts.S3ModelArtifacts. Raises nothing.

        None where nobody can tell: another account's bucket, S3 away, an archive that cannot be read.
        """
        if s3_uri is None:
            return ModelState.MISSING
        try:
            parts = urlsplit(s3_uri)
            key = parts.path.lstrip("/")
            # OutputDataConfig.CompressionType NONE leaves files below a prefix.
            look = self._archive if key.endswith(ARCHIVE_END) else self._files
            return look(parts.netloc, key)
        except (ClientError, BotoCoreError, ValueError) as error:  # ValueError: it is no address
            code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
            if code in {"404", "NoSuchKey"}:
                return ModelState.MISSING
            _log.warning("the model at %s was not looked at: %s", visible(s3_uri), redact(str(error)))
            return None

    def _archive(self, bucket: str, key: str) -> ModelState | None:
        size = self._client.head_object(Bucket=bucket, Key=key).get("ContentLength")
        if size is None or size > MOST_ARCHIVE_BYTES:
            return ModelState.STORED
        with closing(self._client.get_object(Bucket=bucket, Key=key)["Body"]) as stream:
            return state_of_archive(stream.read(MOST_ARCHIVE_BYTES))

    def _files(self, bucket: str, prefix: str) -> ModelState:
        found = (
            self._client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix.rstrip('/')}/").get("Contents") or ()
        )
        if not found:
            return ModelState.MISSING
        return ModelState.STORED if any(each.get("Size") for each in found) else ModelState.EMPTY


def state_of_archive(body: bytes) -> ModelState | None:
    """Whether a .tar.gz holds a file with a byte in it; None where it cannot be read. Nothing is written."""
    import gzip  # noqa: PLC0415 - at the end of a run alone
    import tarfile  # noqa: PLC0415

    if not body:
        return ModelState.EMPTY
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            unpacked = packed.read(MOST_UNPACKED_BYTES + 1)
        if len(unpacked) > MOST_UNPACKED_BYTES:
            return None
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            has_file = any(member.isreg() and member.size > 0 for member in archive)
    except Exception as error:  # a container wrote it: any fault that a reader of archives has
        _log.warning("the model's archive cannot be read: %s", redact(str(error)))
        return None
    return ModelState.STORED if has_file else ModelState.EMPTY
