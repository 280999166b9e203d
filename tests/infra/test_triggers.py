"""What starts a run, what wakes it, and what becomes of an event that nobody could take."""

import json
from datetime import UTC, datetime

import pytest
from moto.events.models import EventPattern

from nightspot.lambdas.close_run import ENDS
from nightspot.lambdas.start_run import ScheduledStart
from nightspot.plan.planning import training_job_name

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


@pytest.mark.parametrize("rule", ["ExecutionEnded", "TrainingJobEnded"])
def test_what_ended_goes_to_the_function_that_closes_and_else_to_the_dead_letters(deployed, as_text, rule):
    _, found = deployed.only("Events::Rule", rule)
    (target,) = found["Targets"]
    assert as_text(target["Arn"]) == f"<{deployed.only('Lambda::Function', 'CloseRun')[0]}.Arn>"
    assert as_text(target["DeadLetterConfig"]["Arn"]) == f"<{deployed.only('SQS::Queue')[0]}.Arn>"
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 6 * 3600, "MaximumRetryAttempts": 10}


def test_prices_are_asked_for_every_hour_and_at_the_end_of_each_deployment(deployed, as_text, by_the_book):
    function, _ = deployed.only("Lambda::Function", "AskPrices")
    rules = {
        name: rule
        for name, rule in deployed.of_type("Events::Rule").items()
        if [as_text(target["Arn"]) for target in rule["Targets"]] == [f"<{function}.Arn>"]
    }
    (hourly,) = (rule for rule in rules.values() if "ScheduleExpression" in rule)
    (told,) = (rule for rule in rules.values() if "EventPattern" in rule)
    assert hourly["ScheduleExpression"] == "rate(1 hour)"
    assert told["EventPattern"] == {
        "source": ["aws.cloudformation"],
        "detail-type": ["CloudFormation Stack Status Change"],
        "detail": {
            "stack-id": [{"Ref": "AWS::StackId"}],
            "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
        },
    }
    assert not [rule for rule in by_the_book.of_type("Events::Rule") if "Prices" in rule]


def test_every_end_without_a_model_of_this_state_machine_is_looked_at(deployed, as_text):
    pattern = deployed.only("Events::Rule", "ExecutionEnded")[1]["EventPattern"]
    (machine,) = pattern["detail"]["stateMachineArn"]
    assert as_text(machine) == f"<{deployed.only('StepFunctions::StateMachine')[0]}>"
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail-type"] == ["Step Functions Execution Status Change"]
    assert set(pattern["detail"]["status"]) == {end.value for end in ENDS}


def test_what_is_unfinished_is_looked_at_every_five_minutes(deployed, as_text):
    _, rule = deployed.only("Events::Rule", "EveryFiveMinutes")
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    name, function = deployed.only("Lambda::Function", "Reconcile")
    (target,) = rule["Targets"]
    assert as_text(target["Arn"]) == f"<{name}.Arn>"
    assert function["Timeout"] < 5 * 60
    # The next call is the repetition.
    _, config = deployed.only("Lambda::EventInvokeConfig", "Reconcile")
    assert config["MaximumRetryAttempts"] == 0


@pytest.mark.parametrize(
    ("status", "looked_at"),
    [("Completed", True), ("Failed", True), ("Stopped", True), ("InProgress", False), ("Stopping", False)],
)
def test_a_training_job_s_end_is_looked_at_and_nothing_before_it(deployed, story, status, looked_at):
    pattern = deployed.only("Events::Rule", "TrainingJobEnded")[1]["EventPattern"]
    event = state_change(training_job_name(story.run(), 1))
    event["detail"]["TrainingJobStatus"] = status
    assert EventPattern.load(json.dumps(pattern)).matches_event(event) is looked_at


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
    assert as_text(target["Arn"]) == f"<{deployed.only('Lambda::Function', 'StartRun')[0]}.Arn>"
    assert as_text(target["RoleArn"]) == f"<{deployed.only('IAM::Role', 'SchedulesRole')[0]}.Arn>"


@pytest.mark.parametrize("job", ["recommender", "search"])
def test_a_schedule_says_which_night_it_starts_in_a_form_that_the_function_reads(deployed, job):
    target = deployed.only("Scheduler::Schedule", job)[1]["Target"]
    # Scheduler's own keyword; it fills in a time such as 2022-03-22T18:59:43Z.
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    assert json.loads(target["Input"]) == {"job": job, "scheduled_at": "<aws.scheduler.scheduled-time>"}
    filled = target["Input"].replace("<aws.scheduler.scheduled-time>", "2022-03-22T18:59:43Z")
    read = ScheduledStart.model_validate_json(filled)
    assert (read.job, read.scheduled_at) == (job, datetime(2022, 3, 22, 18, 59, 43, tzinfo=UTC))


# 01:30 in Dublin leaves 6 h 30 min to 08:00 UTC in winter, an hour more in summer; `search` has 8 h of its 12.
@pytest.mark.parametrize(("job", "seconds"), [("recommender", 6.5 * 3600), ("search", 8 * 3600)])
def test_a_start_that_fails_is_repeated_up_to_the_deadline_and_then_kept_for_a_person(
    deployed, as_text, job, seconds
):
    target = deployed.only("Scheduler::Schedule", job)[1]["Target"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": seconds, "MaximumRetryAttempts": 185}
    assert as_text(target["DeadLetterConfig"]["Arn"]) == f"<{deployed.only('SQS::Queue')[0]}.Arn>"


@pytest.mark.parametrize("name", ["StartRun", "CloseRun"])
def test_what_a_function_could_not_do_twice_over_is_kept_for_a_person(deployed, as_text, name):
    _, config = deployed.only("Lambda::EventInvokeConfig", name)
    assert as_text(config["FunctionName"]) == f"<{deployed.only('Lambda::Function', name)[0]}>"
    assert config["MaximumRetryAttempts"] == 2
    assert config["MaximumEventAgeInSeconds"] == 6 * 3600
    destination = config["DestinationConfig"]["OnFailure"]["Destination"]
    assert as_text(destination) == f"<{deployed.only('SQS::Queue')[0]}.Arn>"


def test_an_alarm_rings_where_a_start_was_given_up(deployed, as_text):
    _, alarm = deployed.only("CloudWatch::Alarm", "DeadLetters")
    (dimension,) = alarm["Dimensions"]
    assert as_text(dimension["Value"]) == f"<{deployed.only('SQS::Queue')[0]}.QueueName>"
    assert alarm["AlarmActions"]


@pytest.mark.parametrize("name", ["StartRun", "Reconcile"])
def test_a_function_that_starts_runs_knows_the_state_machine(deployed, as_text, name):
    _, function = deployed.only("Lambda::Function", name)
    machine, _ = deployed.only("StepFunctions::StateMachine")
    assert as_text(function["Environment"]["Variables"]["NIGHTSPOT_STATE_MACHINE_ARN"]) == f"<{machine}>"


@pytest.fixture(scope="module")
def resting(synthesise, jobs):
    """`recommender` is paused, `search` may start up to 45 minutes late."""

    def changed(name, **changes):
        job = jobs[name]
        return job.model_copy(update={"schedule": job.schedule.model_copy(update=changes)})

    return synthesise(
        jobs={
            "recommender": changed("recommender", paused=True),
            "search": changed("search", flexible_seconds=45 * 60),
        }
    )


def test_a_paused_job_has_a_schedule_that_starts_nothing(resting):
    assert resting.only("Scheduler::Schedule", "recommender")[1]["State"] == "DISABLED"
    assert resting.only("Scheduler::Schedule", "search")[1]["State"] == "ENABLED"


def test_a_flexible_start_is_scheduler_s_to_choose_and_leaves_less_time_to_try_again(resting):
    _, schedule = resting.only("Scheduler::Schedule", "search")
    assert schedule["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 45}
    retry = schedule["Target"]["RetryPolicy"]
    assert retry["MaximumEventAgeInSeconds"] == 8 * 3600 - 45 * 60


def test_a_job_without_a_schedule_has_none(deployed, jobs):
    assert jobs["by-hand"].schedule is None
    assert len(deployed.of_type("Scheduler::Schedule")) == len(jobs) - 1
    assert not [n for n in deployed.of_type("Scheduler::Schedule") if "hand" in n]


def test_without_jobs_nothing_is_scheduled(idle):
    assert not idle.of_type("Scheduler::Schedule")
