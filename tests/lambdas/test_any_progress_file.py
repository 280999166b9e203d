"""Whatever a training container writes, a decision is taken and every record is closed."""

from __future__ import annotations

import io
import json
import math
import sys
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightspot.lambdas import close_run
from nightspot.local.stage.emulated_aws import LocalContext
from nightspot.run.model import Outcome, run_from_json, step_from_json

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
# Each example decides anew over the same world.
bounded = settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.function_scoped_fixture],
)


class S3:
    """A bucket with one progress file of any bytes, and every checkpoint that it could name."""

    body = b""

    def get_object(self, **_key: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.body)}

    def head_object(self, *, Key: str, **_bucket: Any) -> dict[str, Any]:  # noqa: N803
        if len(Key.encode()) > 1024:
            raise ClientError({"Error": {"Code": "400"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "Head")
        return {"ContentLength": 1}

    def list_objects_v2(self, *, Prefix: str, **_page: Any) -> dict[str, Any]:  # noqa: N803
        if Prefix.endswith("/nightspot"):
            return {"Contents": [{"Key": f"{Prefix}.json"}]}
        return {"Contents": [{"Key": f"{Prefix}{n:05d}.nsck"} for n in range(9)]}


class Training:
    """A run that trains with the progress file of the moment."""

    def __init__(self, world: Any) -> None:
        self.world = world
        world.s3 = S3()
        world.sagemaker.stop_training_job = lambda **_name: {}
        self.ledger = world.decide(world.plan()["run"])["run"]
        self.name = self.ledger["attempts"][0]["training_job_name"]
        self.start = world.now

    def decides(self, body: bytes) -> dict[str, Any]:
        """The decisions of a run that finds the file twice while it trains, and once more after the end."""
        self.world.s3.body = body
        self.world.now = self.start
        self.world.sagemaker.shows(
            self.name, "InProgress", ("Starting", self.start), ("Training", self.start)
        )
        ledger = self.ledger
        for hours in (1, 7):
            self.world.now = self.start + timedelta(hours=hours)
            answer = self.world.decide(ledger)
            ledger = answer["run"]
            json.dumps(answer, allow_nan=False)
            step_from_json(answer["step"])
        return ledger

    def is_closed(self, body: bytes) -> bool:
        """By CloseRun, after the abort of its execution."""
        self.decides(body)
        self.world.sagemaker.shows(
            self.name, "Stopped", ("Training", self.start), ("Stopping", self.world.now)
        )
        detail = {
            "executionArn": EXECUTION,
            "status": "ABORTED",
            "startDate": int(self.start.timestamp() * 1000),
            "stopDate": int(self.world.now.timestamp() * 1000),
        }
        event = {"detail-type": "Step Functions Execution Status Change", "detail": detail}
        closed = close_run.handler(event, LocalContext("CloseRun"), use=self.world.use)["closed"]
        return closed and self.world.table.run(self.ledger["run_id"]).outcome is Outcome.STOPPED

    def is_recorded(self, body: bytes) -> bool:
        """By RecordOutcome, after its training job has completed."""
        ledger = self.decides(body)
        artefacts = {"S3ModelArtifacts": "s3://models/model.tar.gz"}
        times = ("Training", self.start), ("Completed", self.world.now)
        self.world.sagemaker.shows(self.name, "Completed", *times, ModelArtifacts=artefacts)
        ended = self.world.decide(ledger)["run"]
        summary = self.world.record(ended)
        json.dumps(summary, allow_nan=False)
        return summary["outcome"] == "succeeded"


@pytest.fixture
def training(world: Any) -> Training:
    return Training(world)


def document(**changes: Any) -> bytes:
    good = {
        "step": 7,
        "total_steps": 10,
        "seconds_per_step": 600.0,
        "attempt": 1,
        "saved_at": "2026-11-21T00:30:00Z",
        "started_at": "2026-11-21T00:05:00Z",
        "checkpoint": "checkpoint-000000007-rank00000.nsck",
        "metrics": {"loss": 0.5},
        "resumed_from": None,
    }
    return json.dumps({**good, **changes}).encode()


# The numbers of the fault review, and the extremes that are admitted.
FILES = {
    "a metric of exp(-500)": document(metrics={"p": math.exp(-500)}),
    "a metric of 1e130": document(metrics={"perplexity": 1e130}),
    "a metric of 1e200": document(metrics={"perplexity": 1e200}),
    "total_steps of sys.maxsize": document(total_steps=sys.maxsize),
    "a step of 10^38": document(step=10**38),
    "6,000 metrics": document(metrics={f"metric number {n}": n for n in range(6000)}),
    "12,000 metrics": document(metrics={f"{n:030d}": n for n in range(12_000)}),
    "nested 100,000 deep": b'{"step": ' + b"[" * 100_000,
    "nested 30,000 deep": b'{"step": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "megabytes of text": document(checkpoint="x" * 3_000_000),
    "a step beyond the total": document(step=30, total_steps=24),
    "one step in all": document(step=1, total_steps=1),
    "the most work": document(step=1, total_steps=10**15, seconds_per_step=28 * 86_400),
    "the least work": document(step=0, total_steps=10**15, seconds_per_step=1e-9),
    "no pace": document(seconds_per_step=0),
    "saved in a hundred years": document(saved_at="2100-01-01T00:00:00Z"),
    "saved long ago": document(saved_at="2000-01-01T00:00:00Z", started_at="2100-01-01T00:00:00Z"),
    "a name of any bytes": document(checkpoint="\udc80\x00/../\u202e"),
    "a long name": document(checkpoint="ä" * 127),
    "10,000 files": document(files=10_000),
    "more files than there are": document(files=10**9),
    "fifty long names": document(metrics={f"{n:0128d}": 1.5 for n in range(50)}),
}


@pytest.mark.parametrize("body", FILES.values(), ids=FILES)
def test_no_file_stops_the_run_its_closing_or_its_record(training, body):
    assert training.is_recorded(body)
    assert training.is_closed(body) is False, "it is on record"


@pytest.mark.parametrize("body", FILES.values(), ids=FILES)
def test_an_aborted_run_is_closed_whatever_the_file_says(training, body):
    assert training.is_closed(body)


numbers = st.one_of(
    st.integers(0, 100),
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, 10**15, sys.maxsize, 10**38, 1e-9, 28 * 86_400, 1e130, 1e-200, True]),
)
values = st.one_of(numbers, st.none(), st.text(max_size=8), st.lists(numbers, max_size=2))
moments = st.sampled_from(
    ["2026-11-21T00:30:00Z", "2100-12-31T23:59:59Z", "2000-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "x"]
)
near_valid = st.fixed_dictionaries(
    {},
    optional={
        "step": numbers,
        "total_steps": numbers,
        "fraction": st.floats(0, 1) | values,
        "seconds_per_step": numbers,
        "attempt": st.integers(0, 3) | values,
        "saved_at": moments,
        "started_at": moments,
        "checkpoint": st.text(max_size=40) | values,
        "files": st.integers(1, 3) | values,
        "metrics": st.dictionaries(st.text(max_size=10), values, max_size=60) | values,
        "resumed_from": st.fixed_dictionaries({"step": numbers}) | values,
    },
).map(lambda changes: document(**changes))


@bounded
@given(body=st.binary(max_size=500) | near_valid)
def test_any_bytes_lead_to_a_decision(training, body):
    run_from_json(training.decides(body))


texts = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs"]), max_size=80)
long_texts = st.builds(
    "{}{}".format, texts, st.sampled_from(["", "x" * 40_000, " " * 40_000, "\x1b[" * 20_000])
)


@bounded
@given(
    reason=long_texts,
    status=st.sampled_from(["Failed", "Stopped", "Completed", "InProgress", "Deleting", "SomethingNew"]),
    phases=st.lists(st.sampled_from(["Starting", "Training", "Interrupted", "Stopping"]) | texts, max_size=6),
    repeated=st.sampled_from([1, 300]),
    artefact=st.none() | texts,
)
def test_any_words_of_a_training_job_lead_to_a_decision(training, reason, status, phases, repeated, artefact):
    times = [(phase, training.start) for phase in (phases or ["Starting"]) * repeated]
    more = {} if artefact is None else {"ModelArtifacts": {"S3ModelArtifacts": artefact}}
    training.world.now = training.start + timedelta(hours=1)
    training.world.sagemaker.shows(training.name, status, *times, FailureReason=reason, **more)
    answer = training.world.decide(training.ledger)
    json.dumps(answer, allow_nan=False)
    said = answer["run"]["attempts"][0]["failure_reason"] or ""
    assert len(said) <= 1024
    assert "\x1b" not in said
    assert training.world.table.run(training.ledger["run_id"]) is not None


def test_what_is_left_out_is_logged_once_and_stays_in_the_record(training, caplog):
    training.decides(document(metrics={"perplexity": 1e200, "loss": 0.5}))
    logged = [record.left_out for record in caplog.records if record.message == "left out of nightspot.json"]
    assert len(logged) == 1
    assert logged[0][0].startswith("metrics['perplexity']: 1e+200: ")
    progress = training.world.table.run(training.ledger["run_id"]).progress
    assert progress.metrics == {"loss": 0.5}
    assert progress.left_out == logged[0]
