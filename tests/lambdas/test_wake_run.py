"""Waking: an event returns the token once, and whatever comes twice, late or too early harms nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from lambdas.wake_run import NotWaitingYetError
from nightspot.aws.drill_plan import drill_id
from nightspot.run import run_from_json

JOB = "nightspot-recommender-20261121-abc123-1"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
MOMENT = 1_795_219_200_000


def news(**changes):
    detail = {
        "TrainingJobName": JOB,
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Training",
        "LastModifiedTime": MOMENT,
    }
    return {**detail, **changes}


@pytest.fixture
def waiting(world):
    world.begin_to_wait(JOB, "first")
    return world


@pytest.mark.parametrize(
    ("status", "secondary"),
    [
        ("InProgress", "Training"),
        ("InProgress", "Interrupted"),
        ("InProgress", "Stopping"),
        ("Stopping", "Stopping"),
        ("Completed", "Completed"),
        ("Failed", "Failed"),
        ("Stopped", "MaxWaitTimeExceeded"),
        ("NeverHeardOf", "Starting"),
    ],
)
def test_news_returns_the_token_that_the_run_waits_with(waiting, status, secondary):
    assert waiting.wake(**news(TrainingJobStatus=status, SecondaryStatus=secondary))
    assert waiting.step_functions.returned == ["first"]


@pytest.mark.parametrize(
    "secondary", ["Starting", "Pending", "Downloading", "Uploading", "Restarting", "NeverHeardOf", ""]
)
def test_what_no_decision_turns_on_wakes_nobody(waiting, secondary):
    assert not waiting.wake(**news(SecondaryStatus=secondary))
    assert waiting.step_functions.returned == []
    assert waiting.table.waiting(JOB).token == "first"


def test_a_drills_job_belongs_to_no_run_and_does_not_come_again(world):
    drill = f"nightspot-recommender-drill-{drill_id(MIDNIGHT, 'abcde')}-2"
    assert not world.wake(
        **news(TrainingJobName=drill, TrainingJobStatus="Stopped", SecondaryStatus="Stopped")
    )


def test_a_run_of_a_job_that_is_called_a_drill_is_woken(world):
    job = "nightspot-fire-drill-20261121-abc123-1"
    world.begin_to_wait(job, "first")
    assert world.wake(**news(TrainingJobName=job))


def test_no_news_of_a_job_that_nobody_waits_for_is_no_reason_to_come_again(world):
    assert not world.wake(**news(SecondaryStatus="Starting"))


def test_the_same_event_twice_wakes_once(waiting):
    assert waiting.wake(**news())
    assert not waiting.wake(**news())
    assert waiting.step_functions.returned == ["first"]


def test_the_same_event_does_not_wake_the_next_wait_either(waiting):
    waiting.wake(**news())
    waiting.begin_to_wait(JOB, "second")
    assert not waiting.wake(**news())
    assert waiting.table.waiting(JOB).token == "second"


def test_an_older_event_that_comes_late_wakes_nobody(waiting):
    waiting.wake(**news(SecondaryStatus="Interrupted"))
    waiting.begin_to_wait(JOB, "second")
    assert not waiting.wake(**news(LastModifiedTime=MOMENT - 60_000))
    assert waiting.step_functions.returned == ["first"]


def test_a_newer_event_wakes_the_next_wait(waiting):
    waiting.wake(**news())
    waiting.begin_to_wait(JOB, "second")
    assert waiting.wake(**news(TrainingJobStatus="Completed", LastModifiedTime=MOMENT + 1))
    assert waiting.step_functions.returned == ["first", "second"]


def test_a_newer_event_during_the_decision_comes_again(waiting):
    waiting.wake(**news())
    with pytest.raises(NotWaitingYetError, match=JOB):
        waiting.wake(**news(LastModifiedTime=MOMENT + 1))


def test_an_event_before_the_first_wait_comes_again(world):
    with pytest.raises(NotWaitingYetError, match=JOB):
        world.wake(**news())


def test_an_event_that_another_was_quicker_to_return_the_token_for_comes_again(
    waiting, monkeypatch, aws_fault
):
    seen = waiting.table.waiting(JOB)
    waiting.wake(**news())
    waiting.step_functions.refusal = aws_fault("TaskTimedOut")
    # Both had read the token before either took it.
    monkeypatch.setattr(waiting.table, "waiting", lambda _name: seen)
    with pytest.raises(NotWaitingYetError):
        waiting.wake(**news(LastModifiedTime=MOMENT + 1))
    assert waiting.step_functions.returned == ["first"]


def test_an_attempt_whose_end_is_known_is_left_alone(world):
    run = run_from_json(world.decide(world.plan()["run"])["run"])
    name = run.attempts[0].training_job_name
    world.begin_to_wait(name, "first")
    world.table.record_outcome(run)
    assert not world.wake(**news(TrainingJobName=name, TrainingJobStatus="Stopped"))
    assert world.step_functions.returned == []


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_an_event_for_a_wait_that_has_ended_by_itself_is_kept_for_the_next(waiting, aws_fault, code):
    waiting.step_functions.refusal = aws_fault(code)
    with pytest.raises(NotWaitingYetError):
        waiting.wake(**news())
    waiting.step_functions.refusal = None
    waiting.begin_to_wait(JOB, "second")
    assert waiting.wake(**news())
    assert waiting.step_functions.returned == ["second"]


def test_a_wake_up_that_step_functions_throttles_is_not_lost(waiting, aws_fault):
    waiting.step_functions.refusal = aws_fault("ThrottlingException")
    with pytest.raises(ClientError):
        waiting.wake(**news())
    waiting.step_functions.refusal = None
    assert waiting.wake(**news())
    assert waiting.step_functions.returned == ["first"]


def test_any_other_refusal_of_step_functions_is_an_error(waiting, aws_fault):
    waiting.step_functions.refusal = aws_fault("AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        waiting.wake(**news())


def test_an_event_without_a_time_still_wakes(waiting):
    event = news()
    del event["LastModifiedTime"]
    assert waiting.wake(**event)


def test_times_are_read_as_number_or_as_text(waiting):
    assert waiting.wake(**news(LastModifiedTime=str(MOMENT)))
    assert waiting.table.waiting(JOB).woken_for_ms == MOMENT


def test_an_event_without_a_name_is_refused(world):
    event = news()
    del event["TrainingJobName"]
    with pytest.raises(ValidationError, match="TrainingJobName"):
        world.wake(**event)


@pytest.mark.parametrize("secondary", ["Training", "Starting"])
def test_every_event_is_counted(waiting, metrics, secondary):
    waiting.wake(**news(SecondaryStatus=secondary))
    assert metrics() == {"StateChange": [1]}
