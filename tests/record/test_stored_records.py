"""Records as versions before `schema_version` stored them are read by this one."""

import json
from pathlib import Path

import pytest

from nightspot.record.model import SCHEMA_VERSION, Ending, read_record
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome


@pytest.fixture
def stored():
    """A whole record of November 2026: fallen back after two interruptions, ready in time."""
    path = Path(__file__).parents[1] / "view" / "html" / "bad_night.json"
    return json.loads(path.read_text(encoding="utf-8"))


def summary_of(record):
    """What a job's history kept of it: no decisions, no phases."""
    attempts = [{name: each[name] for name in each if name != "phases"} for each in record["attempts"]]
    return {**{name: record[name] for name in record if name != "steps"}, "attempts": attempts}


@pytest.mark.parametrize("kept", [dict, summary_of], ids=["record", "summary"])
def test_a_record_from_before_it_had_a_version_is_read(stored, kept):
    run = read_record(kept(stored))
    assert (run.schema_version, run.ending, run.fell_back, run.interruptions) == (0, Ending.IN_TIME, True, 2)
    assert run.cost_usd == stored["cost_usd"]
    assert run.saved_usd == pytest.approx(stored["on_demand_cost_usd"] - stored["cost_usd"])
    assert [attempt.market.value for attempt in run.attempts] == ["spot", "on_demand"]
    assert (run.steps is None) == (kept is summary_of)


def test_every_field_that_it_lacks_is_computed_or_missing(stored):
    """One by one: none of them makes the rest unreadable, but for those that say which run it was."""
    needed = {"job", "outcome"}
    for name in summary_of(stored).keys() - needed:
        record = {key: value for key, value in summary_of(stored).items() if key != name}
        if name == "started_at":
            record["story_started_at"] = stored["started_at"]
        assert read_record(record).ending in {Ending.IN_TIME, Ending.LATE}, name


def test_what_is_written_today_says_its_version(story):
    written = summarise(story.run(outcome=Outcome.FAILED)).to_json()
    assert written["schema_version"] == SCHEMA_VERSION
    assert read_record(written).schema_version == SCHEMA_VERSION
