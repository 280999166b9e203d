"""`nightspot push`: the code of a job goes to a deployment, and the next run takes it."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict, replace

import boto3
import pytest
import typer
from typer.testing import CliRunner

from nightspot.api.models import line_as_json, lines_of
from nightspot.aws.runs.job_code import CodeArchives, JobCode, PushedCodes
from nightspot.cli import account, jobs, push
from nightspot.cli.account import Aws
from nightspot.job.code_version import CarriedCode, CodeVersion
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_job
from nightspot.job.source_archive import pack
from nightspot.local.stage.emulated_aws import PAGES, REGION, TABLE, create_resources
from tests.cloud import Stack, bundle_of

JOB = """
name: recommender
deadline: {within: 8h}
work: 4h
capacity: {spot: [ml.g5.xlarge], on_demand: [ml.g5.xlarge]}
code: {source_dir: ../training, entry_point: train.py}
training_job:
  RoleArn: ${TrainingRoleArn}
  AlgorithmSpecification: {TrainingImage: training:latest, TrainingInputMode: File}
  OutputDataConfig: {S3OutputPath: "s3://${ModelBucket}/nightly/"}
  CheckpointConfig: {S3Uri: "s3://${CheckpointBucket}/nightly/"}
  ResourceConfig: {InstanceCount: 1, VolumeSizeInGB: 50}
  StoppingCondition: {MaxRuntimeInSeconds: 21600}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "cdk.json").write_text("{}")
    for folder in ("jobs", "training"):
        (tmp_path / folder).mkdir()
    (tmp_path / "training" / "train.py").write_text("print(1)\n")
    (tmp_path / "jobs" / "recommender.yaml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Cloud(Stack):
    """A stack with the code of `project` as it was deployed; S3 and DynamoDB are moto's."""

    outputs = (("TableName", TABLE), ("ReportBucket", PAGES))

    def __init__(self, job):
        self.deploy(job)
        self.s3, self.dynamodb = (boto3.client(name, region_name=REGION) for name in ("s3", "dynamodb"))

    def deploy(self, job, code=True):
        self.deployed = pack(job).version if job.code else None
        self.document = dump_jobs({job.name: job})
        code = {} if self.deployed is None else {job.name: asdict(self.deployed)}
        self.bundle = bundle_of(jobs=self.document, **({"code": json.dumps(code)} if code else {}))

    def client(self, service):
        return {"s3": self.s3, "dynamodb": self.dynamodb}.get(service, self)

    def get_caller_identity(self):
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/Science/jo", "Account": "123456789012"}

    def next_run(self):
        """The code that a plan would choose, and where it is."""
        carried = CarriedCode({"recommender": self.deployed}, lambda _digest: b"deployed")
        archives = CodeArchives(self.s3, PAGES)
        return JobCode(carried, PushedCodes(self.dynamodb, TABLE), archives).of_next_run("recommender")


@pytest.fixture
def aws(monkeypatch, emulated_aws, project):
    create_resources(())
    cloud = Cloud(load_job(project / "jobs" / "recommender.yaml"))
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, cloud.client, profile)
    )
    monkeypatch.setattr(jobs, "fetched", lambda _address: cloud.bundle)
    return cloud


@pytest.fixture
def nightspot():
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(push.push)

    def run(*arguments):
        result = CliRunner().invoke(app, [*arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_a_changed_script_is_the_next_run_s_without_a_deployment(nightspot, aws, project):
    (project / "training" / "train.py").write_text("print(2)\n")
    answer = nightspot("recommender")
    assert answer.exit_code == 0, answer.stderr
    version, uri = aws.next_run()
    assert version.pushed_by == "assumed-role/Science/jo"
    assert version.digest != aws.deployed.digest
    assert f"The next run of recommender trains with {version.words}." in answer.stdout
    assert uri in answer.stdout
    body = aws.s3.get_object(Bucket=PAGES, Key=version.key("recommender"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.extractfile("train.py").read() == b"print(2)\n"


def test_json_is_one_object_with_all_of_it(nightspot, aws, project):
    (project / "training" / "train.py").write_text("print(2)\n")
    told = json.loads(nightspot("jobs/recommender.yaml", "--json").stdout)
    version, uri = aws.next_run()
    assert told == {"job": "recommender", **asdict(version), "s3_uri": uri, "stored": True}
    assert json.loads(nightspot("recommender", "--json").stdout)["stored"] is False


def test_of_the_rest_of_the_file_it_says_that_it_is_not_pushed(nightspot, aws, project):
    file = project / "jobs" / "recommender.yaml"
    file.write_text(JOB.replace("work: 4h", "work: 5h").replace("within: 8h", "within: 9h"))
    answer = nightspot("recommender")
    assert answer.exit_code == 0
    assert "only code is pushed; deploy to change what the file says of deadline, work" in answer.stderr
    file.write_text(JOB)
    assert "only code is pushed" not in nightspot("recommender").stderr


def test_pushing_what_is_deployed_takes_a_push_back(nightspot, aws, project):
    (project / "training" / "train.py").write_text("print(2)\n")
    nightspot("recommender")
    (project / "training" / "train.py").write_text("print(1)\n")
    nightspot("recommender")
    assert aws.next_run()[0].digest == aws.deployed.digest


def test_nothing_is_pushed_where_the_code_cannot_travel(nightspot, aws, project):
    (project / "training" / "train.py").rename(project / "training" / "main.py")
    answer = nightspot("recommender")
    assert answer.exit_code == 1
    assert "code.entry_point: 'train.py': must be a file in source_dir" in answer.stderr
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=PAGES)


def without_code(text):
    return text.replace("code: {source_dir: ../training, entry_point: train.py}\n", "")


def test_a_job_without_code_has_nothing_to_push(nightspot, aws, project):
    (project / "jobs" / "recommender.yaml").write_text(without_code(JOB))
    answer = nightspot("recommender")
    assert answer.exit_code == 1
    assert "code: recommender: its job file must have code" in answer.stderr


def test_a_job_that_is_deployed_without_code_would_not_take_it(nightspot, aws, project):
    (project / "jobs" / "older.yaml").write_text(without_code(JOB).replace("recommender", "older"))
    aws.deploy(load_job(project / "jobs" / "older.yaml").model_copy(update={"name": "recommender"}))
    answer = nightspot("recommender")
    assert answer.exit_code == 1
    assert "is deployed in Nightspot without code: nightspot deploy first" in answer.stderr


MISTAKES = {
    "no such job here": (
        "recomender",
        "or a job in jobs: recommender; did you mean recommender?",
    ),
    "not deployed": ("jobs/other.yaml", "'other': is not deployed in Nightspot, which has recommender"),
}


@pytest.mark.parametrize(("given", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_job_that_is_not_there_is_named(nightspot, aws, project, given, words):
    if "other" in given:
        (project / "jobs" / "other.yaml").write_text(JOB.replace("name: recommender", "name: other"))
    answer = nightspot(given)
    assert answer.exit_code == 1
    assert words in answer.stderr


def test_code_is_the_same_after_a_deployment_of_what_was_pushed(nightspot, aws, project):
    (project / "training" / "train.py").write_text("print(2)\n")
    nightspot("recommender")
    pushed = aws.next_run()[0]
    aws.deploy(load_job(project / "jobs" / "recommender.yaml"))
    deployed = aws.next_run()[0]
    assert deployed == replace(pushed, pushed_by=None)
    assert isinstance(deployed, CodeVersion)


def test_a_training_job_of_its_own_such_as_a_drill_s_brings_its_code_and_pushes_nothing(aws, project):
    (project / "training" / "train.py").write_text("print(2)\n")
    job = load_job(project / "jobs" / "recommender.yaml")
    with_it, store = push.with_stored_code(job, Aws(REGION, aws.client), "Nightspot")
    uri = json.loads(with_it.training_job["HyperParameters"]["sagemaker_submit_directory"])
    key = uri.removeprefix(f"s3://{PAGES}/")
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=PAGES)
    store()
    body = aws.s3.get_object(Bucket=PAGES, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.extractfile("train.py").read() == b"print(2)\n"
    assert aws.next_run()[0] == aws.deployed


def test_the_list_of_jobs_says_which_script_a_job_runs(project):
    job = load_job(project / "jobs" / "recommender.yaml")
    (line,) = lines_of({"recommender": job}, [], "2026-11")
    assert line_as_json(line)["code"] == {
        "source_dir": "../training",
        "entry_point": "train.py",
        "requirements": None,
    }
