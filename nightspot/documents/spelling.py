"""Requests as others spell them, turned into AWS's own spelling, and what in them is known only at run time.

CloudTrail, Kubernetes and the SDK write `trainingJobName` and `training_job_name` for `TrainingJobName`. The names
come from botocore's model, so nothing but names of fields is touched: not the keys of HyperParameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from nightspot.job.errors import PathPart, dotted
from nightspot.job.from_request import ANSWER_FIELDS, REQUEST_FIELDS
from nightspot.job.request_shape import input_shape

_DEEPEST = 40
_LATER = ".$"  # JSONPath's mark on a key of a state: its value comes from the input
_JSONATA = re.compile(r"\s*\{%.*%\}\s*", re.DOTALL)
_HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
_CALLS = (
    "Get",
    "Std:Join",
    "Ref",
    "Fn::Sub",
    "Fn::GetAtt",
    "Fn::Join",
    "Fn::ImportValue",
    "Fn::If",
    "Fn::Select",
)
# How a list of pairs names what a map has as keys (the SageMaker operators for Kubernetes, some SDKs).
_PAIRS = (("name", "value"), ("Name", "Value"), ("key", "value"), ("Key", "Value"))


@dataclass(frozen=True)
class Blank:
    """A field whose value the document does not hold: `said` is what stands there, `source` where it comes from."""

    path: tuple[PathPart, ...]
    said: str
    source: str

    @property
    def field(self) -> str:
        """Its path in the request, as people write it."""
        return dotted(self.path)

    @property
    def rule(self) -> str:
        """What its author is told."""
        shown = self.said if len(self.said) <= 80 else self.said[:79] + "…"
        return f"comes from {self.source} ({shown}): fill it in"


def spelled(data: Mapping[str, Any]) -> dict[str, Any]:
    """A request or description with its fields as AWS spells them; unknown ones stay as they are."""
    names = {_plain(name): name for name in (*REQUEST_FIELDS, *ANSWER_FIELDS)}
    shape = input_shape()
    return {
        new: _spelled(value, shape.members.get(new.removesuffix(_LATER)), 0)
        for new, value in _renamed(data, names).items()
    }


def filled(
    data: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[Blank, ...]]:
    """`data` without the values that are known only later, and those as blanks.

    `defaults`: the values of a pipeline's parameters by name; a parameter with one is no blank.
    """
    blanks: list[Blank] = []
    kept = _kept(data, (), blanks, defaults or {}, 0)
    return (kept if isinstance(kept, dict) else {}), tuple(blanks)


def _renamed(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        plain = str(key).removesuffix(_LATER)
        new = names.get(_plain(plain), plain) + (_LATER if str(key).endswith(_LATER) else "")
        found.setdefault(new, value)
    return found


@cache
def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _spelled(value: Any, shape: Any, depth: int) -> Any:
    if shape is None or depth > _DEEPEST:
        return value
    if shape.type_name == "structure" and isinstance(value, Mapping):
        names = {_plain(name): name for name in shape.members}
        return {
            new: _spelled(inner, shape.members.get(new.removesuffix(_LATER)), depth + 1)
            for new, inner in _renamed(value, names).items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_spelled(inner, shape.member, depth + 1) for inner in value]
    if shape.type_name == "map" and isinstance(value, list):
        return _from_pairs(value)
    return value


def _from_pairs(value: list[Any]) -> Any:
    for key, inner in _PAIRS:
        if all(
            isinstance(pair, Mapping) and isinstance(pair.get(key), str) and inner in pair for pair in value
        ):
            return {pair[key]: pair[inner] for pair in value}
    return value


def _kept(
    value: Any, path: tuple[PathPart, ...], blanks: list[Blank], defaults: Mapping[str, Any], depth: int
) -> Any:
    """The value without what is blank below it; None where all of it is."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, Mapping):
        # A hyperparameter may be called Get or Ref.
        is_map = bool(path) and path[-1] in {"HyperParameters", "Environment"}
        called = next((name for name in _CALLS if name in value and len(value) == 1 and not is_map), None)
        if called is not None:
            return _called(called, value[called], path, blanks, defaults)
        kept = {}
        for key, inner in value.items():
            name = str(key)
            if name.endswith(_LATER) and isinstance(inner, str):
                blanks.append(Blank((*path, name.removesuffix(_LATER)), inner, "the execution's input"))
                continue
            before = len(blanks)
            found = _kept(inner, (*path, name), blanks, defaults, depth + 1)
            if found is not None or len(blanks) == before:
                kept[key] = found
        return kept
    if isinstance(value, list):
        return [_kept(inner, (*path, n), blanks, defaults, depth + 1) for n, inner in enumerate(value)]
    if isinstance(value, str) and _JSONATA.fullmatch(value):
        blanks.append(Blank(path, value.strip(), "the execution's input"))
        return None
    if value == _HIDDEN:
        blanks.append(Blank(path, _HIDDEN, "the one who called: CloudTrail hides it"))
        return None
    return value


def _called(
    name: str, argument: Any, path: tuple[PathPart, ...], blanks: list[Blank], defaults: Mapping[str, Any]
) -> Any:
    """What a pipeline's or template's call gives: a parameter's default, else a blank."""
    if name == "Get" and isinstance(argument, str):
        parameter = argument.removeprefix("Parameters.")
        if parameter in defaults:
            return defaults[parameter]
        blanks.append(Blank(path, argument, "the pipeline's parameters or an earlier step"))
        return None
    source = "the template's parameters" if name.startswith(("Fn::", "Ref")) else "the pipeline's parameters"
    blanks.append(Blank(path, name, source))
    return None
