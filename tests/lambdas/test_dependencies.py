"""The deployed functions' own collaborators."""

from __future__ import annotations

import json
import re
from datetime import UTC, date

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws
from pydantic import ValidationError

from nightspot.aws.prices import LONGEST_ASKING
from nightspot.job.model import Job, dump_jobs
from nightspot.job.request_shape import PlaceholderError
from nightspot.lambdas.ask_prices import asking_dependencies
from nightspot.lambdas.dependencies import dependencies, late_client
from nightspot.lambdas.observability import emit
from nightspot.lambdas.plan_run import handler
from nightspot.local.stage.emulated_aws import REGION, TABLE, LocalContext, create_resources

JOB = {
    "name": "recommender",
    "deadline": {"within": "8h"},
    "work": "4h",
    "capacity": {"spot": ["ml.g5.2xlarge"], "on_demand": ["ml.g5.2xlarge"]},
    "training_job": {
        "RoleArn": "${TrainingRoleArn}",
        "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://${ModelBucket}/${AWS::AccountId}/${AWS::Region}/"},
        "CheckpointConfig": {"S3Uri": "s3://${CheckpointBucket}/nightly/"},
        "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
        "FieldOfTomorrow": "which this botocore does not know",
    },
}


@pytest.fixture
def deployed(monkeypatch, tmp_path):
    """A function's environment, with the jobs that were bundled."""
    for name, value in {
        "NIGHTSPOT_TABLE_NAME": TABLE,
        "NIGHTSPOT_BUS_NAME": "default",
        "NIGHTSPOT_JOBS_FILE": str(tmp_path / "jobs.json"),
        "NIGHTSPOT_CHECKPOINT_BUCKET": "our-checkpoints",
        "NIGHTSPOT_MODEL_BUCKET": "our-models",
        "NIGHTSPOT_REPORT_BUCKET": "our-reports",
        "NIGHTSPOT_TRAINING_ROLE_ARN": "arn:aws:iam::123456789012:role/ours",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "jobs.json").write_text(dump_jobs({"recommender": Job.model_validate(JOB)}))
    dependencies.cache_clear()
    with mock_aws():
        create_resources(())
        yield tmp_path
    dependencies.cache_clear()


def test_they_are_made_once(deployed):
    assert dependencies() is dependencies()


def test_the_clock_is_aware_and_in_utc(deployed):
    assert dependencies().now().tzinfo is UTC


def test_the_prices_are_those_of_the_package_and_unknown_where_it_has_none(deployed):
    price = dependencies().price
    assert price("ml.g5.2xlarge", "us-east-1").usd_per_hour == 1.515
    assert price("ml.never.heard", "us-east-1") is None


def test_aws_is_asked_for_prices_only_where_the_deployment_says_so(deployed, monkeypatch):
    assert dependencies().live_prices is None
    monkeypatch.setenv("NIGHTSPOT_LIVE_PRICES", "true")
    dependencies.cache_clear()
    assert dependencies().live_prices is not None


class Clients:
    """In place of boto3.client: every service is silent, and who was asked is written down."""

    def __init__(self):
        self.made = []

    def __call__(self, service, **options):
        self.made.append((service, options))
        return self

    def __getattr__(self, name):
        raise EndpointConnectionError(endpoint_url="https://example.org")


def test_a_plan_asks_nobody_but_the_table_for_prices(deployed, monkeypatch):
    monkeypatch.setenv("NIGHTSPOT_LIVE_PRICES", "true")
    clients = Clients()
    monkeypatch.setattr(boto3, "client", clients)
    known = dependencies().live_prices(["ml.g5.xlarge"])
    assert known.prices["ml.g5.xlarge"].date == date(2023, 12, 31)
    assert {service for service, _ in clients.made} == {"dynamodb"}


def test_prices_are_asked_where_they_are_told_with_patience_and_without_repetition(deployed, monkeypatch):
    clients = Clients()
    monkeypatch.setattr(boto3, "client", clients)
    asking_dependencies.cache_clear()
    known = asking_dependencies().known(["ml.g5.xlarge"])
    asking_dependencies.cache_clear()
    assert known.prices["ml.g5.xlarge"].date == date(2023, 12, 31)
    assert len(known.problems) == 4
    asked = {service: options for service, options in clients.made if service != "dynamodb"}
    assert {service: options["region_name"] for service, options in asked.items()} == {
        "pricing": "us-east-1",
        "ec2": REGION,
    }
    for options in asked.values():
        config = options["config"]
        one_answer = config.connect_timeout + config.read_timeout
        # The last question is begun and answered within AskPrices' minute.
        assert LONGEST_ASKING.total_seconds() + one_answer < 60
        assert config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize("service", ["dynamodb", "events", "s3", "sagemaker", "sns", "stepfunctions"])
def test_no_client_waits_for_an_answer_for_as_long_as_boto3_would(deployed, service):
    config = late_client(service).meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 3


def test_all_clients_of_the_functions_are_made_in_one_place(pytestconfig):
    """One that somebody makes elsewhere would wait for a minute, five times, in a function that has one."""
    root = pytestconfig.rootpath
    sources = [*(root / "lambdas").glob("*.py"), *(root / "nightspot" / "aws").rglob("*.py")]
    makes = re.compile(r"\b(?:boto3|session|Session\(\))\.(?:client|resource)\(")
    found = [path.name for path in sources if makes.search(path.read_text(encoding="utf-8"))]
    assert found == ["dependencies.py"]


def test_a_request_that_was_checked_at_deployment_is_not_checked_against_an_older_model(deployed):
    assert dependencies().jobs()["recommender"].training_job["FieldOfTomorrow"]


def test_a_refused_wake_up_is_counted_whichever_function_meets_it(deployed, monkeypatch, metrics, aws_fault):
    def refuse(**_given):
        raise aws_fault("AccessDeniedException")

    use = dependencies()
    monkeypatch.setattr(use.step_functions, "send_task_success", refuse, raising=False)
    metrics()
    assert not use.executions.wake("token")
    emit()
    assert metrics() == {"WakeRefused": [1]}


def test_the_jobs_are_read_once(deployed):
    first = dependencies().jobs()
    (deployed / "jobs.json").unlink()
    assert dependencies().jobs() is first


def test_a_handler_works_with_them_where_it_is_given_no_others(deployed):
    execution = {"id": EXECUTION, "started_at": "2026-11-21T00:00:00Z"}
    event = {"input": {"job": "recommender"}, "execution": execution}
    run = handler(event, LocalContext("PlanRun"))["run"]
    recorded = dependencies().table.run(run["run_id"])
    assert (recorded.job, recorded.rungs[0].region) == ("recommender", REGION)


EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"


def test_a_job_gets_the_names_of_its_deployment(deployed):
    use = dependencies()
    request = use.localise(use.jobs()["recommender"], EXECUTION).training_job
    assert request["RoleArn"] == "arn:aws:iam::123456789012:role/ours"
    assert request["CheckpointConfig"] == {"S3Uri": "s3://our-checkpoints/nightly/"}
    assert request["OutputDataConfig"] == {"S3OutputPath": f"s3://our-models/123456789012/{REGION}/"}
    assert "VpcConfig" not in request


def test_a_name_that_no_deployment_knows_is_an_error(deployed):
    use = dependencies()
    job = use.jobs()["recommender"].model_copy(update={"training_job": {"RoleArn": "${Nobody}"}})
    with pytest.raises(PlaceholderError, match="Nobody"):
        use.localise(job, EXECUTION)


def test_jobs_without_a_vpc_of_their_own_get_the_deployments(deployed, monkeypatch):
    monkeypatch.setenv("NIGHTSPOT_SUBNET_IDS", "subnet-1,subnet-2")
    monkeypatch.setenv("NIGHTSPOT_SECURITY_GROUP_IDS", "sg-1")
    dependencies.cache_clear()
    use = dependencies()
    job = use.jobs()["recommender"]
    ours = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert use.localise(job, EXECUTION).training_job["VpcConfig"] == ours
    own = {"Subnets": ["subnet-9"], "SecurityGroupIds": ["sg-9"]}
    theirs = job.model_copy(update={"training_job": {**job.training_job, "VpcConfig": own}})
    assert use.localise(theirs, EXECUTION).training_job["VpcConfig"] == own


def test_a_function_without_its_environment_says_what_is_missing(deployed, monkeypatch):
    monkeypatch.delenv("NIGHTSPOT_BUS_NAME")
    with pytest.raises(ValidationError, match="NIGHTSPOT_BUS_NAME"):
        dependencies()


def test_pages_go_to_the_bucket_for_pages_and_nowhere_where_there_is_none(deployed, monkeypatch):
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket="our-reports", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert dependencies().reports.write("one", "page") == "s3://our-reports/reports/one.html"
    assert s3.get_object(Bucket="our-reports", Key="reports/one.html")["Body"].read() == b"page"
    kept = dependencies().reports.write_cassette("one", 1, "{}")
    assert kept == "s3://our-reports/reports/cassettes/one-1.json"
    dependencies.cache_clear()
    monkeypatch.delenv("NIGHTSPOT_REPORT_BUCKET")
    assert dependencies().reports is None


def test_training_jobs_get_the_deployment_s_tags_and_a_job_s_own_win(deployed, monkeypatch):
    monkeypatch.setenv("NIGHTSPOT_TAGS", '{"cost-center": "4711", "owner": "platform"}')
    use = dependencies()
    job = use.jobs()["recommender"]
    own = [{"Key": "owner", "Value": "ads"}, {"Key": "model", "Value": "bpr"}]
    tagged = job.model_copy(update={"training_job": {**job.training_job, "Tags": own}})
    assert use.localise(tagged, EXECUTION).training_job["Tags"] == [
        *own,
        {"Key": "cost-center", "Value": "4711"},
    ]
    assert {tag["Key"] for tag in use.localise(job, EXECUTION).training_job["Tags"]} == {
        "cost-center",
        "owner",
    }


def test_without_tags_of_the_deployment_a_request_gets_none(deployed):
    use = dependencies()
    assert "Tags" not in use.localise(use.jobs()["recommender"], EXECUTION).training_job


OUTPUT_KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-aaaa-bbbb-cccc-000000000001"


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ({"S3OutputPath": "s3://${ModelBucket}/nightly/"}, OUTPUT_KEY),
        ({"S3OutputPath": "s3://${ModelBucket}"}, OUTPUT_KEY),
        ({"S3OutputPath": "s3://${ModelBucket}/nightly/", "KmsKeyId": "theirs"}, "theirs"),
        ({"S3OutputPath": "s3://our-models-of-ads/nightly/"}, None),
    ],
    ids=["the stack's bucket", "without a prefix", "a key of the job's", "a bucket of the job's"],
)
def test_models_in_the_stack_s_bucket_are_encrypted_with_its_key(deployed, monkeypatch, output, key):
    monkeypatch.setenv("NIGHTSPOT_OUTPUT_KEY_ARN", OUTPUT_KEY)
    use = dependencies()
    job = use.jobs()["recommender"]
    job = job.model_copy(update={"training_job": {**job.training_job, "OutputDataConfig": output}})
    assert use.localise(job, EXECUTION).training_job["OutputDataConfig"].get("KmsKeyId") == key


TEAM_ROLE = "arn:aws:iam::123456789012:role/search-training"


def test_a_job_of_a_team_runs_as_the_team_s_role(deployed, monkeypatch):
    monkeypatch.setenv("NIGHTSPOT_TRAINING_ROLE_ARNS", json.dumps({"search": TEAM_ROLE}))
    use = dependencies()
    job = use.jobs()["recommender"]
    of_search = job.model_copy(
        update={"training_job": {**job.training_job, "RoleArn": "${TrainingRoleArn.search}"}}
    )
    assert use.localise(of_search, EXECUTION).training_job["RoleArn"] == TEAM_ROLE
    assert use.localise(job, EXECUTION).training_job["RoleArn"] != TEAM_ROLE


def test_a_team_that_the_deployment_does_not_know_gets_no_other_role(deployed):
    use = dependencies()
    job = use.jobs()["recommender"]
    of_ads = job.model_copy(
        update={"training_job": {**job.training_job, "RoleArn": "${TrainingRoleArn.ads}"}}
    )
    with pytest.raises(PlaceholderError, match=r"TrainingRoleArn\.ads"):
        use.localise(of_ads, EXECUTION)
