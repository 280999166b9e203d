"""Which request of a document a job file is made from, and what its author still has to fill in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nightspot.documents.model import Document, Found
from nightspot.documents.spelling import Blank
from nightspot.job.errors import WHOLE_FILE, InvalidJobError, PathPart, Problem, describe

_REQUEST = "training_job"
# What a run sets by itself: it may be unknown.
_SET_BY_NIGHTSPOT: frozenset[tuple[PathPart, ...]] = frozenset(
    {("TrainingJobName",), ("EnableManagedSpotTraining",), ("StoppingCondition", "MaxWaitTimeInSeconds")}
)
# What a deployment has of its own, for what a document leaves open.
_OF_DEPLOYMENT: dict[tuple[PathPart, ...], str] = {
    ("RoleArn",): "${TrainingRoleArn}",
    ("OutputDataConfig", "S3OutputPath"): "s3://${ModelBucket}/models/",
    ("CheckpointConfig", "S3Uri"): "s3://${CheckpointBucket}/checkpoints/",
}
_MOST_NAMED = 8


@dataclass(frozen=True)
class Asked:
    """A request to make a job file from, with what was put in for its blanks (`notes`) and what is still open."""

    name: str
    request: dict[str, Any]
    blanks: tuple[Blank, ...]
    notes: tuple[Problem, ...]


def request_in(document: Document, pick: str | None = None, *, source: str = "<string>") -> Asked:
    """The one request of a document, or the one that `pick` names by its job, its step or its place.

    Raises InvalidJobError where there is none, where there are several, and where a key stands twice.
    """
    problems = [*_unclear(document, pick), *document.problems]
    if problems:
        raise InvalidJobError(problems, source)
    found = _the_one(document, pick)[0]
    request = _copy(found.request)
    notes = [Problem(WHOLE_FILE, found.where or document.kind, note, "warning") for note in found.notes]
    open_blanks = []
    for blank in found.blanks:
        default = _OF_DEPLOYMENT.get(blank.path)
        if default is not None:
            _put(request, blank.path, default)
            rule = f"comes from {blank.source}; here it is the deployment's own, {default}"
            notes.append(Problem(_field(blank.path), describe(blank.said), rule, "warning"))
        elif blank.path not in _SET_BY_NIGHTSPOT:
            open_blanks.append(blank)
    return Asked(found.name, request, tuple(open_blanks), tuple(notes))


def left_out(asked: Asked) -> tuple[Problem, ...]:
    """What a job file that is sound without them lacks all the same, as notes."""
    return tuple(
        Problem(_field(blank.path), describe(blank.said), f"was left out: it {blank.rule}", "warning")
        for blank in asked.blanks
    )


def told_by_blanks(problems: Iterable[Problem], asked: Asked) -> Iterator[Problem]:
    """The problems of a draft: those that a blank has brought about told by it, then every other blank."""
    told = set()
    for found in problems:
        blank = next((one for one in asked.blanks if _concerns(one, found)), None)
        if blank is None:
            yield found
        elif blank not in told:
            told.add(blank)
            yield Problem(_field(blank.path), "nothing", blank.rule)
    for blank in asked.blanks:
        if blank not in told:
            yield Problem(_field(blank.path), "nothing", blank.rule)


def _concerns(blank: Blank, found: Problem) -> bool:
    field = _field(blank.path)
    same = found.field == field or found.field.startswith((f"{field}.", f"{field}["))
    above = field.startswith((f"{found.field}.", f"{found.field}["))
    of_work = found.field == "work" and blank.path[:1] == ("StoppingCondition",)
    of_name = found.field == "name" and blank.path == ("TrainingJobName",)
    return same or (above and found.value in {"nothing", "a mapping of 0"}) or of_work or of_name


def _field(path: tuple[PathPart, ...]) -> str:
    return Blank((_REQUEST, *path), "", "").field


def _unclear(document: Document, pick: str | None) -> Iterator[Problem]:
    """Why it is not one request: none, or several, or another one than `pick` names."""
    named = _names(document.requests)
    if not document.requests and document.missing:
        rule = f"has no request to write a job file from: {document.missing}"
        yield Problem(WHOLE_FILE, document.kind, rule)
    elif not document.requests:
        rule = "must be a CreateTrainingJob request, what DescribeTrainingJob answers, or a document with one in it"
        yield Problem(WHOLE_FILE, document.kind, rule)
    elif not (left := _the_one(document, pick)):
        yield Problem("--pick", repr(pick), f"must be one of the training jobs in it: {named}")
    elif len(left) > 1:
        yield Problem(
            WHOLE_FILE, document.kind, f"has {len(left)} training jobs: name one with --pick, of {named}"
        )


def _the_one(document: Document, pick: str | None) -> list[Found]:
    """What may be meant: one, where all is well."""
    return [
        one
        for one in _distinct(document.requests)
        if pick is None or pick in {one.name, one.where, one.where.rpartition(".")[2]}
    ]


def _names(found: Iterable[Found]) -> str:
    names = list(dict.fromkeys(one.name or one.where for one in found))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _distinct(found: Iterable[Found]) -> list[Found]:
    """Each training job once, the first that is told of it.

    A history tells of a job when it starts and when it ends, and a retried one differs by its name alone.
    """
    kept: list[Found] = []
    for one in found:
        if not any(_is_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _is_same(one: Found, other: Found) -> bool:
    first, second = one.request or {}, other.request or {}
    if "TrainingJobName" in first and first["TrainingJobName"] == second.get("TrainingJobName"):
        return True
    is_retry = one.where.rpartition(".")[2] == other.where.rpartition(".")[2] in _HISTORY
    return is_retry and all(first.get(key) == second.get(key) for key in _TELLING)


_HISTORY = frozenset({"TaskScheduled", "TaskSucceeded"})
_TELLING = frozenset({"AlgorithmSpecification", "ResourceConfig", "HyperParameters", "InputDataConfig"})


def _copy(request: Any) -> dict[str, Any]:
    def copied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: copied(inner) for key, inner in value.items()}
        return [copied(inner) for inner in value] if isinstance(value, list) else value

    return copied(dict(request))  # type: ignore[no-any-return]


def _put(request: dict[str, Any], path: tuple[PathPart, ...], value: str) -> None:
    section: Any = request
    for part in path[:-1]:
        section = section.setdefault(part, {}) if isinstance(section, dict) else {}
    if isinstance(section, dict):
        section[path[-1]] = value
