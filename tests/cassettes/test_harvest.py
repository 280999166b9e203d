"""What is harvested of a job can be played, and lived again: from the job's end back to a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nightspot.cassettes.comparing import differences
from nightspot.cassettes.harvest import SeenEvent, harvested
from nightspot.cassettes.life import life_of
from nightspot.cassettes.model import Origin, load_cassette, rendered
from nightspot.job.markets import Market
from nightspot.local.sagemaker.conformance import life_to_live
from nightspot.run.model import Attempt, Rung
from tests.cassettes.replaying import replayed
from tests.cassettes.test_conformance import FOLDER, NAMES
from tests.cassettes.virtual import lived, without_files

CREATED = datetime(2026, 12, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def run():
    """A run, of which only names and places matter here."""
    return replayed([load_cassette(FOLDER / "script-fails.json")]).run


@pytest.fixture
def harvest(run, tmp_path):
    """harvest(name) -> what a deployment would keep of the job that lives a recorded life."""

    def kept(name):
        life = without_files(life_to_live(load_cassette(FOLDER / f"{name}.json")))
        last = lived("simulation", life, tmp_path).description
        description = rendered(last, CREATED)
        attempt = Attempt(1, Rung(Market.SPOT, "ml.m5.large", "eu-west-1"), "nightspot-counter-x-1", CREATED)
        event = {"id": "1", "detail-type": "x", "detail": {**description, "LastModifiedTime": 0}}
        return harvested(description, run, attempt, events=[SeenEvent(event, CREATED)])

    return kept


@pytest.mark.parametrize("name", NAMES)
def test_a_harvested_life_is_lived_again(harvest, name, tmp_path):
    cassette = harvest(name)
    assert cassette.origin is Origin.HARVEST
    again = lived("local run", life_to_live(cassette), tmp_path / "again")
    assert differences(cassette, again) == []


def test_a_harvested_life_is_played_from_its_beginning(harvest):
    recorded, kept = load_cassette(FOLDER / "spot-interrupted-once.json"), harvest("spot-interrupted-once")
    assert len([entry for entry in kept.entries if entry.source == "describe"]) == 1
    one, other = (replayed([each]).decisions for each in (recorded, kept))
    assert one == other


def test_the_states_of_a_harvested_life_are_those_of_its_transitions(harvest):
    cassette = harvest("stop-uploads-for-a-day")
    assert [str(state) for state in life_of(cassette).word] == [
        "?/Starting",
        "?/Downloading",
        "?/Training",
        "?/Stopping",
        "?/Uploading",
        "Stopped/Stopped",
    ]


def test_a_description_without_a_creation_counts_from_the_asking(run):
    asked = Attempt(1, Rung(Market.SPOT, "ml.m5.large", "eu-west-1"), "nightspot-counter-x-1", CREATED)
    stopped = replace(asked, stop_requested_at=CREATED)
    description = {
        "TrainingJobStatus": "Stopped",
        "SecondaryStatus": "Stopped",
        "SecondaryStatusTransitions": [{"Status": "Stopped", "StartTime": CREATED}],
    }
    assert [entry.t for entry in harvested(description, run, stopped).entries] == [0, 0]
