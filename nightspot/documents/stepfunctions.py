"""Step Functions' documents: states, state machines, executions and their histories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
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
from nightspot.documents.sagemaker import training_job, tuning_job
from nightspot.failures.classify import Fault
from nightspot.failures.codes import FailureClass

_CREATES = re.compile(r"sagemaker:create(TrainingJob|HyperParameterTuningJob)\b", re.IGNORECASE)
_SUBMITS = re.compile(r"batch:submitServiceJob\b", re.IGNORECASE)
_TYPES = ("Task", "Pass", "Choice", "Wait", "Parallel", "Map", "Succeed", "Fail")
_DEEPEST = 12
# Of a history, which has up to 25,000 events; the newest.
_MOST_ENDS = 100
_MOST_ASKED = 100
# How an execution stands, in the words of training jobs.
_STATUSES = {
    "SUCCEEDED": End("Completed"),
    "RUNNING": End("InProgress"),
    "PENDING_REDRIVE": End("InProgress"),
    "ABORTED": End("Stopped", "Stopped"),
    "TIMED_OUT": End(fault=Fault("States.Timeout")),
    "FAILED": End("Failed"),
}
_FAILED = re.compile(r"(Failed|TimedOut|Aborted)$")


def state(data: Mapping[str, Any], where: str, inside: Inside) -> Iterator[Found]:
    """The training job that a Task starts; nothing for other states."""
    resource = text_of(data, "Resource")
    given = data.get("Parameters", data.get("Arguments"))
    name = where.rpartition(".")[2]
    if _SUBMITS.search(resource):
        yield from inside(given, where)
    created = _CREATES.search(resource)
    if created is None:
        return
    if not isinstance(given, Mapping):
        # The whole request comes from the input: `"Arguments": "{% $states.input %}"`, or no Parameters at all.
        said = given if isinstance(given, str) else "no Parameters"
        later = {
            f"{field}.$": said for field in ("AlgorithmSpecification", "ResourceConfig", "OutputDataConfig")
        }
        yield training_job(later, where, name=name, is_request=True)
    elif created[1].lower() == "trainingjob":
        yield training_job(given, where, name=name, is_request=True)
    else:
        yield from tuning_job(given, where)


def _machine(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    yield from _states(data, "", inside, 0)


def _states(data: Mapping[str, Any], where: str, inside: Inside, depth: int) -> Iterator[Found]:
    states = data.get("States")
    if not isinstance(states, Mapping) or depth > _DEEPEST:
        return
    for name, one in states.items():
        if not isinstance(one, Mapping):
            continue
        here = at(at(where, "States"), str(name))
        yield from state(one, here, inside)
        below = [one.get("Iterator"), one.get("ItemProcessor"), *mappings(one.get("Branches"))]
        for branch in below:
            if isinstance(branch, Mapping):
                yield from _states(branch, here, inside, depth + 1)


def _single(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    yield from state(data, "", inside)


def _named_states(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    yield from _states({"States": data}, "", inside, 0)


def is_states(data: Mapping[str, Any]) -> bool:
    """Fits `{"Train": {"Type": "Task", …}}`, as a state is cut out of its machine with its name."""
    return bool(data) and all(text_of(one, "Type") in _TYPES for one in data.values())


def _execution(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    status, error, cause = text_of(data, "status"), text_of(data, "error"), text_of(data, "cause")
    name = text_of(data, "name")
    end = _STATUSES.get(status)
    if error or cause:
        end = _STATUSES["ABORTED"] if status == "ABORTED" else End(fault=Fault(error, cause))
    if end is not None:
        yield Found(name=name, end=end)
    for key in ("output", "input", "cause"):
        if text_of(data, key).startswith(("{", "[")):
            for found in inside(data[key], key):
                yield replace(found, end=None) if end is not None else found


def _history(data: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    """The last failure first, then the others; requests from what was scheduled, descriptions from what ended."""
    events = sorted(mappings(data.get("events")), key=_number)
    ends = (found for event in reversed(events) if (found := _end_of(event)) is not None)
    # The execution repeats the error of its last state: one of the two is enough.
    last = events[-1] if events else {}
    if text_of(last, "type") == "ExecutionSucceeded":
        yield Found(where="ExecutionSucceeded", end=End("Completed"))
    elif not _FAILED.search(text_of(last, "type")):
        yield Found(where=text_of(last, "type"), end=End("InProgress"))
    # A Fail state may put words of its own over those of AWS's.
    newest = list(islice(_without_repetition(ends), _MOST_ENDS))
    yield from sorted(newest, key=_is_unknown)
    asked = (found for event in reversed(events) for found in _asked(event, inside))
    yield from islice(asked, _MOST_ASKED)


def _is_unknown(found: Found) -> bool:
    return found.end is None or found.end.failure.failure is FailureClass.UNKNOWN


def _number(event: Mapping[str, Any]) -> int:
    number = event.get("id")
    return number if isinstance(number, int) else 0


def _details(event: Mapping[str, Any]) -> Mapping[str, Any]:
    key = next((key for key in event if str(key).endswith("EventDetails")), "")
    details = event.get(key)
    return details if isinstance(details, Mapping) else {}


def _end_of(event: Mapping[str, Any]) -> Found | None:
    sort = text_of(event, "type")
    if not _FAILED.search(sort):
        return None
    details = _details(event)
    error, cause = text_of(details, "error"), text_of(details, "cause")
    where = " ".join(filter(None, (sort, text_of(details, "resource"))))
    if sort == "ExecutionAborted":
        return Found(where=where, end=_STATUSES["ABORTED"])
    if sort.endswith("TimedOut") and not error:
        return Found(where=where, end=_STATUSES["TIMED_OUT"])
    return Found(where=where, end=End(fault=Fault(error, cause))) if error or cause else None


def _without_repetition(found: Iterable[Found]) -> Iterator[Found]:
    seen = set()
    for one in found:
        if one.end not in seen:
            seen.add(one.end)
            yield one


def _asked(event: Mapping[str, Any], inside: Inside) -> Iterator[Found]:
    details, sort = _details(event), text_of(event, "type")
    if not (
        _CREATES.search(f"sagemaker:{text_of(details, 'resource')}")
        or _SUBMITS.search(f"batch:{text_of(details, 'resource')}")
    ):
        return
    key = {"TaskScheduled": "parameters", "TaskSucceeded": "output"}.get(sort)
    if key is not None:
        for found in inside(details.get(key), sort):
            yield replace(found, end=None)


KINDS: tuple[Kind, ...] = (
    Kind(
        "an execution history of Step Functions (get-execution-history)",
        has_list("events", "previousEventId", "executionStartedEventDetails"),
        _history,
        "nothing in it starts a training job",
    ),
    Kind(
        "an execution of Step Functions (describe-execution)",
        either(has("executionArn", "status"), has("executionArn", "stateMachineArn")),
        _execution,
        "neither its input nor its output is a training job; give the state machine, or describe the training "
        "job",
    ),
    Kind(
        "a list of executions of Step Functions",
        has_list("executions"),
        lambda data, inside: (
            found for n, one in enumerate(data["executions"]) for found in inside(one, at("executions", n))
        ),
        "the list does not say why they failed; ask for one: aws stepfunctions get-execution-history",
    ),
    Kind(
        "a state machine of Step Functions (describe-state-machine)",
        either(has("stateMachineArn", "definition"), has("definition", "roleArn")),
        lambda data, inside: inside(data.get("definition"), "definition"),
        "no state of it starts a training job",
    ),
    Kind(
        "a state machine of Step Functions",
        either(has("States", "StartAt"), lambda data: isinstance(data.get("States"), Mapping)),
        _machine,
        "no state of it starts a training job (Resource arn:aws:states:::sagemaker:createTrainingJob)",
    ),
    Kind(
        "a state of Step Functions",
        either(has("Type", "Resource"), is_said("Type", *_TYPES)),
        _single,
        "it starts no training job (Resource arn:aws:states:::sagemaker:createTrainingJob)",
    ),
    Kind("a state of Step Functions", is_states, _named_states, "it starts no training job"),
)
