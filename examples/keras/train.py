"""Trains a small Keras 3 network in epochs, and goes on in the middle of one when it was killed.

Runs as it is in script mode on SageMaker and, with two folders named, on any machine. It needs keras, a backend
(KERAS_BACKEND=torch by default, or jax) and NumPy, but no TensorFlow. The data is generated.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from nightspot.checkpoint import Checkpointer
from nightspot.checkpoint.keras import resume

FEATURES, CLASSES = 16, 4


class Report(keras.callbacks.Callback):
    """Prints each batch; a pause after it makes the example last as long as it is to be watched."""

    def __init__(self, pause_seconds: float) -> None:
        super().__init__()
        self.pause_seconds = pause_seconds

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - as Keras calls it
        """One line, counted over all attempts: the optimizer's count is part of the checkpoint."""
        print(f"step {int(self.model.optimizer.iterations)} loss={logs['loss']:.6f}", flush=True)
        time.sleep(self.pause_seconds)


def main() -> None:
    """Train from the newest checkpoint, or from the beginning, and write model and metrics."""
    chosen = arguments()
    keras.utils.set_random_seed(chosen.seed)
    model = network(chosen.seed)
    (features, classes), unseen = data(chosen.samples, chosen.seed)
    per_epoch = -(-len(features) // chosen.batch_size)
    checkpointer = Checkpointer(
        chosen.checkpoint_dir,
        total_steps=chosen.epochs * per_epoch,
        every_steps=chosen.checkpoint_every,
        replicated=True,
        handle_sigterm=True,
    )
    # Whatever must go on counting after an interruption is given to resume, and not to fit.
    carried = [
        keras.callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=2),
        Report(chosen.pause_seconds),
    ]
    training = resume(checkpointer, model, chosen.epochs, callbacks=carried)
    if training.restored:
        print(f"resumed from step {training.steps_done}, epoch {training.initial_epoch + 1}", flush=True)
    history = model.fit(
        features,
        classes,
        batch_size=chosen.batch_size,
        epochs=chosen.epochs,
        initial_epoch=training.initial_epoch,
        validation_data=unseen,
        callbacks=training.callbacks,
        verbose=0,
    )
    checkpointer.close()
    write_results(chosen.model_dir, model, history.history, unseen)


def network(seed: int) -> keras.Model:
    """Two layers with dropout, compiled."""
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dropout(0.2, seed=seed),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def data(samples: int, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Features (samples, 16) and classes (samples,) to learn from; a quarter as many to validate with."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, FEATURES))
    classes = rng.integers(0, CLASSES, samples + samples // 4)
    features = (centres[classes] + rng.normal(scale=1.5, size=(len(classes), FEATURES))).astype("float32")
    return (features[:samples], classes[:samples]), (features[samples:], classes[samples:])


def write_results(folder: Path, model: keras.Model, history: dict, unseen: tuple) -> None:
    """weights.bin and metrics.json; the same bytes for the same training (a .keras file has the time in it)."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [keras.ops.convert_to_numpy(each) for each in model.weights]
    (folder / "weights.bin").write_bytes(b"".join(each.tobytes() for each in arrays))
    loss, accuracy = model.evaluate(*unseen, verbose=0)
    metrics = {"accuracy": float(accuracy), "loss": float(loss), "epochs": len(history["loss"])}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(f"final accuracy={metrics['accuracy']:.4f} loss={metrics['loss']:.6f}", flush=True)


def arguments() -> argparse.Namespace:
    """From the command line, else from SM_HP_<NAME>, else the default."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    numbers = {"epochs": 12, "batch-size": 32, "samples": 480, "seed": 7, "checkpoint-every": 5}
    for name, default in numbers.items():
        given = os.environ.get("SM_HP_" + name.upper().replace("-", "_"))
        parser.add_argument("--" + name, type=int, default=given or default)
    pause = os.environ.get("SM_HP_PAUSE_SECONDS", "0")
    parser.add_argument("--pause-seconds", type=float, default=pause, help="after each batch, to watch it")
    parser.add_argument("--checkpoint-dir", type=Path, help="[where SageMaker syncs checkpoints]")
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
