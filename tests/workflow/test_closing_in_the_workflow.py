"""An execution that somebody aborts, or that crashes, through the real workflow: closed, or gone on with."""

import boto3
import pytest

from nightspot.local.stage.emulated_aws import REGION
from nightspot.run.model import Outcome

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


class Crash:
    """In so many executions the decision after the first `steps` fails, and the workflow gives up at once."""

    def __init__(self, executions, steps=0, *, is_told=True):
        self.crashed = set()
        self._executions, self._steps, self._is_told = executions, steps, is_told

    def wrap(self, name, handler):
        wrapped = {"PlanRun": self._plan, "DecideNextStep": self._decide, "CloseRun": self._close}
        return (lambda event: wrapped[name](handler, event)) if name in wrapped else handler

    def _plan(self, handler, event):
        return {**handler(event), "most_misses": 0}

    def _decide(self, handler, event):
        arn, is_next = event["run"]["execution_arn"], event["run"]["steps"] >= self._steps
        if is_next and (arn in self.crashed or len(self.crashed) < self._executions):
            self.crashed.add(arn)
            raise KeyError("boom")
        return handler(event)

    def _close(self, handler, event):
        is_lost = not self._is_told and event["detail-type"].startswith("Step Functions")
        return {"closed": False} if is_lost else handler(event)


@pytest.mark.parametrize("is_told", [True, False], ids=["its event comes", "its event is lost"])
def test_a_run_whose_execution_crashes_is_gone_on_with_by_another_one(play_virtually, is_told):
    crash = Crash(executions=1, steps=1, is_told=is_told)
    played = play_virtually(**SHORT, wrap=crash.wrap)

    assert len(crash.crashed) == 1
    assert (played.execution_status, played.run.outcome) == ("SUCCEEDED", Outcome.SUCCEEDED)
    assert (played.run.restarts, played.run.execution_arn in crash.crashed) == (1, False)
    assert "because its execution had crashed" in played.record.plan_note
    # It went on with the training job that the first execution had asked for.
    assert [job["TrainingJobStatus"] for job in played.training_jobs] == ["Completed"]
    assert [attempt.number for attempt in played.record.attempts] == [1]
    told = [entry["DetailType"] for entry in played.notices]
    assert (told[-1], told.count("Nightspot Run Started")) == ("Nightspot Run Succeeded", 1)
    assert played.dead_letters == 0


def test_a_run_that_crashes_again_and_again_is_recorded_as_crashed(play_virtually):
    crash = Crash(executions=9)
    played = play_virtually(**SHORT, wrap=crash.wrap)

    assert len(crash.crashed) == 4  # its own execution, and three that went on with it
    assert played.execution_status == "FAILED"
    assert (played.run.outcome, played.run.crashed, played.run.restarts) == (Outcome.FAILED, True, 3)
    assert played.notices[-1]["DetailType"] == "Nightspot Run Failed"
    assert played.training_jobs == ()


def test_an_abort_whose_event_is_lost_stops_the_training_job_all_the_same(play):
    lost = Crash(executions=0, is_told=False)
    played = play(**SHORT, on_sighting=aborts, wrap=lost.wrap)

    assert played.run.outcome is Outcome.STOPPED
    assert "was aborted by hand in Step Functions" in played.run.outcome_because
    assert played.training_jobs[0]["TrainingJobStatus"] in {"Stopping", "Stopped"}
    assert played.notices[-1]["DetailType"] == "Nightspot Run Stopped"


def test_the_end_of_every_training_job_comes_to_the_function_that_completes_bills(play_virtually):
    names = []

    def listening(name, handler):
        def invoke(event):
            names.append(event["detail"].get("TrainingJobName"))
            return handler(event)

        return invoke if name == "CloseRun" else handler

    played = play_virtually(**SHORT, wrap=listening)

    assert names == [job["TrainingJobName"] for job in played.training_jobs]
    assert played.run.outcome is Outcome.SUCCEEDED
