"""What a training script finds on its simulated machine, and how it runs there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

HOST = "algo-1"
INHERITED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass
class Container:
    """One machine life's disk: everything below `root` goes with the machine."""

    root: Path

    def __post_init__(self) -> None:
        self.opt_ml = self.root / "opt" / "ml"
        self.config = self.opt_ml / "input" / "config"
        self.data = self.opt_ml / "input" / "data"
        self.model = self.opt_ml / "model"
        self.output = self.opt_ml / "output"
        self.output_data = self.output / "data"
        self.checkpoints = self.opt_ml / "checkpoints"

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


PYTHON_NAMES = {"python", "python3"}


class CommandError(Exception):
    """The training command could not be started."""


class TrainingProcess:
    """One running training command and everything it starts.

    Raises `CommandError` where the command does not exist or may not be run. `on_line` gets every
    line of standard output and error, without its end, from a thread of its own; the same lines
    are appended to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        on_line: Callable[[str], None] | None,
        reaper: Reaper,
    ) -> None:
        self._reaper = reaper
        self._log = log
        self._on_line = on_line
        log.parent.mkdir(parents=True, exist_ok=True)
        first, *others = command
        try:
            # `python` is the one that runs Nightspot, so that the script finds what is installed here.
            # The command is the user's own, from the job file; running it is what was asked for.
            self._popen = subprocess.Popen(  # noqa: S603
                [sys.executable if first in PYTHON_NAMES else first, *others],
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{' '.join(command)}: {error.strerror or error}") from error
        reaper.watch(self._popen.pid)
        self._reader = Thread(target=self._copy_lines, name=f"log-{log.stem}", daemon=True)
        self._reader.start()

    def exit_code(self) -> int | None:
        """None while it runs, else its exit code as Docker counts: 128 + N for signal N."""
        code = self._popen.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """Ask it to end: SIGTERM to the command itself only, as `docker stop` does.

        https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
        """
        self._popen.terminate()

    def kill(self) -> None:
        """End it and all its children at once; returns when their words are in the log."""
        # A leader that has ended may have left children in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._reaper.forget(self._popen.pid)
        self._reader.join(timeout=5)

    def _copy_lines(self) -> None:
        with self._popen, self._log.open("ab") as log:
            for line in self._popen.stdout or ():
                log.write(line)
                log.flush()
                if self._on_line is not None:
                    self._on_line(line.decode("utf-8", errors="replace").rstrip("\r\n"))


HELPER = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Reaper:
    """Kills the watched process groups when this program ends. Thread safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._helper: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Kill this process group when the program ends."""
        with self._lock:
            if self._helper is None:
                # A session of its own: Ctrl-C in the terminal must not take the helper with the program.
                self._helper = subprocess.Popen(  # noqa: S603 - this Python, and the lines above
                    [sys.executable, "-I", "-S", "-c", HELPER],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended; its number may come to belong to somebody else."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the helper; it kills what is still watched. Idempotent."""
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            with contextlib.suppress(BrokenPipeError):
                helper.communicate()

    def _tell(self, message: str) -> None:
        # A helper killed by hand only costs the safety net, not the training.
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._helper is not None and self._helper.stdin is not None:
                self._helper.stdin.write(message.encode())
                self._helper.stdin.flush()
