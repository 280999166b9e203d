"""What attempts cost and what a run saved, at $33 an hour."""

from dataclasses import replace

import pytest

from nightspot.costs import account as costs
from nightspot.costs.account import Missing
from nightspot.costs.lost_work import Evidence
from nightspot.failures.codes import FailureClass
from nightspot.run.model import LeftOut, Outcome

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


@pytest.fixture
def good_night(story):
    """A run that ended with a model; its attempts, and what else is different."""

    def run(*attempts, **changes):
        return story.run(**{"outcome": Outcome.SUCCEEDED, "attempts": attempts, **changes})

    return run


@pytest.mark.parametrize("seen", [{"worked_seconds": 0.0}, {"status": None}], ids=["waited", "not created"])
def test_an_attempt_that_never_had_a_machine_costs_nothing(paid, seen):
    assert costs.attempt_cost_usd(paid(None, trained=0, failure=FailureClass.NO_CAPACITY, **seen)) == 0


def test_where_sagemaker_tells_nothing_at_all_a_cost_is_not_known(good_night, paid):
    # No TrainingTimeInSeconds, no BillableTimeInSeconds, no transitions: it may have trained all night.
    silent = paid(None, trained=0, status="Completed")
    account = costs.account(good_night(silent))
    assert costs.attempt_cost_usd(silent) is None
    assert (account.cost_usd, account.trained_seconds, account.saved_usd) == (None, None, None)
    assert account.missing == (Missing.BILLABLE_SECONDS, Missing.WORK_SECONDS)


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
            paid(None, trained=0, number=3, failure=FailureClass.THROTTLED, status=None),
            paid(2, story.on_demand, trained=2, number=4),
        ]
    )
    account = costs.account(run)
    assert account.cost_usd == pytest.approx(115.5)
    assert account.billable_seconds == 3.5 * HOUR
    assert account.trained_seconds == 6 * HOUR
    assert account.unpriced_attempts == ()


def test_savings_are_against_the_same_work_on_demand(story, paid, good_night):
    # 24 steps of 600 s are 4 h: $132 on demand. Billed 1.2 h: $39.60.
    run = good_night(paid(1.2, trained=5, seconds_per_step=600.0), progress=story.progress(24, "06:00"))
    account = costs.account(run)
    assert account.on_demand_cost_usd == pytest.approx(132)
    assert account.saved_usd == pytest.approx(92.4)
    assert account.saved_percent == pytest.approx(70)
    assert account.missing == ()


def test_a_night_dearer_than_on_demand_says_so(story, paid, good_night):
    account = costs.account(
        good_night(paid(8, trained=8, seconds_per_step=600.0), progress=story.progress(24, "08:00"))
    )
    assert (account.saved_usd, account.saved_percent) == (pytest.approx(-132), pytest.approx(-100))


@pytest.mark.parametrize(
    "outcome", [outcome for outcome in Outcome if outcome is not Outcome.SUCCEEDED], ids=str
)
def test_without_a_model_the_whole_cost_is_a_loss(paid, good_night, outcome):
    account = costs.account(good_night(paid(1, trained=4, failure=FailureClass.USER_CODE), outcome=outcome))
    assert (account.cost_usd, account.on_demand_cost_usd, account.saved_usd) == (33, 0, -33)
    assert account.saved_percent is None
    assert [a.saved_usd for a in account.attempts] == [-33]


def test_while_a_run_is_open_nothing_is_saved_yet(paid, good_night):
    account = costs.account(good_night(paid(1, trained=4), outcome=None))
    assert (account.saved_usd, account.missing) == (None, (Missing.OUTCOME,))
    assert account.on_demand_cost_usd == pytest.approx(132)


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


@pytest.mark.parametrize("total_steps", [40, 100], ids=["all 40 steps", "early, at step 40 of 100"])
def test_a_run_that_stops_early_delivered_the_steps_until_then(story, paid, good_night, total_steps):
    """One managed job at $10 an hour, 60 s a step, three interruptions that made it repeat 25 steps."""
    cheap = replace(story.spot, usd_per_hour=10.0)
    job = paid(
        1795.5 / HOUR,
        cheap,
        trained=5130 / HOUR,
        worked_seconds=3930.0,
        interruptions=3,
        seconds_per_step=60.0,
        step_after=40,
    )
    run = good_night(
        job,
        rungs=(cheap, replace(story.on_demand, usd_per_hour=10.0)),
        progress=story.progress(40, "01:20", total_steps=total_steps),
    )
    account = costs.account(run)
    assert account.on_demand_cost_usd == pytest.approx(6.67, abs=0.005)
    assert (account.saved_usd, account.saved_percent) == (
        pytest.approx(1.68, abs=0.005),
        pytest.approx(25.2, abs=0.05),
    )
    assert (account.repeated_seconds, account.repeated_evidence) == (1530, Evidence.MEASURED)
    assert costs.needed_seconds(run) == 2400


def test_an_exit_after_3_of_24_steps_is_not_24_steps_of_work(story, paid, good_night):
    stopped = paid(0.15, trained=0.5, seconds_per_step=600.0, step_after=3)
    run = good_night(stopped, progress=story.progress(3, "00:40"))
    assert costs.needed_seconds(run) == 1800
    assert costs.account(run).on_demand_cost_usd == pytest.approx(16.5)  # half an hour at $33


def test_work_on_a_slow_rung_is_told_at_speed_one(story, paid):
    slow = replace(story.spot, speed=0.5)
    by_time = story.run(attempts=[paid(1, slow, trained=4)])
    by_steps = story.run(
        attempts=[paid(1, slow, trained=4, seconds_per_step=1200.0)], progress=story.progress(24, "06:00")
    )
    assert costs.needed_seconds(by_time) == 2 * HOUR
    assert costs.needed_seconds(by_steps) == 4 * HOUR


def test_a_ladder_without_on_demand_is_measured_on_its_own_type(story, paid, good_night):
    account = costs.account(good_night(paid(1, trained=4), rungs=(story.spot,)))
    assert (account.on_demand_cost_usd, account.yardstick) == (pytest.approx(132), story.spot)


G5 = "ml.g5.12xlarge"


@pytest.fixture
def g5_night(story, paid, good_night):
    """4 h of work on Spot ml.g5.12xlarge ($7, 20 % off, a start-up of 5 min), and a dear on-demand type."""

    def run(**changes):
        spot = replace(story.spot, instance_type=G5, usd_per_hour=7.0)
        fast = replace(story.on_demand, speed=3.0)  # $33 for three times the work: $11
        hours = 4 + 5 / 60
        job = paid(hours * 0.8, spot, trained=hours, worked_seconds=4 * HOUR)
        return good_night(job, **{"rungs": (spot, fast), **changes})

    return run


def test_the_yardstick_is_the_cheapest_way_in_time_and_not_the_type_that_is_kept_for_the_deadline(g5_night):
    account = costs.account(g5_night())
    assert (account.yardstick.instance_type, account.yardstick_in_time) == (G5, True)
    assert account.saved_percent == pytest.approx(18.3, abs=0.05)


def test_a_type_that_would_have_been_late_is_no_yardstick(story, g5_night):
    # 4 h and 10 min on ml.g5.12xlarge; 1 h 20 min and 15 min on three times as fast a machine.
    account = costs.account(g5_night(deadline=story.at("04:00")))
    assert (account.yardstick.instance_type, account.yardstick_in_time) == ("ml.p4d.24xlarge", True)
    assert account.saved_percent == pytest.approx(48.0, abs=0.05)


def test_where_nothing_would_have_been_in_time_the_fastest_is_the_yardstick(story, g5_night):
    account = costs.account(g5_night(deadline=story.at("01:00")))
    assert (account.yardstick.instance_type, account.yardstick_in_time) == ("ml.p4d.24xlarge", False)


def test_a_resumed_run_has_only_the_rest_of_its_work_to_do_in_time(story, g5_night):
    half = {"deadline": story.at("04:00"), "inherited": story.progress(12, "00:00")}
    account = costs.account(g5_night(**half))
    assert (account.yardstick.instance_type, account.yardstick_in_time) == (G5, True)


def test_a_rung_without_quota_is_no_yardstick(story, g5_night):
    cheap = replace(story.on_demand, instance_type="ml.g4dn.12xlarge", usd_per_hour=1.0)
    rungs = (*g5_night().rungs, cheap)
    assert costs.account(g5_night(rungs=rungs)).yardstick == cheap
    left_out = (LeftOut(cheap, "its quota is 0, and 1 are needed"),)
    assert costs.account(g5_night(rungs=rungs, left_out=left_out)).yardstick.instance_type == G5


def test_a_type_of_both_ladders_is_measured_on_demand(story, paid, good_night):
    account = costs.account(good_night(paid(1, trained=4)))
    assert account.yardstick == story.on_demand


def test_a_type_without_a_price_is_no_yardstick(g5_night):
    spot, fast = g5_night().rungs
    account = costs.account(g5_night(rungs=(replace(spot, usd_per_hour=None), fast)))
    assert account.yardstick == fast


def test_without_a_model_there_is_no_yardstick(g5_night):
    assert costs.account(g5_night(outcome=Outcome.FAILED)).yardstick is None


def test_nothing_is_saved_where_a_figure_is_missing(story, paid, good_night):
    unbilled = costs.account(good_night(paid(1, trained=4), paid(None, trained=1, number=2)))
    assert (unbilled.cost_usd, unbilled.saved_usd, unbilled.saved_percent) == (None, None, None)
    assert (unbilled.cost_at_least_usd, unbilled.billable_seconds) == (33, None)
    assert unbilled.unpriced_attempts == (2,)
    assert unbilled.missing == (Missing.BILLABLE_SECONDS,)

    unpriced = tuple(replace(rung, usd_per_hour=None) for rung in (story.spot, story.on_demand))
    account = costs.account(good_night(paid(1, unpriced[0], trained=4), rungs=unpriced))
    assert (account.cost_usd, account.on_demand_cost_usd, account.saved_usd) == (None, None, None)
    assert account.missing == (Missing.USD_PER_HOUR, Missing.ON_DEMAND_USD_PER_HOUR)


def test_a_model_that_took_no_training_saved_nothing_that_is_known(paid, good_night):
    account = costs.account(good_night(paid(None, trained=0, worked_seconds=0.0)))
    assert (account.cost_usd, account.on_demand_cost_usd, account.saved_usd) == (0, None, None)
    assert account.missing == (Missing.WORK_SECONDS,)


def test_before_anything_trained_nothing_is_owed(story):
    account = costs.account(story.run())
    assert (account.cost_usd, account.billable_seconds) == (0, 0)
    assert (account.on_demand_cost_usd, account.saved_usd) == (None, None)


def test_starting_again_and_repeating_is_what_interruptions_take(story, paid, good_night):
    # Two start-ups of 300 s on Spot, the second after a reclaim that lost 900 s, and one of 400 s on-demand.
    spot = paid(
        1,
        trained=0,
        failure=FailureClass.STOPPED_BY_NIGHTSPOT,
        ended_waiting=True,
        interruptions=1,
        queued_seconds=60.0,
        ready_seconds=360.0,
        worked_seconds=8100.0,
        seconds_per_step=600.0,
        step_after=12,
    )
    spot = replace(spot, trained_seconds=8700.0)
    on_demand = paid(2, story.on_demand, number=2, trained=0, worked_seconds=7200.0, ready_seconds=500.0)
    on_demand = replace(on_demand, trained_seconds=7600.0, queued_seconds=100.0, seconds_per_step=600.0)
    account = costs.account(good_night(spot, on_demand, progress=story.progress(24, "07:00")))
    assert (account.starting_seconds, account.repeated_seconds) == (1000, 900)
    assert account.lost_seconds == 900 + 300 + 400
    assert account.repeated_evidence is Evidence.MEASURED
    assert [a.on_demand_cost_usd for a in account.attempts] == [66, 66]
    assert account.interruptions == 1


def test_work_on_a_slow_machine_is_less_work_on_demand_and_every_instance_is_paid(story, paid, good_night):
    # 4 h at half speed on two machines are 2 h on the on-demand rung's two: $132.
    slow = replace(story.spot, speed=0.5, instance_count=2)
    rungs = (slow, replace(story.on_demand, instance_count=2))
    account = costs.account(good_night(paid(1, slow, trained=4), rungs=rungs))
    assert account.on_demand_cost_usd == pytest.approx(132)


def test_a_loss_needs_no_price_of_what_was_not_bought(story, paid, good_night):
    rungs = (story.spot, replace(story.on_demand, usd_per_hour=None))
    failed = paid(1, trained=4, failure=FailureClass.USER_CODE)
    account = costs.account(good_night(failed, rungs=rungs, outcome=Outcome.FAILED))
    assert (account.saved_usd, account.missing) == (-33, ())


def test_one_estimate_makes_the_runs_figure_one_and_one_unknown_makes_it_unknown(paid, good_night):
    cut = paid(1, trained=2, failure=FailureClass.SERVICE_FAULT)
    whole = paid(1, trained=4, number=2)
    silent = paid(None, trained=0, number=3, failure=FailureClass.SERVICE_FAULT)
    assert costs.account(good_night(whole)).repeated_evidence is Evidence.MEASURED
    assert costs.account(good_night(cut, whole)).repeated_evidence is Evidence.ESTIMATED
    unknown = costs.account(good_night(cut, whole, silent))
    assert (unknown.repeated_evidence, unknown.repeated_seconds) == (None, None)


def test_a_request_that_was_refused_takes_no_machine_time(paid, good_night):
    refused = paid(None, trained=0, failure=FailureClass.THROTTLED, status=None)
    whole = paid(1, trained=4, number=2, worked_seconds=4 * HOUR, queued_seconds=9.0, ready_seconds=9.0)
    account = costs.account(good_night(refused, whole))
    assert (account.starting_seconds, account.lost_seconds, account.cost_usd) == (0, 0, 33)


def test_without_transitions_start_ups_are_not_known(paid, good_night):
    account = costs.account(good_night(paid(1, trained=4)))
    assert (account.starting_seconds, account.lost_seconds, account.repeated_seconds) == (None, None, 0)


@pytest.fixture
def under_plan(story):
    """The two rungs at $23 an hour, of which an idle Savings Plan makes `least`."""

    def rungs(least=0.0, usd=23.0):
        return tuple(
            replace(rung, usd_per_hour=usd, least_usd_per_hour=least)
            for rung in (story.spot, story.on_demand)
        )

    return rungs


def test_a_commitment_that_is_paid_anyway_is_no_saving(paid, good_night, under_plan):
    """A plan of $23 an hour covers the machine. 4 h of work; Spot was billed $47.16."""
    spot, on_demand = under_plan()
    account = costs.account(good_night(paid(47.16 / 23, spot, trained=4), rungs=(spot, on_demand)))
    assert account.cost_usd == pytest.approx(47.16)
    # AWS's bill with an idle plan: the commitment either way, and $47.16 because of Spot.
    assert (account.on_demand_cost_usd, account.saved_usd) == (0, pytest.approx(-47.16))
    # With a plan that other work uses up: $92 less $47.16.
    assert account.saved_at_most_usd == pytest.approx(44.84)
    assert (account.saved_percent, account.uses_plan_rate) == (None, True)


def test_under_a_plan_that_other_work_uses_up_the_list_price_alone_counts(paid, good_night, under_plan):
    spot, on_demand = under_plan(least=23.0)
    account = costs.account(good_night(paid(47.16 / 23, spot, trained=4), rungs=(spot, on_demand)))
    assert account.saved_usd == account.saved_at_most_usd == pytest.approx(44.84)
    assert (account.uses_plan_rate, account.plan_is_used_up) == (False, True)


def test_under_an_idle_plan_the_fall_back_adds_only_what_it_adds(paid, good_night, under_plan):
    spot, on_demand = under_plan()
    run = good_night(
        paid(1, spot, trained=2, failure=FailureClass.STOPPED_BY_NIGHTSPOT, ended_waiting=True),
        paid(2, on_demand, number=2, trained=2),
        rungs=(spot, on_demand),
    )
    account = costs.account(run)
    # Idle: the Spot hour alone. Used up: $23 and $46, against 4 h at $23.
    assert (account.cost_usd, account.saved_usd, account.saved_at_most_usd) == (23, -23, pytest.approx(23))
    assert [a.cost_usd for a in account.attempts] == [23, 0]
    # A budget counts the list price.
    assert costs.spent_usd(run) == 69


def test_a_plan_that_covers_half_of_the_machines_leaves_half_of_the_bounds(paid, good_night, under_plan):
    spot, on_demand = under_plan(least=11.5)
    account = costs.account(good_night(paid(1, spot, trained=4), rungs=(spot, on_demand)))
    assert (account.saved_usd, account.saved_at_most_usd) == (pytest.approx(23), pytest.approx(69))


def test_both_bounds_are_of_every_machine(paid, good_night, under_plan):
    # Of four machines a plan covers two: an hour adds $46 at least, and $92 at most.
    spot, on_demand = (replace(rung, instance_count=4) for rung in under_plan(least=11.5))
    account = costs.account(good_night(paid(1, spot, trained=4), rungs=(spot, on_demand)))
    assert account.cost_usd == 92
    assert (account.saved_usd, account.saved_at_most_usd) == (pytest.approx(92), pytest.approx(276))


def test_the_lower_bound_is_the_list_price_where_more_was_bought_than_needed(paid, good_night, under_plan):
    # 4 h trained on-demand, of which the script's steps took half an hour.
    spot, on_demand = under_plan()
    long = paid(4, on_demand, trained=0.5)
    account = costs.account(good_night(long, rungs=(spot, on_demand)))
    assert (account.saved_usd, account.saved_at_most_usd) == (pytest.approx(-80.5), 0)


def test_a_plan_for_another_type_of_the_ladder_makes_that_type_the_cheapest(story, g5_night):
    spot, fast = g5_night().rungs
    account = costs.account(g5_night(rungs=(spot, replace(fast, least_usd_per_hour=0.0))))
    assert (account.yardstick.instance_type, account.on_demand_cost_usd) == ("ml.p4d.24xlarge", 0)
    assert account.saved_at_most_usd == pytest.approx(28 - account.cost_usd)


def test_without_a_bill_a_run_under_a_plan_says_the_least_that_is_known(paid, good_night, under_plan):
    spot, on_demand = under_plan()
    run = good_night(
        paid(1, spot, trained=2, failure=FailureClass.INTERRUPTED),
        paid(1, on_demand, number=2, trained=1, failure=FailureClass.INTERRUPTED),
        paid(None, on_demand, number=3, trained=1),
        rungs=(spot, on_demand),
    )
    account = costs.account(run)
    assert (account.cost_usd, account.saved_usd, account.saved_at_most_usd) == (None, None, None)
    assert account.cost_at_least_usd == 23


def test_what_is_not_billed_yet_counts_in_full_against_the_budget(story, paid):
    running = story.training(since="00:10", number=2, trained_seconds=2 * HOUR)
    run = story.run(attempts=[paid(1, trained=4), running])
    assert costs.spent_usd(run) == pytest.approx(99)
