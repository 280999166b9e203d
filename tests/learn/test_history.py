"""What past nights teach: upper limits that hold, and figures that take over only where they fit."""

import random

import pytest

from nightspot.job.markets import Market
from nightspot.learn import history
from nightspot.learn.history import upper_limit
from tests.records import past_run

TYPE = "ml.p4d.24xlarge"


def night(**changes):
    return past_run(**{"work_key": "k", "work_seconds": 14_400.0, **changes})


def start(seconds, market="on_demand", status="Completed", instance_type=TYPE):
    attempt = {
        "market": market,
        "instance_type": instance_type,
        "status": status,
        "ready_seconds": seconds,
    }
    return night(attempts=[attempt])


@pytest.mark.parametrize("count", [5, 20, 60, pytest.param(450, marks=pytest.mark.long)])
@pytest.mark.parametrize("sigma", [0.02, 0.6])
def test_the_next_value_stays_below_the_limit_in_all_but_one_case_of_four_hundred(count, sigma):
    chance = random.Random(count)
    trials = 4_000
    missed = 0
    for _ in range(trials):
        past = [chance.lognormvariate(0, sigma) for _ in range(count)]
        missed += chance.lognormvariate(0, sigma) > upper_limit(past)
    # A quarter of a percent, and what so many trials leave open.
    assert missed / trials <= 0.0055


def test_with_enough_values_nothing_is_assumed_about_them():
    assert upper_limit([float(n) for n in range(1, 400)]) == 399.0
    assert upper_limit([float(n) for n in range(1, 800)]) == 798.0


def test_a_limit_is_never_below_what_has_been_seen():
    assert upper_limit([1.0, 1.0, 1.0, 1.0, 50.0]) >= 50.0


def test_values_that_never_differ_need_no_margin():
    assert upper_limit([600.0] * 9) == pytest.approx(600.0)


class TestWork:
    def test_before_there_is_enough_the_file_is_planned_with_a_fifth_above(self):
        assert history.work_seconds([night()] * 4, "k", 10_000) == (10_000, 12_000)

    def test_then_the_nights_themselves_count(self):
        past = [night(work_seconds=14_000.0 + 10 * n) for n in range(9)]
        expected, upper = history.work_seconds(past, "k", 10_000)
        assert expected == 14_040
        assert 14_080 < upper < 14_400

    @pytest.mark.parametrize(
        "other",
        [{"outcome": "failed"}, {"work_key": "other"}, {"work_seconds": None}, {"outcome": "running"}],
    )
    def test_a_night_with_other_work_or_without_a_model_teaches_nothing(self, other):
        assert history.work_seconds([night(**other)] * 50, "k", 10_000) == (10_000, 12_000)


class TestChangeOvers:
    def test_before_there_is_enough_the_files_own_is_planned_with(self):
        assert history.change_over_seconds([start(60.0)] * 4, Market.ON_DEMAND, TYPE, 900) == 900

    def test_on_demand_is_planned_with_an_upper_limit(self):
        past = [start(300.0 + 10 * n) for n in range(20)]
        assert 500 < history.change_over_seconds(past, Market.ON_DEMAND, TYPE, 900) < 800

    def test_spot_is_planned_with_a_start_that_had_its_machine_at_once(self):
        waits = [240.0, 260.0, 3600.0, 7200.0, 280.0, 250.0, 9000.0, 270.0]
        past = [start(wait, market="spot") for wait in waits]
        assert history.change_over_seconds(past, Market.SPOT, TYPE, 600) == 260

    def test_other_rungs_and_starts_that_never_trained_teach_nothing(self):
        others = [start(60.0, market="spot"), start(60.0, instance_type="ml.g5.xlarge"), start(None)]
        assert history.change_over_seconds(others * 9, Market.ON_DEMAND, TYPE, 900) == 900


class TestMeanLife:
    def lives(self, *cuts, trained=7200.0):
        attempts = [
            {"instance_type": TYPE, "status": "Completed", "trained_seconds": trained, "interruptions": cut}
            for cut in cuts
        ]
        return [night(attempts=[attempt]) for attempt in attempts]

    def test_it_is_what_was_trained_over_what_was_taken_back(self):
        assert history.mean_life_seconds(self.lives(0, 1, 2, 0, 1), TYPE) == 5 * 7200 / 4

    @pytest.mark.parametrize("cuts", [(1, 1, 1, 1), (0, 0, 0, 0, 0, 0)])
    def test_too_few_nights_or_none_that_was_cut_say_nothing(self, cuts):
        assert history.mean_life_seconds(self.lives(*cuts), TYPE) is None
