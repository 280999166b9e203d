"""The shipped job, interrupted and not, ends with the very same model."""

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from nightspot.job.reading import load_job
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket
from nightspot.local.stage.emulated_aws import REGION
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.session import LocalAws

pytestmark = [pytest.mark.workflow, pytest.mark.long]

ROOT = Path(__file__).parents[2]
SCALE = 900.0
SECONDS_PER_EPOCH = 0.65
SMALL = {
    "epochs": "24",
    "seed": "11",
    "checkpoint-every": "3",
    "users": "300",
    "items": "200",
    "factors": "8",
}


@pytest.fixture
def final_metrics(tmp_path, slower):
    """final_metrics(night) -> (metrics.json in the model artefact as text, the night)."""

    def played(night):
        shipped = load_job(ROOT / "jobs" / "recommender.yaml")
        training_job = {**shipped.training_job, "HyperParameters": SMALL}
        local = shipped.local.model_copy(
            update={
                "time_scale": SCALE / slower,
                "environment": {"RECOMMENDER_SECONDS_PER_EPOCH": str(SECONDS_PER_EPOCH * slower)},
            }
        )
        job = shipped.model_copy(update={"training_job": training_job, "local": local, "budget": None})
        found = {}

        def keep_model(name, handler):
            def record(event):
                artefact = event["run"]["attempts"][-1]["model_artifact"]
                bucket, _, key = artefact.removeprefix("s3://").partition("/")
                body = boto3.client("s3", region_name=REGION).get_object(Bucket=bucket, Key=key)["Body"]
                with tarfile.open(fileobj=io.BytesIO(body.read())) as archive:
                    found["metrics"] = archive.extractfile("metrics.json").read().decode()
                return handler(event)

            return record if name == "RecordOutcome" else handler

        aws = LocalAws(
            jobs={job.name: job},
            night=night,
            scratch=tmp_path / night.name,
            started_at=datetime(2026, 11, 21, tzinfo=UTC),
            price=lambda _instance_type, _region: 33.0,
            directory=ROOT,
            wrap=keep_model,
        )
        return found, aws.play(job.name)

    return played


def test_a_night_with_interruptions_and_a_fallback_ends_with_the_same_recall_to_the_last_digit(final_metrics):
    quiet_model, quiet = final_metrics(Night("quiet", ""))
    bad_spot = SimulatedMarket.scripted(
        [
            {"missing": "20m"},
            {"available": "1h"},
            {"reclaim": "10m"},
            {"available": "1h"},
            {"reclaim": "10m"},
            {"available": "1h"},
            {"reclaim": "rest"},
        ]
    )
    bad_model, bad = final_metrics(Night("bad", "", Markets(default_spot=bad_spot)))

    assert [a.market for a in quiet.record.attempts] == ["spot"]
    assert [a.market for a in bad.record.attempts] == ["spot", "on_demand"]
    assert bad.record.attempts[0].interruptions == 3
    assert all(a.resumed_from_step > 0 for a in bad.record.attempts)
    assert json.loads(bad_model["metrics"])["recall_at_10"] > 0
    assert bad_model["metrics"] == quiet_model["metrics"]
    # docs/deploy.md names these limits with their price.
    assert quiet.state_transitions <= 40
    assert bad.state_transitions <= 120
