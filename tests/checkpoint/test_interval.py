"""The interval loses the least time, by the published formulas, and stays within bounds."""

import math
import random

import pytest

from nightspot.checkpoint import SettingError, best_interval_seconds, interval_seconds
from nightspot.checkpoint.core.schedule import life_at_age


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
        (60.0, 400, 300.0),  # 5 saves' cost, although Daly's is 180
        (6.0, 10_000_000, 3600.0),  # an hour, although sqrt(120,000,000) is 10,954
        (800.0, 10_800, 3600.0),  # an hour, although 5 saves cost 4,000
    ],
)
def test_the_interval_is_never_shorter_than_5_saves_nor_longer_than_an_hour(cost, life, seconds):
    assert interval_seconds(cost, life) == pytest.approx(seconds)


def test_where_saves_are_dear_it_is_dalys_and_not_a_multiple_of_the_cost():
    assert interval_seconds(200.0, 10_000) == pytest.approx(1868.889, abs=0.001)


@pytest.mark.parametrize(
    ("stall", "beside", "seconds"),
    [
        (0.5, 0.0, 100.0),  # sqrt(2 · 0.5 · 10,000)
        (0.5, 15.0, 200.0),  # a tenth of the writing slows the loop: sqrt(2 · 2 · 10,000)
        (0.0, 20.0, 200.0),
        (0.0, 300.0, 774.6),  # sqrt(2 · 30 · 10,000)
        (0.0, 900.0, 1800.0),  # twice the writing, although Daly's is 1,300
        (0.0, 7000.0, 3600.0),
    ],
)
def test_what_is_written_beside_training_counts_by_what_it_slows_the_loop(stall, beside, seconds):
    assert interval_seconds(stall, 10_000, beside_seconds=beside) == pytest.approx(seconds, abs=0.1)


def test_a_machine_that_has_lived_for_hours_is_saved_less_often_than_a_young_one():
    by_age = [interval_seconds(6.0, 10_800, age_seconds=hours * 3600) for hours in (0, 1, 4, 12)]

    assert by_age == sorted(by_age)
    assert by_age[0] == pytest.approx(222.5, abs=0.1)
    assert by_age[-1] == pytest.approx(515.0, abs=0.1)


def test_the_risk_at_an_age_is_that_of_the_lives_that_were_fitted():
    """Of machines drawn from the distribution, so many die in the minute after an age as its reciprocal says."""
    mean, shape, age, minute = 10_800.0, 0.65, 7200.0, 60.0
    scale = mean / math.gamma(1 + 1 / shape)
    lives = random.Random(7)
    drawn = [lives.weibullvariate(scale, shape) for _ in range(400_000)]
    alive = [life for life in drawn if life > age]
    dying = sum(life <= age + minute for life in alive)

    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.02)
    process_age = age - 360.0 + minute / 2  # the process starts six minutes after the machine
    assert dying / len(alive) == pytest.approx(minute / life_at_age(process_age, mean), rel=0.1)


def test_a_clock_that_was_set_back_makes_no_machine_younger_than_new():
    assert life_at_age(-7200.0, 10_800) == life_at_age(0.0, 10_800)


def test_on_machines_that_die_young_age_leaves_more_useful_time_than_any_fixed_interval():
    scale = 10_800 / math.gamma(1 + 1 / 0.65)
    lives = random.Random(7)
    drawn = [max(0.0, lives.weibullvariate(scale, 0.65) - 360.0) for _ in range(5_000)]

    def useful(interval_at):
        total = 0.0
        for life in drawn:
            age = work = 0.0
            while age + (interval := interval_at(age)) + 60.0 <= life:
                age += interval + 60.0
                work += interval
            total += work
        return total

    fixed = max(useful(lambda age, seconds=seconds: seconds) for seconds in (300, 600, 900, 1200, 1800, 2700))
    assert useful(lambda age: interval_seconds(60.0, 10_800, age_seconds=age)) > fixed


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


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(SettingError, match=f"slowed_share={share}"):
        interval_seconds(1, 10, slowed_share=share)


def test_a_time_of_writing_that_makes_no_sense_is_refused():
    with pytest.raises(SettingError, match="beside_seconds=-1"):
        interval_seconds(1, 10, beside_seconds=-1)
