"""Many nights with every policy: the same luck for all, what the scores mean, and what is refused."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightspot.job.markets import Fallback, Market, Policy
from nightspot.job.model import Job
from nightspot.job.reading import parse_job
from nightspot.market.backtest import (
    DEFAULT,
    LABELS,
    OMNISCIENT,
    OURS,
    backtest,
    needs_to_see_spot,
    plan,
    player,
)
from nightspot.market.fitting import generate, profile
from nightspot.market.model import Belief, MarketAvailability, Prices
from nightspot.market.omniscient import omniscient_of, schedule_of, step_seconds
from nightspot.market.rivals import RIVALS
from nightspot.market.samples import BacktestError, BacktestSetting, Zone, check, plan_of, samples_of
from nightspot.run.model import Rung

HOUR = 3600.0
DAY = 24 * HOUR


def zone_of(*changes, up=True, days=3.0, name="zone", **fields):
    """Up (or not) from 0 on, and then the other way round at each of `changes`, in hours."""
    starts = [0.0, *(each * HOUR for each in changes)]
    states = [(index % 2 == 0) == up for index in range(len(starts))]
    return Zone(name, MarketAvailability(np.array(starts), np.array(states), days * DAY), **fields)


def made_up(seed=1, days=4.0, name="scarce"):
    return Zone(name, generate(profile(name), seconds=days * DAY, randomness=seed, name=name), 60.0)


def few(**changes):
    return BacktestSetting(**{"starts": 12, **changes})


def test_every_policy_has_a_score_and_a_label_ours_first_and_the_omniscient_last():
    scores = backtest(few(starts=2), [made_up()])
    assert list(scores)[:3] == list(OURS)
    assert next(iter(scores)) == DEFAULT
    assert list(scores)[-1] == OMNISCIENT
    assert set(scores) == {*OURS, *RIVALS, OMNISCIENT} == set(LABELS)


def test_the_default_is_the_default_of_a_job():
    assert Job.model_fields["policy"].default.value == DEFAULT


def test_only_rules_that_go_back_to_spot_need_to_see_it():
    assert {name for name in LABELS if needs_to_see_spot(name)} == {
        "spot_whenever",
        "uniform_progress",
        "greedy_then_uniform",
        OMNISCIENT,
    }


def test_without_spot_every_policy_that_waits_costs_what_on_demand_does():
    scores = backtest(few(), [zone_of(up=False)])
    assert scores[DEFAULT].cost_ratio == pytest.approx(1)
    assert scores[OMNISCIENT].cost_ratio == pytest.approx(1)
    assert scores[DEFAULT].on_demand_hours == pytest.approx(4.1)
    assert scores[DEFAULT].late_rate == 0


def test_where_spot_is_always_there_it_costs_its_own_price():
    scores = backtest(few(), [zone_of()])
    assert scores[DEFAULT].cost_ratio == pytest.approx(0.30)
    assert scores[DEFAULT].vs_omniscient == pytest.approx(1)
    assert scores["on_demand"].vs_omniscient == pytest.approx(1 / 0.30)


def test_costs_are_summed_over_zones_before_they_are_compared():
    scores = backtest(few(starts=5), [zone_of(name="up"), zone_of(up=False, name="down")])
    assert scores[DEFAULT].cost_ratio == pytest.approx((0.30 + 1) / 2)
    assert scores[DEFAULT].nights == 10


def test_all_policies_meet_the_same_nights_and_the_same_setting_gives_them_again():
    setting = few(random_changeover=True, work_error=0.1)
    first, again = (list(samples_of(setting, made_up())) for _ in range(2))
    assert [s.offset_seconds for s in first] == [s.offset_seconds for s in again]
    assert [s.truth.spot_changeover_seconds for s in first] == [
        s.truth.spot_changeover_seconds for s in again
    ]
    assert [s.belief for s in first] == [s.belief for s in again]
    other = list(samples_of(replace(setting, seed=8), made_up()))
    assert [s.offset_seconds for s in first] != [s.offset_seconds for s in other]


def test_exact_nights_are_planned_with_the_truth():
    setting = few(on_demand_changeover_seconds=900.0, on_demand_queue_seconds=60.0, stop_seconds=180.0)
    for sample in samples_of(setting, made_up()):
        assert sample.belief == Belief(4 * HOUR, 360.0, 960.0, 180.0)
        assert sample.truth.on_demand_changeover_seconds == (900.0,)


def test_unplanned_waits_for_on_demand_are_drawn_and_not_planned_for():
    setting = few(starts=60, on_demand_waits_seconds=(0.0, 1800.0))
    samples = list(samples_of(setting, made_up()))
    assert {sample.belief for sample in samples} == {Belief(4 * HOUR, 360.0, 360.0, 0.0)}
    first = [sample.truth.on_demand_queue_seconds[0] for sample in samples]
    assert set(first) == {0.0, 1800.0}
    plain = list(samples_of(few(starts=60), made_up()))
    assert {sample.truth.on_demand_queue_seconds for sample in plain} == {(0.0,)}


def test_a_plan_has_the_fallback_of_its_run_and_a_backtest_of_a_job_always_one():
    text = (Path(__file__).parents[2] / "jobs" / "recommender.yaml").read_text(encoding="utf-8")
    job = parse_job(text.replace("fallback: on_demand", "fallback: never"))
    assert job.fallback is Fallback.NEVER
    ladder = plan_of(job, price=lambda _type, _region: 33.0)
    belief = Belief(4 * HOUR, 360, 360)
    assert plan(few(), belief, Policy.PATIENT, ladder).fallback is Fallback.ON_DEMAND
    never = replace(ladder, fallback=Fallback.NEVER)
    assert plan(few(), belief, Policy.PATIENT, never).fallback is Fallback.NEVER


def test_random_nights_are_planned_with_limits_above_most_of_what_comes():
    setting = few(starts=100, random_changeover=True, work_error=0.1)
    samples = list(samples_of(setting, made_up()))
    above = [s.belief.work_seconds > s.truth.work_seconds for s in samples]
    later = [s.belief.on_demand_changeover_seconds > s.truth.on_demand_changeover_seconds[0] for s in samples]
    assert sum(above) >= 97
    assert sum(later) >= 97
    assert np.mean([s.truth.work_seconds for s in samples]) == pytest.approx(4 * HOUR, rel=0.05)


def test_misses_come_from_bad_inputs_and_not_from_the_rule():
    """The same nights in a market that has nothing: with what was learnt in time, with the median many are late."""
    setting = few(starts=60, random_changeover=True)
    play = player(setting, DEFAULT)
    learnt, guessed = 0, 0
    for sample in samples_of(setting, zone_of(up=False)):
        learnt += play(sample).late
        median = replace(sample.belief, on_demand_changeover_seconds=360.0, spot_changeover_seconds=0.0)
        guessed += play(replace(sample, belief=median)).late
    assert learnt <= 1
    assert guessed > 15


def test_the_bound_is_never_above_what_a_policy_pays():
    for setting in (few(), few(random_changeover=True, work_error=0.1), few(window_seconds=5 * HOUR)):
        zone = made_up()
        samples = list(samples_of(setting, zone))
        bounds = omniscient_of(setting, zone, samples)
        for name in ("patient", "uniform_progress", "greedy_then_uniform"):
            costs = [player(setting, name)(sample).cost for sample in samples]
            assert all(cost >= bound - 1e-6 for cost, bound in zip(costs, bounds, strict=True)), name


def test_a_night_that_nobody_can_be_in_time_for_has_a_bound_all_the_same():
    setting = few(window_seconds=4.2 * HOUR, work_error=0.2, starts=40)
    zone = zone_of(up=False)
    samples = list(samples_of(setting, zone))
    assert any(sample.truth.work_seconds > setting.window_seconds for sample in samples)
    assert np.isfinite(omniscient_of(setting, zone, samples)).all()
    scores = backtest(setting, [zone])
    assert all(math.isfinite(score.vs_omniscient) for score in scores.values())


def test_the_omniscient_schedule_of_a_night_costs_its_bound():
    zone, setting = made_up(), few()
    for sample in samples_of(setting, zone):
        bound = omniscient_of(setting, zone, [sample])
        assert schedule_of(setting, zone, sample).cost_on_demand_hours == pytest.approx(bound[0])


def test_nights_with_the_market_s_own_prices_are_paid_and_bounded_by_them():
    prices = Prices(np.array([0.0]), np.array([1.5]))
    zone = zone_of(prices=prices, on_demand_usd_per_hour=3.0)
    scores = backtest(few(spot_ratio=None), [zone])
    assert scores[DEFAULT].cost_ratio == pytest.approx(0.5)
    assert scores[OMNISCIENT].cost_ratio == pytest.approx(0.5)


@given(
    work=st.floats(60, 40 * HOUR),
    changeover=st.floats(0, HOUR),
    window=st.floats(1.01, 5),
)
@settings(max_examples=2 * settings.default.max_examples)
def test_the_bound_s_grid_can_always_be_computed(work, changeover, window):
    setting = BacktestSetting(
        work_seconds=work, changeover_seconds=changeover, window_seconds=work * window + changeover
    )
    step = step_seconds(setting, zone_of(days=20))
    slots, slots_of_work = setting.window_seconds / step, work / step
    # A table of so many values per night and slot of work takes seconds, not hours.
    assert slots * slots_of_work < 3e7
    assert slots_of_work >= 30


@pytest.mark.parametrize(("work", "changeover"), [(4 * HOUR, 360), (4 * HOUR, 720), (4 * HOUR, 108)])
def test_the_grid_rounds_neither_work_nor_change_over_of_the_usual_settings(work, changeover):
    step = step_seconds(BacktestSetting(work_seconds=work, changeover_seconds=changeover), zone_of())
    assert work / step == pytest.approx(round(work / step))
    assert changeover / step == pytest.approx(round(changeover / step))


def test_a_ladder_is_played_as_a_whole():
    """Its second Spot type costs twice as much, and gets its turn when the first has had its patience."""
    rungs = (
        Rung(Market.SPOT, "cheap", "here", usd_per_hour=10.0, patience_seconds=600),
        Rung(Market.SPOT, "dear", "here", usd_per_hour=20.0, patience_seconds=600),
        Rung(Market.ON_DEMAND, "cheap", "here", usd_per_hour=10.0),
    )
    setting = few(starts=1)
    run = replace(plan(setting, Belief(4 * HOUR, 360, 360), Policy.PATIENT), rungs=rungs)
    # Up after twelve minutes: the first type has had its ten, the second one is waiting.
    zone = zone_of(0.2, up=False)
    sample = next(iter(samples_of(setting, zone)))
    sample = replace(sample, truth=replace(sample.truth, market=zone.changes.window(0, 8 * HOUR)))
    assert player(setting, DEFAULT, run)(sample).cost == pytest.approx(0.30 * 4.1 * 2, rel=0.01)
    assert player(setting, DEFAULT)(sample).cost == pytest.approx(0.30 * 4.1, rel=0.01)


def test_progress_is_told_after_each_policy_of_each_zone():
    seen = []
    backtest(
        few(starts=1),
        [zone_of(name="a"), zone_of(name="b")],
        policies=[DEFAULT],
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"work_seconds": 0}, "work_seconds: 0 must be finite and greater than 0"),
        ({"work_seconds": math.nan}, "work_seconds: nan must be finite"),
        (
            {"window_seconds": 4 * HOUR},
            "window_seconds: 4 h must hold the work and an on-demand start, 4 h 6 min",
        ),
        ({"changeover_seconds": -1}, "changeover_seconds: -1 must be finite and at least 0"),
        ({"on_demand_changeover_seconds": -1}, "on_demand_changeover_seconds: -1 must be"),
        ({"on_demand_speed": 0}, "on_demand_speed: 0 must be finite and greater than 0"),
        ({"spot_ratio": 1.5}, "spot_ratio: 1.5 must be over 0, at most 1"),
        ({"spot_ratio": 0}, "spot_ratio: 0 must be over 0"),
        ({"starts": 0}, "starts: 0 must be at least 1"),
        (
            {"on_demand_waits_seconds": (0.0, -1.0)},
            "on_demand_waits_seconds: -1 must be finite and at least 0",
        ),
        ({"work_error": 0.5}, "work_error: 0.5 must be between 0 and 0.3"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_with_field_value_and_rule(changes, rule):
    with pytest.raises(BacktestError, match=rule):
        few(**changes)


def test_a_window_that_only_a_faster_on_demand_machine_can_keep_is_played():
    setting = few(starts=2, window_seconds=3 * HOUR, on_demand_speed=2.0)
    ladder = (Rung(Market.SPOT, "slow", "r"), Rung(Market.ON_DEMAND, "fast", "r", speed=2.0))
    run = replace(plan(setting, Belief(4 * HOUR, 360, 360), Policy.PATIENT), rungs=ladder)
    scores = backtest(setting, [zone_of(0.2, up=False)], run=run)
    assert scores[DEFAULT].late_rate == 0
    # The rivals buy at speed 1, and are late; none of them fails to come to its end.
    assert scores["max_wait_safe"].late_rate == 1


@pytest.mark.parametrize(
    ("speed", "window", "needed"),
    [(2.0, 2 * HOUR, "2 h 6 min"), (0.5, 4 * HOUR, "4 h 6 min")],
    ids=["faster than the work is stated for", "slower: Spot at speed 1 may still be in time"],
)
def test_a_window_that_no_machine_can_keep_is_refused(speed, window, needed):
    with pytest.raises(BacktestError, match=f"an on-demand start, {needed}: no policy could be in time"):
        few(window_seconds=window, on_demand_speed=speed)
    assert few(window_seconds=window + 360, on_demand_speed=speed).on_demand_speed == speed


@pytest.mark.parametrize(
    ("setting", "zones", "rule"),
    [
        (few(), [], "zones: none given"),
        (few(work_seconds=30), [zone_of()], "work_seconds: 30 s must be at least 60 s"),
        (
            few(window_seconds=3 * DAY),
            [zone_of()],
            "window_seconds: 3 d must be shorter than what is known of zone",
        ),
        (few(spot_ratio=None), [zone_of()], "spot_ratio: must be a number, because zone has no prices"),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_is(setting, zones, rule):
    with pytest.raises(BacktestError, match=rule):
        check(setting, zones)
    with pytest.raises(BacktestError, match=rule):
        backtest(setting, zones, on_progress=lambda _done, _total: pytest.fail("played"))


def test_nights_are_not_drawn_from_a_market_that_is_too_short():
    with pytest.raises(BacktestError, match="must be shorter than what is known of zone"):
        list(samples_of(few(window_seconds=4 * DAY), zone_of()))
