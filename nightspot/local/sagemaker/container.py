"""What a training script finds on its simulated machine: files, variables, and what travels between it and S3."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightspot.local.sagemaker.faults import invalid

HOST = "algo-1"
INHERITED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass(frozen=True)
class Container:
    """One machine life's disk: everything below `root` goes with the machine."""

    root: Path

    @property
    def opt_ml(self) -> Path:
        return self.root / "opt" / "ml"

    @property
    def config(self) -> Path:
        return self.opt_ml / "input" / "config"

    @property
    def data(self) -> Path:
        return self.opt_ml / "input" / "data"

    @property
    def model(self) -> Path:
        return self.opt_ml / "model"

    @property
    def output(self) -> Path:
        return self.opt_ml / "output"

    @property
    def output_data(self) -> Path:
        return self.output / "data"

    @property
    def checkpoints(self) -> Path:
        return self.opt_ml / "checkpoints"

    def failure_text(self) -> str | None:
        """What the script wrote to output/failure, or None."""
        path = self.output / "failure"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def remove(self) -> None:
        """Throw the disk away."""
        shutil.rmtree(self.root, ignore_errors=True)


def prepare(root: Path, request: Mapping[str, Any]) -> Container:
    """Lay out a fresh disk below `root` for one machine life of the job in `request`."""
    container = Container(root)
    container.remove()
    for folder in (container.config, container.model, container.output_data):
        folder.mkdir(parents=True)
    channels = _channels(request)
    for name in channels:
        (container.data / name).mkdir(parents=True)
    _write(container.config / "hyperparameters.json", request.get("HyperParameters", {}))
    _write(container.config / "resourceconfig.json", _resource_config(request))
    _write(container.config / "inputdataconfig.json", channels)
    if "CheckpointConfig" in request:
        container.checkpoints.mkdir()
        uri = request["CheckpointConfig"]["S3Uri"]
        local = {"S3Uri": uri, "LocalPath": str(container.checkpoints)}
        _write(container.config / "checkpointconfig.json", local)
    return container


def environment(
    container: Container, request: Mapping[str, Any], arn: str, extra: Mapping[str, str]
) -> dict[str, str]:
    """The variables of the training process; `extra` wins over all, then the job's Environment.

    Names and forms are those of sagemaker-training-toolkit, so SM_HP_ keeps a hyphen: batch-size
    is SM_HP_BATCH-SIZE. Of the user's own variables only what a process needs to start comes
    along: credentials stay out.
    https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
    """
    parameters = {name: _decoded(value) for name, value in request.get("HyperParameters", {}).items()}
    channels = list(_channels(request))
    return {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "HOME": str(container.root),
        "PYTHONUNBUFFERED": "1",
        "SM_MODEL_DIR": str(container.model),
        "SM_OUTPUT_DIR": str(container.output),
        "SM_OUTPUT_DATA_DIR": str(container.output_data),
        "SM_INPUT_DIR": str(container.opt_ml / "input"),
        "SM_INPUT_CONFIG_DIR": str(container.config),
        "SM_CHANNELS": json.dumps(channels),
        **{f"SM_CHANNEL_{name.upper()}": str(container.data / name) for name in channels},
        "SM_HPS": json.dumps(parameters),
        **{
            f"SM_HP_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in parameters.items()
        },
        "SM_HOSTS": json.dumps([HOST]),
        "SM_CURRENT_HOST": HOST,
        "SM_CURRENT_INSTANCE_TYPE": str(request["ResourceConfig"]["InstanceType"]),
        "SM_NUM_GPUS": "0",
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_RESOURCE_CONFIG": json.dumps(_resource_config(request)),
        "SM_INPUT_DATA_CONFIG": json.dumps(_channels(request)),
        "TRAINING_JOB_NAME": str(request["TrainingJobName"]),
        "TRAINING_JOB_ARN": arn,
        **request.get("Environment", {}),
        **extra,
    }


def _resource_config(request: Mapping[str, Any]) -> dict[str, Any]:
    """One host, however many were asked for: this is one machine."""
    instance_type = request["ResourceConfig"]["InstanceType"]
    group = "homogeneousCluster"
    return {
        "current_host": HOST,
        "current_instance_type": instance_type,
        "current_group_name": group,
        "hosts": [HOST],
        "instance_groups": [{"instance_group_name": group, "instance_type": instance_type, "hosts": [HOST]}],
        "network_interface_name": "lo",
    }


def _channels(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        for channel in request.get("InputDataConfig", [])
    }


def _decoded(value: str) -> Any:
    """A hyperparameter as the training toolkit reads it: JSON where it is JSON, else the text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


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
