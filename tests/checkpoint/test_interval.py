"""The interval loses the least time, by the published formulas, and stays within bounds."""

import math
import random

import pytest

from nightspot.checkpoint import SettingError, best_interval_seconds, interval_seconds


@pytest.mark.parametrize(
    ("cost", "life", "seconds"),
    [
        (6.0, 10_800, 360.0),  # sqrt(2 · 6 · 10,800) = sqrt(129,600)
        (0.5, 10_000, 100.0),  # sqrt(10,000)
        (50.0, 10_000, 1000.0),  # d = M / 200: Young's last
        # x = sqrt(200 / 20,000) = 0.1; 2,000 · (1 + 0.1 / 3 + 0.01 / 9) - 200
        (200.0, 10_000, 1868.889),
        # x = sqrt(5,000 / 20,000) = 0.5; 10,000 · (1 + 1 / 6 + 1 / 36) - 5,000
        (5000.0, 10_000, 6944.444),
        (20_000.0, 10_000, 10_000.0),  # d = 2 M
        (30_000.0, 10_000, 10_000.0),
    ],
)
def test_the_best_interval_is_youngs_and_dalys_where_a_save_is_dear(cost, life, seconds):
    assert best_interval_seconds(cost, life) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    ("cost", "life", "seconds"),
    [
        (6.0, 10_800, 360.0),
        (6.0, 1_000, 120.0),  # 20 saves' cost, although sqrt(12,000) is 110
        (6.0, 10_000_000, 3600.0),  # an hour, although sqrt(120,000,000) is 10,954
        (300.0, 10_800, 3600.0),  # an hour, although 20 saves cost 6,000
    ],
)
def test_the_interval_is_never_shorter_than_20_saves_nor_longer_than_an_hour(cost, life, seconds):
    assert interval_seconds(cost, life) == pytest.approx(seconds)


def test_a_save_that_no_clock_could_measure_still_has_an_interval():
    assert interval_seconds(0, 10_800) == pytest.approx(math.sqrt(2 * 0.001 * 10_800))


@pytest.mark.parametrize("cost", [5.0, 300.0])
def test_no_other_interval_leaves_more_useful_time_on_machines_that_live_at_random(cost):
    def useful_share(interval):
        lives = random.Random(7)
        useful = total = 0.0
        for _ in range(20_000):
            life = lives.expovariate(1 / 10_800)
            useful += (life // (interval + cost)) * interval
            total += life
        return useful / total

    best = best_interval_seconds(cost, 10_800)
    assert all(useful_share(best) > useful_share(best * factor) - 0.001 for factor in (0.5, 0.8, 1.25, 2))


@pytest.mark.parametrize(
    ("cost", "life", "field"),
    [(-1, 10, "cost_seconds=-1"), (math.nan, 10, "cost_seconds=nan"), (1, 0, "mean_life_seconds=0")],
)
def test_a_cost_or_life_that_makes_no_sense_is_refused(cost, life, field):
    with pytest.raises(SettingError, match=field):
        interval_seconds(cost, life)
