"""Both truths of what nobody knows, as the local run's SageMaker plays them, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from botocore.exceptions import ClientError

from nightspot.cassettes.life import life_of
from nightspot.cassettes.model import Form, Source, seconds_of
from nightspot.formats.statuses import Secondary
from nightspot.local.sagemaker.behaviour import (
    FIGURES,
    Behaviour,
    Duration,
    EventsOf,
    Hang,
    RuntimeLimit,
    UploadAgent,
    UploadOrder,
    Waits,
)
from nightspot.local.sagemaker.conformance import LifeToLive, LocalFile
from nightspot.local.sagemaker.markets import EventOptions, Markets, SimulatedMarket, SimulationOptions
from tests.cassettes.virtual import lived
from tests.simulation.clock import HOUR

REQUEST = {
    "TrainingJobName": "job",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86_400, "MaxWaitTimeInSeconds": 172_800},
    "EnableManagedSpotTraining": True,
}
NEVER = Markets(default_spot=SimulatedMarket.never())
TAKEN = Markets(
    default_spot=SimulatedMarket.scripted([{"available": "20m"}, {"reclaim": "10m"}, {"available": "rest"}])
)
STARTED = 150 + 45  # seconds until a job trains that has a machine at once


@pytest.fixture
def live(tmp_path):
    """live(trains=…, stop_at=…, markets=…, files=…, limits=…, options, **behaviour) -> the recorded life."""

    def play(
        *,
        trains=(600.0,),
        stop_at=None,
        markets=None,
        files=(),
        limits=None,
        request=None,
        lasts=2 * HOUR,
        events=None,
        sync_seconds=60.0,
        **behaviour,
    ):
        options = SimulationOptions(
            behaviour=Behaviour(**behaviour),
            events=events or EventOptions(),
            sync_interval_seconds=sync_seconds,
        )
        asked = {**REQUEST, **(request or {})}
        asked["StoppingCondition"] = {**asked["StoppingCondition"], **(limits or {})}
        life = LifeToLive(asked, markets or Markets(), options, trains, None, stop_at, files, lasts)
        return lived("local run", life, tmp_path)

    return play


def course(cassette):
    return [span.secondary for span in life_of(cassette).spans]


def lasted(cassette, secondary):
    return [round(span.seconds) for span in life_of(cassette).spans if span.secondary == secondary]


def stored(cassette):
    """What became of files, in order: "put a", "delete a", …"""
    return [f"{file.kind} {file.key}" for file in life_of(cassette).files]


# --- stops ----------------------------------------------------------------------------------------------------


def test_a_stop_takes_as_long_as_what_the_job_is_doing_says(live):
    stops = {
        "stop_waiting": Duration((100.0,)),
        "stop_starting": Duration((200.0,)),
        "stop_training": Duration((300.0,)),
    }
    waiting = live(stop_at=500, markets=NEVER, **stops)
    assert (course(waiting), lasted(waiting, "Stopping")) == (
        ["Starting", "Pending", "Stopping", "Stopped"],
        [100],
    )
    assert lasted(live(stop_at=100, **stops), "Stopping") == [200]
    assert lasted(live(stop_at=160, **stops), "Stopping") == [200]  # downloading
    training = live(stop_at=400, **stops)
    assert course(training)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert lasted(training, "Stopping") == [300]


@pytest.mark.parametrize("secondary", [Secondary.STOPPING, Secondary.UPLOADING])
def test_a_stop_can_hang_for_hours_where_the_options_say(live, secondary):
    hangs = (Hang(secondary, 5 * HOUR),)
    cassette = live(stop_at=400, hangs=hangs, lasts=8 * HOUR)
    assert lasted(cassette, secondary)[-1] >= 5 * HOUR
    assert cassette.description["TrainingJobStatus"] == "Stopped"


def test_a_hang_of_another_job_is_not_its_own(live):
    hangs = (Hang(Secondary.UPLOADING, 5 * HOUR, job=2),)
    assert lasted(live(stop_at=400, hangs=hangs), "Uploading") == [30]


def test_a_job_that_completes_does_not_hang_in_a_stop(live):
    assert lasted(live(hangs=(Hang(Secondary.UPLOADING, 5 * HOUR),)), "Uploading") == [30]


def test_a_stop_while_the_model_is_uploaded_keeps_the_model_and_is_a_stop(live):
    cassette = live(trains=(100.0,), stop_at=STARTED + 110)
    assert course(cassette)[-3:] == ["Uploading", "Stopping", "Stopped"]
    assert "ModelArtifacts" in cassette.description


@pytest.mark.parametrize("has_model", [True, False])
def test_a_stopped_job_may_have_its_model_stored_or_not(live, has_model):
    cassette = live(stop_at=400, stopped_has_model=has_model)
    assert ("ModelArtifacts" in cassette.description) is has_model


def test_the_wait_limit_ends_an_interrupted_job_too(live):
    markets = Markets(default_spot=SimulatedMarket.scripted([{"available": "10m"}, {"reclaim": "rest"}]))
    cassette = live(
        trains=(None,),
        markets=markets,
        limits={"MaxRuntimeInSeconds": 900, "MaxWaitTimeInSeconds": 900},
        interrupted=Duration((600.0,)),
    )
    assert course(cassette)[-4:] == ["Training", "Interrupted", "Stopping", "MaxWaitTimeExceeded"]
    assert "FailureReason" not in cassette.description


# --- waiting --------------------------------------------------------------------------------------------------


def test_a_wait_may_be_starting_all_along(live):
    markets = Markets(default_spot=SimulatedMarket.scripted([{"missing": "30m"}, {"available": "rest"}]))
    assert course(live(markets=markets, waits=Waits.STARTING))[:2] == ["Starting", "Downloading"]
    shown = live(markets=markets, seconds_to_pending=60.0)
    assert course(shown)[:4] == ["Starting", "Pending", "Starting", "Downloading"]
    assert lasted(shown, "Starting")[0] == 60
    assert course(live(markets=markets, seconds_to_pending=3600.0))[:2] == ["Starting", "Downloading"]


def test_after_each_interruption_starting_comes_or_not(live):
    twice = [
        *({"available": "20m"}, {"reclaim": 0}) * 2,
        {"available": "rest"},
    ]
    markets = Markets(default_spot=SimulatedMarket.scripted(twice))
    cassette = live(trains=(None, None, 600.0), markets=markets, starts_again=(True, False))
    middle = ["Interrupted", "Starting", "Downloading", "Training", "Interrupted", "Downloading", "Training"]
    assert course(cassette)[3:10] == middle


# --- limits and figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "trained"), [(RuntimeLimit.TOTAL, 1800), (RuntimeLimit.PER_LIFE, 1800 + 1050)]
)
def test_the_runtime_limit_counts_all_machines_or_each_anew(live, counts, trained):
    # The first machine works from 150 s to 1,200 s.
    cassette = live(
        trains=(None, None),
        markets=TAKEN,
        limits={"MaxRuntimeInSeconds": 1800},
        runtime_limit=counts,
        uploading=Duration((0.0,)),
    )
    assert cassette.description["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert cassette.description["TrainingTimeInSeconds"] == pytest.approx(trained, abs=10)


@pytest.mark.parametrize("shown", [frozenset(), FIGURES, frozenset({"TrainingTimeInSeconds"})])
def test_the_figures_of_a_running_job_are_there_or_not(live, shown):
    life = life_of(live(figures_while_running=shown))
    assert life.ever["InProgress/Training"] & FIGURES == shown
    assert life.always["Completed/Completed"] >= FIGURES
    assert not life.ever["InProgress/Starting"] & FIGURES


def test_an_algorithm_that_cannot_checkpoint_may_wait_for_an_hour_whatever_it_says(live):
    with pytest.raises(ClientError, match="must not be greater than 3600"):
        live(cannot_checkpoint=frozenset({"image"}))
    limits = {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600}
    assert course(live(cannot_checkpoint=frozenset({"image"}), limits=limits))[-1] == "Completed"
    assert course(live(cannot_checkpoint=frozenset({"another"})))[-1] == "Completed"


# --- events ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Form)
def test_an_event_writes_its_times_in_each_form(live, form):
    events = list(live(events=EventOptions(form=form)).of(Source.EVENT))
    assert {event.payload["detail"]["LastModifiedTime"]["form"] for event in events} == {form}
    first = seconds_of(events[1].payload["detail"]["LastModifiedTime"])
    assert first == pytest.approx(150, abs=0.01)


def test_events_may_tell_of_the_status_alone(live):
    told = live(stop_at=400, events=EventOptions(of=EventsOf.STATUSES))
    assert list(life_of(told).events) == [
        "InProgress/Starting",
        "Stopping/Stopping",
        "Stopped/Stopped",
    ]


# --- the upload of checkpoints --------------------------------------------------------------------------------

A, B = LocalFile(STARTED + 10, "checkpoint-a", 600), LocalFile(STARTED + 20, "checkpoint-b", 60)
A_DELETED = LocalFile(STARTED + 130, "checkpoint-a", None)
C = LocalFile(STARTED + 130, "checkpoint-c", 60)


def test_files_travel_as_fast_as_the_bandwidth_allows_one_after_the_other(live):
    slow = live(files=(A, B), uploads=UploadAgent(bytes_per_second=10.0, seconds_per_file=Duration((5.0,))))
    (first, second) = life_of(slow).files
    assert (first.key, second.key) == ("checkpoint-a", "checkpoint-b")
    # They are seen after a minute; 600 bytes take 60 s, 60 bytes take 6 s, and each file 5 s besides.
    assert first.at == pytest.approx(STARTED + 60 + 65, abs=3)
    assert second.at - first.at == pytest.approx(11, abs=3)


def test_what_the_bandwidth_did_not_suffice_for_is_carried_before_the_model(live):
    slow = live(
        trains=(100.0,), files=(A,), uploads=UploadAgent(bytes_per_second=1.0), uploading=Duration((30.0,))
    )
    assert stored(slow) == ["put checkpoint-a"]
    # Begun at 60 s of training, it takes 600 s, of which the training had 40.
    assert lasted(slow, "Uploading")[0] == pytest.approx(560 + 30, abs=5)


def test_what_was_not_uploaded_is_lost_with_a_machine_that_is_taken(live):
    lost = live(
        trains=(None, 600.0),
        markets=TAKEN,
        files=(replace(A, at=1100.0),),
        uploads=UploadAgent(seconds_per_file=Duration((600.0,))),
    )
    assert stored(lost) == []


@pytest.mark.parametrize(
    ("first", "order"),
    [
        (True, ["delete checkpoint-a", "put checkpoint-c"]),
        (False, ["put checkpoint-c", "delete checkpoint-a"]),
    ],
    ids=["deletes first", "uploads first"],
)
def test_deletions_come_before_uploads_or_after(live, first, order):
    agent = UploadAgent(deletes_first=first, seconds_per_file=Duration((5.0,)))
    assert stored(live(files=(A, A_DELETED, C), uploads=agent))[-2:] == order


def test_temporary_files_travel_too_or_stay(live):
    written = LocalFile(STARTED + 10, "checkpoint-a.tmp", 300)
    renamed = (
        LocalFile(STARTED + 130, "checkpoint-a.tmp", None),
        LocalFile(STARTED + 130, "checkpoint-a", 600),
    )
    files = (written, *renamed)
    assert stored(live(files=files)) == [
        "put checkpoint-a.tmp",
        "put checkpoint-a",
        "delete checkpoint-a.tmp",
    ]
    assert stored(live(files=files, uploads=UploadAgent(skips_temporary=True))) == ["put checkpoint-a"]


def test_a_file_is_read_when_its_upload_begins_however_little_of_it_is_there(live):
    half = LocalFile(STARTED + 10, "checkpoint-a", 300)
    whole = LocalFile(STARTED + 65, "checkpoint-a", 600)
    cassette = live(files=(half, whole), uploads=UploadAgent(seconds_per_file=Duration((20.0,))))
    sizes = [entry.payload["size"] for entry in cassette.of(Source.S3)]
    assert sizes == [300, 600]


def test_an_agent_that_dies_carries_nothing_more_not_even_at_the_end(live):
    late = replace(B, at=STARTED + 300)
    assert stored(live(files=(A, late), uploads=UploadAgent(dies_after_seconds=200.0))) == [
        "put checkpoint-a"
    ]


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("stale", [True, False])
def test_another_host_may_upload_old_files_over_newer_ones_at_the_end(live, hosts, stale):
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 10}
    progress = LocalFile(STARTED + 10, "nightspot.json", 10)
    newer = LocalFile(2100.0, "nightspot.json", 20)
    cassette = live(
        trains=(None, 600.0),
        markets=TAKEN,
        files=(progress, newer),
        request={"ResourceConfig": resources},
        uploads=UploadAgent(stale_hosts=stale),
    )
    sizes = [entry.payload["size"] for entry in cassette.of(Source.S3)]
    assert sizes == ([10, 20, 10] if stale and hosts > 1 else [10, 20])


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (UploadOrder.NAME, ["a", "b", "c"]),
        (UploadOrder.NEWEST, ["a", "c", "b"]),
        (UploadOrder.RANDOM, ["c", "a", "b"]),
    ],
)
def test_the_agent_takes_files_in_its_order(order, names):
    changed = {"b": 1, "c": 1, "a": 1}  # the oldest change first
    found = UploadAgent(order=order).transfers(changed, (), Random(2))
    assert [transfer.name for transfer in found] == names


# --- values that make no sense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Duration(()), r"seconds: \(\) must be at least one number"),
        (lambda: Duration((-1.0,)), r"seconds: \(-1.0,\) must be at least one number of 0 or more"),
        (lambda: Duration((3.0, 2.0)), "must be in order, the shortest first"),
        (lambda: Hang(Secondary.TRAINING, 1), "secondary: Training must be Stopping or Uploading"),
        (lambda: Hang(Secondary.STOPPING, -1), "seconds: -1 must be 0 or more"),
        (lambda: UploadAgent(bytes_per_second=0), "bytes_per_second: 0 must be greater than 0"),
        (lambda: Behaviour(starts_again=()), "starts_again: .* must have at least one entry"),
        (lambda: Behaviour(seconds_to_pending=-1), "seconds_to_pending: -1 must be 0 or more"),
        (
            lambda: Behaviour(figures_while_running=frozenset({"Colour"})),
            "figures_while_running: 'Colour' must be one of",
        ),
    ],
    ids=[
        "no duration",
        "negative",
        "out of order",
        "hang elsewhere",
        "negative hang",
        "no bandwidth",
        "no start",
        "negative wait",
        "unknown figure",
    ],
)
def test_what_cannot_be_is_refused_by_its_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_durations_are_drawn_between_their_quantiles_or_taken_in_turn():
    random, spread = Random(0), Duration((1.0, 2.0, 10.0))
    drawn = sorted(spread.draw(random) for _ in range(1001))
    assert (drawn[0] >= 1, drawn[-1] <= 10) == (True, True)
    assert drawn[500] == pytest.approx(2, abs=0.4)
    assert [Duration((5.0, 3.0), in_turn=True).draw(random, number) for number in (1, 2, 3)] == [5, 3, 3]
