"""A market on a regular grid: never worse than it is, and exact where the step divides it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.market.grid import (
    available_slots,
    exact_step_seconds,
    slots_down,
    slots_up,
    spot_ratio_slots,
)
from nightspot.market.model import MarketAvailability, MarketValueError, Prices
from nightspot.market.traces import Trace

MARKET = MarketAvailability(np.array([0.0, 90.0, 130.0]), np.array([True, False, True]), 240.0)


def test_a_slot_is_up_if_any_moment_of_it_is():
    slots = available_slots(MARKET, offsets_seconds=[0, 90], window_seconds=120, step_seconds=20)
    assert slots.tolist() == [[True, True, True, True, True, False], [False, False, True, True, True, True]]


def test_a_step_that_divides_the_market_samples_it_exactly():
    samples = np.array([1, 0, 0, 1, 1, 0], dtype=bool)
    trace = Trace("zone", 30.0, samples)
    slots = available_slots(trace, offsets_seconds=[0], window_seconds=180, step_seconds=15)
    assert slots[0].tolist() == np.repeat(samples, 2).tolist()


def test_the_last_slot_may_reach_beyond_the_window():
    assert available_slots(MARKET, offsets_seconds=[0], window_seconds=61, step_seconds=20).shape == (1, 4)


def test_a_slot_costs_the_lowest_price_of_any_moment_of_it():
    prices = Prices(np.array([0.0, 30.0, 50.0]), np.array([2.0, 1.0, 4.0]))
    ratios = spot_ratio_slots(
        prices, on_demand_usd_per_hour=4.0, offsets_seconds=[0, 20], window_seconds=60, step_seconds=20
    )
    assert ratios.tolist() == [[0.5, 0.25, 0.25], [0.25, 0.25, 1.0]]


@pytest.mark.parametrize(
    ("durations", "step"),
    [((195, 360, 14_400), 15), ((0, 60, 90), 30), ((0.25, 1), 0.25), ((6.5,), 6.5)],
)
def test_the_exact_step_divides_every_duration(durations, step):
    assert exact_step_seconds(*durations) == step


@pytest.mark.parametrize("durations", [(0, 0), (), (-60, 30), (math.inf, 30), (math.nan, 30)])
def test_durations_without_a_common_step_are_refused(durations):
    with pytest.raises(MarketValueError, match="durations_seconds"):
        exact_step_seconds(*durations)


def test_whole_slots_survive_the_roundings_of_floats():
    assert (slots_down(0.3, 0.1), slots_up(0.3, 0.1)) == (3, 3)
    assert (slots_down(0.29, 0.1), slots_up(0.31, 0.1)) == (2, 4)


@pytest.mark.parametrize("step", [0, -1, math.inf, math.nan])
def test_a_step_has_a_length(step):
    with pytest.raises(MarketValueError, match="step_seconds"):
        available_slots(MARKET, offsets_seconds=[0], window_seconds=60, step_seconds=step)


@pytest.mark.parametrize("window", [0, -1, math.inf, math.nan])
def test_a_window_has_a_length(window):
    with pytest.raises(MarketValueError, match="window_seconds"):
        available_slots(MARKET, offsets_seconds=[0], window_seconds=window, step_seconds=20)


@pytest.mark.parametrize("offsets", [[-1], [0, 181], [math.nan]])
def test_every_night_lies_in_what_is_known(offsets):
    with pytest.raises(MarketValueError, match="offset_seconds"):
        available_slots(MARKET, offsets_seconds=offsets, window_seconds=60, step_seconds=20)


@pytest.mark.parametrize("offsets", [[], 5, [[5]]])
def test_offsets_are_a_flat_list(offsets):
    with pytest.raises(MarketValueError, match="offsets_seconds: shape"):
        available_slots(MARKET, offsets_seconds=offsets, window_seconds=60, step_seconds=20)


@pytest.mark.parametrize("usd", [0, -1, math.inf, math.nan])
def test_a_ratio_needs_an_on_demand_price(usd):
    with pytest.raises(MarketValueError, match="on_demand_usd_per_hour"):
        spot_ratio_slots(
            Prices.flat(1),
            on_demand_usd_per_hour=usd,
            offsets_seconds=[0],
            window_seconds=60,
            step_seconds=20,
        )


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.floats(0, 1), st.floats(0.3, 5), st.data())
def test_whenever_the_market_is_up_so_is_the_slot(states, offset, step, data):
    market = MarketAvailability.merged(range(len(states)), states, length_seconds=len(states))
    window = len(states) - offset
    slots = available_slots(market, offsets_seconds=[offset], window_seconds=window, step_seconds=step)[0]
    moment = data.draw(st.floats(0, window, exclude_max=True))
    if market.is_up_at(offset + moment):
        # A moment within a rounding error of a slot's edge may be its neighbour's.
        first, last = int(moment / step - 1e-9), int(moment / step + 1e-9)
        assert slots[first : last + 1].any()
