"""The doctor looks at an account: what is well, what is not, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from moto import mock_aws
from pydantic import TypeAdapter

from nightspot.aws.doctor import (
    CHECKS,
    CREDENTIAL_FAULTS,
    STACK_STATES,
    Check,
    CheckFinding,
    CheckState,
    Visit,
    examine,
)
from nightspot.aws.doctor_grants import PASSES_ROLES, READ_CHECKPOINTS, READ_MODELS
from nightspot.aws.doctor_visit import PERMISSIONS, guarded, job_of
from nightspot.aws.faults import NO_ANSWER, TransientAwsError
from nightspot.aws.runs.job_code import PushedCode
from nightspot.aws.table.dynamodb import to_dynamodb
from nightspot.job.code_version import CodeVersion
from nightspot.job.markets import Market
from nightspot.job.reading import check_files
from nightspot.plan.planning import quota_name

REGION, ACCOUNT = "eu-west-1", "123456789012"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
P4D, G5 = "ml.p4d.24xlarge", "ml.g5.48xlarge"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/training"
BUCKETS = ("our-checkpoints", "our-models")
VARIABLES = {
    "NIGHTSPOT_CHECKPOINT_BUCKET": BUCKETS[0],
    "NIGHTSPOT_MODEL_BUCKET": BUCKETS[1],
    "NIGHTSPOT_TRAINING_ROLE_ARN": ROLE_ARN,
}
ROLE_OUTPUTS = {PASSES_ROLES, *READ_CHECKPOINTS, *READ_MODELS}
TEMPLATE = {
    "Resources": {
        "TrainingNoticesTopic1": {"Type": "AWS::SNS::Topic"},
        "TrainingRecordsDeadLetters1": {"Type": "AWS::SQS::Queue"},
    },
    "Outputs": {
        "NoticeTopicArn": {"Value": {"Ref": "TrainingNoticesTopic1"}},
        "StateMachineArn": {"Value": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:runs"},
        "Version": {"Value": "1.0"},
        "TableName": {"Value": "nightspot-table"},
        **{name: {"Value": f"arn:aws:iam::{ACCOUNT}:role/{name}"} for name in ROLE_OUTPUTS},
    },
}


def client_error(code: str, operation: str, **headers: str) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": "not so"},
        "ResponseMetadata": {"HTTPHeaders": headers},
    }
    return ClientError(response, operation)


@cache
def client(service: str) -> Any:
    """boto3's, made once: that takes longer than a test. What moto holds behind it is each test's own."""
    return boto3.client(service, region_name=REGION)


class Pages:
    """A paginator of one page."""

    def __init__(self, **page: Any) -> None:
        self._page = page

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        return [self._page]


class Watched:
    """boto3's client of a service, some of whose calls are answered, or refused, by the test."""

    def __init__(self, account: Account, service: str) -> None:
        self._account = account
        self._client = client(service)

    def __getattr__(self, name: str) -> Any:
        if name == "get_paginator":
            return self._paginator
        return self._answer(name) or getattr(self._client, name)

    def _answer(self, name: str) -> Any:
        self._account.calls.append(name)
        answer = self._account.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer if answer is None or callable(answer) else lambda **request: answer

    def _paginator(self, name: str) -> Any:
        answer = self._answer(name)
        return Pages(**answer()) if answer else self._client.get_paginator(name)


class Account:
    """An account where all is well. `answers[call]`: what a call answers, or raises, instead of moto."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder, self.job = folder, job
        self.calls: list[str] = []
        self.now = NOON
        quotas = [{"QuotaName": quota_name(market, P4D), "Value": 2.0} for market in Market]
        dated = {"HTTPHeaders": {"date": format_datetime(NOON, usegmt=True)}}
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/on-call/ann"
        self.answers: dict[str, Any] = {
            "get_caller_identity": {"Account": ACCOUNT, "Arn": arn, "ResponseMetadata": dated},
            "list_service_quotas": {"Quotas": quotas},
            "simulate_principal_policy": {"EvaluationResults": []},
            "get_function_configuration": {"Environment": {"Variables": VARIABLES}},
        }
        self.price(P4D, G5)
        self._deploy()

    def _deploy(self) -> None:
        client("cloudformation").create_stack(StackName="Nightspot", TemplateBody=json.dumps(TEMPLATE))
        client("iam").create_role(RoleName="training", AssumeRolePolicyDocument=json.dumps(TRUST))
        client("stepfunctions").create_state_machine(
            name="runs", definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}', roleArn=ROLE_ARN
        )
        for bucket in BUCKETS:
            where = {"LocationConstraint": REGION}
            client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
            client("s3").put_bucket_encryption(
                Bucket=bucket,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
            )
        self.keep_versions("Enabled")
        client("ecr").create_repository(repositoryName="recommender-training")
        client("ecr").put_image(
            repositoryName="recommender-training",
            imageManifest='{"schemaVersion": 2}',
            imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
            imageTag="latest",
        )
        listed = client("cloudformation").list_stack_resources(StackName="Nightspot")
        found = listed["StackResourceSummaries"]
        self.resources = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}
        for logical, kind, physical in (
            ("SchedulesRecommender", "AWS::Scheduler::Schedule", "nightly"),  # moto skips these
            ("TrainingFunctionsPlanRun1", "AWS::Lambda::Function", "plan-run"),
            ("TrainingFunctionsAskPrices1", "AWS::Lambda::Function", "ask-prices"),
        ):
            found.append({"LogicalResourceId": logical, "ResourceType": kind, "PhysicalResourceId": physical})
        self.answers["list_stack_resources"] = {"StackResourceSummaries": found}
        client("sns").subscribe(
            TopicArn=self.resources["TrainingNoticesTopic1"],
            Protocol="https",
            Endpoint="https://example.com/hook",
        )
        self.schedule(client("scheduler").create_schedule)

    def price(self, *types: str, day: str = "2026-11-21") -> None:
        """What the table has of prices: these types' in AWS's list, asked that day."""
        items = [
            {
                "pk": f"PRICE#{REGION}",
                "sk": each,
                "record": {
                    "ask_after": "2026-11-22T00:00:00Z",
                    "price": {
                        "usd_per_hour": 30.0,
                        "source": "AWS",
                        "date": day,
                        "assumed": False,
                        "origin": "price_list",
                    },
                },
            }
            for each in types
        ]
        self.answers["query"] = {"Items": [to_dynamodb(item) for item in items]}

    def keep_versions(self, status: str) -> None:
        client("s3").put_bucket_versioning(Bucket=BUCKETS[0], VersioningConfiguration={"Status": status})

    def schedule(self, call: Any = None, **changes: Any) -> None:
        """Deploy the schedule anew, with changes."""
        request = {
            "Name": "nightly",
            "ScheduleExpression": "cron(0 0 * * ? *)",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": {
                "Arn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:runs",
                "RoleArn": ROLE_ARN,
                "Input": '{"job": "recommender"}',
            },
        }
        (call or client("scheduler").update_schedule)(**{**request, **changes})

    def visit(self, **changes: Any) -> Visit:
        path = self.folder / "recommender.yaml"
        path.write_text(self.job, encoding="utf-8")
        files = tuple(check_files([path]))
        fields = {"region": REGION, "files": files, "version": "1.0", "options": f" --region {REGION}"}
        return Visit(
            client=lambda service: Watched(self, service), now=lambda: self.now, **{**fields, **changes}
        )

    def examined(self, **changes: Any) -> list[CheckFinding]:
        return list(examine(self.visit(**changes)))

    def findings(self, check: Check, **changes: Any) -> list[CheckFinding]:
        return [found for found in self.examined(**changes) if found.check is check]

    def only(self, check: Check, state: CheckState, **changes: Any) -> CheckFinding:
        """The one finding of the check in this state."""
        (finding,) = (found for found in self.findings(check, **changes) if found.state is state)
        return finding


@pytest.fixture
def account(monkeypatch, tmp_path, request):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    job = (request.config.rootpath / "jobs" / "recommender.yaml").read_text(encoding="utf-8")
    job = job.replace(", paused: true", "")
    with mock_aws():
        yield Account(tmp_path, job)


def test_where_all_is_well_every_check_says_so(account):
    found = account.examined()
    assert {finding.state for finding in found} == {CheckState.OK}, found
    assert [check for check in CHECKS if check not in {finding.check for finding in found}] == []
    assert all(not finding.fix for finding in found)


def with_code(account):
    """The account, whose job has code; the second bucket is that of pages."""
    account.job = account.job.replace(
        "training_job:", "code: {source_dir: code, entry_point: train.py}\ntraining_job:", 1
    )
    (account.folder / "code").mkdir()
    (account.folder / "code" / "train.py").write_text("")
    stacks = client("cloudformation").describe_stacks(StackName="Nightspot")
    stacks["Stacks"][0]["Outputs"].append({"OutputKey": "ReportBucket", "OutputValue": BUCKETS[1]})
    account.answers |= {"describe_stacks": stacks, "get_item": {}}
    return account


@pytest.fixture
def coded(account):
    return with_code(account)


PUSHED = PushedCode(CodeVersion("e" * 64, "train.py", pushed_by="user/jo"), "deployed", NOON)


def pushed(account):
    item = TypeAdapter(PushedCode).dump_python(PUSHED, mode="json")
    account.answers["get_item"] = {"Item": to_dynamodb(item)}


def test_code_that_came_with_the_deployment_is_well(coded):
    found = coded.only(Check.CODE, CheckState.OK)
    assert found.subject == "recommender"
    assert found.found == "comes with the deployment; a run stores its archive; the training role may read it"


def test_a_pushed_archive_that_is_there_is_named(coded):
    pushed(coded)
    client("s3").put_object(Bucket=BUCKETS[1], Key=PUSHED.version.key("recommender"), Body=b"x")
    assert PUSHED.version.words in coded.only(Check.CODE, CheckState.OK).found


def test_a_pushed_archive_that_is_gone_is_a_problem(coded):
    pushed(coded)
    found = coded.only(Check.CODE, CheckState.PROBLEM)
    assert "is gone" in found.found
    assert found.fix == "nightspot push recommender"


def test_a_training_role_that_may_not_read_the_archive_is_a_problem(coded):
    asked = []

    def simulate(**request):
        asked.append(request)
        denied = "implicitDeny" if "/code/" in request["ResourceArns"][0] else "allowed"
        return {"EvaluationResults": [{"EvalActionName": "s3:GetObject", "EvalDecision": denied}]}

    coded.answers["simulate_principal_policy"] = simulate
    found = coded.only(Check.CODE, CheckState.PROBLEM)
    wanted = f"arn:aws:s3:::{BUCKETS[1]}/code/recommender/any/sourcedir.tar.gz"
    assert found.found == f"training may not s3:GetObject on {wanted}"
    (of_code,) = (request for request in asked if request["ResourceArns"] == [wanted])
    assert of_code["PolicySourceArn"] == ROLE_ARN


def test_who_may_not_simulate_is_told_what_was_not_looked_at(coded):
    coded.answers["simulate_principal_policy"] = client_error("AccessDenied", "SimulatePrincipalPolicy")
    assert "was not simulated: needs the permission" in coded.only(Check.CODE, CheckState.OK).found


def test_each_problem_and_warning_comes_with_a_mend(account):
    account.answers |= {
        "list_service_quotas": {"Quotas": [{"QuotaName": quota_name(m, P4D), "Value": 0.0} for m in Market]},
        "list_subscriptions_by_topic": {"Subscriptions": []},
        "get_bucket_versioning": {},
        "get_queue_attributes": {"Attributes": {"ApproximateNumberOfMessages": "3"}},
    }
    bad = [each for each in account.examined() if each.state in {CheckState.PROBLEM, CheckState.WARNING}]
    assert len(bad) == 5
    assert all(finding.fix for finding in bad)


def test_a_type_without_a_price_of_these_days_is_a_warning_with_what_counts_instead(account):
    account.price(G5)
    finding = account.only(Check.PRICES, CheckState.WARNING)
    assert (finding.subject, "the book's of" in finding.found) == (P4D, True)
    assert "aws lambda invoke --function-name ask-prices" in finding.fix
    account.price(P4D, G5, day="2026-11-18")
    assert {found.subject for found in account.findings(Check.PRICES)} == {P4D, G5}


def test_a_stack_that_asks_for_no_prices_has_the_book_s(account):
    listed = account.answers["list_stack_resources"]["StackResourceSummaries"]
    account.answers["list_stack_resources"] = {
        "StackResourceSummaries": [each for each in listed if "AskPrices" not in each["LogicalResourceId"]]
    }
    assert "the shipped book" in account.only(Check.PRICES, CheckState.OK).found


def test_the_credentials_finding_says_whose_account_it_is(account):
    assert (
        account.only(Check.CREDENTIALS, CheckState.OK).found
        == f"account {ACCOUNT}, as assumed-role/on-call/ann"
    )


@pytest.mark.parametrize("code", [*CREDENTIAL_FAULTS, "NeverHeardOf"])
def test_credentials_that_aws_does_not_take_are_a_problem_and_nothing_else_is_asked(account, code):
    account.answers["get_caller_identity"] = client_error(code, "GetCallerIdentity")
    finding = account.only(Check.CREDENTIALS, CheckState.PROBLEM)
    assert finding.fix
    assert CREDENTIAL_FAULTS.get(code, ("not so",))[0] in finding.found
    assert set(account.calls) == {"get_caller_identity"}
    assert account.only(Check.QUOTAS, CheckState.NOT_CHECKED).found == "needs credentials that AWS takes"


def test_no_credentials_are_a_problem_with_the_command_that_gets_some(account):
    account.answers["get_caller_identity"] = NoCredentialsError()
    assert "aws configure" in account.only(Check.CREDENTIALS, CheckState.PROBLEM).fix


def test_without_a_network_nothing_is_checked_but_the_files(account):
    account.answers["get_caller_identity"] = EndpointConnectionError(endpoint_url="https://example.org")
    states = {finding.check: finding.state for finding in account.examined()}
    assert {check for check, state in states.items() if state is CheckState.OK} == {Check.REGION, Check.JOBS}
    assert {state for state in states.values() if state is not CheckState.OK} == {CheckState.NOT_CHECKED}
    assert set(account.calls) == {"get_caller_identity"}


def test_a_network_that_breaks_on_the_way_leaves_one_check_out(account):
    account.answers["describe_images"] = EndpointConnectionError(endpoint_url="https://example.org")
    assert "could not be reached" in account.only(Check.IMAGE, CheckState.NOT_CHECKED).found
    assert account.only(Check.NOTICES, CheckState.OK)
    assert isinstance(account.answers["describe_images"], NO_ANSWER)


@pytest.mark.parametrize(("region", "said"), [(None, "no region"), ("mars", "'mars' is no name of a region")])
def test_without_a_region_nobody_is_asked(account, region, said):
    finding = account.only(Check.REGION, CheckState.PROBLEM, region=region)
    assert said in finding.found
    assert "aws configure set region" in finding.fix
    assert account.calls == []
    assert account.only(Check.CREDENTIALS, CheckState.NOT_CHECKED, region=region).found == "needs a region"


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (60, CheckState.OK, "agrees"),
        (-300, CheckState.WARNING, "5 min behind"),
        (301, CheckState.PROBLEM, "5 min 1 s ahead of"),
        (-7200, CheckState.PROBLEM, "2 h behind"),
    ],
)
def test_the_clock_is_compared_with_the_date_of_aws_s_answer(account, seconds, state, said):
    account.now = NOON + timedelta(seconds=seconds)
    assert said in account.only(Check.CLOCK, state).found


def test_a_refusal_tells_the_time_as_well(account):
    date = format_datetime(NOON - timedelta(hours=1), usegmt=True)
    account.answers["get_caller_identity"] = client_error(
        "SignatureDoesNotMatch", "GetCallerIdentity", date=date
    )
    assert "1 h ahead" in account.only(Check.CLOCK, CheckState.PROBLEM).found


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}])
def test_an_answer_without_a_date_leaves_the_clock_unchecked(account, headers):
    account.answers["get_caller_identity"]["ResponseMetadata"] = {"HTTPHeaders": headers}
    assert account.only(Check.CLOCK, CheckState.NOT_CHECKED)


@pytest.mark.parametrize(
    ("operation", "permission"),
    [(name, action) for name, action in PERMISSIONS.items() if name != "SimulatePrincipalPolicy"],
)
@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException"])
def test_a_call_that_is_not_allowed_names_the_permission_and_the_rest_goes_on(
    account, operation, permission, code
):
    method = boto3_name(operation)
    if method == "list_aws_default_service_quotas":
        account.answers["list_service_quotas"] = {"Quotas": []}
    if permission.startswith("kms:"):
        encrypt(account, "our-models", KEY_ARN)
    if operation == "ListObjectsV2":
        pushed(with_code(account))
    account.answers[method] = client_error(code, operation)
    found = account.examined()
    missing = [each for each in found if each.state is CheckState.NOT_CHECKED]
    assert missing, operation
    assert {each.found for each in missing} == {f"needs the permission {permission}"}
    assert all(permission in each.fix for each in missing)
    assert not [each for each in found if each.state in {CheckState.PROBLEM, CheckState.WARNING}]


def boto3_name(operation: str) -> str:
    names = {"ListAWSDefaultServiceQuotas": "list_aws_default_service_quotas"}
    if operation in names:
        return names[operation]
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")


def test_another_refusal_is_told_in_aws_s_words(account):
    account.answers["describe_images"] = client_error("ThrottlingException", "DescribeImages")
    assert "AWS refused DescribeImages" in account.only(Check.IMAGE, CheckState.NOT_CHECKED).found


def test_a_stack_that_is_not_there_is_a_problem_and_what_it_holds_is_not_asked_for(account):
    finding = account.only(Check.STACK, CheckState.PROBLEM, stack="Other")
    assert finding.found == f"there is no stack 'Other' in {REGION}"
    assert "make deploy" in finding.fix
    assert (
        account.only(Check.SCHEDULES, CheckState.NOT_CHECKED, stack="Other").found
        == "needs the stack in order"
    )


STATUSES = {
    "CREATE_COMPLETE": CheckState.OK,
    "UPDATE_COMPLETE": CheckState.OK,
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": CheckState.WARNING,
    "UPDATE_ROLLBACK_COMPLETE": CheckState.WARNING,
    "IMPORT_ROLLBACK_COMPLETE": CheckState.WARNING,
    "ROLLBACK_COMPLETE": CheckState.PROBLEM,
    "DELETE_COMPLETE": CheckState.PROBLEM,
    "UPDATE_ROLLBACK_FAILED": CheckState.PROBLEM,
}


@pytest.mark.parametrize(("status", "state"), STATUSES.items())
def test_how_cloudformation_left_the_stack_counts(account, status, state):
    described = account.visit().described
    account.answers["describe_stacks"] = {"Stacks": [{**described, "StackStatus": status}]}
    finding = account.only(Check.STACK, state)
    assert status in finding.found
    assert bool(finding.fix) is (state is not CheckState.OK)


def test_the_table_of_statuses_is_tried_whole():
    assert all(any(status.endswith(end) for status in STATUSES) for end in STACK_STATES)


def test_a_stack_of_another_version_is_a_warning(account):
    finding = account.only(Check.STACK, CheckState.WARNING, version="1.1")
    assert "version 1.0; here it is 1.1" in finding.found
    assert finding.fix == "make deploy"


def test_a_stack_of_this_version_is_in_order(account):
    assert account.only(Check.STACK, CheckState.OK, version="1.0").found.endswith(", version 1.0")


def test_a_stack_that_tells_no_version_is_noted_and_no_more(account):
    described = account.visit().described
    outputs = [each for each in described["Outputs"] if each["OutputKey"] != "Version"]
    account.answers["describe_stacks"] = {"Stacks": [{**described, "Outputs": outputs}]}
    finding = account.only(Check.STACK, CheckState.OK)
    assert finding.found.endswith(", deployed before stacks had a version")
    assert not finding.fix


def test_a_state_machine_that_is_gone_is_a_problem(account):
    client("stepfunctions").delete_state_machine(
        stateMachineArn=f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:runs"
    )
    assert account.only(Check.STATE_MACHINE, CheckState.PROBLEM).found == "runs is gone"


@pytest.mark.parametrize("check", [Check.STATE_MACHINE, Check.NOTICES])
def test_a_stack_that_tells_nothing_is_not_nightspot_s(account, check):
    account.answers["describe_stacks"] = {"Stacks": [{**account.visit().described, "Outputs": []}]}
    assert "has no output" in account.only(check, CheckState.PROBLEM).found


def test_a_job_without_its_schedule_is_a_problem(account):
    client("scheduler").delete_schedule(Name="nightly")
    finding = account.only(Check.SCHEDULES, CheckState.PROBLEM)
    assert (finding.subject, finding.fix) == ("recommender", "make deploy")


def test_a_schedule_of_somebody_else_s_does_not_count(account):
    listed = account.answers["list_stack_resources"]["StackResourceSummaries"]
    listed[:] = [each for each in listed if each["PhysicalResourceId"] != "nightly"]
    assert account.only(Check.SCHEDULES, CheckState.PROBLEM)


def test_a_disabled_schedule_is_a_warning(account):
    account.schedule(State="DISABLED")
    assert "disabled" in account.only(Check.SCHEDULES, CheckState.WARNING).found


def test_a_schedule_that_says_other_than_the_file_is_a_warning(account):
    account.schedule(ScheduleExpression="cron(30 1 * * ? *)")
    finding = account.only(Check.SCHEDULES, CheckState.WARNING)
    assert finding.found == "deployed as cron(30 1 * * ? *) UTC, the file says cron(0 0 * * ? *) UTC"
    assert finding.fix == "make deploy"


def test_a_schedule_in_a_nested_stack_is_found_as_well(account):
    nested = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/Nightspot-More1/1"
    listed = account.answers["list_stack_resources"]["StackResourceSummaries"]
    schedules = [each for each in listed if each["ResourceType"] == "AWS::Scheduler::Schedule"]
    others = [each for each in listed if each not in schedules]
    summary = {
        "LogicalResourceId": "TrainingSchedulesMore1",
        "ResourceType": "AWS::CloudFormation::Stack",
        "PhysicalResourceId": nested,
    }
    by_stack = {"Nightspot": [*others, summary], nested: schedules}

    class Cloudformation:
        def get_paginator(self, operation):
            return self

        def paginate(self, **request):
            return [{"StackResourceSummaries": by_stack[request["StackName"]]}]

    visit = replace(account.visit(), client=lambda service: Cloudformation())
    assert {name for _, _, name in visit.resources} >= {nested, "nightly"}


PAUSED = ("schedule: {", "schedule: {paused: true, ")


def test_a_paused_job_whose_schedule_rests_is_as_its_file_says(account):
    account.job = account.job.replace(*PAUSED)
    account.schedule(State="DISABLED")
    (finding,) = account.findings(Check.SCHEDULES)
    assert (finding.state, finding.fix) == (CheckState.OK, "")
    assert finding.found == "paused, cron(0 0 * * ? *) UTC: no run starts by itself"


def test_a_paused_job_whose_schedule_still_starts_it_is_a_warning(account):
    account.job = account.job.replace(*PAUSED)
    finding = account.only(Check.SCHEDULES, CheckState.WARNING)
    assert finding.found == "nightly is enabled, and the file says it is paused"
    assert finding.fix.startswith("make deploy; or disable it in the console")


def test_a_paused_job_without_a_schedule_in_the_stack_is_a_problem_like_any_other(account):
    account.job = account.job.replace(*PAUSED)
    client("scheduler").delete_schedule(Name="nightly")
    assert account.only(Check.SCHEDULES, CheckState.PROBLEM).subject == "recommender"


def test_a_flexible_start_is_compared_with_the_file_s(account):
    account.job = account.job.replace("schedule: {", "schedule: {flexible: 15m, ")
    finding = account.only(Check.SCHEDULES, CheckState.WARNING)
    said = "the file says cron(0 0 * * ? *) UTC, up to 15 min later"
    assert finding.found == f"deployed as cron(0 0 * * ? *) UTC, {said}"
    account.schedule(FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15})
    assert "up to 15 min later" in account.only(Check.SCHEDULES, CheckState.OK).found


def test_a_job_without_a_schedule_needs_none(account):
    account.job = account.job.replace("schedule: {", "# schedule: {")
    assert "by hand" in account.only(Check.SCHEDULES, CheckState.OK).found


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ('{"job": "a"}', "a"),
        ('{"StateMachineArn": "x", "Input": "{\\"job\\": \\"a\\"}"}', "a"),
        ('{"Input": 7}', None),
        ("[]", None),
        ("nonsense", None),
    ],
)
def test_a_schedule_s_job_is_found_in_its_input(text, job):
    assert job_of(text) == job


def test_a_job_file_with_mistakes_is_a_problem_and_its_ladder_is_not_asked_for(account):
    account.job = account.job.replace("work: 4h ", "work: soon ")
    finding = account.only(Check.JOBS, CheckState.PROBLEM)
    assert "work: 'soon'" in finding.found
    assert "nightspot validate" in finding.fix
    assert account.only(Check.QUOTAS, CheckState.NOT_CHECKED).found == "needs a valid job file"


def test_a_job_file_with_a_warning_is_a_warning(account):
    account.job = account.job.replace('at: "08:00"', 'at: "02:00"')
    assert "cannot be met" in account.only(Check.JOBS, CheckState.WARNING).found


def test_no_job_files_leave_their_checks_out(account):
    assert account.only(Check.JOBS, CheckState.NOT_CHECKED, files=()).fix == "nightspot doctor FILE"


def quotas(account, **by_type):
    names = {kind.replace("_", "."): value for kind, value in by_type.items()}
    account.answers["list_service_quotas"] = {
        "Quotas": [
            {"QuotaName": quota_name(market, kind), "Value": value}
            for market in Market
            for kind, value in names.items()
        ]
    }


def test_a_market_without_quota_is_a_problem_in_each_market(account):
    quotas(account, ml_p4d_24xlarge=0.0)
    found = account.findings(Check.QUOTAS)
    assert [each.found for each in found] == [
        f"{quota_name(market, P4D)}: 0, needed 1" for market in (Market.SPOT, Market.ON_DEMAND)
    ]
    assert {each.state for each in found} == {CheckState.PROBLEM}
    assert f"Service Quotas in the console ({REGION})" in found[0].fix


def test_a_rung_without_quota_is_a_warning_where_another_one_has_it(account):
    account.job = account.job.replace(f"spot: [{P4D}]", f"spot: [{P4D}, ml.g5.48xlarge]")
    quotas(account, ml_p4d_24xlarge=1.0, ml_g5_48xlarge=0.0)
    assert "ml.g5.48xlarge for spot" in account.only(Check.QUOTAS, CheckState.WARNING).found


def test_a_quota_for_fewer_instances_than_the_job_has_is_too_small(account):
    account.job = account.job.replace("InstanceCount: 1", "InstanceCount: 3")
    assert {(each.state, each.found.partition(": ")[2]) for each in account.findings(Check.QUOTAS)} == {
        (CheckState.PROBLEM, "2, needed 3")
    }


def test_a_quota_that_nobody_tells_is_not_checked(account):
    account.answers["list_service_quotas"] = {"Quotas": []}
    account.answers["list_aws_default_service_quotas"] = {"Quotas": []}
    assert {each.state for each in account.findings(Check.QUOTAS)} == {CheckState.NOT_CHECKED}


def test_a_role_that_is_not_there_is_a_problem(account):
    client("iam").delete_role(RoleName="training")
    assert account.only(Check.ROLE, CheckState.PROBLEM).found == "there is no such role"


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Principal": {"Service": ["lambda.amazonaws.com"]}, "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": ["sts:TagSession"],
        },
    ],
)
def test_a_role_that_sagemaker_may_not_take_on_is_a_problem(account, statement):
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client("iam").update_assume_role_policy(RoleName="training", PolicyDocument=policy)
    finding = account.only(Check.ROLE, CheckState.PROBLEM)
    assert finding.found == "does not trust sagemaker.amazonaws.com"
    assert "aws iam update-assume-role-policy --role-name training" in finding.fix


def test_a_role_that_may_not_write_checkpoints_is_a_problem(account):
    account.answers["simulate_principal_policy"] = {
        "EvaluationResults": [
            {"EvalActionName": "s3:GetObject", "EvalDecision": "allowed"},
            {
                "EvalActionName": "s3:PutObject",
                "EvalDecision": "implicitDeny",
                "EvalResourceName": "arn:aws:s3:::our-checkpoints/*",
            },
        ]
    }
    finding = account.only(Check.ROLE, CheckState.PROBLEM)
    assert finding.found == "may not s3:PutObject on arn:aws:s3:::our-checkpoints/*"


def test_a_role_passes_where_nobody_may_simulate_it(account):
    account.answers["simulate_principal_policy"] = client_error("AccessDenied", "SimulatePrincipalPolicy")
    assert "iam:SimulatePrincipalPolicy" in account.only(Check.ROLE, CheckState.OK).found


class Simulator:
    """IAM's, which refuses some (role, action, resource), each by a part of it."""

    def __init__(self, *refused: tuple[str, str, str]) -> None:
        self.refused, self.asked = refused, []

    def __call__(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        role, (*actions,) = request["PolicySourceArn"].rpartition("/")[2], request["ActionNames"]
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "implicitDeny"
                if any(r == role and a == action and part in resource for r, a, part in self.refused)
                else "allowed",
            }
            for action in actions
            for resource in request["ResourceArns"]
        ]
        return {"EvaluationResults": results}


def test_a_role_is_asked_for_the_places_of_its_own_jobs_and_not_to_read_models(account):
    """A team's role may use no more: asked for whole buckets it would be called a problem."""
    simulator = Simulator()
    account.answers["simulate_principal_policy"] = simulator
    account.only(Check.ROLE, CheckState.OK)
    asked = [each for each in simulator.asked if each["PolicySourceArn"].endswith(":role/training")]
    checkpoints, models = ({*each["ActionNames"]} for each in asked)
    assert (checkpoints, models) == ({"s3:GetObject", "s3:PutObject"}, {"s3:PutObject"})
    for each, bucket in zip(asked, ("our-checkpoints", "our-models"), strict=True):
        (resource,) = each["ResourceArns"]
        assert resource.startswith(f"arn:aws:s3:::{bucket}/")
        assert resource.endswith("/*")
        assert resource != f"arn:aws:s3:::{bucket}/*"


def test_the_role_of_a_team_is_the_one_that_the_stack_says(account):
    account.job = account.job.replace("${TrainingRoleArn}", "${TrainingRoleArn.search}")
    arn = f"arn:aws:iam::{ACCOUNT}:role/training"
    variables = {**VARIABLES, "NIGHTSPOT_TRAINING_ROLE_ARNS": json.dumps({"search": arn})}
    account.answers["get_function_configuration"] = {"Environment": {"Variables": variables}}
    assert account.only(Check.ROLE, CheckState.OK).subject == "training"


def test_the_role_of_a_team_that_the_stack_does_not_know_is_not_taken_for_another(account):
    account.job = account.job.replace("${TrainingRoleArn}", "${TrainingRoleArn.ads}")
    assert "TrainingRoleArn.ads" in account.only(Check.ROLE, CheckState.NOT_CHECKED).found


def test_a_role_that_the_deployed_workflow_may_not_pass_is_a_problem(account):
    account.job = account.job.replace("${TrainingRoleArn}", f"arn:aws:iam::{ACCOUNT}:role/training")
    account.answers["simulate_principal_policy"] = Simulator((PASSES_ROLES, "iam:PassRole", ":role/training"))
    finding = account.only(Check.GRANTS, CheckState.PROBLEM)
    assert finding.subject == "StartTrainingJob"
    assert finding.found == f"may not iam:PassRole on arn:aws:iam::{ACCOUNT}:role/training"
    assert finding.fix.startswith("make deploy")


@pytest.mark.parametrize("output", READ_CHECKPOINTS)
def test_checkpoints_that_a_function_may_not_read_are_a_problem(account, output):
    account.answers["simulate_principal_policy"] = Simulator((output, "s3:GetObject", "/nightspot.json"))
    finding = account.only(Check.GRANTS, CheckState.PROBLEM)
    assert finding.subject == output.removesuffix("RoleArn")
    assert finding.found.startswith("may not s3:GetObject on arn:aws:s3:::our-checkpoints/")


@pytest.mark.parametrize(
    ("outputs", "bucket", "key"),
    [
        (READ_CHECKPOINTS, "our-checkpoints", "recommender/20260101-abc123/nightspot.json"),
        (READ_MODELS, "our-models", "recommender/nightspot-job-20260101-abc123-1/output/model.tar.gz"),
    ],
    ids=["checkpoints", "models"],
)
def test_places_that_a_function_may_not_list_are_a_problem(account, outputs, bucket, key):
    """It may read there, and does not find what it should read."""
    refused = [(output, "s3:ListBucket", bucket) for output in outputs]
    account.answers["simulate_principal_policy"] = simulator = Simulator(*refused)
    problems = [each for each in account.findings(Check.GRANTS) if each.state is CheckState.PROBLEM]
    assert {each.subject for each in problems} == {output.removesuffix("RoleArn") for output in outputs}
    for each in problems:
        assert each.found == f"may not s3:ListBucket on arn:aws:s3:::{bucket} with the prefix {key}"
    asked = [each.get("ContextEntries") for each in simulator.asked if bucket in each["ResourceArns"][0]]
    listed = {"ContextKeyName": "s3:prefix", "ContextKeyValues": [key], "ContextKeyType": "string"}
    assert [listed] in asked


def test_a_bucket_of_the_stack_s_own_is_asked_for_once_another_for_each_of_its_places(account):
    """The grants of another bucket name each prefix."""
    account.answers["simulate_principal_policy"] = simulator = Simulator()

    def lists(bucket):
        paths = []
        for name in ("ads", "recommender"):
            text = account.job.replace("name: recommender", f"name: {name}").replace(
                "/recommender/", f"/{name}/"
            )
            paths.append(account.folder / f"{name}.yaml")
            paths[-1].write_text(text.replace("${CheckpointBucket}", bucket))
        simulator.asked.clear()
        account.findings(Check.GRANTS, files=tuple(check_files(paths)))
        asked = [each for each in simulator.asked if each["PolicySourceArn"].endswith("/PlanRunRoleArn")]
        return [
            (*each["ResourceArns"], each["ContextEntries"][0]["ContextKeyValues"][0].partition("/")[0])
            for each in asked
            if each["ActionNames"] == ["s3:ListBucket"]
        ]

    assert lists("${CheckpointBucket}") == [("arn:aws:s3:::our-checkpoints", "ads")]
    theirs = "arn:aws:s3:::theirs"
    assert lists("theirs") == [(theirs, "ads"), (theirs, "recommender")]


def test_a_key_that_no_function_may_use_is_a_problem_of_each(account):
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-aaaa-bbbb-cccc-000000000001"
    account.job = account.job.replace("OutputDataConfig:", f"OutputDataConfig:\n    KmsKeyId: {key}")
    simulator = Simulator(*((output, "kms:Decrypt", key) for output in ROLE_OUTPUTS))
    account.answers["simulate_principal_policy"] = simulator
    found = account.findings(Check.GRANTS)
    problems = {each.subject for each in found if each.state is CheckState.PROBLEM}
    assert problems == {name.removesuffix("RoleArn") for name in ROLE_OUTPUTS - {PASSES_ROLES}}
    asked = next(each for each in simulator.asked if each["ActionNames"] == ["kms:Decrypt"])
    assert asked["ContextEntries"] == [
        {
            "ContextKeyName": "kms:ViaService",
            "ContextKeyValues": [f"s3.{REGION}.amazonaws.com"],
            "ContextKeyType": "string",
        }
    ]


def test_a_stack_without_the_outputs_of_its_roles_is_not_checked(account):
    stacks = client("cloudformation").describe_stacks(StackName="Nightspot")
    (stack,) = stacks["Stacks"]
    stack["Outputs"] = [each for each in stack["Outputs"] if each["OutputKey"] not in ROLE_OUTPUTS]
    account.answers["describe_stacks"] = stacks
    found = account.findings(Check.GRANTS)
    assert {each.state for each in found} == {CheckState.NOT_CHECKED}
    assert {each.fix for each in found} == {"make deploy"}


def test_the_stack_s_roles_are_not_checked_where_nobody_may_simulate_them(account):
    account.answers["simulate_principal_policy"] = client_error("AccessDenied", "SimulatePrincipalPolicy")
    found = account.findings(Check.GRANTS)
    assert {(each.state, each.fix) for each in found} == {
        (CheckState.NOT_CHECKED, "let these credentials iam:SimulatePrincipalPolicy")
    }


def test_a_role_of_another_account_is_not_checked(account):
    account.job = account.job.replace("${TrainingRoleArn}", "arn:aws:iam::${AWS::AccountId}:role/training")
    identity = account.answers["get_caller_identity"]
    given = {"AWS::AccountId": ACCOUNT}
    identity["Account"] = "another"
    assert "not to this one" in account.only(Check.ROLE, CheckState.NOT_CHECKED, given=given).found


def test_a_bucket_that_is_not_there_is_a_problem(account):
    client("s3").delete_bucket(Bucket="our-models")
    finding = account.only(Check.BUCKETS, CheckState.PROBLEM)
    assert (finding.subject, finding.found) == ("our-models", "there is no such bucket")


@pytest.mark.parametrize(
    "answer",
    [
        {"BucketRegion": "us-east-1"},
        client_error("301", "HeadBucket", **{"x-amz-bucket-region": "us-east-1"}),
    ],
)
def test_buckets_of_another_region_are_problems(account, answer):
    account.answers["head_bucket"] = answer
    assert {(each.state, each.found) for each in account.findings(Check.BUCKETS)} == {
        (CheckState.PROBLEM, f"is in us-east-1; training in {REGION} needs one there")
    }


def test_checkpoints_without_versions_are_a_warning_with_the_command(account):
    account.keep_versions("Suspended")
    finding = account.only(Check.BUCKETS, CheckState.WARNING)
    assert finding.subject == "our-checkpoints"
    assert finding.fix == (
        "aws s3api put-bucket-versioning --bucket our-checkpoints "
        f"--versioning-configuration Status=Enabled --region {REGION}"
    )


KEY_ID = "11111111-aaaa-bbbb-cccc-000000000001"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"


def encrypt(account, bucket, key=None, *, policy=None, **metadata):
    """The bucket by a KMS key, which KMS describes so."""
    rule = {"SSEAlgorithm": "aws:kms", **({} if key is None else {"KMSMasterKeyID": key})}
    client("s3").put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
    )
    described = {"KeyId": KEY_ID, "Arn": KEY_ARN, "AWSAccountId": ACCOUNT, "KeyState": "Enabled", **metadata}
    account.answers["describe_key"] = {"KeyMetadata": described}
    account.answers["get_key_policy"] = {"Policy": json.dumps({"Statement": policy or OF_THE_ACCOUNT})}
    account.answers["simulate_principal_policy"] = Simulator()


def lets_decrypt(*principals, **changes):
    return [{"Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": ["kms:Decrypt"], **changes}]


OF_THE_ACCOUNT = lets_decrypt(f"arn:aws:iam::{ACCOUNT}:root", Action="kms:*")


@pytest.mark.parametrize("is_deleted", [True, False], ids=["nothing configured", "as S3 does by itself"])
def test_a_bucket_always_encrypts_and_by_s3_s_own_keys_is_well(account, is_deleted):
    if is_deleted:
        client("s3").delete_bucket_encryption(Bucket="our-models")
    found = {each.subject: each for each in account.findings(Check.BUCKETS)}
    assert found["our-models"].state is CheckState.OK
    assert found["our-models"].found == "there, encrypted by S3's own keys"
    assert account.only(Check.KEYS, CheckState.OK).found == "no KMS key of yours is used"


def test_a_bucket_s_key_is_named_and_well_where_its_policy_hands_over_to_iam(account):
    encrypt(account, "our-models", KEY_ARN)
    found = {each.subject: each.found for each in account.findings(Check.BUCKETS)}
    assert found["our-models"] == f"there, encrypted by the key {KEY_ARN}"
    finding = account.only(Check.KEYS, CheckState.OK)
    assert (finding.subject, finding.found) == (KEY_ID, "enabled; its policy lets the stack's roles decrypt")


def test_a_key_of_aws_s_own_for_s3_needs_no_permission(account):
    encrypt(account, "our-models")
    assert account.only(Check.KEYS, CheckState.OK).found == "no KMS key of yours is used"
    assert "describe_key" not in account.calls


def test_roles_that_a_key_s_policy_does_not_know_are_named(account):
    known = lets_decrypt(f"arn:aws:iam::{ACCOUNT}:role/RecordOutcomeRoleArn")
    denied = lets_decrypt(f"arn:aws:iam::{ACCOUNT}:root", Action="kms:Describe*")
    encrypt(account, "our-models", KEY_ARN, policy=[*known, *denied])
    finding = account.only(Check.KEYS, CheckState.PROBLEM)
    assert finding.found == ("its policy does not let these roles decrypt: CloseRunRoleArn, ReconcileRoleArn")
    assert finding.fix.startswith("add them to the key's policy")


def put_model(key):
    client("s3").put_object(
        Bucket="our-models",
        Key="recommender/nightspot-recommender-1/output/model.tar.gz",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=key,
    )


def test_the_key_of_objects_that_are_older_than_the_bucket_s_choice_counts_too(account):
    other = KEY_ARN.replace("11111111", "22222222")
    encrypt(account, "our-models", KEY_ARN)
    put_model(other)
    account.answers["simulate_principal_policy"] = Simulator(("ReconcileRoleArn", "kms:Decrypt", "22222222"))
    finding = account.only(Check.GRANTS, CheckState.PROBLEM)
    assert (finding.subject, finding.found) == ("Reconcile", f"may not kms:Decrypt on {other}")
    assert len(account.findings(Check.KEYS)) == 2


@pytest.mark.parametrize("call", ["list_objects_v2", "head_object"])
def test_where_the_caller_may_not_read_objects_the_bucket_s_key_alone_counts(account, call):
    encrypt(account, "our-models", KEY_ARN)
    put_model(KEY_ARN.replace("11111111", "22222222"))
    account.answers[call] = client_error("403", "HeadObject")
    assert account.only(Check.KEYS, CheckState.OK).subject == KEY_ID


def test_roles_that_iam_does_not_let_use_a_bucket_s_key_are_a_problem(account):
    encrypt(account, "our-checkpoints", KEY_ARN)
    account.answers["simulate_principal_policy"] = Simulator(("PlanRunRoleArn", "kms:Decrypt", KEY_ID))
    finding = account.only(Check.GRANTS, CheckState.PROBLEM)
    assert (finding.subject, finding.found) == ("PlanRun", f"may not kms:Decrypt on {KEY_ARN}")


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_key_that_cannot_be_used_is_a_problem(account, state):
    encrypt(account, "our-models", KEY_ARN, KeyState=state)
    assert account.only(Check.KEYS, CheckState.PROBLEM).found == f"is {state}: nothing can be read"


def test_a_key_that_is_not_there_is_a_problem(account):
    encrypt(account, "our-models", "alias/ours")
    account.answers["describe_key"] = client_error("NotFoundException", "DescribeKey")
    finding = account.only(Check.KEYS, CheckState.PROBLEM)
    assert (finding.subject, finding.found) == ("ours", "there is no such key in this region")


def test_another_account_s_key_is_not_checked(account):
    encrypt(account, "our-models", KEY_ARN, AWSAccountId="999999999999")
    assert "account 999999999999" in account.only(Check.KEYS, CheckState.NOT_CHECKED).found


@pytest.mark.parametrize("call", ["DescribeKey", "GetKeyPolicy"])
def test_a_key_that_nobody_may_look_at_is_not_checked(account, call):
    encrypt(account, "our-models", KEY_ARN)
    name = {"DescribeKey": "describe_key", "GetKeyPolicy": "get_key_policy"}[call]
    account.answers[name] = client_error("AccessDeniedException", call)
    assert account.only(Check.KEYS, CheckState.NOT_CHECKED).fix == f"let these credentials kms:{call}"


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "an empty list"])
def test_an_image_that_was_never_pushed_is_a_problem(account, is_refused):
    if not is_refused:
        account.answers["describe_images"] = {"imageDetails": []}
    account.job = account.job.replace("recommender-training:latest", "recommender-training:v2")
    finding = account.only(Check.IMAGE, CheckState.PROBLEM)
    assert (finding.subject, finding.found) == ("recommender-training:v2", "the repository has no such image")


def test_a_repository_that_is_not_there_is_a_problem(account):
    account.job = account.job.replace("recommender-training:latest", "other")
    finding = account.only(Check.IMAGE, CheckState.PROBLEM)
    assert finding.found == "there is no such repository"
    assert finding.fix.startswith(f"aws ecr create-repository --repository-name other --region {REGION}")


def test_an_image_of_another_region_is_a_problem(account):
    account.job = account.job.replace("${AWS::Region}.amazonaws", "us-east-1.amazonaws")
    assert "is in us-east-1" in account.only(Check.IMAGE, CheckState.PROBLEM).found


@pytest.mark.parametrize("owner", ["999", "public/pytorch"])
def test_an_image_of_somebody_else_s_is_not_checked(account, owner):
    account.job = account.job.replace("${AWS::AccountId}.dkr", f"{owner}.dkr")
    assert account.only(Check.IMAGE, CheckState.NOT_CHECKED)


def test_a_topic_without_subscriber_is_a_warning_with_the_command(account):
    account.answers["list_subscriptions_by_topic"] = {"Subscriptions": []}
    finding = account.only(Check.NOTICES, CheckState.WARNING)
    assert finding.fix.startswith(f"aws sns subscribe --topic-arn arn:aws:sns:{REGION}:{ACCOUNT}:")


def test_a_subscription_that_waits_for_its_mail_is_a_warning(account):
    account.answers["list_subscriptions_by_topic"] = {
        "Subscriptions": [{"SubscriptionArn": "PendingConfirmation"}]
    }
    assert "confirmed" in account.only(Check.NOTICES, CheckState.WARNING).found


def test_a_topic_that_is_gone_is_a_problem(account):
    account.answers["list_subscriptions_by_topic"] = client_error("NotFound", "ListSubscriptionsByTopic")
    assert account.only(Check.NOTICES, CheckState.PROBLEM).found == "the topic is gone"


def test_dead_letters_are_a_problem_with_the_command_that_shows_them(account):
    url = account.resources["TrainingRecordsDeadLetters1"]
    client("sqs").send_message(QueueUrl=url, MessageBody="lost")
    finding = account.only(Check.DEAD_LETTERS, CheckState.PROBLEM)
    assert "about 1" in finding.found
    assert finding.fix.startswith(f"aws sqs receive-message --queue-url {url}")


def test_a_queue_that_is_gone_is_a_problem(account):
    url = account.resources["TrainingRecordsDeadLetters1"]
    client("sqs").delete_queue(QueueUrl=url)
    assert account.only(Check.DEAD_LETTERS, CheckState.PROBLEM).found == "the queue is gone"


def test_a_stack_without_the_queue_is_a_warning(account):
    account.answers["list_stack_resources"]["StackResourceSummaries"][:] = [
        each
        for each in account.answers["list_stack_resources"]["StackResourceSummaries"]
        if each["ResourceType"] != "AWS::SQS::Queue"
    ]
    assert account.only(Check.DEAD_LETTERS, CheckState.WARNING)


def test_a_table_that_does_not_answer_just_now_is_not_checked():
    def throttled():
        raise TransientAwsError("ThrottlingException: too fast")

    (finding,) = guarded(Check.PRICES, throttled)

    assert (finding.state, finding.found) == (CheckState.NOT_CHECKED, "ThrottlingException: too fast")
