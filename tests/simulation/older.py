"""What a version of the code from November 2026 knew of the ledger: a deployment may come while a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

OLDER_FIELDS = Path(__file__).parent / "fields_of_2026_11.json"


@cache
def older_fields(record: str) -> frozenset[str]:
    """The names of a record's fields when the list was made."""
    return frozenset(json.loads(OLDER_FIELDS.read_text(encoding="utf-8"))[record])


_NESTED = {
    "run": (
        "Run",
        {
            "rungs": "Rung",
            "attempts": "Attempt",
            "left_out": "LeftOut",
            "progress": "Progress",
            "inherited": "Progress",
        },
    ),
    "step": ("Step", {"rung": "Rung"}),
}


def as_older_code_knows(key: str, value: Any) -> Any:
    """`value`, the "run" or "step" of a function's answer, without the fields that came later."""
    if key not in _NESTED or not isinstance(value, dict):
        return value
    record, nested = _NESTED[key]
    kept = _only(value, record)
    for name, kind in nested.items():
        inner = kept.get(name)
        if isinstance(inner, list):
            kept[name] = [_only(each, kind) for each in inner]
        elif isinstance(inner, dict):
            kept[name] = _only(inner, kind)
    return kept


def _only(value: Mapping[str, Any], record: str) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name in older_fields(record)}
