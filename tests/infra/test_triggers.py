"""What starts a run, what wakes it, and what becomes of an event that nobody could take."""

import json

import pytest
from moto.events.models import EventPattern

from nightspot.requests import training_job_name

pytestmark = pytest.mark.xdist_group("infra")


def state_change(name, **changes):
    """An event as SageMaker sends it.

    https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    event = {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2026-11-21T02:14:00Z",
        "region": "eu-west-1",
        "resources": [f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{name}"],
        "detail": {
            "TrainingJobName": name,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Interrupted",
            "LastModifiedTime": 1795227240000,
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.p4d.24xlarge"},
            "Tags": {},
        },
    }
    return {**event, **changes}


@pytest.fixture
def wakes(deployed):
    """Whether an event matches the wake-up rule's pattern."""
    _, rule = deployed.only("Events::Rule", "WakeUp")
    return EventPattern.load(json.dumps(rule["EventPattern"])).matches_event


def test_news_of_nightspot_s_own_training_job_wakes_its_run(wakes, story):
    assert wakes(state_change(training_job_name(story.run(), 1)))


@pytest.mark.parametrize(
    "name", ["fraud-model-7", "my-nightspot-recommender", "Nightspot-recommender", "nightshift-3"]
)
def test_news_of_anybody_else_s_training_job_wakes_nobody(wakes, name):
    assert not wakes(state_change(name))


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "my.sagemaker"},
        {"detail-type": "SageMaker Transform Job State Change"},
        {"detail-type": "SageMaker HyperParameter Tuning Job State Change"},
    ],
)
def test_other_events_wake_nobody(wakes, story, changes):
    assert not wakes(state_change(training_job_name(story.run(), 1), **changes))


def test_the_event_goes_to_the_function_that_wakes_and_else_to_the_dead_letters(deployed, as_text):
    _, rule = deployed.only("Events::Rule", "WakeUp")
    assert rule["State"] == "ENABLED"
    (target,) = rule["Targets"]
    function, _ = deployed.only("Lambda::Function", "WakeRun")
    assert as_text(target["Arn"]) == f"<{function}.Arn>"
    assert as_text(target["DeadLetterConfig"]["Arn"]) == f"<{deployed.only('SQS::Queue')[0]}.Arn>"
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10}


def test_eventbridge_may_call_the_function_for_this_rule_only(deployed, as_text):
    _, permission = deployed.only("Lambda::Permission", "WakeUp")
    assert permission["Principal"] == "events.amazonaws.com"
    assert as_text(permission["SourceArn"]) == f"<{deployed.only('Events::Rule', 'WakeUp')[0]}.Arn>"


def test_an_event_that_came_too_early_is_brought_back_twice_and_then_told(deployed, as_text):
    _, config = deployed.only("Lambda::EventInvokeConfig", "WakeRun")
    assert as_text(config["FunctionName"]) == f"<{deployed.only('Lambda::Function', 'WakeRun')[0]}>"
    assert config["MaximumRetryAttempts"] == 2
    assert config["MaximumEventAgeInSeconds"] == 3600
    destination = config["DestinationConfig"]["OnFailure"]["Destination"]
    assert as_text(destination) == f"<{deployed.only('SQS::Queue')[0]}.Arn>"


def test_dead_letters_are_encrypted_and_wait_two_weeks_for_a_person(deployed):
    _, queue = deployed.only("SQS::Queue")
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_every_rule_may_leave_dead_letters_and_only_over_tls(deployed, as_text):
    _, policy = deployed.only("SQS::QueuePolicy")
    statements = policy["PolicyDocument"]["Statement"]
    (denied,) = (s for s in statements if s["Effect"] == "Deny")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    senders = {
        as_text(s["Condition"]["ArnEquals"]["aws:SourceArn"]) for s in statements if s["Effect"] == "Allow"
    }
    assert senders == {f"<{name}.Arn>" for name in deployed.of_type("Events::Rule")}


@pytest.mark.parametrize(
    ("job", "expression", "timezone"),
    [("recommender", "cron(30 1 * * ? *)", "Europe/Dublin"), ("search", "rate(12 hours)", "UTC")],
)
def test_a_job_with_a_schedule_is_started_by_it(deployed, as_text, job, expression, timezone):
    _, schedule = deployed.only("Scheduler::Schedule", job)
    assert schedule["ScheduleExpression"] == expression
    assert schedule["ScheduleExpressionTimezone"] == timezone
    assert schedule["State"] == "ENABLED"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert as_text(target["Arn"]) == f"<{deployed.only('StepFunctions::StateMachine')[0]}>"
    assert json.loads(target["Input"]) == {"job": job}


def test_a_start_that_fails_is_repeated_for_an_hour_and_then_kept_for_a_person(deployed, as_text):
    queue, _ = deployed.only("SQS::Queue")
    for schedule in deployed.of_type("Scheduler::Schedule").values():
        target = schedule["Target"]
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10}
        assert as_text(target["DeadLetterConfig"]["Arn"]) == f"<{queue}.Arn>"


def test_a_job_without_a_schedule_has_none(deployed, jobs):
    assert jobs["by-hand"].schedule is None
    assert len(deployed.of_type("Scheduler::Schedule")) == len(jobs) - 1
    assert not [n for n in deployed.of_type("Scheduler::Schedule") if "hand" in n]


def test_without_jobs_nothing_is_scheduled(idle):
    assert not idle.of_type("Scheduler::Schedule")
