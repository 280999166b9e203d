"""`nightspot smoke`: what it checks and asks before it starts, and what it says of all that the run leaves.

CloudFormation, Lambda, Step Functions, IAM and Service Quotas answer as a deployed stack would; the table, the
buckets, the queue, the topic and the alarms are moto's.
"""

import io
import json
import tarfile
import zipfile
from datetime import date

import boto3
import pytest
from botocore.exceptions import ClientError

from nightspot.aws.doctor_grants import PASSES_ROLES, READ_CHECKPOINTS, READ_MODELS
from nightspot.aws.smoke import price_of
from nightspot.aws.table.dynamodb import to_dynamodb
from nightspot.cli import account, jobs, smoke
from nightspot.cli.account import Aws
from nightspot.cli.runs import start
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_jobs
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.plan.planning import quota_name
from nightspot.run.model import Outcome
from nightspot.run.pricing import Price
from tests.cloud import MACHINE, Cloud

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/training"
MODELS, CHECKPOINTS, PAGES = "our-models", "our-checkpoints", "our-pages"
M5 = "ml.m5.large"
MOTO_S = {"cloudwatch", "s3", "sns", "sqs", "sts"}


class Deployment(Cloud):
    """A whole stack, fresh and well; its run succeeds and leaves what a run leaves."""

    def __init__(self, story):
        super().__init__(story)
        self.quota = 2.0
        self.tells_success = "false"
        here = {"LocationConstraint": REGION}
        for bucket in (MODELS, CHECKPOINTS, PAGES):
            boto3.client("s3", region_name=REGION).create_bucket(
                Bucket=bucket, CreateBucketConfiguration=here
            )
        versions = {"Bucket": CHECKPOINTS, "VersioningConfiguration": {"Status": "Enabled"}}
        boto3.client("s3", region_name=REGION).put_bucket_versioning(**versions)
        self.queue = boto3.client("sqs", region_name=REGION).create_queue(QueueName="dead")["QueueUrl"]
        sns = boto3.client("sns", region_name=REGION)
        self.topic = sns.create_topic(Name="notices")["TopicArn"]
        sns.subscribe(TopicArn=self.topic, Protocol="https", Endpoint="https://example.com/hook")
        boto3.client("cloudwatch", region_name=REGION).put_metric_alarm(
            AlarmName="stack-RunFailed",
            AlarmDescription="A run ended without a model.",
            Namespace="Nightspot",
            MetricName="RunFailed",
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
        )
        self.artifact = f"s3://{MODELS}/smoke/nightspot-main-smoke-1/output/model.tar.gz"
        self.attempts = (
            story.ended(None, status="Completed", model_artifact=self.artifact, billable_seconds=120.0),
        )
        self.ending = {"outcome": Outcome.SUCCEEDED}
        self.leaves_model = self.leaves_page = True

    def client(self, service):
        if service in MOTO_S:
            return boto3.client(service, region_name=REGION)
        if service in {"iam", "service-quotas"}:
            return self
        return super().client(service)

    def describe_stacks(self, **_request):
        outputs = {
            "TableName": TABLE,
            "StateMachineArn": MACHINE,
            "ModelBucket": MODELS,
            "ReportBucket": PAGES,
            "NoticeTopicArn": self.topic,
            **dict.fromkeys((PASSES_ROLES, *READ_CHECKPOINTS, *READ_MODELS), ROLE),
        }
        told = [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": told}]}

    def paginate(self, **request):
        if "ServiceCode" in request:
            names = [quota_name(market, M5) for market in Market]
            return [{"Quotas": [{"QuotaName": name, "Value": self.quota} for name in names]}]
        resources = {
            "TrainingFunctionsPlanRun1": ("Lambda::Function", "plan-run"),
            "TrainingFunctionsNotify1": ("Lambda::Function", "notify"),
            "TrainingFunctionsRecordOutcome1": ("Lambda::Function", "record-outcome"),
            "TrainingRecordsDeadLetters1": ("SQS::Queue", self.queue),
            "TrainingObservabilityRunFailed1": ("CloudWatch::Alarm", "stack-RunFailed"),
        }
        found = [
            {"LogicalResourceId": logical, "ResourceType": f"AWS::{kind}", "PhysicalResourceId": physical}
            for logical, (kind, physical) in resources.items()
        ]
        return [{"StackResourceSummaries": found}]

    def get_function_configuration(self, **_request):
        variables = {
            "NIGHTSPOT_CHECKPOINT_BUCKET": CHECKPOINTS,
            "NIGHTSPOT_MODEL_BUCKET": MODELS,
            "NIGHTSPOT_TRAINING_ROLE_ARN": ROLE,
            "NIGHTSPOT_DLC_ACCOUNT_ID": "763104351884",
            "NIGHTSPOT_TELL_SUCCESS": self.tells_success,
        }
        return {"Environment": {"Variables": variables}}

    def describe_state_machine(self, **_request):
        return {"status": "ACTIVE"}

    def get_role(self, **_request):
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        return {"Role": {"AssumeRolePolicyDocument": {"Statement": [statement]}}}

    def simulate_principal_policy(self, **_request):
        return {"EvaluationResults": []}

    def sleep(self, seconds):
        super().sleep(seconds)
        s3 = boto3.client("s3", region_name=REGION)
        if self.leaves_model:
            s3.put_object(Bucket=MODELS, Key=self.artifact.split("/", 3)[3], Body=archive())
        if self.leaves_page:
            s3.put_object(Bucket=PAGES, Key=f"reports/{self.run.run_id}.html", Body=b"<html>")


def archive():
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as packed:
        member = tarfile.TarInfo("steps")
        member.size = 3
        packed.addfile(member, io.BytesIO(b"20\n"))
    return body.getvalue()


@pytest.fixture
def aws(monkeypatch, emulated_aws, story, root):
    create_resources(())
    cloud = Deployment(story)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as code:
        code.writestr("jobs.json", dump_jobs(load_jobs(root / "jobs")))
    cloud.code = content.getvalue()
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, cloud.client, profile)
    )
    monkeypatch.setattr(jobs, "fetched", lambda _address: cloud.code)
    monkeypatch.setattr(start, "sleep", cloud.sleep)
    monkeypatch.setattr(start, "monotonic", lambda: cloud.slept)
    return cloud


def test_from_a_deployed_stack_to_a_model_and_all_that_a_run_leaves(nightspot, aws):
    answer = nightspot("smoke", "--yes")
    assert answer.status == 0, answer.out + answer.err
    assert aws.inputs == [{"job": "smoke", "requested_by": "nightspot smoke"}]
    lines = answer.out.splitlines()
    asked = next(n for n, line in enumerate(lines) if line.startswith("The run is "))
    started = next(n for n, line in enumerate(lines) if " of smoke has started." in line)
    told = [line for line in lines[started:] if line.startswith("ok ")]
    assert asked < started
    for words in (
        "succeeded in time, on Spot",
        f"is at {aws.artifact}",
        "2 min billed",
        f"is at s3://{PAGES}/reports/{aws.run.run_id}.html",
        "successes are not sent on",
        "none of 1 rings",
        "the queue is empty",
    ):
        assert any(words in line for line in told), words


def test_the_highest_price_is_named_before_anybody_is_asked_and_no_means_no(nightspot, aws):
    record = {
        "ask_after": "2026-11-22T00:00:00Z",
        "price": {
            "usd_per_hour": 0.128,
            "source": "AWS",
            "date": "2026-11-21",
            "assumed": False,
            "origin": "price_list",
        },
    }
    item = to_dynamodb({"pk": f"PRICE#{REGION}", "sk": M5, "record": record})
    boto3.client("dynamodb", region_name=REGION).put_item(TableName=TABLE, Item=item)
    answer = nightspot("smoke", stdin="n\n")
    assert answer.status == 1
    # 5 min of $0.128 an hour; at most twice the half hour of its MaxRuntimeInSeconds.
    assert "$0.01 on-demand, at most $0.13, at $0.13 an hour (price of 2026-11-21" in answer.out
    assert "nothing was started" in answer.err
    assert aws.executions == {}


def test_where_nobody_can_answer_nothing_is_bought(nightspot, aws):
    answer = nightspot("smoke", stdin="")
    assert (answer.status, aws.executions) == (1, {})
    assert "say --yes" in answer.err


def test_json_is_one_object_with_what_was_found_before_and_after(nightspot, aws):
    answer = nightspot("smoke", "--yes", "--json")
    told = json.loads(answer.out)
    assert (answer.status, told["ok"], told["exit_status"]) == (0, True, 0)
    assert (told["run_id"], told["job"], told["most_usd"]) == (aws.run.run_id, "smoke", None)
    assert {check["state"] for check in told["after"]} == {"ok"}
    assert {"credentials", "stack", "quotas"} <= {check["check"] for check in told["before"]}
    assert told["record"]["outcome"] == "succeeded"
    aws.quota = 0.0
    refused = nightspot("smoke", "--yes", "--json")
    assert (refused.status, json.loads(refused.out)["ok"]) == (1, False)
    assert nightspot("smoke", "--json").status == 2


def test_a_run_that_never_came_on_record_is_told_with_its_execution(nightspot, aws):
    aws.refused = {"status": "FAILED", "error": "Nightspot.InvalidInput", "cause": "no such job"}
    answer = nightspot("smoke", "--yes")
    assert answer.status == 1
    assert "its input was refused: no such job" in answer.err
    assert "in the console: https://" in answer.err


def test_a_problem_before_the_start_starts_nothing_and_comes_with_its_fix(nightspot, aws):
    aws.quota = 0.0
    answer = nightspot("smoke", "--yes")
    assert (answer.status, aws.executions) == (1, {})
    assert "problem      quotas" in answer.out
    assert "fix: " in answer.out
    assert "fix the problems above first" in answer.err


def test_a_stack_without_the_job_says_where_to_get_it(nightspot, aws):
    answer = nightspot("smoke", "--job", "smok", "--yes")
    assert answer.status == 1
    assert "--job: 'smok': must be a job of the stack (recommender, smoke)" in answer.err
    assert "demo/jobs/smoke.yaml into jobs/ and deploy" in answer.err
    assert smoke.SMOKE_JOB_FILE.is_file()


def test_a_run_without_a_model_says_why_and_which_commands_tell_more(nightspot, aws, story):
    because = "on-demand ended as user code."
    aws.ending = {"outcome": Outcome.FAILED, "outcome_because": because}
    aws.attempts = (story.ended(FailureClass.USER_CODE, failure_reason="ExitCode 1", billable_seconds=60.0),)
    aws.leaves_model = False
    answer = nightspot("smoke", "--yes")
    run_id = aws.run.run_id
    assert answer.status == 1
    assert f"{run_id} ended without a model (failed): {because}" in answer.out
    assert (
        f"fix: nightspot show {run_id} --stack Nightspot; nightspot logs {run_id} --stack Nightspot"
        in answer.out
    )
    assert "is missing at nowhere, for the run has none" in answer.out
    assert f"https://{REGION}.console.aws.amazon.com/states/" in answer.out


def test_everything_that_is_missing_after_a_model_is_a_problem_with_a_place_to_look(
    nightspot, aws, monkeypatch
):
    aws.leaves_page = False
    sleep = aws.sleep

    def and_then_trouble(seconds):
        sleep(seconds)
        boto3.client("sqs", region_name=REGION).send_message(QueueUrl=aws.queue, MessageBody="{}")
        boto3.client("cloudwatch", region_name=REGION).set_alarm_state(
            AlarmName="stack-RunFailed", StateValue="ALARM", StateReason="x"
        )
        aws.table.close_turns.begin_to_tell(aws.run.run_id, aws.story.midnight)

    monkeypatch.setattr(start, "sleep", and_then_trouble)
    answer = nightspot("smoke", "--yes")
    assert answer.status == 1
    problems = [line for line in answer.out.splitlines() if line.startswith("problem")]
    for words in (
        "is not at s3://our-pages/reports/",
        "of the run's end has not reached EventBridge",
        "stack-RunFailed: rings: A run ended without a model.",
        "events that all retries failed for: about 1",
    ):
        assert any(words in line for line in problems), words
    assert answer.out.count("fix: ") >= len(problems)
    assert "aws cloudwatch describe-alarm-history --alarm-name stack-RunFailed" in answer.out


def test_where_successes_are_sent_on_the_message_has_to_be_out(nightspot, aws, monkeypatch):
    aws.tells_success = "true"
    answer = nightspot("smoke", "--yes")
    assert "is not published to the topic yet" in answer.out
    sleep = aws.sleep

    def and_then_send(seconds):
        sleep(seconds)
        item = {"pk": f"NOTICE#{aws.run.run_id}/end", "sk": "MAIL", "sent_at": "2026-11-21T00:09:00+00:00"}
        boto3.client("dynamodb", region_name=REGION).put_item(TableName=TABLE, Item=to_dynamodb(item))

    monkeypatch.setattr(start, "sleep", and_then_send)
    assert "has been published to the topic" in nightspot("smoke", "--yes").out


def test_what_may_not_be_looked_at_is_not_checked_and_names_the_permission(nightspot, aws, monkeypatch):
    class Denied:
        def describe_alarms(self, **_request):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeAlarms")

    client = aws.client
    monkeypatch.setattr(aws, "client", lambda name: Denied() if name == "cloudwatch" else client(name))
    answer = nightspot("smoke", "--yes")
    assert answer.status == 0
    assert "needs the permission cloudwatch:DescribeAlarms" in answer.out


def test_a_wait_that_is_over_leaves_the_run_and_says_how_to_follow_it(nightspot, aws):
    aws.ending = None
    answer = nightspot("smoke", "--yes", "--timeout", "2m")
    assert answer.status == 124
    assert f"nightspot watch {aws.run.run_id} --stack Nightspot" in answer.err


PRICED = Price(0.115, "a list", date(2026, 8, 11), assumed=False)


@pytest.mark.parametrize(
    ("changes", "price", "most", "words"),
    [
        ({}, PRICED, 0.115, "at most $0.12"),
        ({}, None, None, "no price of ml.m5.large in eu-west-1 is known; it is billed for 1 h at most"),
        ({"training_job": {}}, PRICED, None, "without a limit: the job file has none"),
    ],
    ids=["limited", "unknown", "unlimited"],
)
def test_what_a_run_costs_at_most_is_twice_its_paid_time(root, changes, price, most, words):
    job = load_jobs(root / "jobs")["smoke"].model_copy(update=changes)
    found = price_of(job, lambda _kind: price, REGION, PRICED.date)
    assert found.most_usd == (None if most is None else pytest.approx(most))
    assert words in found.words
