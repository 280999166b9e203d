"""The size of an item in DynamoDB, and what is left of one that is too large.

Values are as DynamoDB writes them: `{"S": "text"}`, `{"N": "1.5"}`, `{"L": [...]}`, `{"M": {...}}`. Sizes are upper
bounds: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

MOST_BYTES = 400_000  # of 400 KB, which are 409,600
_NUMBER_BYTES = 21
_CONTAINER_BYTES = 3
_LEAST_BYTES = 16  # of a value: less says nothing


def of_map(values: Mapping[str, Any]) -> int:
    """At most so many bytes count for the values and their names."""
    return sum(1 + len(name.encode()) + _size(value) for name, value in values.items())


def map_within(values: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """The values in at most `budget` bytes: the small ones whole, and of the large ones an equal share of each.

    A text loses its end and a list its middle. Where the names alone do not fit, the largest values go.
    """
    kept: dict[str, Any] = {}
    by_size = sorted(values, key=lambda name: of_map({name: values[name]}))
    for position, name in enumerate(by_size):
        share = budget // (len(by_size) - position)
        room = share - 1 - len(name.encode())
        if room >= min(_LEAST_BYTES, _size(values[name])):
            kept[name] = _within(values[name], room)
            budget -= of_map({name: kept[name]})
    return {name: kept[name] for name in values if name in kept}


def _size(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "S":
        return len(held.encode())
    if kind == "N":
        return _NUMBER_BYTES
    if kind == "L":
        return _CONTAINER_BYTES + sum(1 + _size(inner) for inner in held)
    return _CONTAINER_BYTES + of_map(held) if kind == "M" else 1


def _within(value: dict[str, Any], budget: int) -> dict[str, Any]:
    if _size(value) <= budget:
        return value
    ((kind, held),) = value.items()
    if budget < _LEAST_BYTES or kind == "N":
        return {"NULL": True}
    if kind == "S":
        return {"S": held.encode()[:budget].decode(errors="ignore")}
    if kind == "L":
        return {"L": _ends_within(held, budget - _CONTAINER_BYTES)}
    return {"M": map_within(held, budget - _CONTAINER_BYTES)}


def _ends_within(values: list[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """The newest elements and the oldest ones, in turn, while they fit; the newest alone may be cut."""
    if not values:
        return []
    ends = [*reversed(range(len(values) // 2, len(values)))], [*range(len(values) // 2)]
    turns = [index for pair in zip_longest(*ends) for index in pair if index is not None]
    kept = {turns[0]: _within(values[turns[0]], budget - 1)}
    left = budget - 1 - _size(kept[turns[0]])
    for index in turns[1:]:
        left -= 1 + _size(values[index])
        if left < 0:
            break
        kept[index] = values[index]
    return [kept[index] for index in sorted(kept)]
