"""What can be saved, and which bytes, files and values a state is stored as."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

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
    parts = tuple(Part(part.name, part.form, _held(part, snapshot)) for part in state.parts)
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


def _held(part: Part, snapshot: Snapshot) -> Any:
    if part.form is Form.SERIALISED:
        return snapshot(part.content)
    if part.form is Form.FILE:
        # A copy on disk would double what is written; a file left where it is may be written to.
        return memoryview(b"".join(file_chunks(part.content, part.name)))
    return part.content if type(part.content.obj) is bytes else memoryview(bytes(part.content))


Serialise = Callable[[Any, Any], object]  # a value, and a binary stream to write it to
Deserialise = Callable[[Any], Any]  # a binary stream to read a value from


def pickled(value: object, stream: BinaryIO) -> None:
    """The default `serialise`: pickle's protocol 5, which passes large buffers on without a copy."""
    pickle.dump(value, stream, protocol=5)


def unpickled(stream: BinaryIO) -> Any:
    """The default `deserialise`, only ever given bytes whose checksum has been found right.

    A checksum finds damage, not malice: unpickling runs whatever code the file names.
    https://docs.python.org/3/library/pickle.html
    """
    return pickle.load(stream)  # noqa: S301 - who may write the prefix may run code; docs say so


class Window(io.RawIOBase):
    """A stretch of an open file as a stream of its own, so that no large value is read twice over."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._stream, self._start, self._size, self._at = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._size - self._at))
        self._stream.seek(self._start + self._at)
        got = int(self._stream.readinto(view[:wanted]))  # type: ignore[attr-defined]
        self._at += got
        return got


# Up to so much pickle makes itself is names and numbers; beyond it, the data went through it and was copied thrice.
_MOST_IN_BAND_BYTES = 1 << 20


class ReusedCopies:
    """A `snapshot` that copies large buffers into the memory of the copy before.

    Fresh memory is what makes a copy slow: the kernel clears every page of it first. So what is copied lasts
    until the next call, which a Checkpointer makes only when the save in flight is done; a ReusedCopies
    belongs to one Checkpointer. It keeps one copy's memory for as long as it lives.

    Copied so are values that hand their buffers to pickle's protocol 5, as NumPy arrays do
    (https://peps.python.org/pep-0574/). All else is left to copy.deepcopy, whose errors are raised.
    """

    def __init__(self) -> None:
        self._rooms: list[bytearray] = []
        self._deep = False

    def __call__(self, value: Any) -> Any:
        """The same value, out of reach of any change but the next call."""
        return copy.deepcopy(value) if self._deep else self._copy(value)

    def _copy(self, value: Any) -> Any:
        buffers: list[pickle.PickleBuffer] = []
        try:
            in_band = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
            views = [buffer.raw() for buffer in buffers]
        except (pickle.PicklingError, AttributeError, TypeError, BufferError):
            # What cannot be pickled may be serialised in another way, which is none of a copy's business.
            return copy.deepcopy(value)
        # Values that give pickle bytes and no buffers, such as tensors, would go this slow way at each save.
        self._deep = len(in_band) > max(_MOST_IN_BAND_BYTES, sum(view.nbytes for view in views))
        self._rooms = [
            _filled(self._rooms[place] if place < len(self._rooms) else bytearray(), view)
            for place, view in enumerate(views)
        ]
        return pickle.loads(in_band, buffers=self._rooms)  # noqa: S301 - pickled six lines above


def _filled(room: bytearray, view: memoryview) -> bytearray:
    """The room with what is in the view, or a new one where it has another size."""
    if len(room) != view.nbytes:
        return bytearray(view)
    memoryview(room)[:] = view  # a slice of the bytearray itself would make a copy in between
    return room
