"""SageMaker's own documents: requests, descriptions, lists, tuning jobs, pipelines, and jobs of other sorts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from nightspot.documents.model import End, Found, Inside, Kind, at, either, has, has_list, mappings, text_of
from nightspot.documents.spelling import filled, spelled
from nightspot.job.from_request import REQUEST_FIELDS

DESCRIBE = "describe one of them: aws sagemaker describe-training-job --training-job-name NAME"
# Fields of a request that say nothing about whose it is.
_COMMON = frozenset({"Tags", "TrainingJobName", "RoleArn", "VpcConfig", "Environment", "ExperimentConfig"})
_OWN_FIELDS = REQUEST_FIELDS - _COMMON


def end_of(data: Mapping[str, Any]) -> End | None:
    """How a described training job stands; None where the description says nothing of it."""
    status, secondary = text_of(data, "TrainingJobStatus"), text_of(data, "SecondaryStatus")
    reason = text_of(data, "FailureReason")
    if not (status or secondary or reason):
        return None
    transitions = tuple(text_of(one, "Status") for one in mappings(data.get("SecondaryStatusTransitions")))
    return End(status or None, secondary or None, reason, tuple(filter(None, transitions)))


def training_job(
    data: Mapping[str, Any],
    where: str = "",
    defaults: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    is_request: bool = False,
) -> Found:
    """A request or a description, however it is spelled; a few fields of a description are no request."""
    plain, blanks = filled(spelled(data), defaults)
    given = {*plain, *(blank.path[0] for blank in blanks if blank.path)}
    asked = is_request or bool(_OWN_FIELDS & given)
    return Found(
        name=text_of(plain, "TrainingJobName") or name,
        where=where,
        request=plain if asked else None,
        blanks=blanks if asked else (),
        end=end_of(plain),
    )


def _described(data: Mapping[str, Any], inside: Inside) -> Iterable[Found]:
    del inside
    yield training_job(data)


def _each(key: str) -> Any:
    def finds(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
        entries = data.get(key)
        for n, entry in enumerate(entries if isinstance(entries, list) else ()):
            yield from inside(entry, at(key, n))

    return finds


def _within(*keys: str) -> Any:
    def finds(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
        for key in keys:
            if key in data:
                yield from inside(data[key], key)

    return finds


def tuning_job(
    data: Mapping[str, Any], where: str = "", defaults: Mapping[str, Any] | None = None
) -> Iterator[Found]:
    """The training jobs that a tuning job starts: their definitions as requests, and how the tuning ended."""
    status, reason = text_of(data, "HyperParameterTuningJobStatus"), text_of(data, "FailureReason")
    best = data.get("BestTrainingJob")
    if status or reason:
        yield Found(
            name=text_of(data, "HyperParameterTuningJobName"),
            where=where,
            end=End(None if status == "InProgress" and reason else status or None, None, reason),
        )
    definitions = [data.get("TrainingJobDefinition"), *mappings(data.get("TrainingJobDefinitions"))]
    for definition in definitions:
        if isinstance(definition, Mapping):
            yield _of_definition(definition, text_of(data, "HyperParameterTuningJobName"), where, defaults)
    if isinstance(best, Mapping) and text_of(best, "FailureReason"):
        yield Found(text_of(best, "TrainingJobName"), at(where, "BestTrainingJob"), end=end_of(best))


def _of_definition(
    definition: Mapping[str, Any], tuning: str, where: str, defaults: Mapping[str, Any] | None
) -> Found:
    request = {key: value for key, value in definition.items() if key in REQUEST_FIELDS}
    resources = definition.get("HyperParameterTuningResourceConfig")
    if "ResourceConfig" not in request and isinstance(resources, Mapping):
        request["ResourceConfig"] = _resources(resources)
    algorithm = request.get("AlgorithmSpecification")
    if isinstance(algorithm, Mapping):
        request["AlgorithmSpecification"] = dict(algorithm)
    parameters = definition.get("StaticHyperParameters")
    if isinstance(parameters, Mapping):
        request["HyperParameters"] = {
            key: value for key, value in parameters.items() if not str(key).startswith("_tuning_")
        }
    name = text_of(definition, "DefinitionName") or tuning
    found = training_job(request, at(where, "TrainingJobDefinition"), defaults, name=name)
    return replace(found, name=name, end=None, notes=tuple(_searched(definition)))


def _resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    chosen = next(mappings(resources.get("InstanceConfigs")), resources)
    keys = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    found = {key: chosen.get(key, resources.get(key)) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _searched(definition: Mapping[str, Any]) -> Iterator[str]:
    ranges = definition.get("HyperParameterRanges")
    for entries in ranges.values() if isinstance(ranges, Mapping) else ():
        for entry in mappings(entries):
            yield (
                f"HyperParameters.{text_of(entry, 'Name') or '?'} is chosen by the tuning job for each trial: "
                "fill one value in"
            )


def pipeline(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    """The training and tuning steps of a pipeline's definition, below conditions too."""
    del inside
    defaults = {
        text_of(one, "Name"): one["DefaultValue"]
        for one in mappings(data.get("Parameters"))
        if "DefaultValue" in one
    }
    yield from _steps(data.get("Steps"), "Steps", defaults, 0)


def _steps(steps: object, where: str, defaults: Mapping[str, Any], depth: int) -> Iterator[Found]:
    for step in mappings(steps) if depth < 10 else ():
        name, arguments = text_of(step, "Name"), step.get("Arguments")
        here = at(where, name or "?")
        if text_of(step, "Type") == "Training" and isinstance(arguments, Mapping):
            yield training_job(arguments, here, defaults, name=name, is_request=True)
        elif text_of(step, "Type") == "Tuning" and isinstance(arguments, Mapping):
            yield from tuning_job(arguments, here, defaults)
        elif isinstance(arguments, Mapping):
            for key in ("IfSteps", "ElseSteps"):
                yield from _steps(arguments.get(key), at(here, key), defaults, depth + 1)


def _pipeline_steps(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    for n, step in enumerate(mappings(data.get("PipelineExecutionSteps"))):
        yield Found(
            name=text_of(step, "StepName"),
            where=at("PipelineExecutionSteps", n),
            end=_end_as(text_of(step, "StepStatus"), text_of(step, "FailureReason")),
        )


# The statuses of pipelines, tuning jobs and other jobs, in the words of training jobs.
_STATUSES = {
    "Succeeded": "Completed",
    "Completed": "Completed",
    "InService": "Completed",
    "Executing": "InProgress",
    "InProgress": "InProgress",
    "Creating": "InProgress",
    "Starting": "InProgress",
    "Stopping": "Stopping",
    "Stopped": "Stopped",
    "Failed": "Failed",
}


def _end_as(status: str, reason: str) -> End | None:
    return End(_STATUSES.get(status, status or None), None, reason) if status or reason else None


def _other_job(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    name = next((str(value) for key, value in data.items() if str(key).endswith("Name")), "")
    status = next(
        (value for key, value in data.items() if str(key).endswith("Status") and isinstance(value, str)), ""
    )
    end = _end_as(status, text_of(data, "FailureReason"))
    if end is not None:
        yield Found(name=name, end=end)


def _any_field(fields: Iterable[str]) -> Any:
    wanted = frozenset(fields)
    return lambda data: (
        bool(wanted & data.keys())
        or any(
            isinstance(key, str) and key.endswith(".$") and key.removesuffix(".$") in wanted for key in data
        )
    )


_TUNING = either(
    has("HyperParameterTuningJobConfig"),
    has("HyperParameterTuningJobName", "TrainingJobDefinition"),
    has("HyperParameterTuningJobName", "TrainingJobDefinitions"),
    has("HyperParameterTuningJobName", "HyperParameterTuningJobStatus"),
)
_NOT_TRAINING = (
    "it starts no training job: give a CreateTrainingJob request or what describe-training-job answers"
)

KINDS: tuple[Kind, ...] = (
    Kind("a tuning job of SageMaker", _TUNING, lambda data, _: tuning_job(data)),
    Kind(
        "a training job's definition inside a tuning job",
        has("StaticHyperParameters", "AlgorithmSpecification"),
        lambda data, _: iter([_of_definition(data, "", "", None)]),
    ),
    Kind(
        "a list of training jobs (ListTrainingJobs)",
        has_list("TrainingJobSummaries"),
        _each("TrainingJobSummaries"),
        f"the list has neither their requests nor why they failed; {DESCRIBE}",
    ),
    Kind(
        "a list of tuning jobs (ListHyperParameterTuningJobs)",
        has_list("HyperParameterTuningJobSummaries"),
        _each("HyperParameterTuningJobSummaries"),
        "the list has no requests; ask for one: aws sagemaker describe-hyper-parameter-tuning-job",
    ),
    Kind("results of SageMaker's Search", has_list("Results", "TrainingJob"), _each("Results"), DESCRIBE),
    Kind("a training job with its step (Search, Airflow)", has("TrainingJob"), _within("TrainingJob")),
    Kind("what Airflow's SageMakerTrainingOperator returns", has("Training"), _within("Training")),
    Kind(
        "the steps of a SageMaker pipeline's execution (ListPipelineExecutionSteps)",
        has_list("PipelineExecutionSteps"),
        _pipeline_steps,
        "it has no requests; give the definition: aws sagemaker describe-pipeline --pipeline-name NAME",
    ),
    Kind(
        "the execution of a SageMaker pipeline (DescribePipelineExecution)",
        has("PipelineExecutionArn", "PipelineExecutionStatus"),
        lambda data, _: filter(
            lambda found: found.end,
            [
                Found(
                    name=text_of(data, "PipelineExecutionDisplayName"),
                    end=_end_as(text_of(data, "PipelineExecutionStatus"), text_of(data, "FailureReason")),
                )
            ],
        ),
        "it has no requests; give the definition: aws sagemaker describe-pipeline --pipeline-name NAME",
    ),
    Kind(
        "a pipeline's or step's change of status",
        either(has("currentPipelineExecutionStatus"), has("currentStepStatus")),
        lambda data, _: iter(
            [
                Found(
                    name=text_of(data, "stepName"),
                    end=_end_as(
                        text_of(data, "currentStepStatus") or text_of(data, "currentPipelineExecutionStatus"),
                        text_of(data, "failureReason"),
                    ),
                )
            ]
        ),
        "it has no request; give the definition: aws sagemaker describe-pipeline --pipeline-name NAME",
    ),
    Kind(
        "the definition of a SageMaker pipeline",
        either(has_list("Steps", "Type"), has("Version", "Steps")),
        pipeline,
        "it is a pipeline without a step of type Training: it says neither what to train nor how a training "
        "ended",
    ),
    Kind(
        "a SageMaker pipeline (DescribePipeline)",
        either(has("PipelineDefinition"), has("PipelineArn", "PipelineName")),
        _within("PipelineDefinition"),
        "it has no step of type Training",
    ),
    Kind(
        "a processing job of SageMaker",
        either(has("ProcessingJobName"), has("ProcessingJobArn"), has("ProcessingResources")),
        _other_job,
        _NOT_TRAINING,
    ),
    Kind(
        "a transform job of SageMaker",
        either(has("TransformJobName"), has("TransformJobArn"), has("TransformResources")),
        _other_job,
        _NOT_TRAINING,
    ),
    Kind(
        "an AutoML job of SageMaker",
        either(has("AutoMLJobName", "AutoMLJobStatus"), has("AutoMLJobConfig")),
        _other_job,
        _NOT_TRAINING,
    ),
    Kind(
        "a model or endpoint of SageMaker",
        either(
            has("EndpointName"), has("PrimaryContainer"), has("EndpointConfigName"), has("ProductionVariants")
        ),
        _other_job,
        _NOT_TRAINING,
    ),
    Kind(
        "a described training job",
        either(has("TrainingJobStatus"), has("TrainingJobArn"), has("SecondaryStatus"), has("FailureReason")),
        _described,
        f"it has no request; {DESCRIBE}",
    ),
    # Last: another document may have one of these fields too.
    Kind(
        "a CreateTrainingJob request",
        _any_field(REQUEST_FIELDS),
        lambda data, _: iter([training_job(data, is_request=True)]),
        "it says what was asked for, not what became of it; give the FailureReason, or what "
        "describe-training-job "
        "answers",
    ),
)
