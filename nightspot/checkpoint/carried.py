"""What callbacks remember from step to step (patience, best value), for a checkpoint and back from it.

Shared by the adapters; imports none of the frameworks.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .core.errors import StateError
from .core.state import can

CALLBACKS = "callbacks"  # the part of a state that holds memories

Own = tuple[Callable[[], Any], Callable[[Any], object]]

ADVICE = "else give the callback state_dict() and load_state_dict() with what it must remember"


def name_of(callback: object) -> str:
    """The callback's class, by which a checkpoint knows it again."""
    return f"{type(callback).__module__}.{type(callback).__qualname__}"


class Carried:
    """One callback, whose memory is what has changed since this was made; the rest is its settings.

    By state_dict() and load_state_dict() where it has both, else by its attributes; a function by the variables
    that it has from around it (nonlocal).
    left_out: classes of what others restore (model, trainer): an attribute that is one stays as it is.
    own: False: by its attributes in any case; a pair of functions: what to call for the two methods.
    """

    def __init__(self, callback: Any, left_out: tuple[type, ...] = (), own: Own | bool = True) -> None:
        self.callback = callback
        self._left_out = left_out
        self._holder = getattr(callback, "__self__", callback)  # of a bound method, its object
        names = getattr(getattr(self._holder, "__code__", None), "co_freevars", ())
        self._cells = dict(zip(names, getattr(self._holder, "__closure__", None) or ()))
        self._own: Own | None = own if isinstance(own, tuple) else None
        if own is True and can(callback, "state_dict") and can(callback, "load_state_dict"):
            self._own = callback.state_dict, callback.load_state_dict
        self._made = {} if self._own else self._attributes()
        # Copies, because a list that grows is the same list; functions are what they are.
        copies = {name: _pickled(value) for name, value in self._made.items() if not callable(value)}
        self._copies = {name: copy for name, copy in copies.items() if copy is not None}

    def memory(self) -> dict[str, Any]:
        """For a checkpoint; {} where nothing has changed. StateError for a change that cannot be pickled."""
        if self._own:
            return {"own": self._own[0]()}
        changed = {name: each for name, each in self._attributes().items() if self._changed(name, each)}
        return {"attributes": changed} if changed else {}

    def load(self, memory: Mapping[str, Any]) -> None:
        """Become what `memory` described, whatever the beginning of this process has changed."""
        if "own" in memory:
            if not self._own:
                raise StateError(
                    f"{name_of(self.callback)}: must have load_state_dict(), as it had when it was saved"
                )
            self._own[1](memory["own"])
            return
        as_made = {name: pickle.loads(copy) for name, copy in self._copies.items()}  # noqa: S301 - just pickled here
        for name, value in {**as_made, **memory.get("attributes", {})}.items():
            there = self._attributes().get(name, self)
            if there is self and name in getattr(self._holder, "__dict__", {}):
                continue  # left out by now: it was None when this was made
            # The script may hold the same list or dict, to read it at the end.
            if type(there) is type(value) is list:
                there[:] = value
            elif type(there) is type(value) is dict:
                there.clear()
                there.update(value)
            elif name in self._cells:
                self._cells[name].cell_contents = value
            else:
                setattr(self._holder, name, value)

    def _attributes(self) -> dict[str, Any]:
        attributes = dict(getattr(self._holder, "__dict__", {}))
        for name, cell in self._cells.items():
            with suppress(ValueError):  # a variable that has no value yet
                attributes[name] = cell.cell_contents
        return {name: each for name, each in attributes.items() if not isinstance(each, self._left_out)}

    def _changed(self, name: str, value: Any) -> bool:
        if name in self._copies:
            return _pickled(value) != self._copies[name]
        if name in self._made and value is self._made[name]:
            return False
        if _pickled(value) is None:
            raise StateError(
                f"{name_of(self.callback)}.{name} is {type(value).__name__}: must be something that can be "
                f"pickled; {ADVICE}"
            )
        return True


def memories(carried: Sequence[Carried]) -> list[tuple[str, dict[str, Any]]]:
    """The memory of each callback, under its name."""
    return [(name_of(each.callback), each.memory()) for each in carried]


def part_of_state(carried: Sequence[Carried]) -> dict[str, Any]:
    """The memories of those that have any as a part of a state, {} where none has."""
    held = [(name, memory) for name, memory in memories(carried) if memory]
    return {CALLBACKS: held} if held else {}


def load_memories(carried: Sequence[Carried], saved: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Give each callback back what was saved under its name, several of one name in their order.

    A callback that is new begins with nothing. Raises StateError where one with a memory is there no more.
    """
    waiting = [(name, memory) for name, memory in saved if memory]
    pairs: list[tuple[Carried, Mapping[str, Any]]] = []
    for name, memory in waiting:
        taken = {id(each) for each, _ in pairs}
        found = next(
            (each for each in carried if name_of(each.callback) == name and id(each) not in taken), None
        )
        if found is None:
            raise StateError(
                f"callbacks={[name_of(each.callback) for each in carried]}: the checkpoint holds what "
                f"{name} remembered; must have it too, or its patience or best value would begin again"
            )
        pairs.append((found, memory))
    for each, memory in pairs:
        each.load(memory)


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    # Pickle lets through whatever the value raises.
    except Exception:
        return None
