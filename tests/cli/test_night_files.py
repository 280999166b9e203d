"""Nights that a user writes down."""

import json

import pytest

from nightspot.job.reading import parse_job
from nightspot.local.sagemaker.markets import Supply
from nightspot.local.stage.night_files import NightError, night_named, night_of_file, night_of_trace

TYPE = "ml.p4d.24xlarge"
HOUR = 3600


@pytest.fixture
def job(good_job):
    return parse_job(good_job)


@pytest.fixture
def night(tmp_path, job):
    def read(text):
        path = tmp_path / "market.yaml"
        path.write_text(text, encoding="utf-8")
        return night_of_file(path, job)

    return read


def states(night, *hours, spot=True):
    market = night.markets.market_for(TYPE, spot=spot)
    return [market.state_at(hour * HOUR) for hour in hours]


def test_a_list_holds_for_all_types_and_on_demand_is_always_there(night):
    read = night("spot: [{missing: 40m}, {available: 1h}, {reclaim: rest}]")
    assert states(read, 0, 1, 2) == [Supply.MISSING, Supply.AVAILABLE, Supply.RECLAIM]
    assert states(read, 0, 9, spot=False) == [Supply.AVAILABLE] * 2
    assert "market.yaml" in read.story


def test_a_mapping_holds_for_the_types_it_names(night):
    read = night(f"on_demand: {{{TYPE}: [{{missing: 2h}}, {{available: rest}}]}}")
    assert states(read, 1, 3, spot=False) == [Supply.MISSING, Supply.AVAILABLE]
    assert read.markets.market_for("ml.g5.xlarge", spot=False).state_at(0) is Supply.AVAILABLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spot: [{missing: 40x}, {available: rest}]", "market.yaml: spot[0].missing: '40x' must be seconds"),
        ("spot: [{missing: 40m}]", "market.yaml: spot[0].missing: '40m'; the last entry must say 'rest'"),
        ("spot: [{away: rest}]", "market.yaml: spot[0]: {'away': 'rest'} must have exactly one of"),
        ("spot: []", "market.yaml: spot: [] is empty"),
        (f"spot: {{{TYPE}: [{{missing: 1}}]}}", f"market.yaml: spot.{TYPE}[0].missing: 1; the last"),
        ("spot: [{missing: 0}, {available: rest}]", "market.yaml: spot: spans[0]: missing lasts 0 s"),
        ("spot: {ml.p9: [{missing: rest}]}", f"spot.ml.p9: is not on the job's ladder, which has {TYPE}"),
        (f"spot: {{{TYPE}: never}}", f"spot.{TYPE}: 'never': must be a list such as"),
        ("spot: never", "market.yaml: spot: 'never': must be a list, or a mapping"),
        (
            "spto: [{missing: rest}]",
            "spto: is not known; the fields are spot and on_demand; did you mean spot?",
        ),
        ("[]", "market.yaml: a list of 0: must be a mapping with spot, on_demand or both"),
        ("spot: [", "market.yaml: (file): "),
        ("spot: [{missing: rest}]\nspot: []", "market.yaml: spot"),
        ("", "market.yaml: (file): nothing"),
    ],
)
def test_a_mistake_is_named_with_its_file_field_and_rule(night, text, said):
    with pytest.raises(NightError) as caught:
        night(text)
    assert said in str(caught.value)


def test_all_mistakes_are_named_at_once(night):
    with pytest.raises(NightError) as caught:
        night("spot: [{missing: 40x}, {available: rest}]\non_demand: {ml.p9: []}\nspto: 1")
    assert len(str(caught.value).splitlines()) == 3


def test_a_market_file_that_is_not_there_is_a_mistake(tmp_path, job):
    with pytest.raises(NightError, match=r"market: .*nowhere.yaml': cannot be read: No such file"):
        night_of_file(tmp_path / "nowhere.yaml", job)


def test_a_trace_is_played_from_its_offset_on(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 3600}, "data": [0, 0, 1, 0]}))
    assert states(night_of_trace(path), 0, 2) == [Supply.MISSING, Supply.AVAILABLE]
    night = night_of_trace(path, 2 * HOUR)
    assert states(night, 0, 1) == [Supply.AVAILABLE, Supply.RECLAIM]
    assert night.story == "Spot as it was in trace.json from 2 h on."


def test_an_offset_beyond_the_trace_is_a_mistake(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 60}, "data": [1]}))
    with pytest.raises(NightError, match="offset_seconds: 60 must lie within the trace's 60 s"):
        night_of_trace(path, 60)


def test_an_unknown_night_is_answered_with_the_known_ones():
    with pytest.raises(NightError, match=r"'baad': must be one of quiet, .*did you mean bad"):
        night_named("baad")
