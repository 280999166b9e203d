"""The example job learns, and an interruption does not change what it learns."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "recommender" / "train.py"
SMALL = {"SM_HP_USERS": "200", "SM_HP_ITEMS": "150", "SM_HP_EPOCHS": "9", "SM_HP_FACTORS": "8"}


def environment(folder, **more):
    """SageMaker's variables for a container whose folders are here, and nothing of this machine."""
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    document = {"LocalPath": str(folder / "checkpoints")}
    (config / "checkpointconfig.json").write_text(json.dumps(document))
    return {
        "PATH": os.environ["PATH"],
        "SM_INPUT_CONFIG_DIR": str(config),
        "SM_MODEL_DIR": str(folder / "model"),
        "SM_OUTPUT_DIR": str(folder / "output"),
        **SMALL,
        **more,
    }


def train(folder, *arguments, **more):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        check=False,
    )


def train_until(epoch, folder, **more):
    """Train, and kill it the moment it reports this epoch; returns the lines printed by then."""
    lines = []
    with subprocess.Popen(
        [sys.executable, SCRIPT, "--seconds-per-epoch", "0.1"],
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(f"epoch {epoch}/"):
                process.kill()
    assert process.returncode == -9
    return lines


def metrics(folder):
    return json.loads((folder / "model" / "metrics.json").read_text())


def test_killed_twice_and_resumed_it_ends_with_the_same_bits_as_undisturbed(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert train(undisturbed).returncode == 0

    train_until(4, killed, NIGHTSPOT_ATTEMPT="1")
    second = train_until(7, killed, NIGHTSPOT_ATTEMPT="2")
    third = train(killed, NIGHTSPOT_ATTEMPT="3")

    assert second[0] == "resumed from epoch 3 (checkpoint of attempt 1)"
    assert second[1].startswith("epoch 4/9 ")
    assert third.stdout.startswith("resumed from epoch 6 (checkpoint of attempt 2)\nepoch 7/9 ")
    assert metrics(killed) == metrics(undisturbed)
    model = "model/model.npz"
    assert (killed / model).read_bytes() == (undisturbed / model).read_bytes()


def test_it_learns_far_more_than_what_is_popular_and_goes_on_learning(tmp_path):
    # The sizes it has by default; a third of the epochs.
    full_size = {"SM_HP_USERS": "1600", "SM_HP_ITEMS": "800", "SM_HP_FACTORS": "32"}
    finished = train(tmp_path, SM_HP_EPOCHS="8", **full_size)

    reached = metrics(tmp_path)
    assert reached["recall_at_10"] > 2 * reached["popularity_recall_at_10"]
    assert reached["recall_at_10"] > 10 * 10 / 800
    lines = [line for line in finished.stdout.splitlines() if line.startswith("epoch")]
    recalls = [float(line.rpartition("=")[2]) for line in lines]
    assert len(recalls) == 8
    assert recalls == sorted(recalls)


def test_the_progress_file_carries_the_recall(tmp_path):
    train(tmp_path)

    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (9, 9)
    assert progress["metrics"]["recall_at_10"] == metrics(tmp_path)["recall_at_10"]


# What an epoch takes on a machine of speed 1; the upper bounds are far off, because this machine may be busy.
@pytest.mark.parametrize(
    ("epoch", "speed", "slowest", "fastest"), [("0.1", "0.25", 0.4, math.inf), ("2", "20", 0.1, 2.0)]
)
def test_a_slower_machine_is_simulated_by_a_slower_pace_and_the_same_training(
    tmp_path, epoch, speed, slowest, fastest
):
    train(tmp_path / "as_it_is", SM_HP_EPOCHS="3")
    pace = {"RECOMMENDER_SECONDS_PER_EPOCH": epoch, "NIGHTSPOT_SIMULATED_SPEED": speed}

    train(tmp_path, SM_HP_EPOCHS="3", SM_HP_CHECKPOINT_EVERY="1", **pace)

    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert slowest <= progress["seconds_per_step"] < fastest
    assert metrics(tmp_path) == metrics(tmp_path / "as_it_is")


def test_it_reads_the_train_channel_where_there_is_one(tmp_path):
    np = pytest.importorskip("numpy")
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, [40, 30], (900, 2)), axis=0)
    np.savez(tmp_path / "interactions.npz", user=pairs[:, 0], item=pairs[:, 1])

    assert train(tmp_path, SM_CHANNEL_TRAIN=str(tmp_path)).returncode == 0

    with np.load(tmp_path / "model" / "model.npz") as model:
        assert (model["user"].shape, model["item"].shape) == ((40, 8), (30, 8))


def test_a_checkpoint_of_another_training_is_refused_with_the_reason(tmp_path):
    train(tmp_path)

    refused = train(tmp_path, "--seed", "8")

    assert refused.returncode == 1
    failure = (tmp_path / "output" / "failure").read_text()
    assert failure.startswith("OtherTrainingError: ")
    assert "'seed': 7" in failure


def test_a_hyperparameter_that_makes_no_sense_becomes_the_failure_reason(tmp_path):
    # As SageMaker's training toolkit spells it.
    refused = train(tmp_path, **{"SM_HP_CHECKPOINT-EVERY": "0"})

    assert refused.returncode == 1
    assert (tmp_path / "output" / "failure").read_text() == (
        "HyperparameterError: argument --checkpoint-every: '0': must be a whole number from 1 on\n"
    )
