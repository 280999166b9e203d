"""The change points of a market: what they answer, and what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.market.model import MarketAvailability, MarketValueError

UP_THEN_DOWN_THEN_UP = MarketAvailability(
    np.array([0.0, 100.0, 250.0]), np.array([True, False, True]), 400.0, "zone"
)


@pytest.mark.parametrize(
    ("seconds", "up", "next_change", "next_up"),
    [(0, True, 100, 0), (99.5, True, 100, 99.5), (100, False, 250, 250), (250, True, math.inf, 250)],
)
def test_a_change_belongs_to_the_stretch_it_starts(seconds, up, next_change, next_up):
    assert UP_THEN_DOWN_THEN_UP.is_up_at(seconds) is up
    assert UP_THEN_DOWN_THEN_UP.next_change_after(seconds) == next_change
    assert UP_THEN_DOWN_THEN_UP.next_up_from(seconds) == next_up


def test_the_last_state_holds_after_the_known_time():
    assert UP_THEN_DOWN_THEN_UP.is_up_at(1e9)
    assert MarketAvailability(np.array([0.0, 5.0]), np.array([True, False])).next_up_from(7) == math.inf


def test_the_share_up_weighs_stretches_by_their_length():
    assert UP_THEN_DOWN_THEN_UP.share_up == pytest.approx(250 / 400)
    assert UP_THEN_DOWN_THEN_UP.stretch_seconds.tolist() == [100, 150, 150]


def test_a_share_of_all_time_is_refused():
    with pytest.raises(MarketValueError, match="length_seconds: inf"):
        _ = MarketAvailability(np.zeros(1), np.ones(1, dtype=bool)).share_up


def test_a_window_starts_at_its_own_zero():
    window = UP_THEN_DOWN_THEN_UP.window(60, 200)
    assert window.starts_seconds.tolist() == [0, 40, 190]
    assert window.up.tolist() == [True, False, True]
    assert (window.length_seconds, window.name) == (200, "zone")


def test_a_change_at_the_end_of_a_window_is_outside_it():
    assert UP_THEN_DOWN_THEN_UP.window(60, 190).starts_seconds.tolist() == [0, 40]


@pytest.mark.parametrize(
    ("offset", "length", "field"),
    [(-1, 10, "offset_seconds: -1"), (391, 10, "offset_seconds: 391"), (0, 0, "length_seconds: 0")],
)
def test_a_window_must_lie_in_what_is_known(offset, length, field):
    with pytest.raises(MarketValueError, match=field):
        UP_THEN_DOWN_THEN_UP.window(offset, length)


def test_merging_drops_stretches_without_length_and_joins_equal_neighbours():
    merged = MarketAvailability.merged(
        [0, 10, 10, 20, 30], [True, False, True, True, False], length_seconds=40
    )
    assert merged.starts_seconds.tolist() == [0, 30]
    assert merged.up.tolist() == [True, False]


@pytest.mark.parametrize(
    ("starts", "up", "length", "rule"),
    [
        ([1.0], [True], 9, "the first one 0"),
        ([0.0, 5.0, 5.0], [True, False, True], 9, "rise strictly"),
        ([0.0, math.nan], [True, False], 9, "finite"),
        ([0.0, 5.0], [True, True], 9, "neighbours must differ"),
        ([0.0, 5.0], [True], 9, "equally long"),
        ([], [], 9, "not empty"),
        ([0.0, 5.0], [True, False], 5, "length_seconds: 5"),
    ],
)
def test_change_points_that_mean_nothing_are_refused(starts, up, length, rule):
    with pytest.raises(MarketValueError, match=rule):
        MarketAvailability(np.array(starts), np.array(up, dtype=bool), length)


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_there_is_no_state_before_the_start(seconds):
    with pytest.raises(MarketValueError, match="must be at least 0"):
        UP_THEN_DOWN_THEN_UP.is_up_at(seconds)


def test_nobody_can_change_a_market_afterwards():
    starts = np.array([0.0, 5.0])
    market = MarketAvailability(starts, np.array([True, False]))
    starts[1] = 1.0
    assert market.starts_seconds[1] == 5
    with pytest.raises(ValueError, match="read-only"):
        market.up[0] = False


samples = st.lists(st.booleans(), min_size=1, max_size=30)


@given(samples, st.floats(0, 29), st.floats(0.01, 10), st.floats(0, 1))
def test_a_window_says_what_the_whole_market_says(states, offset, length, moment):
    market = MarketAvailability.merged(range(len(states)), states, length_seconds=len(states))
    offset = min(offset, len(states) / 2)
    length = min(length, len(states) - offset)
    window = market.window(offset, length)
    # Within a rounding error of a change either answer is right.
    seconds = min(moment * length, math.nextafter(length, 0))
    nearest = round(offset + seconds)
    if abs(offset + seconds - nearest) > 1e-9:
        assert window.is_up_at(seconds) == states[int(offset + seconds)]
    assert window.next_change_after(seconds) > seconds


@given(samples)
def test_merging_keeps_every_state(states):
    market = MarketAvailability.merged(range(len(states)), states, length_seconds=len(states))
    assert [market.is_up_at(seconds) for seconds in range(len(states))] == states
    assert market.share_up == pytest.approx(sum(states) / len(states))
