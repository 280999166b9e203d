"""`nightspot demo`, whole: the installed command as another process."""

import json
import subprocess
import sys

import pytest

KEYS = {
    "outcome",
    "deadline_met",
    "margin_seconds",
    "cost_usd",
    "on_demand_cost_usd",
    "saved_percent",
    "attempts",
    "steps",
    "metrics",
    "state_transitions",
    "simulated",
}
ATTEMPT_KEYS = {
    "market",
    "instance_type",
    "failure_class",
    "waited_seconds",
    "trained_seconds",
    "billable_seconds",
    "interruptions",
    "resumed_from_step",
    "cost_usd",
}


@pytest.mark.workflow
def test_a_quiet_night_is_one_json_object_and_a_record(tmp_path, slower):
    command = [
        "demo",
        "--json",
        "--night",
        "quiet",
        "--time-scale",
        str(600 / slower),
        "--build",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "nightspot", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=300,
    )
    night = json.loads(done.stdout)
    assert done.stderr == ""
    assert night.keys() >= KEYS
    assert night["simulated"] is True
    assert all(attempt.keys() >= ATTEMPT_KEYS for attempt in night["attempts"])
    assert night["steps"][0]["action"] == "start"
    assert night["steps"][-1]["action"] == "finish"
    assert all(step["because"] for step in night["steps"])
    assert done.returncode == (0 if night["deadline_met"] else 1)
    assert night["outcome"] == "succeeded"
    assert night["metrics"]["recall_at_10"] > 0.2
    [record] = (tmp_path / "runs").glob("*.json")
    assert json.loads(record.read_text()) == night
    assert (tmp_path / "demo" / "functions.log").stat().st_size > 0
    assert "The model was ready at" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
