"""The one opener of documents: what a text or a file is, and the training jobs and failures in it.

`nightspot explain` and `nightspot init` both start here. A document inside another one (a state machine's
definition, an event's detail, a job's payload) is opened by the same table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nightspot.documents import clusters, errors, events, sagemaker, sdk, stepfunctions
from nightspot.documents.model import Document, Found, Kind, at, mappings
from nightspot.documents.notation import decoded, read_notation
from nightspot.job.errors import WHOLE_FILE, InvalidJobError, Problem, describe

# Who has a field of its own comes before who shares them: first match wins.
KINDS: tuple[Kind, ...] = (
    *events.KINDS,
    *stepfunctions.KINDS,
    *clusters.KINDS,
    *errors.KINDS,
    *sdk.KINDS,
    *sagemaker.KINDS,
    errors.ANY_ERROR,
)
# `{"Parameters": {…}}`, as it is cut out of a greater one.
WRAPPED = Kind(
    "a mapping with one document in it",
    lambda data: (
        len(data) == 1 and any(kind.fits(one) for one in mappings(list(data.values())) for kind in KINDS)
    ),
    lambda data, inside: (found for key, value in data.items() for found in inside(value, str(key))),
    "it is no request, and has none in it",
)
_DEEPEST = 8
_MOST_FOUND = 1_000


def open_document(given: str | bytes, *, lenient: bool = False, source: str = "<string>") -> Document:
    """What `given` is, and what it holds.

    `lenient`: bytes that are no text and a notation that is broken are read as words, as a log may hold anything.
    Raises InvalidJobError, of `source`, for what cannot be read back, with what it is and what to give instead.
    """
    try:
        text = decoded(given, lenient=lenient) if isinstance(given, bytes) else given
        notation = read_notation(text, lenient=lenient)
        if not text.strip():
            raise InvalidJobError([Problem(WHOLE_FILE, "nothing", "must hold a document of AWS's")])
        if notation.problems and notation.data is None and not lenient:
            raise InvalidJobError(notation.problems)
    except InvalidJobError as error:
        raise InvalidJobError(error.problems, source) from error
    if isinstance(notation.data, Mapping | list):
        kind, found, missing = _opened(notation.data)
        if kind is not None:
            return Document(kind, found, missing, notation.problems)
        if not lenient:
            return Document(describe(notation.data), (), "", notation.problems)
    # `--query FailureReason` of the AWS CLI prints a text as JSON.
    words = errors.read_words(notation.data if isinstance(notation.data, str) else text)
    missing = "it says how something ended, not what was asked for"
    return Document(words.kind, (Found(end=words.end),), missing)


def _opened(data: object) -> tuple[str | None, tuple[Found, ...], str]:
    if isinstance(data, list):
        return _list(data)
    kind = _kind_of(data)
    if kind is None or not isinstance(data, Mapping):
        return None, (), ""
    return kind.says, _found(data, "", 0), kind.missing


def _list(data: list[Any]) -> tuple[str | None, tuple[Found, ...], str]:
    kinds = [kind for kind in map(_kind_of, data[:_MOST_FOUND]) if kind is not None]
    if not kinds:
        return None, (), ""
    first = kinds[0]
    says = (
        first.says if len(data) == 1 else f"a list of {len(data)} documents, the first of them {first.says}"
    )
    return says, _found(data, "", 0), first.missing


def _kind_of(data: object) -> Kind | None:
    if not isinstance(data, Mapping) or not data:
        return None
    return next((kind for kind in (*KINDS, WRAPPED) if kind.fits(data)), None)


def _found(data: object, where: str, depth: int) -> tuple[Found, ...]:
    """Everything in `data`, which is plain data or a text of one; nothing below _DEEPEST documents."""
    if depth > _DEEPEST:
        return ()

    def inside(inner: object, part: str) -> tuple[Found, ...]:
        return _found(inner, at(where, part), depth + 1)

    if isinstance(data, str):
        return _found_in_text(data, where, depth)
    if isinstance(data, list):
        each = (one for n, entry in enumerate(data) for one in _found(entry, at(where, n), depth + 1))
        return tuple(_first(each))
    kind = _kind_of(data)
    if kind is None or not isinstance(data, Mapping):
        return ()
    return tuple(_placed(one, where) for one in _first(kind.finds(data, inside)))


def _found_in_text(text: str, where: str, depth: int) -> tuple[Found, ...]:
    try:
        data = read_notation(text).data
    except InvalidJobError:
        return ()
    if isinstance(data, Mapping | list):
        return _found(data, where, depth + 1)
    # A log's lines, a message that is an error.
    end = errors.read_words(text).end
    return (Found(where=where, end=end),) if text.strip() else ()


def _placed(found: Found, where: str) -> Found:
    """With its whole place in the document."""
    if not where or found.where.startswith(where):
        return found
    return replace(found, where=at(where, found.where) if found.where else where)


def _first(found: Any) -> Iterator[Found]:
    for n, one in enumerate(found):
        if n >= _MOST_FOUND:
            return
        yield one
