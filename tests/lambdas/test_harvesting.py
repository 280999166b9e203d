"""The cassette that a deployment keeps of each training job: where it lies, what it tells, and what it must not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nightspot.aws.notices import Reports
from nightspot.cassettes.life import life_of
from nightspot.cassettes.model import Origin, Source, moment, read_cassette
from nightspot.lambdas import close_run
from nightspot.local.stage.emulated_aws import LocalContext

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
MODELS = "kept-models"


@pytest.fixture
def ends(night, world):
    """ends(run, harvest=…) -> CloseRun's answer to the event of its stopped training job, at 03:05 UTC."""
    world.s3.create_bucket(Bucket=MODELS, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def told(run, *, harvest=True, status="Stopped", **more):
        name = run.attempts[0].training_job_name
        night.shows(name, status, CreationTime=MIDNIGHT, **more)
        event = {
            "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "detail-type": "SageMaker Training Job State Change",
            "time": world.now.isoformat(),
            "detail": {
                "TrainingJobName": name,
                "TrainingJobStatus": status,
                "SecondaryStatus": status,
                "LastModifiedTime": round((MIDNIGHT + timedelta(hours=3, minutes=4)).timestamp() * 1000),
            },
        }
        use = replace(world.use, reports=Reports(world.s3, MODELS), harvest_cassettes=harvest)
        return close_run.handler(event, LocalContext("CloseRun"), use=use)

    return told


@pytest.fixture
def kept(world):
    """kept() -> what lies in the bucket, by key."""

    def read():
        found = world.s3.list_objects_v2(Bucket=MODELS).get("Contents", [])
        keys = [each["Key"] for each in found]
        return {key: world.s3.get_object(Bucket=MODELS, Key=key)["Body"].read().decode() for key in keys}

    return read


def test_nothing_is_kept_unless_it_was_asked_for(night, ends, kept):
    ends(night.trains(), harvest=False)
    assert kept() == {}


def test_the_life_of_an_ended_training_job_lies_beside_the_reports(night, ends, kept):
    run = night.trains()
    ends(run, TrainingTimeInSeconds=10_000, HyperParameters={"secret": "hunter2"})
    ((key, text),) = kept().items()
    assert key == f"reports/cassettes/{run.run_id}-1.json"
    cassette = read_cassette(text)
    assert cassette.origin is Origin.HARVEST
    assert [(span.secondary, span.start) for span in life_of(cassette).spans] == [
        ("Starting", 0),
        ("Downloading", 300),
        ("Training", 600),
        ("Stopped", 3 * 3600 + 240),
    ]
    event = next(cassette.of(Source.EVENT))
    assert event.t == 3 * 3600
    assert event.payload["detail"]["LastModifiedTime"] == {**moment(3 * 3600 + 240), "form": "epoch_ms"}
    assert cassette.description["TrainingTimeInSeconds"] == 10_000


def test_nobodys_names_are_in_it(night, ends, kept):
    run = night.trains()
    ends(run, FailureReason=f"AlgorithmError: ann@example.com read s3://secret/{run.run_id} as 123456789012")
    (text,) = kept().values()
    found = [word for word in (run.run_id, run.job, "123456789012", "ann@", "s3://") if word in text]
    assert found == []


def test_what_the_library_said_and_how_late_s3_had_it_are_notes(night, world, ends, kept):
    run = night.trains()
    bucket, prefix = run.checkpoint_s3_uri.removeprefix("s3://").split("/", 1)
    prefix = prefix.strip("/")
    saved_at = world.now - timedelta(minutes=1)
    document = {
        "schema_version": 1,
        "run_id": run.run_id,
        "attempt": 1,
        "step": 40,
        "total_steps": 100,
        "saved_at": saved_at.isoformat(),
        "checkpoint": "checkpoint-40.nsck",
        "resumed_from": None,
        "started_at": (MIDNIGHT + timedelta(minutes=10)).isoformat(),
    }
    for name, body in (("checkpoint-40.nsck", b"x"), ("nightspot.json", json.dumps(document).encode())):
        world.s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)
    world.decide(json.loads(json.dumps(_as_json(run))))
    ends(night.recorded(run))
    cassette = read_cassette(next(iter(kept().values())))
    notes = {entry.payload["note"]: entry for entry in cassette.of(Source.LOG)}
    assert notes["saved"].payload["step"] == 40
    assert notes["saved"].t == (saved_at - MIDNIGHT).total_seconds()
    assert notes["started"].t == 600
    # S3 is moto's, whose moments are real ones: years may lie between, and they must agree with each other.
    stored = [entry for entry in cassette.of(Source.S3) if entry.payload["key"] == "nightspot.json"]
    assert notes["sync_lag"].payload["seconds"] == pytest.approx(stored[0].t - notes["saved"].t, abs=0.01)


def test_a_stop_is_a_call_at_its_moment(night, world, ends, kept):
    run = night.trains()
    asked_at = MIDNIGHT + timedelta(hours=3)
    attempt = replace(run.attempts[0], stop_requested_at=asked_at)
    last = world.table.last_step(run.run_id)
    world.table.record_step(run, run.with_attempt(attempt), last)
    ends(run)
    cassette = read_cassette(next(iter(kept().values())))
    (call,) = cassette.of(Source.CALL)
    assert (call.payload["operation"], call.t) == ("StopTrainingJob", 3 * 3600)


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_training_job_that_is_not_over_is_left_for_its_next_event(night, ends, kept, status):
    ends(night.trains(), status=status)
    assert kept() == {}


def test_what_goes_wrong_here_harms_no_run(night, world, ends, kept, metrics, monkeypatch):
    run = night.trains()

    def fails(*_arguments, **_more):
        raise RuntimeError("S3 is on fire")

    monkeypatch.setattr(Reports, "write_cassette", fails)
    metrics()
    assert ends(run) == {"closed": False, "repaired": []}
    assert metrics()["CassetteLost"] == [1]
    assert kept() == {}


def _as_json(run):
    from nightspot.run.model import to_json

    return to_json(run)
