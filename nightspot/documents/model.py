"""What is found in a document: training jobs as they were asked for or described, and how something ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.documents.spelling import Blank
from nightspot.failures.classify import Failure, Fault, classify
from nightspot.failures.states import State, state_of
from nightspot.job.errors import Problem


@dataclass(frozen=True)
class End:
    """How a training job stands or ended, in SageMaker's words, or the call that was refused."""

    status: str | None = None
    secondary_status: str | None = None
    reason: str = ""
    transitions: tuple[str, ...] = ()
    fault: Fault | None = None

    @property
    def failure(self) -> Failure:
        """Its class, as a run would have it. Never raises."""
        return classify(
            status=self.status,
            secondary_status=self.secondary_status,
            failure_reason=self.reason,
            fault=self.fault,
            transitions=self.transitions,
        )

    @property
    def state(self) -> State | None:
        """Where a training job stands that has not failed; None for all that went wrong or is not known."""
        if self.fault is not None or self.reason.strip():
            return None
        return state_of(self.status, self.secondary_status)


@dataclass(frozen=True)
class Found:
    """One thing in a document.

    `name` is what it calls the training job, `where` its place in the document as people write it ("States.Train").
    `request` is a CreateTrainingJob request or what DescribeTrainingJob answers, as AWS spells it, without what is
    known only later (`blanks`); None where the document has none. `end` is None where it does not say how it ended.
    """

    name: str = ""
    where: str = ""
    request: Mapping[str, Any] | None = None
    blanks: tuple[Blank, ...] = ()
    end: End | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document that was read: `kind` with its article, what was found in it, the most telling first.

    `missing` says why a job file or an explanation cannot come of it, and what to give instead; empty where nothing
    is missing. `problems` are those of its notation, such as a key that stands twice.
    """

    kind: str
    found: tuple[Found, ...] = ()
    missing: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def requests(self) -> tuple[Found, ...]:
        """What a job file can be made from."""
        return tuple(found for found in self.found if found.request is not None)

    @property
    def ends(self) -> tuple[Found, ...]:
        """What can be explained."""
        return tuple(found for found in self.found if found.end is not None)


# What is inside another document, as plain data or as text; and where it stands there.
Inside = Callable[[object, str], tuple[Found, ...]]


@dataclass(frozen=True)
class Kind:
    """One sort of document: how it is called, how it is told, and what is found in it."""

    says: str
    fits: Callable[[Mapping[str, Any]], bool]
    finds: Callable[[Mapping[str, Any], Inside], Iterable[Found]]
    missing: str = ""


def has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    """Fits a mapping with all of these keys."""
    return lambda data: all(key in data for key in keys)


def has_list(key: str, *inner: str) -> Callable[[Mapping[str, Any]], bool]:
    """Fits a mapping with a list of mappings under `key`, whose first has one of `inner`, if any are named."""

    def fits(data: Mapping[str, Any]) -> bool:
        entries = data.get(key)
        if not isinstance(entries, list):
            return False
        first = next(mappings(entries), None)
        return first is None or not inner or any(name in first for name in inner)

    return fits


def is_said(key: str, *values: str) -> Callable[[Mapping[str, Any]], bool]:
    """Fits a mapping with one of these texts under `key`."""
    return lambda data: text_of(data, key) in values


def either(*fits: Callable[[Mapping[str, Any]], bool]) -> Callable[[Mapping[str, Any]], bool]:
    """Fits where one of them does."""
    return lambda data: any(one(data) for one in fits)


def mappings(entries: object) -> Iterator[Mapping[str, Any]]:
    """The mappings of a list; nothing of what is no list."""
    return (
        (entry for entry in entries if isinstance(entry, Mapping)) if isinstance(entries, list) else iter(())
    )


def text_of(data: object, *path: str) -> str:
    """The text at `path`, stripped; empty where there is none."""
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data.strip() if isinstance(data, str) else ""


def at(where: str, part: str | int) -> str:
    """A place one step further into a document."""
    if isinstance(part, int):
        return f"{where}[{part}]"
    return f"{where}.{part}" if where else part
