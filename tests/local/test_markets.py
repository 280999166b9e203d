"""The simulated markets: when a machine can be had, and when it is taken."""

from __future__ import annotations

import json

import pytest

from nightspot.local.sagemaker.markets import MarketError, Markets, SimulatedMarket, Supply, SupplySpan

AVAILABLE, MISSING, RECLAIM = Supply.AVAILABLE, Supply.MISSING, Supply.RECLAIM
NIGHT = [
    {"missing": "40m"},
    {"available": "1h40m"},
    {"reclaim": "20m", "warning": True},
    {"available": "rest"},
]


def write_trace(folder, content):
    path = folder / "trace.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def trace(tmp_path):
    return write_trace(tmp_path, {"metadata": {"gap_seconds": 100}, "data": [0, 1, 1, 0, 0, 1, 0]})


def test_a_market_that_is_always_there_never_takes_a_machine():
    market = SimulatedMarket.always()
    assert market.next_available(1234) == 1234
    assert market.next_reclaim(0) is None


def test_a_market_that_is_never_there_gives_no_machine():
    assert SimulatedMarket.never().next_available(0) is None


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (0, MISSING),
        (2399, MISSING),
        (2400, AVAILABLE),
        (8399, AVAILABLE),
        (8400, RECLAIM),
        (9599, RECLAIM),
        (9600, AVAILABLE),
        (1e9, AVAILABLE),
    ],
)
def test_a_script_says_what_the_market_does_when(seconds, state):
    assert SimulatedMarket.scripted(NIGHT).state_at(seconds) is state


def test_a_script_gives_the_next_machine_and_takes_it_with_its_warning():
    market = SimulatedMarket.scripted(NIGHT)
    assert market.next_available(0) == 2400
    assert market.next_available(3000) == 3000
    assert market.next_reclaim(2400) == (8400, True)
    assert market.next_available(8400) == 9600
    assert market.next_reclaim(9600) is None


def test_a_reclaim_of_no_length_takes_machines_and_gives_new_ones_at_once():
    market = SimulatedMarket.scripted([{"available": 100}, {"reclaim": 0}, {"available": "rest"}])
    assert market.next_reclaim(0) == (100, False)
    assert market.state_at(100) is AVAILABLE
    assert market.next_available(100) == 100
    assert market.next_reclaim(100) is None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), (1.5, 1.5), ("90s", 90), ("1.5h", 5400), ("1d2h3m4s", 93_784), ("40m", 2400)],
)
def test_a_duration_is_seconds_or_parts(written, seconds):
    market = SimulatedMarket.scripted([{"missing": written}, {"available": "rest"}])
    assert market.next_available(0) == seconds


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([], "script: "),
        (["missing"], r"script\[0\]: 'missing' must be a mapping"),
        ([{"gone": "rest"}], "exactly one of available, missing, reclaim"),
        ([{"missing": "1h", "available": "1h"}], "exactly one of"),
        ([{"missing": "rest", "because": "full"}], "exactly one of"),
        ([{"missing": "40m"}, {"available": "4h"}], r"script\[1\].available: '4h'.* must say 'rest'"),
        ([{"missing": "rest"}, {"available": "rest"}], r"script\[0\].missing: .*only the last"),
        ([{"missing": "soon"}, {"available": "rest"}], r"script\[0\].missing: 'soon' must be"),
        ([{"missing": ""}, {"available": "rest"}], r"script\[0\].missing"),
        ([{"missing": "1.2.3h"}, {"available": "rest"}], "cannot be read"),
        ([{"missing": -5}, {"available": "rest"}], r"script\[0\].missing: -5"),
        ([{"missing": True}, {"available": "rest"}], r"script\[0\].missing: True"),
        ([{"missing": 0}, {"available": "rest"}], "only a reclaim may have no length"),
        ([{"available": "rest", "warning": True}], "only a reclaim can come with a warning"),
        ([{"reclaim": "rest", "warning": "yes"}], r"script\[0\].warning: 'yes' must be true or false"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused_with_entry_value_and_rule(script, message):
    with pytest.raises(MarketError, match=message):
        SimulatedMarket.scripted(script)


def test_spans_must_start_at_the_beginning():
    with pytest.raises(MarketError, match="start at 0"):
        SimulatedMarket((SupplySpan(5, AVAILABLE),))


def test_a_trace_becomes_machines_that_come_and_are_taken(trace):
    market = SimulatedMarket.from_trace(trace)
    assert market.next_available(0) == 100
    assert market.next_reclaim(100) == (300, False)
    assert market.next_available(300) == 500
    assert market.next_reclaim(500) == (600, False)


def test_the_last_value_of_a_trace_holds_for_ever(trace, tmp_path):
    assert SimulatedMarket.from_trace(trace).next_available(1e9) is None
    endless = write_trace(tmp_path, {"metadata": {"gap_seconds": 1}, "data": [0, 1]})
    assert SimulatedMarket.from_trace(endless).next_available(1e9) == 1e9


def test_a_night_can_begin_anywhere_in_a_trace(trace):
    market = SimulatedMarket.from_trace(trace, offset_seconds=250)
    assert market.state_at(0) is AVAILABLE
    assert market.next_reclaim(0) == (50, False)
    assert market.next_available(50) == 250


def test_a_night_that_begins_as_machines_go_begins_without_any(trace):
    market = SimulatedMarket.from_trace(trace, offset_seconds=300, warning=True)
    assert market.state_at(0) is MISSING
    assert market.next_reclaim(0) == (300, True)


@pytest.mark.parametrize("offset_seconds", [-1, 700, 1e9])
def test_an_offset_outside_the_trace_is_refused(trace, offset_seconds):
    with pytest.raises(MarketError, match="offset_seconds"):
        SimulatedMarket.from_trace(trace, offset_seconds=offset_seconds)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "is not JSON"),
        ([1, 0], "gap_seconds is None"),
        ({"data": [1]}, "gap_seconds is None"),
        ({"metadata": {"gap_seconds": 0}, "data": [1]}, "gap_seconds is 0"),
        ({"metadata": {"gap_seconds": "195"}, "data": [1]}, "gap_seconds is '195'"),
        ({"metadata": {"gap_seconds": 195}}, "data must be"),
        ({"metadata": {"gap_seconds": 195}, "data": []}, "data must be"),
        ({"metadata": {"gap_seconds": 195}, "data": [1, 2]}, "data must be"),
    ],
)
def test_a_malformed_trace_is_refused_with_the_rule(tmp_path, content, message):
    with pytest.raises(MarketError, match=message):
        SimulatedMarket.from_trace(write_trace(tmp_path, content))


def test_a_trace_that_is_not_there_is_refused_with_its_path(tmp_path):
    with pytest.raises(MarketError, match=r"nothing\.json cannot be read"):
        SimulatedMarket.from_trace(tmp_path / "nothing.json")


def test_every_instance_type_has_a_market_of_its_own_or_the_default():
    scarce, rich = SimulatedMarket.never(), SimulatedMarket.always()
    markets = Markets(spot={"ml.p4d.24xlarge": scarce}, default_spot=rich)
    assert markets.market_for("ml.p4d.24xlarge", spot=True) is scarce
    assert markets.market_for("ml.g5.xlarge", spot=True) is rich
    assert markets.market_for("ml.p4d.24xlarge", spot=False) == SimulatedMarket.always()
