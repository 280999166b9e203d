"""Sums over attempts hold for any attempts."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightspot import costs
from nightspot.run import FailureClass

bounded = settings(max_examples=80, deadline=None, derandomize=True)
seconds = st.floats(0, 1e6)
bills = st.lists(
    st.tuples(st.none() | seconds, seconds, st.none() | st.floats(0.1, 100), st.integers(1, 8)), max_size=6
)


@pytest.fixture(scope="session")
def run_of(story):
    def run(bills):
        attempts = [
            story.ended(
                FailureClass.INTERRUPTED,
                replace(story.spot, usd_per_hour=price, instance_count=count),
                number=number,
                billable_seconds=billed,
                trained_seconds=trained,
            )
            for number, (billed, trained, price, count) in enumerate(bills, 1)
        ]
        return story.run(attempts=attempts)

    return run


@bounded
@given(bills)
def test_a_run_costs_what_its_attempts_cost_or_it_is_not_known(run_of, bills):
    account = costs.account(run_of(bills))
    known = [
        (billed is None and trained == 0) or None not in (billed, price)
        for billed, trained, price, _ in bills
    ]

    assert account.unpriced_attempts == tuple(n for n, is_known in enumerate(known, 1) if not is_known)
    if all(known):
        total = sum((billed or 0) / 3600 * (price or 0) * count for billed, _, price, count in bills)
        assert account.cost_usd == pytest.approx(total)
    else:
        assert account.cost_usd is None
        assert account.saved_percent is None


@bounded
@given(bills)
def test_savings_are_told_only_where_every_figure_is_there(run_of, bills):
    account = costs.account(run_of(bills))
    if account.saved_percent is not None:
        assert account.cost_usd == pytest.approx(
            account.on_demand_cost_usd * (1 - account.saved_percent / 100)
        )


@bounded
@given(bills)
def test_what_is_spent_is_never_less_than_what_is_billed(run_of, bills):
    run = run_of([(billed, trained, price or 1.0, count) for billed, trained, price, count in bills])
    billed = sum(costs.attempt_cost_usd(attempt) or 0 for attempt in run.attempts)
    assert costs.spent_usd(run) >= billed * (1 - 1e-9)


@bounded
@given(bills, st.integers(1, 4))
def test_another_attempt_never_makes_a_run_cheaper(run_of, bills, dropped):
    assert costs.spent_usd(run_of(bills)) >= costs.spent_usd(run_of(bills[:-dropped])) * (1 - 1e-9)
