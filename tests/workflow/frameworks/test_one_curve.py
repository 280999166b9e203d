"""A run of three attempts, in MLflow and in Weights & Biases as their packages keep it: one run, one curve."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mlflow", reason="MLflow is not installed: make frameworks")
pytest.importorskip("wandb", reason="Weights & Biases is not installed: make frameworks")

from nightspot.checkpoint.trackers import offline_points
from nightspot.job.model import Tracking
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket
from nightspot.local.stage.night_files import Night

pytestmark = [pytest.mark.workflow, pytest.mark.long]

SCRIPT = Path(__file__).parents[2] / "checkpoint" / "scripts" / "tracked_training.py"
STEPS = 24
# The packages are imported for seconds, which are half an hour of the story.
SPOT_A = SimulatedMarket.scripted([{"available": "1h"}, {"reclaim": "rest"}])
SPOT_B = SimulatedMarket.scripted([{"available": "2h"}, {"reclaim": "rest"}])


def uninterrupted():
    """The curve of the script: step, loss and rate."""
    total, rows = 0.0, []
    for step in range(1, STEPS + 1):
        total += 1 / step
        rows.append((step, 1 / total, 0.5**step))
    return rows


def test_three_attempts_are_one_run_and_one_curve_in_mlflow_and_in_wandb(play, tmp_path, monkeypatch, slower):
    store = f"file://{tmp_path / 'mlruns'}"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    environment = {
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
        "SECONDS_PER_STEP": str(0.1 * slower),
    }
    played = play(
        Night("two reclaims", "", Markets(spot={"ml.g5.xlarge": SPOT_A, "ml.g5.2xlarge": SPOT_B})),
        deadline={"within": "12h"},
        policy="eager",
        capacity={
            "spot": [
                {"instance_type": "ml.g5.xlarge", "patience": "5m"},
                {"instance_type": "ml.g5.2xlarge", "patience": "5m"},
            ],
            "on_demand": ["ml.g5.xlarge"],
        },
        tracking={
            "mlflow": {"uri": store, "experiment": "nightly"},
            "wandb": {"project": "counter", "entity": "team"},
        },
        local={"command": [sys.executable, str(SCRIPT)], "environment": environment},
    )

    run = played.record
    assert len(run.attempts) == 3
    assert [attempt.resumed_from_step for attempt in run.attempts] == [None, 9, 15]
    assert run.trackers == {"wandb": f"https://wandb.ai/team/counter/runs/{run.run_id}"}

    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("nightly")
    (logged,) = client.search_runs([experiment.experiment_id])
    histories = [client.get_metric_history(logged.info.run_id, name) for name in ("loss", "rate")]
    assert [(a.step, a.value, b.value) for a, b in zip(*histories, strict=True)] == uninterrupted()
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["nightspot.run_id"] == run.run_id
    assert logged.info.run_name == f"counter-{run.run_id}"

    points = offline_points(tmp_path / "wandb", run.run_id)
    assert [(p.step, p.values["loss"], p.values["rate"]) for p in points] == uninterrupted()
    files = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(files) > 1
    assert all(path.name.endswith(f"-{run.run_id}") for path in files)


def test_a_script_that_starts_its_own_mlflow_run_goes_on_with_the_one_of_the_attempt_before(
    tmp_path, monkeypatch
):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    given = {"uri": f"file://{tmp_path / 'mlruns'}"}
    variables = Tracking.model_validate({"mlflow": given}).environment("counter", "20261121-77aivi6n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    started = []
    for step in (1, 2):
        with mlflow.start_run() as run:
            mlflow.log_metric("loss", 1.0, step=step)
            started.append(run.info.run_id)

    assert started[0] == started[1]
    kept = mlflow.MlflowClient().get_run(started[0])
    assert (kept.info.run_name, kept.data.tags["nightspot.job"]) == ("counter-20261121-77aivi6n", "counter")
