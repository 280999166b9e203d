"""How many cassettes become quantiles: worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from nightspot.cassettes import folding
from nightspot.cassettes.folding import Quantiles, fold
from nightspot.cassettes.model import Entry, Origin, Source, moment
from nightspot.cli.facts import app
from nightspot.local.sagemaker.behaviour import Behaviour, Duration
from nightspot.local.sagemaker.conformance import behaviour_of
from tests.cassettes.by_hand import LIVES


def seen(name, *, origin=Origin.HARVEST, **changes):
    """A life written by hand as if it had been recorded."""
    return replace(LIVES[name], **changes).cassette().model_copy(update={"origin": origin, "assumed": ()})


def stopped(seconds):
    """A job that trains, is stopped, and takes so long to end, a minute of it in Stopping."""
    states = (
        ("InProgress", "Starting", 100),
        ("InProgress", "Downloading", 50),
        ("InProgress", "Training", 1000),
        ("Stopping", "Stopping", 60),
        ("Stopping", "Uploading", seconds - 60),
        ("Stopped", "Stopped", 0),
    )
    return seen("stop-uploads-for-a-day", states=states)


def test_how_long_a_stop_takes_goes_by_what_the_job_was_doing():
    found = fold([stopped(100), stopped(200), stopped(600)])
    assert found[folding.STOP_TRAINING] == Quantiles(3, 100, 200, 520, 560, 600)
    assert found[folding.STOP_UPLOADING] == Quantiles(3, 40, 140, 460, 500, 540)
    assert found[folding.STARTING].median == 100
    assert folding.STOP_WAITING not in found
    waiting = fold([seen("spot-never-launched")])
    assert waiting[folding.STOP_STARTING].median == 60


def test_events_and_the_librarys_notes_are_observations():
    life = stopped(100)
    detail = {"SecondaryStatus": "Training", "LastModifiedTime": moment(150)}
    entries = (
        *life.entries,
        Entry(t=152.5, source=Source.EVENT, payload={"detail": detail}),
        Entry(t=700, source=Source.EVENT, payload={"detail": {"LastModifiedTime": None}}),
        Entry(t=700, source=Source.LOG, payload={"note": "sync_lag", "seconds": 7}),
        Entry(t=800, source=Source.LOG, payload={"line": "epoch 3"}),
    )
    ordered = tuple(sorted(entries, key=lambda entry: entry.t))
    found = fold([life.model_copy(update={"entries": ordered})])
    assert found[folding.EVENT_DELAY] == Quantiles(1, 2.5, 2.5, 2.5, 2.5, 2.5)
    assert found[folding.SYNC_LAG].most == 7


@pytest.mark.parametrize("origin", [Origin.BY_HAND, Origin.SIMULATION])
def test_what_was_not_measured_on_aws_is_no_observation(origin):
    assert fold([seen("spot-quiet", origin=origin)]) == {}


def test_quantiles_are_the_simulators_durations():
    behaviour = behaviour_of(fold([stopped(100), stopped(200), stopped(600)]))
    assert behaviour.stop_training == Duration((60.0, 60.0, 60.0))
    assert behaviour.uploading is None
    assert behaviour.stop_waiting == Behaviour().stop_waiting
    assert behaviour.downloading == Duration((50.0, 50.0, 50.0))


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(app, ["harvest", *map(str, arguments)])


def test_the_command_reads_files_and_folders(run, tmp_path):
    for number, seconds in enumerate((100, 200, 600)):
        (tmp_path / f"{number}.json").write_text(stopped(seconds).dump())
    answer = run(tmp_path, "--json")
    assert answer.exit_code == 0
    document = json.loads(answer.output)
    assert document["cassettes"] == 3
    assert document["facts"][folding.STOP_TRAINING] == {
        "count": 3,
        "least": 100,
        "median": 200,
        "p90": 520,
        "p95": 560,
        "most": 600,
    }
    shown = run(tmp_path / "0.json")
    assert shown.exit_code == 0
    assert folding.STOP_TRAINING in shown.output


def test_a_file_that_is_no_cassette_is_named_and_the_others_count(run, tmp_path):
    (tmp_path / "good.json").write_text(stopped(100).dump())
    (tmp_path / "bad.json").write_text("{}")
    answer = run(tmp_path, "--json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["cassettes"] == 1
    assert "bad.json: what: Field required" in answer.stderr


@pytest.mark.parametrize("is_folder", [True, False])
def test_nothing_to_read_is_a_mistake(run, tmp_path, is_folder):
    answer = run(tmp_path if is_folder else tmp_path / "nothing.json")
    assert answer.exit_code != 0
