"""Fits y = 3 x + 1 by gradient descent, and saves a checkpoint after each epoch; the standard library alone."""

import json
import os
import random
import time
from pathlib import Path

from nightspot.checkpoint import Checkpointer, TrainingState

hyperparameters = json.loads(os.environ["SM_HPS"])
epochs = int(hyperparameters["epochs"])
random.seed(int(hyperparameters["seed"]))

with Checkpointer(total_steps=epochs) as checkpointer:
    weights = [0.0, 0.0]
    training = TrainingState()
    restored = checkpointer.restore()
    if restored:
        weights = restored.state["weights"]
        training.load_state_dict(restored.state["training"])  # where the random numbers go on
    for epoch in range(restored.step + 1 if restored else 1, epochs + 1):
        loss = 0.0
        for _ in range(200):
            x = random.uniform(-1, 1)  # noqa: S311 - no secret
            error = weights[0] * x + weights[1] - (3 * x + 1)
            loss += error * error / 200
            weights = [weights[0] - 0.05 * error * x, weights[1] - 0.05 * error]
        time.sleep(float(os.environ.get("SECONDS_PER_EPOCH", "0")))
        print(f"epoch={epoch} loss={loss:.6f}", flush=True)
        checkpointer.save(epoch, {"weights": weights, "training": training}, metrics={"loss": loss})

Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps(weights))
