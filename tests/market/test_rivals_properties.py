"""What holds for every rival in any market: none beats the bound, safe ones are in time, no second is lost."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.market.engine import play_rule
from nightspot.market.grid import available_slots
from nightspot.market.model import Belief, Doing, MarketAvailability, Prices, Truth
from nightspot.market.omniscient import omniscient_costs
from nightspot.market.rivals import RIVALS

MINUTE = 60.0
SAFE = (
    "on_demand",
    "spot_once",
    "spot_whenever",
    "max_wait_safe",
    "uniform_progress",
    "greedy",
    "greedy_then_uniform",
)


def play(name, truth, belief):
    return play_rule(RIVALS[name].rule(), truth, belief, with_spans=True)


@st.composite
def markets(draw, minutes=60):
    states = draw(st.lists(st.booleans(), min_size=1, max_size=minutes))
    return MarketAvailability.merged(np.arange(len(states)) * MINUTE, states)


@st.composite
def nights(draw, spare_changeovers=2):
    """A night on the minute, with exact beliefs and room for so many change-overs beside the work."""
    work, changeover = draw(st.integers(1, 25)), draw(st.integers(0, 4))
    window = work + spare_changeovers * changeover + draw(st.integers(0, 30))
    truth = Truth(
        market=draw(markets()),
        prices=Prices.flat(draw(st.sampled_from([0.1, 0.3, 0.9]))),
        work_seconds=work * MINUTE,
        window_seconds=window * MINUTE,
        spot_changeover_seconds=(changeover * MINUTE,),
        on_demand_changeover_seconds=(changeover * MINUTE,),
    )
    return truth, Belief(work * MINUTE, changeover * MINUTE, changeover * MINUTE)


@st.composite
def unruly_nights(draw):
    """A night in which nothing is as believed: losses, queues, stops, late news, off any grid."""
    short = st.floats(0, 200)
    truth = Truth(
        market=draw(markets()),
        prices=Prices(np.array([0.0, 700.0, 1500.0]), np.array(draw(st.tuples(*[st.floats(0.1, 1.5)] * 3)))),
        work_seconds=draw(st.floats(60, 1500)),
        window_seconds=draw(st.floats(60, 3600)),
        spot_changeover_seconds=tuple(draw(st.lists(short, min_size=1, max_size=4))),
        on_demand_changeover_seconds=tuple(draw(st.lists(short, min_size=1, max_size=4))),
        on_demand_queue_seconds=tuple(draw(st.lists(short, min_size=1, max_size=3))),
        checkpoint_seconds=draw(st.sampled_from([0.0, 90.0, 400.0])),
        stop_seconds=draw(st.sampled_from([0.0, 45.0])),
        detection_seconds=draw(st.sampled_from([0.0, 30.0, 200.0])),
    )
    belief = Belief(draw(st.floats(60, 1500)), draw(short), draw(short), draw(st.sampled_from([0.0, 45.0])))
    return truth, belief


@given(nights(spare_changeovers=1))
def test_no_rival_in_time_is_cheaper_than_who_knows_the_market(night):
    truth, belief = night
    slots = available_slots(
        truth.market, offsets_seconds=[0], window_seconds=truth.window_seconds, step_seconds=MINUTE
    )
    bound = omniscient_costs(
        slots,
        work_seconds=truth.work_seconds,
        changeover_seconds=truth.spot_changeover_seconds[0],
        spot_ratio=truth.prices.usd_per_hour[0],
        step_seconds=MINUTE,
    )[0]
    for name in RIVALS:
        result = play(name, truth, belief)
        assert result.late or result.cost >= bound - 1e-9, name


@given(nights())
def test_a_safe_rival_with_true_beliefs_is_never_late(night):
    assert [name for name in SAFE if play(name, *night).late] == []


@given(nights(spare_changeovers=1))
def test_most_are_in_time_wherever_on_demand_would_be(night):
    # Spot once does not ask for how long it may try.
    assert [name for name in SAFE if name != "spot_once" and play(name, *night).late] == []


@given(nights(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5))
def test_a_safe_rival_that_plans_for_stops_queues_losses_and_late_news_is_never_late(
    night, stop, queue, detection, checkpoint
):
    truth, belief = night
    truth = replace(
        truth,
        stop_seconds=stop * MINUTE,
        on_demand_queue_seconds=(queue * MINUTE,),
        detection_seconds=detection * MINUTE,
        checkpoint_seconds=checkpoint * MINUTE,
        window_seconds=truth.window_seconds + (2 * stop + queue + detection + checkpoint) * MINUTE,
    )
    # What a reclaim takes belongs to the change-over: the start it ruins, and the work since the checkpoint.
    belief = replace(
        belief,
        spot_changeover_seconds=belief.spot_changeover_seconds + checkpoint * MINUTE,
        on_demand_changeover_seconds=belief.on_demand_changeover_seconds + (queue + detection) * MINUTE,
        stop_seconds=stop * MINUTE,
    )
    assert [name for name in SAFE if play(name, truth, belief).late] == []


@given(unruly_nights())
@pytest.mark.parametrize("name", RIVALS)
def test_spans_follow_each_other_and_every_paid_second_is_in_them(name, night):
    truth, belief = night
    result = play(name, truth, belief)
    spans = result.spans
    assert spans[0].start_seconds == 0
    assert spans[-1].end_seconds == result.finished_seconds
    assert all(span.start_seconds < span.end_seconds for span in spans)
    assert all(one.end_seconds == other.start_seconds for one, other in itertools.pairwise(spans))
    seconds = {"spot": 0.0, "on_demand": 0.0, None: 0.0}
    cost = 0.0
    for span in spans:
        length = span.end_seconds - span.start_seconds
        seconds[span.market] += length
        if span.market is not None:
            price = truth.prices.mean_usd_per_hour(span.start_seconds, span.end_seconds)
            cost += length / 3600 * (price if span.market == "spot" else 1)
    assert result.cost == pytest.approx(cost)
    accounts = (result.spot_seconds, result.on_demand_seconds, result.waited_seconds)
    assert accounts == pytest.approx(tuple(seconds.values()))


@given(unruly_nights())
@pytest.mark.parametrize("name", RIVALS)
def test_spot_is_held_only_while_it_is_up_and_training_adds_up_to_the_work(name, night):
    truth, belief = night
    truth = replace(truth, checkpoint_seconds=0.0)
    result = play(name, truth, belief)
    held = [span for span in result.spans if span.market == "spot" and span.doing is not Doing.STOPPING]
    assert all(truth.market.is_up_at(span.start_seconds) for span in held)
    assert all(span.end_seconds <= truth.market.next_change_after(span.start_seconds) for span in held)
    trained = sum(
        span.end_seconds - span.start_seconds for span in result.spans if span.doing is Doing.TRAINING
    )
    if name == "spot_once_scratch":
        assert trained >= truth.work_seconds - 1e-6
    else:
        assert trained == pytest.approx(truth.work_seconds)


@pytest.mark.parametrize(
    "name", [name for name, rival in RIVALS.items() if not rival.sees_spot_from_on_demand]
)
@given(unruly_nights())
def test_who_does_not_see_spot_from_on_demand_never_goes_back(name, night):
    on = [span.market for span in play(name, *night).spans if span.market is not None]
    assert on == sorted(on, reverse=True)


@pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if rival.sees_spot_from_on_demand])
def test_who_sees_spot_from_on_demand_does(name):
    states = [False] * 20 + [True] * 40
    truth = Truth(
        market=MarketAvailability.merged(np.arange(60) * MINUTE, states),
        prices=Prices.flat(0.3),
        work_seconds=20 * MINUTE,
        window_seconds=40 * MINUTE,
        spot_changeover_seconds=(MINUTE,),
        on_demand_changeover_seconds=(MINUTE,),
    )
    on = [span.market for span in play(name, truth, Belief(20 * MINUTE, MINUTE, MINUTE)).spans]
    assert on.index("on_demand") < on.index("spot")
