"""Runs on recordings: what the real handlers and the real workflow decide of lives that others have had."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from nightspot.cassettes.model import Cassette, Entry, Form, Origin, Source, load_cassette, moment
from nightspot.failures.codes import FailureClass
from nightspot.local.sagemaker.client import InProcessClient
from nightspot.local.sagemaker.replay import CassetteSageMaker
from nightspot.local.sagemaker.request_rules import ServiceFaultError
from nightspot.local.sagemaker.sagemaker import installed
from nightspot.run.model import Action, Outcome
from nightspot.run.reasons import Reason
from tests.cassettes.by_hand import LIVES, Written
from tests.cassettes.replaying import replayed
from tests.simulation.clock import HOUR

START = datetime(2026, 12, 5, tzinfo=UTC)
# What decides each life, the job being the reference one: four hours of work, due after eight, Spot and on-demand.
# After the recorded life, a further job plays "started-in-two-minutes".
DECISIONS = {
    "on-demand-waits-for-capacity": ["00:00 start spot wait_for_spot", "01:35 finish succeeded completed"],
    "runtime-limit-overrun": ["00:00 start spot wait_for_spot", "00:16 finish failed no_progress"],
    "script-fails": ["00:00 start spot wait_for_spot", "00:05 finish failed user_fault"],
    "spot-interrupted-once": ["00:00 start spot wait_for_spot", "02:07 finish succeeded completed"],
    "spot-interrupted-twice-wait-exceeded": [
        "00:00 start spot wait_for_spot",
        "03:16 start spot wait_for_spot",
        "03:30 finish succeeded completed",
    ],
    "spot-never-launched": [
        "00:00 start spot wait_for_spot",
        "02:01 start spot wait_for_spot",
        "02:15 finish succeeded completed",
    ],
    "spot-quiet": ["00:00 start spot wait_for_spot", "01:04 finish succeeded completed"],
    "started-in-two-minutes": ["00:00 start spot wait_for_spot", "00:14 finish succeeded completed"],
}
FAILURES = {
    "runtime-limit-overrun": FailureClass.RUNTIME_LIMIT,
    "script-fails": FailureClass.USER_CODE,
    "spot-interrupted-twice-wait-exceeded": FailureClass.WAIT_LIMIT,
    "spot-never-launched": FailureClass.WAIT_LIMIT,
}
REFUSED = Cassette(
    what="The account's quota of Spot machines is 0.",
    origin=Origin.BY_HAND,
    evidence="https://github.com/gabehollombe-aws/jupyter-notebooks/issues/1 (the same words for a quota of 0)",
    assumed=("that a Spot quota is named with 'for spot training job usage'",),
    entries=(
        Entry(
            t=0,
            source=Source.CALL,
            payload={
                "operation": "CreateTrainingJob",
                "error": {
                    "code": "ResourceLimitExceeded",
                    "message": "The account-level service limit 'ml.p4d.24xlarge for spot training job usage' is 0"
                    " Instances, with current utilization of 0 Instances and a request delta of 1 Instances. Please"
                    " contact AWS support to request an increase for this limit.",
                    "status": 400,
                },
            },
        ),
    ),
)


def cassette_named(name):
    return load_cassette(Path(__file__).parent / "lives" / f"{name}.json")


@pytest.mark.parametrize("name", sorted(DECISIONS))
def test_the_decisions_of_a_recorded_life_are_these(name):
    replay = replayed([cassette_named(name), cassette_named("started-in-two-minutes")])
    assert replay.decisions == DECISIONS[name]
    assert replay.run.attempts[0].failure is FAILURES.get(name)
    assert (replay.dead_letters, replay.errors) == (0, ())


def test_an_interruption_that_is_followed_by_downloading_is_waiting_all_the_same():
    first, _ = replayed(
        [cassette_named("spot-interrupted-twice-wait-exceeded"), cassette_named("started-in-two-minutes")]
    ).run.attempts
    assert first.interruptions == 2
    # Starting twice, Interrupted for 20 and for 400 s, and a minute or two in Stopping.
    assert first.waited_seconds == pytest.approx(150 + 20 + 150 + 400, abs=5)
    assert first.failure_reason is None or "MaxWaitTime" in first.failure_reason


def test_a_person_who_stops_a_run_waits_for_the_upload():
    written = LIVES["stop-uploads-for-a-day"]
    six_hours = tuple(
        (*state[:2], 6 * HOUR if state[1] == "Uploading" else state[2]) for state in written.states
    )
    replay = replayed([replace(written, states=six_hours).cassette()], stop_at=3 * HOUR)
    assert replay.run.outcome is Outcome.STOPPED
    assert replay.decisions == ["00:00 start spot wait_for_spot", "09:03 finish stopped stop_requested"]
    assert len(replay.steps) < 100
    assert (replay.dead_letters, replay.errors) == (0, ())


def test_a_stop_of_nightspots_own_that_hangs_makes_the_run_late_and_is_waited_for():
    """Leaving the hung attempt behind is another change's."""
    hangs = Written(
        "Spot takes the machine for good, and the stop that follows hangs for seven hours.",
        "nowhere: all of it is assumed, but that stops can hang for a day",
        (
            ("InProgress", "Starting", 150),
            ("InProgress", "Downloading", 45),
            ("InProgress", "Training", HOUR),
            ("InProgress", "Interrupted", 6 * HOUR),
            ("Stopping", "Stopping", 7 * HOUR),
            ("Stopped", "Stopped", 0),
        ),
        stop_at=195 + 7 * HOUR,
    ).cassette()
    replay = replayed([hangs, cassette_named("started-in-two-minutes")])
    stopped = next(step for step in replay.steps if step.action is Action.STOP)
    assert stopped.reason is Reason.LAST_SAFE_MOMENT
    waited = [step for step in replay.steps if step.reason is Reason.STOPPING]
    assert not waited[0].late
    assert waited[-1].late
    assert replay.run.said_late
    assert replay.run.outcome is Outcome.SUCCEEDED
    assert len(replay.run.attempts) == 2


def test_a_refused_start_is_played_as_a_refusal():
    replay = replayed([REFUSED, cassette_named("started-in-two-minutes")])
    assert replay.run.attempts[0].failure is FailureClass.QUOTA_PERMANENT
    assert replay.run.outcome is Outcome.SUCCEEDED


# --- the replay itself ----------------------------------------------------------------------------------------


class Story:
    """A clock that is set by hand, and what was planned."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.planned: list[tuple[float, object]] = []
        self.events: list[dict] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def later(self, seconds: float, do: object) -> None:
        self.planned.append((self.seconds + seconds, do))

    def go_to(self, seconds: float) -> None:
        while due := sorted((each for each in self.planned if each[0] <= seconds), key=lambda each: each[0]):
            self.planned.remove(due[0])
            self.seconds = due[0][0]
            due[0][1]()
        self.seconds = seconds


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def play(story):
    """play(cassette, …) -> a client whose first job, "mine", has just been created."""

    def created(*cassettes):
        replay = CassetteSageMaker(cassettes, now=story.now, later=story.later, on_event=story.events.append)
        client = InProcessClient(replay)
        client.create_training_job(**REQUEST)
        return client

    return created


REQUEST = {
    "TrainingJobName": "mine",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
    "ResourceConfig": {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
    "EnableManagedSpotTraining": True,
    "HyperParameters": {"epochs": "3"},
    "Tags": [{"Key": "nightspot:run", "Value": "r1"}],
}


def told(story):
    return [event["detail"]["SecondaryStatus"] for event in story.events]


def test_answers_are_the_recorded_ones_with_the_jobs_own_names_and_times(play, story):
    client = play(cassette_named("spot-quiet"))
    story.go_to(200)
    said = client.describe_training_job(TrainingJobName="mine")
    assert (said["TrainingJobName"], said["SecondaryStatus"]) == ("mine", "Training")
    assert said["TrainingJobArn"].endswith(":training-job/mine")
    assert said["CreationTime"] == START
    assert said["SecondaryStatusTransitions"][1]["StartTime"] == START + timedelta(seconds=150)
    assert said["HyperParameters"] == {"epochs": "3"}
    assert said["ResourceConfig"]["InstanceType"] == "ml.p4d.24xlarge"
    assert told(story) == ["Starting", "Downloading", "Training"]
    assert story.events[0]["detail"]["Tags"] == {"nightspot:run": "r1"}


def test_an_earlier_stop_leaves_out_what_lies_between(play, story):
    client = play(cassette_named("stop-uploads-for-a-day"))
    story.go_to(160)  # downloading; the recorded stop came six hours later
    client.stop_training_job(TrainingJobName="mine")
    said = client.describe_training_job(TrainingJobName="mine")
    assert said["TrainingJobStatus"] == "Stopping"
    assert [each["Status"] for each in said["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Stopping",
    ]
    assert said["SecondaryStatusTransitions"][-1]["StartTime"] == START + timedelta(seconds=160)
    story.go_to(160 + 181)
    assert client.describe_training_job(TrainingJobName="mine")["SecondaryStatus"] == "Uploading"
    story.go_to(160 + 180 + 26 * HOUR + 1)
    assert client.describe_training_job(TrainingJobName="mine")["TrainingJobStatus"] == "Stopped"
    assert told(story) == ["Starting", "Downloading", "Stopping", "Uploading", "Stopped"]


def test_a_recorded_stop_is_waited_for(play, story):
    client = play(cassette_named("stop-uploads-for-a-day"))
    story.go_to(7 * HOUR)
    assert client.describe_training_job(TrainingJobName="mine")["SecondaryStatus"] == "Training"
    client.stop_training_job(TrainingJobName="mine")
    client.stop_training_job(TrainingJobName="mine")
    story.go_to(7 * HOUR + 200)
    said = client.describe_training_job(TrainingJobName="mine")
    assert said["SecondaryStatus"] == "Uploading"
    assert said["SecondaryStatusTransitions"][-2]["StartTime"] == START + timedelta(hours=7)


def test_a_stop_that_the_recording_has_not_is_made_up(play, story):
    client = play(cassette_named("spot-quiet"))
    story.go_to(500)
    client.stop_training_job(TrainingJobName="mine")
    assert client.describe_training_job(TrainingJobName="mine")["TrainingJobStatus"] == "Stopping"
    story.go_to(561)
    said = client.describe_training_job(TrainingJobName="mine")
    assert (said["TrainingJobStatus"], said["SecondaryStatus"]) == ("Stopped", "Stopped")
    with pytest.raises(Exception, match="training job is in status Stopped"):
        client.stop_training_job(TrainingJobName="mine")


def test_recorded_events_come_when_and_as_they_came(play, story):
    quiet = cassette_named("spot-quiet")
    detail = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Downloading"}
    events = [
        Entry(
            t=170,
            source=Source.EVENT,
            payload={"id": "event-1", "detail": {**detail, "LastModifiedTime": moment(150, Form.MS_TEXT)}},
        )
    ] * 2
    play(quiet.model_copy(update={"entries": tuple(sorted([*quiet.entries, *events], key=lambda e: e.t))}))
    story.go_to(169)
    assert story.events == []
    story.go_to(4000)
    assert told(story) == ["Downloading", "Downloading"]
    assert [event["id"] for event in story.events] == ["event-1"] * 2
    assert story.events[0]["detail"]["LastModifiedTime"] == str(round((START.timestamp() + 150) * 1000))


def test_unknown_names_and_used_ones_are_refused_and_further_jobs_play_the_last(play, story):
    client = play(cassette_named("spot-quiet"), cassette_named("script-fails"))
    with pytest.raises(Exception, match="ResourceInUse"):
        client.create_training_job(**REQUEST)
    with pytest.raises(Exception, match="Requested resource not found"):
        client.describe_training_job(TrainingJobName="nobody")
    for name in ("second", "third"):
        client.create_training_job(**{**REQUEST, "TrainingJobName": name})
    story.go_to(5000)
    listed = client.list_training_jobs(SortBy="CreationTime")["TrainingJobSummaries"]
    assert [each["TrainingJobStatus"] for each in listed] == ["Completed", "Failed", "Failed"]
    with pytest.raises(ValueError, match="cassettes: must be at least one"):
        CassetteSageMaker([], now=story.now, later=story.later, on_event=print)


def test_a_recording_answers_boto3_over_the_wire(story, monkeypatch):
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    replay = CassetteSageMaker(
        [cassette_named("script-fails"), REFUSED],
        now=story.now,
        later=story.later,
        on_event=story.events.append,
    )
    with mock_aws(), installed(replay):
        client = boto3.client("sagemaker", region_name="eu-west-1")
        request = {
            **REQUEST,
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        }
        client.create_training_job(**request)
        story.go_to(1000)
        said = client.describe_training_job(TrainingJobName="mine")
        assert said["FailureReason"] == "AlgorithmError: loss is nan"
        assert said["SecondaryStatusTransitions"][0]["StartTime"] == START
        with pytest.raises(client.exceptions.ResourceLimitExceeded):
            client.create_training_job(**{**request, "TrainingJobName": "second"})


def test_a_refusal_in_process_is_boto3s():
    class Refuses:
        def describe_training_job(self, _request):
            raise ServiceFaultError("ThrottlingException", "Rate exceeded")

    with pytest.raises(Exception, match="ThrottlingException") as caught:
        InProcessClient(Refuses()).describe_training_job(TrainingJobName="x")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
