"""What travels between a simulated machine and S3: inputs, checkpoints, the model."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from nightspot.local.sagemaker.behaviour import Transfer, UploadAgent
from nightspot.local.sagemaker.request_rules import invalid, split_uri


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


def download_channel(s3: Any, channel: Mapping[str, Any], folder: Path) -> None:
    """Copy what a channel's S3DataSource names into its folder; one host gets all of it, however it is distributed.

    An augmented manifest and a file system bring nothing. Raises `ServiceFaultError` for a manifest that is none.
    """
    source = channel.get("DataSource", {}).get("S3DataSource", {})
    kind = source.get("S3DataType", "S3Prefix")
    if kind == "S3Prefix" and source:
        download_prefix(s3, source["S3Uri"], folder)
    elif kind == "ManifestFile":
        for uri, name in _of_manifest(s3, source["S3Uri"]):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.write_bytes(object_at(s3, uri))
            except KeyError as error:
                raise invalid(
                    f"The manifest '{source['S3Uri']}' names '{uri}', which does not exist"
                ) from error


def _of_manifest(s3: Any, uri: str) -> Iterator[tuple[str, str]]:
    """Address and relative name of each object of a manifest: [{"prefix": "s3://…/"}, "a.csv", …].

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    """
    try:
        prefix, *names = json.loads(object_at(s3, uri))
        base = str(prefix["prefix"])
    except KeyError:
        return  # not in this S3, as with a prefix; or no manifest
    except (ValueError, TypeError) as error:
        raise invalid(
            f"The manifest '{uri}' must be a JSON list that begins with a prefix ({error})"
        ) from error
    for name in names:
        parts = [part for part in str(name).split("/") if part not in {"", ".", ".."}]
        yield f"{base}{name}", "/".join(parts)


def object_at(s3: Any, uri: str) -> bytes:
    """The object at an S3 URI. Raises KeyError where there is none."""
    bucket, key = split_uri(uri)
    try:
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket) as error:
        raise KeyError(uri) from error
    return body


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

    Restored once before the start; afterwards only local changes travel, as `agent` carries them. Whatever is there
    is uploaded, half-written files and temporary names included, unless the agent skips these; what is deleted
    locally is deleted in S3; objects that others add to S3 are neither pulled nor touched. Of several `hosts` the
    first one runs a process; the others hold what was restored.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
    """

    def __init__(
        self,
        s3: Any,
        uri: str,
        folder: Path,
        agent: UploadAgent | None = None,
        random: Random | None = None,
        *,
        hosts: int = 1,
    ) -> None:
        self._s3 = s3
        self._uri = uri
        self._bucket, self._prefix = split_uri(uri)
        self._folder = folder
        self._agent = agent or UploadAgent()
        self._random = random or Random(0)  # noqa: S311 - a simulation, not a secret
        self._is_stale_somewhere = self._agent.stale_hosts and hosts > 1
        self._synced: dict[str, tuple[int, int]] = {}
        self._stale: dict[str, bytes] = {}
        self._queue: list[Transfer] = []
        self._under_way: tuple[float, Transfer, _Read | None] | None = None

    def restore(self) -> int:
        """Fill the folder from S3; return how many files came."""
        count = download_prefix(self._s3, self._uri, self._folder)
        self._synced = dict(self._local_files())
        if self._is_stale_somewhere:
            self._stale = {name: (self._folder / name).read_bytes() for name in self._synced}
        return count

    @property
    def next_at(self) -> float | None:
        """When the file under way has been carried; None: nothing is being carried."""
        return None if self._under_way is None else self._under_way[0]

    def begin(self, now: float) -> None:
        """Begin to carry what changed since the last time, or the restore; `now` in seconds of any clock.

        Nothing changes while the agent is still at work.
        """
        if self._under_way is not None:
            return
        present = dict(self._local_files())
        changed = [name for name, stamp in present.items() if self._synced.get(name) != stamp]
        sizes = {name: present[name][1] for name in sorted(changed, key=lambda name: present[name][0])}
        deleted = self._synced.keys() - present.keys()
        self._queue = self._agent.transfers(sizes, deleted, self._random)
        self._begin_next(now)

    def work(self, now: float) -> None:
        """Finish what has been carried by `now`."""
        while self._under_way is not None and self._under_way[0] <= now:
            ends_at, transfer, read = self._under_way
            self._arrive(transfer, read)
            self._begin_next(ends_at)

    def push(self) -> None:
        """Carry all that changed, however long that takes."""
        self.begin(0.0)
        self.work(float("inf"))

    def end(self) -> None:
        """What the other hosts do at the job's end; see `UploadAgent.stale_hosts`."""
        for name, body in self._stale.items():
            self._s3.put_object(Bucket=self._bucket, Key=self._key(name), Body=body)

    def _begin_next(self, now: float) -> None:
        self._under_way = None
        while self._queue and self._under_way is None:
            transfer = self._queue.pop(0)
            read = None if transfer.is_deletion else self._read(transfer.name)
            if read is not None or transfer.is_deletion:
                self._under_way = (now + transfer.seconds, transfer, read)

    def _read(self, name: str) -> _Read | None:
        """The file as it is now; None where it was renamed or deleted since the folder was listed."""
        path = self._folder / name
        try:
            status = path.stat()
            return _Read((status.st_mtime_ns, status.st_size), path.read_bytes())
        except FileNotFoundError:
            return None

    def _arrive(self, transfer: Transfer, read: _Read | None) -> None:
        where = {"Bucket": self._bucket, "Key": self._key(transfer.name)}
        if read is None:
            self._s3.delete_object(**where)
            del self._synced[transfer.name]
        else:
            self._s3.put_object(**where, Body=read.body)
            self._synced[transfer.name] = read.stamp

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


@dataclass(frozen=True)
class _Read:
    """A file's content, and what it was known by when it was read."""

    stamp: tuple[int, int]
    body: bytes


def _keys_below(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for entry in page.get("Contents", []):
            key = entry["Key"]
            below = not prefix or key == prefix or key.startswith(f"{prefix}/")
            if below and not key.endswith("/"):
                yield key
