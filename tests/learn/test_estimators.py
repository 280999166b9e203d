"""Upper limits that hold and that one odd value cannot blow up; waits that were ended before their end."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.learn.estimators import (
    ENOUGH,
    FEWEST,
    Wait,
    common_limit,
    student_deviate,
    upper_limit,
    wait_limit,
)

HOUR, MINUTE = 3600.0, 60.0


@pytest.mark.parametrize("count", [5, 20, 60, pytest.param(450, marks=pytest.mark.long)])
@pytest.mark.parametrize("sigma", [0.02, 0.6])
def test_the_next_value_stays_below_the_limit_in_all_but_one_case_of_four_hundred(count, sigma):
    chance = random.Random(count)
    trials = 4_000
    missed = 0
    for _ in range(trials):
        past = [chance.lognormvariate(0, sigma) for _ in range(count)]
        missed += chance.lognormvariate(0, sigma) > upper_limit(past).value
    # A quarter of a percent, and what so many trials leave open.
    assert missed / trials <= 0.0055


def test_with_enough_values_nothing_is_assumed_about_them():
    assert upper_limit([float(n) for n in range(1, 400)]).value == 399.0
    assert upper_limit([float(n) for n in range(1, 800)]).value == 798.0


def test_values_that_never_differ_need_no_margin():
    assert upper_limit([600.0] * 9).value == pytest.approx(600.0)


@pytest.mark.parametrize(
    ("freedom", "deviate"), [(4, 5.5976), (5, 4.7733), (7, 4.0293), (19, 3.1737)], ids=lambda n: f"{n}"
)
def test_student_s_deviate_is_within_half_a_percent_of_the_tables(freedom, deviate):
    assert student_deviate(freedom) == pytest.approx(deviate, rel=0.005)


class TestOneOddValue:
    """L3: one slow start among five planned a change-over of 52 h."""

    STARTS = (7 * MINUTE, 7.2 * MINUTE, 7.5 * MINUTE, 8 * MINUTE)

    @pytest.mark.parametrize("more", [0, 3, 5], ids=lambda n: f"{5 + n}-values")
    def test_few_values_with_one_that_is_odd_stay_at_what_was_stated(self, more):
        past = [*self.STARTS, HOUR, *self.STARTS, *self.STARTS][: 5 + more]
        assert upper_limit(past, cap=900.0) == (900.0, (4,))

    def test_many_values_with_one_that_is_odd_are_planned_with_as_if_it_were_not_there(self):
        past = [*self.STARTS * 6, HOUR]
        assert upper_limit(past).value == upper_limit(list(self.STARTS * 6)).value
        assert upper_limit(past).odd == (24,)

    def test_what_comes_more_often_than_one_time_in_ten_is_no_exception(self):
        past = [*self.STARTS * 6, HOUR, HOUR, HOUR]
        assert upper_limit(past).value >= HOUR
        assert upper_limit(past).odd == ()

    def test_where_most_of_few_values_are_above_what_was_stated_they_count(self):
        past = [5.0, 5.02, 4.98, 5.1, 5.05]
        assert 5.1 < upper_limit(past, cap=4.8).value < 5.1 * 1.2

    @pytest.mark.parametrize("factor", [1.5, 2.0, 3.0, 5.0])
    @pytest.mark.parametrize("count", [5, 8, 19, 20, 60])
    def test_a_limit_is_never_a_multiple_of_the_odd_value(self, count, factor):
        past = [4 * HOUR + n for n in range(count - 1)] + [4 * HOUR * factor]
        assert upper_limit(past, cap=4.8 * HOUR).value <= max(4.85 * HOUR, 4 * HOUR * 1.2 + count)


@given(st.lists(st.floats(1e-3, 3e8), min_size=2, max_size=80), st.floats(1.0, 1e8))
def test_whatever_was_measured_the_limit_is_a_number_above_the_middle(past, cap):
    limit = upper_limit(past, cap)
    assert math.isfinite(limit.value)
    assert limit.value >= min(past)
    if len(past) < ENOUGH:
        assert limit.value <= max(cap, 1.2 * max(past))
    assert len(limit.odd) <= len(past) / 2


class TestWaits:
    """L4: what was longer than the patience was never seen, so that patience could only fall."""

    def seen(self, draw, patience, tries=600):
        waits = [draw() for _ in range(tries)]
        return [Wait(min(wait, patience), wait <= patience) for wait in waits]

    @pytest.mark.parametrize(
        ("name", "true"), [("exponential", 69.0), ("two-kinds", 36.9), ("log-normal", 33.4)], ids=str
    )
    def test_patience_does_not_fall_below_nine_in_ten_of_the_true_waits(self, name, true):
        chance = random.Random(7)
        draw = {
            "exponential": lambda: chance.expovariate(1 / 30),
            "two-kinds": lambda: chance.uniform(2, 5) if chance.random() < 0.5 else chance.uniform(15, 40),
            "log-normal": lambda: chance.lognormvariate(math.log(12), 0.8),
        }[name]
        patience = 30.0
        for _ in range(6):  # each turn learns from what the patience before let it see
            patience = wait_limit(self.seen(draw, patience), 0.9)
            assert patience > 0.85 * true
        assert patience < 1.6 * true

    def test_without_a_wait_that_was_ended_it_is_the_plain_quantile(self):
        assert wait_limit([Wait(float(n), came=True) for n in range(1, 11)], 0.9) == 9.0

    def test_what_never_came_says_nothing(self):
        assert wait_limit([Wait(1800.0, came=False)] * 9, 0.9) is None

    @given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=60))
    def test_more_waits_that_were_ended_never_make_it_shorter(self, waits):
        waits = [Wait(*wait) for wait in waits]
        limit = wait_limit(waits, 0.9)
        longer = wait_limit([*waits, Wait(max(wait.seconds for wait in waits), came=False)], 0.9)
        assert (limit is None) == (longer is None)
        if limit is not None:
            assert longer >= limit * (1 - 1e-9)


def test_the_common_limit_is_the_largest_of_few():
    assert common_limit([1.0] * FEWEST + [9.0]) == 9.0
    assert common_limit([1.0] * 19 + [9.0]) == 1.0
