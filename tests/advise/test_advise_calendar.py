"""How many nights a month has, counted from the schedule."""

import pytest

from nightspot.advise.nights import nights_a_month
from nightspot.job.times import Schedule
from nightspot.run.pricing import Basis

CASES = [
    ({"cron": "0 0 * * ? *"}, 30),
    ({"cron": "0 0 ? * MON-FRI *"}, 30 * 5 / 7),
    ({"cron": "0 0 ? * 2,4 *"}, 30 * 2 / 7),
    ({"cron": "0 0 ? * FRI-MON *"}, 30 * 4 / 7),
    ({"cron": "0 0 ? * * *"}, 30),
    ({"cron": "0 0,12 * * ? *"}, 60),
    ({"cron": "0 */6 * * ? *"}, 120),
    ({"cron": "0/30 8-9 * * ? *"}, 120),
    ({"cron": "0 0 1 * ? *"}, 30 / (365.25 / 12)),
    ({"cron": "0 0 L * ? *"}, 30 / (365.25 / 12)),
    ({"cron": "0 0 ? * 2#1 *"}, 1),
    ({"cron": "0 0 ? * FRIL *"}, 1),
    ({"cron": "0 0 * JAN-JUN ? *"}, 15),
    ({"cron": "0 0 * JUL ? *"}, 2.5),
    ({"rate": "1 day"}, 30),
    ({"rate": "12 hours"}, 60),
    ({"rate": "7 days"}, 30 / 7),
    ({"rate": "90 minutes"}, 480),
]


@pytest.mark.parametrize(("given", "nights"), CASES)
def test_a_schedule_fires_so_often_in_thirty_days(given, nights):
    found = nights_a_month(Schedule(**given))
    assert found.value == pytest.approx(nights)
    assert found.basis is Basis.PRICED


def test_without_a_schedule_one_run_a_night_is_assumed():
    found = nights_a_month(None)
    assert (found.value, found.basis) == (30, Basis.ASSUMED)
