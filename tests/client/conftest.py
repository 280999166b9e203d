"""A job file of few lines, and a client of each kind of deployment."""

from pathlib import Path

import pytest

from nightspot.client import access as accesses
from nightspot.client import client as clients
from nightspot.client import run as runs
from nightspot.client import starting
from nightspot.client.client import Client
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_jobs
from nightspot.local.stage.emulated_aws import create_resources
from tests.cloud import Cloud, bundle_of

JOB = """
name: nightly
deadline: {within: 3h}
work: 1h
checkpoint_every: 10m
capacity: {spot: [ml.g5.xlarge], on_demand: [ml.g5.xlarge]}
training_job:
  RoleArn: ${TrainingRoleArn}
  AlgorithmSpecification: {TrainingImage: "training:latest", TrainingInputMode: File}
  OutputDataConfig: {S3OutputPath: "s3://${ModelBucket}/nightly/"}
  CheckpointConfig: {S3Uri: "s3://${CheckpointBucket}/nightly/"}
  ResourceConfig: {InstanceCount: 1, VolumeSizeInGB: 50}
  StoppingCondition: {MaxRuntimeInSeconds: 7200}
"""


@pytest.fixture
def root(request):
    return Path(request.config.rootpath)


@pytest.fixture
def text():
    return JOB


@pytest.fixture
def cloud(monkeypatch, emulated_aws, story, root):
    """A deployment of the repository's own jobs in moto, whose run ends once somebody has slept."""
    create_resources(())
    cloud = Cloud(story)
    cloud.code = bundle_of(jobs=dump_jobs(load_jobs(root / "jobs")))
    monkeypatch.setattr(clients, "session_of", lambda _profile, _region: cloud)
    monkeypatch.setattr(clients, "fetched", lambda _address: cloud.code)
    # By this machine's clock a start after 03:45 UTC would be warned of.
    monkeypatch.setattr(starting, "now", lambda: story.midnight)
    monkeypatch.setattr(runs, "sleep", cloud.sleep)
    monkeypatch.setattr(runs, "monotonic", lambda: cloud.slept)
    return cloud


@pytest.fixture
def stack(cloud):
    """A client of its stack."""
    return Client()


@pytest.fixture
def serve(monkeypatch):
    """`serve(answers)`: a client of an API on loopback that answers so; the clock passes by sleeping."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    slept = [0.0]
    monkeypatch.setattr(runs, "sleep", lambda seconds: slept.append(slept[-1] + seconds))
    monkeypatch.setattr(runs, "monotonic", lambda: slept[-1])
    monkeypatch.setattr(starting, "token_hex", lambda _size: "key")

    def serve(api):
        # The transport of ApiClient's own, for an address that is asked unsigned.
        monkeypatch.setattr("nightspot.aws.runs.api_client.transport", lambda _url, ca_bundle=None: api)
        monkeypatch.setattr(accesses, "transport", lambda _url, ca_bundle=None: api)
        return Client(url="http://127.0.0.1:8787")

    return serve
