"""The bound that nobody beats: equal to trying everything on the grid, below every schedule off it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.job.markets import Market
from nightspot.market.fitting import SpotLives, Weibull, generate
from nightspot.market.grid import available_slots
from nightspot.market.model import MarketAvailability, MarketValueError
from nightspot.market.omniscient import OmniscientSchedule, Stay, omniscient_costs, omniscient_schedule

HOUR = 3600.0


def cheapest(available, *, work, changeover, ratios):
    """Try every sequence of modes, slot by slot; costs in on-demand slots, inf where none is in time."""
    costs = [
        cost_of(modes, available, work=work, changeover=changeover, ratios=ratios)
        for modes in itertools.product("-so", repeat=len(available))
    ]
    return min(costs)


def cost_of(modes, available, *, work, changeover, ratios):
    cost, before, starting = 0.0, "-", 0
    for mode, up, ratio in zip(modes, available, ratios, strict=True):
        if work == 0:
            break
        if mode == "s" and not up:
            return math.inf
        if mode != before:
            starting = changeover
        before = mode
        if mode == "-":
            continue
        cost += ratio if mode == "s" else 1
        if starting:
            starting -= 1
        else:
            work -= 1
    return math.inf if work else cost


def costs(available, *, work, changeover, ratio=0.3, step=HOUR):
    """The bound of nights whose slots are an hour long, so that costs are slots too."""
    return omniscient_costs(
        np.atleast_2d(np.array(available, dtype=bool)),
        work_seconds=work,
        changeover_seconds=changeover,
        spot_ratio=ratio,
        step_seconds=step,
    )


nights_of_any_kind = st.integers(1, 7).flatmap(
    lambda slots: st.lists(
        st.lists(st.booleans(), min_size=slots, max_size=slots), min_size=1, max_size=2, unique_by=tuple
    )
)


@given(nights_of_any_kind, st.integers(0, 5), st.integers(0, 3), st.data())
def test_the_bound_is_what_trying_everything_finds(nights, work, changeover, data):
    price = st.sampled_from([0.0, 0.1, 0.3, 0.9, 1.0, 1.5])
    ratios = [[data.draw(price) for _ in night] for night in nights]
    found = costs(nights, work=work * HOUR, changeover=changeover * HOUR, ratio=np.array(ratios))
    expected = [
        cheapest(night, work=work, changeover=changeover, ratios=row)
        for night, row in zip(nights, ratios, strict=True)
    ]
    assert found == pytest.approx(expected)


@given(nights_of_any_kind, st.integers(0, 5), st.integers(0, 3), st.data())
def test_the_schedule_costs_what_the_bound_says_and_can_be_done(nights, work, changeover, data):
    night = nights[0]
    ratios = [data.draw(st.sampled_from([0.0, 0.3, 1.5])) for _ in night]
    schedule = omniscient_schedule(
        np.array(night),
        work_seconds=work * HOUR,
        changeover_seconds=changeover * HOUR,
        spot_ratio=ratios,
        step_seconds=HOUR,
    )
    bound = costs([night], work=work * HOUR, changeover=changeover * HOUR, ratio=np.array(ratios))[0]
    assert schedule.cost_on_demand_hours == pytest.approx(bound)
    assert schedule.in_time == math.isfinite(bound)
    paid, done, free_from = 0.0, 0, 0
    for stay in schedule.stays:
        start, ready, end = (
            int(at / HOUR) for at in (stay.start_seconds, stay.ready_seconds, stay.end_seconds)
        )
        assert free_from <= start
        assert ready == start + changeover
        assert ready < end <= len(night)
        assert stay.mode is Market.ON_DEMAND or all(night[start:end])
        paid += sum(ratios[start:end]) if stay.mode is Market.SPOT else end - start
        done += end - ready
        free_from = end
    if schedule.in_time:
        assert (paid, done) == (pytest.approx(bound), work)


@st.composite
def schedules(draw):
    """A market and some schedule in continuous time: (market, work done, cost), all off any grid."""
    edges = sorted(draw(st.lists(st.floats(10, 990), max_size=6, unique=True)))
    up_first = draw(st.booleans())
    up = [(index % 2 == 0) == up_first for index in range(len(edges) + 1)]
    market = MarketAvailability.merged([0, *edges], up, length_seconds=1000)
    changeover = draw(st.floats(0, 120))
    moments = sorted(draw(st.lists(st.floats(0, 1000), min_size=2, max_size=8, unique=True)))
    work = cost = 0.0
    for start, end in zip(moments[::2], moments[1::2], strict=False):
        on_spot = draw(st.booleans()) and market.is_up_at(start)
        stop = min(end, market.next_change_after(start)) if on_spot else end
        cost += (stop - start) * (0.3 if on_spot else 1.0)
        work += max(0.0, stop - start - changeover)
    return market, changeover, work, cost / HOUR


@given(schedules(), st.sampled_from([7, 20, 60, 65, 195]))
def test_no_schedule_in_continuous_time_is_cheaper_than_the_bound(schedule, step):
    market, changeover, work, cost = schedule
    slots = available_slots(market, offsets_seconds=[0], window_seconds=1000, step_seconds=step)
    bound = costs(slots, work=work, changeover=changeover, step=step)[0]
    assert bound <= cost + 1e-9


@given(st.integers(0, 2**32), st.floats(0, 900), st.floats(0, 9_000))
def test_a_finer_step_never_lowers_the_bound(seed, changeover, work):
    market = generate(SpotLives(Weibull(0.6, 2_000), Weibull(0.7, 1_500)), seconds=14_400, randomness=seed)
    bounds = []
    for step in (480, 240, 120, 60):
        slots = available_slots(market, offsets_seconds=[0], window_seconds=14_400, step_seconds=step)
        bounds.append(costs(slots, work=work, changeover=changeover, step=step)[0])
    assert all(finer >= coarser - 1e-9 for coarser, finer in itertools.pairwise(bounds))


def test_spot_for_the_whole_window_costs_its_share_and_one_change_over():
    assert costs([1] * 6, work=4 * HOUR, changeover=HOUR) == pytest.approx([5 * 0.3])


def test_without_spot_on_demand_costs_its_share_and_one_change_over():
    assert costs([0] * 6, work=4 * HOUR, changeover=HOUR) == pytest.approx([5.0])


def test_a_reclaim_costs_another_change_over():
    assert costs([1, 1, 0, 1, 1], work=2 * HOUR, changeover=HOUR) == pytest.approx([4 * 0.3])


def test_a_stretch_no_longer_than_the_change_over_is_left_alone():
    assert costs([1, 0, 0, 0, 0], work=2 * HOUR, changeover=HOUR) == pytest.approx([3.0])


def test_on_demand_hands_over_to_spot_when_it_comes_late():
    # Waiting for Spot alone would be late: two hours of work, and only one fits into its stretch.
    schedule = omniscient_schedule(
        np.array([0, 0, 1, 1], dtype=bool),
        work_seconds=2 * HOUR,
        changeover_seconds=HOUR,
        spot_ratio=0.3,
        step_seconds=HOUR,
    )
    assert schedule.stays == (
        Stay(Market.ON_DEMAND, 0, HOUR, 2 * HOUR),
        Stay(Market.SPOT, 2 * HOUR, 3 * HOUR, 4 * HOUR),
    )
    assert schedule.cost_on_demand_hours == pytest.approx(2.6)


def test_a_window_too_short_is_flagged_and_costs_infinity():
    assert costs([1, 1, 1], work=3 * HOUR, changeover=HOUR).tolist() == [math.inf]
    late = omniscient_schedule(
        np.ones(3, dtype=bool),
        work_seconds=3 * HOUR,
        changeover_seconds=HOUR,
        spot_ratio=0.3,
        step_seconds=HOUR,
    )
    assert (late, late.in_time) == (OmniscientSchedule((), math.inf), False)


def test_no_work_costs_nothing():
    assert costs([0, 1], work=0, changeover=HOUR).tolist() == [0]


def test_a_change_over_longer_than_the_window_is_late():
    assert costs([1, 1], work=HOUR, changeover=5 * HOUR).tolist() == [math.inf]


def test_each_night_has_its_own_price():
    ratios = [[0.3], [0.6]]
    assert costs([[1, 1], [1, 1]], work=HOUR, changeover=HOUR, ratio=ratios) == pytest.approx([0.6, 1.2])


def test_work_and_change_over_are_rounded_down_to_the_grid():
    assert costs([1] * 6, work=4.9 * HOUR, changeover=1.9 * HOUR) == pytest.approx([5 * 0.3])


def test_many_nights_together_cost_what_each_does_alone(monkeypatch):
    monkeypatch.setattr("nightspot.market.omniscient.VALUES_AT_ONCE", 40)
    nights = np.random.default_rng(8).random((37, 12)) < 0.6
    together = costs(nights, work=5 * HOUR, changeover=HOUR)
    alone = [costs([night], work=5 * HOUR, changeover=HOUR)[0] for night in nights]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"work_seconds": -1}, "work_seconds: -1"),
        ({"work_seconds": math.nan}, "work_seconds: nan"),
        ({"changeover_seconds": math.inf}, "changeover_seconds: inf"),
        ({"step_seconds": 0}, "step_seconds: 0"),
        ({"spot_ratio": -0.1}, "spot_ratio: every value"),
        ({"spot_ratio": math.nan}, "spot_ratio: every value"),
        ({"spot_ratio": [0.3, 0.3]}, r"spot_ratio: shape \(2,\)"),
        ({"spot_ratio": [[[0.3]]]}, r"spot_ratio: shape \(1, 1, 1\)"),
    ],
)
def test_bad_arguments_are_refused_by_name_and_value(changed, message):
    arguments = {
        "work_seconds": 60,
        "changeover_seconds": 60,
        "spot_ratio": 0.3,
        "step_seconds": 60,
    } | changed
    with pytest.raises(MarketValueError, match=message):
        omniscient_costs(np.ones((1, 3), dtype=bool), **arguments)
    with pytest.raises(MarketValueError, match=message):
        omniscient_schedule(np.ones(3, dtype=bool), **arguments)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 0), (1, 1, 3)])
def test_nights_are_rows_of_slots(shape):
    with pytest.raises(MarketValueError, match="available: shape"):
        omniscient_costs(
            np.ones(shape, dtype=bool), work_seconds=1, changeover_seconds=1, spot_ratio=1, step_seconds=1
        )


@pytest.mark.parametrize("shape", [(0,), (1, 3)])
def test_a_schedule_is_of_one_night(shape):
    with pytest.raises(MarketValueError, match="available: shape"):
        omniscient_schedule(
            np.ones(shape, dtype=bool), work_seconds=1, changeover_seconds=1, spot_ratio=1, step_seconds=1
        )
