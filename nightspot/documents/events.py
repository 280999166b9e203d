"""Documents that tell of other things: events, records of CloudTrail, messages of SNS and SQS, lines of a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nightspot.documents.model import End, Found, Inside, Kind, at, either, has, has_list, mappings, text_of
from nightspot.documents.sagemaker import training_job, tuning_job
from nightspot.failures.classify import Fault

_CREATES = frozenset({"CreateTrainingJob", "CreateHyperParameterTuningJob"})


def _trail_record(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    name, code = text_of(data, "eventName"), text_of(data, "errorCode")
    asked = data.get("requestParameters")
    asked = asked if isinstance(asked, Mapping) else {}
    if code:
        yield Found(
            text_of(asked, "trainingJobName"), name, end=End(fault=Fault(code, text_of(data, "errorMessage")))
        )
    elif name == "StopTrainingJob":
        yield Found(text_of(asked, "trainingJobName"), name, end=End("Stopping", "Stopping"))
    elif name in _CREATES:
        yield Found(text_of(asked, "trainingJobName"), name, end=End("InProgress"))
    if name == "CreateTrainingJob":
        yield replace(training_job(asked, "requestParameters", is_request=True), end=None)
    elif name == "CreateHyperParameterTuningJob":
        yield from tuning_job(_capitals(asked), "requestParameters")
    elif name == "SubmitServiceJob":
        yield from inside(asked, "requestParameters")


def _capitals(data: Mapping[str, Any]) -> dict[str, Any]:
    """Its keys, and those of what is below definitions, with a capital: as the API has them."""

    def capital(key: str) -> str:
        return key[:1].upper() + key[1:]

    return {
        capital(str(key)): _capitals(value)
        if isinstance(value, Mapping) and not str(key).endswith("HyperParameters")
        else [_capitals(one) if isinstance(one, Mapping) else one for one in value]
        if isinstance(value, list)
        else value
        for key, value in data.items()
    }


def _event(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    yield from inside(data.get("detail"), "detail")


def _each(key: str, inner: str = "") -> Any:
    def finds(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
        for n, one in enumerate(mappings(data.get(key))):
            value: object = one
            for part in filter(None, inner.split(".")):
                value = value.get(part) if isinstance(value, Mapping) else None
            yield from inside(value, at(key, n))

    return finds


def _lines(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    """Log events are the lines of one log."""
    yield from inside("\n".join(text_of(one, "message") for one in mappings(data.get("events"))), "events")


KINDS: tuple[Kind, ...] = (
    Kind(
        "an event of EventBridge",
        either(has("detail-type", "detail"), has("detailType", "detail")),
        _event,
        "it tells of no training job",
    ),
    Kind(
        "a record of CloudTrail",
        either(has("eventName", "eventSource"), has("eventName", "requestParameters")),
        _trail_record,
        "its call is none that starts or stops a training job",
    ),
    Kind(
        "records of CloudTrail",
        has_list("Records", "eventName"),
        _each("Records"),
        "no record tells of a training job",
    ),
    Kind(
        "events of CloudTrail (lookup-events)",
        has_list("Events", "CloudTrailEvent"),
        _each("Events", "CloudTrailEvent"),
        "no event tells of a training job",
    ),
    Kind(
        "a message of SNS to a function",
        has_list("Records", "Sns"),
        _each("Records", "Sns.Message"),
        "it holds no document",
    ),
    Kind(
        "a message of SQS to a function",
        has_list("Records", "body"),
        _each("Records", "body"),
        "it holds no document",
    ),
    Kind("messages of SQS", has_list("Messages", "Body"), _each("Messages", "Body"), "they hold no document"),
    Kind(
        "a message of SNS",
        has("Type", "Message", "TopicArn"),
        lambda data, inside: inside(data.get("Message"), "Message"),
        "it holds no document",
    ),
    Kind(
        "events of a log (CloudWatch)",
        has_list("events", "message"),
        _lines,
        "it is a log: it says how something ended, not what was asked for",
    ),
)
