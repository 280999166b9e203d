"""The phases of a training job, and what an interruption takes and leaves."""

from __future__ import annotations

from itertools import pairwise

from nightspot.local.sagemaker.markets import SimulatedMarket

LONG = {"steps": 100_000, "seconds_per_step": 0.02}
TAKEN_ONCE = [{"available": "50m"}, {"reclaim": 0}, {"available": "rest"}]
TAKEN_WITH_A_WARNING = [{"available": "50m"}, {"reclaim": 0, "warning": True}, {"available": "rest"}]
WHOLE_LIFE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_a_job_with_a_machine_at_once_goes_through_every_phase(night, states_of):
    tonight = night()
    tonight.ask()
    ended = tonight.until_ended()
    assert states_of(ended) == WHOLE_LIFE
    assert ended["TrainingJobStatus"] == "Completed"
    assert "FailureReason" not in ended
    for earlier, later in pairwise(ended["SecondaryStatusTransitions"]):
        assert earlier["EndTime"] == later["StartTime"] >= earlier["StartTime"]


def test_the_model_and_the_output_are_stored_when_training_is_complete(night):
    tonight = night("contract.py")
    tonight.ask()
    ended = tonight.until_ended()
    assert ended["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/models/job/output/model.tar.gz"}
    assert list(tonight.archive("models/job/output/model.tar.gz")) == ["seen.json"]
    assert tonight.archive("models/job/output/output.tar.gz") == {"notes.txt": "a note"}


def test_a_job_without_a_machine_waits_for_capacity(night, states_of):
    tonight = night(spot_market=SimulatedMarket.scripted([{"missing": "40m"}, {"available": "rest"}]))
    tonight.ask()
    waiting = tonight.until_status("Pending")
    assert waiting["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job waiting for capacity"
    assert "TrainingStartTime" not in waiting
    ended = tonight.until_ended()
    assert states_of(ended) == ["Starting", "Pending", *WHOLE_LIFE]
    assert ended["TrainingStartTime"] >= tonight.clock.start.timestamp() + 40 * 60


def test_an_interrupted_job_resumes_from_the_last_synced_checkpoint(night, states_of):
    tonight = night(spot_market=SimulatedMarket.scripted(TAKEN_ONCE))
    tonight.ask(parameters={"steps": 60, "seconds_per_step": 0.02})
    ended = tonight.until_ended()
    interrupted = ["Starting", "Downloading", "Training", "Interrupted"]
    assert states_of(ended) == [*interrupted, *WHOLE_LIFE]
    starts = [int(line.split()[-1]) for line in tonight.said() if line.startswith("starting at")]
    assert starts[0] == 0
    assert 0 < starts[1] < 60
    assert tonight.stored()["deep/step.txt"] == "60"


def test_what_was_not_synced_is_lost_with_a_machine_taken_without_warning(night):
    tonight = night(spot_market=SimulatedMarket.scripted(TAKEN_ONCE), sync_interval_seconds=1e9)
    tonight.ask(parameters=LONG)
    tonight.until(lambda: tonight.said().count("starting at 0") == 2)
    assert "step 1" in tonight.said()
    assert "SIGTERM" not in tonight.said()
    assert tonight.stored() == {}


def test_a_warning_leaves_time_for_a_signal_and_a_last_sync(night, states_of):
    market = SimulatedMarket.scripted(TAKEN_WITH_A_WARNING)
    tonight = night(spot_market=market, sync_interval_seconds=1e9)
    tonight.ask(parameters=LONG)
    tonight.until(lambda: sum(line.startswith("starting at") for line in tonight.said()) == 2)
    said = tonight.said()
    restart = next(line for line in said[1:] if line.startswith("starting at"))
    assert said.index("SIGTERM") < said.index(restart)
    assert restart != "starting at 0"
    assert "Interrupted" in states_of(tonight.describe())


def test_a_machine_can_be_taken_before_it_trains(night, states_of):
    market = SimulatedMarket.scripted([{"available": "1m"}, {"reclaim": "30m"}, {"available": "rest"}])
    tonight = night(spot_market=market, spot_provisioning_seconds=600)
    tonight.ask()
    ended = tonight.until_ended()
    assert states_of(ended)[:4] == ["Starting", "Interrupted", "Starting", "Pending"]
    assert ended["TrainingJobStatus"] == "Completed"


def test_an_on_demand_machine_is_never_taken(night, states_of):
    tonight = night(on_demand_market=SimulatedMarket.scripted(TAKEN_ONCE))
    tonight.ask(spot=False, parameters={"steps": 60, "seconds_per_step": 0.02})
    assert states_of(tonight.until_ended()) == WHOLE_LIFE
