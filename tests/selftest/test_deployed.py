"""C13 to C15 with a deployed stack: what is asked of it, and what each answer means.

Table, buckets, queues, alarms, dashboard and metrics are moto's. CloudFormation, Step Functions, SageMaker, Lambda,
Scheduler, X-Ray, Logs Insights and the API answer as recorded or documented: moto cannot, or has no stack in it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.session import get_session

from nightspot.aws.runs.api_client import ApiClient
from nightspot.aws.table.run_table import RunTable
from nightspot.facts.model import Verdict
from nightspot.formats.run_ids import run_id_of
from nightspot.local.stage.emulated_aws import TABLE, create_resources
from nightspot.record.model import RecordNotReadableError
from nightspot.run.model import Outcome
from nightspot.selftest import deployed
from nightspot.selftest.aftermath import METRICS, Comes
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.running import play

HERE = "eu-west-1:123456789012"
MACHINE = f"arn:aws:states:{HERE}:stateMachine:nightspot"
MODELS, PAGES = "stack-trainingdatamodels", "stack-trainingdatareports"
API = "https://abc123.execute-api.eu-west-1.amazonaws.com/v1"
DIMENSIONS = [{"Name": "environment", "Value": "main"}, {"Name": "service", "Value": "nightspot"}]
QUERIES = {
    "Every decision of a run": "filter run = 'put the run id here'",
    "Failures by class": "filter ispresent(failure_class)",
}
# Played here; every other service is moto's.
PLAYED = {"cloudformation", "stepfunctions", "sagemaker", "lambda", "logs", "xray", "scheduler"}


class Pages:
    def __init__(self, *pages):
        self._pages = pages

    def paginate(self, **_asked):
        return self._pages


class Stack:
    """A deployed stack in which a run of the job goes as the attributes say."""

    status, error, starts = "SUCCEEDED", "", 1
    closes = True  # whether an abort stops the training job
    completes = True  # whether its bill comes into the record
    letter, page = False, True  # whether a dead letter is left, and the page written
    # What it costs is known, and what it saves is not: it is not known what on-demand alone would have cost.
    counted = frozenset({"CostUsd", *(name for name, comes in METRICS.items() if comes is Comes.ALWAYS)})
    rows = {"Every decision of a run": 1, "Failures by class": 0}  # noqa: RUF012 - replaced, not changed
    origins = ("AWS::StepFunctions::StateMachine", "AWS::Lambda::Function")
    api_status = 200
    event = ()  # what the event of an abort has otherwise than documented, as pairs; None: there is no event

    def __init__(self, workspace, story):
        self.workspace, self.story, self.moto = workspace, story, workspace.client
        self.calls, self.stopped, self.schedules = [], [], []
        self.outputs = {
            "StateMachineArn": MACHINE,
            "Environment": "main",
            "TableName": TABLE,
            "ReportBucket": PAGES,
            "ApiUrl": API,
        }
        create_resources(())
        for bucket in (MODELS, PAGES):
            where = {"LocationConstraint": "eu-west-1"}
            self.moto("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        self.queue = self.moto("sqs").create_queue(QueueName="stack-DeadLetters")["QueueUrl"]
        cloudwatch = self.moto("cloudwatch")
        alarm = {"EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold"}
        of = {"Namespace": "Nightspot", "Dimensions": DIMENSIONS}
        cloudwatch.put_metric_alarm(
            AlarmName="stack-RunFailed", MetricName="RunFailed", Statistic="Sum", Period=300, **of, **alarm
        )
        stats = [
            {
                "Id": name.lower(),
                "MetricStat": {"Metric": {**of, "MetricName": name}, "Period": 300, "Stat": "Sum"},
            }
            for name in ("FellBack", "RunStarted")
        ]
        rate = {"Id": "rate", "Expression": "fellback / runstarted", "ReturnData": True}
        cloudwatch.put_metric_alarm(AlarmName="stack-FallbackRate", Metrics=[*stats, rate], **alarm)
        own = ["environment", "main", "service", "nightspot", {"period": 86400}]
        rows = [["Nightspot", name, *own] for name in sorted(METRICS) if name != "ExecutionsStarted"]
        rows += [["AWS/States", "ExecutionsStarted", "StateMachineArn", MACHINE], [{"expression": "1 + 1"}]]
        body = {"widgets": [{"type": "metric", "properties": {"metrics": rows}}]}
        cloudwatch.put_dashboard(DashboardName="stack-board", DashboardBody=json.dumps(body))

    def client(self, service):
        def note(method):
            self.calls.append((service, operations(service)[method]))

        return Noting(self if service in PLAYED else self.moto(service), note)

    # --- what is played ---

    def describe_stacks(self, **_asked):
        return {
            "Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]}]
        }

    def get_paginator(self, name):
        if name == "list_stack_resources":
            things = (
                ("AWS::SQS::Queue", "RecordsDeadLetters1", self.queue),
                ("AWS::Lambda::Function", "FunctionsStartRun1", "start-run"),
                ("AWS::Lambda::Function", "FunctionsNotify1", "notify"),
                ("AWS::IAM::Role", "SchedulesRole1", "schedules"),
                ("AWS::CloudWatch::Alarm", "RunFailed1", "stack-RunFailed"),
                ("AWS::CloudWatch::Alarm", "FallbackRate1", "stack-FallbackRate"),
                ("AWS::CloudWatch::Dashboard", "Dashboard1", "stack-board"),
            )
            keys = ("ResourceType", "LogicalResourceId", "PhysicalResourceId")
            return Pages({"StackResourceSummaries": [dict(zip(keys, each, strict=True)) for each in things]})
        details = {"resource": "updateItem.waitForTaskToken"}
        event = {"type": "TaskSucceeded", "timestamp": self.started_at + timedelta(seconds=7)}
        return Pages({"events": [{**event, "taskSucceededEventDetails": details}]})

    def start_execution(self, **asked):
        self.started_at = self.workspace.now()
        self.trace_header = asked.get("traceHeader", "")
        assert json.loads(asked["input"]) == {"job": "smoke"}
        self.arn = f"{MACHINE.replace('stateMachine', 'execution')}:{asked['name']}"
        self.run_id = run_id_of(self.arn, self.started_at)
        self.job = f"nightspot-main-smoke-{self.run_id}-1"
        if self.status == "SUCCEEDED":
            self._leave(Outcome.SUCCEEDED, model_artifact=f"s3://{MODELS}/smoke/{self.job}/output/model/")
            self._count()
        if self.letter:
            self.moto("sqs").send_message(QueueUrl=self.queue, MessageBody="{}")
        return {"executionArn": self.arn}

    def _leave(self, outcome, **of_the_attempt):
        table = RunTable(self.moto("dynamodb"), TABLE)
        attempt = self.story.ended(
            None, training_job_name=self.job, status="Completed", billable_seconds=300.0, **of_the_attempt
        )
        planned = self.story.run(
            job="smoke", run_id=self.run_id, execution_arn=self.arn, started_at=self.started_at
        )
        table.record_plan(planned)
        run = replace(planned, attempts=(attempt,), outcome=outcome, outcome_because="As played.")
        table.record_outcome(run)
        s3 = self.moto("s3")
        s3.put_object(Bucket=MODELS, Key=f"smoke/{self.job}/output/model/steps", Body=b"20")
        if self.page:
            s3.put_object(Bucket=PAGES, Key=f"reports/{self.run_id}.html", Body=b"<html>")

    def _count(self):
        for name in self.counted:
            states = name == "ExecutionsStarted"
            of = [{"Name": "StateMachineArn", "Value": MACHINE}] if states else DIMENSIONS
            datum = {"MetricName": name, "Dimensions": of, "Value": 1.0, "Timestamp": self.started_at}
            namespace = "AWS/States" if states else "Nightspot"
            self.moto("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])

    def describe_execution(self, executionArn):  # noqa: N803 - as boto3 has it
        status = "ABORTED" if executionArn in self.stopped else self.status
        given = {"job": "smoke", "scheduled_at": "2026-12-05T00:02:00Z"}
        told = {"status": status, "error": self.error, "input": json.dumps(given)}
        return {**told, "startDate": getattr(self, "started_at", None)}

    def stop_execution(self, executionArn, error=None, cause=None):  # noqa: N803 - as boto3 has it
        if self.describe_execution(executionArn)["status"] != "RUNNING":
            words = {"Code": "ValidationException", "Message": "Execution is not running"}
            raise ClientError({"Error": words}, "StopExecution")
        self.stopped.append(executionArn)
        if not hasattr(self, "job"):
            return
        if self.completes:
            self._leave(Outcome.STOPPED)
        if self.event is None:
            return
        name, sqs = executionArn.rpartition(":")[2], self.moto("sqs")
        url = sqs.get_queue_url(QueueName=self.workspace.name("events"))["QueueUrl"]
        for status in ("RUNNING", "ABORTED"):
            # https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
            detail = {
                "executionArn": executionArn,
                "stateMachineArn": MACHINE,
                "name": name,
                "status": status,
                "startDate": 1_785_000_000_000,
                "stopDate": None if status == "RUNNING" else 1_785_000_009_000,
                "input": '{"job": "smoke"}',
                "output": None,
                "error": error,
                "cause": cause,
                **dict(self.event),
            }
            event = {"source": "aws.states", "detail-type": "Step Functions Execution Status Change"}
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({**event, "detail": detail}))

    def list_executions(self, **_asked):
        started = {"startDate": self.workspace.now()}
        found = [{**started, "executionArn": f"arn:{n}", "name": f"smoke-{n}"} for n in range(self.starts)]
        return {"executions": [*found, {**started, "executionArn": "arn:x", "name": "another-job"}]}

    def list_training_jobs(self, **asked):
        mine = asked["NameContains"] == f"-{self.run_id}-"
        return {"TrainingJobSummaries": [{"TrainingJobName": self.job}] if mine else []}

    def describe_training_job(self, **_asked):
        over = bool(self.stopped) and self.closes
        transitions = [{"Status": "Training", "StartTime": self.started_at}]
        return {
            "TrainingJobStatus": "Stopped" if over else "InProgress",
            "SecondaryStatusTransitions": transitions,
        }

    def stop_training_job(self, **_asked):
        self.closes = True

    def create_schedule(self, **asked):
        self.schedules.append(asked)

    def delete_schedule(self, **_asked):
        pass

    def get_function_configuration(self, **asked):
        assert asked == {"FunctionName": "notify"}
        return {"Environment": {"Variables": {"NIGHTSPOT_TELL_SUCCESS": "false"}}}

    def describe_query_definitions(self, **asked):
        prefix = asked["queryDefinitionNamePrefix"]
        assert prefix == "Nightspot/main/"
        saved = [
            {"name": f"{prefix}{name}", "queryString": text, "logGroupNames": ["decisions", "outcomes"]}
            for name, text in QUERIES.items()
        ]
        return {"queryDefinitions": saved}

    def start_query(self, **asked):
        assert asked["logGroupNames"] == ["decisions", "outcomes"]
        assert asked["startTime"] < self.started_at.timestamp() < asked["endTime"]
        texts = {text.replace("put the run id here", self.run_id): name for name, text in QUERIES.items()}
        return {"queryId": texts[asked["queryString"]]}

    def get_query_results(self, **asked):
        rows = self.rows[asked["queryId"]]
        if isinstance(rows, str):
            return {"status": rows, "results": []}
        return {"status": "Complete", "results": [[{"field": "message", "value": "x"}]] * rows}

    def batch_get_traces(self, **asked):
        (trace_id,) = asked["TraceIds"]
        assert self.trace_header == f"Root={trace_id};Sampled=1"
        segments = [
            {"Document": json.dumps({"name": f"n{at}", "origin": each})}
            for at, each in enumerate(self.origins)
        ]
        return {"Traces": [{"Id": trace_id, "Segments": segments}] if segments else []}

    def api(self, url):
        def send(request):
            assert "Credential=AKIATEST/" in request.headers["Authorization"]
            self.calls.append(("execute-api", "Invoke"))
            body = {"run_id": request.url.rpartition("/")[2], "outcome": "succeeded"}
            answer = AWSResponse(request.url, self.api_status, {}, None)
            answer._content = json.dumps(body if self.api_status == 200 else {"message": "no"}).encode()
            return answer

        return ApiClient(url, credentials=Credentials("AKIATEST", "secret"), send=send)


class Noting:
    """A client that notes the names of its operations."""

    def __init__(self, client, note):
        self._client, self._note = client, note

    def __getattr__(self, name):
        if name != "meta":
            self._note(name)
        return getattr(self._client, name)

    def get_paginator(self, name):
        self._note(name)
        return self._client.get_paginator(name)


@cache
def operations(service):
    """boto3's methods of a service, and the operations that they call."""
    names = get_session().get_service_model(service).operation_names
    return {xform_name(name): name for name in names}


@pytest.fixture
def played(account, story, actions):
    """played(check id, **how): the check's facts, why some are lacking, and the stack."""

    def run(check_id, **how):
        workspace = account(scale=100_000).workspace
        stack = Stack(workspace, story)
        outputs = how.pop("outputs", {})
        stack.outputs = {**stack.outputs, **outputs}
        for name, value in how.items():
            setattr(stack, name, value)
        workspace.stack, workspace.emulator = "Nightspot", ""
        workspace.client, workspace.api = stack.client, stack.api
        (check,) = (each for each in CHECKS if each.id == check_id)
        report = play(workspace, [check])
        assert actions(stack.calls) <= set(check.calls)
        assert report.file.left_behind == ()
        (result,) = report.results
        return {each.id: each for each in result.observations}, result.because, stack

    return run


def test_a_good_run_is_followed_to_its_end_and_everything_that_it_leaves_is_looked_at(played):
    seen, because, _ = played("C13")

    assert because == ""
    assert {name: each.observed for name, each in seen.items()} == {
        "deployment.run": ("succeeded",),
        "deployment.wake.seconds": (7.0,),
        "deployment.letters": (0,),
        "deployment.metrics.missing": (0,),
        "deployment.queries.empty": (0,),
        "deployment.trace": ("workflow and functions",),
        "deployment.api": ("the run",),
        "deployment.model": ("ok",),
        "deployment.record": ("ok",),
        "deployment.page": ("ok",),
        "deployment.notice": ("ok",),
        "deployment.alarms": ("ok",),
    }
    assert {each.verdict for each in seen.values()} == {Verdict.AS_DESIGNED}
    assert f"{len(METRICS)} asked for" in seen["deployment.metrics.missing"].evidence[0]


def test_a_run_that_fails_and_leaves_a_letter_breaks(played):
    seen, because, _ = played("C13", status="FAILED", error="Nightspot.failed", letter=True)

    assert seen["deployment.run"].verdict is Verdict.BREAKS
    assert seen["deployment.letters"].verdict is Verdict.BREAKS
    assert because == "what only a good run leaves was not looked for"


def test_a_stack_without_the_job_is_not_tried(played):
    seen, because, _ = played("C13", status="FAILED", error="Nightspot.InvalidInput")

    assert seen == {}
    assert because.startswith("the stack has no job 'smoke'")


@pytest.mark.parametrize(
    ("how", "fact", "observed", "words"),
    [
        (
            {"counted": Stack.counted - {"CostUsd", "ExecutionsStarted"}},
            *("deployment.metrics.missing", 2, "CostUsd, ExecutionsStarted"),
        ),
        (
            {"rows": {"Every decision of a run": 0, "Failures by class": "Failed"}},
            *("deployment.queries.empty", 2, "Every decision of a run: no row, Failures by class: Failed"),
        ),
        ({"origins": ("AWS::Lambda", "AWS::Lambda::Function")}, "deployment.trace", "functions", "n0, n1"),
        ({"origins": ()}, "deployment.trace", "nothing", ""),
        ({"api_status": 403}, "deployment.api", "HTTP 403", "403: no"),
        ({"page": False}, "deployment.page", "problem", "is not at s3://stack-trainingdatareports/"),
    ],
    ids=["metrics", "queries", "trace without the workflow", "no trace", "API refuses", "no page"],
)
def test_what_a_good_run_has_not_left_is_named_and_is_safe(played, how, fact, observed, words):
    seen, because, _ = played("C13", **how)

    assert because == ""
    assert seen[fact].observed == (observed,)
    assert seen[fact].verdict is Verdict.SAFE
    assert words in " ".join(seen[fact].evidence)
    assert {each.id for each in seen.values() if each.verdict is not Verdict.AS_DESIGNED} == {fact}


def test_what_may_not_be_asked_is_named_and_keeps_nothing_else_from_being_looked_at(played, monkeypatch):
    def denied(_stack, **_asked):
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchGetTraces")

    monkeypatch.setattr(Stack, "batch_get_traces", denied)
    seen, because, _ = played("C13")

    assert because == "trace: BatchGetTraces: AccessDeniedException: no"
    assert "deployment.trace" not in seen
    assert seen["deployment.page"].observed == ("ok",)


def test_a_record_of_another_version_is_named(played, monkeypatch):
    def unreadable(_value):
        raise RecordNotReadableError("outcome: 'won': must be one of ours")

    monkeypatch.setattr(deployed, "read_record", unreadable)
    seen, because, _ = played("C13")

    assert seen["deployment.run"].observed == ("succeeded",)
    assert because == "the run's record is of another version: outcome: 'won': must be one of ours"


@pytest.mark.parametrize(("starts", "verdict"), [(1, Verdict.AS_DESIGNED), (2, Verdict.BREAKS)])
def test_one_moment_twice_is_one_run(played, starts, verdict):
    seen, _, stack = played("C14", starts=starts, status="RUNNING")

    assert seen["scheduler.start"].verdict is verdict
    assert seen["scheduler.time.form"].observed == ("readable",)
    assert len({each["ScheduleExpression"] for each in stack.schedules}) == 1
    assert stack.schedules[0]["Target"]["Arn"].endswith(":function:start-run")
    assert len(stack.stopped) == starts


def test_the_event_of_an_aborted_execution_is_read_and_its_job_stopped_and_billed(played):
    seen, because, _ = played("C15", status="RUNNING")

    assert because == ""
    assert {name: each.observed for name, each in seen.items()} == {
        "stepfunctions.execution.event": ("ABORTED",),
        "stepfunctions.execution.event.missing": ("nothing",),
        "stepfunctions.execution.event.cause": ("as given", "as given"),
        "deployment.aborted": ("stopped",),
        "deployment.aborted.bill": ("complete",),
    }
    assert {each.verdict for each in seen.values()} == {Verdict.AS_DESIGNED}


@pytest.mark.parametrize(
    ("event", "fact", "observed"),
    [
        (None, "stepfunctions.execution.event", ("nothing arrived",)),
        ((("status", "FAILED"),), "stepfunctions.execution.event", ("FAILED",)),
        (
            (("input", None), ("startDate", "soon")),
            *("stepfunctions.execution.event.missing", ("input, startDate is unreadable",)),
        ),
        (
            (("error", None), ("cause", {"why": "x"})),
            *("stepfunctions.execution.event.cause", ("absent", "dict")),
        ),
        ((("cause", "cut"),), "stepfunctions.execution.event.cause", ("as given", "another text")),
    ],
    ids=["no event", "another status", "fields", "forms of error and cause", "another cause"],
)
def test_an_event_that_is_otherwise_is_told_and_is_safe(played, event, fact, observed):
    seen, _, _ = played("C15", status="RUNNING", event=event)

    assert seen[fact].observed == observed
    assert seen[fact].verdict is Verdict.SAFE
    assert seen["deployment.aborted"].verdict is Verdict.AS_DESIGNED


def test_a_training_job_that_trains_on_after_an_abort_breaks(played):
    seen, _, _ = played("C15", status="RUNNING", closes=False)

    assert seen["deployment.aborted"].verdict is Verdict.BREAKS
    assert "deployment.aborted.bill" not in seen


def test_a_bill_that_does_not_come_is_told(played):
    seen, _, _ = played("C15", status="RUNNING", completes=False)

    assert seen["deployment.aborted.bill"].observed == ("missing",)
    assert seen["deployment.aborted.bill"].verdict is Verdict.SAFE


def test_the_queue_gets_the_events_of_this_self_test_s_executions_and_of_no_other(account):
    workspace = account().workspace
    workspace.queue()

    pattern = json.loads(
        workspace.client("events").describe_rule(Name=workspace.name("executions"))["EventPattern"]
    )

    assert pattern == {
        "source": ["aws.states"],
        "detail": {"name": [{"prefix": "nightspot-selftest-1a2b3c-"}]},
    }
    assert workspace.name("c15").startswith("nightspot-selftest-1a2b3c-")
