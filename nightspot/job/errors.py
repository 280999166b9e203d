"""What is wrong with a job file, as data: the field, what was given, and the rule it breaks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

WHOLE_FILE = "(file)"

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
# What stands below these keys may be a token or a password: say that it is there, not what it is.
_SECRET_KEYS = frozenset({"environment", "command", "hyperparameters", "containerarguments"})
_LONGEST_VALUE = 80

PathPart = str | int


@dataclass(frozen=True)
class Problem:
    """One finding: `field` is the dotted path as in the YAML, `value` is what stands there (short and
    without secrets), `rule` is a sentence. An error refuses the file, a warning does not."""

    field: str
    value: str
    rule: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.field}: {self.value}: {self.rule}"


class InvalidJobError(Exception):
    """A job file breaks the rules; `problems` holds every one that was found."""

    def __init__(self, problems: Iterable[Problem], source: str = "<string>") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)
        self.add_note(f"in {source}")

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class InvalidOverridesError(InvalidJobError):
    """A run's overrides break the rules, or do not fit the job; `problems` holds every one that was found."""

    def __init__(self, problems: Iterable[Problem], source: str = "the overrides of a run") -> None:
        super().__init__(problems, source)


def problem(path: Iterable[PathPart], value: object, rule: str) -> Problem:
    """An error at `path`, its value described without giving a secret away."""
    parts = tuple(path)
    return Problem(dotted(parts), describe(value, secret=is_secret(parts)), rule)


def dotted(path: Iterable[PathPart]) -> str:
    """The path as people write it: `capacity.spot[1].instance_type`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) <= _LONGEST_VALUE and _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part[:_LONGEST_VALUE]!r}]"
    return text or WHOLE_FILE


def is_secret(path: Iterable[PathPart]) -> bool:
    """Whether the value at `path` may be something that must not be printed."""
    return any(isinstance(part, str) and part.lower() in _SECRET_KEYS for part in path)


def describe(value: object, *, secret: bool = False) -> str:
    """A short account of `value`: scalars as they are, collections by size, secrets by length."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if secret and isinstance(value, str):
        return f"a hidden text of {len(value)} characters"
    if secret:
        return f"a hidden {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` for the nearest known word, or nothing when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""
