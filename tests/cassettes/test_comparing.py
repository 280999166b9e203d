"""What the comparison of two lives finds, and in which words; what it lets pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nightspot.cassettes.comparing import Tolerance, differences
from nightspot.cassettes.model import Cassette, Entry, Source, moment
from nightspot.local.sagemaker.behaviour import FIGURES, Duration, EventsOf, UploadAgent
from nightspot.local.sagemaker.conformance import LocalFile, NotPlayableError, life_to_live
from nightspot.local.sagemaker.markets import EventOptions
from tests.cassettes.by_hand import LIVES
from tests.cassettes.virtual import lived

# A job that is stopped after half an hour, and then uploads for ten minutes.
STOPPED = replace(
    LIVES["stop-uploads-for-a-day"],
    states=(
        ("InProgress", "Starting", 150),
        ("InProgress", "Downloading", 45),
        ("InProgress", "Training", 1800),
        ("Stopping", "Stopping", 180),
        ("Stopping", "Uploading", 600),
        ("Stopped", "Stopped", 0),
    ),
    stop_at=1995,
).cassette()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """live(behaviour=…, events=…, files=…) -> the stopped life on the local run's simulator, recorded."""

    def again(*, events=None, files=(), sync_seconds=None, **behaviour):
        life = life_to_live(STOPPED)
        options = replace(life.options, behaviour=replace(life.options.behaviour, **behaviour))
        if events is not None:
            options = replace(options, events=events)
        if sync_seconds is not None:
            options = replace(options, sync_interval_seconds=sync_seconds)
        return lived(
            "local run", replace(life, options=options, files=files), tmp_path_factory.mktemp("disk")
        )

    return again


@pytest.fixture(scope="module")
def recorded(live):
    """A whole recording: with events, and with files that were written a minute apart."""
    files = (
        LocalFile(600, "checkpoint-1", 10),
        LocalFile(900, "nightspot.json", 5),
        LocalFile(1800, "checkpoint-2", 10),
        LocalFile(1801, "checkpoint-1", None),
    )
    return live(files=files), files


def with_entries(cassette: Cassette, entries) -> Cassette:
    return cassette.model_copy(update={"entries": tuple(sorted(entries, key=lambda entry: entry.t))})


def test_the_same_life_twice_has_no_differences(recorded, live):
    cassette, files = recorded
    assert differences(cassette, live(files=files)) == []
    assert {entry.source for entry in cassette.entries} == {
        Source.CALL,
        Source.DESCRIBE,
        Source.EVENT,
        Source.S3,
    }


def test_another_state_is_told_with_both_courses(recorded, live):
    (line,) = differences(recorded[0], live(files=recorded[1], stop_shows_uploading=False))[:1]
    assert line == (
        "state 5 is Stopped/Stopped, and was Stopping/Uploading; recorded InProgress/Starting ->"
        " InProgress/Downloading -> InProgress/Training -> Stopping/Stopping -> Stopping/Uploading ->"
        " Stopped/Stopped, simulated InProgress/Starting -> InProgress/Downloading -> InProgress/Training ->"
        " Stopping/Stopping -> Stopped/Stopped"
    )


def test_a_state_that_lasts_longer_is_told(recorded, live):
    slow = live(files=recorded[1], stop_training=Duration((900.0,)))
    assert differences(recorded[0], slow) == ["state 4 (Stopping) lasts 900 s, and lasted 180 s"]
    assert differences(recorded[0], slow, Tolerance(seconds=1000)) == []


def test_a_field_that_is_there_too_early_or_missing_is_told(recorded, live):
    running = live(files=recorded[1], figures_while_running=FIGURES)
    early = "in InProgress/Training DescribeTrainingJob has TrainingTimeInSeconds, and lacked it"
    late = "in InProgress/Training DescribeTrainingJob lacks TrainingTimeInSeconds, and had it"
    assert early in differences(recorded[0], running)
    assert late in differences(running, recorded[0])
    assert life_to_live(running).options.behaviour.figures_while_running == FIGURES


def test_a_field_that_was_there_now_and_then_may_be_there_or_not(recorded, live):
    running = live(files=recorded[1], figures_while_running=FIGURES)
    mixed = with_entries(recorded[0], [*recorded[0].entries, *running.of(Source.DESCRIBE)])
    told = [line for line in differences(mixed, recorded[0]) if "TrainingTimeInSeconds" in line]
    assert told == []


def test_events_may_come_as_often_as_any_came_and_must_come(recorded, live):
    cassette, files = recorded
    doubled = live(files=files, events=EventOptions(doubled_share=1.0))
    assert "2 events of Stopped/Stopped, and there were 1 (at most 1 of any state)" in differences(
        cassette, doubled
    )
    assert differences(doubled, cassette) == []
    few = live(files=files, events=EventOptions(of=EventsOf.STATUSES))
    assert "0 events of InProgress/Training, and there were 1 (at most 1 of any state)" in differences(
        cassette, few
    )
    assert life_to_live(few).options.events.of is EventsOf.STATUSES
    assert life_to_live(cassette).options.events.of is EventsOf.TRANSITIONS


def test_files_in_another_order_are_told_and_those_at_once_have_none(recorded, live):
    cassette, files = recorded
    first_deleted = live(files=files, uploads=UploadAgent(deletes_first=True))
    assert differences(cassette, first_deleted) == []  # both at one moment: S3 knows whole seconds
    slow = UploadAgent(seconds_per_file=Duration((30.0,)))
    slow_first = replace(slow, deletes_first=True)
    assert "delete of checkpoint-1 comes before put of checkpoint-2, and came after it" in differences(
        live(files=files, uploads=slow), live(files=files, uploads=slow_first)
    )


def test_a_file_that_never_arrives_is_told(recorded, live):
    dead = live(files=recorded[1], uploads=UploadAgent(dies_after_seconds=1200))
    assert differences(recorded[0], dead) == [
        "delete of checkpoint-1 never happens, and did",
        "put of checkpoint-2 never happens, and did",
    ]


def test_what_a_recording_knows_nothing_of_is_not_compared(live):
    assert differences(STOPPED, live(figures_while_running=FIGURES)) == []


def test_a_life_that_is_not_over_cannot_be_lived_again():
    (*others, _last) = STOPPED.of(Source.DESCRIBE)
    going_on = STOPPED.model_copy(update={"entries": tuple(others)})
    with pytest.raises(NotPlayableError, match="the job is not over in it"):
        life_to_live(going_on)


def test_the_script_does_again_what_its_notes_tell():
    notes = [
        Entry(t=600, source=Source.LOG, payload={"note": "wrote", "key": "checkpoint-1", "bytes": 7}),
        Entry(t=700, source=Source.LOG, payload={"note": "removed", "key": "checkpoint-1"}),
        Entry(t=800, source=Source.LOG, payload={"line": "epoch 3"}),
    ]
    noted = with_entries(STOPPED, [*STOPPED.entries, *notes])
    assert life_to_live(noted).files == (
        LocalFile(600, "checkpoint-1", 7),
        LocalFile(700, "checkpoint-1", None),
    )


def test_repeats_of_a_status_are_one_state():
    """The SDK prints Starting twice, with another message: sagemaker-python-sdk pull request 427."""
    *before, last = STOPPED.entries
    transitions = last.payload["SecondaryStatusTransitions"]
    twice = [
        {"Status": "Starting", "StartTime": moment(0), "EndTime": moment(60)},
        {**transitions[0], "StartTime": moment(60)},
        *transitions[1:],
    ]
    split = last.model_copy(update={"payload": {**last.payload, "SecondaryStatusTransitions": twice}})
    assert differences(STOPPED, with_entries(STOPPED, [*before, split])) == []
