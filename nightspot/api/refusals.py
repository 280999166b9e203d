"""Words what the resolver finds in parameters and bodies: the field, what stands there, and the rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from nightspot.api.models import RunOverrides
from nightspot.job.errors import Problem, describe
from nightspot.job.validation import found_by_pydantic

_BODY = "body"
# pydantic's words for parameters, which are all text.
_RULES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be printable ASCII",
    "string_type": "must be given once",
}


class _Parameter(BaseModel):
    """A value that stands by itself."""


def findings_of(errors: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """One finding for each of pydantic's error details, whose `loc` begins with where it stands: body, query, …"""
    for details in errors:
        where, *path = details["loc"]
        same = cast("ErrorDetails", {**details, "loc": tuple(path)})
        if where == _BODY:
            yield found_by_pydantic(same, RunOverrides)
            continue
        found = found_by_pydantic(same, _Parameter)
        rule = _RULES.get(str(details["type"]), found.rule)
        name = str(path[0]) if path else str(where)
        # Headers have lost their case on the way.
        field = name.title() if where == "header" else name
        yield Problem(field, describe(details.get("input")), rule)
