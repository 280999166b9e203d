"""Decides what can be saved, and which bytes, files and values a state is stored as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from .errors import StateError

Snapshot = Callable[[Any], Any]

_CHUNK_BYTES = 1 << 22

_RULE = (
    "must be bytes, an object with state_dict(), or a mapping of str names to bytes, files "
    "(pathlib.Path), such objects and plain values"
)


class Kind(Enum):
    """What the whole state is."""

    BYTES = "bytes"
    MAPPING = "mapping"
    OBJECT = "object"


class Form(Enum):
    """How one part of it is stored."""

    BYTES = "bytes"
    FILE = "file"
    SERIALISED = "serialised"


@dataclass(frozen=True)
class Part:
    """One run of bytes in the checkpoint file: a buffer, a file's contents, or a value to serialise."""

    name: str
    form: Form
    content: Any = field(repr=False)


@dataclass(frozen=True)
class State:
    """What a save writes; `names` are a mapping's names, in its order.

    All that is neither bytes nor a file goes into one serialised part, a dict by name: what the
    values share, as tied weights do, is then stored once and still shared when it comes back.
    """

    kind: Kind
    names: tuple[str, ...]
    parts: tuple[Part, ...]


def describe(state: object) -> State:
    """What is to be written, nothing of it copied; StateError for what cannot be saved."""
    if can(state, "state_dict"):
        return State(Kind.OBJECT, (), (Part("state", Form.SERIALISED, _plain(state)),))
    if not isinstance(state, Mapping):
        return State(Kind.BYTES, (), (Part("state", Form.BYTES, _buffer(state, "state")),))
    parts: list[Part] = []
    values: dict[str, Any] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise StateError(f"state has the name {name!r} ({type(name).__name__}): the state {_RULE}")
        if isinstance(value, (bytes, bytearray, memoryview)):
            parts.append(Part(name, Form.BYTES, _buffer(value, f"state[{name!r}]")))
        elif isinstance(value, Path):
            parts.append(Part(name, Form.FILE, _file(value, f"state[{name!r}]")))
        else:
            values[name] = _plain(value)
    if values:
        parts.append(Part("", Form.SERIALISED, values))
    return State(Kind.MAPPING, tuple(state), tuple(parts))


def hold(state: State, snapshot: Snapshot) -> State:
    """The same state, out of reach of any later change of what it was made from.

    bytes are not copied: nothing can change them. Files are read into memory.
    """
    parts = tuple(Part(part.name, part.form, _HOLD[part.form](part, snapshot)) for part in state.parts)
    return State(state.kind, state.names, parts)


def file_chunks(path: Path, name: str) -> Iterator[bytes]:
    """The contents of a file that is part of the state; StateError where it cannot be read."""
    try:
        with path.open("rb") as source:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise StateError(f"state[{name!r}]={str(path)!r}: must be readable ({error})") from error


def can(value: object, method: str) -> bool:
    """Whether the value is an object (and no class) with this method."""
    return not isinstance(value, type) and callable(getattr(value, method, None))


def called(state: Any) -> Any:
    """The state, or what the function that builds it gives."""
    return state() if callable(state) and not can(state, "state_dict") else state


def _plain(value: Any) -> Any:
    return value.state_dict() if can(value, "state_dict") else value


def _file(path: Path, name: str) -> Path:
    if not path.is_file():
        raise StateError(f"{name}={str(path)!r}: must be a file that is there")
    return path


def _buffer(part: object, name: str) -> memoryview:
    if not isinstance(part, (bytes, bytearray, memoryview)):
        raise StateError(f"{name} is {type(part).__name__}: the state {_RULE}")
    view = memoryview(part)
    # A view without elements has no layout that could be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def _hold_buffer(part: Part, _snapshot: Snapshot) -> memoryview:
    view: memoryview = part.content
    return view if type(view.obj) is bytes else memoryview(bytes(view))


def _hold_file(part: Part, _snapshot: Snapshot) -> memoryview:
    # A copy on disk would double what is written; a file left where it is may be written to.
    return memoryview(b"".join(file_chunks(part.content, part.name)))


def _hold_value(part: Part, snapshot: Snapshot) -> Any:
    return snapshot(part.content)


_HOLD: Mapping[Form, Callable[[Part, Snapshot], Any]] = {
    Form.BYTES: _hold_buffer,
    Form.FILE: _hold_file,
    Form.SERIALISED: _hold_value,
}
