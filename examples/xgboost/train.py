"""Learns with XGBoost which advertisements are clicked, and continues from its checkpoint when it is killed.

Runs as it is in script mode on SageMaker's XGBoost container and, with two folders named, on any machine.
An interrupted training ends with the same model, byte for byte, as an undisturbed one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import traceback
from pathlib import Path

import numpy as np
import xgboost

from nightspot.checkpoint import Checkpointer
from nightspot.checkpoint.xgboost import resume

HOURS, DEVICES, SLOTS, CAMPAIGNS = 24, 3, 8, 40
COLUMNS = ("hour", "device", "slot", "campaign", "age_days", "visits", "price", "relevance")
VALIDATION_SHARE = 0.2


class HyperparameterError(Exception):
    """A hyperparameter has a value it cannot have."""


class DataError(Exception):
    """What is in the train channel is not a table of clicks."""


class OtherTrainingError(Exception):
    """The checkpoint comes from a training with other data or hyperparameters."""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        # SageMaker shows the failure file, not what argparse would print before it leaves.
        raise HyperparameterError(message)


def main() -> int:
    """0 with a model written; 1 with the reason written to where SageMaker reads it."""
    try:
        train(hyperparameters(sys.argv[1:]))
    # Whatever it was, its reason belongs into the job's FailureReason.
    except Exception as error:
        traceback.print_exc()
        output = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))
        if output.is_dir() or "SM_OUTPUT_DIR" in os.environ:
            output.mkdir(parents=True, exist_ok=True)
            (output / "failure").write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        return 1
    return 0


def train(chosen: argparse.Namespace) -> None:
    """Boost from the newest checkpoint, or from the beginning, to the last round."""
    features, clicked = table(chosen)
    validation = np.random.default_rng(chosen.seed).random(len(clicked)) < VALIDATION_SHARE
    known = xgboost.DMatrix(features[~validation], clicked[~validation], feature_names=list(COLUMNS))
    unseen = xgboost.DMatrix(features[validation], clicked[validation], feature_names=list(COLUMNS))
    params = {
        "objective": "binary:logistic",
        "eval_metric": ["auc", "logloss"],
        "max_depth": chosen.max_depth,
        "learning_rate": chosen.learning_rate,
        "subsample": chosen.subsample,
        "colsample_bytree": chosen.colsample_bytree,
        "seed": chosen.seed,
        "nthread": chosen.threads,
    }
    # What must be the same for a checkpoint to be this training's; more rounds only go on longer.
    settings = {**params, "data": hashlib.sha256(features.tobytes() + clicked.tobytes()).hexdigest()[:16]}

    checkpointer = Checkpointer(
        chosen.checkpoint_dir,
        total_steps=chosen.rounds,
        every_steps=chosen.checkpoint_every,
        replicated=True,
        handle_sigterm=True,
    )
    report = Report(chosen.rounds)
    training = resume(checkpointer, chosen.rounds, callbacks=[report], also={"settings": settings})
    if training.restored:
        refuse_other(training.restored, settings)
        whose = training.restored.attempt
        whose = "an unnumbered attempt" if whose is None else f"attempt {whose}"
        print(f"resumed from round {training.rounds_done} (checkpoint of {whose})", flush=True)
    booster = xgboost.train(
        params,
        known,
        training.rounds_left,
        xgb_model=training.booster,
        evals=[(known, "train"), (unseen, "validation")],
        evals_result=training.evals_result,
        verbose_eval=False,
        callbacks=training.callbacks,
    )
    checkpointer.close()
    write_results(chosen, booster, training.evals_result)


class Report(xgboost.callback.TrainingCallback):
    """Prints each round; `resume` hands it the rounds counted over all attempts."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def after_iteration(self, model, epoch, evals_log):  # noqa: ARG002 - as XGBoost calls it
        """One line; False, because this never ends the training."""
        newest = {metric: values[-1] for metric, values in evals_log["validation"].items()}
        print(
            f"round {epoch + 1}/{self.rounds} auc={newest['auc']:.4f} logloss={newest['logloss']:.4f}",
            flush=True,
        )
        return False


def refuse_other(restored, settings) -> None:
    """OtherTrainingError where the checkpoint was saved with other data or hyperparameters."""
    saved = restored.state.get("settings", {})
    differing = sorted(name for name in {*saved, *settings} if saved.get(name) != settings.get(name))
    if differing:
        was, now = ({name: each.get(name) for name in differing} for each in (saved, settings))
        raise OtherTrainingError(
            f"{restored.path.name} was saved with {was}, this training has {now}: "
            "give it a checkpoint directory of its own"
        )


def write_results(chosen: argparse.Namespace, booster: xgboost.Booster, evaluations) -> None:
    """model.ubj and metrics.json into the model directory."""
    chosen.model_dir.mkdir(parents=True, exist_ok=True)
    # The bytes themselves: they carry the trees, and nothing of how often training was interrupted.
    (chosen.model_dir / "model.ubj").write_bytes(booster.save_raw("ubj"))
    metrics = {
        "auc": evaluations["validation"]["auc"][-1],
        "logloss": evaluations["validation"]["logloss"][-1],
        "rounds": booster.num_boosted_rounds(),
        "seed": chosen.seed,
    }
    (chosen.model_dir / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(f"final auc={metrics['auc']:.4f} logloss={metrics['logloss']:.4f}", flush=True)


def table(chosen: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, columns) and clicks (rows): from the `train` channel, else generated."""
    channel = os.environ.get("SM_CHANNEL_TRAIN")
    return from_channel(Path(channel)) if channel else generated(chosen.rows, chosen.seed)


def from_channel(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """All CSV files of a folder, in the order of their names; DataError if they are no such table.

    Without a header, as SageMaker's own XGBoost has it: the click, 0 or 1, then the columns.
    """
    paths = sorted(channel.glob("*.csv"))
    if not paths:
        raise DataError(f"SM_CHANNEL_TRAIN={channel}: must have files that end in .csv")
    blocks = []
    for path in paths:
        try:
            block = np.loadtxt(path, delimiter=",", ndmin=2)
        except ValueError as error:
            raise DataError(
                f"{path.name}: must be numbers, separated by commas, without a header ({error})"
            ) from error
        if block.shape[1] != 1 + len(COLUMNS) or not np.isin(block[:, 0], (0, 1)).all():
            raise DataError(
                f"{path.name}: must have the click (0 or 1) and then {len(COLUMNS)} columns, {COLUMNS}"
            )
        blocks.append(block)
    rows = np.concatenate(blocks)
    return rows[:, 1:].astype(np.float32), rows[:, 0].astype(np.float32)


def generated(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Impressions as such logs have them: habits by hour and device, good campaigns, and much chance."""
    rng = np.random.default_rng(seed)
    hour, device = rng.integers(0, HOURS, rows), rng.choice(DEVICES, rows, p=(0.6, 0.3, 0.1))
    slot, campaign = rng.integers(0, SLOTS, rows), rng.zipf(1.4, rows) % CAMPAIGNS
    age_days, visits = rng.exponential(20, rows), rng.poisson(3, rows)
    price, relevance = rng.lognormal(3, 0.8, rows), rng.beta(2, 3, rows)
    appeal = rng.normal(0, 0.7, (CAMPAIGNS, DEVICES))[campaign, device]
    evening = np.cos((hour - 20) * 2 * np.pi / HOURS)
    liking = (
        appeal
        + 0.5 * evening * (device == 0)
        - 0.25 * slot
        + 3 * relevance * (visits > 1)
        - 0.02 * age_days
        - 0.4 * np.abs(np.log(price) - 3)
    )
    clicked = rng.random(rows) < 1 / (1 + np.exp(1.5 - liking))
    columns = (hour, device, slot, campaign, age_days, visits, price, relevance)
    return np.stack(columns, axis=1).astype(np.float32), clicked.astype(np.float32)


def hyperparameters(arguments: list[str]) -> argparse.Namespace:
    """From the command line, else from SM_HP_<NAME>, else the default; HyperparameterError."""
    parser = _Parser(description=__doc__, allow_abbrev=False)

    def add(name, kind, default, text):
        # SageMaker's toolkit keeps a hyphen in the variable's name, which a shell cannot set.
        spelled = ("SM_HP_" + name.upper(), "SM_HP_" + name.upper().replace("-", "_"))
        given = [os.environ[each] for each in spelled if each in os.environ]
        parser.add_argument(
            "--" + name, type=kind, default=given[0] if given else default, help=f"{text} [{default}]"
        )

    add("rounds", whole, "60", "how many trees to boost")
    add("max-depth", whole, "5", "of each tree")
    add("learning-rate", share, "0.15", "what each tree contributes")
    add("subsample", share, "0.8", "rows drawn for each tree")
    add("colsample-bytree", share, "0.8", "columns drawn for each tree")
    add("rows", whole, "20000", "impressions to generate, where there is no train channel")
    add("seed", int, "7", "makes the data, the split and the draws")
    add("threads", whole, "2", "the same number gives the same rounding")
    add("checkpoint-every", whole, "5", "rounds from one checkpoint to the next")
    parser.add_argument("--checkpoint-dir", type=Path, help="[where SageMaker syncs checkpoints]")
    model_dir = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--model-dir", type=Path, default=model_dir, help="[$SM_MODEL_DIR]")
    return parser.parse_args(arguments)


def whole(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 1 on")
    return int(text)


def share(text: str) -> float:
    """A number above 0, at most 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number above 0, at most 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
