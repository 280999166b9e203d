"""The life of a training job: phases, interruptions, limits, and what is left of it."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from nightspot.local.markets import Market
from nightspot.local.options import OptionError, SimulationOptions

LONG = {"steps": 100_000, "seconds_per_step": 0.02}
TAKEN_ONCE = [{"available": "50m"}, {"reclaim": 0}, {"available": "rest"}]
TAKEN_WITH_A_WARNING = [{"available": "50m"}, {"reclaim": 0, "warning": True}, {"available": "rest"}]
WHOLE_LIFE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


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
    tonight = night(spot_market=Market.scripted([{"missing": "40m"}, {"available": "rest"}]))
    tonight.ask()
    waiting = tonight.until_status("Pending")
    assert waiting["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job waiting for capacity"
    assert "TrainingStartTime" not in waiting
    ended = tonight.until_ended()
    assert states_of(ended) == ["Starting", "Pending", *WHOLE_LIFE]
    assert ended["TrainingStartTime"] >= tonight.clock.start.timestamp() + 40 * 60


def test_an_interrupted_job_resumes_from_the_last_synced_checkpoint(night, states_of):
    tonight = night(spot_market=Market.scripted(TAKEN_ONCE))
    tonight.ask(parameters={"steps": 60, "seconds_per_step": 0.02})
    ended = tonight.until_ended()
    interrupted = ["Starting", "Downloading", "Training", "Interrupted"]
    assert states_of(ended) == [*interrupted, *WHOLE_LIFE]
    starts = [int(line.split()[-1]) for line in tonight.said() if line.startswith("starting at")]
    assert starts[0] == 0
    assert 0 < starts[1] < 60
    assert tonight.stored()["deep/step.txt"] == "60"


def test_what_was_not_synced_is_lost_with_a_machine_taken_without_warning(night):
    tonight = night(spot_market=Market.scripted(TAKEN_ONCE), sync_interval_seconds=1e9)
    tonight.ask(parameters=LONG)
    tonight.until(lambda: tonight.said().count("starting at 0") == 2)
    assert "step 1" in tonight.said()
    assert "SIGTERM" not in tonight.said()
    assert tonight.stored() == {}


def test_a_warning_leaves_time_for_a_signal_and_a_last_sync(night, states_of):
    market = Market.scripted(TAKEN_WITH_A_WARNING)
    tonight = night(spot_market=market, sync_interval_seconds=1e9)
    tonight.ask(parameters=LONG)
    tonight.until(lambda: sum(line.startswith("starting at") for line in tonight.said()) == 2)
    said = tonight.said()
    restart = next(line for line in said[1:] if line.startswith("starting at"))
    assert said.index("SIGTERM") < said.index(restart)
    assert restart != "starting at 0"
    assert "Interrupted" in states_of(tonight.describe())


def test_a_machine_can_be_taken_before_it_trains(night, states_of):
    market = Market.scripted([{"available": "1m"}, {"reclaim": "30m"}, {"available": "rest"}])
    tonight = night(spot_market=market, spot_provisioning_seconds=600)
    tonight.ask()
    ended = tonight.until_ended()
    assert states_of(ended)[:4] == ["Starting", "Interrupted", "Starting", "Pending"]
    assert ended["TrainingJobStatus"] == "Completed"


def test_an_on_demand_machine_is_never_taken(night, states_of):
    tonight = night(on_demand_market=Market.scripted(TAKEN_ONCE))
    tonight.ask(spot=False, parameters={"steps": 60, "seconds_per_step": 0.02})
    assert states_of(tonight.until_ended()) == WHOLE_LIFE


def test_a_wait_limit_used_up_waiting_stops_the_job_without_a_reason(night, states_of):
    tonight = night(spot_market=Market.never())
    tonight.ask(**limits(600, 1200))
    ended = tonight.until_ended()
    assert (ended["TrainingJobStatus"], ended["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert states_of(ended) == ["Starting", "Pending", "MaxWaitTimeExceeded"]
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
    market = Market.scripted([{"available": "20m"}, {"reclaim": "40m"}, {"available": "rest"}])
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
    tonight = night(spot_market=Market.never())
    tonight.ask()
    tonight.until_status("Pending")
    tonight.stop()
    assert states_of(tonight.until_ended()) == ["Starting", "Pending", "Stopping", "Stopped"]


def test_a_stop_during_the_grace_of_a_reclaim_is_not_forgotten(night, states_of):
    market = Market.scripted(TAKEN_WITH_A_WARNING)
    tonight = night(spot_market=market, stop_grace_seconds=3600)
    tonight.ask(parameters={**LONG, "sigterm": "ignore"})
    tonight.until_line("SIGTERM")
    tonight.stop()
    assert states_of(tonight.until_ended())[-2:] == ["Stopping", "Stopped"]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"exit_code": 3}, "AlgorithmError: ExecuteUserScriptError:\nExitCode 3"),
        ({"exit_code": 1, "failure": "loss is NaN"}, "AlgorithmError: loss is NaN"),
        ({"exit_code": 1, "failure": "x" * 2000}, ("AlgorithmError: " + "x" * 2000)[:1024]),
    ],
)
def test_a_failing_command_gives_the_reason(night, states_of, parameters, reason):
    tonight = night()
    tonight.ask(parameters=parameters)
    ended = tonight.until_ended()
    assert (ended["TrainingJobStatus"], ended["SecondaryStatus"]) == ("Failed", "Failed")
    assert ended["FailureReason"] == reason
    assert "ModelArtifacts" not in ended
    assert ended["BillableTimeInSeconds"] >= 1


def test_a_command_that_does_not_exist_fails_the_job_with_its_name(night):
    tonight = night(command=["no-such-command", "--now"])
    tonight.ask()
    reason = tonight.until_ended()["FailureReason"]
    assert reason.startswith("AlgorithmError: ")
    assert "no-such-command --now" in reason


def test_a_bucket_that_does_not_exist_fails_the_job_as_a_client_error(night):
    tonight = night()
    tonight.ask(CheckpointConfig={"S3Uri": "s3://nowhere/checkpoints"})
    ended = tonight.until_ended()
    assert ended["FailureReason"].startswith("ClientError: ")
    assert "NoSuchBucket" in ended["FailureReason"]


def test_on_demand_capacity_that_does_not_come_fails_where_asked_for(night):
    tonight = night(on_demand_market=Market.never(), on_demand_fails_after_seconds=900)
    tonight.ask(spot=False)
    ended = tonight.until_ended()
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("CapacityError: Unable to provision requested ML compute")
    assert "BillableTimeInSeconds" not in ended


def test_on_demand_without_capacity_stays_pending_by_default(night):
    tonight = night(on_demand_market=Market.scripted([{"missing": "40m"}, {"available": "rest"}]))
    tonight.ask(spot=False)
    tonight.until_status("Pending")
    assert tonight.until_ended()["TrainingJobStatus"] == "Completed"


def test_a_pending_limit_stops_an_on_demand_job(night, states_of):
    tonight = night(on_demand_market=Market.never())
    condition = {"MaxRuntimeInSeconds": 3600, "MaxPendingTimeInSeconds": 1800}
    tonight.ask(spot=False, StoppingCondition=condition)
    ended = tonight.until_ended()
    assert states_of(ended) == ["Starting", "Pending", "Stopped"]
    assert ended["LastModifiedTime"] - ended["CreationTime"] >= 1800


def test_an_internal_error_fails_the_job(night, states_of):
    tonight = night(internal_errors_at_seconds=(1500.0,))
    tonight.ask(parameters=LONG)
    ended = tonight.until_ended()
    assert ended["FailureReason"].startswith("InternalServerError: We encountered an internal error.")
    assert "Uploading" not in states_of(ended)


def test_a_retry_strategy_starts_the_job_again_after_an_internal_error(night, states_of):
    tonight = night(internal_errors_at_seconds=(1500.0,))
    parameters = {"steps": 30, "seconds_per_step": 0.03}
    tonight.ask(parameters=parameters, RetryStrategy={"MaximumRetryAttempts": 1})
    restarted = ["Starting", "Downloading", "Training", "Restarting"]
    assert states_of(tonight.until_ended()) == [*restarted, *WHOLE_LIFE]


def test_spot_is_billed_at_the_discount_for_the_time_on_machines_only(night):
    market = Market.scripted([{"available": "20m"}, {"reclaim": "40m"}, {"available": "rest"}])
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
    assert seen["directory"] == os.getcwd()  # noqa: PTH109 - compared as the text that it is
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


def test_the_log_holds_the_words_of_every_machine(night):
    tonight = night(spot_market=Market.scripted(TAKEN_ONCE))
    tonight.ask(parameters={"steps": 60, "seconds_per_step": 0.02})
    tonight.until_ended()
    written = tonight.simulator.log_path("job").read_text().splitlines()
    assert written == tonight.said()
    assert sum(line.startswith("starting at") for line in written) == 2


def test_closing_leaves_no_process_and_no_disk_behind(night):
    tonight = night()
    tonight.ask(parameters={**LONG, "sigterm": "ignore", "child": "yes"})
    child = int(tonight.until_line("child").split()[-1])
    tonight.simulator.close()
    tonight.until(lambda: not alive(child))
    assert tonight.describe()["TrainingJobStatus"] == "InProgress"
    machines = tonight.simulator.log_path("job").parents[1] / "machines"
    assert list(machines.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"spot_discount": 1.5}, {"upload_seconds": -1}])
def test_options_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        SimulationOptions(**wrong)
