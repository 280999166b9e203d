"""The CreateTrainingJob request that the SageMaker Python SDK would send for an estimator or a ModelTrainer.

Nothing is sent and nothing uploaded: a copy of the trainer is given a session that keeps the request. The SDK's own
code makes it, in both major versions: `Session.train` of version 2 (whose `_intercept_create_request` is the hook
that SageMaker Pipelines use, too), `ModelTrainer._create_training_job_args` of version 3. tests/client/frameworks
holds it against both packages.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nightspot.job.code_version import PROGRAM, SUBMIT_DIRECTORY
from nightspot.job.errors import InvalidJobError, Problem, describe

# What a trainer that names no output place gets: the deployment's own bucket.
DEFAULT_BUCKET = "${ModelBucket}"
# The place of an archive that is not there yet.
_NOT_UPLOADED = "s3://nightspot-not-uploaded/sourcedir.tar.gz"
# Hyperparameters by which the training toolkit starts a script on several processes, as version 2 has them.
_TORCHRUN = "sagemaker_torch_distributed_enabled"
_MPI = "sagemaker_mpi_enabled"
_MPI_PROCESSES = "sagemaker_mpi_num_of_processes_per_host"
_MPI_OPTIONS = "sagemaker_mpi_custom_mpi_options"


@dataclass(frozen=True)
class SourceOfTrainer:
    """The trainer's own code, on this machine: paths as the trainer has them, `entry_point` below `source_dir`."""

    source_dir: str
    entry_point: str
    requirements: str | None = None


@dataclass(frozen=True)
class TrainerRequest:
    """What a trainer would ask for. `source` is None where no code of this machine goes with it."""

    request: dict[str, Any]
    source: SourceOfTrainer | None = None
    notes: tuple[Problem, ...] = ()


def request_of_trainer(trainer: object, inputs: object = None) -> TrainerRequest:
    """The request of an estimator (SDK 2) or ModelTrainer (SDK 3), without the network; the trainer stays as it is.

    `inputs` are those of `fit(inputs)`, or of `train(input_data_config=inputs)`: places in S3. Raises
    InvalidJobError where it is neither of the two, and where the request needs AWS or an upload.
    """
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(trainer).__mro__}
    if "sagemaker.estimator.EstimatorBase" in kinds:
        return _of_estimator(trainer, inputs)
    if kinds & {
        "sagemaker.train.model_trainer.ModelTrainer",
        "sagemaker.modules.train.model_trainer.ModelTrainer",
    }:
        return _of_model_trainer(trainer, inputs)
    rule = "must be an estimator of the SageMaker Python SDK 2, or a ModelTrainer of version 3"
    raise _refusal("trainer", f"a {type(trainer).__module__}.{type(trainer).__qualname__}", rule)


class _UploadedCode(NamedTuple):
    """What version 2 expects of an upload, sagemaker.fw_utils.UploadedCode."""

    s3_prefix: str
    script_name: str


class _RecordingSession:
    """A session of the SDK that asks AWS nothing; all that needs no call is left to the real one."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.request: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def train(self, **arguments: Any) -> None:
        """Version 2's own, which ends in `_intercept_create_request`."""
        type(self._session).train(self, **arguments)

    def _intercept_create_request(
        self, request: dict[str, Any], _create: object, _name: object = None
    ) -> None:
        self.request = request

    def default_bucket(self) -> str:
        """The bucket that the session is known to use; the deployment's own where the SDK would make one."""
        known = getattr(self._session, "_default_bucket", None)
        return str(known or getattr(self._session, "_default_bucket_name_override", None) or DEFAULT_BUCKET)

    def expand_role(self, role: str) -> str:
        """Roles are looked up by name with AWS, so it must be an ARN."""
        if "/" in role or role.startswith("${"):
            return role
        rule = "must be its ARN, or ${TrainingRoleArn} for the deployment's own: a name is looked up with AWS"
        raise _refusal("role", describe(role), rule)

    def upload_data(self, path: str, *_given: object, **_named: object) -> str:
        """Data of this machine is nobody's to upload here."""
        rule = "must be in S3 (s3://bucket/prefix): upload the data, and name its place in `inputs`"
        raise _refusal("inputs", describe(str(path)), rule)


def _of_estimator(trainer: Any, inputs: object) -> TrainerRequest:
    _check_estimator(trainer)
    session = _RecordingSession(trainer.sagemaker_session)
    asking = copy.copy(trainer)
    asking.sagemaker_session = session
    # What the SDK changes in place.
    asking._hyperparameters = dict(trainer._hyperparameters or {})
    for name in ("debugger_hook_config", "profiler_config"):
        setattr(asking, name, copy.copy(getattr(trainer, name, None)))
    in_s3 = str(trainer.source_dir or "").startswith("s3://")
    code = str(trainer.source_dir) if in_s3 else _NOT_UPLOADED
    script = str(trainer.entry_point or "") if trainer.source_dir else Path(str(trainer.entry_point)).name
    asking._stage_user_code_in_s3 = lambda: _UploadedCode(code, script)
    try:
        asking._prepare_for_training()
        # As fit() does, which also sends a request of telemetry. https://github.com/aws/sagemaker-python-sdk
        _training_job_class(trainer).start_new(asking, inputs, None)
    except (TypeError, ValueError) as error:
        raise _refusal(
            "trainer", f"a {type(trainer).__name__}", f"the SageMaker SDK refuses it: {error}"
        ) from error
    request = _plain(session.request or {})
    if in_s3 or not trainer.entry_point:
        return TrainerRequest(request, notes=tuple(_uncopied(trainer)))
    parameters = request.get("HyperParameters", {})
    for name in (PROGRAM, SUBMIT_DIRECTORY):
        parameters.pop(name, None)
    source_dir = trainer.source_dir or str(Path(trainer.entry_point).parent)
    source = SourceOfTrainer(str(source_dir), script, _requirements_in(Path(source_dir)))
    return TrainerRequest(request, source, tuple(_uncopied(trainer)))


def _training_job_class(trainer: Any) -> Any:
    """`sagemaker.estimator._TrainingJob`, of the package that the trainer is of."""
    base: Any = next(kind for kind in type(trainer).__mro__ if kind.__name__ == "EstimatorBase")
    return base._prepare_for_training.__globals__["_TrainingJob"]


def _check_estimator(trainer: Any) -> None:
    bases = {kind.__name__ for kind in type(trainer).__mro__}
    if "AmazonAlgorithmEstimatorBase" in bases:
        rule = (
            "is trained on a RecordSet; use sagemaker.estimator.Estimator with the algorithm's image instead"
        )
        raise _refusal("trainer", f"a {type(trainer).__name__}", rule)
    if trainer.sagemaker_session.local_mode:
        rule = "has local mode's session, which has no CreateTrainingJob; name an ml.… instance type"
        raise _refusal("trainer", f"a {type(trainer).__name__}", rule)
    if getattr(trainer, "git_config", None):
        rule = "is fetched by the SDK at each fit(); check it out and name the folder in source_dir"
        raise _refusal("git_config", describe(trainer.git_config), rule)
    if getattr(trainer, "dependencies", None):
        rule = "are not supported: the code of a job is one folder, so put them below source_dir"
        raise _refusal("dependencies", describe(trainer.dependencies), rule)
    is_local = trainer.entry_point and not str(trainer.source_dir or "").startswith("s3://")
    if is_local and trainer.enable_network_isolation():
        rule = "keeps the container from fetching its code; build the code into the image instead"
        raise _refusal("enable_network_isolation", "True", rule)


def _uncopied(trainer: Any) -> list[Problem]:
    if trainer.entry_point and not trainer.source_dir:
        rule = "the whole folder of the script goes along: the trainer has no source_dir"
        return [Problem("entry_point", describe(str(trainer.entry_point)), rule, "warning")]
    return []


def _of_model_trainer(trainer: Any, inputs: object) -> TrainerRequest:
    _check_model_trainer(trainer)
    notes: list[Problem] = []
    source = _source_code(trainer, notes)
    # Copied one level deep: the SDK fills in defaults in place.
    parts = {name: getattr(trainer, name) for name in type(trainer).model_fields}
    asking = trainer.model_copy(
        update={
            **{
                name: part.model_copy() if hasattr(part, "model_copy") else copy.copy(part)
                for name, part in parts.items()
                if name != "sagemaker_session"
            },
            "sagemaker_session": _RecordingSession(trainer.sagemaker_session),
            "source_code": None,
            "distributed": None,
        }
    )
    if asking.checkpoint_config is not None and not asking.checkpoint_config.s3_uri:
        asking.checkpoint_config.s3_uri = f"s3://${{CheckpointBucket}}/{trainer.base_job_name}/"
    # Its destructor removes these folders, which are the trainer's.
    asking._temp_code_dir = asking._temp_recipe_train_dir = None
    try:
        request = _plain(asking._create_training_job_args(input_data_config=inputs, boto3=True))
    except (TypeError, ValueError) as error:
        raise _refusal(
            "trainer", f"a {type(trainer).__name__}", f"the SageMaker SDK refuses it: {error}"
        ) from error
    request["TrainingJobName"] = trainer.base_job_name  # without the moment
    if trainer.distributed is not None:
        request.setdefault("HyperParameters", {}).update(_distribution(trainer.distributed))
    in_s3 = source is not None and source.source_dir.startswith("s3://")
    if source is not None and in_s3:
        parameters = request.setdefault("HyperParameters", {})
        parameters |= {PROGRAM: f'"{source.entry_point}"', SUBMIT_DIRECTORY: f'"{source.source_dir}"'}
        source = None
    return TrainerRequest(request, source, tuple(notes))


def _check_model_trainer(trainer: Any) -> None:
    if not hasattr(trainer, "_create_training_job_args"):
        rule = "must be of the SageMaker Python SDK 3 (pip install 'sagemaker>=3')"
        raise _refusal("trainer", f"a {type(trainer).__module__}.{type(trainer).__name__}", rule)
    if trainer.training_mode.name != "SAGEMAKER_TRAINING_JOB":
        rule = "must be SAGEMAKER_TRAINING_JOB: local mode has no CreateTrainingJob"
        raise _refusal("training_mode", trainer.training_mode.name, rule)
    if trainer._is_nova_recipe or trainer._is_llmft_recipe or trainer._temp_recipe_train_dir is not None:
        raise _refusal(
            "trainer", "a trainer from a recipe", "is not supported: a recipe is uploaded by the SDK"
        )


def _source_code(trainer: Any, notes: list[Problem]) -> SourceOfTrainer | None:
    """Version 3 uploads driver scripts of its own as channels; here the training toolkit starts the script."""
    code = trainer.source_code
    if code is None:
        return None
    if code.command or not code.entry_script or not code.source_dir:
        rule = "must have source_dir and entry_script: a command has no place in a job file"
        raise _refusal("source_code", describe(code.command or code.source_dir), rule)
    if str(code.source_dir).startswith("s3://") and not str(code.source_dir).endswith(".tar.gz"):
        rule = "must be a folder of this machine, or an archive (.tar.gz) in S3"
        raise _refusal("source_code.source_dir", describe(str(code.source_dir)), rule)
    rule = (
        "is started by SageMaker's training toolkit, as an estimator's is, not by ModelTrainer's driver scripts: "
        "the image must have the toolkit, as AWS's framework images do"
    )
    notes.append(Problem("source_code.entry_script", describe(str(code.entry_script)), rule, "warning"))
    wanted = None if code.requirements is None else str(code.requirements)
    if wanted in (None, "auto"):
        wanted = _requirements_in(Path(str(code.source_dir)))
    return SourceOfTrainer(str(code.source_dir), str(code.entry_script), wanted)


def _distribution(distributed: Any) -> dict[str, str]:
    kind = type(distributed).__name__
    if kind == "Torchrun" and getattr(distributed, "smp", None) is None:
        return {_TORCHRUN: "true"}
    if kind == "MPI":
        options = " ".join(getattr(distributed, "mpi_additional_options", None) or ())
        processes = getattr(distributed, "process_count_per_node", None)
        return {
            _MPI: "true",
            **({_MPI_PROCESSES: str(processes)} if processes else {}),
            **({_MPI_OPTIONS: f'"{options}"'} if options else {}),
        }
    raise _refusal(
        "distributed", f"a {kind}", "must be Torchrun without smp, or MPI: the training toolkit has no other"
    )


def _requirements_in(folder: Path) -> str | None:
    """requirements.txt where the folder has one: the training toolkit installs it."""
    return "requirements.txt" if (folder / "requirements.txt").is_file() else None


def _plain(value: Any) -> Any:
    """Dicts, lists and scalars; what says nothing is left out. Raises InvalidJobError for a pipeline's variable."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise _refusal("trainer", f"a {type(value).__name__}", "must have values, not variables of a pipeline")


def _refusal(field: str, value: str, rule: str) -> InvalidJobError:
    return InvalidJobError([Problem(field, value, rule)], "the trainer")
