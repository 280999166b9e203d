"""SageMaker's own limits: what of them interruptions use up, and what is the job's own fault."""

import pytest

from nightspot.local.sagemaker.markets import Markets, SimulatedMarket
from nightspot.local.sagemaker.request_rules import ServiceFault
from nightspot.local.stage.night_files import Night

MINUTE = 60
TWICE_INTERRUPTED = SimulatedMarket.scripted(
    [
        {"available": "25m"},
        {"reclaim": "5m"},
        {"available": "25m"},
        {"reclaim": "5m"},
        {"available": "rest"},
    ]
)
# An hour of steps is stated as 20 minutes: an attempt gets 24 of work, and twice a start-up and an interval of 6.
UNDERSTATED = {
    "work": "20m",
    "checkpoint_every": "5m",
    "change_over": {"spot": "1m", "on_demand": "1m"},
    "stopping": {"MaxRuntimeInSeconds": 25 * MINUTE},
}
NEVER_SAVED = {**UNDERSTATED, "hyperparameters": {"every": "100"}}
OFTEN_SAVED = {**UNDERSTATED, "hyperparameters": {"every": "1"}}
ON_DEMAND = {"capacity": {"on_demand": ["ml.g5.xlarge"]}}


def created(played):
    """The market of every training job that SageMaker accepted, and its MaxRuntimeInSeconds, in order."""
    return [
        (
            "spot" if job.get("EnableManagedSpotTraining") else "on_demand",
            job["StoppingCondition"]["MaxRuntimeInSeconds"],
        )
        for job in played.training_jobs
    ]


def test_a_limit_as_long_as_the_work_is_not_used_up_by_what_interruptions_repeat(play_virtually):
    night = Night("interrupted", "", Markets(default_spot=TWICE_INTERRUPTED))
    played = play_virtually(night, stopping={"MaxRuntimeInSeconds": 60 * MINUTE})

    # 72 minutes of work at most, and twice a start-up and an interval of ten.
    assert created(played) == [("spot", 112 * MINUTE)]
    (attempt,) = played.record.attempts
    assert played.output["outcome"] == "succeeded"
    assert played.record.deadline_met
    assert attempt.interruptions == 2
    assert attempt.trained_seconds > 60 * MINUTE > attempt.billable_seconds


def test_a_run_goes_on_after_a_limit_that_came_after_a_new_checkpoint(play_virtually):
    played = play_virtually(**OFTEN_SAVED)

    assert created(played)[0] == ("spot", 36 * MINUTE)
    assert [market for market, _ in created(played)] == ["spot", "spot"]
    first, second = played.record.attempts
    assert first.failure_class == "runtime_limit"
    assert second.resumed_from_step == first.step_after > 0
    assert played.output["outcome"] == "succeeded"
    assert played.record.deadline_met


def test_a_limit_without_a_new_checkpoint_ends_the_run_and_names_the_limit(play_virtually):
    played = play_virtually(**NEVER_SAVED)

    assert created(played) == [("spot", 36 * MINUTE)]
    assert played.record.outcome == "failed"
    assert "its MaxRuntimeInSeconds of 36 min passed without a new checkpoint" in played.cause
    assert "raise work and MaxRuntimeInSeconds in the job file" in played.cause


def test_no_attempt_follows_once_the_paid_time_is_used_up(play_virtually):
    played = play_virtually(**OFTEN_SAVED, **ON_DEMAND)

    assert created(played) == [("on_demand", 25 * MINUTE)]
    assert played.record.outcome == "failed"
    assert played.record.attempts[0].failure_class == "runtime_limit"
    assert "the run's limit of paid time (MaxRuntimeInSeconds 25 min) is used up (step" in played.cause


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("MaxWaitTimeInSeconds above 3600 is not supported for the given algorithm.", id="wait"),
        pytest.param("Words that nobody has seen of a type that Spot does not have.", id="unknown words"),
    ],
)
def test_a_refusal_of_the_request_for_spot_leaves_spot_out_and_the_run_goes_on(play_virtually, words):
    refused = ServiceFault("ValidationException", words)
    played = play_virtually(Night("refused", "", create_faults=(refused,)))

    assert [market for market, _ in created(played)] == ["on_demand"]
    assert [a.failure_class for a in played.record.attempts] == ["configuration", None]
    assert played.record.deadline_met
    assert [out.because for out in played.record.left_out] == ["configuration, attempt 1"]


def test_a_request_that_on_demand_refuses_too_ends_the_run_with_awss_words(play_virtually):
    refused = ServiceFault("ValidationException", "Invalid training image.")
    played = play_virtually(Night("refused", "", create_faults=(refused, refused)))

    assert created(played) == []
    assert [a.failure_class for a in played.record.attempts] == ["configuration", "configuration"]
    assert played.record.outcome == "failed"
    assert played.record.cost_usd == 0
    assert "Invalid training image." in played.cause


def test_a_pending_limit_on_on_demand_is_a_want_of_capacity_and_no_persons_stop(play_virtually):
    queue = SimulatedMarket.scripted([{"missing": "40m"}, {"available": "rest"}])
    limits = {"MaxRuntimeInSeconds": 120 * MINUTE, "MaxPendingTimeInSeconds": 30 * MINUTE}
    played = play_virtually(
        Night("queue", "", Markets(default_on_demand=queue)), stopping=limits, **ON_DEMAND
    )

    assert [a.failure_class for a in played.record.attempts] == ["no_capacity", None]
    assert played.record.deadline_met
