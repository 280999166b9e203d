"""What a night on this machine leaves of the messages that it would have sent."""

import json

import pytest

from nightspot.job.model import Job
from nightspot.local.stage import records
from tests.records import past_run


@pytest.fixture
def job():
    return Job.model_validate(
        {
            "name": "counter",
            "deadline": {"at": "08:00", "timezone": "Europe/Dublin"},
            "work": "1h",
            "capacity": {"spot": ["ml.g5.xlarge"]},
            "training_job": {
                "RoleArn": "arn:aws:iam::123456789012:role/counter",
                "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
                "OutputDataConfig": {"S3OutputPath": "s3://models/"},
                "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
                "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
            },
        }
    )


def entry(detail_type, **detail):
    known = {"job": "counter", "run_id": "r", "deadline": "2026-07-01T07:00:00+00:00", **detail}
    return {"DetailType": detail_type, "Detail": json.dumps(known)}


NIGHT = [
    entry("Nightspot Run Started"),
    entry("Nightspot Fell Back", action="start"),
    entry("Nightspot At Risk Of Being Late", action="watch", because="late."),
    entry("Nightspot Run Failed", because="why", summary={"outcome": "failed", "because": "why"}),
]


def test_a_night_s_messages_are_files_in_their_order(job, tmp_path):
    folder = tmp_path / "messages"
    told = records.written(NIGHT, job, folder)
    assert [message.run_event for message in told] == ["AtRiskOfBeingLate", "RunFailed"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "1-AtRiskOfBeingLate.chat.json",
        "1-AtRiskOfBeingLate.txt",
        "2-RunFailed.chat.json",
        "2-RunFailed.txt",
    ]
    text = (folder / "1-AtRiskOfBeingLate.txt").read_text(encoding="utf-8")
    assert text.startswith("Subject: counter: the model may be late\n\nThe model of counter is expected")
    assert json.loads((folder / "2-RunFailed.chat.json").read_text(encoding="utf-8")) == told[1].chat


def test_times_are_in_the_zone_of_the_job_s_deadline(job):
    (risk, _) = records.told(NIGHT, job)
    assert "Deadline: Wed 01 Jul 2026, 08:00 Europe/Dublin (07:00 UTC)" in risk.text


def test_a_quiet_night_leaves_no_folder(job, tmp_path):
    quiet = [
        entry("Nightspot Run Succeeded", happened=[], summary=past_run(deadline_met=True).to_json()),
        entry("Another's"),
    ]
    assert records.written(quiet, job, tmp_path / "messages") == ()
    assert not (tmp_path / "messages").exists()
