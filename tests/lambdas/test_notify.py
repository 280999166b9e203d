"""Telling people: what arrives in the queues of those who subscribe, and what does not arrive twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3
import pytest

from nightspot.aws.notices import NoticeTopics
from nightspot.aws.table.run_table import RunTable
from nightspot.failures.codes import FailureClass
from nightspot.lambdas import notify
from nightspot.lambdas.notify import Messenger
from nightspot.local.stage.emulated_aws import REGION, TABLE, LocalContext
from nightspot.record.events import RunEvent
from nightspot.run.model import AttemptState, Outcome, evolve, run_from_json, to_json


@dataclass
class People:
    """Two topics with a queue each, and the handler as EventBridge calls it."""

    now: datetime
    zone: str = "UTC"
    tell_success: bool = False
    queues: dict[str, str] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sns, self.sqs = boto3.client("sns", region_name=REGION), boto3.client("sqs", region_name=REGION)
        for name in ("mail", "chat"):
            self.topics[name] = self.sns.create_topic(Name=name)["TopicArn"]
            self.queues[name] = self.sqs.create_queue(QueueName=name)["QueueUrl"]
            arn = self.sqs.get_queue_attributes(QueueUrl=self.queues[name], AttributeNames=["QueueArn"])
            self.sns.subscribe(
                TopicArn=self.topics[name], Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"]
            )

    def hear(self, entry: dict[str, Any], **changes: Any) -> list[str]:
        """The EventBridge entry as an event; the channels on which it was told."""
        event = {
            "source": entry["Source"],
            "detail-type": entry["DetailType"],
            "detail": json.loads(entry["Detail"]),
            **changes,
        }
        use = Messenger(
            topics=NoticeTopics(
                self.sns,
                boto3.client("dynamodb", region_name=REGION),
                TABLE,
                mail_arn=self.topics["mail"],
                chat_arn=self.topics["chat"],
            ),
            pending=RunTable(boto3.client("dynamodb", region_name=REGION), TABLE).pending,
            zone=lambda _job: self.zone,
            now=lambda: self.now,
            tell_success=self.tell_success,
        )
        return notify.handler(event, LocalContext("Notify"), use=use)["told"]

    def received(self, name: str) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=self.queues[name], MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", ())]


@pytest.fixture
def people(world, midnight) -> People:
    return People(midnight)


@pytest.fixture
def end(world, midnight):
    """end(outcome, …) -> the entry that `record_outcome` puts on the bus for such a run."""

    def ended(outcome: Outcome, failure: FailureClass | None = None, **changes: Any) -> dict[str, Any]:
        run = run_from_json(world.decide(world.plan()["run"])["run"])
        attempt = evolve(
            run.attempts[0],
            state=AttemptState.ENDED,
            ended_at=midnight.replace(hour=5),
            failure=failure,
            trained_seconds=14_400.0,
            billable_seconds=3600.0,
        )
        over = evolve(run.with_attempt(attempt), steps=2, outcome=outcome, outcome_because="why", **changes)
        world.record(to_json(over))
        return world.bus.entries[-1]

    return ended


def test_a_failed_run_is_a_mail_and_a_chat_message(people, end, metrics):
    assert people.hear(end(Outcome.FAILED, FailureClass.USER_CODE)) == ["mail", "chat"]
    (mail,) = people.received("mail")
    assert mail["Subject"] == "recommender: NO MODEL, the run failed (user code), $2.00"
    assert "Why: why\n" in mail["Message"]
    assert mail["MessageAttributes"]["job"]["Value"] == "recommender"
    (chat,) = people.received("chat")
    assert json.loads(chat["Message"])["source"] == "custom"
    assert metrics()["MessageSent"] == [2]


def test_the_same_event_again_is_told_nobody_twice(people, end):
    entry = end(Outcome.FAILED, FailureClass.USER_CODE)
    people.hear(entry)
    assert people.hear(entry) == []
    assert len(people.received("mail")) == len(people.received("chat")) == 1


def test_a_quiet_success_is_told_only_where_the_deployment_says_so(people, end):
    entry = end(Outcome.SUCCEEDED)
    assert people.hear(entry) == []
    people.tell_success = True
    assert people.hear(entry) == ["mail", "chat"]


def test_a_run_that_had_been_said_to_be_late_is_told_though_it_was_in_time(people, end):
    assert people.hear(end(Outcome.SUCCEEDED, said_late=True)) == ["mail", "chat"]
    assert "It was expected to be late." in people.received("mail")[0]["Message"]


def test_times_are_in_the_job_s_zone(people, end):
    people.zone = "Asia/Tokyo"
    people.hear(end(Outcome.SUCCEEDED, said_late=True))
    assert "Ready: Sat 21 Nov 2026, 14:00 Asia/Tokyo (05:00 UTC)" in people.received("mail")[0]["Message"]


def test_an_event_that_is_not_nightspot_s_is_left_alone(people, end):
    changed = {"detail-type": "Somebody Else's"}
    assert people.hear(end(Outcome.FAILED), **changed) == []
    assert people.received("mail") == []


def test_a_start_of_a_run_is_told_nobody(people, world):
    world.plan()
    (entry,) = world.bus.entries
    assert entry["DetailType"] == RunEvent.RUN_STARTED.detail_type
    assert people.hear(entry) == []


def test_where_one_channel_fails_the_other_is_told_and_the_repetition_tells_the_rest(people, end):
    entry = end(Outcome.FAILED, FailureClass.USER_CODE)
    mail_arn = people.topics["mail"]
    people.topics["mail"] = f"{mail_arn}-that-is-gone"
    assert people.hear(entry) == ["chat"]
    assert len(people.received("chat")) == 1
    people.topics["mail"] = mail_arn
    assert people.hear(entry) == ["mail"]
    assert len(people.received("mail")) == 1


def test_the_deployed_one_takes_topics_and_zone_from_environment_and_job_files(
    monkeypatch, tmp_path, jobs_file
):
    for name, value in {
        "AWS_REGION": REGION,
        "NIGHTSPOT_TABLE_NAME": TABLE,
        "NIGHTSPOT_BUS_NAME": "default",
        "NIGHTSPOT_JOBS_FILE": str(jobs_file),
        "NIGHTSPOT_NOTICE_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:mail",
        "NIGHTSPOT_TELL_SUCCESS": "true",
    }.items():
        monkeypatch.setenv(name, value)
    notify.messenger.cache_clear()
    notify.dependencies.cache_clear()
    try:
        use = notify.messenger()
        assert use.tell_success is True
        assert use.zone("recommender") == "Europe/Dublin"
        assert use.zone("gone") == "UTC"
        assert use.now().tzinfo is not None
    finally:
        notify.messenger.cache_clear()
        notify.dependencies.cache_clear()


@pytest.fixture
def jobs_file(tmp_path, world):
    from nightspot.job.model import Job, dump_jobs

    given = world.jobs["recommender"].model_dump(mode="json", by_alias=True, exclude_none=True)
    job = Job.model_validate({**given, "deadline": {"at": "08:00", "timezone": "Europe/Dublin"}})
    path = tmp_path / "jobs.json"
    path.write_text(dump_jobs({"recommender": job}), encoding="utf-8")
    return path
