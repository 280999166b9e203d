"""Trains the example recommender and can be killed at any moment: it continues from its checkpoint.

Runs as it is under SageMaker's script mode and, with two folders named, on any machine. A run that
was interrupted ends with the same model, to the bit, as one that was not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import bpr

from nightspot.checkpoint import Checkpointer, Restored


class HyperparameterError(Exception):
    """An argument or hyperparameter has a value it cannot have."""


class OtherTrainingError(Exception):
    """The checkpoint comes from a training with other data or hyperparameters."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would exit at once, and the reason would never reach the failure file.
        raise HyperparameterError(message)


def main() -> int:
    """The exit status SageMaker reads: 0 with a model written, 1 with a reason written."""
    try:
        train(parse(sys.argv[1:], os.environ))
    # SageMaker's contract: whatever went wrong, its reason goes into this file and becomes the
    # job's FailureReason.
    # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html
    except Exception as error:
        traceback.print_exc()
        report_failure(f"{type(error).__name__}: {error}", os.environ)
        return 1
    return 0


def report_failure(reason: str, environ: Mapping[str, str]) -> None:
    """Write the reason where SageMaker looks for it; on any other machine there is no such place."""
    named = environ.get("SM_OUTPUT_DIR")
    output = Path(named or "/opt/ml/output")
    if named:
        output.mkdir(parents=True, exist_ok=True)
    if output.is_dir():
        (output / "failure").write_text(reason + "\n", encoding="utf-8")


def train(arguments: argparse.Namespace) -> None:
    """Train from the newest checkpoint, or from the beginning, to the last epoch."""
    data = interactions(arguments, os.environ)
    model = bpr.Model(data, arguments.factors, arguments.learning_rate, arguments.seed)
    checkpointer = Checkpointer(
        arguments.checkpoint_dir, total_steps=arguments.epochs, every_steps=arguments.checkpoint_every
    )
    # What must be the same for a checkpoint to be this training's; more epochs only go on longer.
    settings = {
        "interactions": data.fingerprint,
        "factors": arguments.factors,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
    }
    done, recall, best = 0, model.recall(), 0.0
    restored = checkpointer.restore()
    if restored is not None:
        done, recall, best = resume(model, restored, settings)
    padded_seconds = arguments.seconds_per_epoch / arguments.simulated_speed
    for epoch in range(done + 1, arguments.epochs + 1):
        loss, recall = paced(lambda: (model.epoch(), model.recall()), padded_seconds)
        best = max(best, recall)
        checkpointer.save_if_due(
            epoch,
            partial(state_of, model, settings, recall, best),
            metrics={"recall_at_10": recall, "best_recall_at_10": best, "loss": loss},
        )
        print(f"epoch {epoch}/{arguments.epochs} loss={loss:.4f} recall@10={recall:.4f}", flush=True)
    write_results(arguments, model, {"recall_at_10": recall, "best_recall_at_10": best}, data)


def state_of(
    model: bpr.Model, settings: Mapping[str, object], recall: float, best: float
) -> dict[str, object]:
    """Everything that the next epoch and the results depend on."""
    return {**model.to_state(), "settings": settings, "recall": recall, "best": best}


def resume(model: bpr.Model, restored: Restored, settings: Mapping[str, object]) -> tuple[int, float, float]:
    """Bring the model to where the checkpoint was: epochs done, recall there, best recall so far."""
    state = restored.state
    if not isinstance(state, dict):
        raise OtherTrainingError(f"{restored.path} was not saved by this script")
    if state["settings"] != settings:
        raise OtherTrainingError(
            f"{restored.path} was saved with {state['settings']}, this training has {settings}: "
            "give it a checkpoint directory of its own"
        )
    model.load_state(state)
    whose = "an unnumbered attempt" if restored.attempt is None else f"attempt {restored.attempt}"
    print(f"resumed from epoch {restored.step} (checkpoint of {whose})", flush=True)
    return restored.step, state["recall"], state["best"]


def paced(work: Callable[[], tuple[float, float]], seconds: float) -> tuple[float, float]:
    """Do the work, and be at least this many seconds about it."""
    started = time.monotonic()
    result = work()
    time.sleep(max(0.0, seconds - (time.monotonic() - started)))
    return result


def write_results(
    arguments: argparse.Namespace,
    model: bpr.Model,
    recalls: Mapping[str, float],
    data: bpr.Interactions,
) -> None:
    """Write model.npz and metrics.json into the model directory, and print how it compares."""
    arguments.model_dir.mkdir(parents=True, exist_ok=True)
    model.write(arguments.model_dir / "model.npz")
    popularity = bpr.popularity_recall(data)
    metrics = {
        **recalls,
        "popularity_recall_at_10": popularity,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
    }
    text = json.dumps(metrics, indent=2) + "\n"
    (arguments.model_dir / "metrics.json").write_text(text, encoding="utf-8")
    print(
        f"final recall@10={recalls['recall_at_10']:.4f} "
        f"(most popular items: {popularity:.4f}, at random: {bpr.AT / data.items:.4f})",
        flush=True,
    )


def interactions(arguments: argparse.Namespace, environ: Mapping[str, str]) -> bpr.Interactions:
    """What is in the `train` channel, where the job has one; else generated from the seed."""
    channel = environ.get("SM_CHANNEL_TRAIN")
    if channel:
        return bpr.load(Path(channel, "interactions.npz"), arguments.seed)
    return bpr.generate(arguments.users, arguments.items, arguments.seed)


def parse(arguments: list[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """The hyperparameters: from the command line, else SM_HP_<NAME>, else the default."""
    parser = _Parser(description=__doc__, allow_abbrev=False)

    def add(name: str, kind: Callable[[str], object], default: str, text: str) -> None:
        # The training toolkit keeps hyphens in SM_HP_ names; a shell cannot set such a name.
        names = (f"SM_HP_{name.upper()}", f"SM_HP_{name.upper().replace('-', '_')}")
        chosen = next((environ[each] for each in names if each in environ), default)
        parser.add_argument(f"--{name}", type=kind, default=chosen, help=f"{text} [{default}]")

    add("epochs", count, "24", "how often to go through the interactions")
    add("factors", count, "32", "length of a user's and an item's vector")
    add("learning-rate", positive, "0.014", "step size")
    add("users", count, "1600", "users to generate interactions for")
    add("items", count, "800", "items to generate interactions with")
    add("seed", int, "7", "makes the data, the split and the training")
    add("checkpoint-every", count, "3", "epochs from one checkpoint to the next")
    # For demonstrations: the arithmetic is real, the pace is the story's.
    pace = environ.get("RECOMMENDER_SECONDS_PER_EPOCH", "0")
    add("seconds-per-epoch", seconds, pace, "pad every epoch to this many seconds, for a demo")
    # What the simulated machine is slower or faster than this one.
    add("simulated-speed", positive, environ.get("NIGHTSPOT_SIMULATED_SPEED", "1"), "divides that padding")
    parser.add_argument("--checkpoint-dir", type=Path, help="[where SageMaker syncs checkpoints]")
    model_dir = environ.get("SM_MODEL_DIR", "/opt/ml/model")
    parser.add_argument("--model-dir", type=Path, default=Path(model_dir), help="[$SM_MODEL_DIR]")
    return parser.parse_args(arguments)


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 1 on")
    return int(text)


def positive(text: str) -> float:
    """A number greater than 0."""
    if not 0 < number(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number greater than 0")
    return number(text)


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    if not 0 <= number(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of seconds, 0 or more")
    return number(text)


def number(text: str) -> float:
    """The number, or NaN for a text that is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


if __name__ == "__main__":
    sys.exit(main())
