"""Decides what belongs to a training besides its weights: where it is, its best result, its generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import StateError
from .random_state import capture_random_state, restore_random_state
from .state import can


class TrainingState:
    """Where training is, in an object that is saved and loaded like a model.

        training = TrainingState(scheduler=scheduler, scaler=scaler)
        checkpointer.save(step, {"model": model, "optimiser": optimiser, "training": training})

    epoch, step_in_epoch: where to go on; step_in_epoch is how many batches the data loader has
        given in this epoch, for the script to skip.
    best_metric: the best result so far, None before the first; the script sets it.
    carried: objects with state_dict() and load_state_dict() to be saved along, by name.

    The random generators of `random`, NumPy and torch come along by themselves.
    """

    def __init__(self, **carried: Any) -> None:
        for name, each in carried.items():
            if not can(each, "state_dict") or not can(each, "load_state_dict"):
                raise StateError(f"{name} is {type(each).__name__}: must have state_dict and load_state_dict")
        self.epoch = 0
        self.step_in_epoch = 0
        self.best_metric: float | None = None
        self._carried = carried

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "best_metric": self.best_metric,
            "carried": {name: each.state_dict() for name, each in self._carried.items()},
            "random": capture_random_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` described; StateError, and nothing loaded, if it has other names."""
        if set(state["carried"]) != set(self._carried):
            raise StateError(f"carried={sorted(self._carried)}: saved with {sorted(state['carried'])}")
        self.epoch = state["epoch"]
        self.step_in_epoch = state["step_in_epoch"]
        self.best_metric = state["best_metric"]
        for name, each in self._carried.items():
            each.load_state_dict(state["carried"][name])
        # Last, because loading may draw numbers.
        restore_random_state(state["random"])
