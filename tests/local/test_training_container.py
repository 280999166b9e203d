"""What the training script finds, what is kept of its words, and what its time costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nightspot.local.sagemaker.markets import SimulatedMarket, SimulationOptions

TAKEN_ONCE = [{"available": "50m"}, {"reclaim": 0}, {"available": "rest"}]


def test_the_script_finds_sagemakers_container(night, s3):
    s3.put_object(Bucket="bucket", Key="data/2026/events.csv", Body=b"a,b")
    tonight = night("contract.py", environment={"MINE": "wins", "NIGHTSPOT_ATTEMPT": "7"})
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data"}},
    }
    tonight.ask(
        parameters={"batch-size": 32, "optimiser": "adam"},
        InputDataConfig=[channel],
        Environment={"MINE": "loses", "THEIRS": "stays"},
    )
    tonight.until_ended()
    seen = json.loads(tonight.archive("models/job/output/model.tar.gz")["seen.json"])
    variables, files = seen["variables"], seen["files"]
    assert Path(seen["directory"]) == Path.cwd()
    assert (variables["MINE"], variables["THEIRS"], variables["NIGHTSPOT_ATTEMPT"]) == ("wins", "stays", "7")
    assert (variables["SM_HP_BATCH-SIZE"], variables["SM_HP_OPTIMISER"]) == ("32", "adam")
    assert json.loads(variables["SM_HPS"]) == {"batch-size": 32, "optimiser": "adam"}
    assert json.loads(variables["SM_CHANNELS"]) == ["train"]
    assert variables["SM_CHANNEL_TRAIN"].endswith("opt/ml/input/data/train")
    assert variables["TRAINING_JOB_NAME"] == "job"
    assert variables["TRAINING_JOB_ARN"].endswith(":training-job/job")
    assert "AWS_SECRET_ACCESS_KEY" not in variables
    assert len(variables["NIGHTSPOT_CLOCK"].split(":")) == 3
    assert files["data/train/2026/events.csv"] == "a,b"
    assert json.loads(files["config/hyperparameters.json"]) == {"batch-size": "32", "optimiser": "adam"}
    assert json.loads(files["config/checkpointconfig.json"])["LocalPath"].endswith("opt/ml/checkpoints")
    resources = json.loads(files["config/resourceconfig.json"])
    assert (resources["current_instance_type"], resources["hosts"]) == ("ml.g5.xlarge", ["algo-1"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "1"),
        ({"speeds": {"ml.g5.xlarge": 0.8, "ml.g5.2xlarge": 2}}, "0.8"),
        ({"speeds": {"ml.g5.2xlarge": 2}}, "1"),
        # What the job file says comes last, as with every variable.
        ({"speeds": {"ml.g5.xlarge": 0.8}, "environment": {"NIGHTSPOT_SIMULATED_SPEED": "3"}}, "3"),
    ],
)
def test_the_script_is_told_how_fast_its_simulated_machine_is(night, settings, said):
    tonight = night("contract.py", **settings)
    tonight.ask()
    tonight.until_ended()
    seen = json.loads(tonight.archive("models/job/output/model.tar.gz")["seen.json"])
    assert seen["variables"]["NIGHTSPOT_SIMULATED_SPEED"] == said


def test_the_log_holds_the_words_of_every_machine(night):
    tonight = night(spot_market=SimulatedMarket.scripted(TAKEN_ONCE))
    tonight.ask(parameters={"steps": 60, "seconds_per_step": 0.02})
    tonight.until_ended()
    written = tonight.simulator.log_path("job").read_text().splitlines()
    assert written == tonight.said()
    assert sum(line.startswith("starting at") for line in written) == 2


def test_spot_is_billed_at_the_discount_for_the_time_on_machines_only(night):
    market = SimulatedMarket.scripted([{"available": "20m"}, {"reclaim": "40m"}, {"available": "rest"}])
    tonight = night(spot_market=market, spot_discount=0.6)
    tonight.ask(parameters={"steps": 30, "seconds_per_step": 0.02})
    ended = tonight.until_ended()
    on_machines, begun = 0.0, None
    for transition in ended["SecondaryStatusTransitions"]:
        if transition["Status"] == "Downloading":
            begun = transition["StartTime"]
        elif transition["Status"] in {"Interrupted", "Completed"}:
            on_machines += transition["StartTime"] - begun
    assert ended["TrainingTimeInSeconds"] == pytest.approx(on_machines, abs=1)
    assert ended["BillableTimeInSeconds"] == pytest.approx(0.4 * on_machines, abs=1)
    span = ended["TrainingEndTime"] - ended["TrainingStartTime"]
    assert ended["TrainingTimeInSeconds"] <= span - 40 * 60


def test_on_demand_is_billed_in_full(night):
    tonight = night()
    tonight.ask(spot=False)
    ended = tonight.until_ended()
    assert ended["BillableTimeInSeconds"] == ended["TrainingTimeInSeconds"]
    span = ended["TrainingEndTime"] - ended["TrainingStartTime"]
    assert ended["TrainingTimeInSeconds"] == pytest.approx(span, abs=1)


@pytest.mark.parametrize(
    "wrong", [{"spot_discount": 1.5}, {"upload_seconds": -1}, {"speeds": {"ml.g5.xlarge": 0.0}}]
)
def test_options_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimulationOptions(**wrong)
