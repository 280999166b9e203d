"""Fits a line by stochastic gradient descent, in the standard library. Put your training in its place.

It may be killed at any moment: the next attempt continues from the newest checkpoint, and ends with the same model.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from nightspot.checkpoint import Checkpointer


def main() -> None:
    """Train from the newest checkpoint, or from the beginning, and write the model."""
    epochs = int(hyperparameters().get("epochs", "24"))
    checkpointer = Checkpointer(total_steps=epochs, every_steps=2)
    slope = offset = 0.0
    restored = checkpointer.restore()
    first = 1
    if restored is not None:
        slope, offset = restored.state["slope"], restored.state["offset"]
        first = restored.step + 1
        print(f"resumed after epoch {restored.step}", flush=True)
    for epoch in range(first, epochs + 1):
        slope, offset, loss = trained(slope, offset, epoch)
        state = {"slope": slope, "offset": offset}
        checkpointer.save_if_due(epoch, state, metrics={"loss": loss})
        print(f"epoch {epoch}/{epochs} loss={loss:.6f}", flush=True)
    model = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"), "model.json")
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_text(json.dumps({"slope": slope, "offset": offset}) + "\n", encoding="utf-8")


def trained(slope: float, offset: float, epoch: int) -> tuple[float, float, float]:
    """One epoch: the new slope and offset, and the mean squared error."""
    draw = random.Random(epoch)  # noqa: S311 - of the epoch's own, so that a resumed run draws the same
    errors = []
    for _ in range(500):
        x = draw.uniform(-1, 1)
        error = slope * x + offset - (3 * x + 1 + draw.gauss(0, 0.1))
        slope -= 0.01 * error * x
        offset -= 0.01 * error
        errors.append(error**2)
    # For demonstrations: the pace is that of the machine that a run on this machine simulates.
    pace = float(os.environ.get("SECONDS_PER_EPOCH", "0"))
    time.sleep(pace / float(os.environ.get("NIGHTSPOT_SIMULATED_SPEED", "1")))
    return slope, offset, sum(errors) / len(errors)


def hyperparameters() -> dict[str, str]:
    """Those of the job file: SageMaker writes them into a file."""
    folder = os.environ.get("SM_INPUT_CONFIG_DIR", "/opt/ml/input/config")
    file = Path(folder, "hyperparameters.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


if __name__ == "__main__":
    main()
