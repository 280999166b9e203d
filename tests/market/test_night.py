"""The night simulator: small nights by hand, and what no market can make of any night."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightspot.decide import ladder, ledger
from nightspot.decide.ledger import JobView, Observation, Transition
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.market.backtest import BacktestSetting, plan
from nightspot.market.grid import available_slots
from nightspot.market.model import Belief, Doing, MarketAvailability, Prices, Truth
from nightspot.market.night import MIDNIGHT, Planned, SimulatedNight, SimulationError
from nightspot.market.omniscient import omniscient_costs
from nightspot.run.model import Action, AttemptState, LeftOut, Rung
from tests.market import ledger_night, speeds

HOUR = 3600.0
WEEK = 7 * 24 * HOUR
SPOT = Rung(Market.SPOT, "simulated", "simulated")
CHANGEOVER = 360.0


def market(*changes, up=True):
    """Up (or not) from 0 on, and then the other way round at each of `changes`, in hours."""
    starts = [0.0, *(hours * HOUR for hours in changes)]
    states = [(index % 2 == 0) == up for index in range(len(starts))]
    return MarketAvailability(np.array(starts), np.array(states))


def truth_of(spot, **changes):
    fields = {
        "market": spot,
        "prices": Prices.flat(0.3),
        "work_seconds": 4 * HOUR,
        "window_seconds": 8 * HOUR,
        "spot_changeover_seconds": (CHANGEOVER,),
        "on_demand_changeover_seconds": (CHANGEOVER,),
    }
    return Truth(**{**fields, **changes})


def run_of(truth, policy=Policy.PATIENT, **changes):
    """The plan of one who knows the true figures."""
    setting = BacktestSetting(
        work_seconds=truth.work_seconds,
        window_seconds=truth.window_seconds,
        changeover_seconds=max(truth.on_demand_changeover_seconds),
        checkpoint_seconds=truth.checkpoint_seconds,
        stop_seconds=truth.stop_seconds,
    )
    belief = Belief(
        truth.work_seconds,
        max(truth.spot_changeover_seconds),
        max(truth.on_demand_changeover_seconds)
        + max(truth.on_demand_queue_seconds)
        + truth.detection_seconds,
        truth.stop_seconds,
    )
    return replace(plan(setting, belief, policy), **changes)


def played(truth, policy=Policy.PATIENT, *, night=None, **changes):
    return Planned(run_of(truth, policy, **changes)).play(night or SimulatedNight(truth, with_spans=True))


def played_plan(run, truth):
    return Planned(run).play(SimulatedNight(truth))


def test_a_quiet_night_costs_work_and_one_changeover_at_spots_price():
    result = played(truth_of(market()))
    assert result.cost == pytest.approx(0.3 * 4.1)
    assert (result.finished_seconds, result.late) == (pytest.approx(4.1 * HOUR), False)
    assert (result.interruptions, result.launches, result.on_demand_seconds) == (0, 1, 0)


def test_without_spot_on_demand_begins_at_the_last_safe_moment():
    # 8 h - 4 h of work - 0.1 h each for Spot and on-demand.
    result = played(truth_of(market(up=False)))
    assert result.waited_seconds == pytest.approx(3.8 * HOUR, abs=2)
    assert result.cost == pytest.approx(4.1)
    assert not result.late


def test_work_is_resumed_after_a_reclaim_and_nothing_is_paid_for_waiting():
    result = played(truth_of(market(1.1, 2.0)))
    assert result.cost == pytest.approx(0.3 * (1.1 + 0.1 + 3.0))
    assert (result.interruptions, result.launches) == (1, 2)
    assert result.waited_seconds == pytest.approx(0.9 * HOUR)


def test_a_machine_that_is_taken_while_it_starts_has_done_nothing():
    result = played(truth_of(market(0.05, 1.0)))
    assert result.cost == pytest.approx(0.3 * (0.05 + 4.1))
    assert result.interruptions == 1


def test_what_was_not_saved_is_trained_again():
    # Two of two and a half hours are safe.
    result = played(truth_of(market(2.6, 3.0), checkpoint_seconds=HOUR))
    assert result.cost == pytest.approx(0.3 * (2.6 + 0.1 + 2.0))


def test_real_prices_are_paid_as_they_were():
    prices = Prices(np.array([0.0, 2 * HOUR]), np.array([0.2, 0.4]))
    assert played(truth_of(market(), prices=prices)).cost == pytest.approx(2 * 0.2 + 2.1 * 0.4)


def test_on_demand_that_queues_is_asked_for_earlier_and_not_paid_meanwhile():
    result = played(truth_of(market(up=False), on_demand_queue_seconds=(HOUR,)))
    assert result.cost == pytest.approx(4.1)
    assert not result.late


def test_a_machine_that_is_being_stopped_is_paid_and_the_next_one_comes_after_it():
    truth = truth_of(market(up=False), stop_seconds=600.0)
    spans = played(truth).spans
    assert [span.doing for span in spans] == [
        Doing.WAITING,
        Doing.STOPPING,
        Doing.STARTING,
        Doing.TRAINING,
    ]
    assert spans[1].end_seconds - spans[1].start_seconds == 600


def test_eager_gives_spot_its_patience_and_then_buys():
    result = played(truth_of(market(1.0, up=False)), Policy.EAGER)
    assert result.cost == pytest.approx(4.1)
    assert result.finished_seconds == pytest.approx(0.5 * HOUR + 4.1 * HOUR, abs=2)


def test_on_demand_never_asks_for_spot():
    result = played(truth_of(market()), Policy.ON_DEMAND)
    assert (result.cost, result.spot_seconds) == (pytest.approx(4.1), 0)


def test_a_night_that_forbids_on_demand_and_has_no_spot_is_an_error():
    with pytest.raises(SimulationError, match="no model"):
        played(truth_of(market(up=False)), fallback=Fallback.NEVER)


def test_every_type_may_have_its_own_market():
    truth = truth_of(market(up=False))
    run = run_of(truth)
    slow = replace(run.rungs[0], instance_type="slow", speed=0.5, patience_seconds=600)
    fast = replace(run.rungs[0], patience_seconds=600)
    ladder = (fast, slow, run.rungs[1])
    night = SimulatedNight(truth, markets={"slow": market()}, with_spans=True)
    result = Planned(replace(run, rungs=ladder)).play(night)
    # After ten minutes the slow type trains, until on-demand must take over.
    assert result.launches == 2
    assert result.spot_seconds > 5 * HOUR
    assert not result.late


# --- what the simulator says is what a fold of SageMaker's answers says -------------------------------------


def described(spans, name, now, asked):
    """DescribeTrainingJob of the attempt that began at `asked`, at `now`, made of the night's spans."""
    names = {Doing.WAITING: "Starting", Doing.STARTING: "Downloading", Doing.TRAINING: "Training"}
    rows = []
    for span in spans:
        if span.start_seconds < asked or span.start_seconds > now:
            continue
        end = None if span.end_seconds > now else ledger_night.moment(span.end_seconds)
        status = names.get(span.doing)
        if status == "Starting" and rows:
            status = "Interrupted"
        if status is None:
            break
        rows.append(Transition(status, ledger_night.moment(span.start_seconds), end))
    return JobView(name, "InProgress", rows[-1].status, tuple(rows))


def test_the_ledger_at_every_look_is_what_a_fold_would_have_made_of_it(monkeypatch):
    truth = truth_of(market(0.05, 0.5, 1.6, 2.2, 3.9), checkpoint_seconds=600.0)
    spans = played(truth).spans
    seen = []
    decide = ledger_night.next_step

    def spy(run, now):
        step = decide(run, now)
        # Where a job is stopped, the next one's spans begin at the same moment.
        seen.extend([] if step.action is Action.STOP else [(run, now)])
        return step

    monkeypatch.setattr(ledger_night, "next_step", spy)
    ledger_night.play_through_ledger(run_of(truth), SimulatedNight(truth))
    compared = 0
    for run, now in seen:
        attempt = run.last_attempt
        if attempt is None or not attempt.is_open or attempt.stop_requested_at is not None:
            continue
        blank = replace(
            run, attempts=(*run.attempts[:-1], replace(attempt, state_since=None, fruitless_interruptions=0))
        )
        seconds = (now - MIDNIGHT).total_seconds()
        asked = (attempt.asked_at - MIDNIGHT).total_seconds()
        view = described(spans, attempt.training_job_name, seconds, asked)
        folded = ledger.fold(blank, Observation({attempt.training_job_name: view}), now).last_attempt
        for name in ("state", "state_since", "interruptions"):
            assert getattr(folded, name) == getattr(attempt, name), (name, now)
        for name in ("trained_seconds", "worked_seconds", "queued_seconds", "ready_seconds"):
            assert getattr(folded, name) == pytest.approx(getattr(attempt, name), abs=1e-3), (name, now)
        compared += 1
    assert compared > 8


# --- what no market can do ----------------------------------------------------------------------------------

slots = st.lists(st.booleans(), min_size=1, max_size=60)


def on_grid(ups, step):
    return MarketAvailability.merged(np.arange(len(ups)) * step, np.array(ups))


@st.composite
def nights(draw):
    step = 300.0
    work, changeover = step * draw(st.integers(1, 24)), step * draw(st.integers(0, 3))
    spare = step * draw(st.integers(0, 40))
    return truth_of(
        on_grid(draw(slots), step),
        work_seconds=work,
        window_seconds=work + changeover + spare,
        spot_changeover_seconds=(changeover,),
        on_demand_changeover_seconds=(changeover,),
        checkpoint_seconds=draw(st.sampled_from([0.0, 300.0, 900.0])),
        stop_seconds=draw(st.sampled_from([0.0, 120.0])),
    )


@settings(max_examples=5 * settings.default.max_examples)
@given(truth=nights())
def test_with_true_bounds_no_night_is_late_and_none_is_cheaper_than_the_bound(truth):
    result = played(truth)
    assert not result.late
    bound = omniscient_costs(
        available_slots(
            truth.market, offsets_seconds=[0.0], window_seconds=truth.window_seconds, step_seconds=300.0
        ),
        work_seconds=truth.work_seconds,
        changeover_seconds=truth.spot_changeover_seconds[0],
        spot_ratio=0.3,
        step_seconds=300.0,
    )[0]
    assert result.cost >= bound - 1e-9


@st.composite
def ladders(draw, market):
    """One to three types of a market, of any speed."""
    speeds = draw(st.lists(st.sampled_from([0.4, 0.7, 1.0, 1.5, 2.0]), min_size=1, max_size=3))
    return [
        Rung(market, f"type-{number}", "simulated", speed=speed, usd_per_hour=1.0, patience_seconds=900)
        for number, speed in enumerate(speeds)
    ]


@settings(max_examples=10 * settings.default.max_examples)
@given(
    truth=nights(),
    spot=ladders(Market.SPOT),
    on_demand=ladders(Market.ON_DEMAND),
    second=slots,
    spare=st.integers(0, 40),
    every=st.sampled_from([0.0, 300.0, 900.0, 1800.0]),
)
def test_with_true_bounds_no_night_is_late_on_types_of_any_speed(
    truth, spot, on_demand, second, spare, every
):
    changeover = truth.on_demand_changeover_seconds[0]
    soonest = min(changeover + truth.work_seconds / rung.speed for rung in on_demand)
    truth = replace(truth, window_seconds=math.ceil(soonest) + 300.0 * spare, checkpoint_seconds=every)
    rungs = tuple(replace(rung, change_over_seconds=int(changeover)) for rung in (*spot, *on_demand))
    run = replace(
        run_of(replace(truth, window_seconds=WEEK)),
        rungs=rungs,
        deadline=MIDNIGHT + timedelta(seconds=truth.window_seconds),
    )
    night = SimulatedNight(truth, markets={"type-1": on_grid(second, 300.0)})
    assert not Planned(run).play(night).late


@pytest.mark.long
def test_of_random_ladders_of_different_speeds_none_is_late():
    assert [seed for seed in range(speeds.NIGHTS) if speeds.play(seed).late] == []


def test_a_slower_job_is_stopped_at_the_last_safe_moment_that_was_shown(monkeypatch):
    shown, off = [], []
    decide = ledger_night.next_step

    def spy(run, now):
        step, attempt = decide(run, now), run.open_attempt
        if step.action is Action.STOP and attempt.state is AttemptState.TRAINING:
            off.append(abs((now - shown[-1]).total_seconds()))
        shown.append(ladder.last_safe_at(run, now, step.rung if step.action is Action.START else None))
        return step

    monkeypatch.setattr(ledger_night, "next_step", spy)
    for seed in range(160):
        ledger_night.play_through_ledger(*speeds.night_of(seed))
    assert len(off) > 10
    assert max(off) <= 1


@pytest.mark.parametrize("queue", [240.0, 600.0])
@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_spot_that_is_slower_than_on_demand_is_left_before_a_reclaim_would_make_it_late(minutes, queue):
    # 5 h on Spot are 3 h 20 min on-demand. One reclaim five minutes before the end, and no Spot after it.
    truth = truth_of(
        market(5.0),
        work_seconds=5 * HOUR,
        window_seconds=5 * HOUR + 300,
        spot_changeover_seconds=(240.0,),
        on_demand_changeover_seconds=(queue,),
        checkpoint_seconds=60.0 * minutes,
        stop_seconds=180.0,
    )
    planned = run_of(replace(truth, window_seconds=WEEK))
    fast = replace(planned.rungs[1], speed=1.5)
    deadline = MIDNIGHT + timedelta(seconds=truth.window_seconds)
    result = played_plan(replace(planned, rungs=(planned.rungs[0], fast), deadline=deadline), truth)
    assert not result.late
    assert result.spot_seconds > 2 * HOUR


@settings(max_examples=2 * settings.default.max_examples)
@given(truth=nights(), policy=st.sampled_from(Policy))
def test_the_spans_follow_each_other_and_add_up_to_the_night_and_its_cost(truth, policy):
    result = played(truth, policy)
    ends = 0.0
    for span in result.spans:
        assert span.start_seconds == pytest.approx(ends, abs=1.5)  # waits are whole seconds
        ends = span.end_seconds
    assert ends == pytest.approx(result.finished_seconds)
    price = {"spot": 0.3, "on_demand": 1.0, None: 0.0}
    paid = math.fsum(
        price[span.market] * (span.end_seconds - span.start_seconds) / HOUR for span in result.spans
    )
    assert result.cost == pytest.approx(paid)


@given(truth=nights())
def test_two_attempts_are_never_open_at_once(truth):
    seen = []
    decide = ledger_night.next_step

    def spy(run, now):
        step = decide(run, now)
        seen.append((run, step))
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_night, "next_step", spy)
        ledger_night.play_through_ledger(run_of(truth), SimulatedNight(truth))
    for run, step in seen:
        assert sum(attempt.is_open for attempt in run.attempts) <= 1
        assert step.action is not Action.START or run.open_attempt is None
        spot = [rung for rung in run.rungs if rung.market is Market.SPOT]
        assert spot


@pytest.mark.parametrize("change", [{"budget_usd": 100.0}, {"left_out": (LeftOut(SPOT, "no quota."),)}])
def test_a_plan_that_a_night_knows_nothing_of_is_refused(change):
    with pytest.raises(SimulationError, match="has no budget, leaves no rung out"):
        played(truth_of(market()), **change)


def test_a_start_that_is_slower_than_planned_is_no_reason_to_be_late():
    # 40 minutes instead of 6, a checkpoint every half hour, and a reclaim before the first.
    truth = truth_of(market(3.2, 4.3, up=False), spot_changeover_seconds=(2400.0,), checkpoint_seconds=1800.0)
    run = run_of(replace(truth, spot_changeover_seconds=(CHANGEOVER,)))
    assert not Planned(run).play(SimulatedNight(truth)).late
