"""What a checkpoint file looks like, and whether the one at hand is whole.

Layout: magic line with the format's number, the parts' bytes one after the other, footer (JSON:
what is said about the checkpoint, each part's size and SHA-256), SHA-256 of the footer (32 bytes),
length of the footer (8 bytes, big-endian), closing line. What is known only when the parts have
gone by stands behind them, so a file is written in one pass. Every byte is covered by a checksum,
by a comparison or by the exact length.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import BrokenCheckpointError, StateError
from .state import Form, Kind, Part, Serialise, State, file_chunks

_MAGIC_STEM = b"NIGHTSPOT CHECKPOINT "
_MAGIC = _MAGIC_STEM + b"2\n"
_CLOSING = b"\nNIGHTSPOT WHOLE 2\n"
_LENGTH_BYTES = 8
_DIGEST_BYTES = 32
_TAIL_BYTES = _DIGEST_BYTES + _LENGTH_BYTES + len(_CLOSING)
_CHUNK_BYTES = 1 << 22  # small enough that the kernel finds it in the cache where the checksum left it


@dataclass(frozen=True)
class StoredPart:
    """Where one part of the state is in the file; `sha256` is hexadecimal."""

    name: str
    form: Form
    start: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Footer:
    """What a file says about itself: `about` is what the writer said of the checkpoint."""

    about: dict[str, Any]
    kind: Kind
    names: tuple[str, ...]
    parts: tuple[StoredPart, ...]


class _Sink(io.RawIOBase):
    """Passes bytes on and keeps count, checksum and, if there is one, the disk's refusal."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self.size = 0
        self.digest = hashlib.sha256()
        self.refusal: OSError | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), _CHUNK_BYTES):
                chunk = view[start : start + _CHUNK_BYTES]
                self.digest.update(chunk)
                self._stream.write(chunk)
        except OSError as error:
            self.refusal = error
            raise
        self.size += len(view)
        return len(view)


def write(stream: BinaryIO, about: Mapping[str, object], state: State, serialise: Serialise) -> None:
    """Write a whole file; OSError from the disk, StateError where `serialise` fails."""
    stream.write(_MAGIC)
    entries = []
    for part in state.parts:
        sink = _Sink(stream)
        _write_part(sink, part, serialise)
        entries.append(
            {
                "name": part.name,
                "form": part.form.value,
                "size": sink.size,
                "sha256": sink.digest.hexdigest(),
            }
        )
    footer = {
        "about": dict(about),
        "kind": state.kind.value,
        "names": list(state.names),
        "parts": entries,
    }
    text = json.dumps(footer, allow_nan=False).encode()
    tail = hashlib.sha256(text).digest() + len(text).to_bytes(_LENGTH_BYTES, "big") + _CLOSING
    stream.write(text + tail)


def read_footer(stream: BinaryIO) -> Footer:
    """What the file says about itself; BrokenCheckpointError unless it is whole from end to end.

    Reads a few hundred bytes, and finds every file that is cut off, longer, or another format's.
    Damage inside the parts is found only by reading them: `content` and `chunks`.
    """
    file_bytes = os.fstat(stream.fileno()).st_size
    if file_bytes == 0:
        raise BrokenCheckpointError("the file is empty")
    stream.seek(0)
    opening = stream.read(len(_MAGIC))
    if opening != _MAGIC:
        raise BrokenCheckpointError(_why_not_magic(opening))
    room = file_bytes - len(_MAGIC) - _TAIL_BYTES
    stream.seek(max(0, file_bytes - _TAIL_BYTES))
    tail = stream.read(_TAIL_BYTES)
    if room < 0 or not tail.endswith(_CLOSING):
        raise BrokenCheckpointError(f"the file does not end as a whole one does ({file_bytes} bytes)")
    length = int.from_bytes(tail[_DIGEST_BYTES : _DIGEST_BYTES + _LENGTH_BYTES], "big")
    # Looked at before anything is read: a damaged length must not ask for exabytes of memory.
    if length > room:
        raise BrokenCheckpointError("the length of the footer is damaged")
    stream.seek(file_bytes - _TAIL_BYTES - length)
    text = stream.read(length)
    if hashlib.sha256(text).digest() != tail[:_DIGEST_BYTES]:
        raise BrokenCheckpointError("the footer's checksum does not match")
    footer = _parse(text)
    expected = len(_MAGIC) + sum(part.size for part in footer.parts) + length + _TAIL_BYTES
    if file_bytes != expected:
        raise BrokenCheckpointError(f"the file has {file_bytes} bytes where {expected} were saved")
    return footer


def footer_of(path: Path) -> Footer:
    """`read_footer` of the file at `path`; OSError if it cannot be read."""
    with path.open("rb") as stream:
        return read_footer(stream)


def content(stream: BinaryIO, part: StoredPart) -> bytes:
    """The part's bytes in one piece; BrokenCheckpointError if they are not those that were saved."""
    stream.seek(part.start)
    found = stream.read(part.size)
    if hashlib.sha256(found).hexdigest() != part.sha256:
        raise BrokenCheckpointError(f"the checksum of part {part.name!r} does not match")
    return found


def chunks(stream: BinaryIO, part: StoredPart) -> Iterator[bytes]:
    """The part's bytes in pieces; BrokenCheckpointError after the last one if they are not right."""
    digest, left = hashlib.sha256(), part.size
    stream.seek(part.start)
    while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
        yield chunk
    if digest.hexdigest() != part.sha256:
        raise BrokenCheckpointError(f"the checksum of part {part.name!r} does not match")


def check(stream: BinaryIO, part: StoredPart) -> None:
    """Read the part and keep nothing of it; BrokenCheckpointError if it is damaged."""
    for _ in chunks(stream, part):
        pass


def verify(path: Path) -> Footer:
    """The footer of a file whose every byte was read; OSError or BrokenCheckpointError otherwise."""
    with path.open("rb") as stream:
        footer = read_footer(stream)
        for part in footer.parts:
            check(stream, part)
    return footer


def _write_part(sink: _Sink, part: Part, serialise: Serialise) -> None:
    if part.form is Form.SERIALISED:
        _write_serialised(sink, part, serialise)
    elif isinstance(part.content, Path):
        for chunk in file_chunks(part.content, part.name):
            sink.write(chunk)
    else:
        sink.write(part.content)


def _write_serialised(sink: _Sink, part: Part, serialise: Serialise) -> None:
    try:
        serialise(part.content, sink)
    # The callable is the user's, or pickle, which lets through whatever the values raise.
    except Exception as error:
        # Serialisers wrap a full disk into errors of their own; it is still a full disk.
        if sink.refusal is not None:
            raise sink.refusal from error
        names = f" {sorted(part.content)}" if isinstance(part.content, dict) else ""
        raise StateError(f"state{names}: cannot be serialised ({type(error).__name__}: {error})") from error


def _parse(text: bytes) -> Footer:
    try:
        fields = json.loads(text)
        parts, start = [], len(_MAGIC)
        for entry in fields["parts"]:
            form = Form(entry["form"])
            parts.append(StoredPart(entry["name"], form, start, entry["size"], entry["sha256"]))
            start += entry["size"]
        return Footer(fields["about"], Kind(fields["kind"]), tuple(fields["names"]), tuple(parts))
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenCheckpointError(f"the footer is not this library's ({error!r})") from error


def _why_not_magic(opening: bytes) -> str:
    if opening.startswith(_MAGIC_STEM) and len(opening) == len(_MAGIC):
        return "the file is in a format that this version of nightspot.checkpoint does not know"
    if _MAGIC.startswith(opening):
        return f"the file ends inside its first line ({len(opening)} bytes)"
    return "the file does not start as a Nightspot checkpoint does"
