"""How the Trainer of Hugging Face's transformers saves into our checkpoints and resumes from them.

    nightspot = NightspotCallback(asynchronous=True, handle_sigterm=True)
    trainer = Trainer(model, arguments, train_dataset=dataset, callbacks=[nightspot])
    trainer.train(resume_from_checkpoint=nightspot.restore())
    nightspot.exit_if_asked()

What is saved is the Trainer's own checkpoint folder, so that its own resume brings everything back:
model, optimiser, scheduler, scaler, random generators, its state and the place in the data.
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback
from transformers.trainer_callback import CallbackHandler, ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .attached import Attached, files_in
from .carried import Carried, part_of_state
from .core.errors import SettingError
from .pytorch import torch_gather

_RESTORED_BY_THE_TRAINER = (
    Trainer,
    PreTrainedTokenizerBase,
    torch.nn.Module,
    torch.optim.Optimizer,
    torch.utils.data.DataLoader,
    torch.utils.data.Dataset,
)


class NightspotCallback(Attached, TrainerCallback):  # type: ignore[misc] # transformers is Any to the type checker
    """Lets the Trainer save when a checkpoint is due, and puts what it wrote into one of ours.

    directory, settings: those of Checkpointer, less total_steps, rank, world_size and replicated,
        which the Trainer says. scratch: where a checkpoint is unpacked (`attached.Attached`).

    A step is an optimiser's step (global_step). The metrics are the newest of all numbers that were
    logged: loss, learning_rate, and of an evaluation eval_loss and so on. When a stop is requested,
    training ends after the step with its state saved; exit_if_asked() after train() then leaves, before
    half a model is taken for the result. Set save_strategy="no": the Trainer's own saves stay its own.

    What the Trainer's other callbacks remember is carried too: of EarlyStoppingCallback and other exportable
    ones what they export, of your own their changed attributes (`carried`).
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        scratch: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(directory, scratch, settings)
        self._gather = settings.get("gather")
        self._wanted = self._asked_by_trainer = False

    def restore(self) -> str | None:
        """What to pass as resume_from_checkpoint: a folder, or None; raises as Checkpointer.restore."""
        folder = self.unpacked()
        return None if folder is None else str(folder)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - transformers' signature
        """Continue from where the Trainer is; SettingError or StateError where it could not be resumed."""
        if args.save_only_model:
            raise SettingError("save_only_model=True: must be False, or the optimiser is lost at a resume")
        if args.world_size > 1 and self._gather is None:
            self._gather = torch_gather()
        self.begin(
            state.global_step,
            how="trainer.train(resume_from_checkpoint=...)",
            total_steps=state.max_steps,
            rank=args.process_index,
            world_size=args.world_size,
            gather=self._gather,
        )
        handler = _handler()
        others = [] if handler is None else [each for each in handler.callbacks if each is not self]
        self.carry([_carried(each) for each in others if _remembers(each)])
        if handler is not None:
            # The handler goes on to what is added now: when all others have begun and reset themselves.
            handler.callbacks.append(_GivesBack(self, handler))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - transformers' signature
        """Ask the Trainer for a checkpoint where one is due."""
        self._wanted = self.due(state.global_step)
        if self._wanted:
            self._asked_by_trainer = control.should_save
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take over what the Trainer has written."""
        if not self._wanted:
            return
        self._wanted = False
        folder = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        if self._gather is not None:
            self._gather(state.global_step)  # each rank has written its part when all have come here
        writes = state.is_world_process_zero
        parts = {**files_in(folder), **part_of_state(self._carried)} if writes else {}
        self.checkpointer.save(state.global_step, parts, metrics=_newest(state.log_history))
        if writes and not self._asked_by_trainer and args.save_total_limit is None:
            shutil.rmtree(folder)
        if self.checkpointer.should_stop:
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - transformers' signature
        """Return when the save in flight is durable."""
        self.checkpointer.close()


class _GivesBack(TrainerCallback):  # type: ignore[misc] # transformers is Any to the type checker
    """The last to begin: gives the callbacks back what they remembered, and is gone."""

    def __init__(self, nightspot: NightspotCallback, handler: CallbackHandler) -> None:
        self._nightspot = nightspot
        self._handler = handler

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - transformers' signature
        self._handler.callbacks.remove(self)
        self._nightspot.give_back()


def _handler() -> CallbackHandler | None:
    """Who is calling: transformers hands a callback everything but the other callbacks."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, CallbackHandler):
            return caller
        frame = frame.f_back
    return None


def _remembers(callback: Any) -> bool:
    """transformers' own begin again where they should (progress bars, trackers), or export what they remember."""
    own = type(callback).__module__.partition(".")[0] == "transformers"
    return isinstance(callback, ExportableState) or not own


def _carried(callback: Any) -> Carried:
    if not isinstance(callback, ExportableState):
        return Carried(callback, _RESTORED_BY_THE_TRAINER)

    def export() -> Mapping[str, Any]:
        attributes: Mapping[str, Any] = callback.state()["attributes"]
        return attributes

    def load(attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            setattr(callback, name, value)

    return Carried(callback, own=(export, load))


def _newest(log: list[Mapping[str, Any]]) -> dict[str, float]:
    merged = {name: value for entry in log for name, value in entry.items()}
    return {
        name: float(value)
        for name, value in merged.items()
        if isinstance(value, Real) and name not in ("step", "epoch")
    }
