"""How long a rung may be waited for, learnt from past nights."""

import pytest

from nightspot.job.markets import Market
from nightspot.learn.history import patience_seconds
from tests.records import past_run

TYPE = "ml.p4d.24xlarge"


def night(queued, *, market="spot", instance_type=TYPE, status="Completed"):
    attempt = {"market": market, "instance_type": instance_type, "queued_seconds": queued, "status": status}
    return past_run([attempt])


def learnt(history):
    return patience_seconds(history, Market.SPOT, TYPE)


def test_before_there_is_enough_history_it_is_half_an_hour():
    assert learnt([]) == 1800
    assert learnt([night(60.0)] * 4) == 1800


def test_nine_in_ten_of_the_waits_that_paid_were_over_by_then():
    waits = [60.0 * minutes for minutes in range(11, 30)]
    assert learnt([night(wait) for wait in waits]) == 28 * 60


@pytest.mark.parametrize(("waits", "patience"), [([5.0] * 9, 600), ([9 * 3600.0] * 9, 7200)])
def test_it_stays_between_ten_minutes_and_two_hours(waits, patience):
    assert learnt([night(wait) for wait in waits]) == patience


def test_a_type_that_never_came_gets_the_shortest():
    assert learnt([night(None, status="Stopped")] * 5) == 600


def test_other_types_other_markets_and_refused_requests_teach_nothing():
    others = [
        night(3000.0, market="on_demand"),
        night(3000.0, instance_type="ml.g5.xlarge"),
        night(None, status=None),
    ]
    assert learnt(others * 9) == 1800
