"""What a training script finds on its simulated machine: folders, files, variables."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightspot.local.sagemaker import toolkit
from nightspot.local.sagemaker.opt_ml import CHECKPOINTS_VARIABLE, OPT_ML
from nightspot.plan.planning import DEFAULT_CHECKPOINT_PATH

HOST = "algo-1"
INHERITED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass
class Container:
    """One machine life's disk: everything below `root` goes with the machine.

    `is_private`: its processes see `opt_ml` at /opt/ml. `local_path` is CheckpointConfig.LocalPath.
    """

    root: Path
    is_private: bool = False
    local_path: str = DEFAULT_CHECKPOINT_PATH

    def __post_init__(self) -> None:
        self.opt_ml = self.root / "opt" / "ml"
        self.config = self.opt_ml / "input" / "config"
        self.data = self.opt_ml / "input" / "data"
        self.code = self.opt_ml / "code"
        self.model = self.opt_ml / "model"
        self.output = self.opt_ml / "output"
        self.output_data = self.output / "data"
        self.checkpoints = Path(os.path.normpath(f"{self.root}/{self.local_path}"))

    def inside(self, path: Path) -> str:
        """The path by the name that the processes know it by."""
        if self.is_private and path.is_relative_to(self.opt_ml):
            return str(OPT_ML / path.relative_to(self.opt_ml))
        return str(path)

    def failure_text(self) -> str | None:
        """What the script wrote to output/failure, or None."""
        path = self.output / "failure"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def remove(self) -> None:
        """Throw the disk away."""
        shutil.rmtree(self.root, ignore_errors=True)


def prepare(root: Path, request: Mapping[str, Any], *, is_private: bool = False) -> Container:
    """Lay out a fresh disk below `root` for one machine life of the job in `request`; see `Container`."""
    checkpoints = request.get("CheckpointConfig", {})
    local_path = checkpoints.get("LocalPath", DEFAULT_CHECKPOINT_PATH)
    container = Container(root, is_private, local_path)
    container.remove()
    for folder in (container.config, container.code, container.model, container.output_data):
        folder.mkdir(parents=True)
    for channel in request.get("InputDataConfig", []):
        if input_mode(request, channel) != "Pipe":
            (container.data / channel["ChannelName"]).mkdir(parents=True)
    _write(container.config / "hyperparameters.json", request.get("HyperParameters", {}))
    _write(container.config / "resourceconfig.json", _resource_config(request))
    _write(container.config / "inputdataconfig.json", _channels(request))
    if checkpoints:
        container.checkpoints.mkdir(parents=True, exist_ok=True)
        local = {"S3Uri": checkpoints["S3Uri"], "LocalPath": container.inside(container.checkpoints)}
        _write(container.config / "checkpointconfig.json", local)
    return container


def environment(
    container: Container,
    request: Mapping[str, Any],
    arn: str,
    extra: Mapping[str, str],
    entry_point: str | None = None,
) -> dict[str, str]:
    """The variables of the training process; `extra` wins over all, then the job's Environment.

    Names and forms are those of sagemaker-training-toolkit (see `toolkit`), so SM_HP_ keeps a hyphen: batch-size is
    SM_HP_BATCH-SIZE. `entry_point`: the script that runs, where the request names none. Of the user's own variables
    only what a process needs to start comes along: credentials stay out.
    """
    own = request.get("Environment", {})
    region = arn.split(":")[3]
    checkpoints = {}
    if "CheckpointConfig" in request:
        checkpoints = {CHECKPOINTS_VARIABLE: container.inside(container.checkpoints)}
    return {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        **_python_first(os.environ.get("PATH", os.defpath)),
        "HOME": str(container.root),
        "PYTHONUNBUFFERED": "1",
        **toolkit.environment(
            toolkit.parameters(request),
            base=container.inside(container.opt_ml),
            resources=_resource_config(request),
            channels=_channels(request),
            job_name=str(request["TrainingJobName"]),
            entry_point=own.get("SAGEMAKER_PROGRAM", entry_point),
            framework_module=own.get("SAGEMAKER_TRAINING_MODULE"),
        ),
        **checkpoints,
        "AWS_REGION": region,
        "SAGEMAKER_REGION": region,
        "TRAINING_JOB_NAME": str(request["TrainingJobName"]),
        "TRAINING_JOB_ARN": arn,
        **own,
        **extra,
    }


def _python_first(path: str) -> dict[str, str]:
    """PATH with the Python that runs Nightspot before others, where that is a virtual environment's."""
    if sys.prefix == sys.base_prefix:
        return {}
    return {"PATH": os.pathsep.join([str(Path(sys.executable).parent), path])}


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


def input_mode(request: Mapping[str, Any], channel: Mapping[str, Any]) -> str:
    """How the channel's data come: File, FastFile or Pipe; its own mode, else the algorithm's."""
    algorithm = request.get("AlgorithmSpecification", {})
    return str(channel.get("InputMode") or algorithm.get("TrainingInputMode") or "File")


def _channels(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What inputdataconfig.json says.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    """
    found = {}
    for channel in request.get("InputDataConfig", []):
        source = channel.get("DataSource", {}).get("S3DataSource", {})
        content = {"ContentType": channel["ContentType"]} if "ContentType" in channel else {}
        found[channel["ChannelName"]] = {
            **content,
            "TrainingInputMode": input_mode(request, channel),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
    return found


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
