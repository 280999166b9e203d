"""Notices on the bus: what an alarm or a chat integration gets to read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.stub import Stubber

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.notices import Notices
from nightspot.record.events import OF_OUTCOME, RunEvent
from nightspot.run.model import Run

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
RUN = Run(
    job="recommender",
    run_id="20261121-abc123",
    execution_arn="arn:aws:states:eu-west-1:123456789012:execution:nightspot:one",
    started_at=MIDNIGHT,
    deadline=MIDNIGHT + timedelta(hours=8),
    rungs=(),
    work_seconds=14400.0,
    work_upper_seconds=17280.0,
    checkpoint_every_seconds=600,
    checkpoint_s3_uri=None,
    training_job={},
    steps=4,
)


class Bus:
    """EventBridge that accepts everything, or says why not."""

    def __init__(self, refusal: str | None = None) -> None:
        self.entries = []
        self._refusal = refusal

    def put_events(self, *, Entries):  # noqa: N803
        self.entries.extend(Entries)
        if self._refusal is None:
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "Bad", "ErrorMessage": self._refusal}]}


def sent(run_event=RunEvent.FELL_BACK, run=RUN, detail=None):
    bus = Bus()
    Notices(bus, "nights").send(run_event, run, MIDNIGHT, detail or {})
    (entry,) = bus.entries
    return {**entry, "Detail": json.loads(entry["Detail"])}


def test_a_notice_says_what_happened_to_which_run_and_when():
    entry = sent(detail={"market": "on_demand"})
    assert entry == {
        "Time": MIDNIGHT,
        "Source": "nightspot",
        "DetailType": "Nightspot Fell Back",
        "EventBusName": "nights",
        "Resources": [RUN.execution_arn],
        "Detail": {
            "notice_id": "20261121-abc123/4/FellBack",
            "job": "recommender",
            "run_id": "20261121-abc123",
            "execution_arn": RUN.execution_arn,
            "deadline": "2026-11-21T08:00:00+00:00",
            "market": "on_demand",
        },
    }


def test_the_same_notice_has_the_same_id_and_another_one_another():
    def notice_id(*given):
        return sent(*given)["Detail"]["notice_id"]

    first = notice_id(RunEvent.INTERRUPTED, RUN)
    assert notice_id(RunEvent.INTERRUPTED, RUN) == first
    others = {
        notice_id(RunEvent.FELL_BACK, RUN),
        notice_id(RunEvent.INTERRUPTED, replace(RUN, steps=5)),
        notice_id(RunEvent.INTERRUPTED, replace(RUN, run_id="20261122-abc123")),
    }
    assert len(others - {first}) == 3


@pytest.mark.parametrize("run_event", OF_OUTCOME.values())
def test_a_run_has_one_end_whichever_step_or_repair_records_it(run_event):
    first = sent(RunEvent.RUN_FAILED, RUN)["Detail"]["notice_id"]
    assert sent(run_event, replace(RUN, steps=9))["Detail"]["notice_id"] == first
    assert sent(run_event, replace(RUN, run_id="20261122-abc123"))["Detail"]["notice_id"] != first


def test_a_notice_that_eventbridge_refuses_is_an_error_with_its_words():
    with pytest.raises(TransientAwsError, match=r"Nightspot Run Failed: the bus is full"):
        Notices(Bus("the bus is full"), "nights").send(RunEvent.RUN_FAILED, RUN, MIDNIGHT, {})


def test_every_notice_is_one_that_the_service_model_accepts():
    client = boto3.client(
        "events", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    with Stubber(client) as stubber:
        for run_event in RunEvent:
            stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": []})
            Notices(client, "nights").send(run_event, RUN, MIDNIGHT, {})
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize("environment", ["", "prod"], ids=["none", "prod"])
def test_a_notice_says_of_which_environment_its_run_is(environment):
    detail = sent(RunEvent.RUN_FAILED, replace(RUN, environment=environment))["Detail"]
    assert detail.get("environment", "") == environment
