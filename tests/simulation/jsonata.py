"""JSONata as Step Functions evaluates it: parsed once per process, with the clock of the simulation.

Most expressions of a workflow are a path, a path compared with a text, or a text before a path. Those are evaluated
without the engine; `test_jsonata.py` holds them equal to it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from jsonata import Jsonata
from jsonata.utils import Utils

Bindings = Mapping[str, Any]

_NAME = r"\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)"
_TEXT = r"'([^'\\]*)'"
_PATH = re.compile(_NAME)
_EQUALS = re.compile(rf"{_NAME}\s*=\s*{_TEXT}")
_JOINED = re.compile(rf"{_TEXT}\s*&\s*{_NAME}")
_LITERALS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|/\*.*?\*/", re.DOTALL)
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)(?!\w)(?!\s*\()")
_BOUND = re.compile(r"\$([A-Za-z_]\w*)\s*:=")
_PARAMETERS = re.compile(r"(?:function|λ)\s*\(([^)]*)\)")


class QueryError(Exception):
    """What Step Functions calls States.QueryEvaluationError."""


class _NotSimpleError(Exception):
    """The engine must decide."""


_UNDEFINED = object()


@dataclass(frozen=True)
class Surroundings:
    """What an expression can learn beside its variables."""

    now: Callable[[], datetime]
    uuid: Callable[[], uuid.UUID]
    random: Callable[[], float]


class Expression:
    """One `{% … %}` of a workflow."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        bare = _LITERALS.sub("''", self.text)
        inner = {name for names in _PARAMETERS.findall(bare) for name in re.findall(r"\$(\w+)", names)}
        self.variables = frozenset(_VARIABLE.findall(bare)) - frozenset(_BOUND.findall(bare)) - inner
        self._functions = frozenset(re.findall(r"\$([A-Za-z_]\w*)\s*\(", bare))
        self._simple = _simple(self.text)

    def evaluate(self, bindings: Bindings, around: Surroundings) -> Any:
        """The JSON value. Raises QueryError where there is none."""
        for name in self.variables:
            if name not in bindings and name not in self._functions and name not in _BUILT_IN:
                raise QueryError(
                    f"The JSONata expression '{self.text}' reads ${name}, which was never assigned."
                )
        if self._simple is not None:
            try:
                return self._defined(self._simple(bindings))
            except _NotSimpleError:
                pass
        return self._defined(self.by_engine(bindings, around))

    def _defined(self, value: Any) -> Any:
        if value is _UNDEFINED:
            raise QueryError(f"The JSONata expression '{self.text}' returned nothing (undefined).")
        return value

    def by_engine(self, bindings: Bindings, around: Surroundings) -> Any:
        """The same by jsonata-python; `_UNDEFINED` where the expression has no value."""
        program = _program(self.text)
        # The functions of the library look at the program that was made last.
        Jsonata.CURRENT.jsonata = program
        program.register_lambda("millis", lambda: int(around.now().timestamp() * 1000))
        program.register_lambda("now", lambda *_: _iso(around.now()))
        program.register_lambda("uuid", lambda: str(around.uuid()))
        program.register_lambda("random", lambda *_: around.random())
        wanted = {name: _with_nulls(bindings[name]) for name in self.variables if name in bindings}
        try:
            value = program.evaluate(None, wanted)
        except Exception as error:  # every fault of an expression is one error to a state machine
            raise QueryError(f"{self.text}: {error}") from error
        return _UNDEFINED if value is None else _plain(value)


_BUILT_IN = frozenset({"states"})


@cache
def expression(text: str) -> Expression:
    """The expression of `text`, parsed once."""
    return Expression(text)


def is_expression(value: object) -> bool:
    """Whether a text of a workflow is JSONata."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


@cache
def _program(text: str) -> Any:
    program = Jsonata(text)
    program.output_convert_nulls = False
    # Step Functions adds these to JSONata's own functions.
    program.register_lambda("parse", lambda given: _with_nulls(json.loads(given)))
    return program


def _simple(text: str) -> Callable[[Bindings], Any] | None:
    if match := _PATH.fullmatch(text):
        name, steps = match[1], _steps(match[2])
        return lambda bindings: _walk(bindings, name, steps)
    if match := _EQUALS.fullmatch(text):
        name, steps, wanted = match[1], _steps(match[2]), match[3]
        return lambda bindings: _equal(_walk(bindings, name, steps), wanted)
    if match := _JOINED.fullmatch(text):
        before, name, steps = match[1], match[2], _steps(match[3])
        return lambda bindings: before + _text(_walk(bindings, name, steps))
    return None


def _steps(path: str) -> tuple[str, ...]:
    return tuple(filter(None, path.split(".")))


def _walk(bindings: Bindings, name: str, steps: tuple[str, ...]) -> Any:
    value = bindings[name]
    for step in steps:
        if not isinstance(value, dict):
            if isinstance(value, list):
                raise _NotSimpleError  # a path goes into every member of an array
            return _UNDEFINED
        if step not in value:
            return _UNDEFINED
        value = value[step]
    return value


def _equal(value: Any, wanted: str) -> bool:
    if value is not _UNDEFINED and not isinstance(value, str):
        raise _NotSimpleError
    return bool(value == wanted)


def _text(value: Any) -> str:
    if value is _UNDEFINED:
        return ""
    if not isinstance(value, str):
        raise _NotSimpleError
    return value


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _with_nulls(value: Any) -> Any:
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {name: _with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
