"""Decides how a PyTorch training is saved: tensors as torch writes them, and read back as data alone.

    from nightspot.checkpoint.pytorch import ResumableLoader, torch_checkpointer

    checkpointer = torch_checkpointer(total_steps=total_steps, asynchronous=True, handle_sigterm=True)

Checked with PyTorch 2.13; it uses nothing that came after 2.4.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Sequence
from typing import Any

import torch

from .checkpointer import Checkpointer
from .core.errors import SettingError, UnreadableStateError
from .core.ranks import Gather
from .core.torch_copies import HostCopies, plain
from .torch_loader import ResumableLoader

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
