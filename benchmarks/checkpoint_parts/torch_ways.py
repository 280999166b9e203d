"""How PyTorch's own savers are used beside the library: torch.save, and distributed async_save."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from checkpoint_parts.states import Make, copied
from checkpoint_parts.ways import Kit, Way, keep_newest
from nightspot.checkpoint.pytorch import torch_checkpointer

DCP, DCP_KEPT = "DCP async_save", "DCP async_save, stager kept"


def torch_maker(device: str, seed: int = 7) -> Make:
    """Random float32 tensors on the device."""
    generator = torch.Generator(device).manual_seed(seed)
    return lambda shape: torch.rand(shape, generator=generator, device=device)


def torch_kit(device: str) -> Kit:
    """Tensors on the device, torch.save, and the library's adapter."""
    on_gpu = device != "cpu"
    return Kit(
        name="torch.save",
        copy_fresh=lambda tensor: tensor.to("cpu", copy=True),
        room=lambda tensor: torch.empty_like(tensor, device="cpu", pin_memory=on_gpu),
        copy_into=lambda target, source: target.copy_(source, non_blocking=on_gpu),
        dump=torch.save,
        load=lambda stream: torch.load(stream, map_location="cpu", weights_only=True),
        checkpointer=lambda directory: torch_checkpointer(directory, environ={}),
        synchronise=torch.cuda.synchronize if on_gpu else lambda: None,
    )


def dcp_ways(state: Any, directory: Path, device: str) -> list[Way]:
    """async_save as it is, and with a stager that keeps its memory; one process, no process group."""
    on_gpu = device != "cpu"
    # From its own thread too, where no catch_warnings would reach.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
    kept = DefaultStager(
        StagingOptions(
            use_pinned_memory=on_gpu,
            use_shared_memory=False,
            use_async_staging=False,
            use_non_blocking_copy=on_gpu,
        )
    )
    return [
        _dcp(DCP, state, directory / "dcp", None),
        _dcp(DCP_KEPT, state, directory / "dcp_kept", kept),
    ]


def _dcp(name: str, state: Any, folder: Path, stager: DefaultStager | None) -> Way:
    folder.mkdir()
    flight: list[Future[Any]] = []
    newest = [folder / "none"]

    def save(step: int) -> None:
        newest[0] = folder / str(step)
        answer = dcp.async_save(state, checkpoint_id=newest[0], async_stager=stager, no_dist=True)
        flight[:] = [_upload(answer)]

    def finish() -> None:
        for each in flight:
            each.result()
        keep_newest(folder, newest[0])

    def restore() -> object:
        room = copied(state, lambda tensor: torch.empty_like(tensor, device="cpu"))
        dcp.load(room, checkpoint_id=newest[0], no_dist=True)
        return room

    close: Callable[[], object] = stager.close if stager is not None else lambda: None
    return Way(name, save, finish=finish, stored=lambda: [newest[0]], restore=restore, close=close)


def _upload(answer: Any) -> Future[Any]:
    # A stager that works in the background gives two futures, the other ones one.
    return answer if isinstance(answer, Future) else answer.upload_completion
