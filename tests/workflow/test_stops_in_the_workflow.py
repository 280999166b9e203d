"""A person's stop at the moments at which there is no training job to stop, through the real workflow."""

import boto3

from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.training_jobs import Stopper, StopState
from nightspot.aws.table.run_table import RunTable
from nightspot.local.sagemaker.markets import SimulationOptions
from nightspot.local.stage.emulated_aws import REGION, TABLE
from nightspot.local.stage.night_files import Night

SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


class Person:
    """Asks once for the end of the run, between a decision for `action` and what the workflow makes of it."""

    def __init__(self, action):
        self.action = action
        self.looks = []

    def stops(self, name, handler):
        def decide(event):
            answer = handler(event)
            if answer["step"]["action"] == self.action and not self.looks:
                clients = [boto3.client(each, region_name=REGION) for each in ("sagemaker", "stepfunctions")]
                table = RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)
                stopper = Stopper(table, clients[0], Executions(clients[1]))
                self.looks.append(stopper.ask(answer["run"]["run_id"], by="nightspot stop"))
            return answer

        return decide if name == "DecideNextStep" else handler


def test_a_run_that_is_stopped_in_a_pause_buys_nothing_after_it(play):
    person = Person("pause")
    options = SimulationOptions(internal_errors_at_seconds=(600.0,))
    played = play(Night("faulty", "", options=options), **SHORT, wrap=person.stops)

    assert [look.state for look in person.looks] == [StopState.NOTED]
    assert played.error == "Nightspot.stopped"
    assert played.cause == "The run was asked to stop (nightspot stop)."
    assert [job["TrainingJobStatus"] for job in played.training_jobs] == ["Failed"]


def test_a_run_that_is_stopped_while_a_training_job_is_asked_for_stops_that_one(play):
    person = Person("start")
    played = play(**SHORT, wrap=person.stops)

    assert [look.state for look in person.looks] == [StopState.NOTED]
    assert played.error == "Nightspot.stopped"
    assert [job["TrainingJobStatus"] for job in played.training_jobs] == ["Stopped"]
    assert [step.action for step in played.steps][1] == "stop"  # as soon as there was a machine
