"""Evaluates the workflow's JSONata expressions for moto's interpreter, which ships no evaluator.

Variables are bound as values; moto itself would write them into the expression as text, where a quotation mark
in a failure reason ends the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonata import Jsonata
from jsonata.utils import Utils


class UndefinedResultError(Exception):
    """The expression returned nothing, which Step Functions treats as an error."""


def evaluate(expression: str, bindings: Mapping[str, Any]) -> Any:
    """The JSON value of `expression` with `bindings` (names without `$`).

    Raises UndefinedResultError where the expression has no value, jsonata's own exceptions where it is wrong.
    """
    result = _evaluate(expression, bindings)
    # jsonata-python gives None for null and for nothing at all.
    if result is None and not _evaluate(f"$exists({expression})", bindings):
        raise UndefinedResultError(f"The JSONata expression '{expression}' returned nothing (undefined).")
    return result


def _evaluate(expression: str, bindings: Mapping[str, Any]) -> Any:
    program = Jsonata(expression)
    # Step Functions adds this one to JSONata's own functions.
    program.register_lambda("parse", lambda text: _with_nulls(json.loads(text)))
    frame = program.create_frame()
    for name, value in bindings.items():
        frame.bind(name, _with_nulls(value))
    return _plain(program.evaluate(None, frame))


def _with_nulls(value: Any) -> Any:
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {name: _with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    """Without jsonata-python's own null and its list subclass."""
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
