"""The Keras classifier learns, and the drill finds no bit of it changed by kills."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")
pytest.importorskip("h5py", reason="Keras is not installed: make frameworks")

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.xdist_group("keras")


ENVIRON = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}


def test_it_learns(tmp_path):
    folders = ["--checkpoint-dir", tmp_path / "checkpoints", "--model-dir", tmp_path / "model"]
    trained = subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "keras" / "train.py",
            *folders,
            "--epochs",
            "3",
            "--samples",
            "160",
        ],
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr

    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["epochs"] == 3
    assert metrics["accuracy"] > 0.5  # by chance: 0.25
    assert json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())["fraction"] == 1.0


@pytest.mark.long
def test_the_drill_finds_the_same_bits_after_every_kind_of_kill():
    small = ["--env", "SM_HP_EPOCHS=3", "--env", "SM_HP_SAMPLES=160", "--env", "SM_HP_CHECKPOINT_EVERY=3"]
    drill = subprocess.run(
        [sys.executable, "-m", "nightspot", "drill", "examples/keras/job.yaml", "--local", "--json", *small],
        cwd=ROOT,
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=False,
    )
    assert drill.returncode == 0, drill.stdout + drill.stderr
