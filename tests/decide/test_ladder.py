"""Which rung comes next, and the last safe moment, worked by hand."""

from dataclasses import replace

import pytest

from nightspot.decide import ladder
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market
from nightspot.run.model import AttemptState

TYPES = ("ml.p4d.24xlarge", "ml.p5.48xlarge", "ml.g5.48xlarge")


@pytest.fixture
def spots(story):
    return tuple(replace(story.spot, instance_type=name) for name in TYPES)


@pytest.fixture
def run_after(story, spots):
    def run(*attempts, **changes):
        numbered = [replace(attempt, number=n) for n, attempt in enumerate(attempts, 1)]
        return story.run(**{"rungs": (*spots, story.on_demand), "attempts": numbered, **changes})

    return run


def test_the_first_rung_is_the_best(run_after, spots):
    assert ladder.next_rung(run_after(), Market.SPOT) == spots[0]


def test_a_rung_without_capacity_gives_way_to_the_next_and_the_ladder_wraps_round(story, run_after, spots):
    ended = [story.ended(FailureClass.NO_CAPACITY, spot) for spot in spots]
    following = [ladder.next_rung(run_after(*ended[:n]), Market.SPOT) for n in range(1, 4)]
    assert following == [spots[1], spots[2], spots[0]]


def test_after_a_rung_that_trained_the_best_comes_first_again(story, run_after, spots):
    trained = story.ended(FailureClass.INTERRUPTED, spots[1], trained_seconds=60.0)
    assert ladder.next_rung(run_after(trained), Market.SPOT) == spots[0]


@pytest.mark.parametrize("failure", [FailureClass.THROTTLED, FailureClass.SERVICE_FAULT])
def test_a_fault_that_says_nothing_of_capacity_is_answered_on_the_same_rung(story, run_after, spots, failure):
    assert ladder.next_rung(run_after(story.ended(failure, spots[1])), Market.SPOT) == spots[1]


def test_a_rung_without_quota_is_never_asked_again(story, run_after, spots):
    gone = story.ended(FailureClass.QUOTA_PERMANENT, spots[0])
    dry = [story.ended(FailureClass.NO_CAPACITY, spot) for spot in spots[1:]]
    assert ladder.next_rung(run_after(gone), Market.SPOT) == spots[1]
    assert ladder.next_rung(run_after(gone, *dry), Market.SPOT) == spots[1]


def test_no_quota_in_one_market_says_nothing_of_the_other(story):
    run = story.run(attempts=[story.ended(FailureClass.QUOTA_PERMANENT)])
    assert ladder.next_rung(run, Market.SPOT) is None
    assert ladder.next_rung(run, Market.ON_DEMAND) == story.on_demand


def test_a_job_that_forbids_on_demand_has_no_rung_to_repair_with(story):
    assert ladder.repair_rung(story.run(), story.midnight) == story.on_demand
    assert ladder.repair_rung(story.run(fallback=Fallback.NEVER), story.midnight) is None


def test_spot_may_be_waited_for_until_a_failed_start_could_just_be_repaired(story):
    # 08:00 - 4 h 48 min of work - 30 min lost - 10 min Spot - 3 min to stop - 15 min on-demand.
    assert ladder.spot_leave_at(story.run(), story.spot, story.on_demand) == story.at("02:14")


def test_a_job_that_has_its_machine_may_start_until_on_demand_must(story):
    # 08:00 - 4 h 48 min of work - 30 min that a reclaim can take - 3 min to stop - 15 min on-demand.
    starting = story.attempt(state=AttemptState.STARTING, state_since=story.at("02:14"))
    assert last_safe_at(story, starting) == story.at("02:24")
    assert last_safe_at(story, story.attempt()) == story.at("02:14")


def test_a_machine_that_came_back_after_the_last_safe_moment_is_no_reason_to_stay(story):
    starting = story.attempt(state=AttemptState.STARTING, state_since=story.at("02:20"), interruptions=1)
    assert last_safe_at(story, starting) == story.at("02:14")


def last_safe_at(story, attempt):
    return ladder.last_safe_at(story.run(attempts=[attempt]), story.at("02:21"))


def test_where_nothing_can_repair_it_spot_may_start_until_it_would_be_late_itself(story):
    # 08:00 - the 4 h that are expected - 10 min Spot.
    assert ladder.spot_leave_at(story.run(), story.spot, None) == story.at("03:50")


def test_a_checkpoint_moves_the_last_safe_moment_back(story):
    # A quarter of 4 h 48 min is done: an hour and twelve minutes later than 02:14.
    run = story.run(progress=story.progress(6, "01:10"))
    assert ladder.spot_leave_at(run, story.spot, story.on_demand) == story.at("03:26")


def test_the_repairing_rungs_speed_decides_not_spots(story):
    slow = replace(story.spot, speed=0.45)
    fast = replace(story.on_demand, speed=2.0)
    # 2 h 24 min on the fast rung: 2 h 24 min later than 02:14, less the minute of a slack that shrinks.
    assert ladder.spot_leave_at(story.run(), slow, fast) == story.at("04:37")


def test_of_a_slow_job_that_trains_the_last_safe_moment_is_the_one_at_which_it_is_stopped(story):
    slow = replace(story.spot, speed=0.45)
    # 21 steps of 1,333 s are left, and half an hour of them takes a quarter of an hour of the slack. On-demand
    # would need 3 h 51 min, 15 min to start and 3 min to stop: at 02:30 that is 81 min, of which half an hour is
    # needed until the next checkpoint. At the fourth, 04:30, 20 min are left, which is less.
    attempt = story.training(slow, since="00:40", seconds_per_step=600 / 0.45)
    run = story.run(
        rungs=(slow, story.on_demand),
        attempts=[attempt],
        progress=story.progress(3, "02:30", attempt=1),
        work_upper_seconds=15_840.0,  # 24 steps of 600 s, and a tenth
    )
    assert ladder.last_safe_at(run, story.at("02:30")) == story.at("04:30")


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        # The worst case is 4 h 48 min, 10 min and 3 min to stop at $33: $165.55.
        (None, True),
        (165.56, True),
        (165.54, False),
    ],
)
def test_an_attempts_worst_case_must_fit_into_the_budget(story, budget, fits):
    assert ladder.within_budget(story.run(budget_usd=budget), story.spot) is fits


def test_every_instance_is_paid_for(story):
    run = story.run(budget_usd=200.0)
    assert not ladder.within_budget(run, replace(story.spot, instance_count=2))


def test_what_is_spent_is_gone(story):
    spent = story.ended(FailureClass.INTERRUPTED, billable_seconds=3600.0)
    assert not ladder.within_budget(story.run(budget_usd=198.0, attempts=[spent]), story.spot)
    assert ladder.within_budget(story.run(budget_usd=199.0, attempts=[spent]), story.spot)


def test_without_a_price_no_budget_can_be_promised(story):
    unpriced = replace(story.spot, usd_per_hour=None)
    assert ladder.within_budget(story.run(), unpriced)
    assert not ladder.within_budget(story.run(budget_usd=1e9), unpriced)
