"""How a training job fails, and the reason it gives."""

from __future__ import annotations

import pytest

from nightspot.formats.statuses import Secondary, Status
from nightspot.local.sagemaker.job_state import JobEnding
from nightspot.local.sagemaker.markets import SimulatedMarket

LONG = {"steps": 100_000, "seconds_per_step": 0.02}
WHOLE_LIFE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


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
    tonight = night(on_demand_market=SimulatedMarket.never(), on_demand_fails_after_seconds=900)
    tonight.ask(spot=False)
    ended = tonight.until_ended()
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("CapacityError: Unable to provision requested ML compute")
    assert "BillableTimeInSeconds" not in ended


def test_on_demand_without_capacity_stays_pending_by_default(night):
    tonight = night(on_demand_market=SimulatedMarket.scripted([{"missing": "40m"}, {"available": "rest"}]))
    tonight.ask(spot=False)
    tonight.until_status("Pending")
    assert tonight.until_ended()["TrainingJobStatus"] == "Completed"


def test_a_pending_limit_stops_an_on_demand_job(night, states_of):
    tonight = night(on_demand_market=SimulatedMarket.never())
    condition = {"MaxRuntimeInSeconds": 3600, "MaxPendingTimeInSeconds": 1800}
    tonight.ask(spot=False, StoppingCondition=condition)
    ended = tonight.until_ended()
    assert states_of(ended) == ["Starting", "Pending", "Stopping", "Stopped"]
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


OUT_OF_MEMORY = JobEnding(
    Status.FAILED, Secondary.FAILED, "ClientError: Please use an instance type with more memory."
)
RECLAIMED = JobEnding(Status.STOPPED, Secondary.INTERRUPTED)


@pytest.mark.parametrize("ending", [OUT_OF_MEMORY, RECLAIMED])
def test_a_job_with_a_machine_ends_as_the_night_says(night, states_of, ending):
    tonight = night(endings_at_seconds=((7200.0, ending),))
    tonight.ask(parameters=LONG)
    ended = tonight.until_ended()
    assert (ended["TrainingJobStatus"], ended["SecondaryStatus"]) == (ending.status, ending.secondary)
    assert ended.get("FailureReason") == ending.failure_reason
    assert "ModelArtifacts" not in ended
    assert states_of(ended)[:3] == ["Starting", "Downloading", "Training"]
    # Counted from the night's start, not from the asking.
    assert ended["LastModifiedTime"] >= tonight.clock.at(7200.0).timestamp()


def test_of_two_scripted_endings_the_earlier_one_counts(night):
    tonight = night(endings_at_seconds=((3000.0, RECLAIMED), (1500.0, OUT_OF_MEMORY)))
    tonight.ask(parameters=LONG)
    assert tonight.until_ended()["FailureReason"] == OUT_OF_MEMORY.failure_reason


def test_a_scripted_ending_passes_by_a_job_that_has_no_machine_yet(night):
    market = SimulatedMarket.scripted([{"missing": "40m"}, {"available": "rest"}])
    tonight = night(spot_market=market, endings_at_seconds=((1500.0, OUT_OF_MEMORY),))
    tonight.ask()
    assert tonight.until_ended()["TrainingJobStatus"] == "Completed"
