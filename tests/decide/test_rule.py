"""The rule on situations that no ledger stands behind, worked by hand."""

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


def test_where_nothing_may_be_asked_for_the_run_is_over():
    nothing = TERMS._replace(spot=(), on_demand=())
    assert decide(Situation(8 * HOUR, HOUR, nothing)).reason is Reason.NO_RUNG_LEFT
    forbidden = TERMS._replace(on_demand=(), may_fall_back=False)
    assert decide(Situation(HOUR, HOUR, forbidden)).reason is Reason.FALLBACK_FORBIDDEN


def test_a_situation_cannot_be_changed():
    with pytest.raises(AttributeError):
        waiting(HOUR).left_seconds = 0.0
