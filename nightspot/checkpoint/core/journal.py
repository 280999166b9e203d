"""Decides what a drill gets to know of a training: one JSON line per event, in the file that a variable names.

Where NIGHTSPOT_DRILL_JOURNAL is not set, nothing is written, digested or watched.
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from numbers import Integral, Real
from typing import Any, Protocol

from .digests import part_digests
from .errors import SettingError

JOURNAL_VARIABLE = "NIGHTSPOT_DRILL_JOURNAL"


class Event(Enum):
    """What is written down."""

    STARTED = "started"
    RESTORING = "restoring"  # written just before
    RESTORED = "restored"
    STEP = "step"
    SAVING = "saving"  # written just before
    SAVED = "saved"


class Journal(Protocol):
    """Where a Checkpointer says what it does."""

    @property
    def on(self) -> bool:
        """Whether anybody reads it."""

    def tell(self, event: Event, **facts: Any) -> None:
        """Write the event down."""

    def step(self, step: object, state: Any, metrics: object) -> None:
        """The script says that it has done `step`; its state, or None where none is at hand."""

    def watched(self, state: Any) -> Any:
        """The restored state, which from now on notes what the script takes out of it."""


class NoJournal:
    """Nobody reads along."""

    on = False

    def tell(self, event: Event, **facts: Any) -> None:
        """Do nothing."""

    def step(self, step: object, state: Any, metrics: object) -> None:
        """Do nothing."""

    def watched(self, state: Any) -> Any:
        """The state itself."""
        return state


class JournalFile:
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
    return JournalFile(path, rank, now) if path else NoJournal()


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
