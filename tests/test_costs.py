"""What attempts cost and what a run saved, at $33 an hour."""

from dataclasses import replace

import pytest

from nightspot import costs
from nightspot.run import FailureClass

HOUR = 3600.0


@pytest.fixture
def paid(story):
    """An ended attempt that was billed for so many hours."""

    def attempt(hours, rung=None, *, trained=None, number=1, failure=None, **changes):
        seconds = None if hours is None else hours * HOUR
        return story.ended(
            failure,
            rung,
            number=number,
            billable_seconds=seconds,
            trained_seconds=(hours if trained is None else trained) * HOUR,
            **changes,
        )

    return attempt


def test_billable_seconds_are_discounted_already_so_the_on_demand_price_applies(story, paid):
    # Trained 4 h, billed 1.2 h: 70 % saved. 1.2 h at $33.
    assert costs.attempt_cost_usd(paid(1.2, trained=4)) == pytest.approx(39.6)
    assert costs.attempt_cost_usd(paid(1.2, story.on_demand, trained=4)) == pytest.approx(39.6)


def test_every_instance_costs(story, paid):
    assert costs.attempt_cost_usd(paid(1, replace(story.spot, instance_count=4))) == 132


def test_an_attempt_that_never_had_a_machine_costs_nothing(paid):
    assert costs.attempt_cost_usd(paid(None, trained=0, failure=FailureClass.NO_CAPACITY)) == 0


def test_an_open_attempts_cost_is_not_known(story):
    assert costs.attempt_cost_usd(story.attempt()) is None


def test_without_sagemakers_figure_or_a_price_a_cost_is_not_known(story, paid):
    assert costs.attempt_cost_usd(paid(None, trained=1)) is None
    assert costs.attempt_cost_usd(paid(1, replace(story.spot, usd_per_hour=None))) is None


def test_a_run_costs_the_sum_of_all_its_attempts_useless_ones_included(story, paid):
    # Billed 0.5 + 1 + 0 + 2 hours at $33; 6 h trained in all.
    run = story.run(
        attempts=[
            paid(0.5, trained=2, failure=FailureClass.INTERRUPTED),
            paid(1, trained=2, number=2, failure=FailureClass.NO_CAPACITY),
            paid(None, trained=0, number=3, failure=FailureClass.THROTTLED),
            paid(2, story.on_demand, trained=2, number=4),
        ]
    )
    account = costs.account(run)
    assert account.cost_usd == pytest.approx(115.5)
    assert account.billable_seconds == 3.5 * HOUR
    assert account.trained_seconds == 6 * HOUR
    assert account.unpriced_attempts == ()


def test_savings_are_against_the_same_work_on_demand(story, paid):
    # 24 steps of 600 s are 4 h: $132 on demand. Billed 1.2 h: $39.60.
    run = story.run(
        attempts=[paid(1.2, trained=5, seconds_per_step=600.0)], progress=story.progress(24, "06:00")
    )
    account = costs.account(run)
    assert account.on_demand_cost_usd == pytest.approx(132)
    assert account.saved_percent == pytest.approx(70)


def test_a_night_dearer_than_on_demand_says_so(story, paid):
    run = story.run(
        attempts=[paid(8, trained=8, seconds_per_step=600.0)], progress=story.progress(24, "08:00")
    )
    assert costs.account(run).saved_percent == pytest.approx(-100)


def test_without_progress_all_that_was_trained_was_needed(story, paid):
    assert costs.account(story.run(attempts=[paid(1, trained=4)])).on_demand_cost_usd == pytest.approx(132)


def test_paces_count_by_the_time_they_were_held(story, paid):
    # 3 h at 600 s and 1 h at 1,000 s a step: 700 s on average, 24 steps.
    run = story.run(
        attempts=[
            paid(1, trained=3, seconds_per_step=600.0),
            paid(1, trained=1, number=2, seconds_per_step=1000.0),
        ],
        progress=story.progress(24, "06:00"),
    )
    assert costs.needed_seconds(run) == pytest.approx(16_800)


def test_work_on_a_slow_rung_is_told_at_speed_one(story, paid):
    slow = replace(story.spot, speed=0.5)
    by_time = story.run(attempts=[paid(1, slow, trained=4)])
    by_steps = story.run(
        attempts=[paid(1, slow, trained=4, seconds_per_step=1200.0)], progress=story.progress(24, "06:00")
    )
    assert costs.needed_seconds(by_time) == 2 * HOUR
    assert costs.needed_seconds(by_steps) == 4 * HOUR


def test_the_baseline_is_the_first_on_demand_rung(story, paid):
    fast = replace(story.on_demand, instance_type="ml.p5.48xlarge", usd_per_hour=60.0, speed=2.0)
    run = story.run(rungs=(story.spot, fast, story.on_demand), attempts=[paid(1, trained=4)])
    assert costs.on_demand_alone_usd(run) == pytest.approx(120)


def test_a_ladder_without_on_demand_is_measured_on_its_first_rung(story, paid):
    run = story.run(rungs=(story.spot,), attempts=[paid(1, trained=4)])
    assert costs.on_demand_alone_usd(run) == pytest.approx(132)


def test_nothing_is_saved_where_a_figure_is_missing(story, paid):
    unbilled = costs.account(story.run(attempts=[paid(1, trained=4), paid(None, trained=1, number=2)]))
    assert (unbilled.cost_usd, unbilled.saved_percent) == (None, None)
    assert unbilled.unpriced_attempts == (2,)
    assert unbilled.billable_seconds == HOUR

    unpriced = tuple(replace(rung, usd_per_hour=None) for rung in (story.spot, story.on_demand))
    account = costs.account(story.run(rungs=unpriced, attempts=[paid(1, unpriced[0], trained=4)]))
    assert (account.cost_usd, account.on_demand_cost_usd, account.saved_percent) == (None, None, None)


def test_nothing_is_saved_before_anything_trained(story):
    account = costs.account(story.run())
    assert account.cost_usd == 0
    assert account.saved_percent is None
    assert account.billable_seconds is None


def test_what_is_not_billed_yet_counts_in_full_against_the_budget(story, paid):
    running = story.training(since="00:10", number=2, trained_seconds=2 * HOUR)
    run = story.run(attempts=[paid(1, trained=4), running])
    assert costs.spent_usd(run) == pytest.approx(99)
