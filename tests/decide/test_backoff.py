"""How long a run pauses before it asks again, and which faults are final."""

from dataclasses import replace

import pytest

from nightspot.decide import policy
from nightspot.failures.classify import RESPONSES
from nightspot.failures.codes import FailureClass
from nightspot.run.model import Action

THROTTLED, NO_CAPACITY = FailureClass.THROTTLED, FailureClass.NO_CAPACITY
SERVICE_FAULT = FailureClass.SERVICE_FAULT


@pytest.fixture
def pause_after(story):
    """Seconds paused after attempts that ended so at midnight, the last one just now."""

    def pause(*failures, now="00:00", rungs=None, ladder=None, **last):
        rungs = rungs or (story.spot,) * len(failures)
        attempts = [
            story.ended(failure, rung, number=number)
            for number, (failure, rung) in enumerate(zip(failures, rungs, strict=True), 1)
        ]
        attempts[-1] = replace(attempts[-1], **last)
        run = story.run(rungs=ladder or (story.spot, story.on_demand), attempts=attempts)
        return policy.pause_left(run, attempts[-1], RESPONSES[failures[-1]], story.at(now))

    return pause


def test_each_throttle_on_end_is_waited_for_longer_up_to_five_minutes(pause_after):
    longest = [15, 30, 60, 120, 240, 300, 300]
    for row, seconds in enumerate(longest, 1):
        assert seconds / 2 <= pause_after(*[THROTTLED] * row) < seconds


def test_the_pause_is_jittered_by_the_jobs_name_and_always_alike(pause_after):
    names = [f"nightspot-job-{n}-1" for n in range(20)]
    pauses = [pause_after(THROTTLED, training_job_name=name) for name in names]
    assert pauses == [pause_after(THROTTLED, training_job_name=name) for name in names]
    assert len(set(pauses)) > 10


def test_another_failure_between_throttles_starts_the_row_again(pause_after):
    assert pause_after(THROTTLED, THROTTLED, NO_CAPACITY, THROTTLED) < 15


def test_a_job_throttled_after_it_trained_is_the_first_of_its_row(pause_after):
    assert pause_after(THROTTLED, trained_seconds=600.0) < 15


def test_a_dry_market_is_asked_after_five_then_ten_then_twenty_minutes(pause_after):
    assert [pause_after(*[NO_CAPACITY] * row) for row in range(1, 5)] == [300, 600, 1200, 1200]


def test_a_full_quota_counts_like_a_dry_market(pause_after):
    assert pause_after(NO_CAPACITY, FailureClass.QUOTA_TEMPORARY) == 600


def test_a_machine_lost_for_good_mid_training_is_the_first_of_its_row(pause_after):
    assert pause_after(NO_CAPACITY, trained_seconds=3600.0) == 300
    assert pause_after(NO_CAPACITY, NO_CAPACITY, NO_CAPACITY, trained_seconds=3600.0) == 300


def test_the_next_type_is_asked_at_once_and_a_pause_comes_after_each_round(story, pause_after):
    other = replace(story.spot, instance_type="ml.p5.48xlarge")
    rungs = (story.spot, other, story.spot, other)
    ladder = (story.spot, other, story.on_demand)
    pauses = [pause_after(*[NO_CAPACITY] * n, rungs=rungs[:n], ladder=ladder) for n in range(1, 5)]
    assert pauses == [0, 300, 0, 600]


def test_a_short_wait_limit_is_asked_again_like_a_dry_market_from_when_it_was_asked_for(pause_after):
    # The user's MaxWaitTimeInSeconds of a minute: ninety attempts would be gone before the night is.
    wait = FailureClass.WAIT_LIMIT
    ended = {"now": "00:01", "ended_waiting": True}
    assert [pause_after(*[wait] * row, **ended) for row in range(1, 5)] == [240, 540, 1140, 1140]
    assert pause_after(wait, now="01:00", ended_waiting=True) < 0
    assert pause_after(NO_CAPACITY, wait, **ended) == 540


@pytest.mark.parametrize(
    "failure", [FailureClass.INTERRUPTED, FailureClass.WAIT_LIMIT, FailureClass.STOPPED_BY_NIGHTSPOT]
)
def test_what_has_already_waited_is_not_made_to_wait_again(pause_after, failure):
    assert pause_after(failure) == 0


def test_a_service_fault_is_given_a_minute(pause_after):
    assert pause_after(SERVICE_FAULT) == 60


def test_what_has_passed_since_the_failure_counts(pause_after):
    assert pause_after(NO_CAPACITY, now="00:02") == 180
    assert pause_after(NO_CAPACITY, now="00:06") < 0


def test_a_pause_never_outlasts_the_last_safe_moment(story, pause_after):
    ended = {"ended_at": story.at("02:13")}
    assert pause_after(NO_CAPACITY, now="02:13", **ended) == 60
    assert pause_after(NO_CAPACITY, now="02:20", ended_at=story.at("02:20")) < 0


def test_on_demand_has_no_moment_after_which_asking_helps(story, pause_after):
    late = {"now": "06:00", "ended_at": story.at("06:00")}
    bought = (story.on_demand,)
    assert pause_after(NO_CAPACITY, rungs=bought, ladder=bought, **late) == 300


def test_spot_is_asked_in_the_pause_of_on_demand_and_a_refusal_of_both_is_paused_after(story, pause_after):
    row = (story.spot, story.on_demand, story.spot, story.on_demand, story.spot)
    late = {"now": "06:00", "ended_at": story.at("06:00")}
    pauses = [pause_after(*[NO_CAPACITY] * n, rungs=row[:n], **late) for n in range(2, 6)]
    assert pauses == [0, 300, 0, 600]


@pytest.mark.parametrize(("attempts", "pause"), [(59, 1200), (60, 1800), (70, 3600), (79, 36_000)])
def test_from_sixty_attempts_on_those_for_spot_are_spread_over_the_time_until_its_last_safe_moment(
    story, attempts, pause
):
    dry = [story.ended(NO_CAPACITY, number=number + 1) for number in range(attempts)]
    # 5 h 46 min before the deadline Spot's last safe moment comes: in ten hours.
    run = story.run(attempts=dry, deadline=story.at("15:46"))
    assert policy.pause_left(run, dry[-1], RESPONSES[NO_CAPACITY], story.midnight) == pause


def faults(story, *phases, reason="InternalServerError: again"):
    attempts = [
        story.ended(SERVICE_FAULT, number=number, failed_in=phase, failure_reason=reason)
        for number, phase in enumerate(phases, 1)
    ]
    return story.run(attempts=attempts)


def test_two_service_faults_are_answered_and_the_third_is_final(story):
    two, three = (
        faults(story, "Downloading", "Training"),
        faults(story, "Downloading", "Training", "Uploading"),
    )
    assert not policy.is_final_fault(two, two.last_attempt)
    assert policy.is_final_fault(three, three.last_attempt)


def test_the_same_fault_twice_in_the_same_phase_is_final(story):
    run = faults(story, "Training", "Training")
    assert policy.is_final_fault(run, run.last_attempt)


def test_another_fault_in_the_same_phase_is_not(story):
    run = faults(story, "Training", "Training")
    other = replace(run.last_attempt, failure_reason="InternalServerError: other")
    assert not policy.is_final_fault(run.with_attempt(other), other)


@pytest.fixture
def five_days(story):
    """Faults of a run of 12,000 steps: at 41 h, step 4,000 safe, and at 102 h, step 10,000; due in 90 h more."""

    def run(*steps, between=(), **changes):
        attempts, before = [], None
        for number, step in enumerate(steps, 1):
            fault = story.ended(SERVICE_FAULT, number=number, failed_in="Training", step_before=before)
            attempts.append(replace(fault, failure_reason="InternalServerError: again", step_after=step))
            before = step
        run = story.run(attempts=attempts, deadline=story.at("192:00"), **changes)
        return replace(run, progress=story.progress(steps[-1], "101:50", total_steps=12_000))

    return run


def test_a_fault_after_new_steps_is_the_first_of_its_count(story, five_days):
    run = five_days(4_000, 10_000)
    assert not policy.is_final_fault(run, run.last_attempt)
    step = policy.next_step(run, story.at("102:01"))
    assert step.action is Action.START
    run = five_days(4_000, 10_000, 11_000, 11_500)
    assert not policy.is_final_fault(run, run.last_attempt)


def test_a_fault_without_new_steps_counts_as_before(five_days):
    run = five_days(4_000, 4_000)
    assert policy.is_final_fault(run, run.last_attempt)


def test_progress_that_is_estimated_by_training_time_begins_no_count(story):
    run = faults(story, "Training", "Training")
    trained = tuple(replace(attempt, safe_seconds=7200.0, trained_seconds=9000.0) for attempt in run.attempts)
    assert policy.is_final_fault(replace(run, attempts=trained), trained[-1])


def test_two_refused_calls_are_in_no_phase(story):
    run = faults(story, None, None)
    assert not policy.is_final_fault(run, run.last_attempt)


def test_other_failures_do_not_use_up_the_retries_of_a_service_fault(story):
    dry = [story.ended(NO_CAPACITY, number=number) for number in range(1, 9)]
    fault = story.ended(SERVICE_FAULT, number=9)
    run = story.run(attempts=[*dry, fault])
    assert not policy.is_final_fault(run, fault)
