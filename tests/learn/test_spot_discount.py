"""What Spot has saved in past runs, and what it is expected to save."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.learn.history import FEWEST, expected_spot_discount, measured_spot_discount
from nightspot.run.pricing import ASSUMED_SPOT_DISCOUNT, Basis, SpotDiscount
from tests.records import past_run

TODAY = date(2026, 11, 21)
P4D = "ml.p4d.24xlarge"


def attempt(trained=3600.0, billable=1080.0, *, ended="2026-11-20T08:00:00+00:00", **changes):
    fields = {"market": "spot", "instance_type": P4D, "ended_at": ended}
    return {**fields, "trained_seconds": trained, "billable_seconds": billable, **changes}


def nights(*attempts):
    """A history: one run for each attempt."""
    return [past_run([each]) for each in attempts]


def test_the_measured_discount_is_over_all_attempts_together():
    """Four hours at 70 % off and one at 20 % off are 60 % off."""
    history = nights(*[attempt()] * 4, attempt(billable=2880.0, ended="2026-11-21T07:00:00+00:00"))
    assert measured_spot_discount(history, P4D) == SpotDiscount(
        value=pytest.approx(0.6),
        basis=Basis.MEASURED,
        words=f"measured: 5 Spot attempts of this job on {P4D}",
        date=TODAY,
    )


def test_a_long_attempt_counts_for_more_than_a_short_one():
    history = nights(attempt(trained=36_000, billable=3600), *[attempt(trained=100, billable=100)] * 4)
    assert measured_spot_discount(history, P4D).value == pytest.approx(1 - 4000 / 36_400)


def test_several_attempts_of_one_night_count_each():
    assert measured_spot_discount([past_run([attempt()] * 5)], P4D).value == pytest.approx(0.7)


@pytest.mark.parametrize(
    "strange",
    [
        attempt(market="on_demand"),
        attempt(instance_type="ml.g5.48xlarge"),
        attempt(ended=None),
        attempt(billable=None),
        attempt(billable=0.0),
        attempt(trained=0.0),
        attempt(trained=None),
        {"market": "spot", "instance_type": P4D},
    ],
)
def test_what_says_nothing_of_spot_s_discount_is_left_out(strange):
    enough = [attempt()] * FEWEST
    assert measured_spot_discount(nights(*enough[1:], strange), P4D) is None
    assert measured_spot_discount(nights(*enough, strange), P4D).value == pytest.approx(0.7)


def test_four_attempts_are_too_few_to_believe():
    assert measured_spot_discount(nights(*[attempt()] * 4), P4D) is None
    assert measured_spot_discount([past_run(outcome="refused")], P4D) is None


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(1, 1e6)), min_size=5, max_size=9))
def test_a_measured_discount_is_a_part_of_the_price_whatever_sagemaker_bills(pairs):
    history = nights(*(attempt(trained=trained, billable=billable) for trained, billable in pairs))
    assert 0 <= measured_spot_discount(history, P4D).value <= 1


def test_own_runs_beat_a_hint_and_a_hint_beats_the_default():
    hint = SpotDiscount(0.4, Basis.PRICED, "priced", TODAY)
    enough = nights(*[attempt()] * 5)
    assert expected_spot_discount(enough, P4D, hint).basis is Basis.MEASURED
    assert expected_spot_discount(enough[1:], P4D, hint) is hint
    assert expected_spot_discount(enough[1:], P4D) is ASSUMED_SPOT_DISCOUNT
