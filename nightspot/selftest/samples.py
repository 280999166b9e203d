"""Sample values of botocore's shapes: one request for each member of CreateTrainingJob, however deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TEXT, _ARN_LENGTH = "a", 20


def requests_by_field(shape: Any, fixed: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, request) for each member: the required ones, `fixed`, and this member on the way down to it."""
    least = {**_least(shape), **fixed}
    for path in _paths(shape, ()):
        yield ".".join(path), _merged(least, _with(shape, path))


def _paths(shape: Any, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    while shape.type_name == "list":
        shape = shape.member
    if shape.type_name != "structure":
        return
    for name, member in shape.members.items():
        path = (*before, name)
        yield path
        yield from _paths(member, path)


def _with(shape: Any, path: tuple[str, ...]) -> Any:
    """The least value of a shape that has the member at `path`."""
    if shape.type_name == "list":
        return [_with(shape.member, path)]
    if not path:
        return _least(shape)
    name, *rest = path
    return {**_least(shape), name: _with(shape.members[name], tuple(rest))}


def _least(shape: Any) -> Any:
    """The smallest value that botocore accepts for a shape."""
    match shape.type_name:
        case "structure":
            return {name: _least(shape.members[name]) for name in shape.required_members}
        case "list":
            return [_least(shape.member) for _ in range(max(1, shape.metadata.get("min", 0)))]
        case "map":
            return {_least(shape.key): _least(shape.value)}
        case "string":
            return _text(shape)
        case "boolean":
            return False
        case "float" | "double":
            return float(shape.metadata.get("min", 1))
        case "integer" | "long":
            return int(shape.metadata.get("min", 1))
        case _:
            return "2026-12-05T00:00:00Z"


def _text(shape: Any) -> str:
    if shape.enum:
        return str(shape.enum[0])
    least = int(shape.metadata.get("min", 1))
    return _TEXT * max(1, least, _ARN_LENGTH if "Arn" in shape.name else 1)


def _merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {**other, **{name: _merged(value, other.get(name, value)) for name, value in one.items()}}
    return other if isinstance(one, dict) or isinstance(other, dict | list) else one
