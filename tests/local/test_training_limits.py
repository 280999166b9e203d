"""Limits and stops: how a training job ends that did not end by itself."""

from __future__ import annotations

import os
from pathlib import Path

from nightspot.local.sagemaker.markets import SimulatedMarket

LONG = {"steps": 100_000, "seconds_per_step": 0.02}
TAKEN_WITH_A_WARNING = [{"available": "50m"}, {"reclaim": 0, "warning": True}, {"available": "rest"}]


def limits(runtime_seconds, wait_seconds=None):
    wait = {} if wait_seconds is None else {"MaxWaitTimeInSeconds": wait_seconds}
    return {"StoppingCondition": {"MaxRuntimeInSeconds": runtime_seconds, **wait}}


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # Where nothing reaps orphans, a killed one stays as a zombie.
    status = Path(f"/proc/{process_id}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_wait_limit_used_up_waiting_stops_the_job_without_a_reason(night, states_of):
    tonight = night(spot_market=SimulatedMarket.never())
    tonight.ask(**limits(600, 1200))
    ended = tonight.until_ended()
    assert (ended["TrainingJobStatus"], ended["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert states_of(ended) == ["Starting", "Pending", "Stopping", "MaxWaitTimeExceeded"]
    assert ended["LastModifiedTime"] - ended["CreationTime"] >= 1200
    missing = {
        "FailureReason",
        "TrainingStartTime",
        "TrainingEndTime",
        "TrainingTimeInSeconds",
        "BillableTimeInSeconds",
        "ModelArtifacts",
    }
    assert not missing & ended.keys()


def test_the_wait_limit_counts_training_too(night, states_of):
    tonight = night()
    tonight.ask(parameters=LONG, **limits(1800, 1800))
    ended = tonight.until_ended()
    assert states_of(ended)[-3:] == ["Stopping", "Uploading", "MaxWaitTimeExceeded"]
    assert ended["TrainingJobStatus"] == "Stopped"
    assert "FailureReason" not in ended


def test_the_runtime_limit_counts_training_over_all_machines_but_no_waiting(night, states_of):
    market = SimulatedMarket.scripted([{"available": "20m"}, {"reclaim": "40m"}, {"available": "rest"}])
    tonight = night(spot_market=market)
    tonight.ask(parameters=LONG, **limits(1800, 86_400))
    ended = tonight.until_ended()
    assert ended["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert "Interrupted" in states_of(ended)
    assert ended["TrainingTimeInSeconds"] >= 1800
    assert ended["TrainingEndTime"] - ended["TrainingStartTime"] >= 1800 + 40 * 60


def test_a_stopped_job_gets_a_signal_syncs_uploads_and_is_stopped(night, states_of):
    tonight = night(sync_interval_seconds=1e9)
    tonight.ask(parameters=LONG)
    tonight.until_line("step 3")
    tonight.stop()
    assert tonight.describe()["TrainingJobStatus"] == "Stopping"
    ended = tonight.until_ended()
    assert states_of(ended)[-4:] == ["Training", "Stopping", "Uploading", "Stopped"]
    assert "SIGTERM" in tonight.said()
    assert int(tonight.stored()["deep/step.txt"]) >= 3
    assert "S3ModelArtifacts" in ended["ModelArtifacts"]


def test_a_command_that_ignores_the_signal_is_killed_after_the_grace(night):
    tonight = night(stop_grace_seconds=120)
    tonight.ask(parameters={**LONG, "sigterm": "ignore", "child": "yes"})
    tonight.until_line("step 1")
    child = int(tonight.until_line("child").split()[-1])
    assert alive(child)
    tonight.stop()
    assert tonight.until_ended()["SecondaryStatus"] == "Stopped"
    said = tonight.said()
    steps_after = [line for line in said[said.index("SIGTERM") :] if line.startswith("step")]
    assert steps_after
    tonight.until(lambda: not alive(child))


def test_a_waiting_job_is_stopped_at_once(night, states_of):
    tonight = night(spot_market=SimulatedMarket.never())
    tonight.ask()
    tonight.until_status("Pending")
    tonight.stop()
    assert states_of(tonight.until_ended()) == ["Starting", "Pending", "Stopping", "Stopped"]


def test_a_stop_during_the_grace_of_a_reclaim_is_not_forgotten(night, states_of):
    market = SimulatedMarket.scripted(TAKEN_WITH_A_WARNING)
    tonight = night(spot_market=market, stop_grace_seconds=3600)
    tonight.ask(parameters={**LONG, "sigterm": "ignore"})
    tonight.until_line("SIGTERM")
    tonight.stop()
    assert states_of(tonight.until_ended())[-2:] == ["Stopping", "Stopped"]


def test_closing_leaves_no_process_and_no_disk_behind(night):
    tonight = night()
    tonight.ask(parameters={**LONG, "sigterm": "ignore", "child": "yes"})
    child = int(tonight.until_line("child").split()[-1])
    tonight.simulator.close()
    tonight.until(lambda: not alive(child))
    assert tonight.describe()["TrainingJobStatus"] == "InProgress"
    machines = tonight.simulator.log_path("job").parents[1] / "machines"
    assert list(machines.iterdir()) == []
