"""Waking: an event returns the token once, and whatever comes twice, late or too early harms nothing."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from nightspot.aws.drill_plan import drill_id
from nightspot.aws.faults import NotYetError, TransientAwsError
from nightspot.formats.run_ids import read_training_job_name
from nightspot.lambdas import wake_run
from nightspot.local.stage.emulated_aws import TABLE, LocalContext
from nightspot.run.model import Outcome, run_from_json

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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"nightspot-recommender-drill-{drill_id(MIDNIGHT, 'abcde')}-2", id="a drill"),
        pytest.param("nightspot-somebody", id="no run's name"),
    ],
)
def test_the_job_of_no_run_of_ours_wakes_nobody_and_its_event_does_not_come_again(world, metrics, name):
    metrics()
    assert not world.wake(**news(TrainingJobName=name, TrainingJobStatus="Stopped"))
    assert metrics() == {"StateChange": [1]}


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "Completed", "Failed", "Stopped"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("nightspot-recommender-20261121-fffff0-1", id="named before environments"),
        pytest.param("nightspot-prod-recommender-20261121-25feuomo-1", id="of another environment"),
    ],
)
def test_an_event_of_a_run_that_is_not_ours_is_counted_and_does_not_come_again(world, metrics, name, status):
    """Another deployment's: neither a wait nor a run of that id is in the table."""
    metrics()
    detail = {"TrainingJobStatus": status, "LastModifiedTime": int(MIDNIGHT.timestamp() * 1000)}
    assert not world.wake(**news(TrainingJobName=name, **detail))
    assert metrics() == {"StateChange": [1], "NotOurs": [1]}


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
    with pytest.raises(NotYetError, match=JOB):
        waiting.wake(**news(LastModifiedTime=MOMENT + 1))


def planned(world):
    """The name of the training job that a run has just asked for, and does not wait for yet."""
    run = run_from_json(world.decide(world.plan()["run"])["run"])
    return run.attempts[0].training_job_name


def test_an_event_before_the_first_wait_comes_again(world):
    name = planned(world)
    with pytest.raises(NotYetError, match=name):
        world.wake(**news(TrainingJobName=name))
    world.begin_to_wait(name, "first")
    assert world.wake(**news(TrainingJobName=name))


@pytest.mark.parametrize("waits_later", [False, True], ids=["never waited", "waited before"])
def test_an_event_that_nobody_waited_for_is_dropped_at_its_last_return(world, metrics, waits_later):
    name = planned(world)
    if waits_later:
        world.begin_to_wait(name, "first")
        assert world.wake(**news(TrainingJobName=name, LastModifiedTime=MOMENT - 1))
    world.pass_time(seconds=125)
    with pytest.raises(NotYetError):
        world.wake(**news(TrainingJobName=name))
    metrics()
    world.pass_time(seconds=1)
    assert not world.wake(**news(TrainingJobName=name))
    assert metrics() == {"StateChange": [1], "WakeUpDropped": [1]}


def test_an_event_of_a_run_that_is_over_and_never_waited_is_dropped_at_once(world):
    name = planned(world)
    run = world.table.run(read_training_job_name(name).run_id)
    over = dataclasses.replace(run, steps=9, outcome=Outcome.FAILED, outcome_because="x.")
    world.table.record_outcome(over)
    assert not world.wake(**news(TrainingJobName=name))


@pytest.mark.parametrize(
    ("seconds", "comes_again"), [(125, True), (126, False)], ids=["125 s old", "126 s old"]
)
def test_where_the_job_tells_no_time_the_event_s_own_is_taken(world, seconds, comes_again):
    name = planned(world)
    event = news(TrainingJobName=name)
    del event["LastModifiedTime"]
    world.pass_time(seconds=seconds)
    if comes_again:
        with pytest.raises(NotYetError):
            world.wake(time=MIDNIGHT, **event)
    else:
        assert not world.wake(time=MIDNIGHT, **event)


def test_an_event_without_any_time_that_nobody_waits_for_is_dropped(world):
    event = news(TrainingJobName=planned(world))
    del event["LastModifiedTime"]
    assert not world.wake(**event)


@pytest.mark.parametrize("where", ["the table", "Step Functions"])
def test_a_service_that_is_away_brings_the_event_back_and_then_it_is_dropped(
    waiting, metrics, monkeypatch, aws_fault, where
):
    if where == "the table":

        def away(_name):
            raise TransientAwsError("ServiceUnavailable")

        monkeypatch.setattr(waiting.table, "waiting", away)
    else:
        waiting.step_functions.refusal = aws_fault("ServiceUnavailable")
    with pytest.raises(TransientAwsError):
        waiting.wake(**news())
    waiting.pass_time(minutes=3)
    metrics()
    assert not waiting.wake(**news())
    assert metrics()["WakeUpDropped"] == [1]


def test_an_event_that_another_was_quicker_to_return_the_token_for_comes_again(
    waiting, monkeypatch, aws_fault
):
    seen = waiting.table.waiting(JOB)
    waiting.wake(**news())
    waiting.step_functions.refusal = aws_fault("TaskTimedOut")
    # Both had read the token before either took it.
    monkeypatch.setattr(waiting.table, "waiting", lambda _name: seen)
    with pytest.raises(NotYetError):
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
    with pytest.raises(NotYetError):
        waiting.wake(**news())
    waiting.step_functions.refusal = None
    waiting.begin_to_wait(JOB, "second")
    assert waiting.wake(**news())
    assert waiting.step_functions.returned == ["second"]


def test_a_wake_up_that_step_functions_throttles_is_not_lost(waiting, aws_fault):
    waiting.step_functions.refusal = aws_fault("ThrottlingException")
    with pytest.raises(TransientAwsError):
        waiting.wake(**news())
    waiting.step_functions.refusal = None
    assert waiting.wake(**news())
    assert waiting.step_functions.returned == ["first"]


def test_any_other_refusal_of_step_functions_is_an_error_that_rings_the_alarm(waiting, metrics, aws_fault):
    """A role that may not wake runs: they would go on by their timers, and nobody would know why they are slow."""
    waiting.step_functions.refusal = aws_fault("AccessDeniedException")
    metrics()
    with pytest.raises(ClientError, match="AccessDenied"):
        waiting.wake(**news())
    assert metrics() == {"StateChange": [1], "WakeRefused": [1]}


@pytest.mark.parametrize("code", ["TaskTimedOut", "ThrottlingException"])
def test_a_wait_that_is_over_and_a_throttle_are_no_refusal(waiting, metrics, aws_fault, code):
    waiting.step_functions.refusal = aws_fault(code)
    metrics()
    with pytest.raises(NotYetError):
        waiting.wake(**news())
    assert metrics() == {"StateChange": [1]}


def test_an_event_without_a_time_still_wakes(waiting):
    event = news()
    del event["LastModifiedTime"]
    assert waiting.wake(**event)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(MOMENT, MOMENT, id="milliseconds"),
        pytest.param(str(MOMENT), MOMENT, id="milliseconds as text"),
        pytest.param(MOMENT + 0.4, MOMENT, id="milliseconds with a fraction"),
        pytest.param(MOMENT / 1000, MOMENT, id="seconds"),
        pytest.param(MOMENT / 1000 + 0.123, MOMENT + 123, id="seconds with a fraction"),
        pytest.param(str(MOMENT // 1000), MOMENT, id="seconds as text"),
        pytest.param("2026-11-21T00:00:00Z", MOMENT, id="ISO 8601"),
        pytest.param("2026-11-21T01:00:00.25+01:00", MOMENT + 250, id="ISO 8601 of another zone"),
        pytest.param(None, None, id="null"),
        pytest.param("", None, id="empty"),
        pytest.param("yesterday", None, id="no time"),
        pytest.param([MOMENT], None, id="a list"),
        pytest.param(True, None, id="true"),
        pytest.param(10**400, None, id="beyond all numbers"),
        pytest.param("9" * 5000, None, id="beyond all numbers as text"),
        pytest.param(float("nan"), None, id="not a number"),
        pytest.param(-MOMENT, None, id="before 1970"),
        pytest.param(MOMENT * 1000, None, id="microseconds"),
    ],
)
def test_an_event_s_time_is_read_in_every_form_and_wakes_without_any(waiting, given, kept):
    assert waiting.wake(**news(LastModifiedTime=given))
    assert waiting.step_functions.returned == ["first"]
    assert waiting.table.waiting(JOB).woken_for_ms == kept


@pytest.mark.parametrize("field", ["TrainingJobStatus", "SecondaryStatus", "LastModifiedTime"])
@pytest.mark.parametrize("is_null", [False, True], ids=["missing", "null"])
def test_what_an_event_leaves_out_wakes_no_less(waiting, field, is_null):
    event = news(TrainingJobStatus="Stopped", SecondaryStatus="Stopped")
    if is_null:
        event[field] = None
    else:
        del event[field]
    assert waiting.wake(**event)


ENDS = [
    pytest.param("Stopped", "Stopped", id="stopped"),
    pytest.param("Stopped", "MaxWaitTimeExceeded", id="wait over"),
    pytest.param("Completed", "Completed", id="completed"),
    pytest.param("Failed", "Failed", id="failed"),
]


@pytest.mark.parametrize(("status", "secondary"), ENDS)
@pytest.mark.parametrize("before_ms", [0, 1_000], ids=["the same stamp", "an earlier stamp"])
def test_an_end_wakes_whatever_its_stamp_if_the_last_wake_was_for_another_status(
    waiting, status, secondary, before_ms
):
    waiting.wake(**news(TrainingJobStatus="Stopping", SecondaryStatus="Stopping"))
    waiting.begin_to_wait(JOB, "second")
    end = news(TrainingJobStatus=status, SecondaryStatus=secondary, LastModifiedTime=MOMENT - before_ms)
    assert waiting.wake(**end)
    assert waiting.step_functions.returned == ["first", "second"]
    # SageMaker may send it again.
    waiting.begin_to_wait(JOB, "third")
    assert not waiting.wake(**end)


def test_of_two_events_with_one_stamp_both_wake(waiting):
    waiting.wake(**news())
    waiting.begin_to_wait(JOB, "second")
    assert waiting.wake(**news(SecondaryStatus="Interrupted"))
    assert waiting.step_functions.returned == ["first", "second"]


def test_a_wake_up_that_an_older_version_kept_swallows_no_end(waiting):
    waiting.wake(**news())
    key = {"pk": {"S": f"TRAINING_JOB#{JOB}"}, "sk": {"S": "TOKEN"}}
    waiting.dynamodb.update_item(TableName=TABLE, Key=key, UpdateExpression="REMOVE woken_for")
    waiting.begin_to_wait(JOB, "second")
    assert not waiting.wake(**news(SecondaryStatus="Interrupted", LastModifiedTime=MOMENT - 1))
    assert waiting.wake(**news(TrainingJobStatus="Stopped", SecondaryStatus="Stopped"))


def test_an_event_of_the_future_is_dropped_and_becomes_no_dead_letter(world, metrics):
    name = planned(world)
    metrics()
    assert not world.wake(**news(TrainingJobName=name, LastModifiedTime=MOMENT + 3_600_000))
    assert metrics()["WakeUpDropped"] == [1]


@pytest.mark.parametrize("time", [1, "2026-11-21", "soon"], ids=["a number", "a day", "no time"])
def test_no_form_of_an_event_s_own_time_loses_the_wake_up(waiting, time):
    assert wake_run.handler({"detail": news(), "time": time}, LocalContext("WakeRun"), use=waiting.use) == {
        "woke": True
    }


def test_an_event_without_a_name_is_refused(world):
    event = news()
    del event["TrainingJobName"]
    with pytest.raises(ValidationError, match="TrainingJobName"):
        world.wake(**event)


@pytest.mark.parametrize("secondary", ["Training", "Starting"])
def test_every_event_is_counted(waiting, metrics, secondary):
    waiting.wake(**news(SecondaryStatus=secondary))
    assert metrics() == {"StateChange": [1]}
