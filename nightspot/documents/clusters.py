"""Documents of those who start training jobs for others: AWS Batch, Kubernetes, CloudFormation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nightspot.documents.model import (
    End,
    Found,
    Inside,
    Kind,
    at,
    either,
    has,
    has_list,
    is_said,
    mappings,
    text_of,
)
from nightspot.documents.sagemaker import end_of, training_job, tuning_job
from nightspot.documents.spelling import spelled
from nightspot.failures.classify import Fault

_BATCH_STATUSES = {
    "SUBMITTED": "InProgress",
    "PENDING": "InProgress",
    "RUNNABLE": "InProgress",
    "SCHEDULED": "InProgress",
    "STARTING": "InProgress",
    "RUNNING": "InProgress",
    "SUCCEEDED": "Completed",
    "FAILED": "Failed",
}


def _service_job(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    """A job of a queue for SageMaker: its request is a text in it, why it ended in its last attempt."""
    status, attempts = text_of(data, "status"), list(mappings(data.get("attempts")))
    reasons = [text_of(data, "statusReason"), *(text_of(one, "statusReason") for one in reversed(attempts))]
    if status:
        said = _BATCH_STATUSES.get(status, status)
        ended = said not in {"InProgress", "Completed"}
        reason = next(filter(None, reasons), "") if ended else ""
        secondary = "Pending" if status in {"SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED"} else None
        yield Found(text_of(data, "jobName"), end=End(said, secondary, reason))
    if "serviceRequestPayload" in data:
        for found in inside(data["serviceRequestPayload"], "serviceRequestPayload"):
            yield replace(found, end=None, name=found.name or text_of(data, "jobName"))


def _container_job(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    status = text_of(data, "status")
    reason = text_of(data, "container", "reason") or text_of(data, "statusReason")
    if status and _BATCH_STATUSES.get(status) == "Failed":
        yield Found(text_of(data, "jobName"), end=End("Failed", None, reason))


def _resource(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    """A TrainingJob or HyperParameterTuningJob of ACK or of the older operator of SageMaker."""
    del inside
    spec, name = data.get("spec"), text_of(data, "metadata", "name")
    status = data.get("status")
    end = _end_of_resource(status) if isinstance(status, Mapping) else None
    if end is not None:
        yield Found(name, "status", end=end)
    if not isinstance(spec, Mapping):
        return
    if text_of(data, "kind") == "TrainingJob":
        known = {key: value for key, value in spec.items() if key not in {"region", "sageMakerEndpoint"}}
        yield replace(training_job(known, "spec", name=name, is_request=True), end=None)
    else:
        capitals = {str(key)[:1].upper() + str(key)[1:]: value for key, value in spec.items()}
        definition = capitals.get("TrainingJobDefinition")
        if isinstance(definition, Mapping):
            static = definition.get("staticHyperParameters", {})
            capitals["TrainingJobDefinition"] = {**spelled(definition), "StaticHyperParameters": static}
        yield from tuning_job(capitals, "spec")


def _end_of_resource(status: Mapping[str, Any]) -> End | None:
    plain = spelled(status)
    reason = text_of(plain, "FailureReason") or text_of(status, "additional")
    end = end_of({**plain, "FailureReason": reason})
    if end is not None:
        return end
    # ACK says what the API has refused as a condition.
    terminal = [
        text_of(one, "message")
        for one in mappings(status.get("conditions"))
        if text_of(one, "type") in {"ACK.Terminal", "ACK.Recoverable"} and text_of(one, "status") == "True"
    ]
    return End(reason=terminal[0]) if terminal and terminal[0] else None


_SHORT = re.compile(r"\d+/\d+ nodes are available\b.*\binsufficient\b", re.IGNORECASE | re.DOTALL)


def scheduling(reason: str, message: str) -> End:
    """How an event of a pod reads: FailedScheduling for want of machines is a lack of capacity."""
    if reason in {"FailedScheduling", "NotTriggerScaleUp"} and _SHORT.search(message):
        return End(fault=Fault("InsufficientCapacity", message))
    return End(fault=Fault("", ": ".join(filter(None, (reason, message)))))


def _pod_event(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    message = text_of(data, "message") or text_of(data, "note")
    name = text_of(data, "involvedObject", "name") or text_of(data, "regarding", "name")
    if text_of(data, "type") != "Normal":
        yield Found(name, text_of(data, "reason"), end=scheduling(text_of(data, "reason"), message))


def _pod(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    del inside
    name = text_of(data, "metadata", "name")
    status = data.get("status")
    status = status if isinstance(status, Mapping) else {}
    for one in mappings(status.get("conditions")):
        if text_of(one, "reason") == "Unschedulable":
            yield Found(
                name, "status.conditions", end=scheduling("FailedScheduling", text_of(one, "message"))
            )
    for container in mappings(status.get("containerStatuses")):
        for when in ("state", "lastState"):
            if text_of(container, when, "terminated", "reason") == "OOMKilled":
                yield Found(name, "OOMKilled", end=End(fault=Fault("OOMKilled")))


def _template(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    resources = data.get("Resources")
    for name, one in resources.items() if isinstance(resources, Mapping) else ():
        properties = one.get("Properties") if isinstance(one, Mapping) else None
        for key in ("Definition", "DefinitionString", "PipelineDefinition"):
            if isinstance(properties, Mapping) and key in properties:
                yield from inside(properties[key], at(at("Resources", str(name)), key))


def _is_sagemakers(data: Mapping[str, Any]) -> bool:
    return text_of(data, "apiVersion").split("/")[0] in {
        "sagemaker.services.k8s.aws",
        "sagemaker.aws.amazon.com",
    }


def _each(key: str) -> Any:
    def finds(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
        entries = data.get(key)
        for n, one in enumerate(entries if isinstance(entries, list) else ()):
            yield from inside(one, at(key, n))

    return finds


_NO_REQUEST = "it has no CreateTrainingJob request"

KINDS: tuple[Kind, ...] = (
    Kind(
        "a service job of AWS Batch",
        either(has("serviceRequestPayload"), has("serviceJobType"), has("jobArn", "latestAttempt")),
        _service_job,
        "its serviceRequestPayload is missing; ask for it: aws batch describe-service-job --job-id ID",
    ),
    Kind(
        "a list of jobs of AWS Batch",
        either(has_list("jobSummaryList"), has_list("jobs", "jobArn", "jobId", "jobQueue")),
        lambda data, inside: _each("jobSummaryList" if "jobSummaryList" in data else "jobs")(data, inside),
        "the list has no requests; ask for one: aws batch describe-service-job --job-id ID",
    ),
    Kind(
        "a container job of AWS Batch, which SageMaker has no part in",
        either(has("jobId", "jobQueue"), has("jobDefinition", "jobQueue"), has("jobName", "jobQueue")),
        _container_job,
        _NO_REQUEST,
    ),
    Kind(
        "a resource of SageMaker in Kubernetes",
        lambda data: (
            _is_sagemakers(data) and text_of(data, "kind") in {"TrainingJob", "HyperParameterTuningJob"}
        ),
        _resource,
        "it has no spec of a training job",
    ),
    Kind(
        "an event of Kubernetes",
        is_said("kind", "Event"),
        _pod_event,
        "it says how a pod fares: it has no request",
    ),
    Kind(
        "a pod of Kubernetes",
        is_said("kind", "Pod"),
        _pod,
        "it has no request of SageMaker's, and says nothing of a failure",
    ),
    Kind(
        "a list of Kubernetes",
        lambda data: text_of(data, "kind").endswith("List") or text_of(data, "kind") == "List",
        _each("items"),
        "nothing in it is a training job",
    ),
    Kind(
        "a resource of Kubernetes",
        has("apiVersion", "kind"),
        lambda *_: iter(()),
        "it is no TrainingJob of SageMaker (ACK: sagemaker.services.k8s.aws/v1alpha1), and has no "
        "CreateTrainingJob request",
    ),
    Kind(
        "a CloudFormation template",
        either(has("AWSTemplateFormatVersion"), lambda data: isinstance(data.get("Resources"), Mapping)),
        _template,
        "no state machine or pipeline in it starts a training job; give what AWS has, with "
        "describe-state-machine or "
        "describe-training-job",
    ),
)
