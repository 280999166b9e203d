"""Decides what a journal and a log say of one life of a training.

The journal is `nightspot.checkpoint.core.journal`'s; a script without the library is known by the lines it prints,
read as SageMaker reads them: https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nightspot.checkpoint.core.journal import Event
from nightspot.drill.lives import RestoreSeen, SaveSeen, Seen, StepSeen

# A metric of this name (or train:epoch, global_step) says which step its line is about.
_STEP_NAME = re.compile(r"(?:.*[^a-z])?(?:step|epoch|round|iteration)s?", re.IGNORECASE)


class JournalError(Exception):
    """A journal has a line that no Checkpointer wrote."""


class MetricDefinitionError(Exception):
    """A metric definition of the job file cannot be used."""


@dataclass(frozen=True)
class Definition:
    """One of AlgorithmSpecification.MetricDefinitions."""

    name: str
    pattern: re.Pattern[str]

    @property
    def is_step(self) -> bool:
        """Whether it says which step a line is about."""
        return _STEP_NAME.fullmatch(self.name) is not None


def definitions_of(training_job: Mapping[str, Any]) -> tuple[Definition, ...]:
    """The request's metric definitions; MetricDefinitionError names one that is no expression with a group."""
    specification = training_job.get("AlgorithmSpecification") or {}
    return tuple(_definition(each, n) for n, each in enumerate(specification.get("MetricDefinitions") or ()))


def _definition(given: Mapping[str, Any], number: int) -> Definition:
    regex = str(given.get("Regex", ""))
    field = f"training_job.AlgorithmSpecification.MetricDefinitions[{number}].Regex"
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise MetricDefinitionError(f"{field}: {regex!r}: must be a regular expression ({error})") from error
    if pattern.groups < 1:
        raise MetricDefinitionError(f"{field}: {regex!r}: must have a group that holds the number")
    return Definition(str(given.get("Name", "")), pattern)


def read_log(definitions: Sequence[Definition], lines: Iterable[str]) -> Seen:
    """The steps and metrics that the lines of a log name.

    A line without a step is about the last one named; metrics before any step, or without one, are finals.
    """
    steps: list[StepSeen] = []
    finals: dict[str, float | None] = {}
    for line in lines:
        numbers = {each.name: _number_in(line, each) for each in definitions}
        found = {name: value for name, value in numbers.items() if value is not None}
        for each in definitions:
            value = found.pop(each.name, None) if each.is_step else None
            if value is not None and value.is_integer() and (not steps or steps[-1].step != value):
                steps.append(StepSeen(int(value)))
        kept = {name: value if math.isfinite(value) else None for name, value in found.items()}
        if steps:
            steps[-1] = replace(steps[-1], metrics={**steps[-1].metrics, **kept})
        else:
            finals.update(kept)
    return Seen(steps=tuple(steps), finals=finals)


def _number_in(line: str, definition: Definition) -> float | None:
    match = definition.pattern.search(line)
    try:
        return None if match is None else float(match[1])
    except (TypeError, ValueError):
        return None


def read_journal(text: str) -> Seen:
    """What the lines of a journal say, of rank 0 alone; a last line that is torn says nothing.

    Raises JournalError for any other line that is no event.
    """
    events = [event for event in _events(text) if event["rank"] == 0]
    seen = Seen(library=bool(events))
    begun: dict[str, float] = {}
    for event in events:
        seen = _after(seen, event, begun)
    return seen


def _events(text: str) -> list[dict[str, Any]]:
    *whole, torn = text.split("\n")
    events = []
    for number, line in enumerate([*whole, torn] if torn.endswith("}") else whole, 1):
        try:
            event = json.loads(line)
            Event(event["event"]), float(event["at"]), int(event["rank"])
        except (ValueError, TypeError, KeyError) as error:
            if number > len(whole):
                break
            raise JournalError(f"line {number}: {line[:80]!r}: must be an event of a Checkpointer") from error
        events.append(event)
    return events


def _after(seen: Seen, event: Mapping[str, Any], begun: dict[str, float]) -> Seen:
    """What is known once `event` has been read as well; `begun` remembers when the unfinished things began."""
    kind, at = Event(event["event"]), float(event["at"])
    if kind is Event.RESTORING:
        begun["restore"] = at
        return replace(seen, restoring=True)
    if kind is Event.RESTORED:
        taken = at - begun.get("restore", at)
        restore = RestoreSeen(event["step"], tuple(event.get("skipped") or ()), max(0.0, taken))
        return replace(seen, restoring=False, restore=restore)
    if kind is Event.SAVING:
        begun["save"] = at
        return replace(seen, saving=event["step"])
    if kind is Event.SAVED:
        save = SaveSeen(event["step"], at, max(0.0, at - begun.get("save", at)))
        return replace(seen, saving=None, saves=(*seen.saves, save))
    if kind is Event.STEP:
        return replace(seen, steps=_with_step(seen.steps, event, at))
    return seen


def _with_step(steps: tuple[StepSeen, ...], event: Mapping[str, Any], at: float) -> tuple[StepSeen, ...]:
    new = StepSeen(
        event["step"],
        event.get("metrics") or {},
        event.get("parts") or {},
        tuple(event.get("unread") or ()),
        at,
    )
    if not steps or steps[-1].step != new.step:
        return (*steps, new)
    # `due`, and then the save with the state: one step.
    old = steps[-1]
    merged = replace(
        old,
        metrics={**old.metrics, **new.metrics},
        parts={**old.parts, **new.parts},
        unread=old.unread or new.unread,
    )
    return (*steps[:-1], merged)


def combined(journal: Seen, log: Seen) -> Seen:
    """Both accounts of one life: the journal's steps where it has any, with what the log alone knows of them."""
    if not journal.steps:
        return replace(journal, steps=log.steps, finals=log.finals)
    printed = {each.step: each.metrics for each in log.steps}
    steps = tuple(
        replace(each, metrics={**printed.get(each.step, {}), **each.metrics}) for each in journal.steps
    )
    return replace(journal, steps=steps, finals=log.finals)
