"""The worked month: the same nights with another deadline or interval, and the same answer every time."""

import math
from dataclasses import replace
from itertools import pairwise
from statistics import median

import numpy as np
import pytest

from nightspot.advise.case import windows_to_try
from nightspot.advise.nights import most_seen, nights_played, with_nightspot
from nightspot.market.model import MarketAvailability
from nightspot.market.samples import Zone

HOUR = 3600.0


def half_up(days):
    """Six hours with machines, six without."""
    starts = np.arange(0, days * 24, 6) * HOUR
    return MarketAvailability(starts, np.arange(len(starts)) % 2 == 0, days * 24 * HOUR)


def test_a_later_deadline_never_costs_more_on_the_same_nights(recommender_advice):
    month = recommender_advice.month
    hours = [trial.hours for trial in month.deadlines]
    assert [trial.seconds / HOUR for trial in month.deadlines] == [6, 7, 8, 9, 10, 12]
    for earlier, later in pairwise(hours):
        assert later <= earlier * 1.01


def test_a_later_deadline_never_needs_on_demand_more_often(recommender_advice):
    shares = [trial.fallen_back for trial in recommender_advice.month.deadlines]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_the_months_spread_around_their_median(recommender_advice):
    month, case = recommender_advice.month, recommender_advice.case
    hours = with_nightspot(case.stage).month_hours
    assert len(hours) == 10
    assert month.median_usd.value == pytest.approx(33 * median(hours))
    assert month.best_usd.value == pytest.approx(33 * min(hours))
    assert month.worst_usd.value == pytest.approx(33 * max(hours))
    assert month.best_usd.value < month.median_usd.value < month.worst_usd.value


def test_the_sentence_about_an_hour_more_is_the_difference_of_the_trials(recommender_advice):
    month = recommender_advice.month
    own, later = (next(t for t in month.deadlines if t.seconds == h * HOUR) for h in (8, 9))
    said = next(s for s in month.advice if s.startswith("Finishing by 09:00 UTC instead of 08:00 UTC"))
    assert f"would save another ${own.usd.value - later.usd.value:.2f} a month" in said


def test_no_interval_is_tried_whose_saves_would_take_more_than_a_sixth_of_the_time(advising):
    month = advising.advice(save_seconds=110.0, nights=6).month
    assert (
        min(trial.seconds for trial in month.intervals) == 600
    )  # 5 x 110 s are more than the next, 5 minutes


def test_the_best_interval_is_the_cheapest_of_those_tried(recommender_advice):
    month = recommender_advice.month
    cheapest = min(month.intervals, key=lambda trial: trial.hours)
    assert month.best_interval in (cheapest, next(trial for trial in month.intervals if trial.is_own))
    assert month.best_interval.hours <= cheapest.hours * 1.02


def test_without_slack_every_night_is_on_demand_and_costs_what_on_demand_costs(advising):
    case = advising.case("examples/advise/no_slack.yaml")
    played = with_nightspot(case.stage)
    assert played.fallen_back == 1
    assert played.mean_hours == pytest.approx(30 * 4, rel=0.01)  # 300 nights whose work varies by 5 %
    assert with_nightspot(case.stage.with_window(windows_to_try(case)[-1])).fallen_back < 0.3


def test_less_slack_means_more_nights_on_on_demand_and_more_money(advising):
    stage = advising.case().stage
    tight, loose = (with_nightspot(stage.with_window(hours * HOUR)) for hours in (6, 12))
    assert tight.fallen_back > loose.fallen_back
    assert tight.mean_hours > loose.mean_hours


def test_where_no_night_was_late_the_rule_of_three_speaks(advising):
    month = advising.advice(hints={"on_demand_queue_seconds": 0.0}).month
    assert month.late_nights == 0
    assert month.late_at_most == pytest.approx(3 / 300)
    assert month.late_words == "under 1 % late at 95 % confidence"


def test_where_nights_were_late_the_bound_lies_above_them(advising, recommender_advice):
    played = advising.played(late=1)
    assert played.late_at_most * 100 == pytest.approx(4.744, rel=0.01)  # Poisson, exact
    fields = {"late_nights": 30 * played.late, "late_at_most": played.late_at_most}
    month = replace(recommender_advice.month, **fields, skipped_nights=0.0)
    assert month.late_words == "0.3 late (under 1.4 at 95 % confidence)"
    assert replace(month, skipped_nights=0.2).late_words.startswith("0.3 without a model in time")


@pytest.mark.parametrize(("seen", "most"), [(0, 2.9957), (1, 4.7439), (2, 6.2958), (5, 10.513), (30, 40.69)])
def test_the_bound_is_poissons(seen, most):
    assert most_seen(seen) == pytest.approx(most, rel=0.01)


def test_nights_that_overlap_in_a_trace_count_once(advising):
    played = advising.played()
    assert played.late_at_most == pytest.approx(3 / 100)
    assert replace(played, distinct=43).late_at_most == pytest.approx(3 / 43)
    assert replace(played, distinct=2).late_at_most == 1


def test_the_same_luck_meets_every_deadline_and_interval(advising):
    stage = advising.case(nights=2).stage
    later, saving = (
        stage.with_window(10 * HOUR),
        stage.with_checkpoints(600.0, 1.5 * stage.setting.work_seconds),
    )
    for own, one, other in zip(stage.truths[3], later.truths[3], saving.truths[3], strict=True):
        assert one == replace(own, window_seconds=10 * HOUR)
        assert other == replace(own, checkpoint_seconds=600.0, work_seconds=1.5 * own.work_seconds)


def test_a_longer_queue_makes_more_nights_late(advising):
    def late(hours):
        return with_nightspot(advising.case(hints={"on_demand_queue_seconds": hours * HOUR}).stage).late

    assert 0 == late(0) < late(3) < late(8)


def test_a_forbidden_fallback_buys_nothing_and_skips_the_night(advising):
    case = advising.case("jobs/recommender.yaml", ("fallback: on_demand", "fallback: never"))
    played = with_nightspot(case.stage)
    nights = [night for month in played.months for night in month]
    assert {night.on_demand_seconds for night in nights} == {0.0}
    skipped = [night for night in nights if night.finished_seconds == math.inf]
    assert 0 < len(skipped) < len(nights)
    assert all(night.late for night in skipped)
    # What Spot had trained by then is paid all the same.
    ratio = case.spot_ratio.value
    assert all(n.cost == pytest.approx(n.spot_seconds / HOUR * ratio) for n in nights)
    assert any(night.cost > 0.5 for night in skipped)
    assert played.on_demand_hours == 0


def test_a_later_deadline_is_not_dearer_because_fewer_nights_are_skipped(advising):
    month = advising.advice("jobs/recommender.yaml", ("fallback: on_demand", "fallback: never")).month
    shares = [trial.fallen_back for trial in month.deadlines]
    assert shares[0] > shares[-1]
    assert month.deadlines[0].hours > month.deadlines[-1].hours
    assert "In these comparisons a night without a model costs $200." in month.advice


def test_a_month_of_many_nights_is_played_in_part_and_counted_up(advising):
    case = advising.case(nights=300)
    assert nights_played(300) == 60
    played = with_nightspot(case.stage)
    assert len(played.months[0]) == 60
    costs = [sum(night.cost for night in month) for month in played.months]
    assert played.mean_hours == pytest.approx(5 * sum(costs) / 10, rel=1e-9)


def test_a_shallow_pool_costs_more_than_a_deep_one(advising):
    deep, shallow = (
        with_nightspot(advising.case(hints={"placement_score": score}).stage) for score in (9, 1)
    )
    assert deep.mean_hours < shallow.mean_hours
    assert deep.fallen_back < shallow.fallen_back


def test_one_zone_costs_more_than_three(advising):
    one, three = (with_nightspot(advising.case(hints={"zones": zones}).stage) for zones in (1, 3))
    assert three.mean_hours < one.mean_hours


def test_nights_of_the_users_own_traces_are_played_on_them(advising):
    case = advising.case(zones=[Zone("zone-a", half_up(days=6))])
    played = with_nightspot(case.stage)
    assert case.market_words == "your traces (1)"
    assert case.simulated_usd(1.0).word == "assumed"  # the discount still is
    assert 0 < played.fallen_back < 1
