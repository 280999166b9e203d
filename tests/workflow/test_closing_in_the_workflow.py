"""An execution that somebody aborts, or that crashes, through the real workflow: CloseRun records its run."""

import boto3
import pytest

from nightspot.local.emulated_aws import REGION
from nightspot.run import Outcome

pytestmark = pytest.mark.workflow

SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


def aborts(sighting):
    """As soon as the training job trains, a person aborts the execution."""
    if sighting.kind != "status" or sighting.status != "Training":
        return
    client = boto3.client("stepfunctions", region_name=REGION)
    machine = client.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    for execution in client.list_executions(stateMachineArn=machine)["executions"]:
        if execution["status"] == "RUNNING":
            client.stop_execution(executionArn=execution["executionArn"])


def test_a_night_whose_execution_is_aborted_is_recorded_as_stopped(play):
    played = play(**SHORT, on_sighting=aborts)

    assert played.execution_status == "ABORTED"
    assert played.run.outcome is Outcome.STOPPED
    assert "was aborted by hand in Step Functions" in played.run.outcome_because
    assert played.steps[-1].outcome is Outcome.STOPPED
    assert played.training_jobs[0]["TrainingJobStatus"] in {"Stopping", "Stopped"}
    assert played.notices[-1]["DetailType"] == "Nightspot Run Stopped"
    assert played.dead_letters == 0


def test_a_night_whose_decision_crashes_before_the_first_training_job_is_recorded_as_crashed(play):
    def broken(name, handler):
        def crash(_event):
            raise KeyError("boom")

        return crash if name == "DecideNextStep" else handler

    played = play(**SHORT, wrap=broken)

    assert played.execution_status == "FAILED"
    assert (played.run.outcome, played.run.crashed) == (Outcome.FAILED, True)
    assert played.notices[-1]["DetailType"] == "Nightspot Run Failed"


def test_the_end_of_every_training_job_comes_to_the_function_that_completes_bills(play):
    names = []

    def listening(name, handler):
        def invoke(event):
            names.append(event["detail"].get("TrainingJobName"))
            return handler(event)

        return invoke if name == "CloseRun" else handler

    played = play(**SHORT, wrap=listening)

    assert names == [job["TrainingJobName"] for job in played.training_jobs]
    assert played.run.outcome is Outcome.SUCCEEDED
