"""The rule on situations that no ledger stands behind, worked by hand."""

from dataclasses import replace

import pytest

from nightspot.decide.rule import Decision, Situation, Terms, decide
from nightspot.job.markets import Market, Policy
from nightspot.run.model import Action, AttemptState, Rung
from nightspot.run.reasons import Reason

HOUR = 3600.0
SPOT = Rung(Market.SPOT, "a", "here", change_over_seconds=600)
OTHER = Rung(Market.SPOT, "b", "here", change_over_seconds=600)
BOUGHT = Rung(Market.ON_DEMAND, "a", "here", change_over_seconds=900)
TERMS = Terms(
    spot=(SPOT,),
    on_demand=(BOUGHT,),
    policy=Policy.PATIENT,
    stop_seconds=180.0,
    interval_seconds=1800.0,
    give_up_seconds=24 * HOUR,
)
# 4 h of work, half an hour that a reclaim can take, 10 min for Spot, 3 min to stop, 15 min for on-demand.
LAST_SAFE = 4 * HOUR + 1800 + 600 + 180 + 900


def waiting(left_seconds, **changes):
    fields = {"rung": SPOT, "state": AttemptState.WAITING, "age_seconds": 60.0}
    return Situation(left_seconds, 4 * HOUR, TERMS, **{**fields, **changes})


@pytest.mark.parametrize(
    ("spare", "decision"),
    [
        (2 * HOUR, Decision(Action.WATCH, Reason.WAITING, 3600)),
        (90.5, Decision(Action.WATCH, Reason.WAITING, 90)),
        (1.0, Decision(Action.WATCH, Reason.WAITING, 1)),
        (0.5, Decision(Action.STOP, Reason.LAST_SAFE_MOMENT, 300)),
        (-60.0, Decision(Action.STOP, Reason.LAST_SAFE_MOMENT, 300)),
    ],
)
def test_spot_is_waited_for_until_the_last_safe_moment(spare, decision):
    assert decide(waiting(LAST_SAFE + spare)) == decision


@pytest.mark.parametrize(
    ("spare", "rung", "reason"),
    [(60.0, SPOT, Reason.WAIT_FOR_SPOT), (0.0, BOUGHT, Reason.LAST_SAFE_MOMENT)],
)
def test_the_same_moment_decides_what_a_run_begins_with(spare, rung, reason):
    begins = decide(Situation(LAST_SAFE + spare, 4 * HOUR, TERMS))
    assert (begins.action, begins.rung, begins.reason) == (Action.START, rung, reason)


def test_sums_of_floats_that_are_off_by_less_than_a_microsecond_decide_nothing():
    for error in (-1e-9, 0.0, 1e-9):
        assert decide(waiting(LAST_SAFE + 1 + error)).action is Action.WATCH
        bought = decide(Situation(4 * HOUR + 900 + error, 4 * HOUR, TERMS))
        assert (bought.rung, bought.is_late) == (BOUGHT, False)


def test_a_type_that_may_have_a_machine_gets_its_turn_after_the_patience():
    early = waiting(LAST_SAFE + HOUR, others=(OTHER,), age_seconds=1790.0)
    assert decide(early) == Decision(Action.WATCH, Reason.WAITING, 10)
    late = early._replace(age_seconds=1800.0)
    assert decide(late) == Decision(Action.STOP, Reason.PATIENCE_OVER, 300, OTHER)


def test_a_job_that_trains_is_left_alone_however_little_time_is_left():
    trains = waiting(4 * HOUR, state=AttemptState.TRAINING, running_left_seconds=4 * HOUR)
    assert decide(trains) == Decision(Action.WATCH, Reason.ON_TRACK, 900)
    late = trains._replace(running_left_seconds=4 * HOUR + 1)
    assert decide(late) == Decision(Action.WATCH, Reason.LATE, 3600, is_late=True)


FAST = replace(BOUGHT, speed=2.0)


def slower(slack_seconds, checkpoint_in_seconds, **changes):
    """Trains 4 h of work at speed 1, where on-demand does it in 2 h: of each half hour a quarter is lost."""
    return Situation(
        2 * HOUR + 180 + 900 + slack_seconds,
        4 * HOUR,
        TERMS._replace(on_demand=(FAST,)),
        SPOT,
        AttemptState.TRAINING,
        running_left_seconds=0.0,
        machine_seconds=4 * HOUR,
        checkpoint_in_seconds=checkpoint_in_seconds,
        **changes,
    )


@pytest.mark.parametrize(
    ("slack", "checkpoint_in", "look"),
    [
        (
            1860 + 1.0,
            1800.0,
            900,
        ),  # the half hour until the next checkpoint, and a minute: it is looked at soon
        (660 + 1.0, 600.0, 601),  # behind the next checkpoint, and no later
        (960.0, 0.0, 900),  # a checkpoint is due
        (300.0, 0.0, 240),  # in time even if it never comes
        (60 + 1.0, 0.0, 3),
    ],
)
def test_a_slower_job_is_looked_at_before_its_slack_is_gone(slack, checkpoint_in, look):
    assert decide(slower(slack, checkpoint_in)) == Decision(Action.WATCH, Reason.ON_TRACK, look)


@pytest.mark.parametrize(
    ("slack", "checkpoint_in"), [(1860.0, 1800.0), (660.0, 600.0), (60.0, 0.0), (0.0, 0.0)]
)
def test_a_slower_job_is_stopped_where_the_slack_does_not_last_until_its_next_checkpoint(
    slack, checkpoint_in
):
    assert decide(slower(slack, checkpoint_in)) == Decision(Action.STOP, Reason.LAST_SAFE_MOMENT, 300, FAST)


def test_a_slower_job_that_on_demand_cannot_repair_any_more_is_left_alone():
    assert decide(slower(-1.0, 600.0)) == Decision(Action.WATCH, Reason.ON_TRACK, 900)


def test_it_is_left_at_the_checkpoint_after_which_the_next_would_come_too_late():
    # Each checkpoint takes a quarter of an hour of the slack: 1,000 s too much last for one of them.
    now = slower(1800 + 60 + 1000.0, 1800.0)
    assert now.shrinks_until_seconds(FAST) == 1800 + 1800


def test_a_slack_that_grows_protects_once_it_lasts_until_the_next_checkpoint():
    # The first in turn is slow, and in time by half a minute; the second shrinks, and has a minute more.
    sluggish = replace(BOUGHT, instance_type="b", speed=0.5)
    terms = TERMS._replace(on_demand=(sluggish, FAST), interval_seconds=60.0)
    now = slower(0.0, 60.0)._replace(terms=terms, left_seconds=8 * HOUR + 1080 + 30)
    assert now.net() == FAST
    assert now._replace(checkpoint_in_seconds=30.0).net() == sluggish


def test_where_nothing_may_be_asked_for_the_run_is_over():
    nothing = TERMS._replace(spot=(), on_demand=())
    assert decide(Situation(8 * HOUR, HOUR, nothing)).reason is Reason.NO_RUNG_LEFT
    forbidden = TERMS._replace(on_demand=(), may_fall_back=False)
    assert decide(Situation(HOUR, HOUR, forbidden)).reason is Reason.FALLBACK_FORBIDDEN


def test_a_situation_cannot_be_changed():
    with pytest.raises(AttributeError):
        waiting(HOUR).left_seconds = 0.0
