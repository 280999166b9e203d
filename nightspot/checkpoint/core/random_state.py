"""What belongs to a training besides its weights: where it is, its best result, its random generators."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .errors import StateError
from .state import can

_LOG = logging.getLogger("nightspot.checkpoint")


def capture_random_state() -> dict[str, Any]:
    """The states of `random`, and of NumPy's and torch's global generators where they are imported.

    A dict of numbers, lists and texts, which every serialiser takes, torch's weights-only one
    included. Generators of one's own (numpy.random.default_rng, torch.Generator) are not in it.
    """
    return {name: capture() for name, (_, capture, _) in _GENERATORS.items() if _is_there(name)}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Become what `capture_random_state` described.

    Raises StateError, with no generator touched, where a module whose state was captured is not
    imported now: its numbers would start again from the beginning. Logged are a generator that is
    there now and was not captured, and CUDA devices that there are more or fewer of: training goes on
    on another machine, and only the numbers drawn there are others.
    """
    # A script may well restore before anything of it is on a CUDA device.
    needed = {"torch.cuda": "torch"}
    absent = [name for name in state if name not in _GENERATORS or not _is_there(needed.get(name, name))]
    if absent:
        raise StateError(f"random state of {absent}: must be imported before it is restored")
    for name in _GENERATORS:
        if name not in state and _is_there(name):
            _LOG.warning("the checkpoint has no random state of %s", name)
    for name, value in state.items():
        _GENERATORS[name][2](value)


def _is_there(name: str) -> bool:
    return _GENERATORS[name][0]()


def _capture_python() -> list[Any]:
    version, numbers, gauss = random.getstate()
    return [version, list(numbers), gauss]


def _restore_python(value: Any) -> None:
    version, numbers, gauss = value
    random.setstate((version, tuple(numbers), gauss))


def _capture_numpy() -> list[Any]:
    kind, key, position, has_gauss, gauss = sys.modules["numpy"].random.get_state(legacy=True)
    return [str(kind), key.tolist(), int(position), int(has_gauss), float(gauss)]


def _on_host(torch: Any, value: list[int]) -> Any:
    # Wherever torch.set_default_device puts new tensors, generators take theirs from the host.
    return torch.tensor(value, dtype=torch.uint8, device="cpu")


def _has_cuda() -> bool:
    # Asking an uninitialised CUDA for its state would take a context's memory on every device.
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def _restore_cuda(value: Any) -> None:
    torch = sys.modules["torch"]
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if devices != len(value):
        _LOG.warning(
            "random state of %d CUDA devices: this machine has %d, and draws other numbers there",
            len(value),
            devices,
        )
    # Where CUDA is not initialised yet, torch keeps the state and sets it then.
    for device, each in enumerate(value[:devices]):
        torch.cuda.set_rng_state(_on_host(torch, each), device)


# What there is, how to read it, and how to set it.
_GENERATORS: Mapping[str, tuple[Callable[[], bool], Callable[[], Any], Callable[[Any], None]]] = {
    "random": (lambda: True, _capture_python, _restore_python),
    "numpy": (
        lambda: "numpy" in sys.modules,
        _capture_numpy,
        lambda value: sys.modules["numpy"].random.set_state(tuple(value)),
    ),
    "torch": (
        lambda: "torch" in sys.modules,
        lambda: sys.modules["torch"].get_rng_state().tolist(),
        lambda value: sys.modules["torch"].set_rng_state(_on_host(sys.modules["torch"], value)),
    ),
    "torch.cuda": (
        _has_cuda,
        lambda: [each.tolist() for each in sys.modules["torch"].cuda.get_rng_state_all()],
        _restore_cuda,
    ),
}


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
