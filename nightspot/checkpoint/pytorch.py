"""How a PyTorch training is saved: tensors as torch writes them, and read back as data alone.

    from nightspot.checkpoint.pytorch import ResumableLoader, torch_checkpointer

    checkpointer = torch_checkpointer(total_steps=total_steps, asynchronous=True, handle_sigterm=True)

Checked with PyTorch 2.13; it uses nothing that came after 2.4.
"""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from .checkpointer import Checkpointer
from .core import settings
from .core.errors import SettingError, StateError, UnreadableStateError
from .core.ranks import Gather

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
        raise StateError(f"{where} is {kind.__module__}.{kind.__qualname__}: values {_RULE}")

    def _mapping(self, value: Any, kind: type, where: str) -> Any:
        made = self._made[id(value)] = kind()
        for key, each in value.items():
            made[self.of(key, f"the key {key!r} of {where}")] = self.of(each, f"{where}[{key!r}]")
        if kind is OrderedDict:
            # A module's state_dict() keeps the versions of its layers in an attribute.
            vars(made).update(copy.deepcopy(vars(value)))
        return made


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


_OURS = ("sampler", "batch_sampler", "generator")


class ResumableLoader(DataLoader):  # type: ignore[misc] # torch is Any to the type checker
    """A DataLoader over one epoch, or over what is left of it, that is saved and loaded like a model.

        loader = ResumableLoader(dataset, batch_size=32, seed=7)
        state = {"model": model, "optimiser": optimiser, "training": TrainingState(loader=loader)}
        ...
        for epoch in range(loader.epoch, epochs):
            for batch in loader:
                ...

    dataset: with a length. batch_size: per rank. shuffle, seed: a new order each epoch, which is the
        same on every rank. rank, world_size: each rank gets its share; as DistributedSampler does, the
        last ones are filled up with the epoch's first samples, or dropped with drop_last.
    options: those of DataLoader, less sampler, batch_sampler and generator.

    The position counts the batches that the loop was given, whatever the workers have prefetched, and
    belongs to all ranks: the rest of an epoch can be shared out among another number of them. A loop
    that was saved after an epoch's last batch is given no batch at first: only what it does at the end of
    an epoch is left to do. Nothing is drawn from torch's
    own generator. What workers draw themselves (random augmentation) begins anew at a resume.

    Raises SettingError.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        **options: Any,
    ) -> None:
        given = [name for name in _OURS if options.get(name) is not None]
        if given:
            raise SettingError(f"{given}: must not be given, a ResumableLoader has its own")
        settings.at_least_one("batch_size", batch_size)
        settings.at_least_one("world_size", world_size)
        if not 0 <= rank < world_size:
            raise SettingError(f"rank={rank!r}, world_size={world_size}: rank must be from 0 on and less")
        if not hasattr(dataset, "__len__") or len(dataset) == 0:
            raise SettingError(f"dataset is {type(dataset).__name__}: must have a length, from 1 on")
        self._loaded = False
        self._order = _Order(len(dataset), shuffle, seed, rank, world_size, drop_last)
        super().__init__(
            dataset,
            batch_size,
            sampler=self._order,
            drop_last=drop_last,
            generator=torch.Generator(),
            **options,
        )

    @property
    def epoch(self) -> int:
        """The epoch that is going on, or comes next: how many are done."""
        return self._order.epoch

    @property
    def at_the_end(self) -> bool:
        """Whether all of this epoch's batches have been given out, and it only has to be left."""
        return self._order.left // self.batch_size == 0 if self.drop_last else self._order.left == 0

    def next_epoch(self) -> None:
        """Leave what is left of this epoch."""
        self._order.epoch, self._order.position = self._order.epoch + 1, 0

    def __iter__(self) -> Iterator[Any]:
        order = self._order
        if self.at_the_end and not self._loaded:
            # The loop has counted the batches, and never asked for one more than there are.
            self.next_epoch()
        self._loaded = False
        # What torch draws here it would else draw from the training's generator, once more at a resume.
        self.generator.manual_seed(_number("workers", order.seed, order.epoch, order.position))
        for batch in super().__iter__():
            order.take(self.batch_size)
            yield batch
        self.next_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is, for a checkpoint."""
        order = self._order
        return {
            "epoch": order.epoch,
            "position": order.position,
            "seed": order.seed,
            "size": order.size,
            "shuffle": order.shuffle,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; StateError if the dataset has another size, or only one of the two is shuffled."""
        order = self._order
        for name, ours in (("size", order.size), ("shuffle", order.shuffle)):
            if state[name] != ours:
                raise StateError(f"{name}={ours!r} of the loader: saved with {state[name]!r}")
        order.epoch, order.position, order.seed = state["epoch"], state["position"], state["seed"]
        self._loaded = True


class _Order(Sampler):  # type: ignore[misc] # torch is Any to the type checker
    """One rank's samples of an epoch from `position` on, which counts those of all ranks."""

    def __init__(
        self, size: int, shuffle: bool, seed: int, rank: int, world_size: int, drop_last: bool
    ) -> None:
        self.size, self.shuffle, self.seed = size, shuffle, seed
        self._rank, self._world_size, self._drop_last = rank, world_size, drop_last
        self.epoch = self.position = 0

    @property
    def left(self) -> int:
        """How many samples this rank has yet to give."""
        return self._share(self.size - self.position)

    def take(self, samples: int) -> None:
        """Each rank has been given this many more, or what was left."""
        self.position = min(self.size, self.position + samples * self._world_size)

    def __len__(self) -> int:
        # Of the whole epoch: progress bars and trainers count in it, also after a resume.
        return self._share(self.size)

    def __iter__(self) -> Iterator[int]:
        order = self._epoch()
        rest = order[self.position :]
        # Every rank must take as many steps as the others, or they wait for it for ever.
        wanted = self.left * self._world_size
        rest = (rest + order * self._world_size)[:wanted]
        yield from rest[self._rank :: self._world_size]

    def _share(self, samples: int) -> int:
        return samples // self._world_size if self._drop_last else -(-samples // self._world_size)

    def _epoch(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.size))
        generator = torch.Generator().manual_seed(_number("order", self.seed, self.epoch))
        order: list[int] = torch.randperm(self.size, generator=generator).tolist()
        return order


def _number(*what: object) -> int:
    """A seed for it: unlike seed + epoch, not the one of another seed's next epoch."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:7], "big")


__all__ = ["ResumableLoader", "torch_checkpointer", "torch_gather"]

_CULPRIT = re.compile(r"GLOBAL (\S+)")


def torch_checkpointer(directory: str | os.PathLike[str] | None = None, **settings: Any) -> Checkpointer:
    """A Checkpointer whose state may hold tensors on any device; what is restored is in host memory.

    directory, settings: those of Checkpointer. Where every rank has the same state, as under
    DistributedDataParallel, pass replicated=True, and gather=torch_gather() for one decision of all.

    The state is what weights-only loading takes back: state_dict()s, tensors and plain values. A save
    raises StateError for anything else and names it. A restore raises UnreadableStateError where
    every checkpoint that is whole would have to run code to be read.
    """
    return Checkpointer(
        directory,
        **{"snapshot": HostCopies(), "serialise": _saved, "deserialise": _loaded, **settings},
    )


def torch_gather() -> Gather:
    """What to pass as `gather`: over torch.distributed, on the CPU, so that no step waits for the GPU.

    The first call makes a gloo group, so every rank must make it. Calling raises SettingError while
    torch.distributed is not initialised.
    """
    groups: list[Any] = []

    def gather(number: int) -> Sequence[int]:
        distributed = torch.distributed
        if not (distributed.is_available() and distributed.is_initialized()):
            raise SettingError(
                "gather=torch_gather(): torch.distributed must be initialised before it is used"
            )
        if not groups:
            groups.append(distributed.new_group(backend="gloo"))
        everyones = [
            torch.empty(1, dtype=torch.int64, device="cpu") for _ in range(distributed.get_world_size())
        ]
        mine = torch.tensor([number], dtype=torch.int64, device="cpu")
        distributed.all_gather(everyones, mine, group=groups[0])
        return [int(each) for each in everyones]

    return gather


def _saved(value: Any, stream: Any) -> None:
    torch.save(plain(value), stream)


def _loaded(stream: Any) -> Any:
    try:
        # To the host: the machine that goes on may have other devices, or none.
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The rest of torch's message is advice to run the code all the same.
        found = _CULPRIT.search(str(error))
        why = f"names {found[1]}" if found else "is not one of torch.save's"
        raise UnreadableStateError(f"only data is read, no code is run, and the file {why}") from error
