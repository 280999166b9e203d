"""What runs in a simulated training container, where, and what of the request one machine cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightspot.job.code_version import PROGRAM, SUBMIT_DIRECTORY
from nightspot.job.model import Local
from nightspot.local.sagemaker import toolkit
from nightspot.local.sagemaker.container import Container, input_mode
from nightspot.local.sagemaker.opt_ml import OPT_ML
from nightspot.local.sagemaker.process import NOT_INSTALLED, CommandError
from nightspot.local.sagemaker.toolkit import EntryPointError, Parameters

_SHELLS = frozenset({"sh", "bash", "zsh", "dash"})
# What SDK 3's ModelTrainer has every job run; its drivers pass the hyperparameters on.
_MODEL_TRAINER = "/opt/ml/input/data/sm_drivers/"
# Nothing is installed on this machine: pip only says what it would install.
_NO_INSTALL = {"PIP_DRY_RUN": "1"}

Fetch = Callable[[str], bytes]
"""The object at an S3 URI. Raises KeyError where there is none."""


@dataclass(frozen=True)
class TrainingCommand:
    """How a job is trained on this machine: what runs, where, and with what over the contract's variables.

    Without a `command` the request's own code runs, as SageMaker would run it. `pass_hyperparameters`: append them
    to the command.
    """

    command: Sequence[str] | None
    environment: Mapping[str, str]
    directory: Path
    pass_hyperparameters: bool = True

    @classmethod
    def of(
        cls, local: Local, directory: Path, environment: Mapping[str, str] | None = None
    ) -> TrainingCommand:
        """What a job file's `local` says, with `environment` in place of its own where given."""
        own = local.environment if environment is None else environment
        return cls(local.command, own, directory, local.pass_hyperparameters)


@dataclass(frozen=True)
class Launch:
    """One process to start. `directory` is as the process calls it; `notes` stand before its first line."""

    command: Sequence[str]
    directory: str
    environment: Mapping[str, str] = field(default_factory=dict)
    entry_point: str | None = None
    notes: Sequence[str] = ()


def launch_of(container: Container, request: Mapping[str, Any], how: TrainingCommand, fetch: Fetch) -> Launch:
    """What to start for one machine life of the job in `request`, whose inputs are in the container.

    With a command of the job file: that, and the hyperparameters as arguments where SageMaker would pass them.
    Else a ContainerEntrypoint that runs what came in a channel, or the source archive in script mode. Raises
    `CommandError` where none of these can be run here.
    """
    given = toolkit.parameters(request)
    notes = _notes(container, request, given)
    if how.command is not None:
        words, note = _arguments(request, given, how)
        entry_point = next((word for word in how.command if word.endswith((".py", ".sh"))), None)
        return Launch(
            [*how.command, *words],
            str(how.directory),
            entry_point=None if entry_point is None else Path(entry_point).name,
            notes=[*notes, *note],
        )
    channels = request.get("InputDataConfig", [])
    pipes = [channel["ChannelName"] for channel in channels if input_mode(request, channel) == "Pipe"]
    if pipes:
        raise CommandError(
            f"InputDataConfig: {', '.join(pipes)}: input mode Pipe is not played here; use FastFile or File, "
            "or say with local.command how to train here"
        )
    if request.get("AlgorithmSpecification", {}).get("ContainerEntrypoint"):
        return _entrypoint(container, request, notes)
    if given.program is None:
        raise CommandError(
            f"the request names no code (hyperparameter {PROGRAM}): what its image would run is not on "
            "this machine. Say with local.command how to train here"
        )
    return _script(container, given, given.program, _own_values(given, how), notes, fetch)


def _script(
    container: Container,
    given: Parameters,
    program: str,
    own: Mapping[str, Any],
    notes: Sequence[str],
    fetch: Fetch,
) -> Launch:
    source = given.sdk.get(SUBMIT_DIRECTORY)
    if not isinstance(source, str) or not source.startswith("s3://"):
        raise CommandError(
            f"{SUBMIT_DIRECTORY}: {source!r}: must be the s3:// address of an archive; code that is in the "
            "image is not on this machine. Say with local.command how to train here"
        )
    try:
        archive = fetch(source)
    except KeyError as error:
        raise CommandError(
            f"{SUBMIT_DIRECTORY}: {source!r}: is not in the S3 that is played here. Say with local.command "
            "how to train here, or with code.source_dir where the code is"
        ) from error
    try:
        toolkit.unpack(archive, container.code, source)
        words = toolkit.arguments(own)
        command = toolkit.entry_command(container.code, program, words, "python")
    except EntryPointError as error:
        raise CommandError(str(error)) from error
    found = ["setup.py"] if "-m" in command[:2] else []
    found += ["requirements.txt"] if (container.code / "requirements.txt").exists() else []
    if found:
        notes = [*notes, f"{' and '.join(found)} would be installed on SageMaker; {NOT_INSTALLED}"]
    code = container.inside(container.code)
    return Launch(command, code, {"PYTHONPATH": code}, program, notes)


def _entrypoint(container: Container, request: Mapping[str, Any], notes: Sequence[str]) -> Launch:
    """ContainerEntrypoint with ContainerArguments: of the image, only what came in channels is here."""
    algorithm = request["AlgorithmSpecification"]
    words = [*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", [])]
    used = next((word for word in words if word.startswith(f"{OPT_ML}/")), None)
    refused = f"AlgorithmSpecification.ContainerEntrypoint: {json.dumps(words)}:"
    fix = "Say with local.command how to train here"
    if used is None:
        raise CommandError(f"{refused} runs what is in the image, which is not on this machine. {fix}")
    if not container.is_private:
        raise CommandError(
            f"{refused} needs {OPT_ML}, of which this machine cannot give a job its own. {fix}"
        )
    if not (container.opt_ml / Path(used).relative_to(OPT_ML)).exists():
        raise CommandError(f"{refused} {used} came with no channel: is its data in the S3 played here? {fix}")
    if used.startswith(_MODEL_TRAINER):
        notes = [*notes, f"pip only says what it would install; {NOT_INSTALLED}"]
    return Launch(words, container.inside(container.code), _NO_INSTALL, Path(used).name, notes)


def _arguments(
    request: Mapping[str, Any], given: Parameters, how: TrainingCommand
) -> tuple[list[str], list[str]]:
    """What is appended to the job file's command, and what to say of it."""
    if not how.pass_hyperparameters or not given.own or how.command is None:
        return [], []
    own = _own_values(given, how)
    entrypoint = request.get("AlgorithmSpecification", {}).get("ContainerEntrypoint", [])
    if any(word.startswith(_MODEL_TRAINER) for word in entrypoint):
        words = toolkit.driver_arguments(own)
    elif entrypoint:
        return [], []  # it replaces the toolkit, and no one else passes hyperparameters as arguments
    else:
        words = toolkit.arguments(own)
    shell = Path(how.command[0]).name
    if (
        shell in _SHELLS
        and len(how.command) > 1
        and how.command[-2].endswith("c")
        and how.command[-2][0] == "-"
    ):
        # sh -c TEXT NAME ARGUMENTS: the text finds the arguments as "$@".
        if any(form in how.command[-1] for form in ("$@", "${@", "$*", "$1")):
            return [shell, *words], []
        return [], [
            f'local.command is a text for {shell} without "$@": the hyperparameters are not passed to it'
        ]
    return words, []


def _own_values(given: Parameters, how: TrainingCommand) -> dict[str, Any]:
    """The script's hyperparameters. A variable of the job file, or of a drill's --env, wins over the request's."""
    named = {name: how.environment.get(f"SM_HP_{name.upper()}") for name in given.own}
    return {
        name: value if (text := named[name]) is None else toolkit.decoded(text)
        for name, value in given.own.items()
    }


def _notes(container: Container, request: Mapping[str, Any], given: Parameters) -> list[str]:
    """What of the request is otherwise here than on SageMaker."""
    notes = []
    count = int(request["ResourceConfig"].get("InstanceCount", 1))
    if count > 1:
        notes.append(f"InstanceCount: {count}: one host is played here, with one process")
    elif given.distribution:
        notes.append(f"{', '.join(given.distribution)}: one process is started here")
    if "CheckpointConfig" in request and not container.checkpoints.is_relative_to(container.opt_ml):
        notes.append(
            f"CheckpointConfig.LocalPath: {container.local_path} is not below {OPT_ML}: here it is "
            f"{container.checkpoints}, as checkpointconfig.json says"
        )
    for channel in request.get("InputDataConfig", []):
        name, source = channel["ChannelName"], channel.get("DataSource", {})
        kind = source.get("S3DataSource", {}).get("S3DataType")
        if input_mode(request, channel) == "Pipe":
            notes.append(f"channel {name}: input mode Pipe is not played here: there is no pipe")
        elif kind == "AugmentedManifestFile" or "FileSystemDataSource" in source:
            notes.append(
                f"channel {name}: {kind or 'FileSystemDataSource'} is not played here: the folder is empty"
            )
    return notes
