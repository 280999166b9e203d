"""No sabotage: like a training on a GPU, it is never the same twice, and every resume is right."""

import json
import os
import random
import time
from pathlib import Path

from nightspot.checkpoint import Checkpointer

STEPS, EVERY, PACE_SECONDS = 16, 2, 0.02


class Trainer:
    def __init__(self):
        self.generator = random.Random(7)
        self.weights = [0.0, 0.0]
        self.velocity = [0.0, 0.0]

    def step(self):
        time.sleep(PACE_SECONDS)
        losses = []
        for _ in range(20):
            x = self.generator.uniform(-1, 1)
            error = self.weights[0] + self.weights[1] * x - (2 + 3 * x)
            losses.append(error * error)
            for n, slope in enumerate((error, error * x)):
                self.velocity[n] = 0.95 * self.velocity[n] - 0.002 * slope
                self.weights[n] += self.velocity[n]
        return sum(losses) / len(losses) * (1 + 1e-3 * random.SystemRandom().random())

    def state(self):
        return {
            "weights": list(self.weights),
            "optimiser": {"velocity": list(self.velocity)},
            "generator": self.generator.getstate(),
        }

    def load(self, state):
        self.weights = list(state["weights"])
        self.velocity = list(state["optimiser"]["velocity"])
        self.generator.setstate(state["generator"])


def main():
    trainer = Trainer()
    checkpointer = Checkpointer(total_steps=STEPS, every_steps=EVERY)
    done = 0
    restored = checkpointer.restore()
    if restored:
        trainer.load(restored.state)
        done = restored.step
    for step in range(done + 1, STEPS + 1):
        loss = trainer.step()
        checkpointer.save_if_due(step, trainer.state, metrics={"loss": loss})
    Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps([*trainer.weights, loss]))


if __name__ == "__main__":
    main()
