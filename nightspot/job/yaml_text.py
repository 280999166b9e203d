"""Turns a job file's text into plain data, refusing what YAML allows and a job file must not hold.

Refused: duplicate keys, tags (`!!python/…`), anchors that contain themselves, and the base-60 numbers
of YAML 1.1 (https://yaml.org/type/int.html), which read 18:30 as 1110.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from nightspot.job.errors import WHOLE_FILE, PathPart, Problem, describe, dotted, problem

_LARGEST_CHARACTERS = 256 * 1024
_DEEPEST_LEVELS = 100
_TEXT = "tag:yaml.org,2002:str"
_LIST = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
_PLAIN_TAGS = frozenset(
    {_TEXT, _LIST, _MAPPING}
    | {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "merge")}
)
_PLAIN_TAG_OF = {yaml.ScalarNode: _TEXT, yaml.SequenceNode: _LIST, yaml.MappingNode: _MAPPING}
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


class _TooDeepError(Exception):
    """The text is nested deeper than any job; PyYAML would go on to the end of the interpreter's stack."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without dates: a job file has none, and 2026-01-31 is a fine tag value."""

    _level = 0

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """PyYAML's, and an error where it is deeper than _DEEPEST_LEVELS."""
        self._level += 1
        if self._level > _DEEPEST_LEVELS:
            raise _TooDeepError
        try:
            return super().compose_node(parent, index)
        finally:
            self._level -= 1


@dataclass
class _Inspection:
    """One pass over the node tree; `seen` keeps shared anchors from being walked again and again."""

    problems: list[Problem] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def read_yaml(text: str) -> tuple[Any, list[Problem]]:
    """Return the document as dicts, lists and scalars, and the problems of its notation.

    Where the notation cannot be read there is no document (None). What can be read in spite of a
    problem is given back as the plain data it looks like, so that the rest can be judged too.
    """
    if len(text) > _LARGEST_CHARACTERS:
        size = f"{len(text)} characters"
        return None, [Problem(WHOLE_FILE, size, f"must have at most {_LARGEST_CHARACTERS}")]
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, [Problem(WHOLE_FILE, "nothing", "must hold a job: a mapping of fields")]
            inspection = _Inspection()
            readable = _inspect(node, (), (), inspection)
            document = loader.construct_document(node) if readable else None
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, _TooDeepError) as error:
        return None, [_syntax_problem(error)]
    return document, inspection.problems


def _inspect(node: yaml.Node, path: tuple[PathPart, ...], above: tuple[int, ...], found: _Inspection) -> bool:
    """Collect the problems of `node` and below; False where it must not be constructed.

    Takes tags away once they are complained of, so that the safe loader can read the node.
    """
    if id(node) in above:
        found.problems.append(problem(path, None, "an anchor must not contain itself"))
        return False
    if id(node) in found.seen:
        return True
    found.seen.add(id(node))
    above = (*above, id(node))
    if node.tag not in _PLAIN_TAGS:
        rule = "must not have a YAML tag (!…): a job file is plain data"
        found.problems.append(Problem(dotted(path), "a tagged value", rule))
        node.tag = _PLAIN_TAG_OF[type(node)]
    if isinstance(node, yaml.MappingNode):
        return _inspect_mapping(node, path, above, found)
    if isinstance(node, yaml.SequenceNode):
        # First all, then the verdict: every item is looked at, also after a refused one.
        items = [_inspect(item, (*path, n), above, found) for n, item in enumerate(node.value)]
        return all(items)
    if node.tag.endswith((":int", ":float")) and _BASE_60.fullmatch(node.value):
        rule = "must be in quotes if it is a time, or have a unit such as 4h: YAML reads it in base 60"
        found.problems.append(problem(path, node.value, rule))
        node.tag = _TEXT
    return True


def _inspect_mapping(
    node: yaml.MappingNode,
    path: tuple[PathPart, ...],
    above: tuple[int, ...],
    found: _Inspection,
) -> bool:
    lines: dict[str, int] = {}
    readable = True
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            found.problems.append(problem(path, None, "a key must be a plain word"))
            readable = False
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            rule = f"the key appears twice, on lines {lines[key.value]} and {line}"
            found.problems.append(Problem(dotted((*path, key.value)), describe(key.value), rule))
        lines.setdefault(key.value, line)
        readable &= _inspect(key, (*path, key.value), above, found)
        readable &= _inspect(value, (*path, key.value), above, found)
    return readable


def _syntax_problem(error: Exception) -> Problem:
    if isinstance(error, _TooDeepError):
        return Problem(
            WHOLE_FILE, "a very deep file", f"must not be nested more than {_DEEPEST_LEVELS} levels deep"
        )
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"
    # Not str(error): that quotes the line, which may hold a secret. Nor an alias's name: that may
    # be the start of a password without quotes.
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "a value is unreadable"
    said = re.sub("alias '.*'", "alias", said)
    return Problem(WHOLE_FILE, where, f"is not valid YAML: {said}")
