"""What every boosting library's adapter must remember besides the trees, and when it is saved.

Shared by the adapters for XGBoost and LightGBM; imports neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .carried import name_of
from .checkpointer import Checkpointer
from .core.errors import StateError
from .core.restoring import Restored
from .core.settings import at_least_one
from .core.state import can

MODEL, TRAINING = "model", "training"

# Neighbouring seeds of the user must not give neighbouring rounds the same numbers.
_ROUNDS_PER_SEED = 1_000_003


@dataclass(frozen=True)
class Resumed:
    """Where boosting goes on, as the arguments that the library's own `train` is called with.

    booster: what the checkpoint holds, to be continued; None at the beginning.
    rounds_done, rounds_left: both libraries count rounds on top of the booster that they continue, so
        `rounds_left` is what they are asked for; 0 where training has ended, by early stopping too.
    callbacks: those given to `resume`, with their memory, inside the one that saves.
    evals_result: the evaluations of all rounds so far, {data: {metric: [one per round]}}.
    restored: the checkpoint itself; its `state` has the parts that were saved along.
    """

    booster: Any | None
    rounds_done: int
    rounds_left: int
    callbacks: list[Any] = field(repr=False)
    evals_result: dict[str, dict[str, list[float]]] = field(repr=False)
    restored: Restored | None = field(repr=False)


@dataclass(frozen=True)
class Saved:
    """A checkpoint of an adapter, taken apart; `memory` is what the adapter itself wrote."""

    restored: Restored
    model: bytes
    memory: Mapping[str, Any]

    @property
    def stopped_early(self) -> bool:
        """Whether a callback ended the training before the last round."""
        return bool(self.memory["stopped_early"])


class Rounds:
    """Counts the rounds of one training and saves after each that is due.

    step is how many rounds are done, over all attempts. Raises SettingError if num_boost_round is no
    count, StateError if a part saved along has an adapter's own name.
    """

    def __init__(
        self, library: str, checkpointer: Checkpointer, num_boost_round: int, also: Mapping[str, Any] | None
    ) -> None:
        self.total = at_least_one("num_boost_round", num_boost_round)
        self.done = 0
        self._library = library
        self._checkpointer = checkpointer
        self._also = dict(also or {})
        taken = sorted({MODEL, TRAINING} & set(self._also))
        if taken:
            raise StateError(f"also has the names {taken}: these are the adapter's own, must be others")

    def restore(self) -> Saved | None:
        """The newest checkpoint, with `also` loaded from it; errors as `Checkpointer.restore`.

        Raises StateError where it is not of this adapter.
        """
        restored = self._checkpointer.restore()
        if restored is None:
            return None
        state = restored.state if isinstance(restored.state, Mapping) else {}
        memory = state.get(TRAINING)
        if not isinstance(memory, Mapping) or memory.get("library") != self._library or MODEL not in state:
            raise StateError(
                f"{restored.path.name}: must have been saved by the adapter for {self._library}; "
                f"it has {sorted(state) or type(restored.state).__name__}"
            )
        if any(can(each, "load_state_dict") for each in self._also.values()):
            restored.load_into(self._also)
        self.done = restored.step
        return Saved(restored, state[MODEL], memory)

    def finish(self, build: Any, metrics: Mapping[str, float]) -> None:
        """The last round is done; save it even where no checkpoint is due. `build` as below."""
        model, memory = build()
        # Rounds that are left over now were given up by a callback, and are not made up for later.
        state = self._state(model, {**memory, "stopped_early": self.done < self.total})
        # save_if_due first: with `gather` it is how the other ranks hear that a stop is wanted.
        if self._checkpointer.save_if_due(self.done, state, metrics=metrics) is None:
            self._checkpointer.save(self.done, state, metrics=metrics)

    def save_if_due(self, build: Any, metrics: Mapping[str, float]) -> None:
        """Save after this round where one is due; `build` gives the model's bytes and the memory."""

        def state() -> dict[str, Any]:
            model, memory = build()
            return self._state(model, {**memory, "stopped_early": False})

        self._checkpointer.save_if_due(self.done, state, metrics=metrics)

    def _state(self, model: bytes, memory: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._also, MODEL: model, TRAINING: {"library": self._library, **memory}}


def seed_of(seed: int, done: int) -> int:
    """The seed of the round after `done` rounds: it depends on nothing that a restart would lose."""
    return (seed * _ROUNDS_PER_SEED + done) % 2**31


def paired(callbacks: Sequence[Any], saved: Sequence[tuple[str, Any]]) -> list[tuple[Any, Any]]:
    """Each callback with what was saved of it, under its name.

    Raises StateError unless the callbacks are of the kinds that the checkpoint was saved with.
    """
    names, expected = [name_of(each) for each in callbacks], [name for name, _ in saved]
    if names != expected:
        raise StateError(
            f"callbacks={names}: must be of the kinds that the checkpoint was saved with, {expected}"
        )
    return [(each, saved[place][1]) for place, each in enumerate(callbacks)]
