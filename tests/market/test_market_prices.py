"""Spot prices over time: means that are paid, and lowest prices for a bound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.market.model import MarketValueError, Prices

RISING = Prices(np.array([0.0, 100.0, 300.0]), np.array([1.0, 2.0, 4.0]))


@pytest.mark.parametrize(
    ("start", "end", "mean"),
    [(0, 50, 1.0), (50, 150, 1.5), (0, 400, (100 + 400 + 400) / 400), (1000, 2000, 4.0), (100, 300, 2.0)],
)
def test_the_mean_price_weighs_each_price_by_its_time(start, end, mean):
    assert RISING.mean_usd_per_hour(start, end) == pytest.approx(mean)


def test_a_flat_price_is_the_mean_of_any_stretch():
    assert Prices.flat(0.918).mean_usd_per_hour(12.5, 9_000) == pytest.approx(0.918)


def test_the_lowest_price_looks_at_the_stretch_and_not_at_its_end():
    falling = Prices(np.array([0.0, 100.0, 200.0]), np.array([3.0, 1.0, 2.0]))
    lowest = falling.lowest_usd_per_hour([[0, 50], [100, 200]], [[100, 101], [200, 900]])
    assert lowest.tolist() == [[3.0, 1.0], [1.0, 2.0]]


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5), (0, math.inf), (math.nan, 5)])
def test_a_stretch_without_length_has_no_price(start, end):
    with pytest.raises(MarketValueError, match="start_seconds, end_seconds"):
        RISING.mean_usd_per_hour(start, end)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (-1, 5)])
def test_a_stretch_without_length_has_no_lowest_price(start, end):
    with pytest.raises(MarketValueError, match="start_seconds, end_seconds"):
        RISING.lowest_usd_per_hour([0, start], [1, end])


@pytest.mark.parametrize(
    ("starts", "usd", "rule"),
    [
        ([0.0], [0.0], "usd_per_hour"),
        ([0.0], [math.nan], "usd_per_hour"),
        ([1.0], [1.0], "the first one 0"),
        ([0.0, 0.0], [1.0, 2.0], "rise strictly"),
        ([0.0, 1.0], [1.0], "equally long"),
        ([], [], "not empty"),
    ],
)
def test_prices_that_mean_nothing_are_refused(starts, usd, rule):
    with pytest.raises(MarketValueError, match=rule):
        Prices(np.array(starts), np.array(usd))


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.integers(0, 100), st.integers(1, 100))
def test_mean_and_lowest_agree_with_looking_at_every_second(usd, start, length):
    prices = Prices(np.arange(len(usd)) * 7.0, np.array(usd))
    seconds = [usd[min(second // 7, len(usd) - 1)] for second in range(start, start + length)]
    assert prices.mean_usd_per_hour(start, start + length) == pytest.approx(sum(seconds) / length)
    assert prices.lowest_usd_per_hour(start, start + length) == min(seconds)


def test_a_window_begins_with_the_price_that_holds_there():
    prices = Prices(np.array([0.0, 100.0, 200.0]), np.array([1.0, 2.0, 3.0])).window(150.0)
    assert prices.starts_seconds.tolist() == [0.0, 50.0]
    assert prices.usd_per_hour.tolist() == [2.0, 3.0]


def test_prices_in_units_of_another():
    assert Prices.flat(0.9).over(3.0).usd_per_hour.tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(
    "change", [lambda p: p.window(-1.0), lambda p: p.over(0.0), lambda p: p.over(np.inf)]
)
def test_windows_before_the_start_and_units_of_nothing_are_refused(change):
    with pytest.raises(MarketValueError, match="must be finite"):
        change(Prices.flat(1.0))
