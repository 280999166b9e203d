"""What is known of a training that a drill has watched: its lives, how each was killed, what each said and left."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from nightspot.checkpoint.core.journal import Event


class KillKind(StrEnum):
    """How and when a life of the training is ended."""

    KILL = "kill"
    TERM = "term"
    DURING_SAVE = "during_save"
    DURING_RESTORE = "during_restore"
    UNSYNCED = "unsynced"


WORDS: Mapping[KillKind, str] = {
    KillKind.KILL: "SIGKILL",
    KillKind.TERM: "SIGTERM",
    KillKind.DURING_SAVE: "SIGKILL in a save",
    KillKind.DURING_RESTORE: "SIGKILL in the restore",
    # SageMaker uploads beside training, so what was written last may not have reached S3.
    KillKind.UNSYNCED: "SIGKILL, save not uploaded",
}

# A restore needs a checkpoint, and so a kill before it.
NEEDS_ANOTHER_BEFORE = frozenset({KillKind.DURING_RESTORE})
# These happen at a save that comes after the moment at which they are armed.
NEEDS_ANOTHER_SAVE = frozenset({KillKind.DURING_SAVE, KillKind.UNSYNCED})


Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class StepSeen:
    """A step that the script says it has done.

    `parts` are the digests of its state by part, empty where no state was at hand; None is a part that cannot be
    compared. `unread` are the parts of the restored state that the script had not taken out by then. `at` is the
    time in epoch seconds, None where it is not known.
    """

    step: int
    metrics: Metrics = field(default_factory=dict)
    parts: Mapping[str, str | None] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    at: float | None = None


@dataclass(frozen=True)
class RestoreSeen:
    """A restore: from which step (None: no checkpoint counted), what was left out and why, and how long it took."""

    step: int | None
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class SaveSeen:
    """A save that became durable, how long it took, and when (epoch seconds) that was."""

    step: int
    at: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class SeenStep:
    """What one life said, in its journal or its log.

    `library`: it wrote a journal, so that `restore`, `saves` and `saving` are known; `saving` is the step whose
    save was not finished. `restoring`: a restore had begun and was not finished. `finals` are metrics without a
    step.
    """

    library: bool = False
    steps: tuple[StepSeen, ...] = ()
    restoring: bool = False
    restore: RestoreSeen | None = None
    saves: tuple[SaveSeen, ...] = ()
    saving: int | None = None
    finals: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Kill:
    """A kill that landed. `asked_at` (epoch seconds) is when SIGTERM was sent, None for kinds without it;
    `left_seconds` is how long the process then took to leave by itself, None where it had to be killed."""

    number: int
    kind: KillKind
    asked_at: float | None = None
    left_seconds: float | None = None


@dataclass(frozen=True)
class Life:
    """One process from its start to its end.

    `kill` is None where it ended by itself, and `exit_code` None where it had to be killed. `too_long`: it was
    ended because it took longer than it may. `start_up_seconds` is how long it took to its first step, save or
    line. `found` is how many files the checkpoint directory held when it began; `saved_at` has, for each time that
    the directory was written and came to rest, the last step seen by then, and `write_seconds` is how long that
    took as a rule; `writing`: it was being written at the end. `kept` is how many of its saves (in the journal, or
    else of the directory) the next life finds, None for all. `last_words` are the end of its log, or the failure
    file.
    """

    seen: SeenStep
    kill: Kill | None = None
    exit_code: int | None = None
    too_long: bool = False
    seconds: float = 0.0
    start_up_seconds: float = 0.0
    found: int = 0
    saved_at: tuple[int | None, ...] = ()
    write_seconds: float = 0.0
    writing: bool = False
    kept: int | None = None
    last_words: str = ""
    names: tuple[str, ...] = ()

    @property
    def completed(self) -> bool:
        """Whether it ended by itself as a training that is done."""
        return self.kill is None and self.exit_code == 0

    @property
    def first(self) -> int | None:
        """The first step that it did."""
        return self.seen.steps[0].step if self.seen.steps else None

    @property
    def was_saving(self) -> bool:
        """Whether it was killed in the middle of a save."""
        return self.kill is not None and (self.seen.saving is not None if self.seen.library else self.writing)

    @property
    def save_count(self) -> int:
        """How often it saved."""
        return len(self.seen.saves) if self.seen.library else len(self.saved_at)

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """The steps whose saves the next life finds; without a journal the last ones seen by then."""
        if self.seen.library:
            return tuple(save.step for save in self.seen.saves)[: self.kept]
        return tuple(step for step in self.saved_at[: self.kept] if step is not None)


@dataclass(frozen=True)
class Training:
    """The lives on one checkpoint directory, and the digest of each file of the model (empty: not finished)."""

    lives: tuple[Life, ...]
    model: Mapping[str, str] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        """Whether it got to its end."""
        return bool(self.lives) and self.lives[-1].completed

    @property
    def steps(self) -> Mapping[int, StepSeen]:
        """Each step as it was done last; metrics that a step said earlier in the same life are in it."""
        return {each.step: each for life in self.lives for each in life.seen.steps}

    @property
    def kills(self) -> tuple[Kill, ...]:
        """The kills that landed, in order."""
        return tuple(life.kill for life in self.lives if life.kill is not None)

    @property
    def final_metrics(self) -> Metrics:
        """The metrics of the last step, and those without a step."""
        last = self.lives[-1].seen
        done = self.steps
        return {**(done[max(done)].metrics if done else {}), **last.finals}


# A metric of this name (or train:epoch, global_step) says which step its line is about.
_STEP_NAME = re.compile(r"(?:.*[^a-z])?(?:step|epoch|round|iteration)s?", re.IGNORECASE)


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


# What training scripts print as a rule, for a job that defines no metric: "epoch 3/8 loss=0.1234",
# "Train Epoch: 3 [640/60000 (1%)]  Loss: 0.1234". Epochs alone: where both are printed, steps count within them.
USUAL_DEFINITIONS = (
    Definition(
        "epoch", re.compile(r"\bepoch\b['\"]?\s*[:=#]?\s*[\[(]?\s*([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)
    ),
    Definition(
        "loss",
        re.compile(
            r"\b(?:\w+_)?loss\b['\"]?\s*[:=]?\s*([0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|nan|inf)", re.IGNORECASE
        ),
    ),
)


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


def read_log(definitions: Sequence[Definition], lines: Iterable[str]) -> SeenStep:
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
    return SeenStep(steps=tuple(steps), finals=finals)


def _number_in(line: str, definition: Definition) -> float | None:
    match = definition.pattern.search(line)
    try:
        return None if match is None else float(match[1])
    except (TypeError, ValueError):
        return None


def read_journal(text: str) -> SeenStep:
    """What the lines of a journal say, of rank 0 alone; a last line that is torn says nothing.

    Raises ValueError for any other line that is no event.
    """
    events = [event for event in _events(text) if event["rank"] == 0]
    seen = SeenStep(library=bool(events))
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
            raise ValueError(f"line {number}: {line[:80]!r}: must be an event of a Checkpointer") from error
        events.append(event)
    return events


def _after(seen: SeenStep, event: Mapping[str, Any], begun: dict[str, float]) -> SeenStep:
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


def combined(journal: SeenStep, log: SeenStep) -> SeenStep:
    """Both accounts of one life: the journal's steps where it has any, with what the log alone knows of them."""
    if not journal.steps:
        return replace(journal, steps=log.steps, finals=log.finals)
    printed = {each.step: each.metrics for each in log.steps}
    steps = tuple(
        replace(each, metrics={**printed.get(each.step, {}), **each.metrics}) for each in journal.steps
    )
    return replace(journal, steps=steps, finals=log.finals)
