"""The usual training script of public examples, with pickle in place of torch.save, and nothing of Nightspot."""

# ruff: noqa

import argparse
import glob
import os
import pickle
import random
import time

CHECKPOINTS = "/opt/ml/checkpoints"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=0.03)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    args = parser.parse_args()

    random.seed(1)
    weight, start_epoch = 0.0, 1
    os.makedirs(CHECKPOINTS, exist_ok=True)
    saved = sorted(glob.glob(os.path.join(CHECKPOINTS, "ckpt-*.pt")))
    if saved:
        with open(saved[-1], "rb") as f:
            state = pickle.load(f)
        weight, start_epoch = state["weight"], state["epoch"] + 1
        print(f"resumed from {saved[-1]}", flush=True)

    for epoch in range(start_epoch, args.epochs + 1):
        target = random.gauss(3.0, 0.1)
        weight -= args.learning_rate * 2 * (weight - target)
        time.sleep(args.seconds)
        print(f"epoch {epoch}/{args.epochs} loss={(weight - 3.0) ** 2:.6f}", flush=True)
        with open(os.path.join(CHECKPOINTS, "ckpt-%04d.pt" % epoch), "wb") as f:
            pickle.dump({"epoch": epoch, "weight": weight}, f)

    with open(os.path.join(args.model_dir, "model.pt"), "wb") as f:
        pickle.dump(weight, f)


if __name__ == "__main__":
    main()
