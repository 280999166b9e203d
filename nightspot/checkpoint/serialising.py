"""Decides how values become bytes and values again where the user says nothing: by pickle."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

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
