"""The recorder: what it keeps of calls, answers, events and S3, and that nobody's names are in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from nightspot.cassettes.model import LEFT_OUT, Origin, Source, moment, read_cassette
from nightspot.cassettes.recording import Recorder

START = datetime(2026, 12, 5, 1, 0, tzinfo=UTC)
NAME = "nightspot-prod-secretproject-2026-12-05-abc123-1"
ARN = f"arn:aws:sagemaker:eu-west-1:998877665544:training-job/{NAME}"
REQUEST_ID = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
ROLE = "arn:aws:iam::998877665544:role/team-secret"
PRIVATE = ("998877665544", "secretproject", "team-secret", "acme", "hunter2", "alice", "f81d4fae")


class Client:
    """A SageMaker that answers what it is told to, one answer a call; the clock goes on by ten seconds."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.time = START

    def now(self):
        return self.time

    def create_training_job(self, **_request):
        return {
            "TrainingJobArn": ARN,
            "ResponseMetadata": {"RequestId": REQUEST_ID},
        }

    def describe_training_job(self, **_request):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.time += timedelta(seconds=10)
        return answer

    def stop_training_job(self, **_request):
        error = {
            "Code": "ValidationException",
            "Message": f"{ARN} is Completed, said s3://acme-models/alice/x (id {REQUEST_ID})",
        }
        raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}, "StopTrainingJob")


def answer(status, *secondaries, **more):
    transitions = [
        {
            "Status": secondary,
            "StartTime": START + timedelta(seconds=60 * number),
            "StatusMessage": f"{secondary} for {NAME}",
        }
        for number, secondary in enumerate(secondaries)
    ]
    return {
        "TrainingJobName": NAME,
        "TrainingJobArn": ARN,
        "TrainingJobStatus": status,
        "SecondaryStatus": secondaries[-1],
        "SecondaryStatusTransitions": transitions,
        "CreationTime": START,
        "RoleArn": ROLE,
        "HyperParameters": {"password": "hunter2"},
        "Environment": {"OWNER": "alice@acme.example"},
        "AlgorithmSpecification": {
            "TrainingImage": "998877665544.dkr.ecr.eu-west-1.amazonaws.com/acme:1",
            "TrainingInputMode": "File",
        },
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeKmsKeyId": ARN},
        "OutputDataConfig": {"S3OutputPath": "s3://acme-models/secretproject/"},
        "EnableManagedSpotTraining": True,
        **more,
    }


REQUEST = {
    "TrainingJobName": NAME,
    "RoleArn": ROLE,
    "HyperParameters": {"password": "hunter2"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
    "Tags": [{"Key": "owner", "Value": "alice"}],
}


@pytest.fixture
def recorded():
    """A short life with a bit of everything."""
    waiting, failed = answer("InProgress", "Starting"), answer("Failed", "Starting", "Failed")
    failed["FailureReason"] = (
        f"ClientError: {ROLE} may not read s3://acme-data/alice/train.csv of 998877665544"
    )
    client = Client([waiting, waiting, failed])
    recorder = Recorder(client, NAME, now=client.now, names=("acme-models",))
    recorder.create(REQUEST)
    event = {
        "id": REQUEST_ID,
        "account": "998877665544",
        "detail-type": "SageMaker Training Job State Change",
        "time": "2026-12-05T01:00:01Z",
        "resources": [ARN],
        "detail": {**waiting, "LastModifiedTime": 1796432401000, "Tags": {"owner": "alice"}},
    }
    recorder.watch(sleep=lambda _seconds: None, events=lambda: [event])
    with pytest.raises(ClientError):
        recorder.stop()
    recorder.log(f"Traceback of alice@acme.example in {NAME}")
    recorder.note("sigterm", seconds=12.5)
    return recorder.cassette("A failure.", origin=Origin.AWS, evidence="test")


def test_nothing_of_a_recording_tells_whose_it_was(recorded):
    text = recorded.dump()
    assert [word for word in (*PRIVATE, NAME) if word in text] == []
    assert re.search(r"\d{12}", text) is None
    assert "arn:aws" not in text


def test_times_are_seconds_after_the_creation(recorded):
    first, last = (entry.payload for entry in recorded.of(Source.DESCRIBE))
    assert first["CreationTime"] == moment(0)
    assert [each["StartTime"] for each in last["SecondaryStatusTransitions"]] == [moment(0), moment(60)]
    event = next(recorded.of(Source.EVENT)).payload
    assert event["time"] == {"$t": 1.0, "form": "iso"}
    assert event["detail"]["LastModifiedTime"] == {"$t": 1.0, "form": "epoch_ms"}


def test_states_limits_and_the_names_of_all_fields_are_kept(recorded):
    last = recorded.description
    assert last["TrainingJobStatus"] == "Failed"
    assert last["ResourceConfig"] == {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    assert last["AlgorithmSpecification"] == {"TrainingInputMode": "File"}
    assert last["HyperParameters"] == last["Environment"] == last["RoleArn"] == LEFT_OUT
    assert last["FailureReason"] == "ClientError: <arn> may not read <uri> of <account>"
    called = next(recorded.of(Source.CALL)).payload
    assert called["request"]["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}


def test_an_answer_is_kept_where_it_differs_from_the_one_before(recorded):
    assert [entry.t for entry in recorded.of(Source.DESCRIBE)] == [10.0, 30.0]


def test_an_event_that_comes_again_has_the_same_id(recorded):
    assert [entry.payload["id"] for entry in recorded.of(Source.EVENT)] == ["event-1"] * 3


def test_a_refusal_is_kept_with_its_code_and_words(recorded):
    assert list(recorded.of(Source.CALL))[-1].payload == {
        "operation": "StopTrainingJob",
        "error": {
            "code": "ValidationException",
            "message": "<arn> is Completed, said <uri> (id <id>)",
            "status": 400,
        },
    }


def test_a_recording_is_read_again(recorded):
    assert read_cassette(recorded.dump()) == recorded
    assert recorded.versions.keys() >= {"nightspot", "botocore"}
    assert recorded.recorded_on == "2026-12-05"


def test_a_job_that_does_not_end_is_not_watched_for_ever():
    client = Client([answer("InProgress", "Starting")])
    recorder = Recorder(client, NAME, now=client.now)
    with pytest.raises(TimeoutError, match="is Starting after 60 s"):
        recorder.watch(sleep=lambda _seconds: None, every_seconds=30, longest_seconds=60)


def test_versions_and_deletions_below_the_prefix_are_kept_once():
    class Pages:
        def paginate(self, **given):
            assert given == {"Bucket": "acme-checkpoints", "Prefix": "secretproject/run/"}
            at = START + timedelta(seconds=30)
            below = "secretproject/run/"
            yield {
                "Versions": [
                    {"Key": f"{below}nightspot.json", "VersionId": "1", "LastModified": at, "Size": 3},
                    {"Key": f"{below}alice.bin.tmp", "VersionId": "2", "LastModified": at, "Size": 9},
                ],
                "DeleteMarkers": [
                    {
                        "Key": f"{below}alice.bin.tmp",
                        "VersionId": "3",
                        "LastModified": at + timedelta(seconds=1),
                    }
                ],
            }

    class S3:
        def get_paginator(self, _name):
            return Pages()

    client = Client([answer("InProgress", "Starting")])
    uri = "s3://acme-checkpoints/secretproject/run"
    recorder = Recorder(client, NAME, now=client.now, s3=S3(), prefix_uri=uri)
    recorder.create(REQUEST)
    assert [recorder.list_versions(), recorder.list_versions()] == [3, 0]
    kept = recorder.cassette("Files.", origin=Origin.AWS, evidence="test")
    assert [(entry.t, entry.payload) for entry in kept.of(Source.S3)] == [
        (30.0, {"kind": "put", "key": "nightspot.json", "size": 3}),
        (30.0, {"kind": "put", "key": "file-1.tmp", "size": 9}),
        (31.0, {"kind": "delete", "key": "file-1.tmp"}),
    ]


def test_what_the_script_writes_has_the_name_that_s3_gives_it():
    class Pages:
        def paginate(self, **_given):
            yield {"Versions": [{"Key": "run/alice.bin", "VersionId": "1", "LastModified": START, "Size": 9}]}

    client = Client([answer("InProgress", "Training")])
    s3 = SimpleNamespace(get_paginator=lambda _name: Pages())
    recorder = Recorder(client, NAME, now=client.now, s3=s3, prefix_uri="s3://acme-checkpoints/run")
    recorder.create(REQUEST)
    recorder.file("alice.bin", 9, START)
    recorder.file("alice.bin", None, START + timedelta(seconds=5))
    recorder.list_versions()

    kept = recorder.cassette("Files.", origin=Origin.AWS, evidence="test")
    assert [entry.payload for entry in kept.of(Source.LOG)] == [
        {"note": "wrote", "bytes": 9, "key": "file-1"},
        {"note": "removed", "key": "file-1"},
    ]
    assert [entry.payload["key"] for entry in kept.of(Source.S3)] == ["file-1"]


def test_a_prefix_must_be_an_s3_uri():
    with pytest.raises(ValueError, match=r"prefix_uri: '/tmp/x' must look like s3://bucket/prefix"):
        Recorder(Client([]), NAME, prefix_uri="/tmp/x")
