"""Trains the recommender with PyTorch, and continues from its checkpoint when it is killed at any moment.

Runs as it is in script mode on SageMaker's PyTorch container and, with two folders named, on any machine.
On a CPU an interrupted training ends with the same model, to the bit, as an undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

# Without it a GPU's matrix products are not deterministic. It has to be said before CUDA is used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import bpr
import torch

from nightspot.checkpoint import Restored, TrainingState
from nightspot.checkpoint.pytorch import torch_checkpointer


class HyperparameterError(Exception):
    """An argument or hyperparameter has a value it cannot have."""


class OtherTrainingError(Exception):
    """The checkpoint comes from a training with other data or hyperparameters."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would leave at once, and the reason would never reach the failure file.
        raise HyperparameterError(message)


def main() -> int:
    """The exit status SageMaker reads: 0 with a model written, 1 with a reason written."""
    try:
        train(parse(sys.argv[1:], os.environ))
    # Whatever it was, its reason becomes the job's FailureReason.
    # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html
    except Exception as error:
        traceback.print_exc()
        report_failure(f"{type(error).__name__}: {error}", os.environ)
        return 1
    return 0


def train(chosen: argparse.Namespace) -> None:
    """Train from the newest checkpoint, or from the beginning, to the last epoch."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # or sums are taken in an order that depends on the number of cores
    torch.manual_seed(chosen.seed)
    data = interactions(chosen, os.environ)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = bpr.Model(data.users, data.items, chosen.factors).to(device)
    optimiser = torch.optim.Adagrad(model.parameters(), chosen.learning_rate, initial_accumulator_value=1e-6)
    training = TrainingState()
    # What must be the same for a checkpoint to be this training's; more epochs only go on longer.
    settings = {
        "interactions": data.fingerprint,
        "factors": chosen.factors,
        "learning_rate": chosen.learning_rate,
        "seed": chosen.seed,
    }
    state = {"model": model, "optimiser": optimiser, "training": training, "settings": settings}

    checkpointer = torch_checkpointer(
        chosen.checkpoint_dir,
        total_steps=chosen.epochs,
        every_steps=chosen.checkpoint_every,
        asynchronous=True,
        replicated=True,
        handle_sigterm=True,
    )
    restored = checkpointer.restore()
    if restored:
        refuse_other(restored, settings)
        restored.load_into(state)
        whose = "an unnumbered attempt" if restored.attempt is None else f"attempt {restored.attempt}"
        print(f"resumed from epoch {restored.step} (checkpoint of {whose})", flush=True)
    for epoch in range(restored.step + 1 if restored else 1, chosen.epochs + 1):
        loss = bpr.train_epoch(model, optimiser, data)
        recall = bpr.recall(model.scores(), data)
        training.epoch, training.best_metric = epoch, max(recall, training.best_metric or 0.0)
        metrics = {"loss": loss, "recall_at_10": recall, "best_recall_at_10": training.best_metric}
        checkpointer.save_if_due(epoch, state, metrics=metrics)
        print(f"epoch {epoch}/{chosen.epochs} loss={loss:.4f} recall@10={recall:.4f}", flush=True)
        checkpointer.exit_if_asked()
    checkpointer.close()
    write_results(chosen, model, training, data)


def refuse_other(restored: Restored, settings: Mapping[str, object]) -> None:
    """OtherTrainingError where the checkpoint was saved with other data or hyperparameters."""
    saved = restored.state.get("settings") if isinstance(restored.state, Mapping) else None
    if saved != settings:
        raise OtherTrainingError(
            f"{restored.path.name} was saved with {saved}, this training has {settings}: "
            "give it a checkpoint directory of its own"
        )


def write_results(
    chosen: argparse.Namespace, model: bpr.Model, training: TrainingState, data: bpr.Interactions
) -> None:
    """Write model.pt and metrics.json into the model directory, and print how it compares."""
    chosen.model_dir.mkdir(parents=True, exist_ok=True)
    weights = {name: each.cpu() for name, each in model.state_dict().items()}
    torch.save(weights, chosen.model_dir / "model.pt")
    metrics = {
        "recall_at_10": bpr.recall(model.scores(), data),
        "best_recall_at_10": training.best_metric,
        "popularity_recall_at_10": bpr.popularity_recall(data),
        "epochs": training.epoch,
        "seed": chosen.seed,
    }
    (chosen.model_dir / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(
        f"final recall@10={metrics['recall_at_10']:.4f} "
        f"(most popular items: {metrics['popularity_recall_at_10']:.4f})",
        flush=True,
    )


def report_failure(reason: str, environ: Mapping[str, str]) -> None:
    """Write the reason where SageMaker looks for it; on any other machine there is no such place."""
    named = environ.get("SM_OUTPUT_DIR")
    output = Path(named or "/opt/ml/output")
    if named:
        output.mkdir(parents=True, exist_ok=True)
    if output.is_dir():
        (output / "failure").write_text(reason + "\n", encoding="utf-8")


def interactions(chosen: argparse.Namespace, environ: Mapping[str, str]) -> bpr.Interactions:
    """What is in the `train` channel, where the job has one; else generated from the seed."""
    channel = environ.get("SM_CHANNEL_TRAIN")
    if channel:
        return bpr.load(Path(channel, "interactions.pt"), chosen.seed)
    return bpr.generate(chosen.users, chosen.items, chosen.seed)


def parse(arguments: list[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """The hyperparameters: from the command line, else SM_HP_<NAME>, else the default."""
    parser = _Parser(description=__doc__, allow_abbrev=False)

    def add(name: str, kind: Callable[[str], object], default: str, text: str) -> None:
        # SageMaker's toolkit keeps a hyphen in the variable's name, which a shell cannot set.
        spelled = (f"SM_HP_{name.upper()}", f"SM_HP_{name.upper().replace('-', '_')}")
        given = next((environ[each] for each in spelled if each in environ), default)
        parser.add_argument(f"--{name}", type=kind, default=given, help=f"{text} [{default}]")

    add("epochs", count, "24", "how often to go through the interactions")
    add("factors", count, "32", "the length of a user's and an item's vector")
    add("learning-rate", positive, "0.014", "Adagrad's")
    add("users", count, "1600", "users to generate interactions for")
    add("items", count, "800", "items to generate interactions with")
    add("seed", int, "7", "makes the data, the split and the training")
    add("checkpoint-every", count, "3", "epochs from one checkpoint to the next")
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
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number greater than 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
