"""Decides what a checkpoint file looks like, and whether the one at hand is whole.

Layout: magic line with the format's number, length of the header (8 bytes, big-endian), SHA-256
of the header (32 bytes), header (JSON), then the parts' bytes one after the other and nothing
else. Every byte is covered by a checksum or by the exact length.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import BrokenCheckpointError, StateError

_MAGIC_STEM = b"NIGHTSPOT CHECKPOINT "
_MAGIC = _MAGIC_STEM + b"1\n"
_LENGTH_BYTES = 8
_DIGEST_BYTES = 32
_PREAMBLE_BYTES = len(_MAGIC) + _LENGTH_BYTES + _DIGEST_BYTES
_STATE_RULE = "must be bytes or a mapping of str names to bytes"


@dataclass(frozen=True)
class _Header:
    progress: dict[str, Any]
    rank: int
    is_mapping: bool
    parts: tuple[tuple[str, int, str], ...]  # name, bytes, SHA-256 in hexadecimal


@dataclass(frozen=True)
class Contents:
    """A whole checkpoint: what was said about it, and the state of the type that was saved."""

    progress: dict[str, Any]
    rank: int
    state: bytes | dict[str, bytes]


def check_state(state: object) -> dict[str, memoryview]:
    """The state's parts by name, without copying them; StateError for an unusable type.

    Plain bytes are one part. bytearray and memoryview count as bytes.
    """
    if isinstance(state, Mapping):
        return {_name(name): _buffer(part, f"state[{name!r}]") for name, part in state.items()}
    return {"state": _buffer(state, "state")}


def encode(
    progress: Mapping[str, object], rank: int, state: bytes | Mapping[str, bytes]
) -> Iterator[bytes | memoryview]:
    """The file's bytes in pieces, in order; raises StateError before the first piece."""
    parts = check_state(state)
    header = {
        "progress": dict(progress),
        "rank": rank,
        "kind": "mapping" if isinstance(state, Mapping) else "bytes",
        "parts": [
            {"name": name, "size": part.nbytes, "sha256": hashlib.sha256(part).hexdigest()}
            for name, part in parts.items()
        ],
    }
    text = json.dumps(header, allow_nan=False).encode()
    yield _MAGIC + len(text).to_bytes(_LENGTH_BYTES, "big") + hashlib.sha256(text).digest() + text
    yield from parts.values()


def read(path: Path) -> Contents:
    """The checkpoint in the file; OSError if unreadable, BrokenCheckpointError if not whole."""
    with path.open("rb") as stream:
        header = _read_header(stream)
        parts = dict(_read_parts(stream, header))
    state = parts if header.is_mapping else parts["state"]
    return Contents(progress=header.progress, rank=header.rank, state=state)


def verify(path: Path) -> None:
    """As `read`, holding one part in memory at a time and keeping none."""
    with path.open("rb") as stream:
        for _ in _read_parts(stream, _read_header(stream)):
            pass


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise StateError(f"state has the name {name!r} ({type(name).__name__}): {_STATE_RULE}")
    return name


def _buffer(part: object, field: str) -> memoryview:
    if not isinstance(part, (bytes, bytearray, memoryview)):
        raise StateError(f"{field} is {type(part).__name__}: the state {_STATE_RULE}")
    view = memoryview(part)
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def _read_header(stream: BinaryIO) -> _Header:
    file_bytes = os.fstat(stream.fileno()).st_size
    if file_bytes == 0:
        raise BrokenCheckpointError("the file is empty")
    preamble = stream.read(_PREAMBLE_BYTES)
    if not preamble.startswith(_MAGIC):
        raise BrokenCheckpointError(_why_not_magic(preamble))
    length = int.from_bytes(preamble[len(_MAGIC) : -_DIGEST_BYTES], "big")
    # Looked at before anything is read: a damaged length must not ask for exabytes of memory.
    if len(preamble) < _PREAMBLE_BYTES or length > file_bytes - _PREAMBLE_BYTES:
        raise BrokenCheckpointError(f"the file ends inside its header ({file_bytes} bytes)")
    text = stream.read(length)
    if hashlib.sha256(text).digest() != preamble[-_DIGEST_BYTES:]:
        raise BrokenCheckpointError("the header's checksum does not match")
    header = _parse_header(text)
    expected = _PREAMBLE_BYTES + length + sum(size for _, size, _ in header.parts)
    if file_bytes != expected:
        raise BrokenCheckpointError(f"the file has {file_bytes} bytes where {expected} were saved")
    return header


def _parse_header(text: bytes) -> _Header:
    try:
        fields = json.loads(text)
        return _Header(
            progress=fields["progress"],
            rank=fields["rank"],
            is_mapping=fields["kind"] == "mapping",
            parts=tuple((part["name"], part["size"], part["sha256"]) for part in fields["parts"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenCheckpointError(f"the header is not this library's ({error!r})") from error


def _why_not_magic(preamble: bytes) -> str:
    if preamble.startswith(_MAGIC_STEM) and len(preamble) >= len(_MAGIC):
        return "the file is in a format that this version of nightspot.checkpoint does not know"
    if _MAGIC.startswith(preamble):
        return f"the file ends inside its header ({len(preamble)} bytes)"
    return "the file does not start as a Nightspot checkpoint does"


def _read_parts(stream: BinaryIO, header: _Header) -> Iterator[tuple[str, bytes]]:
    for name, size, sha256 in header.parts:
        content = stream.read(size)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BrokenCheckpointError(f"the checksum of part {name!r} does not match")
        yield name, content
