"""Words what pydantic finds as problems: the path as its author wrote it, and a rule without Python's names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from nightspot.job.errors import PathPart, Problem, describe, dotted, nearest, problem

# pydantic's own words name Python types; these name what stands in the file.
_RULES = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be text: put it in quotes",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "invalid_key": "must have a text as its key: put it in quotes",
    "enum": "must be {expected}",
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
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path, keys_of(*models))
    if kind == "missing":
        return Problem(dotted(path), "nothing", "is required")
    rule = _RULES[kind].format(**context) if kind in _RULES else details["msg"]
    return problem(path, details["input"], rule)


def unknown_key(path: tuple[PathPart, ...], known: Iterable[str]) -> Problem:
    """The problem of a key that is none of `known`."""
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
