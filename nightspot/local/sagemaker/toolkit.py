"""What SageMaker's training toolkit makes of a request: arguments, variables, the entry point.

AWS's framework images run the user's script by it. The rules are those of sagemaker-training 5.1.4
(https://github.com/aws/sagemaker-training-toolkit: mapping.py, params.py, environment.py, process.py, files.py);
tests/local/toolkit holds its own answers. SDK 3's ModelTrainer brings drivers of its own; of them only the form of
the arguments is here.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightspot.job.code_version import PROGRAM, SUBMIT_DIRECTORY

_PREFIX = "sagemaker_"
# What the toolkit keeps for itself; other names with the prefix are "framework parameters".
_ITS_OWN = frozenset(
    {
        PROGRAM,
        SUBMIT_DIRECTORY,
        "sagemaker_enable_cloudwatch_metrics",
        "sagemaker_region",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "default_user_module_name",
        "_tuning_objective_metric",
        "sagemaker_s3_output",
    }
)
_DISTRIBUTION = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)
_INFO = 20
_ENTRY_POINT = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*")


class EntryPointError(ValueError):
    """The request's script or archive cannot be used; the text names the hyperparameter."""


@dataclass(frozen=True)
class Parameters:
    """A request's hyperparameters, decoded: the user's, the SDK's, and of those the framework's."""

    own: Mapping[str, Any]
    sdk: Mapping[str, Any]

    @property
    def framework(self) -> dict[str, Any]:
        """SM_FRAMEWORK_PARAMS: those of the SDK that the toolkit does not keep for itself."""
        return {name: value for name, value in self.sdk.items() if name not in _ITS_OWN}

    @property
    def distribution(self) -> tuple[str, ...]:
        """The settings that would start several processes on SageMaker."""
        return tuple(name for name in _DISTRIBUTION if self.sdk.get(name))

    @property
    def program(self) -> str | None:
        """The entry point of script mode; None where the request has none."""
        return _text(self.sdk.get(PROGRAM)) or None


def parameters(request: Mapping[str, Any]) -> Parameters:
    """The request's hyperparameters: a value that is JSON is decoded, any other is text."""
    read = {name: decoded(value) for name, value in request.get("HyperParameters", {}).items()}
    sdk = {name for name in read if name in _ITS_OWN or name.startswith(_PREFIX)}
    return Parameters(
        {name: value for name, value in read.items() if name not in sdk},
        {name: value for name, value in read.items() if name in sdk},
    )


def arguments(own: Mapping[str, Any]) -> list[str]:
    """The hyperparameters as the toolkit passes them: by name, `--name value`, or `-n value` of one letter.

    A mapping becomes `key=value,…`, None an empty text, and all else what Python's str() says: `True`, `[1, 2]`.
    """
    words: list[str] = []
    for name in sorted(own):
        words += ["" if not name else f"--{name}" if len(name) > 1 else f"-{name}", _argument(own[name])]
    return words


def driver_arguments(own: Mapping[str, Any]) -> list[str]:
    """The hyperparameters as the drivers of SDK 3's ModelTrainer pass them: in the request's order, as JSON.

    basic_script_driver.py of sagemaker-train 1.27
    """
    pairs = ((name, decoded(value) if isinstance(value, str) else value) for name, value in own.items())
    return [
        word
        for name, value in pairs
        for word in (f"--{name}", value if isinstance(value, str) else json.dumps(value))
    ]


def variables(values: Mapping[str, Any]) -> dict[str, str]:
    """SM_<NAME> of each: texts as they are, None as an empty one, all else as sorted JSON without spaces."""
    return {
        f"SM_{name.upper()}" if name else "": _text(value)
        if value is None or isinstance(value, str)
        else json.dumps(value, sort_keys=True, separators=(",", ":"))
        for name, value in values.items()
    }


def environment(
    given: Parameters,
    *,
    base: str,
    resources: Mapping[str, Any],
    channels: Mapping[str, Mapping[str, str]],
    job_name: str,
    entry_point: str | None,
    framework_module: str | None = None,
) -> dict[str, str]:
    """The SM_ variables. `base`: /opt/ml as the process sees it. `entry_point`: where the request names none."""
    entry_point = given.program or entry_point
    directories = {name: f"{base}/input/data/{name}" for name in channels}
    groups = {group["instance_group_name"]: dict(group) for group in resources["instance_groups"]}
    group, host = resources["current_group_name"], resources["current_host"]
    default = [group] if given.distribution else []
    distributed = given.sdk.get("sagemaker_distribution_instance_groups", default)
    taking_part = [
        name
        for each in groups.values()
        if each["instance_group_name"] in distributed
        for name in each["hosts"]
    ]
    master = (taking_part or resources["hosts"])[0]
    shared = {
        "channel_input_dirs": directories,
        "current_host": host,
        "current_instance_group": group,
        "current_instance_group_hosts": groups[group]["hosts"],
        "current_instance_type": resources["current_instance_type"],
        "distribution_instance_groups": distributed,
        "framework_module": framework_module,
        "hosts": resources["hosts"],
        "input_config_dir": f"{base}/input/config",
        "input_data_config": channels,
        "input_dir": f"{base}/input",
        "instance_groups": list(groups),
        "instance_groups_dict": groups,
        "is_hetero": len(groups) > 1,
        "log_level": given.sdk.get("sagemaker_container_log_level", _INFO),
        "model_dir": f"{base}/model",
        "module_dir": str(given.sdk.get(SUBMIT_DIRECTORY, f"{base}/code")),
        "module_name": None if entry_point is None else entry_point.removesuffix(".py"),
        "network_interface_name": resources["network_interface_name"],
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": gpus(),
        "num_neurons": neurons(),
        "output_data_dir": f"{base}/output/data",
        "output_dir": f"{base}/output",
        "output_intermediate_dir": f"{base}/output/intermediate",
        "resource_config": resources,
        "user_entry_point": entry_point,
    }
    training_env = {
        **shared,
        "additional_framework_parameters": given.framework,
        "distribution_hosts": taking_part,
        "hyperparameters": given.own,
        "is_master": host == master,
        "is_modelparallel_enabled": None,
        "is_smddpmprun_installed": False,
        "is_smddprun_installed": False,
        "job_name": job_name,
        "master_hostname": master,
        "topology": [],
    }
    del shared["channel_input_dirs"]
    return {
        **variables(
            {
                **shared,
                "hps": given.own,
                "framework_params": given.framework,
                "channels": sorted(channels),
                "training_env": training_env,
                "user_args": arguments(given.own),
                **{f"channel_{name}": path for name, path in directories.items()},
                **{f"hp_{name}": value for name, value in given.own.items()},
            }
        ),
        "CURRENT_HOST": host,
        "SAGEMAKER_JOB_NAME": _text(given.sdk.get("sagemaker_job_name")),
    }


def entry_command(code: Path, entry_point: str, words: list[str], python: str) -> list[str]:
    """How the entry point is run in `code`: a package as a module, a .py by Python, all else by sh.

    Raises EntryPointError where it is no path of `code`, or is not there.
    """
    if not _ENTRY_POINT.fullmatch(entry_point) or {".", ".."} & set(entry_point.split("/")):
        raise EntryPointError(
            f"{PROGRAM}: {entry_point!r}: must be a path in the source directory, of letters, digits, . _ + - and /"
        )
    is_package = (code / "setup.py").exists() and not entry_point.endswith(".sh")
    if is_package:
        # The toolkit installs the package first. Here nothing is installed: modules are found in the directory.
        return [python, "-m", entry_point.removesuffix(".py"), *words]
    if not (code / entry_point).is_file():
        there = ", ".join(sorted(path.name for path in code.iterdir())) or "nothing"
        raise EntryPointError(f"{PROGRAM}: {entry_point!r}: is not in the archive, which has {there}")
    if entry_point.endswith(".py"):
        return [python, "--", entry_point, *words]
    (code / entry_point).chmod(0o777)
    quoted = " ".join(shlex.quote(word) for word in words)
    return ["/bin/sh", "-c", f"./{shlex.quote(entry_point)} {quoted}"]


def unpack(archive: bytes, code: Path, source: str) -> None:
    """Unpack a .tar.gz into `code`, as the toolkit does: nothing lands outside, special files are left out.

    Raises EntryPointError where it is no such archive.
    """
    code.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            tar.extractall(code, filter=_inside)  # noqa: S202 - the filter keeps it inside
    except (tarfile.TarError, OSError, EOFError) as error:
        raise EntryPointError(
            f"{SUBMIT_DIRECTORY}: {source!r}: must be a .tar.gz archive ({error})"
        ) from error


def _inside(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
    parts = [part for part in member.name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    if not parts:
        return None
    try:
        return tarfile.data_filter(member.replace(name="/".join(parts), deep=False), destination)
    except tarfile.FilterError:
        return None


@functools.cache
def gpus() -> int:
    """How many GPUs this machine has, as nvidia-smi lists them."""
    return sum(line.startswith("GPU ") for line in _said("nvidia-smi", "--list-gpus").splitlines())


@functools.cache
def neurons() -> int:
    """How many Neuron cores this machine has, as neuron-ls lists them."""
    try:
        return sum(int(device.get("nc_count", 0)) for device in json.loads(_said("neuron-ls", "-j")))
    except ValueError:
        return 0


def _said(program: str, option: str) -> str:
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def decoded(value: str) -> Any:
    """A hyperparameter as the toolkit reads it: JSON where it is JSON, else the text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={entry}" for key, entry in sorted(value.items()))
    return _text(value)
