"""What people hear of and look at: notices, alarms, the dashboard, saved queries."""

import json
import re
from pathlib import Path

import pytest
from aws_cdk.assertions import Annotations, Match

import lambdas
from infra.notices import CRASHED, TOLD
from infra.observability import QUERIES
from infra.workflow import WORKFLOW_FILE
from nightspot.aws.notices import SOURCE
from nightspot.happenings import OF_OUTCOME, Happening

pytestmark = pytest.mark.xdist_group("infra")

STATES = json.loads(WORKFLOW_FILE.read_text(encoding="utf-8"))["States"]
(ALARM,) = STATES["Sound the alarm"]["Arguments"]["Entries"]
# A quiet success is quiet, and so is the daily bread of Spot.
QUIET = {
    Happening.RUN_STARTED,
    Happening.ATTEMPT_STARTED,
    Happening.INTERRUPTED,
    Happening.RUN_SUCCEEDED,
}
HANDLERS = "\n".join(p.read_text(encoding="utf-8") for p in Path(lambdas.__file__).parent.glob("*.py"))


def rules_of_notices(synthesised):
    return [rule for name, rule in synthesised.of_type("Events::Rule").items() if "Notices" in name]


def dashboard_metrics(synthesised, as_text):
    """(namespace, name, dimension, its value) of everything on the dashboard."""
    _, dashboard = synthesised.only("CloudWatch::Dashboard")
    body = json.loads(as_text(dashboard["DashboardBody"]))
    for widget in body["widgets"]:
        for namespace, name, dimension, value, *_ in widget["properties"]["metrics"]:
            yield namespace, name, dimension, value


def alarm_metrics(synthesised):
    """Every metric that an alarm looks at, those within expressions too."""
    for alarm in synthesised.of_type("CloudWatch::Alarm").values():
        inner = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
        yield from inner or [alarm]


def test_a_person_hears_of_everything_but_what_is_quiet(deployed):
    told = {name for rule in rules_of_notices(deployed) for name in rule["EventPattern"]["detail-type"]}
    assert told == {h.detail_type for h in Happening if h not in QUIET} | {ALARM["DetailType"]}
    assert told == {*TOLD, CRASHED}


def test_every_way_a_run_can_end_is_either_told_or_a_success():
    assert {h for h in OF_OUTCOME.values() if h.detail_type not in TOLD} == {Happening.RUN_SUCCEEDED}


def test_the_notices_are_those_of_nightspot_s_own_source(deployed):
    assert len(rules_of_notices(deployed)) == 2
    for rule in rules_of_notices(deployed):
        assert rule["EventPattern"]["source"] == [SOURCE]
    assert ALARM["Source"] == SOURCE


def test_the_text_of_a_crash_reads_only_what_the_workflow_sends(deployed):
    (rule,) = (r for r in rules_of_notices(deployed) if r["EventPattern"]["detail-type"] == [CRASHED])
    (target,) = rule["Targets"]
    read = {p.removeprefix("$.detail.") for p in target["InputTransformer"]["InputPathsMap"].values()}
    sent = set(re.findall(r"'(\w+)':", ALARM["Detail"]))
    assert read - {"$.detail-type"} == sent


def test_the_text_of_a_notice_reads_only_what_the_handlers_send(deployed):
    (rule,) = (r for r in rules_of_notices(deployed) if r["EventPattern"]["detail-type"] != [CRASHED])
    (target,) = rule["Targets"]
    read = {p.removeprefix("$.detail.") for p in target["InputTransformer"]["InputPathsMap"].values()}
    assert read == {"$.detail-type", "job", "run_id", "deadline", "because"}


def test_a_notice_that_cannot_be_told_is_a_dead_letter(deployed, as_text):
    queue, _ = deployed.only("SQS::Queue")
    topic, _ = deployed.only("SNS::Topic")
    for rule in rules_of_notices(deployed):
        (target,) = rule["Targets"]
        assert as_text(target["Arn"]) == f"<{topic}>"
        assert as_text(target["DeadLetterConfig"]["Arn"]) == f"<{queue}.Arn>"


def test_events_and_alarms_may_publish_and_only_over_tls(deployed):
    """A topic policy takes the place of SNS's default one, by which alarms may publish."""
    _, policy = deployed.only("SNS::TopicPolicy")
    statements = policy["PolicyDocument"]["Statement"]
    assert [s["Condition"] for s in statements if s["Effect"] == "Deny"] == [
        {"Bool": {"aws:SecureTransport": "false"}}
    ]
    allowed = {s["Principal"]["Service"]: s for s in statements if s["Effect"] == "Allow"}
    assert set(allowed) == {"events.amazonaws.com", "cloudwatch.amazonaws.com"}
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
        "ResumeBroken",
        "RunAtRisk",
        "RunFailed",
        "RunLate",
        "RunTimedOut",
        "UnknownFailure",
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
        assert alarm["EvaluationPeriods"] == 1
        assert alarm["Threshold"] == (50 if "FallbackRate" in name else 0)


def test_a_crash_rings_by_the_rule_that_matches_it_and_not_by_every_failed_run(deployed):
    rule, _ = deployed.only("Events::Rule", "Crashed")
    _, alarm = deployed.only("CloudWatch::Alarm", "DecisionCrashed")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Events", "MatchedEvents")
    assert alarm["Dimensions"] == [{"Name": "RuleName", "Value": {"Ref": rule}}]


def test_alarms_and_dashboard_look_at_metrics_that_the_handlers_send(deployed, as_text):
    """Under the dimension that every handler's metrics have."""
    _, function = deployed.only("Lambda::Function", "DecideNextStep")
    variables = function["Environment"]["Variables"]
    own = [
        (m["Namespace"], m["MetricName"], m["Dimensions"][0]["Name"], m["Dimensions"][0]["Value"])
        for m in alarm_metrics(deployed)
    ]
    own += dashboard_metrics(deployed, as_text)
    own = [metric for metric in own if not metric[0].startswith("AWS/")]
    assert len(own) > len(Happening)
    sent = {happening.value for happening in Happening} | set(re.findall(r'"(\w+)"', HANDLERS))
    assert {name for _, name, _, _ in own} - sent == set()
    assert {metric[0] for metric in own} == {variables["POWERTOOLS_METRICS_NAMESPACE"]}
    assert {metric[2:] for metric in own} == {("service", variables["POWERTOOLS_SERVICE_NAME"])}


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
    assert metric in {name for _, name, _, _ in dashboard_metrics(deployed, as_text)}


def test_three_queries_are_saved_on_the_logs_of_decision_and_outcome(deployed, as_text):
    saved = deployed.of_type("Logs::QueryDefinition").values()
    assert {query["Name"] for query in saved} == {
        "Nightspot/Every decision of a run",
        "Nightspot/Failures by class",
        "Nightspot/Why did last night cost more",
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
