"""Which causes a drill can fail for, and in which order they are told: the one that comes first explains
the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Cause(StrEnum):
    """Why a training that was killed is not the training that it would have been; the order is that of telling."""

    UNDISTURBED_FAILED = "undisturbed_failed"
    NEVER_SAVED = "never_saved"
    SAVED_TOO_LATE = "saved_too_late"
    BEGAN_AGAIN = "began_again"
    WENT_BACK = "went_back"
    TWICE = "twice"
    SKIPPED = "skipped"
    NOT_WHOLE = "not_whole"
    FAILED = "failed"
    TOO_LONG = "too_long"
    NOT_RESTORED = "not_restored"
    METRICS_DIFFER = "metrics_differ"
    MODEL_DIFFERS = "model_differs"
    NO_KILL_LANDED = "no_kill_landed"


# What a job that is not deterministic also shows: a second undisturbed training tells.
ALSO_CHANCE = frozenset({Cause.NOT_RESTORED, Cause.METRICS_DIFFER, Cause.MODEL_DIFFERS})

WORDS = {
    Cause.UNDISTURBED_FAILED: "failed undisturbed",
    Cause.NEVER_SAVED: "never saved",
    Cause.SAVED_TOO_LATE: "saved at the end only",
    Cause.BEGAN_AGAIN: "began again",
    Cause.WENT_BACK: "went back",
    Cause.TWICE: "a step twice",
    Cause.SKIPPED: "a step skipped",
    Cause.NOT_WHOLE: "not whole",
    Cause.FAILED: "failed",
    Cause.TOO_LONG: "hangs",
    Cause.NOT_RESTORED: "not all restored",
    Cause.METRICS_DIFFER: "other numbers",
    Cause.MODEL_DIFFERS: "another model",
    Cause.NO_KILL_LANDED: "nothing tried",
}


@dataclass(frozen=True)
class Reason:
    """One cause in words; `training` and `life` (from 0) say where it was seen, None for the end of it all."""

    cause: Cause
    text: str
    training: int | None = None
    life: int | None = None


def told(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Each cause once, as it was seen first, and how often; in the order in which they came to be."""
    ordered = sorted(reasons, key=_when)
    first: dict[Cause, Reason] = {}
    for reason in ordered:
        first.setdefault(reason.cause, reason)
    return tuple(_with_count(reason, ordered) for reason in first.values())


def _when(reason: Reason) -> tuple[int, int, int]:
    at_the_end = len(Cause) * 1_000_000
    training = at_the_end if reason.training is None else reason.training
    life = at_the_end if reason.life is None else reason.life
    return training, life, tuple(Cause).index(reason.cause)


def _with_count(reason: Reason, all_of_them: Sequence[Reason]) -> Reason:
    more = sum(other.cause is reason.cause for other in all_of_them) - 1
    if not more:
        return reason
    times = "once more" if more == 1 else f"{more} more times"
    return replace(reason, text=f"{reason.text} (and {times})")
