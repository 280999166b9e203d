"""JSON read strictly: a key that stands twice and a number that JSON does not know are found, not passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class RepeatedKeyError(ValueError):
    """An object of a JSON text has a key twice; `key` is it."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:80]!r} appears twice in one object")
        self.key = key


def read_json(text: str, repeated: Callable[[str], None] | None = None) -> Any:
    """The value of a JSON text.

    `repeated` is called with every key that stands twice in one object, and the last one counts; without it the
    first of them raises RepeatedKeyError. Raises json.JSONDecodeError, ValueError for NaN and Infinity, and
    RecursionError.
    """

    def found(key: str) -> None:
        raise RepeatedKeyError(key)

    tell = repeated or found

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in items:
            if key in seen:
                tell(key)
            seen[key] = value
        return seen

    return json.loads(text, object_pairs_hook=pairs, parse_constant=_no_number)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")
