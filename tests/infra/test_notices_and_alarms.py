"""What people hear of and look at: notices, alarms, the dashboard, saved queries."""

import json
import re

import pytest
from aws_cdk.assertions import Annotations, Match

from nightspot.aws.notices import CLAIM_LIFE, SOURCE
from nightspot.cdk.observability import CRASHED, FAILING, QUERIES, TOLD
from nightspot.cdk.triggers import WORKFLOW_FILE
from nightspot.lambdas.dependencies import Environment
from nightspot.record.events import RunEvent
from nightspot.view.messages.wording import may_be_told

pytestmark = pytest.mark.xdist_group("infra")

STATES = json.loads(WORKFLOW_FILE.read_text(encoding="utf-8"))["States"]
(ALARM,) = STATES["Sound the alarm"]["Arguments"]["Entries"]
(REPORT,) = STATES["Report the failure"]["Arguments"]["Entries"]
HANDLERS = "\n".join(
    p.read_text(encoding="utf-8") for p in (WORKFLOW_FILE.parents[1] / "lambdas").glob("*.py")
)


def rules_of_notices(synthesised):
    return [rule for name, rule in synthesised.of_type("Events::Rule").items() if "Notices" in name]


def dashboard_metrics(synthesised, as_text):
    """(namespace, name, (dimension, its value), …) of everything on the dashboard."""
    _, dashboard = synthesised.only("CloudWatch::Dashboard")
    body = json.loads(as_text(dashboard["DashboardBody"]))
    for widget in body["widgets"]:
        for namespace, name, *rest in widget["properties"]["metrics"]:
            words = [word for word in rest if isinstance(word, str)]
            yield namespace, name, *sorted(zip(words[::2], words[1::2], strict=True))


def alarm_metrics(synthesised):
    """Every metric that an alarm looks at, those within expressions too."""
    for alarm in synthesised.of_type("CloudWatch::Alarm").values():
        inner = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
        yield from inner or [alarm]


def test_the_rules_match_everything_that_can_become_a_message_and_nothing_else(deployed):
    told = [name for rule in rules_of_notices(deployed) for name in rule["EventPattern"]["detail-type"]]
    assert sorted(told) == sorted(h.detail_type for h in RunEvent if may_be_told(h))
    assert sorted(told) == sorted((*TOLD, FAILING, CRASHED))


def test_a_crash_is_the_happening_that_the_workflow_tells_of_by_itself():
    assert ALARM["DetailType"] == CRASHED == RunEvent.DECISION_CRASHED.detail_type
    assert REPORT["DetailType"] == FAILING == RunEvent.DECISION_FAILING.detail_type


def test_the_notices_are_those_of_nightspot_s_own_source(deployed):
    assert len(rules_of_notices(deployed)) == 2
    for rule in rules_of_notices(deployed):
        assert rule["EventPattern"]["source"] == [SOURCE]
    assert ALARM["Source"] == SOURCE


def test_the_text_of_a_crash_reads_what_the_workflow_sends():
    """A crash has no ledger: a field that the text expects and the workflow lacks would be empty for ever."""
    # Not the cause: nobody has redacted it.
    read = {"job", "run_id", "execution_arn", "error", "training_jobs_left_running"}
    for entry in (ALARM, REPORT):
        assert {*read, "environment"} == set(re.findall(r"'(\w+)':", entry["Detail"]))


def test_every_notice_goes_to_the_function_that_writes_messages_or_becomes_a_dead_letter(deployed, as_text):
    queue, _ = deployed.only("SQS::Queue")
    messenger, _ = deployed.only("Lambda::Function", "Notify")
    for rule in rules_of_notices(deployed):
        (target,) = rule["Targets"]
        assert as_text(target["Arn"]) == f"<{messenger}.Arn>"
        assert "InputTransformer" not in target
        assert as_text(target["DeadLetterConfig"]["Arn"]) == f"<{queue}.Arn>"


def test_what_the_messenger_gives_up_is_a_dead_letter_too(deployed, as_text):
    queue, _ = deployed.only("SQS::Queue")
    _, invoking = deployed.only("Lambda::EventInvokeConfig", "Notify")
    assert invoking["MaximumRetryAttempts"] == 2
    assert as_text(invoking["DestinationConfig"]["OnFailure"]["Destination"]) == f"<{queue}.Arn>"


def test_a_message_is_out_before_another_delivery_may_take_its_place(deployed):
    """A claim lives as long as the function that made it may."""
    _, messenger = deployed.only("Lambda::Function", "Notify")
    assert messenger["Timeout"] <= CLAIM_LIFE.total_seconds()


def test_the_messenger_knows_its_topics_and_how_loud_it_is(deployed, chatting, as_text):
    def environment(synthesised):
        _, function = synthesised.only("Lambda::Function", "Notify")
        variables = {key: as_text(value) for key, value in function["Environment"]["Variables"].items()}
        return Environment.model_validate({**variables, "AWS_REGION": "eu-west-1"})

    topic, _ = deployed.only("SNS::Topic")
    quiet = environment(deployed)
    assert (quiet.notice_topic_arn, quiet.chat_topic_arn, quiet.tell_success) == (f"<{topic}>", "", False)
    chat, _ = chatting.only("SNS::Topic", "ChatTopic")
    loud = environment(chatting)
    assert loud.notice_topic_arn == f"<{topic}>"
    assert (loud.chat_topic_arn, loud.tell_success) == (f"<{chat}>", True)


def test_a_topic_for_chat_is_made_and_put_out_only_where_it_is_asked_for(deployed, chatting, as_text):
    assert len(deployed.of_type("SNS::Topic")) == 1
    assert "ChatTopicArn" not in deployed.template["Outputs"]
    chat, _ = chatting.only("SNS::Topic", "ChatTopic")
    assert as_text(chatting.template["Outputs"]["ChatTopicArn"]["Value"]) == f"<{chat}>"
    assert as_text(deployed.template["Outputs"]["NoticeTopicArn"]["Value"]) == (
        f"<{deployed.only('SNS::Topic')[0]}>"
    )


def test_the_topic_for_chat_speaks_tls_only(chatting, as_text):
    chat, _ = chatting.only("SNS::Topic", "ChatTopic")
    _, policy = chatting.only("SNS::TopicPolicy", "ChatTopic")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], as_text(statement["Resource"])) == ("Deny", f"<{chat}>")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_alarms_may_publish_and_only_over_tls(deployed):
    """A topic policy takes the place of SNS's default one, by which alarms may publish."""
    _, policy = deployed.only("SNS::TopicPolicy")
    statements = policy["PolicyDocument"]["Statement"]
    assert [s["Condition"] for s in statements if s["Effect"] == "Deny"] == [
        {"Bool": {"aws:SecureTransport": "false"}}
    ]
    allowed = {s["Principal"]["Service"]: s for s in statements if s["Effect"] == "Allow"}
    assert set(allowed) == {"cloudwatch.amazonaws.com"}
    assert {s["Action"] for s in statements} == {"sns:Publish"}
    assert allowed["cloudwatch.amazonaws.com"]["Condition"]["StringEquals"] == {
        "aws:SourceAccount": {"Ref": "AWS::AccountId"}
    }


def test_an_address_is_subscribed_only_where_one_is_set(deployed, disposable):
    assert not deployed.of_type("SNS::Subscription")
    _, subscription = disposable.only("SNS::Subscription")
    assert subscription["Protocol"] == "email"
    assert subscription["Endpoint"] == "nights@example.com"


def test_there_is_an_alarm_for_each_thing_that_should_wake_a_person(deployed):
    names = {
        re.sub(r"^TrainingObservability|[0-9A-F]{8}$", "", n) for n in deployed.of_type("CloudWatch::Alarm")
    }
    assert names == {
        "DeadLetters",
        "DecisionCrashed",
        "FallbackRate",
        "NoticeLost",
        "PriceMissing",
        "Reconciled",
        "ReportLost",
        "ResumeBroken",
        "RunAtRisk",
        "RunFailed",
        "RunLate",
        "RunTimedOut",
        "UnknownFailure",
        "WakeRefused",
    }


def test_an_alarm_rings_at_the_topic_and_takes_silence_for_good_news(deployed, as_text):
    topic, _ = deployed.only("SNS::Topic")
    for alarm in deployed.of_type("CloudWatch::Alarm").values():
        assert [as_text(action) for action in alarm["AlarmActions"]] == [f"<{topic}>"]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmDescription"]


def test_one_occurrence_rings_and_half_of_the_runs_may_fall_back(deployed):
    for name, alarm in deployed.of_type("CloudWatch::Alarm").items():
        late = "RunLate" in name  # rings below a margin of nothing
        assert alarm["ComparisonOperator"] == ("LessThanThreshold" if late else "GreaterThanThreshold")
        # Of the four newest periods one is enough, for letters are counted late.
        letters = "DeadLetters" in name
        assert (alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", 1)) == (4 if letters else 1, 1)
        assert alarm["Threshold"] == (50 if "FallbackRate" in name else 0)


def test_every_dead_letter_rings_also_while_others_lie_in_the_queue(deployed):
    """Their number stays above 0 until somebody empties the queue; those that arrive are counted once."""
    queue, _ = deployed.only("SQS::Queue")
    _, alarm = deployed.only("CloudWatch::Alarm", "DeadLetters")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "NumberOfMessagesSent")
    assert (alarm["Statistic"], alarm["Period"], alarm["Threshold"]) == ("Sum", 300, 0)
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]


def test_a_crash_rings_by_the_rule_that_matches_it_and_not_by_every_failed_run(deployed):
    rule, _ = deployed.only("Events::Rule", "Crashed")
    _, alarm = deployed.only("CloudWatch::Alarm", "DecisionCrashed")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Events", "MatchedEvents")
    assert alarm["Dimensions"] == [{"Name": "RuleName", "Value": {"Ref": rule}}]


def test_alarms_and_dashboard_look_at_metrics_that_the_handlers_send(deployed, as_text):
    """Under the dimensions that every handler's metrics have."""
    _, function = deployed.only("Lambda::Function", "DecideNextStep")
    variables = function["Environment"]["Variables"]
    own = [
        (m["Namespace"], m["MetricName"], *sorted((d["Name"], d["Value"]) for d in m["Dimensions"]))
        for m in alarm_metrics(deployed)
    ]
    own += dashboard_metrics(deployed, as_text)
    own = [metric for metric in own if not metric[0].startswith("AWS/")]
    assert len(own) > len(RunEvent)
    sent = {run_event.value for run_event in RunEvent} | set(re.findall(r'"(\w+)"', HANDLERS))
    assert {name for _, name, *_ in own} - sent == set()
    assert {metric[0] for metric in own} == {variables["POWERTOOLS_METRICS_NAMESPACE"]}
    service, environment = variables["POWERTOOLS_SERVICE_NAME"], variables["NIGHTSPOT_ENVIRONMENT"]
    assert {metric[2:] for metric in own} == {(("environment", environment), ("service", service))}


@pytest.mark.parametrize(
    "metric",
    [
        "CostUsd",
        "DeadlineMarginSeconds",
        "FellBack",
        "Interrupted",
        "OnDemandCostUsd",
        "RunFailed",
        "RunSucceeded",
        "SavedPercent",
        "TrainedSeconds",
        "WaitedSeconds",
    ],
)
def test_the_dashboard_shows_what_an_on_call_person_asks_for(deployed, as_text, metric):
    assert metric in {name for _, name, *_ in dashboard_metrics(deployed, as_text)}


def test_the_queries_are_saved_on_the_logs_of_decision_and_outcome(deployed, as_text):
    saved = deployed.of_type("Logs::QueryDefinition").values()
    assert {query["Name"] for query in saved} == {
        "Nightspot/main/Decisions by reason",
        "Nightspot/main/Every decision of a run",
        "Nightspot/main/Failures by class",
        "Nightspot/main/Why did last night cost more",
    }
    expected = {
        as_text(deployed.only("Lambda::Function", name)[1]["LoggingConfig"]["LogGroup"])
        for name in ("DecideNextStep", "RecordOutcome")
    }
    for query in saved:
        assert {as_text(group) for group in query["LogGroupNames"]} == expected
    assert len(saved) == len(QUERIES)


def test_the_queries_ask_for_fields_that_a_decision_logs(deployed):
    fields = set()
    for query in deployed.of_type("Logs::QueryDefinition").values():
        fields |= set(
            re.findall(r"[\w@]+", re.search(r"^fields (.*)$", query["QueryString"], re.MULTILINE)[1])
        )
    logged = set(re.findall(r'"(\w+)":', HANDLERS)) | {"message", "@timestamp"}
    assert fields - logged == set()


def test_a_single_subnet_is_warned_of(in_one_subnet, joined):
    def warnings(synthesised):
        found = Annotations.from_stack(synthesised.stack)
        return found.find_warning("*", Match.string_like_regexp(".*one zone only.*"))

    assert [warning.id for warning in warnings(in_one_subnet)] == ["/Nightspot/Training/Data"]
    assert not warnings(joined)


@pytest.mark.parametrize("variant", ["deployed", "idle", "joined", "disposable"])
def test_the_synthesis_warns_of_nothing_else(request, variant):
    annotations = Annotations.from_stack(request.getfixturevalue(variant).stack)
    assert not annotations.find_warning("*", Match.any_value())
    assert not annotations.find_error("*", Match.any_value())
