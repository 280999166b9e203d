"""A night under a simple rule: from change to change, with every second and every price accounted for."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from nightspot.market import engine
from nightspot.market.engine import RivalDecision, RuleError, SimulatedState, play_rule
from nightspot.market.model import Belief, Doing, MarketAvailability, MarketValueError, Prices, Truth

HOUR = 3600.0


def market(*changes_hours, up=True):
    """A market that is up (or down) at first and changes at these hours."""
    starts = [0.0, *(hours * HOUR for hours in changes_hours)]
    states = [(index % 2 == 0) == up for index in range(len(starts))]
    return MarketAvailability(np.array(starts), np.array(states))


def truth_of(spot, **changed):
    """Four hours of work in eight; everything given in hours."""
    hours = {"work": 4.0, "window": 8.0, "checkpoint": 0.0, "stop": 0.0, "detection": 0.0} | {
        name: value for name, value in changed.items() if not isinstance(value, tuple)
    }
    series = {"spot_changeover": (0.1,), "on_demand_changeover": (0.1,), "on_demand_queue": (0.0,)} | {
        name: value for name, value in changed.items() if isinstance(value, tuple)
    }
    return Truth(
        market=spot,
        prices=Prices.flat(0.3),
        **{f"{name}_seconds": value * HOUR for name, value in hours.items()},
        **{f"{name}_seconds": tuple(hour * HOUR for hour in value) for name, value in series.items()},
    )


BELIEF = Belief(4 * HOUR, 0.1 * HOUR, 0.1 * HOUR)
SPOT = RivalDecision(SimulatedState.SPOT)


def always(want):
    return lambda view: RivalDecision(want)


class At:
    """Wants something else from each of these hours on, and keeps what it has seen."""

    def __init__(self, *wants):
        self.wants = wants
        self.views = []

    def __call__(self, view):
        self.views.append(view)
        now = view.now_seconds + 1e-6
        want = next(want for hour, want in reversed(self.wants) if hour * HOUR <= now)
        later = [hour * HOUR - view.now_seconds for hour, _ in self.wants if hour * HOUR > now]
        return RivalDecision(want, min(later, default=None))


def play(rule, truth, belief=BELIEF):
    return play_rule(rule, truth, belief, with_spans=True)


def hours(result):
    """(cost, hour of the end, interruptions) of a night."""
    return result.cost, result.finished_seconds / HOUR, result.interruptions


def spans_of(result):
    return [
        (pytest.approx(span.start_seconds / HOUR), span.market, span.doing.value) for span in result.spans
    ]


def test_a_night_on_spot_pays_the_change_over_and_the_work():
    result = play(always(SimulatedState.SPOT), truth_of(market()))
    assert hours(result) == (pytest.approx(4.1 * 0.3), pytest.approx(4.1), 0)
    assert spans_of(result) == [(0.0, "spot", "starting"), (0.1, "spot", "training")]


def test_who_waits_for_spot_gets_it_back_and_goes_on_from_where_it_was():
    result = play(always(SimulatedState.SPOT), truth_of(market(2, 3)))
    assert hours(result) == (pytest.approx((2 + 2.2) * 0.3), pytest.approx(5.2), 1)
    assert (result.launches, result.waited_seconds) == (2, pytest.approx(HOUR))
    assert spans_of(result)[2:] == [(2, None, "waiting"), (3, "spot", "starting"), (3.1, "spot", "training")]


def test_spans_are_kept_only_where_they_are_asked_for():
    assert play_rule(always(SimulatedState.SPOT), truth_of(market()), BELIEF).spans == ()


def test_an_interruption_loses_what_was_trained_since_the_last_checkpoint():
    result = play(always(SimulatedState.SPOT), truth_of(market(2, 3), checkpoint=0.5))
    assert result.finished_seconds / HOUR == pytest.approx(3.1 + 2.5)


def test_giving_a_machine_up_loses_it_too():
    rule = At((0, SimulatedState.SPOT), (2, SimulatedState.ON_DEMAND))
    result = play(rule, truth_of(market(), checkpoint=0.5))
    assert hours(result) == (pytest.approx(2 * 0.3 + 2.6), pytest.approx(4.6), 0)


def test_every_launch_of_a_market_takes_the_next_of_its_change_overs():
    truth = truth_of(market(1, 2, 3, 4), spot_changeover=(0.1, 0.5), on_demand_changeover=(0.3,))
    result = play(always(SimulatedState.SPOT), truth)
    # 0.9 h, then 0.5 h of work before two reclaims; the third start takes the last change-over again.
    assert result.finished_seconds / HOUR == pytest.approx(4 + 0.5 + 2.6)


def test_on_demand_queues_unpaid_and_each_launch_in_its_own_queue():
    rule = At((0, SimulatedState.ON_DEMAND), (2, SimulatedState.IDLE), (3, SimulatedState.ON_DEMAND))
    result = play(rule, truth_of(market(), on_demand_queue=(0.5, 1.0), on_demand_changeover=(0.1, 0.2)))
    assert hours(result) == (pytest.approx(1.5 + 2.8), pytest.approx(3 + 1 + 0.2 + 2.6), 0)
    assert result.waited_seconds / HOUR == pytest.approx(0.5 + 1 + 1)
    assert (result.on_demand_seconds / HOUR, result.launches) == (pytest.approx(4.3), 2)


def test_the_next_machine_is_asked_for_when_the_old_one_has_stopped_and_that_time_is_paid():
    rule = At((0, SimulatedState.SPOT), (1, SimulatedState.ON_DEMAND))
    result = play(rule, truth_of(market(), stop=0.25))
    assert spans_of(result)[1:] == [
        (0.1, "spot", "training"),
        (1, "spot", "stopping"),
        (1.25, "on_demand", "starting"),
        (1.35, "on_demand", "training"),
    ]
    assert hours(result) == (pytest.approx(1.25 * 0.3 + 3.2), pytest.approx(1.35 + 3.1), 0)


def test_a_wait_is_stopped_too_unpaid():
    rule = At((0, SimulatedState.SPOT), (1, SimulatedState.ON_DEMAND))
    result = play(rule, truth_of(market(up=False), stop=0.25))
    assert spans_of(result)[:2] == [(0, None, "waiting"), (1, None, "stopping")]
    assert hours(result) == (pytest.approx(4.1), pytest.approx(5.35), 0)


def test_what_is_wanted_when_the_stop_is_over_counts():
    rule = At((0, SimulatedState.SPOT), (1, SimulatedState.ON_DEMAND), (1.1, SimulatedState.SPOT))
    result = play(rule, truth_of(market(), stop=0.25))
    assert result.on_demand_seconds == 0
    assert (result.finished_seconds / HOUR, result.launches) == (pytest.approx(1.35 + 3.1), 2)


def test_idling_asks_for_nothing_though_spot_is_up():
    result = play(At((0, SimulatedState.IDLE), (1, SimulatedState.SPOT)), truth_of(market(), stop=0.25))
    assert hours(result) == (pytest.approx(4.1 * 0.3), pytest.approx(5.1), 0)
    assert result.waited_seconds / HOUR == pytest.approx(1)


def test_wanting_what_there_is_changes_nothing():
    rule = At((0, SimulatedState.SPOT), (1, SimulatedState.SPOT), (2, SimulatedState.SPOT))
    assert play(rule, truth_of(market(), stop=0.25)) == play(always(SimulatedState.SPOT), truth_of(market()))


def test_a_restart_forgets_the_work_and_keeps_the_machine():
    def rule(view):
        is_time = view.now_seconds == HOUR
        return RivalDecision(
            SimulatedState.SPOT, None if view.now_seconds >= HOUR else HOUR - view.now_seconds, is_time
        )

    result = play(rule, truth_of(market()))
    assert (result.finished_seconds / HOUR, result.launches) == (pytest.approx(5), 1)


def test_a_restart_with_a_new_machine_forgets_the_work():
    def rule(view):
        return (
            RivalDecision(SimulatedState.ON_DEMAND, restart=view.now_seconds == 2 * HOUR)
            if view.interruptions
            else SPOT
        )

    assert hours(play(rule, truth_of(market(2)))) == (pytest.approx(0.6 + 4.1), pytest.approx(6.1), 1)


def test_work_that_is_done_as_the_market_goes_down_is_done():
    result = play(always(SimulatedState.SPOT), truth_of(market(4.25), spot_changeover=(0.25,)))
    assert hours(result) == (pytest.approx(4.25 * 0.3), 4.25, 0)


def test_a_machine_lost_as_its_change_over_ends_has_never_trained():
    result = play(always(SimulatedState.SPOT), truth_of(market(0.25, 1), spot_changeover=(0.25,)))
    assert hours(result) == (pytest.approx(0.3 * 4.5), 5.25, 1)
    assert result.launches == 2


def test_after_its_known_end_a_market_stays_as_it_is():
    known = MarketAvailability(np.array([0.0, 2 * HOUR]), np.array([False, True]), length_seconds=3 * HOUR)
    assert play(always(SimulatedState.SPOT), truth_of(known)).finished_seconds / HOUR == pytest.approx(6.1)


@pytest.mark.parametrize(("window", "late"), [(4.1, False), (4.1 - 1e-12, False), (4.0999, True)])
def test_a_night_goes_on_past_the_deadline_and_is_late_beyond_rounding(window, late):
    result = play(always(SimulatedState.ON_DEMAND), truth_of(market(), window=window))
    assert (result.late, result.finished_seconds / HOUR) == (late, pytest.approx(4.1))


def test_spot_costs_what_it_does_at_the_time():
    prices = Prices(np.array([0.0, HOUR, 5 * HOUR]), np.array([0.2, 0.4, 0.9]))
    result = play(always(SimulatedState.SPOT), replace(truth_of(market(2, 3)), prices=prices))
    # Held from 0 to 2 and from 3 to 5.2.
    assert result.cost == pytest.approx(0.2 + 0.4 + 2 * 0.4 + 0.2 * 0.9)


def test_a_rule_is_woken_by_every_change_and_at_the_windows_end():
    rule = At((0, SimulatedState.SPOT))
    play(rule, truth_of(market(2, 3), window=4.5))
    assert [view.now_seconds / HOUR for view in rule.views] == pytest.approx([0, 0, 0.1, 2, 3, 3.1, 4.5])


def test_a_rule_is_woken_when_it_wants_to_look_again():
    rule = At((0, SimulatedState.SPOT), (1.5, SimulatedState.SPOT))
    play(rule, truth_of(market()))
    assert 1.5 * HOUR in [view.now_seconds for view in rule.views]


def test_news_come_late_and_spot_comes_back_before_them():
    rule = At((0, SimulatedState.SPOT))
    result = play(rule, truth_of(market(2, 2.25), detection=0.5))
    assert [view.now_seconds / HOUR for view in rule.views] == pytest.approx([0, 0.5, 0.6, 2.5, 2.75, 2.85])
    seen = rule.views[3]
    assert (seen.interruptions, seen.state, seen.doing) == (1, SimulatedState.SPOT, Doing.TRAINING)
    assert result.waited_seconds / HOUR == pytest.approx(0.25)


def test_until_news_come_what_was_decided_goes_on():
    def rule(view):
        return RivalDecision(SimulatedState.ON_DEMAND) if view.interruptions else SPOT

    result = play(rule, truth_of(market(2), detection=0.5))
    assert hours(result) == (pytest.approx(0.6 + 2.2), pytest.approx(2.5 + 2.2), 1)


def test_a_rule_sees_the_present_and_its_own_belief():
    rule = At((0, SimulatedState.SPOT), (1, SimulatedState.SPOT), (2.5, SimulatedState.SPOT))
    belief = Belief(5 * HOUR, 0.2 * HOUR, 0.3 * HOUR)
    play(rule, truth_of(market(2, 3)), belief)
    first = rule.views[0]
    assert (first.state, first.doing, first.wanted) == (
        SimulatedState.IDLE,
        Doing.WAITING,
        SimulatedState.IDLE,
    )
    assert (first.spot_up, first.belief, first.left_seconds) == (True, belief, 8 * HOUR)
    starting, training, waiting = (
        next(view for view in rule.views[2:] if view.now_seconds == pytest.approx(hour * HOUR))
        for hour in (0.1, 1, 2.5)
    )
    assert (rule.views[1].state, rule.views[1].doing) == (SimulatedState.SPOT, Doing.STARTING)
    assert (starting.doing, training.doing, training.wanted) == (
        Doing.TRAINING,
        Doing.TRAINING,
        SimulatedState.SPOT,
    )
    assert training.fraction_done == pytest.approx(0.9 / 4)
    assert training.work_left_seconds / HOUR == pytest.approx(5 * (1 - 0.9 / 4))
    assert (waiting.state, waiting.doing, waiting.wanted) == (
        SimulatedState.IDLE,
        Doing.WAITING,
        SimulatedState.SPOT,
    )
    assert (waiting.spot_up, waiting.interruptions) == (False, 1)
    assert waiting.left_seconds / HOUR == pytest.approx(5.5)


def test_only_what_is_saved_counts_as_done():
    rule = At((0, SimulatedState.SPOT), (1.05, SimulatedState.SPOT))
    play(rule, truth_of(market(), checkpoint=0.5))
    seen = next(view for view in rule.views if view.now_seconds == pytest.approx(1.05 * HOUR))
    assert seen.fraction_done == pytest.approx(0.5 / 4)


def test_a_market_that_changes_all_the_time_is_no_loop(monkeypatch):
    monkeypatch.setattr(engine, "MOST_LOOKS", 0)
    spot = market(*(hour / 100 for hour in range(1, 701)))
    assert play(always(SimulatedState.SPOT), truth_of(spot, spot_changeover=(0.0,))).interruptions > 300


@pytest.mark.parametrize("again", [0, 1e-9])
def test_a_rule_that_looks_without_end_is_stopped(again, monkeypatch):
    monkeypatch.setattr(engine, "MOST_LOOKS", 50)
    with pytest.raises(RuleError, match="look_again_seconds: more than 50 looks"):
        play(lambda view: RivalDecision(SimulatedState.SPOT, again), truth_of(market()))


@pytest.mark.parametrize("want", [SimulatedState.IDLE, SimulatedState.SPOT])
def test_a_rule_that_waits_for_what_never_comes_is_an_error(want):
    with pytest.raises(RuleError, match=f"want: {want.value}, and no change"):
        play(always(want), truth_of(market(up=False)))


@pytest.mark.parametrize("again", [-1, math.nan])
def test_a_look_lies_ahead(again):
    with pytest.raises(RuleError, match=r"look_again_seconds: (-1|nan) must"):
        play(lambda view: RivalDecision(SimulatedState.SPOT, again), truth_of(market()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"work": 0.0}, "^work_seconds: 0 must be greater"),
        ({"work": -1.0}, "^work_seconds: -3600 must be finite"),
        ({"window": math.inf}, "^window_seconds: inf must be finite"),
        ({"window": 0.0}, "^window_seconds: 0 must be greater"),
        ({"checkpoint": math.nan}, "^checkpoint_seconds: nan must be finite"),
        ({"stop": -1.0}, "^stop_seconds: -3600"),
        ({"detection": -1.0}, "^detection_seconds: -3600"),
        ({"spot_changeover": (0.0, -1.0)}, r"^spot_changeover_seconds\[1\]: -3600"),
        ({"on_demand_changeover": ()}, r"^on_demand_changeover_seconds: \(\) must hold"),
        ({"on_demand_queue": (math.inf,)}, r"^on_demand_queue_seconds\[0\]: inf"),
    ],
)
def test_a_truth_that_means_nothing_is_refused_by_name_and_value(changed, message):
    with pytest.raises(MarketValueError, match=message):
        play(always(SimulatedState.SPOT), truth_of(market(), **changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"work_seconds": 0.0}, "^belief.work_seconds: 0 must be greater"),
        ({"spot_changeover_seconds": -1.0}, "^belief.spot_changeover_seconds: -1"),
        ({"on_demand_changeover_seconds": math.nan}, "^belief.on_demand_changeover_seconds: nan"),
        ({"stop_seconds": math.inf}, "^belief.stop_seconds: inf"),
    ],
)
def test_a_belief_that_means_nothing_is_refused_by_name_and_value(changed, message):
    with pytest.raises(MarketValueError, match=message):
        play(always(SimulatedState.SPOT), truth_of(market()), replace(BELIEF, **changed))


def test_no_machine_is_held_beside_another():
    rule = At(
        (0, SimulatedState.ON_DEMAND),
        (1, SimulatedState.SPOT),
        (2, SimulatedState.ON_DEMAND),
        (3, SimulatedState.SPOT),
    )
    result = play(rule, truth_of(market(2.5, 2.75), stop=0.1))
    edges = [(span.start_seconds, span.end_seconds) for span in result.spans]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(edges))
    assert (edges[0][0], edges[-1][1]) == (0, result.finished_seconds)
