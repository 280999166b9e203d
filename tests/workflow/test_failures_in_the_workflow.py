"""What goes wrong for another reason than the market, and that it buys nothing."""

import time

import boto3
import pytest

from nightspot.aws.faults import TransientAwsError
from nightspot.local.emulated_aws import REGION, TABLE
from nightspot.local.faults import INTERNAL_FAILURE, THROTTLED, ServiceFault
from nightspot.local.markets import Market, Markets
from nightspot.local.nights import Night
from nightspot.local.options import SimulationOptions
from nightspot.run import Action

pytestmark = pytest.mark.workflow

SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


def faulty(*create_faults, **options):
    return Night("test", "", options=SimulationOptions(**options), create_faults=create_faults)


def markets_of(played):
    return [attempt["market"] for attempt in played.summary["attempts"]]


def test_a_bug_in_the_users_code_ends_the_run_and_never_buys_on_demand(look_at):
    played, _ = look_at("a bug in the script")

    assert played.execution_status == "FAILED"
    assert played.error == "Nightspot.failed"
    assert len(played.training_jobs) == 1
    assert markets_of(played) == ["spot"]
    # The script's own text begins like AWS's word for missing capacity.
    assert played.summary["attempts"][0]["failure_class"] == "user_code"
    assert "CapacityError: my own words" in played.cause


def test_an_unknown_failure_is_told_loudly(play):
    played = play(faulty(ServiceFault("SomethingNewException", "A fault nobody has seen.", 418)))

    assert "Nightspot Unknown Failure" in [entry["DetailType"] for entry in played.notices]
    assert "A fault nobody has seen." in played.summary["attempts"][0]["failure_reason"]


def test_a_throttled_start_is_asked_for_again_later_and_later(play):
    played = play(faulty(THROTTLED, THROTTLED), **SHORT)

    failures = [a["failure_class"] for a in played.summary["attempts"]]
    assert failures == ["throttled", "throttled", None]
    pauses = [step.wait_seconds for step in played.steps if step.action is Action.PAUSE]
    assert len(pauses) >= 1
    assert played.states_entered.count("Pause") == len(pauses)
    assert len(played.training_jobs) == 1
    assert played.summary["deadline_met"]


def test_a_service_fault_is_answered_with_another_attempt_from_the_checkpoint(play):
    played = play(faulty(internal_errors_at_seconds=(45 * 60.0,)))

    assert [a["failure_class"] for a in played.summary["attempts"]] == ["service_fault", None]
    assert markets_of(played) == ["spot", "spot"]
    assert played.summary["attempts"][1]["resumed_from_step"] > 0


def test_service_faults_are_final_after_the_second(play):
    played = play(faulty(INTERNAL_FAILURE, INTERNAL_FAILURE, INTERNAL_FAILURE))

    assert [a["failure_class"] for a in played.summary["attempts"]] == ["service_fault"] * 3
    assert played.execution_status == "FAILED"
    assert played.training_jobs == ()


@pytest.mark.parametrize("how", ["a person", "runtime limit", "wait limit"])
def test_stopped_is_never_success(play, look_at, how):
    if how != "wait limit":
        played, _ = look_at(how)
    else:
        # The user's own limit ends the wait before the policy does.
        played = play(
            Night("test", "", Markets(default_spot=Market.never())),
            stopping={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
            work="5m",
            checkpoint_every="5m",
            hyperparameters={"steps": "1", "every": "1"},
            deadline={"within": "1h30m"},
            fallback="never",
            capacity={"spot": ["ml.g5.xlarge"]},
        )

    stopped = [job for job in played.training_jobs if job["TrainingJobStatus"] == "Stopped"]
    assert stopped
    assert played.execution_status == "FAILED"
    assert played.summary["outcome"] != "succeeded"
    assert not played.summary["deadline_met"]
    assert all(a["failure_class"] for a in played.summary["attempts"])


@pytest.mark.parametrize("error", ["Lambda.ServiceException", "TransientAwsError"])
def test_a_decision_that_fails_twice_and_then_answers_harms_nothing(play, error):
    kind = TransientAwsError if error == "TransientAwsError" else type(error, (Exception,), {})
    left = {"faults": 2}

    def wrap(name, handler):
        def decide(event):
            # Fails once after it has decided and written: the repetition meets its own traces.
            answer = handler(event) if left["faults"] != 2 else None
            if event["run"]["steps"] == 1 and left["faults"]:
                left["faults"] -= 1
                raise kind("not now")
            return answer or handler(event)

        return decide if name == "DecideNextStep" else handler

    played = play(**SHORT, wrap=wrap)

    assert left["faults"] == 0
    assert played.output["outcome"] == "succeeded"
    assert len(played.training_jobs) == 1
    assert [step.number for step in played.steps] == list(range(1, len(played.steps) + 1))


def test_a_decision_that_crashes_is_recorded_and_alarmed_and_names_the_job_it_leaves_running(play):
    alarms = []

    def wrap(name, handler):
        def decide(event):
            if event["run"]["steps"] >= 1:
                raise RuntimeError('a "bug" in the decision')
            return handler(event)

        return decide if name == "DecideNextStep" else handler

    def watch(simulator, clock):
        dynamodb = boto3.client("dynamodb", region_name=REGION)
        while not alarms:
            items = dynamodb.scan(TableName=TABLE)["Items"]
            alarms.extend(item for item in items if item["sk"]["S"] == "CRASH")
            time.sleep(0.02)

    played = play(**SHORT, wrap=wrap, meanwhile=watch)

    assert played.execution_status == "FAILED"
    assert played.error == "Nightspot.DecisionCrashed"
    assert 'a \\"bug\\" in the decision' in played.cause
    assert played.states_entered[-3:] == ("Record the crash", "Sound the alarm", "The decision crashed")
    assert alarms[0]["job"]["S"] == "counter"
    assert alarms[0]["error"]["S"] == "RuntimeError"
