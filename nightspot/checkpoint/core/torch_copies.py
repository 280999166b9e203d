"""How a state with tensors is copied to host memory, and which values a weights-only load takes back."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from .errors import StateError

_AS_THEY_ARE = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    torch.Size,
    torch.dtype,
    torch.device,
)
_RULE = (
    "must be tensors, numbers, texts, bytes, None, or dicts, lists, tuples and sets of them: a restore reads "
    "data and runs no code (for a NumPy array, torch.as_tensor(array) or array.tolist(); for a class of your "
    "own, its state_dict() or torch.serialization.add_safe_globals)"
)
_Room = tuple[int, bool]  # bytes, and whether they are pinned


def plain(state: Any) -> Any:
    """The state as a weights-only load takes it back, its tensors not copied; StateError if it would not.

    NumPy's scalars become Python's numbers; what is shared stays shared.
    https://docs.pytorch.org/docs/stable/notes/serialization.html#weights-only
    """
    return _Walk(lambda tensor: tensor).of(state, "state")


def in_the_way(path: Path) -> list[str]:
    """The names in a file of torch.save's that a weights-only load refuses, as things are in this process."""
    names: list[str] = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return names


class HostCopies:
    """Copies a state into host memory: into that of the copy before, as far as it fits.

    Fresh pages are what makes a copy of a gigabyte slow. So what is copied lasts until the next call,
    which a Checkpointer makes only when the save in flight is done; a HostCopies belongs to one
    Checkpointer, and keeps host memory for one state.

    Copies are made storage by storage, as torch.save writes them: views and tied weights stay what they
    are. What is on a CUDA device goes into pinned memory, with one synchronisation per device at the
    end. Calling raises StateError for what a restore could not read.
    """

    def __init__(self) -> None:
        self._rooms: Mapping[_Room, list[Any]] = {}

    def __call__(self, state: Any) -> Any:
        """The copy, complete on return."""
        storages = _Storages({room: list(memory) for room, memory in self._rooms.items()})
        held = _Walk(storages.copy_of).of(state, "state")
        storages.finish()
        self._rooms = storages.taken
        return held


class _Walk:
    """Rebuilds a nest of containers with what `each_tensor` makes of the tensors in it."""

    def __init__(self, each_tensor: Callable[[Any], Any]) -> None:
        self._each_tensor = each_tensor
        self._made: dict[int, Any] = {}

    def of(self, value: Any, where: str) -> Any:
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value
        if id(value) not in self._made:
            # Assigned by the parts themselves too, before they go deeper: a list can contain itself.
            self._made[id(value)] = self._rebuilt(value, kind, where)
        return self._made[id(value)]

    def _rebuilt(self, value: Any, kind: type, where: str) -> Any:
        if isinstance(value, torch.Tensor):
            return self._each_tensor(value)
        if kind in (dict, OrderedDict, Counter):
            return self._mapping(value, kind, where)
        if kind is list:
            made = self._made[id(value)] = []
            made.extend(self.of(each, f"{where}[{place}]") for place, each in enumerate(value))
            return made
        if kind is tuple:
            return tuple(self.of(each, f"{where}[{place}]") for place, each in enumerate(value))
        if kind is set:
            return {self.of(each, f"an element of {where}") for each in value}
        if kind.__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", (1,)):
            return self.of(value.item(), where)
        if kind in getattr(torch.serialization, "get_safe_globals", list)():
            return copy.deepcopy(value)
        return self._refuse(value, where)

    def _mapping(self, value: Any, kind: type, where: str) -> Any:
        made = self._made[id(value)] = kind()
        for key, each in value.items():
            made[self.of(key, f"the key {key!r} of {where}")] = self.of(each, f"{where}[{key!r}]")
        if kind is OrderedDict:
            # A module's state_dict() keeps the versions of its layers in an attribute.
            vars(made).update(copy.deepcopy(vars(value)))
        return made

    def _refuse(self, value: Any, where: str) -> Any:
        raise StateError(f"{where} is {type(value).__module__}.{type(value).__qualname__}: values {_RULE}")


class _Storages:
    """The storages of one state: each is copied once, whatever number of tensors look at it."""

    def __init__(self, spare: Mapping[_Room, list[Any]]) -> None:
        self._spare = spare
        self._copied: dict[tuple[Any, int, int], tuple[Any, Any]] = {}
        self._devices: set[Any] = set()
        self.taken: dict[_Room, list[Any]] = {}

    def copy_of(self, tensor: Any) -> Any:
        source = tensor.detach()
        by_storage = (
            type(tensor) in (torch.Tensor, torch.nn.Parameter)
            and source.layout is torch.strided
            and not (source.is_quantized or source.is_nested or source.is_meta)
        )
        if not by_storage:
            made = source.to("cpu", copy=True)
        else:
            source = source.resolve_conj().resolve_neg()
            made = torch.empty(0, dtype=source.dtype, device="cpu").set_(
                self._copy(source), source.storage_offset(), source.size(), source.stride()
            )
        if isinstance(tensor, torch.nn.Parameter):
            return torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
        return made.requires_grad_(tensor.requires_grad)

    def finish(self) -> None:
        """Return when what was asked of the devices has been done."""
        for device in self._devices:
            torch.cuda.synchronize(device)

    def _copy(self, tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        key = (tensor.device, storage.data_ptr(), storage.nbytes())
        if key not in self._copied:
            source = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
            on_cuda = tensor.device.type == "cuda"
            target = self._room((storage.nbytes(), on_cuda))
            target.copy_(source, non_blocking=on_cuda)
            if on_cuda:
                self._devices.add(tensor.device)
            # With the tensor: what resolve_conj made would be freed, and its address given out again.
            self._copied[key] = tensor, target.untyped_storage()
        return self._copied[key][1]

    def _room(self, room: _Room) -> Any:
        spare = self._spare.get(room)
        size, pinned = room
        memory = (
            spare.pop() if spare else torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=pinned)
        )
        self.taken.setdefault(room, []).append(memory)
        return memory
