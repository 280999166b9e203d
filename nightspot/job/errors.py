"""What is wrong with a job file, as data: the field, what was given, and the rule it breaks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

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


# pydantic's own words name Python types; these name what stands in the file.
_RULES = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be text: put it in quotes",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "invalid_key": "must have a text as its key: put it in quotes",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "string_too_long": "must have at most {max_length} characters",
}


def found_by_pydantic(details: ErrorDetails, root: type[BaseModel], *above: str) -> Problem:
    """One of `ValidationError.errors()` as a problem; `root` is the model that the path starts from.

    `above` is the path at which the validated value stands in `root`, where it is a part of it.
    """
    path, models = _place((*above, *details["loc"]), root)
    kind = details["type"]
    if kind == "extra_forbidden":
        return unknown_key(path, keys_of(*models))
    if kind == "missing":
        return Problem(dotted(path), "nothing", "is required")
    return problem(path, details["input"], rule_of(details))


def rule_of(details: ErrorDetails) -> str:
    """The rule that one of `ValidationError.errors()` is about, as a sentence without pydantic's own words."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])  # without pydantic's "Value error, "
    return _RULES[kind].format(**context) if kind in _RULES else details["msg"]


def unknown_key(path: tuple[PathPart, ...], known: Iterable[str]) -> Problem:
    keys = tuple(known)
    # The key alone: what stands below it is unknown too, and may be a secret.
    given = str(path[-1])
    rule = f"is not a known key (the keys are {', '.join(keys)}){nearest(given, keys)}"
    return Problem(dotted(path), describe(given), rule)


def keys_of(*models: type[BaseModel]) -> tuple[str, ...]:
    """The keys that mappings of `models` may have, as people write them."""
    return tuple(field.alias or name for model in models for name, field in model.model_fields.items())


def _place(
    location: tuple[PathPart, ...], root: type[BaseModel]
) -> tuple[tuple[PathPart, ...], tuple[type[BaseModel], ...]]:
    """The path as it was written, and the models of the mapping in which it ends.

    pydantic's location also names which side of a union was tried (by the model's name, see
    `Overrides.instance_types`) and where it was a key that was at fault.
    """
    path: list[PathPart] = []
    models: tuple[type[BaseModel], ...] = (root,)
    here = models
    for part in location:
        side = tuple(model for model in models if model.__name__ == part)
        if part == "[key]":
            continue
        if side and len(models) > 1:
            models = side
            continue
        path.append(part)
        here = models
        models = tuple(_models_below(models, part)) or models
    return tuple(path), here


def _models_below(models: Iterable[type[BaseModel]], key: PathPart) -> Iterator[type[BaseModel]]:
    for model in models:
        for name, field in model.model_fields.items():
            if key == (field.alias or name):
                yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
