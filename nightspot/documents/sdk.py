"""What the SageMaker SDK and its notebooks print: arguments of the SDK 2, objects of the SDK 3, estimators.

An estimator's and a trainer's fields are named as the SDK names them, not as the API does; the table here says
which is which. Source: `sagemaker.session.Session.train`, `sagemaker.estimator.EstimatorBase` (SDK 2) and
`sagemaker.train.model_trainer.ModelTrainer` (SDK 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nightspot.documents.model import Found, Inside, Kind, either, has, text_of
from nightspot.documents.printed import CLASS
from nightspot.documents.sagemaker import training_job

# From a place in the request to the names that the SDK has for it; the first that is there counts.
_PLACES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("TrainingJobName",), ("job_name", "_current_job_name", "base_job_name")),
    (("RoleArn",), ("role", "role_arn")),
    (("AlgorithmSpecification", "TrainingImage"), ("image_uri", "training_image")),
    (("AlgorithmSpecification", "AlgorithmName"), ("algorithm_arn", "algorithm_name")),
    (("AlgorithmSpecification", "TrainingInputMode"), ("input_mode", "training_input_mode")),
    (("AlgorithmSpecification", "MetricDefinitions"), ("metric_definitions",)),
    (("ResourceConfig",), ("resource_config",)),
    (("ResourceConfig", "InstanceType"), ("instance_type", "compute.instance_type")),
    (("ResourceConfig", "InstanceCount"), ("instance_count", "compute.instance_count")),
    (("ResourceConfig", "InstanceGroups"), ("instance_groups", "compute.instance_groups")),
    (("ResourceConfig", "VolumeSizeInGB"), ("volume_size", "compute.volume_size_in_gb")),
    (("ResourceConfig", "VolumeKmsKeyId"), ("volume_kms_key", "compute.volume_kms_key_id")),
    (
        ("ResourceConfig", "KeepAlivePeriodInSeconds"),
        ("keep_alive_period_in_seconds", "compute.keep_alive_period_in_seconds"),
    ),
    (("OutputDataConfig",), ("output_config", "output_data_config")),
    (("OutputDataConfig", "S3OutputPath"), ("output_path", "output_data_config.s3_output_path")),
    (("OutputDataConfig", "KmsKeyId"), ("output_kms_key",)),
    (("StoppingCondition",), ("stop_condition", "stopping_condition")),
    (("StoppingCondition", "MaxRuntimeInSeconds"), ("max_run",)),
    (("StoppingCondition", "MaxWaitTimeInSeconds"), ("max_wait",)),
    (("EnableManagedSpotTraining",), ("use_spot_instances", "compute.enable_managed_spot_training")),
    (("CheckpointConfig", "S3Uri"), ("checkpoint_s3_uri",)),
    (("CheckpointConfig", "LocalPath"), ("checkpoint_local_path",)),
    (("CheckpointConfig",), ("checkpoint_config",)),
    (("InputDataConfig",), ("input_config", "input_data_config")),
    (("HyperParameters",), ("hyperparameters", "_hyperparameters")),
    (("Environment",), ("environment",)),
    (("Tags",), ("tags",)),
    (("VpcConfig",), ("vpc_config",)),
    (("VpcConfig", "Subnets"), ("subnets", "networking.subnets")),
    (("VpcConfig", "SecurityGroupIds"), ("security_group_ids", "networking.security_group_ids")),
    (("EnableNetworkIsolation",), ("enable_network_isolation", "_enable_network_isolation")),
    (("EnableInterContainerTrafficEncryption",), ("encrypt_inter_container_traffic",)),
    (("RetryStrategy",), ("retry_strategy",)),
)
_SOURCE = ("source_dir", "source_code.source_dir", "entry_point", "source_code.entry_script")


def request_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The CreateTrainingJob request of an SDK's arguments or fields, as far as they go."""
    request: dict[str, Any] = {}
    for place, names in _PLACES:
        value = next((found for name in names if (found := _named(data, name)) is not None), None)
        if value is None or value in ({}, []):
            continue
        section = request
        for key in place[:-1]:
            inner = section.get(key)
            section[key] = dict(inner) if isinstance(inner, Mapping) else {}
            section = section[key]
        if isinstance(value, Mapping) and isinstance(section.get(place[-1]), Mapping):
            value = {**section[place[-1]], **value}
        section[place[-1]] = value
    parameters = request.get("HyperParameters")
    if isinstance(parameters, Mapping):
        request["HyperParameters"] = {str(key): value for key, value in parameters.items()}
    channels = request.get("InputDataConfig")
    if isinstance(channels, list) and not all(
        isinstance(one, Mapping) and "ChannelName" in one for one in channels
    ):
        request["InputDataConfig"] = [_channel(one) for one in channels if isinstance(one, Mapping)]
    return {key: _without_classes(value) for key, value in request.items()}


def _named(data: Mapping[str, Any], path: str) -> Any:
    value: Any = data
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _channel(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A channel of SDK 3's InputData: its name, and a place in S3 as one text."""
    source = data.get("data_source")
    if isinstance(source, str):
        place = {"S3DataType": "S3Prefix", "S3Uri": source, "S3DataDistributionType": "FullyReplicated"}
        return {"ChannelName": data.get("channel_name"), "DataSource": {"S3DataSource": place}}
    return data


def _without_classes(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_classes(inner) for key, inner in value.items() if key != CLASS}
    return [_without_classes(inner) for inner in value] if isinstance(value, list) else value


def _exported(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    given = (
        next(iter(data.values()))
        if len(data) == 1 and isinstance(next(iter(data.values())), Mapping)
        else data
    )
    notes = []
    if any(_named(given, name) for name in _SOURCE):
        notes.append(
            "source_dir and entry_point are not part of the request: upload the code, or name it under code"
        )
    found = training_job(request_of(given))
    yield Found(found.name, found.where, found.request, found.blanks, None, tuple(notes))


def _printed_resource(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    yield training_job(_without_classes(data))


def _is_trainer(data: Mapping[str, Any]) -> bool:
    return text_of(data, CLASS) == "ModelTrainer" or (
        "training_image" in data and ("compute" in data or "source_code" in data)
    )


_MISSING = "its image, instance type and output are not in it: print json.dumps of the request, default=str"

KINDS: tuple[Kind, ...] = (
    Kind(
        "a training job as the SageMaker SDK 3 prints it",
        either(has("training_job_name", "training_job_arn"), has("training_job_name", "training_job_status")),
        _printed_resource,
        _MISSING,
    ),
    Kind("a ModelTrainer of the SageMaker SDK 3", _is_trainer, _exported, _MISSING),
    Kind(
        "the arguments of a training job in the SageMaker SDK 2 (train_args)",
        either(has("input_config", "resource_config"), has("stop_condition", "resource_config")),
        _exported,
        _MISSING,
    ),
    Kind(
        "an estimator of the SageMaker SDK 2",
        either(
            has("instance_type", "instance_count"),
            has("image_uri", "instance_type"),
            has("instance_groups", "role"),
        ),
        _exported,
        _MISSING,
    ),
    Kind(
        "a request with names in small letters",
        either(
            has("training_job_name", "algorithm_specification"),
            has("algorithm_specification", "resource_config"),
            has("trainingJobName", "algorithmSpecification"),
            has("algorithmSpecification", "resourceConfig"),
            has("trainingJobName", "trainingJobStatus"),
            has("trainingJobStatus", "secondaryStatus"),
        ),
        lambda data, _: iter([training_job(_without_classes(data))]),
        "it is not known how it ended",
    ),
)
