"""Decides what travels between S3 and a simulated machine's disk: inputs, checkpoints, the model."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nightspot.local.sagemaker.faults import invalid


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI, the key without slashes at its ends.

    Raises `ServiceFaultError` (ValidationException) for anything else.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise invalid(f"The URI '{uri}' is not a valid S3 URI; it must look like s3://bucket/prefix")
    return bucket, key.strip("/")


def download_prefix(s3: Any, uri: str, folder: Path) -> int:
    """Copy every object below an S3 URI into a folder, subfolders included; return how many.

    A URI that names one object brings that object. A bucket that does not exist holds none: AWS
    would refuse the job, but a run on one machine need not own the data of the real one.
    """
    bucket, prefix = split_uri(uri)
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    try:
        for key in _keys_below(s3, bucket, prefix):
            path = folder / (key.removeprefix(prefix).lstrip("/") or Path(key).name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            count += 1
    except s3.exceptions.NoSuchBucket:
        return 0
    return count


def upload_archive(s3: Any, folder: Path, uri: str) -> None:
    """Store a folder's contents as one .tar.gz object at `uri`."""
    bucket, key = split_uri(uri)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    s3.put_object(Bucket=bucket, Key=key, Body=buffer.getvalue())


class CheckpointSync:
    """Keeps CheckpointConfig.S3Uri and a local folder alike, as SageMaker does.

    Restored once before the start; afterwards only local changes travel. Whatever is there is
    uploaded, half-written files and temporary names included; what is deleted locally is deleted
    in S3; objects that others add to S3 are neither pulled nor touched.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
    """

    def __init__(self, s3: Any, uri: str, folder: Path) -> None:
        self._s3 = s3
        self._uri = uri
        self._bucket, self._prefix = split_uri(uri)
        self._folder = folder
        self._synced: dict[str, tuple[int, int]] = {}

    def restore(self) -> int:
        """Fill the folder from S3; return how many files came."""
        count = download_prefix(self._s3, self._uri, self._folder)
        self._synced = dict(self._local_files())
        return count

    def push(self) -> None:
        """Carry what changed since the last push, or the restore, to S3."""
        present = dict(self._local_files())
        for name, stamp in present.items():
            if self._synced.get(name) == stamp:
                continue
            try:
                body = (self._folder / name).read_bytes()
            except FileNotFoundError:
                continue  # renamed or deleted since the folder was listed; the next push sees it
            self._s3.put_object(Bucket=self._bucket, Key=self._key(name), Body=body)
            self._synced[name] = stamp
        for name in self._synced.keys() - present.keys():
            self._s3.delete_object(Bucket=self._bucket, Key=self._key(name))
            del self._synced[name]

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _local_files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for path in sorted(self._folder.rglob("*")):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                name = path.relative_to(self._folder).as_posix()
                yield name, (status.st_mtime_ns, status.st_size)


def _keys_below(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for entry in page.get("Contents", []):
            key = entry["Key"]
            below = not prefix or key == prefix or key.startswith(f"{prefix}/")
            if below and not key.endswith("/"):
                yield key
