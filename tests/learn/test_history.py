"""What past runs teach of machines: how long they are waited for, start and live."""

import pytest

from nightspot.job.markets import Market
from nightspot.learn import history
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


def in_vain(waited, market="on_demand"):
    attempt = {"market": market, "instance_type": TYPE, "status": "Stopped", "waited_seconds": waited}
    return night(attempts=[attempt])


def spot_wait(seconds):
    return night(attempts=[{"instance_type": TYPE, "status": "Completed", "queued_seconds": seconds}])


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

    def test_one_slow_start_among_five_does_not_plan_days(self):
        """L3: 52 h."""
        past = [start(minutes * 60.0) for minutes in (7, 7.5, 8, 7.2, 60)]
        learnt = history.change_over(past, Market.ON_DEMAND, TYPE, 600)
        assert (learnt.seconds, learnt.starts) == (600, 5)
        assert len(learnt.odd) == 1

    def test_starts_take_the_time_that_shorter_work_has_left_over(self):
        past = [start(minutes * 60.0) for minutes in (7, 7.5, 8, 7.2, 12)]
        assert history.change_over(past, Market.ON_DEMAND, TYPE, 600, spare_seconds=600).seconds == 1200

    def test_waits_that_were_ended_are_lower_bounds_where_they_are_no_exceptions(self):
        """L19 of the cases: on-demand came 6 times in 7 min and 24 times not within 30."""
        past = [start(420.0) for _ in range(6)] + [in_vain(1800.0) for _ in range(24)]
        learnt = history.change_over(past, Market.ON_DEMAND, TYPE, 900)
        assert (learnt.seconds, learnt.starts, learnt.cut_short) == (1800, 6, 24)

    def test_one_of_them_that_was_far_longer_does_not_set_the_limit_alone(self):
        past = [start(420.0) for _ in range(6)] + [in_vain(1800.0) for _ in range(24)] + [in_vain(36_000.0)]
        assert history.change_over(past, Market.ON_DEMAND, TYPE, 900).seconds == 1800

    def test_a_market_that_never_had_a_machine_is_no_quick_one(self):
        past = [in_vain(3600.0) for _ in range(25)]
        assert history.change_over(past, Market.ON_DEMAND, TYPE, 900).seconds == 3600

    def test_attempts_on_one_rung_that_follow_each_other_are_one_wait(self):
        hour = "2026-11-20T0{}:00:00+00:00".format
        attempts = [
            {"market": "on_demand", "asked_at": hour(1), "status": "Failed", "waited_seconds": 60.0},
            {"market": "on_demand", "asked_at": hour(2), "status": None},
            {"market": "on_demand", "asked_at": hour(3), "status": "Completed", "queued_seconds": 60.0}
            | {"ready_seconds": 300.0},
        ]
        past = [night(attempts=attempts)] * 20
        assert history.change_over(past, Market.ON_DEMAND, TYPE, 900).seconds == pytest.approx(
            2 * 3600 + 300, abs=1
        )

    def test_a_forgotten_run_teaches_nothing(self):
        past = [start(60.0).model_copy(update={"forgotten": True})] * 9
        assert history.change_over_seconds(past, Market.ON_DEMAND, TYPE, 900) == 900


class TestPatience:
    """L4: it could only fall, because what is longer than the patience was never seen."""

    def test_waits_that_were_ended_too_early_count(self):
        came = [spot_wait(minutes * 60.0) for minutes in (2, 4, 8, 12, 16, 22)]
        assert history.patience_seconds(came, Market.SPOT, TYPE) == 22 * 60
        ended = [in_vain(1800.0, market="spot")] * 6
        assert history.patience_seconds([*came, *ended], Market.SPOT, TYPE) > 60 * 60

    def test_a_type_that_never_came_gets_the_shortest(self):
        assert history.patience_seconds([in_vain(1800.0, market="spot")] * 9, Market.SPOT, TYPE) == 600


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
