"""Sabotaged: the checkpoint is written over the one before."""

import os
import pickle
import random
import time
from pathlib import Path

STEPS, EVERY, PACE_SECONDS = 16, 2, 0.04
CHECKPOINT = Path(os.environ["SM_INPUT_CONFIG_DIR"], "../../checkpoints/newest.pickle").resolve()


def write(content, path):
    """As slowly as a state of some gigabytes."""
    with path.open("wb") as stream:
        for start in range(0, len(content), 300):
            stream.write(content[start : start + 300])
            stream.flush()
            time.sleep(0.005)


def save(state):
    write(pickle.dumps(state), CHECKPOINT)


def main():
    state = {"step": 0, "value": 1.0, "generator": random.Random(7).getstate()}
    if CHECKPOINT.exists():
        state = pickle.loads(CHECKPOINT.read_bytes())  # noqa: S301
    generator = random.Random()
    generator.setstate(state["generator"])
    for step in range(state["step"] + 1, STEPS + 1):
        time.sleep(PACE_SECONDS)
        state["value"] *= generator.uniform(0.8, 1)
        print(f"step {step} loss={state['value']:.6f}")
        if step % EVERY == 0:
            save({"step": step, "value": state["value"], "generator": generator.getstate()})
    Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(repr(state["value"]))


if __name__ == "__main__":
    main()
