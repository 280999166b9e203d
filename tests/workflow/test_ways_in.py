"""How a run begins and what its execution tells: inputs typed by hand, late nights, retries."""

import json
import threading
import time

import boto3
import pytest

from nightspot.aws.runs.executions import Starter
from nightspot.local.stage.emulated_aws import REGION, wait_for_end

LONGEST_REAL_SECONDS = 120.0
SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


@pytest.mark.parametrize(
    ("run_input", "words"),
    [
        ({}, "job: is missing."),
        ({"job": "conter"}, "job: 'conter' is not a job; did you mean counter?"),
        ({"jobs": "x"}, "job: is missing; did you mean job instead of jobs?"),
        ("counter", "input: 'counter' is not a mapping; did you mean counter?"),
        ([], "input: a list of 0 is not a mapping"),
        ({"job": 7}, "job: 7 must be the name of a job, as text"),
    ],
)
def test_an_input_that_names_no_job_is_refused_with_the_jobs_there_are(play_virtually, run_input, words):
    played = play_virtually(run_input=run_input)

    assert played.states_entered[-1] == "The input was refused"
    assert (played.error, played.training_jobs) == ("Nightspot.InvalidInput", ())
    assert played.cause.startswith(words)
    assert played.cause.endswith('The input must be like {"job": "counter"}; the jobs are: counter')


def test_a_job_s_name_alone_is_enough_and_the_output_begins_with_a_sentence(play_virtually):
    played = play_virtually(**SHORT, run_input={"job": "counter"})

    assert played.execution_status == "SUCCEEDED"
    assert next(iter(played.output)) == "headline"
    assert played.output["headline"].startswith("The model was ready at ")
    assert " before the deadline; $" in played.output["headline"]
    assert played.output["requested_by"] == "console"


def test_a_late_night_keeps_its_deadline_and_shows_in_the_execution_what_is_possible(play):
    seen = {}

    def show(_simulator, _clock):
        client = boto3.client("stepfunctions", region_name=REGION)
        while "output" not in seen:
            for machine in client.list_state_machines()["stateMachines"]:
                arn = machine["stateMachineArn"]
                for execution in client.list_executions(stateMachineArn=arn)["executions"]:
                    events = client.get_execution_history(executionArn=execution["executionArn"])["events"]
                    exits = [e["stateExitedEventDetails"] for e in events if "stateExitedEventDetails" in e]
                    plans = [left for left in exits if left["name"] == "Plan the run"]
                    if plans:
                        seen["output"] = json.loads(plans[0]["output"])
            time.sleep(0.02)

    given = {"job": "counter", "scheduled_at": "2026-11-20T22:30:00Z", "requested_by": "schedule"}
    played = play(**SHORT, run_input=given, meanwhile=show)

    assert played.execution_status == "SUCCEEDED"
    assert played.record.deadline.isoformat() == "2026-11-21T01:30:00+00:00"
    assert played.record.plan_note.startswith("Started 1 h 30 min late: 1 h ")
    assert seen["output"] == {"plan_note": played.record.plan_note}
    started = next(json.loads(e["Detail"]) for e in played.notices if e["DetailType"].endswith("Run Started"))
    assert started["plan_note"] == played.record.plan_note


class Retry:
    """A second execution, which continues from the first one's checkpoints as soon as that one has failed."""

    def __init__(self, overrides):
        self.overrides = overrides
        self.execution = None
        self._failed, self._over = threading.Event(), threading.Event()
        self._run_id = ""

    def start(self, _simulator, _clock):
        assert self._failed.wait(LONGEST_REAL_SECONDS)
        client = boto3.client("stepfunctions", region_name=REGION)
        (machine,) = client.list_state_machines()["stateMachines"]
        started = Starter(client, machine["stateMachineArn"]).start(
            "counter", self.overrides, name="retry", resume_from=self._run_id
        )
        self.execution = wait_for_end(client, started.execution_arn, LONGEST_REAL_SECONDS)
        self._over.set()

    def hold_the_first(self, name, handler):
        """The night is over with its first execution: keep that one until the retry has ended as well."""

        def record(event):
            answer = handler(event)
            if not event["run"]["execution_arn"].endswith(":retry"):
                self._run_id = event["run"]["run_id"]
                self._failed.set()
                assert self._over.wait(LONGEST_REAL_SECONDS)
            return answer

        return record if name == "RecordOutcome" else handler


def test_a_mended_job_goes_on_from_the_last_checkpoint_of_the_run_that_failed(play):
    retry = Retry({"hyperparameters": {"fail_at": "0"}})
    played = play(
        work="30m",
        hyperparameters={"steps": "6", "every": "2", "fail_at": "5"},
        meanwhile=retry.start,
        wrap=retry.hold_the_first,
    )

    assert played.error == "Nightspot.failed"
    summary = json.loads(retry.execution["output"])
    first, second = played.training_jobs
    assert second["CheckpointConfig"]["S3Uri"] == first["CheckpointConfig"]["S3Uri"]
    assert (summary["outcome"], summary["resume"]) == ("succeeded", "proven")
    (attempt,) = summary["attempts"]
    assert (attempt["step_before"], attempt["resumed_from_step"]) == (4, 4)
    assert summary["plan_note"] == (
        f"Continues from step 4 of 6, the last checkpoint of run {played.run.run_id}. "
        f"Its work is not that of run {played.run.run_id} (algorithm, channels, hyperparameters or `work` differ):"
        " how much of it is done, nobody knows."
    )
    assert summary["resume_from"] == played.run.run_id
