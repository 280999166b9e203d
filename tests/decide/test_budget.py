"""A run never spends what it should not: no start that does not fit, no machine kept past what is paid for."""

from dataclasses import replace

import pytest

from nightspot.decide import ladder
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.plan import planning
from nightspot.run.model import Action, AttemptState, Outcome
from nightspot.run.reasons import Reason


@pytest.fixture
def repeating(story):
    """Spot has trained four hours for two hours' worth of steps: reclaims took the rest."""
    return story.training(since="03:30", trained_seconds=4 * 3600.0, interruptions=4)


def test_a_machine_is_kept_no_longer_than_the_budget_pays_for(story, repeating):
    # $132 of $144 are gone; $12 pay for 21 min 49 s, of which 3 min are the stop's.
    run = story.run(budget_usd=144.0, attempts=[repeating], progress=story.progress(12, "03:40"))
    step = next_step(run, story.at("04:00"))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 18 * 60 + 49)


def test_a_machine_is_stopped_when_the_rest_pays_only_for_the_stop(story, repeating):
    run = story.run(budget_usd=133.0, attempts=[repeating], progress=story.progress(12, "03:40"))
    step = next_step(run, story.at("04:00"))
    assert step.action is Action.STOP
    assert step.because == (
        "Spot ml.p4d.24xlarge (step 12 of 24 is safe): $132.00 of the run's $133.00 are spent, "
        "and the rest pays for no more than the stop."
    )


@pytest.mark.parametrize(
    "changes",
    [{"budget_usd": 133.0}, {"replaced_by": "20261122-newer"}, {"stop_asked_by": "nightspot stop"}],
    ids=["the budget", "another run", "a person"],
)
def test_a_job_that_uploads_is_stopped_by_nobody(story, repeating, changes):
    run = story.run(attempts=[repeating], progress=story.progress(24, "03:40"), **changes)
    assert next_step(run, story.at("04:00")).action is Action.STOP
    uploads = replace(repeating, secondary_status="Uploading")
    step = next_step(replace(run, attempts=(uploads,)), story.at("04:00"))
    assert (step.action, step.reason, step.late) == (Action.WATCH, Reason.UPLOADING, False)
    assert next_step(replace(run, attempts=(uploads,)), story.at("08:01")).late


def test_on_demand_is_stopped_for_the_budget_as_well(story):
    training = story.training(story.on_demand, since="03:00", trained_seconds=3600.0)
    run = story.run(budget_usd=33.5, attempts=[training])
    assert next_step(run, story.at("04:00")).action is Action.STOP


def test_a_wait_for_a_machine_is_cut_as_well_because_it_may_come_unseen(story):
    run = story.run(budget_usd=16.5, attempts=[story.attempt()])
    step = next_step(run, story.at("00:10"))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 27 * 60)


def test_after_the_budgets_stop_the_run_ends_and_says_so(story, repeating):
    stopped = replace(
        repeating,
        state=AttemptState.ENDED,
        failure=FailureClass.STOPPED_BY_NIGHTSPOT,
        ended_at=story.at("04:03"),
        billable_seconds=4 * 3600.0,
    )
    run = story.run(budget_usd=133.0, attempts=[stopped], progress=story.progress(12, "03:40"))
    step = next_step(run, story.at("04:03"))
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert "$132.00 of the run's $133.00 are spent and no attempt's worst case fits" in step.because


def test_what_is_left_of_the_month_is_named_as_the_months(story):
    step = next_step(story.run(budget_usd=12.0, budget_of="month"), story.midnight)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert step.because == (
        "$0.00 of the month's last $12.00 are spent and no attempt's worst case fits into the rest."
    )


def test_the_request_carries_the_budget_as_its_runtime_limit(story):
    # A workflow that has crashed stops nothing: SageMaker's own limit has to.
    run = story.run(budget_usd=170.0)
    request = planning.create_training_job(run, story.spot, 1, story.midnight)
    stopping = request["StoppingCondition"]
    assert stopping["MaxRuntimeInSeconds"] == int(170 / 33 * 3600)
    assert stopping["MaxWaitTimeInSeconds"] >= stopping["MaxRuntimeInSeconds"]


def test_a_budget_that_pays_for_more_leaves_the_users_limit(story):
    request = planning.create_training_job(story.run(budget_usd=900.0), story.on_demand, 1, story.midnight)
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 21_600


@pytest.mark.parametrize(("budget", "worst"), [(150.0, 150.0), (None, (4.8 + 0.25) * 33)])
def test_the_most_that_a_run_may_come_to(story, budget, worst):
    assert ladder.worst_usd(story.run(budget_usd=budget)) == pytest.approx(worst)


@pytest.fixture
def reclaimed(story):
    """$10 an hour; Spot has trained 3.4 h, of which half is safe, and waits again: $34 at the list price.

    The 2 h 21 min left are $26 on-demand with its start. 08:00 less that, 3 min to stop, 15 min on-demand, 30 min
    that may be lost and 10 min to start on Spot: it may be waited for until 04:41.
    """

    def run(budget_usd, discount, **changes):
        spot = replace(story.spot, usd_per_hour=10.0, spot_discount=discount)
        bought = replace(story.on_demand, usd_per_hour=10.0)
        waits = {"interruptions": 1, "state_since": story.at("04:00"), "trained_seconds": 3.4 * 3600}
        job = story.attempt(spot, **{**waits, **changes})
        return story.run(
            rungs=(spot, bought),
            attempts=[job],
            work_upper_seconds=2 * 2.35 * 3600,
            progress=story.progress(12, "03:55"),
            budget_usd=budget_usd,
        )

    return run


@pytest.mark.parametrize("discount", [0.7, 0.3, None])
def test_money_that_a_bill_will_give_back_moves_no_last_safe_moment(story, reclaimed, discount):
    free, run = reclaimed(None, discount), reclaimed(60.0, discount)
    now = story.at("04:30")
    assert ladder.last_safe_at(run, now) == ladder.last_safe_at(free, now) == story.at("04:41")
    assert next_step(run, story.at("04:40:58")).action is Action.WATCH
    step = next_step(run, story.at("04:41"))
    assert (step.action, step.reason) == (Action.STOP, Reason.LAST_SAFE_MOMENT)


@pytest.mark.parametrize("budget_usd", [45.0, 50.0, 60.0])
def test_nor_where_both_markets_take_as_long_to_start(story, reclaimed, budget_usd):
    """The review's d9: the wait went on 43 min too long."""

    def alike(run):
        rungs = tuple(replace(rung, change_over_seconds=600) for rung in run.rungs)
        return replace(run, rungs=rungs, attempts=(replace(run.attempts[0], rung=rungs[0]),))

    now = story.at("04:30")
    free, run = alike(reclaimed(None, 0.7)), alike(reclaimed(budget_usd, 0.7))
    assert ladder.last_safe_at(run, now) == ladder.last_safe_at(free, now)


@pytest.mark.parametrize(
    ("billable", "rung"), [(3600.0, 1), (3.3 * 3600, 0)], ids=["billed $10", "billed $33"]
)
def test_what_follows_is_judged_by_the_bill(story, reclaimed, billable, rung):
    ended = {
        "state": AttemptState.ENDED,
        "failure": FailureClass.STOPPED_BY_NIGHTSPOT,
        "ended_at": story.at("04:44"),
        "ended_waiting": True,
        "billable_seconds": billable,
    }
    run = reclaimed(58.9, 0.7, **ended)
    step = next_step(run, story.at("04:44"))
    # $48.90 pay for the rest on-demand, in time; $25.90 do not, but for one more try on Spot.
    assert (step.action, step.rung, step.late) == (Action.START, run.rungs[rung], False)


def test_a_repair_that_not_even_the_bill_makes_affordable_is_none(story, reclaimed):
    # The expected work of two hours and 10 min to start still fit at 05:50.
    run = replace(reclaimed(35.0, 0.3), work_seconds=4 * 3600.0)
    assert ladder.last_safe_at(run, story.at("04:30")) == story.at("05:50")


@pytest.mark.parametrize("discount", [0.9, 0.7, 0.3, None])
def test_no_budget_that_pays_for_on_demand_after_the_bill_makes_the_wait_longer(story, reclaimed, discount):
    now, free = story.at("04:30"), ladder.last_safe_at(reclaimed(None, discount), story.at("04:30"))
    bill = 34.0 * (1 - (0.9 if discount is None else discount))
    for dollars in range(28, 120):
        if dollars - bill > 27:
            assert ladder.last_safe_at(reclaimed(float(dollars), discount), now) <= free


def test_without_a_price_the_most_is_not_known(story):
    rungs = (story.spot, replace(story.on_demand, usd_per_hour=None))
    assert ladder.worst_usd(story.run(rungs=rungs)) is None
