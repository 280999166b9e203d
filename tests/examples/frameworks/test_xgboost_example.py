"""The click model learns, and an interruption does not change a byte of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xgboost", reason="XGBoost is not installed: make frameworks")

EXAMPLE = Path(__file__).parents[3] / "examples" / "xgboost"
SMALL = {"SM_HP_ROUNDS": "9", "SM_HP_ROWS": "2000", "SM_HP_CHECKPOINT_EVERY": "3", "SM_HP_THREADS": "1"}

pytestmark = pytest.mark.xdist_group("xgboost")


def environment(folder, **more):
    """A container of SageMaker's whose folders are here, and nothing of this machine."""
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(folder / "checkpoints")}))
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
        [sys.executable, EXAMPLE / "train.py", *arguments],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        check=False,
    )


def train_until(number, folder, how, **more):
    """Train, and end it with this signal when it reports this round; returns its lines and status."""
    lines = []
    with subprocess.Popen(
        [sys.executable, EXAMPLE / "train.py"],
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(f"round {number}/"):
                process.send_signal(how)
    return lines, process.returncode


def results(folder):
    model = folder / "model"
    return (model / "model.ubj").read_bytes(), json.loads((model / "metrics.json").read_text())


# More rounds than are trained while the signal is on its way.
LONG = {"SM_HP_ROUNDS": "400", "SM_HP_MAX_DEPTH": "4"}


def test_killed_and_asked_to_stop_and_resumed_it_ends_with_the_same_bytes(tmp_path):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert train(undisturbed, **LONG).returncode == 0

    _, killed = train_until(7, disturbed, signal.SIGKILL, NIGHTSPOT_ATTEMPT="1", **LONG)
    second, asked = train_until(120, disturbed, signal.SIGTERM, NIGHTSPOT_ATTEMPT="2", **LONG)
    third = train(disturbed, NIGHTSPOT_ATTEMPT="3", **LONG)

    assert (killed, asked, third.returncode) == (-signal.SIGKILL, 128 + signal.SIGTERM, 0)
    assert second[0].startswith("resumed from round ")
    assert second[0].endswith("(checkpoint of attempt 1)")
    # The signal came in time for the round that it came in.
    last = second[-1].split()[1].partition("/")[0]
    first, following, *_ = third.stdout.splitlines()
    assert first == f"resumed from round {last} (checkpoint of attempt 2)"
    assert following.startswith(f"round {int(last) + 1}/400 ")
    assert results(disturbed) == results(undisturbed)


def test_it_learns(tmp_path):
    finished = train(tmp_path, SM_HP_ROUNDS="40", SM_HP_ROWS="20000")

    lines = [line for line in finished.stdout.splitlines() if line.startswith("round ")]
    aucs = [float(line.split("auc=")[1].split()[0]) for line in lines]
    assert len(lines) == 40
    assert aucs[0] < aucs[9] < aucs[39]
    assert aucs[39] > 0.7


def test_the_progress_file_carries_the_round_and_its_metrics(tmp_path):
    train(tmp_path)

    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (9, 9)
    assert progress["metrics"]["validation-auc"] == results(tmp_path)[1]["auc"]


def test_a_finished_training_only_writes_its_model_again(tmp_path):
    train(tmp_path)
    before = results(tmp_path)

    again = train(tmp_path)

    assert "round 9/9" not in again.stdout
    assert results(tmp_path) == before


def test_more_rounds_go_on_longer(tmp_path):
    train(tmp_path)

    longer = train(tmp_path, SM_HP_ROUNDS="12")

    assert longer.stdout.startswith(
        "resumed from round 9 (checkpoint of an unnumbered attempt)\nround 10/12 "
    )


def write_csv(folder, rows):
    folder.mkdir()
    for place, half in enumerate((rows[::2], rows[1::2])):
        text = "\n".join(",".join(str(value) for value in row) for row in half)
        (folder / f"part-{place}.csv").write_text(text + "\n")
    return str(folder)


def test_it_reads_the_train_channel_where_there_is_one(tmp_path):
    # Clicked where the price is low, and nothing else matters.
    rows = [(int(price < 50), 1, 1, 1, 1, 1, 1, price, 0.5) for price in range(100)] * 5
    channel = write_csv(tmp_path / "channel", rows)

    assert train(tmp_path, SM_CHANNEL_TRAIN=channel).returncode == 0
    assert results(tmp_path)[1]["auc"] == 1.0


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(1, 2, 3)] * 4, "DataError: part-0.csv: must have the click (0 or 1) and then 8 columns"),
        ([(2, *range(8))] * 4, "DataError: part-0.csv: must have the click (0 or 1)"),
        ([("click", "hour")] * 4, "DataError: part-0.csv: must be numbers, separated by commas"),
    ],
)
def test_a_table_that_is_none_becomes_the_failure_reason(tmp_path, rows, reason):
    refused = train(tmp_path, SM_CHANNEL_TRAIN=write_csv(tmp_path / "channel", rows))

    assert refused.returncode == 1
    assert (tmp_path / "output" / "failure").read_text().startswith(reason)


def test_a_checkpoint_of_another_training_is_refused_with_the_reason(tmp_path):
    train(tmp_path)

    refused = train(tmp_path, "--max-depth", "3")

    assert refused.returncode == 1
    failure = (tmp_path / "output" / "failure").read_text()
    assert failure.startswith(
        "OtherTrainingError: checkpoint-000000009-rank00000.nsck was saved with {'max_depth': 5}"
    )


def test_a_hyperparameter_that_makes_no_sense_becomes_the_failure_reason(tmp_path):
    # As SageMaker's training toolkit spells it.
    refused = train(tmp_path, **{"SM_HP_LEARNING-RATE": "1.5"})

    assert refused.returncode == 1
    assert (tmp_path / "output" / "failure").read_text() == (
        "HyperparameterError: argument --learning-rate: '1.5': must be a number above 0, at most 1\n"
    )


def test_its_job_file_is_valid():
    checked = subprocess.run(
        [sys.executable, "-m", "nightspot", "validate", EXAMPLE / "job.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "warning" not in checked.stdout.lower()
