"""What an instance hour is expected to cost, what Spot is expected to save, and how old such figures sound."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.run.pricing import (
    ASSUMED_SPOT_DISCOUNT,
    Basis,
    PlanRate,
    Price,
    PriceSource,
    age_words,
)

TODAY = date(2026, 11, 21)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
P4D = "ml.p4d.24xlarge"
amounts = st.floats(0.01, 200)


def price_of(usd=33.0, plans=(), **changes):
    fields = {"usd_per_hour": usd, "source": "a list", "date": TODAY, "assumed": False}
    return Price(**{**fields, "plans": tuple(plans), **changes})


def plan_of(usd, commitment=1000.0):
    return PlanRate(usd_per_hour=usd, commitment_usd_per_hour=commitment, ends_at=LATER)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2026, 11, 22), ""),
        (date(2026, 11, 21), ""),
        (date(2026, 11, 20), "1 day old"),
        (date(2026, 9, 23), "59 days old"),
        (date(2026, 9, 22), "2 months old"),
        (date(2026, 3, 21), "8 months old"),
        (date(2023, 12, 31), "3 years old"),
        (date(2024, 12, 22), "23 months old"),
        (date(2024, 12, 20), "2 years old"),
    ],
)
def test_an_age_is_told_as_people_tell_it(day, words):
    assert age_words(day, TODAY) == words


def test_a_price_says_its_date_its_age_and_that_it_is_assumed():
    old = price_of(date=date(2023, 12, 31))
    assert old.words(TODAY) == "price of 2023-12-31, 3 years old"
    assert price_of().words(TODAY) == "price of 2026-11-21"
    assert price_of(assumed=True).words(TODAY) == "assumed price of 2026-11-21"


@pytest.mark.parametrize(("assumed", "basis"), [(True, Basis.ASSUMED), (False, Basis.PRICED)])
def test_a_price_is_priced_unless_nobody_lists_it(assumed, basis):
    assert price_of(assumed=assumed).basis is basis


def test_a_price_is_the_book_s_unless_it_says_otherwise():
    assert price_of().origin is PriceSource.BOOK


def test_without_a_savings_plan_nothing_is_paid_already():
    assert price_of().least_usd_per_hour(4) is None


def test_of_two_plans_the_cheaper_is_used_up_first():
    price = price_of(plans=[plan_of(25.0, commitment=25.0), plan_of(20.0, commitment=20.0)])
    assert price.least_usd_per_hour(2) == 0.0
    assert price.least_usd_per_hour(3) == pytest.approx(33 / 3)


def test_a_plan_that_is_no_cheaper_than_the_list_is_none():
    assert price_of(plans=[plan_of(33.0)]).least_usd_per_hour(1) is None


@pytest.mark.parametrize(
    ("commitment", "count", "usd"),
    [(80.0, 4, 0.0), (40.0, 4, 16.5), (0.0, 4, 33.0)],
    ids=["idle-and-large-enough", "for-half-of-the-machines", "none"],
)
def test_an_idle_commitment_is_paid_anyway_and_adds_nothing(commitment, count, usd):
    assert price_of(plans=[plan_of(20.0, commitment=commitment)]).least_usd_per_hour(count) == usd


@pytest.mark.parametrize(
    ("used", "usd"),
    [(None, 0.0), (0.9, 0.0), (0.99, 33.0), (1.0, 33.0)],
    ids=["not known", "room of a tenth", "99 %", "all"],
)
def test_under_a_plan_that_other_work_uses_up_the_least_is_the_list_price(used, usd):
    price = price_of(plans=[replace(plan_of(20.0), used_share=used)])
    assert price.least_usd_per_hour(4) == usd


def test_of_two_plans_the_one_with_room_counts():
    """Of four instances the plan with room covers two."""
    plans = [replace(plan_of(15.0), used_share=1.0), plan_of(20.0, commitment=40.0)]
    assert price_of(plans=plans).least_usd_per_hour(4) == 16.5


@given(amounts, st.lists(st.tuples(amounts, amounts), min_size=1, max_size=4), st.integers(1, 20))
def test_what_an_hour_adds_lies_between_nothing_and_the_list(usd, plans, count):
    least = price_of(usd, [plan_of(*plan) for plan in plans]).least_usd_per_hour(count)
    if least is None:
        assert min(rate for rate, _ in plans) >= usd
    else:
        assert 0 <= least <= usd * (1 + 1e-9)


@given(amounts, amounts, st.floats(0.01, 100), st.floats(1, 10), st.integers(1, 20))
def test_a_larger_commitment_never_makes_an_hour_dearer(usd, rate, commitment, more, count):
    small = price_of(usd, [plan_of(rate, commitment)]).least_usd_per_hour(count)
    large = price_of(usd, [plan_of(rate, commitment * more)]).least_usd_per_hour(count)
    assert (small is None) == (large is None)
    if small is not None:
        assert large <= small * (1 + 1e-9) + 1e-12


def test_the_default_says_that_it_is_one_and_where_it_comes_from():
    assert ASSUMED_SPOT_DISCOUNT.basis is Basis.ASSUMED
    assert ASSUMED_SPOT_DISCOUNT.words.startswith("assumed: five public SageMaker training logs")
    assert 0.5 < ASSUMED_SPOT_DISCOUNT.value < 0.78
