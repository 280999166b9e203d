"""Made-up markets: the same for a seed, alike at every moment, and as heavy-tailed as asked for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.market.fitting import (
    LEAST_SHARE,
    SpotLives,
    Weibull,
    generate,
    profile,
    profiles,
)
from nightspot.market.model import MarketAvailability, MarketValueError

HOUR = 3600.0
MARKET = SpotLives(lives=Weibull(0.6, 2 * HOUR), gaps=Weibull(0.8, HOUR))


def test_a_seed_gives_the_same_market_every_time():
    first, again = (generate(MARKET, seconds=30 * HOUR, randomness=7, name="seven") for _ in range(2))
    assert np.array_equal(first.starts_seconds, again.starts_seconds)
    assert np.array_equal(first.up, again.up)
    assert (first.length_seconds, first.name) == (30 * HOUR, "seven")


def test_a_generator_goes_on_where_it_was():
    randomness = np.random.default_rng(7)
    first, second = (generate(MARKET, seconds=30 * HOUR, randomness=randomness) for _ in range(2))
    assert not np.array_equal(first.starts_seconds, second.starts_seconds)


def test_a_long_market_is_up_for_the_share_that_its_means_imply():
    market = generate(MARKET, seconds=20_000 * HOUR, randomness=1)
    assert market.share_up == pytest.approx(MARKET.share_up, abs=0.03)


def test_its_lives_and_gaps_have_the_moments_asked_for():
    market = generate(MARKET, seconds=20_000 * HOUR, randomness=2)
    stretches, up = market.stretch_seconds[1:-1], market.up[1:-1]
    assert stretches[up].mean() == pytest.approx(MARKET.lives.mean_seconds, rel=0.06)
    assert np.median(stretches[up]) == pytest.approx(MARKET.lives.median_seconds, rel=0.06)
    assert stretches[~up].mean() == pytest.approx(MARKET.gaps.mean_seconds, rel=0.06)
    assert np.median(stretches[~up]) == pytest.approx(MARKET.gaps.median_seconds, rel=0.06)


@pytest.mark.parametrize("hour", [0, 1, 9])
def test_every_moment_is_alike_the_first_one_too(hour):
    randomness = np.random.default_rng(3)
    nights = [generate(MARKET, seconds=10 * HOUR, randomness=randomness) for _ in range(4_000)]
    share = np.mean([night.is_up_at(hour * HOUR) for night in nights])
    assert share == pytest.approx(MARKET.share_up, abs=0.025)


def test_what_is_left_of_a_stretch_found_by_chance_is_longer_than_half_a_mean_stretch():
    weibull = Weibull(0.6, HOUR)
    rests = weibull.draw_rest(np.random.default_rng(4), 200_000)
    # Renewal theory: the mean rest is E[x^2] / (2 E[x]).
    second_moment = HOUR**2 * math.gamma(1 + 2 / 0.6)
    assert rests.mean() == pytest.approx(second_moment / (2 * weibull.mean_seconds), rel=0.03)


def test_a_weibull_of_shape_one_is_exponential():
    exponential = Weibull(1, HOUR)
    assert exponential.mean_seconds == pytest.approx(HOUR)
    assert exponential.median_seconds == pytest.approx(HOUR * math.log(2))
    assert exponential.draw(np.random.default_rng(5), 50_000).mean() == pytest.approx(HOUR, rel=0.03)


@given(st.floats(0.15, 3), st.floats(0.15, 3), st.floats(1, 1e6), st.integers(0, 2**32))
def test_every_market_is_one_of_change_points(life_shape, gap_shape, seconds, seed):
    parameters = SpotLives(Weibull(life_shape, 1_000), Weibull(gap_shape, 500))
    market = generate(parameters, seconds=seconds, randomness=seed)
    assert isinstance(market, MarketAvailability)  # whose own rules refuse anything else
    assert market.stretch_seconds.sum() == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_market_has_a_length(seconds):
    with pytest.raises(MarketValueError, match=r"seconds: .* finite and greater than 0"):
        generate(MARKET, seconds=seconds, randomness=1)


@pytest.mark.parametrize(
    ("shape", "scale", "field"),
    [(0.01, 1, "shape"), (51, 1, "shape"), (math.nan, 1, "shape"), (1, 0, "scale"), (1, math.inf, "scale")],
)
def test_parameters_that_mean_nothing_are_refused(shape, scale, field):
    with pytest.raises(MarketValueError, match=field):
        Weibull(shape, scale)


def test_the_profiles_that_ship_run_from_calm_to_scarce():
    assert list(profiles()) == list(LEAST_SHARE) == ["calm", "usual", "scarce"]
    shares = [profile(name).share_up for name in profiles()]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("name", list(LEAST_SHARE))
def test_every_profile_is_heavy_tailed(name):
    assert profile(name).lives.shape < 1
    assert profile(name).lives.median_seconds < profile(name).lives.mean_seconds / 1.5


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(MarketValueError, match="'wild' must be one of calm, usual, scarce"):
        profile("wild")
