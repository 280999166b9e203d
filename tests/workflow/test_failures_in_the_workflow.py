"""What goes wrong for another reason than the market, and that it buys nothing."""

import pytest

from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, SimulationOptions
from nightspot.local.sagemaker.request_rules import INTERNAL_FAILURE, THROTTLED, ServiceFault
from nightspot.local.stage.night_files import Night
from nightspot.run.model import Action

SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


def faulty(*create_faults, **options):
    return Night("test", "", options=SimulationOptions(**options), create_faults=create_faults)


def markets_of(played):
    return [attempt.market for attempt in played.record.attempts]


def test_a_bug_in_the_users_code_ends_the_run_and_never_buys_on_demand(look_at):
    played, _ = look_at("a bug in the script")

    assert played.execution_status == "FAILED"
    assert played.error == "Nightspot.failed"
    assert len(played.training_jobs) == 1
    assert markets_of(played) == ["spot"]
    # The script's own text begins like AWS's word for missing capacity.
    assert played.record.attempts[0].failure_class == "user_code"
    assert "CapacityError: my own words" in played.cause


def test_an_unknown_failure_is_told_loudly(play_virtually):
    played = play_virtually(faulty(ServiceFault("SomethingNewException", "A fault nobody has seen.", 418)))

    assert "Nightspot Unknown Failure" in [entry["DetailType"] for entry in played.notices]
    assert "A fault nobody has seen." in played.record.attempts[0].failure_reason


@pytest.mark.parametrize("fault", [THROTTLED, INTERNAL_FAILURE], ids=["throttled", "no answer"])
def test_a_start_that_aws_does_not_take_is_asked_for_again_under_the_same_name(play_virtually, fault):
    played = play_virtually(faulty(fault, fault, fault, fault), **SHORT)

    starts = [step for step in played.steps if step.action is Action.START]
    assert [step.attempt for step in starts] == [1] * 5
    assert len({step.training_job_name for step in starts}) == 1
    assert [a.failure_class for a in played.record.attempts] == [None]
    assert played.record.deadline_met


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("error", ["Lambda.Unknown", "Sandbox.Timedout", "AccessDeniedException", "KeyError"])
def test_a_start_whose_function_dies_is_one_training_job_in_the_end(play_virtually, error, after):
    """However it is called: nobody knows what SageMaker was asked, and the run goes on."""
    left = [type(error, (Exception,), {})("not now") for _ in range(3)]

    def wrap(name, handler):
        def call(event):
            if name != "StartTrainingJob" or not left:
                return handler(event)
            if after:
                handler(event)
            raise left.pop()

        return call

    played = play_virtually(**SHORT, wrap=wrap)

    assert played.output["outcome"] == "succeeded"
    assert len(played.training_jobs) == 1
    starts = [step for step in played.steps if step.action is Action.START]
    # A job that is there is seen, and not asked for again.
    assert len(starts) == (1 if after else 4)
    assert {step.training_job_name for step in starts} == {played.training_jobs[0]["TrainingJobName"]}
    assert [a.failure_class for a in played.record.attempts] == [None]
    assert "Nightspot Decision Crashed" not in [entry["DetailType"] for entry in played.notices]


def test_a_request_that_the_functions_botocore_does_not_know_ends_the_run_with_its_field(play_virtually):
    """By botocore's model, before SageMaker is asked."""
    cause = 'Parameter validation failed:\nUnknown parameter in input: "NewField", must be one of: RoleArn'
    fault = {"Error": "SageMaker.ParamValidationError", "Cause": cause}

    def wrap(name, handler):
        refused = {"training_job_arn": None, "fault": fault}
        return (lambda _event: refused) if name == "StartTrainingJob" else handler

    played = play_virtually(**SHORT, wrap=wrap)

    assert played.execution_status == "FAILED"
    assert {a.failure_class for a in played.record.attempts} == {"configuration"}
    assert 'Unknown parameter in input: "NewField"' in played.cause
    assert played.training_jobs == ()


def test_a_service_fault_is_answered_with_another_attempt_from_the_checkpoint(play_virtually):
    played = play_virtually(faulty(internal_errors_at_seconds=(45 * 60.0,)))

    assert [a.failure_class for a in played.record.attempts] == ["service_fault", None]
    assert markets_of(played) == ["spot", "spot"]
    assert played.record.attempts[1].resumed_from_step > 0


def test_the_same_service_fault_in_the_same_phase_twice_is_final(play_virtually):
    played = play_virtually(faulty(internal_errors_at_seconds=(15 * 60.0, 30 * 60.0, 45 * 60.0)))

    assert [a.failure_class for a in played.record.attempts] == ["service_fault"] * 2
    assert played.execution_status == "FAILED"


@pytest.mark.parametrize("how", ["a person", "runtime limit"])
def test_stopped_is_never_success(look_at, how):
    is_no_success(look_at(how)[0])


def test_stopped_by_the_users_own_wait_limit_before_the_policy_does_is_no_success(play_virtually):
    played = play_virtually(
        Night("test", "", Markets(default_spot=SimulatedMarket.never())),
        stopping={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
        work="5m",
        checkpoint_every="5m",
        hyperparameters={"steps": "1", "every": "1"},
        deadline={"within": "1h30m"},
        fallback="never",
        capacity={"spot": ["ml.g5.xlarge"]},
    )
    is_no_success(played)


def is_no_success(played):
    stopped = [job for job in played.training_jobs if job["TrainingJobStatus"] == "Stopped"]
    assert stopped
    assert played.execution_status == "FAILED"
    assert played.record.outcome != "succeeded"
    assert not played.record.deadline_met
    assert all(a.failure_class for a in played.record.attempts)


def failing(function, *, at_step, times, error):
    """A function that fails so often, after it has done its work: the repetition meets its own traces."""
    left = {"faults": times}

    def wrap(name, handler):
        def call(event):
            answer = handler(event)
            if event.get("run", {"steps": 0})["steps"] >= at_step and left["faults"]:
                left["faults"] -= 1
                raise error("not now")
            return answer

        return call if name == function else handler

    wrap.left = left
    return wrap


@pytest.mark.parametrize(
    ("function", "at_step", "error"),
    [
        ("PlanRun", 0, "Lambda.Unknown"),
        ("DecideNextStep", 1, "Runtime.ExitError"),
        ("RecordOutcome", 1, "KeyError"),
    ],
)
def test_a_function_that_fails_twice_and_then_answers_harms_nothing(play_virtually, function, at_step, error):
    wrap = failing(function, at_step=at_step, times=2, error=type(error, (Exception,), {}))
    played = play_virtually(**SHORT, wrap=wrap)

    assert wrap.left["faults"] == 0
    assert played.output["outcome"] == "succeeded"
    assert len(played.training_jobs) == 1
    assert [step.number for step in played.steps] == list(range(1, len(played.steps) + 1))


def test_a_function_that_fails_for_minutes_is_reported_once_and_called_again(play_virtually):
    """More often than all retries of the state, twice: the run looks again instead of failing."""
    error = type("Lambda.Unknown", (Exception,), {})
    wrap = failing("DecideNextStep", at_step=1, times=14, error=error)
    played = play_virtually(**SHORT, wrap=wrap)

    assert wrap.left["faults"] == 0
    assert played.output["outcome"] == "succeeded"
    assert played.states_entered.count("Wait after a failure") == 2
    reports = [entry for entry in played.notices if entry["DetailType"] == "Nightspot Decision Failing"]
    assert played.states_entered.count("Report the failure") == 1
    assert all("not now" not in entry["Detail"] for entry in reports)


def test_a_function_that_never_answers_is_given_up_in_the_end(play_virtually):
    """Where the run would give up as well; its state machine says so, and names the training job that it leaves."""

    def wrap(name, handler):
        def call(event):
            if name == "DecideNextStep" and event["run"]["steps"] >= 1:
                raise RuntimeError('a "bug" in the decision with a password=hunter2')
            answer = handler(event)
            return {**answer, "most_misses": 1} if name == "PlanRun" else answer

        return call

    played = play_virtually(**SHORT, wrap=wrap)

    assert played.execution_status == "FAILED"
    assert played.error == "Nightspot.DecisionCrashed"
    assert 'a \\"bug\\" in the decision' in played.cause
    assert played.states_entered[-3:] == ("Record the crash", "Sound the alarm", "The decision crashed")
