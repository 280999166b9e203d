"""What Keras 3 needs to go on with `fit` after an interruption as if there had been none, in mid-epoch too.

training = resume(checkpointer, model, 10, callbacks=[EarlyStopping(patience=3)])
model.fit(x, y, epochs=10, initial_epoch=training.initial_epoch, callbacks=training.callbacks)

Tested on the torch backend; a mid-epoch checkpoint can also be resumed on JAX. With TensorFlow it is made at the
end of an epoch only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from .carried import Carried, load_memories, memories
from .checkpointer import Checkpointer
from .core.errors import SettingError, StateError
from .core.random_state import capture_random_state, restore_random_state
from .core.restoring import Restored
from .core.settings import at_least_one
from .core.state import can

__all__ = ["CheckpointCallback", "Resumed", "resume"]

_TRAINING = "keras"
_VARIABLES = ("weights", "optimizer", "metrics")
_SKIPS_BATCHES = ("torch", "jax")


@dataclass(frozen=True)
class Resumed:
    """Where training goes on, as the arguments that `fit` is called with.

    initial_epoch: for `fit`; the number of epochs where nothing is left, after early stopping too.
    steps_done: batches that have been trained, over all attempts.
    callbacks: those given to `resume`, inside of the one that saves.
    restored: the checkpoint itself; its `state` has the parts that were saved along.
    """

    initial_epoch: int
    steps_done: int
    callbacks: list[Any] = field(repr=False)
    restored: Restored | None = field(repr=False)


def resume(
    checkpointer: Checkpointer,
    model: Any,
    epochs: int,
    *,
    callbacks: Sequence[Any] = (),
    also: Mapping[str, Any] | None = None,
) -> Resumed:
    """Restore the newest checkpoint, and say how `model.fit` is to be called.

    model: compiled; its weights, optimizer and metrics are loaded when `fit` has built them.
    epochs: of the whole training, over all attempts: what `fit` is given.
    callbacks: those whose memory must survive (EarlyStopping, ReduceLROnPlateau, ModelCheckpoint). They are
        carried by their changed attributes, or by state_dict() and load_state_dict().
    also: more parts of the state, as for `Checkpointer.save`; objects are loaded from the checkpoint.

    A step is a batch, so `total_steps` is the batches of all epochs. Calls `checkpointer.restore()` and raises what
    that raises; SettingError for Keras 2, StateError where the checkpoint was not saved by this adapter.
    """
    if not keras.__version__.startswith("3."):
        raise SettingError(f"keras {keras.__version__}: must be Keras 3")
    at_least_one("epochs", epochs)
    parts = dict(also or {})
    taken = sorted({_TRAINING, *_VARIABLES} & set(parts))
    if taken:
        raise StateError(f"also has the names {taken}: these are the adapter's own, must be others")
    restored = checkpointer.restore()
    memory = None
    if restored is not None:
        state = restored.state if isinstance(restored.state, Mapping) else {}
        memory = state.get(_TRAINING)
        if not isinstance(memory, Mapping) or not all(name in state for name in _VARIABLES):
            raise StateError(
                f"{restored.path.name}: must have been saved by the adapter for Keras; "
                f"it has {sorted(state) or type(restored.state).__name__}"
            )
        if any(can(each, "load_state_dict") for each in parts.values()):
            restored.load_into(parts)
    callback = CheckpointCallback(checkpointer, model, epochs, callbacks, parts, restored)
    done = restored.step if restored else 0
    if memory is None:
        return Resumed(0, 0, [callback], None)
    return Resumed(epochs if memory["stopped"] else memory["epoch"], done, [callback], restored)


class CheckpointCallback(keras.callbacks.Callback):  # type: ignore[misc] # Keras is Any to the type checker
    """Saves after each batch that is due, and calls the callbacks whose memory it carries. Made by `resume`.

    Where a stop is requested it raises SystemExit after the save, before half a model is taken for the result.
    """

    def __init__(
        self,
        checkpointer: Checkpointer,
        model: Any,
        epochs: int,
        callbacks: Sequence[Any],
        also: Mapping[str, Any],
        restored: Restored | None,
    ) -> None:
        super().__init__()
        self._checkpointer = checkpointer
        self._trained = model
        self._epochs = epochs
        self._callbacks = tuple(callbacks)
        self._also = dict(also)
        self._saved: Any = None if restored is None else restored.state
        self._carried: list[Carried] = []
        self._done = restored.step if restored else 0  # batches, over all attempts
        self._asked = -1  # the step for which it was last asked whether a save is due
        self._epoch = self._batch = 0  # the epoch that goes on, and how many of its batches are done
        self._skip = 0  # so many batches of the first epoch were trained before the interruption
        self._at_epoch_begin: Any = None
        self._train_function: Callable[..., Any] | None = None
        self._loaded = False

    def set_params(self, params: Any) -> None:
        """As Keras calls it."""
        super().set_params(params)
        for each in self._callbacks:
            each.set_params(params)

    def set_model(self, model: Any) -> None:
        """As Keras calls it; StateError where `fit` is another model's."""
        if model is not self._trained:
            raise StateError("fit: must be called on the model that was given to resume")
        super().set_model(model)
        for each in self._callbacks:
            each.set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        """Let the callbacks begin; they get their memory back with the first epoch."""
        self._carried = [Carried(each, (keras.Model, keras.Optimizer)) for each in self._callbacks]
        for each in self._callbacks:
            each.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Load the checkpoint in the first epoch: `fit` has built everything by now, and reset the metrics."""
        self._epoch, self._batch = epoch, 0
        if not self._loaded:
            self._load(epoch)
        self._at_epoch_begin = self._at_epoch_begin if self._skip else capture_random_state()
        if self._skip:
            # They have seen this epoch begin; the order of its batches is drawn as it was.
            restore_random_state(self._at_epoch_begin)
            self._skip_batches()
            return
        for each in self._callbacks:
            each.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Train again from the batch on that was not done when the checkpoint was saved."""
        if self._skip and batch >= self._skip:
            self._train_on()
        if not self._skip:
            for each in self._callbacks:
                each.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the batches and save where that is due."""
        if self._skip:
            return
        for each in self._callbacks:
            each.on_train_batch_end(batch, logs)
        self._done += batch + 1 - self._batch
        self._batch = batch + 1
        last = self._batch == (self.params or {}).get("steps")
        # After the last batch there is the end of the epoch to come: validation, and what the callbacks do then.
        if not last and keras.backend.backend() in _SKIPS_BATCHES and not self._trained.stop_training:
            self._save_if_due(logs, self._epoch, self._batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save the end of the epoch where that is due, and of the training in any case."""
        if self._skip:
            self._train_on()
        for each in self._callbacks:
            each.on_epoch_end(epoch, logs)
        self._batch = 0
        saved = self._save_if_due(logs, epoch + 1, 0)
        if not saved and (self._trained.stop_training or epoch + 1 >= self._epochs):
            self._checkpointer.save(self._done, self._state(epoch + 1, 0, logs), metrics=_numbers(logs))

    def on_train_end(self, logs: Any = None) -> None:
        """Let the callbacks end, EarlyStopping with the best weights that it remembers."""
        if not self._loaded:
            self._load(self._epochs)
        for each in self._callbacks:
            each.on_train_end(logs)
        self._checkpointer.wait()

    def on_test_begin(self, logs: Any = None) -> None:
        """As Keras calls it."""
        for each in self._callbacks:
            each.on_test_begin(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """As Keras calls it."""
        for each in self._callbacks:
            each.on_test_end(logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """As Keras calls it."""
        for each in self._callbacks:
            each.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """As Keras calls it."""
        for each in self._callbacks:
            each.on_test_batch_end(batch, logs)

    def _save_if_due(self, logs: Any, epoch: int, batch: int) -> bool:
        if self._asked == self._done:
            return False  # the last batch of an epoch whose length nobody knew
        self._asked = self._done
        path = self._checkpointer.save_if_due(
            self._done, lambda: self._state(epoch, batch, logs), metrics=_numbers(logs)
        )
        self._checkpointer.exit_if_asked()
        return path is not None

    def _state(self, epoch: int, batch: int, logs: Any) -> dict[str, Any]:
        """All that training goes by. Keras's property `model` brings JAX's variables up to date first."""
        model = self.model
        history = model.history
        values = {name: list(each) for name, each in history.history.items()}
        epochs = list(history.epoch)
        if batch == 0 and epoch - 1 not in epochs:
            # History is called after this callback.
            epochs.append(epoch - 1)
            for name, value in (logs or {}).items():
                values.setdefault(name, []).append(value)
        return {
            **self._also,
            **{name: [_array(each) for each in variables] for name, variables in _variables(model).items()},
            _TRAINING: {
                "epoch": epoch,
                "batch": batch,
                "stopped": bool(model.stop_training),  # EarlyStopping gave up the epochs that are left
                "history": values,
                "epochs": epochs,
                "callbacks": memories(self._carried),
                "random": capture_random_state(),
                "at_epoch_begin": self._at_epoch_begin if batch else None,
            },
        }

    def _load(self, epoch: int) -> None:
        self._loaded = True
        if self._saved is None:
            return
        saved, memory = self._saved, self._saved[_TRAINING]
        first = self._epochs if memory["stopped"] else memory["epoch"]
        if epoch != first:
            raise StateError(
                f"initial_epoch={epoch}: must be that of the checkpoint, {first}, as resume gave it"
            )
        model = self._trained
        for name, variables in _variables(model).items():
            _assign(name, variables, saved[name])
        if memory["batch"] == 0:
            model.reset_metrics()  # an epoch begins
        history = model.history
        history.epoch[:] = memory["epochs"]
        history.history.clear()
        history.history.update(memory["history"])
        load_memories(self._carried, memory["callbacks"])
        if any(can(each, "load_state_dict") for each in self._also.values()):
            for name, each in self._also.items():
                if can(each, "load_state_dict"):
                    each.load_state_dict(saved[name])
        restore_random_state(memory["random"])
        self._skip, self._at_epoch_begin = memory["batch"], memory["at_epoch_begin"]

    def _skip_batches(self) -> None:
        """Let `fit` take the batches that were trained before, in their order, and do nothing with them."""
        backend, model = keras.backend.backend(), self._trained
        if backend not in _SKIPS_BATCHES:
            raise StateError(
                f"keras.backend={backend!r}: a checkpoint in mid-epoch can be resumed on {_SKIPS_BATCHES}"
            )
        logs = model.get_metrics_result()

        def nothing(*given: Any) -> Any:
            # JAX's takes the state and an iterator over batches, and returns the state; torch's takes a batch.
            if hasattr(given[-1], "__next__"):
                for _ in range(model.steps_per_execution):
                    next(given[-1])
            return (logs, given[0]) if backend == "jax" else logs

        self._train_function, model.train_function = model.train_function, nothing

    def _train_on(self) -> None:
        self._batch, self._skip = self._skip, 0
        self._trained.train_function = self._train_function
        restore_random_state(self._saved[_TRAINING]["random"])


def _variables(model: Any) -> dict[str, list[Any]]:
    """The model's variables by kind; those of dropout's seeds are among its weights."""
    return {
        "weights": list(model.variables),
        "optimizer": list(model.optimizer.variables),
        "metrics": list(model.metrics_variables),
    }


def _array(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable.value).copy()


def _assign(kind: str, variables: Sequence[Any], arrays: Sequence[Any]) -> None:
    """StateError before anything is loaded unless there are as many, of the same shapes."""
    expected, found = [tuple(each.shape) for each in arrays], [tuple(each.shape) for each in variables]
    if expected != found:
        raise StateError(f"the model's {kind} have the shapes {found}: saved with {expected}")
    for variable, array in zip(variables, arrays):
        variable.assign(array)


def _numbers(logs: Any) -> dict[str, float]:
    numbers = {}
    for name, value in (logs or {}).items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            continue  # a metric that is an array
    return numbers
