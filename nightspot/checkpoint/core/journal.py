"""What a drill gets to know of a training: one JSON line per event, with a SHA-256 per part of the state."""

from __future__ import annotations

import copyreg
import hashlib
import json
import math
import operator
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from .errors import SettingError, StateError
from .state import can, file_chunks

# A part that is itself a mapping of few names is digested by name, so that one can say which of them differs:
# a training state has five, an optimiser's state_dict two, a model's hundreds.
_MOST_NAMES = 16
_DIGEST_CHARACTERS = 16  # as good as surely no accident, and short in a journal of many steps

_LARGEST_EXACT_FLOAT = 2**53


def part_digests(state: Any) -> dict[str, str | None]:
    """The digest of each part of a state by name, `part.name` within a small mapping; None: it cannot be read."""
    whole = _plain(state)
    parts = whole if isinstance(whole, Mapping) else {"state": whole}
    digests: dict[str, str | None] = {}
    for name, value in parts.items():
        plain = _plain(value)
        if isinstance(plain, Mapping) and 0 < len(plain) <= _MOST_NAMES:
            digests.update({f"{name}.{inner}": digest(plain[inner]) for inner in plain})
        else:
            digests[str(name)] = _of_file(plain, str(name)) if isinstance(plain, Path) else digest(plain)
    return digests


def digest(value: Any) -> str | None:
    """The first 16 hexadecimal digits of the value's SHA-256; None where the value gives nothing away."""
    hashed = hashlib.sha256()
    try:
        _walk(value, hashed, frozenset())
    # What an object of the user's says when it is asked for its contents: a drill then cannot compare it.
    except (
        AttributeError,
        BufferError,
        NotImplementedError,
        RecursionError,
        TypeError,
        ValueError,
        RuntimeError,
    ):
        return None
    return hashed.hexdigest()[:_DIGEST_CHARACTERS]


def _of_file(path: Path, name: str) -> str | None:
    hashed = hashlib.sha256()
    try:
        for chunk in file_chunks(path, name):
            hashed.update(chunk)
    except StateError:
        return None
    return hashed.hexdigest()[:_DIGEST_CHARACTERS]


def _plain(value: Any) -> Any:
    return value.state_dict() if can(value, "state_dict") else value


def _walk(value: Any, hashed: Any, above: frozenset[int]) -> None:
    if id(value) in above:
        hashed.update(b"cycle;")
    elif value is None or isinstance(value, str):
        _mark(
            hashed,
            b"text" if isinstance(value, str) else b"none",
            (value or "").encode("utf-8", "surrogatepass"),
        )
    elif isinstance(value, (bool, int, float)):
        _mark(hashed, b"number", _number_bytes(value))
    elif isinstance(value, (bytes, bytearray)):
        _mark(hashed, b"bytes", value)
    elif isinstance(value, Mapping):
        _walk_sorted(
            [(_digest_of(key, above), each) for key, each in value.items()], hashed, above | {id(value)}
        )
    elif isinstance(value, (list, tuple)):
        _mark(hashed, b"list", str(len(value)).encode())
        for each in value:
            _walk(each, hashed, above | {id(value)})
    elif isinstance(value, AbstractSet):
        # The order of a set of texts is another one in every process.
        _mark(hashed, b"set", b"".join(sorted(_digest_of(each, above) for each in value)))
    elif isinstance(value, Path):
        _mark(hashed, b"text", str(value).encode("utf-8", "surrogateescape"))
    elif not _walk_array(value, hashed, above):
        _walk_object(value, hashed, above | {id(value)})


def _walk_sorted(items: list[tuple[bytes, Any]], hashed: Any, above: frozenset[int]) -> None:
    _mark(hashed, b"mapping", str(len(items)).encode())
    for key, each in sorted(items, key=lambda item: item[0]):
        hashed.update(key)
        _walk(each, hashed, above)


def _digest_of(value: Any, above: frozenset[int]) -> bytes:
    hashed = hashlib.sha256()
    _walk(value, hashed, above)
    return hashed.digest()


def _walk_array(value: Any, hashed: Any, above: frozenset[int]) -> bool:
    """Arrays, NumPy's scalars and tensors, known by what they can do; False for what is none."""
    if can(value, "detach") and can(value, "cpu"):
        value = _array_of_tensor(value)
    if can(value, "tobytes") and hasattr(value, "dtype") and hasattr(value, "shape"):
        if tuple(value.shape) == () and can(value, "item"):
            item = value.item()
            # Some kinds, such as long doubles, are their own item.
            if type(item) is not type(value):
                _walk(item, hashed, above)
                return True
        if "O" in str(getattr(value.dtype, "char", "")):
            _walk(value.tolist(), hashed, above)  # its bytes are addresses
            return True
        _mark(hashed, f"array {value.dtype} {tuple(value.shape)}".encode(), value.tobytes())
        return True
    try:
        view = memoryview(value)
    except TypeError:
        return False
    _mark(hashed, b"bytes" if view.format == "B" else f"buffer {view.format}".encode(), view.tobytes())
    return True


def _array_of_tensor(tensor: Any) -> Any:
    plain = tensor.detach().cpu()
    try:
        return plain.numpy()
    except TypeError:
        return plain.float().numpy()  # bfloat16, which NumPy has not; every one of its numbers is a float32


def _walk_object(value: Any, hashed: Any, above: frozenset[int]) -> None:
    """Whatever pickle would take it apart into, without pickle's notes on what is shared."""
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        _mark(hashed, b"name", f"{value.__module__}.{value.__qualname__}".encode())
        return
    reducer = copyreg.dispatch_table.get(type(value))
    reduced = reducer(value) if reducer else value.__reduce_ex__(4)
    _mark(hashed, b"object", f"{type(value).__module__}.{type(value).__qualname__}".encode())
    if isinstance(reduced, str):
        _mark(hashed, b"name", reduced.encode())
        return
    _, arguments, state, elements, items = (*reduced, None, None, None, None)[:5]
    for each in (arguments, state, list(elements or ()), list(items or ())):
        _walk(each, hashed, above)


def _number_bytes(value: Any) -> bytes:
    """One form for 1, 1.0 and True: which of them it is may change on the way through a file."""
    if isinstance(value, float) or abs(value) <= _LARGEST_EXACT_FLOAT:
        return struct.pack("<d", value)
    return str(value).encode()


def _mark(hashed: Any, kind: bytes, content: Any) -> None:
    # The length keeps the end of one value from being taken for the beginning of the next.
    hashed.update(b"%s:%d:" % (kind, len(content)))
    hashed.update(content)


JOURNAL_VARIABLE = "NIGHTSPOT_DRILL_JOURNAL"


class Event(Enum):
    """What is written down."""

    STARTED = "started"
    RESTORING = "restoring"  # written just before
    RESTORED = "restored"
    STEP = "step"
    SAVING = "saving"  # written just before
    SAVED = "saved"


class Journal:
    """Where a Checkpointer says what it does; this one has nobody who reads along."""

    on = False

    def tell(self, event: Event, **facts: Any) -> None:
        """Do nothing."""

    def step(self, step: object, state: Any, metrics: object) -> None:
        """Do nothing."""

    def watched(self, state: Any) -> Any:
        """The state itself."""
        return state


class JournalFile(Journal):
    """Appends each event to a file in one write, so that a kill leaves no half line between whole ones.

    Raises SettingError where the file cannot be opened.
    """

    on = True

    def __init__(self, path: str, rank: int, now: Callable[[], datetime]) -> None:
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SettingError(f"{JOURNAL_VARIABLE}={path!r}: must be a file to write ({error})") from error
        self._rank = rank
        self._now = now
        self._restored: _Watched | None = None
        self._told: tuple[int, int] | None = None

    def tell(self, event: Event, **facts: Any) -> None:
        """Write the event with the time (epoch seconds) and this process's rank."""
        line = {"event": event.value, "at": self._now().timestamp(), "rank": self._rank, **facts}
        os.write(self._file, json.dumps(line, allow_nan=False, default=str).encode() + b"\n")

    def step(self, step: object, state: Any, metrics: object) -> None:
        """Write the step with its metrics and the digest of each part of the state.

        One line for `due` and the `save` that follows it. What cannot be a step or a metric is left to the
        checks that follow in the Checkpointer. With the first step after a restore goes which parts of the
        restored state the script has never taken out.
        """
        try:
            number = operator.index(step)  # type: ignore[arg-type]
        except TypeError:
            return
        again = self._told is not None and self._told[0] == number
        if again and (state is None or self._told == (number, id(state))):
            return
        self._told = number, id(state)
        facts: dict[str, Any] = {"step": number, "metrics": _numbers(metrics)}
        if state is not None:
            facts["parts"] = part_digests(state)
        if self._restored is not None:
            facts["unread"] = self._restored.unread()
            self._restored = None
        self.tell(Event.STEP, **facts)

    def watched(self, state: Any) -> Any:
        """The same mapping, if it is a plain dict, and noting which names are read."""
        self._told = None
        if type(state) is not dict:
            return state
        self._restored = _Watched(state)
        return self._restored


def journal_from(environ: Mapping[str, str], rank: int, now: Callable[[], datetime]) -> Journal:
    """The journal that the environment asks for; SettingError where it cannot be written."""
    path = environ.get(JOURNAL_VARIABLE)
    return JournalFile(path, rank, now) if path else Journal()


class _Watched(dict):  # type: ignore[type-arg] # dict[...] cannot be a base class's name in every Python 3.9 tool
    """A dict that notes which of its names were read; going through all of it reads all."""

    def __init__(self, content: Mapping[Any, Any]) -> None:
        super().__init__(content)
        self._names = tuple(content)
        self._read: set[Any] = set()

    def unread(self) -> list[str]:
        """The names that nobody has asked for."""
        return [name for name in self._names if name not in self._read]

    def __getitem__(self, name: Any) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: Any, default: Any = None) -> Any:
        self._read.add(name)
        return super().get(name, default)

    def pop(self, name: Any, *default: Any) -> Any:
        self._read.add(name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[Any]:
        # dict(state) and {**state} come this way, and then ask for every name.
        return super().__iter__()

    def items(self) -> Any:
        self._read.update(self._names)
        return super().items()

    def values(self) -> Any:
        self._read.update(self._names)
        return super().values()

    def copy(self) -> Any:
        self._read.update(self._names)
        return super().copy()

    def __or__(self, other: Any) -> Any:
        self._read.update(self._names)
        return dict(self) | other

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copy of it, deep or pickled, is a plain dict.
        return dict, (dict(self.items()),)


def _numbers(metrics: object) -> dict[str, float | None]:
    if not isinstance(metrics, Mapping):
        return {}
    return {str(name): _number(value) for name, value in metrics.items() if isinstance(value, Real)}


def _number(value: Any) -> float | None:
    if isinstance(value, Integral):
        return int(value)
    return float(value) if math.isfinite(value) else None
