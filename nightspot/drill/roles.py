"""Decides what a part of a training's state is, by its name: how people call it who have to mend its restore."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a part is for."""

    GENERATOR = "generator"
    OPTIMISER = "optimiser"
    SCHEDULER = "scheduler"
    SCALER = "scaler"
    POSITION = "position"
    MODEL = "model"
    OTHER = "other"


WORDS: Mapping[Role, str] = {
    Role.GENERATOR: "the generator was not restored",
    Role.OPTIMISER: "the optimiser's state was not restored",
    Role.SCHEDULER: "the scheduler was not restored",
    Role.SCALER: "the gradient scaler was not restored",
    Role.POSITION: "the position in the data was not restored",
    Role.MODEL: "the model's parameters were not restored",
    Role.OTHER: "a part of the state was not restored",
}

# The first that fits: an optimiser's generator is a generator.
_PATTERNS: Mapping[Role, re.Pattern[str]] = {
    role: re.compile(pattern, re.IGNORECASE)
    for role, pattern in {
        Role.GENERATOR: r"generator|random|\brng|rng\b|_rng|seed|shuffle",
        Role.SCHEDULER: r"sched",
        Role.SCALER: r"scaler",
        Role.OPTIMISER: r"optim|\badam|\bopt\b|squares?\b|moment|velocit|accumulat|exp_avg|\bslots?\b",
        Role.POSITION: r"loader|sampler|position|cursor|step_in_epoch|offset",
        Role.MODEL: r"model|param|weight|bias|factor|embed|layer|\bnet\b|network",
    }.items()
}


def role_of(part: str) -> Role:
    """What the part is for, as far as its name tells."""
    return next((role for role, pattern in _PATTERNS.items() if pattern.search(part)), Role.OTHER)


def roles_of(parts: Iterable[str]) -> tuple[Role, ...]:
    """Each role among the parts once, in the order of the table."""
    found = {role_of(part) for part in parts}
    return tuple(role for role in Role if role in found)


def in_words(parts: Iterable[str]) -> str:
    """Which of a training's organs were not restored, such as "the generator was not restored"."""
    known = [role for role in roles_of(parts) if role is not Role.OTHER]
    return " and ".join(WORDS[role] for role in known) or WORDS[Role.OTHER]
