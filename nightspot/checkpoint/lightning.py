"""How the Trainer of Lightning saves into our checkpoints and resumes from them.

    nightspot = NightspotCallback(handle_sigterm=True)
    trainer = Trainer(max_epochs=10, callbacks=[nightspot], enable_checkpointing=False)
    trainer.fit(module, loader, ckpt_path=nightspot.restore())
    nightspot.exit_if_asked()

What is saved is Lightning's own checkpoint, with the random generators, which it does not save itself.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import Checkpoint

from .attached import Attached, save_with
from .carried import Carried, part_of_state
from .core.errors import CheckpointError, StateError
from .core.random_state import capture_random_state, restore_random_state
from .core.settings import ASKED_TO_STOP_STATUS
from .pytorch import ResumableLoader, in_the_way, torch_gather

_NAME = "lightning.ckpt"
_KEY = "nightspot"
_RESTORED_BY_LIGHTNING = (
    LightningDataModule,
    torch.nn.Module,
    torch.optim.Optimizer,
    torch.utils.data.DataLoader,
    torch.utils.data.Dataset,
)


class NightspotCallback(Attached, Callback):  # type: ignore[misc] # Lightning is Any to the type checker
    """Saves after each optimiser's step (global_step) where a checkpoint is due.

    directory, settings: those of Checkpointer, less total_steps, rank, world_size and replicated,
        which the Trainer says. scratch: where checkpoints are written and unpacked on their way
        (`attached.Attached`).
    weights_only: fit's default, which reads data alone. The first save whose checkpoint it could not read
        raises StateError and names what is in the way; with False pass weights_only=False to fit too.

    What the Trainer's callbacks remember is restored: by Lightning where they have state_dict(), as its own
    EarlyStopping does, else by their changed attributes (`carried`).

    The metrics are the loss and what the module has logged. Only a loader with state_dict(), such as
    ResumableLoader, goes on in mid-epoch; Lightning begins another one's epoch again, and warns. When a
    stop is requested, training ends with its state saved; exit_if_asked() after fit() then leaves, before
    half a model is taken for the result.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        scratch: str | os.PathLike[str] | None = None,
        weights_only: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(directory, scratch, settings)
        self._weights_only = weights_only
        self._gathers = settings.get("gather") is not None
        self._step = 0
        self._metrics: Mapping[str, float] = {}
        self._at_epoch_end = False
        self._remembered: Mapping[str, Any] | None = None

    def restore(self) -> Path | None:
        """What to pass to fit as ckpt_path: a path, or None; raises as Checkpointer.restore."""
        folder = self.unpacked()
        return None if folder is None else folder / _NAME

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Add what Lightning forgets: random generators, and loaders where a module asks for their length early."""
        loaders = [each.state_dict() for each in _resumable(trainer.train_dataloader)]
        checkpoint[_KEY] = {"random": capture_random_state(), "loaders": loaders}

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Restore the generators, for what draws numbers when it is set up, as any other loader does."""
        self._remembered = checkpoint.get(_KEY)
        if self._remembered is not None:
            restore_random_state(self._remembered["random"])

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Continue from where the Trainer is; StateError where it is not where the checkpoint was."""
        self._step = trainer.global_step
        gather = {} if trainer.world_size == 1 or self._gathers else {"gather": torch_gather()}
        self.begin(
            self._step,
            how="trainer.fit(..., ckpt_path=...)",
            total_steps=_total_steps(trainer, pl_module),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            **gather,
        )
        if self._remembered is not None:
            self._load(trainer, self._remembered)
            self._remembered = None
        left_out = (*_RESTORED_BY_LIGHTNING, type(trainer))
        self.carry([Carried(each, left_out, own=False) for each in trainer.callbacks if _forgets(each)])
        # Lightning goes on to what is added now: when all others have begun and reset themselves.
        trainer.callbacks[:] = [each for each in trainer.callbacks if not isinstance(each, _Last)]
        trainer.callbacks.append(_Last(self))

    def after_batch(self, trainer: Any, outputs: Any) -> None:
        """Save where it is due. Gradients that are still being summed up are in no checkpoint."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not self.due(self._step):
            return
        self._metrics = _metrics(outputs, trainer.callback_metrics)
        # What callbacks do at the end of an epoch (count its patience) Lightning does not make up for at a resume.
        self._at_epoch_end = trainer.is_last_batch
        if not self._at_epoch_end:
            self._save(trainer)

    def after_epoch(self, trainer: Any) -> None:
        """Save what was due after the last batch of the epoch."""
        if self._at_epoch_end:
            self._at_epoch_end = False
            self._save(trainer)

    def _save(self, trainer: Any) -> None:
        if trainer.is_global_zero:
            write = partial(self._write, trainer)
            also = part_of_state(self._carried)
            save_with(
                self.checkpointer, self._step, write, also=also, metrics=self._metrics, scratch=self._scratch
            )
        else:
            # Lightning saves with all ranks together, into the first one's folder.
            with tempfile.TemporaryDirectory() as folder:
                trainer.save_checkpoint(Path(folder, _NAME))
            self.checkpointer.save(self._step, {}, metrics=self._metrics)
        if self.checkpointer.should_stop:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Return when the save in flight is durable."""
        trainer.callbacks[:] = [each for each in trainer.callbacks if not isinstance(each, _Last)]
        self.checkpointer.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Finish the save in flight; what Lightning raises at SIGTERM must not end the process as a success."""
        if not self.began:
            return
        if isinstance(exception, SystemExit) and self.checkpointer.stop_requested:
            exception.code = exception.code or ASKED_TO_STOP_STATUS
        # A save that failed is in the log, and must not replace what ended the training.
        with suppress(CheckpointError):
            self.checkpointer.__exit__(type(exception), exception, None)

    def _load(self, trainer: Any, remembered: Mapping[str, Any]) -> None:
        loaders = list(_resumable(trainer.train_dataloader))
        if len(loaders) != len(remembered["loaders"]):
            raise StateError(
                f"training has {len(loaders)} ResumableLoaders: saved with {len(remembered['loaders'])}"
            )
        # Lightning has its iterators by now; a ResumableLoader's begins where it is at the first batch.
        for loader, state in zip(loaders, remembered["loaders"]):
            loader.load_state_dict(state)
            # An epoch that was saved after its last batch Lightning has left, and begins the next.
            if loader.at_the_end:
                loader.next_epoch()
        # A ResumableLoader draws nothing, and what has been drawn meanwhile was drawn for nothing.
        if loaders:
            restore_random_state(remembered["random"])

    def _write(self, trainer: Any, folder: Path) -> None:
        path = folder / _NAME
        trainer.save_checkpoint(path)
        if self._weights_only and path.is_file():
            names = in_the_way(path)
            if names:
                raise StateError(
                    f"Lightning's checkpoint has {names}, and fit reads data alone: they must be made known "
                    "with torch.serialization.add_safe_globals, or weights_only=False be given to both "
                    "NightspotCallback and fit"
                )


class _Last(Checkpoint):  # type: ignore[misc] # Lightning is Any to the type checker
    """Called after all others, EarlyStopping included, as Lightning calls those of this kind."""

    def __init__(self, nightspot: NightspotCallback) -> None:
        self._nightspot = nightspot

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        self._nightspot.give_back()

    def on_train_batch_end(
        self,
        trainer: Any,
        pl_module: Any,  # noqa: ARG002 - Lightning's signature
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        self._nightspot.after_batch(trainer, outputs)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        self._nightspot.after_epoch(trainer)


def _forgets(callback: Any) -> bool:
    """Whether Lightning does not save what it remembers: neither its own, nor has it a hook for that."""
    if type(callback).__module__.partition(".")[0] in ("lightning", "pytorch_lightning"):
        return False
    hooks = ("state_dict", "on_save_checkpoint")
    kinds = type(callback).__mro__[: type(callback).__mro__.index(Callback)]
    return not any(hook in vars(kind) for kind in kinds for hook in hooks)


def _total_steps(trainer: Any, pl_module: Any) -> int | None:
    # With manual optimisation each optimiser's steps are counted, and nobody knows how many those will be.
    steps = trainer.estimated_stepping_batches if pl_module.automatic_optimization else 0
    return int(steps) if 0 < steps < math.inf else None


def _resumable(loaders: Any) -> Iterable[ResumableLoader]:
    if isinstance(loaders, ResumableLoader):
        yield loaders
    elif isinstance(loaders, (list, tuple, dict)):
        for each in loaders.values() if isinstance(loaders, dict) else loaders:
            yield from _resumable(each)


def _metrics(outputs: Any, logged: Mapping[str, Any]) -> dict[str, float]:
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    named = {**({} if loss is None else {"loss": loss}), **logged}
    return {name: float(value) for name, value in named.items()}
