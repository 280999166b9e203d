"""Decides what is known of a training that a drill has watched: its lives, what each said, and what it left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nightspot.drill.kinds import Kind

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
class Seen:
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
    kind: Kind
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

    seen: Seen
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
