"""What a training job leaves in S3: the progress files beside its checkpoints, and its model."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import asking_aws, code_of
from nightspot.failures.redaction import redact
from nightspot.formats.figures import visible
from nightspot.record.sentences import ModelState
from nightspot.run.model import Progress
from nightspot.run.progress_file import MOST_BYTES, MOST_FILES, Order, is_newer, order_of, read_progress

PROGRESS_FILE = "nightspot.json"
_PROGRESS_BEGIN = "nightspot"  # of that one, and of those that have a number
# The newest ones, of which the newest may wait for their checkpoints.
MOST_PROGRESS_FILES = 5
# fact: sagemaker.checkpoints.partial
CHECKPOINT_END = ".nsck"  # what half-written files, which may be uploaded too, do not end with
# fact: s3.key.bytes
LONGEST_KEY_BYTES = 1024  # of S3
# Of 1,000 keys each, in one look: twice as many as the largest checkpoint has files, for half-written ones beside
# them.
MOST_PAGES = 2 * MOST_FILES // 1000

_MISSING = frozenset({"404", "NoSuchKey"})
# HeadObject's answer has no body, so its status is the code.
# fact: kms.denied.words
_DENIED = frozenset({"403", "AccessDenied", "Forbidden"})
_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoint prefixes of runs in S3.

    `asks_list`: where S3 denies access to an object, a list tells whether it is only missing. A person whose keys
    may list and not read shall hear of it instead, also before there is anything to read.
    """

    def __init__(self, client: Any, *, asks_list: bool = True) -> None:
        self._client = client
        self._asks_list = asks_list

    def progress(self, s3_uri: str) -> Progress | None:
        """What is durable below `s3_uri`, or None where the training script says nothing readable.

        The newest progress file whose checkpoint is there. SageMaker uploads files in no promised order, and each
        of several hosts its own copy of the prefix: an older file that comes again is still older. At most
        `MOST_PAGES` of names and `MOST_PROGRESS_FILES` + 1 files are read, whatever lies there.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        parts = urlsplit(s3_uri)
        bucket, prefix = parts.netloc, f"{parts.path.strip('/')}/"
        orders, has_unnumbered = self._progress_files(bucket, prefix)
        pages = iter(range(MOST_PAGES - 1))
        newest = None
        for name in sorted(orders, key=lambda each: orders[each], reverse=True)[:MOST_PROGRESS_FILES]:
            newest = self._progress_of(bucket, prefix, name, pages, orders[name])
            if newest is not None:
                break
        unnumbered = self._progress_of(bucket, prefix, PROGRESS_FILE, pages) if has_unnumbered else None
        if newest is None or (unnumbered is not None and is_newer(unnumbered, newest)):
            return unnumbered
        return newest

    def _progress_files(self, bucket: str, prefix: str) -> tuple[dict[str, Order], bool]:
        """The numbered progress files, and whether to look for the other one."""
        try:
            with asking_aws():
                answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix + _PROGRESS_BEGIN)
        except ClientError as error:
            if code_of(error) in _DENIED:
                return {}, True  # who may read and not list, as once was enough
            raise
        names = [str(each.get("Key")).removeprefix(prefix) for each in answer.get("Contents") or ()]
        orders = {name: order for name in names if (order := order_of(name)) is not None}
        # Its name comes after all others. A page is full where somebody else wrote them, or none is deleted.
        is_known = PROGRESS_FILE in names or bool(answer.get("IsTruncated"))
        return orders, is_known or not self._asks_list

    def _progress_of(
        self, bucket: str, prefix: str, name: str, pages: Iterator[int], order: Order | None = None
    ) -> Progress | None:
        """What this file says is durable; None where it is missing, unusable, or ahead of its checkpoint."""
        body = self._read(bucket, prefix + name)
        if body is None:
            return None
        file = read_progress(body, order)
        if file.progress is None:
            # A file that cannot be used costs an estimate, never the run.
            _log.warning("s3://%s/%s%s: no progress: %s", bucket, prefix, name, "; ".join(file.left_out))
            return None
        # The word may arrive before what it speaks of.
        if file.checkpoint and not self._is_complete(bucket, prefix, file.checkpoint, file.files, pages):
            _log.info("s3://%s/%s%s: checkpoint %s is not there", bucket, prefix, name, file.checkpoint)
            return None
        return file.progress

    def files(self, s3_uri: str) -> tuple[tuple[str, int, datetime], ...]:
        """The first thousand objects below `s3_uri`: key below it, bytes, S3's moment. Raises like `progress`."""
        parts = urlsplit(s3_uri)
        prefix = f"{parts.path.strip('/')}/"
        with asking_aws():
            answer = self._client.list_objects_v2(Bucket=parts.netloc, Prefix=prefix)
        return tuple(
            (each["Key"].removeprefix(prefix), int(each["Size"]), each["LastModified"])
            for each in answer.get("Contents") or ()
        )

    def is_empty(self, s3_uri: str) -> bool:
        """Whether nothing at all lies below `s3_uri`. Raises like `progress`."""
        parts = urlsplit(s3_uri)
        prefix = f"{parts.path.strip('/')}/"
        with asking_aws():
            return not self._client.list_objects_v2(Bucket=parts.netloc, Prefix=prefix).get("Contents")

    def _is_complete(self, bucket: str, prefix: str, name: str, files: int, pages: Iterator[int]) -> bool:
        """Whether the checkpoint is there: of sharded state each rank uploads a file of its own."""
        if len(f"{prefix}{name}".encode()) > LONGEST_KEY_BYTES:
            return False  # S3 would refuse the question
        if files == 1:
            return self._exists(bucket, prefix + name)
        same_step, rank, _ = name.rpartition("-rank")
        return bool(rank) and self._has(files, bucket, f"{prefix}{same_step}{rank}", pages)

    def _read(self, bucket: str, key: str) -> bytes | None:
        try:
            # However large it is: a range would be refused where the object is empty.
            with asking_aws(), closing(self._client.get_object(Bucket=bucket, Key=key)["Body"]) as stream:
                body: bytes = stream.read(MOST_BYTES + 1)
        except ClientError as error:
            if not self._is_missing(error, bucket, key):
                raise
            return None
        return body

    def _has(self, files: int, bucket: str, prefix: str, pages: Iterator[int]) -> bool:
        """Whether so many whole checkpoint files begin with `prefix`, as far as the `pages` of names tell."""
        count = 0
        page: dict[str, str] = {}
        with asking_aws():
            for _ in pages:
                answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **page)
                found = answer.get("Contents") or ()
                count += sum(str(each.get("Key")).endswith(CHECKPOINT_END) for each in found)
                token = answer.get("NextContinuationToken")
                if count >= files or not answer.get("IsTruncated") or not token:
                    break
                page = {"ContinuationToken": str(token)}
        return count >= files

    def _exists(self, bucket: str, key: str) -> bool:
        try:
            with asking_aws():
                self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if not self._is_missing(error, bucket, key):
                raise
            return False
        return True

    def _is_missing(self, error: ClientError, bucket: str, key: str) -> bool:
        if self._asks_list:
            return _is_missing(error, self._client, bucket, key)
        return code_of(error) in _MISSING


def _is_missing(error: ClientError, client: Any, bucket: str, key: str) -> bool:
    """Whether S3 refused because there is no such object.

    It says "access denied" of one that is missing to who may not list the bucket, and may say so to who may list
    that prefix alone: the list knows.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    if code_of(error) in _MISSING:
        return True
    if code_of(error) not in _DENIED:
        return False
    try:
        found = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents") or ()
    except (ClientError, BotoCoreError):
        return False
    return all(each.get("Key") != key for each in found)


ARCHIVE_END = ".tar.gz"
# A larger archive has something in it. An empty folder's has about 100 bytes.
MOST_ARCHIVE_BYTES = 64 * 1024
# Of what is packed so small: a thousand times more, where somebody means harm.
MOST_UNPACKED_BYTES = 4 * 1024 * 1024


class Models:
    """Model artefacts in S3."""

    def __init__(self, client: Any) -> None:
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
            if code_of(error) in _MISSING:
                return ModelState.MISSING
            _log.warning("the model at %s was not looked at: %s", visible(s3_uri), redact(str(error)))
            return None

    def _archive(self, bucket: str, key: str) -> ModelState | None:
        try:
            size = self._client.head_object(Bucket=bucket, Key=key).get("ContentLength")
        except ClientError as error:
            if _is_missing(error, self._client, bucket, key):
                return ModelState.MISSING
            raise
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
