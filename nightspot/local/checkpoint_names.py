"""The names in a checkpoint file that another library wrote: what its state is made of, without loading it."""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Names stand beside the data, or before it: tensors of gigabytes are not read.
_MOST_BYTES = 4 * 1024 * 1024
_MOST_NAMES = 2000
_MOST_FILES = 20
_LONGEST_NAME = 100


def names_in(folder: Path) -> tuple[str, ...]:
    """The names in the newest file below the folder that has any, each once, in the order of the file.

    Knows torch.save, pickle, NumPy's .npz, safetensors and JSON; nothing of a file is executed. () where no file
    can be read.
    """
    try:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        newest = sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError:
        return ()
    for path in newest[:_MOST_FILES]:
        try:
            found = dict.fromkeys(name for name in _names(path) if 0 < len(name) <= _LONGEST_NAME)
        # A file that was torn by a kill, or is of another kind than it looks.
        except (OSError, ValueError, zipfile.BadZipFile, struct.error, RecursionError, EOFError):
            continue
        if found:
            return tuple(found)[:_MOST_NAMES]
    return ()


def _names(path: Path) -> Iterator[str]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            pickles = [name for name in members if name.endswith("data.pkl")]
            for name in pickles:
                yield from _of_pickle(archive.open(name).read(_MOST_BYTES))
            if not pickles:
                yield from (name.removesuffix(".npy") for name in members)
        return
    with path.open("rb") as stream:
        head = stream.read(_MOST_BYTES)
    if head.lstrip()[:1] in (b"{", b"["):
        yield from _of_json(json.loads(head))
    elif head[8:9] == b"{":
        (length,) = struct.unpack("<Q", head[:8])
        yield from json.loads(head[8 : 8 + length])
    else:
        yield from _of_pickle(head)


def _of_json(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _of_json(inner)


def _of_pickle(content: bytes) -> Iterator[str]:
    """Its texts; of a pickle that is longer than what was read, those of its beginning."""
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if isinstance(argument, str) and ("UNICODE" in opcode.name or "GLOBAL" in opcode.name):
                yield argument
    except ValueError:
        # Cut short, or no pickle: what stands before it counts only where it began as one.
        if content[:1] != b"\x80":
            raise
