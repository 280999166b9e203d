"""Decides what a training script finds on its simulated machine: SageMaker's files and variables.

The layout is /opt/ml's, below a folder of its own, because a run on one machine is not root:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
