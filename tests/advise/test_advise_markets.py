"""The markets of the nights: zones, several machines at once, and the user's own traces at the job's hours."""

from datetime import UTC, datetime

import numpy as np
import pytest

from nightspot.advise.markets import (
    MOVE_SECONDS,
    all_at_once,
    made_up,
    night_starts,
    of_traces,
    roaming,
)
from nightspot.job.times import Schedule
from nightspot.market.fitting import generate, profile
from nightspot.market.model import MarketAvailability
from nightspot.market.samples import BacktestError, Zone

HOUR = 3600.0
DAY = 24 * HOUR


def flat(*stretches):
    """A market of so many hours, up first, then down, and so on."""
    starts = np.concatenate([[0.0], np.cumsum(stretches)[:-1]]) * HOUR
    up = [n % 2 == 0 for n in range(len(stretches))]
    return MarketAvailability(starts, np.array(up), float(np.sum(stretches)) * HOUR)


def test_a_move_to_another_zone_is_an_interruption():
    first, second = flat(2, 8), flat(10)
    seen = set()
    for seed in range(8):
        whole = roaming([first, second], np.random.default_rng(seed))
        seen.add(tuple(whole.starts_seconds))
    # Whoever begins in the first zone loses it after two hours, and has the second one a moment later.
    assert seen == {(0.0,), (0.0, 2 * HOUR, 2 * HOUR + MOVE_SECONDS)}


def test_nobody_has_a_machine_while_no_zone_has():
    whole = roaming([flat(2, 3, 5), flat(1, 5, 4)], np.random.default_rng(0))
    for hours in (2.5, 4.9):
        assert not whole.is_up_at(hours * HOUR)
    assert whole.is_up_at(5.5 * HOUR)


def test_one_zone_roams_as_itself_but_for_the_moment_after_a_loss():
    zone = flat(2, 1, 3, 4)
    whole = roaming([zone], np.random.default_rng(0))
    assert whole.share_up == pytest.approx(zone.share_up)
    assert list(whole.starts_seconds / HOUR) == [0, 2, 3, 6]


def test_the_same_seed_gives_the_same_month_and_another_month_another(advising):
    case = advising.case()
    months = made_up(case.pool, nights=3, night_seconds=8 * HOUR, seed=7)
    again = made_up(case.pool, nights=3, night_seconds=8 * HOUR, seed=7)
    one, same, other = months.month(0), again.month(0), months.month(1)
    assert [list(night.starts_seconds) for night in one] == [list(night.starts_seconds) for night in same]
    assert [list(night.starts_seconds) for night in one] != [list(night.starts_seconds) for night in other]


def test_a_trace_shorter_than_a_night_is_refused():
    with pytest.raises(
        BacktestError, match=r"window_seconds: 43200 s must be shorter than .* zone-a, 36000 s"
    ):
        of_traces([Zone("zone-a", flat(2, 8))], None, nights=3, night_seconds=12 * HOUR, seed=7)


def test_several_machines_are_there_while_each_is_and_lost_with_the_first():
    both = all_at_once([flat(4, 2, 4), flat(1, 2, 7)])
    assert list(both.starts_seconds / HOUR) == [0, 1, 3, 4, 6]
    assert [both.is_up_at(hours * HOUR) for hours in (0.5, 2, 3.5, 5, 7)] == [True, False, True, False, True]


@pytest.mark.parametrize("machines", [2, 4])
def test_machines_of_their_own_live_an_nth_of_a_life_together(machines):
    lives = profile("calm")
    random = np.random.default_rng(3)
    markets = [generate(lives, seconds=900 * DAY, randomness=random) for _ in range(machines)]
    together = all_at_once(markets)
    mean = together.stretch_seconds[together.up].mean()
    assert mean == pytest.approx(lives.lives.mean_seconds / machines, rel=0.1)
    assert together.share_up == pytest.approx(lives.share_up**machines, rel=0.1)


# Up from 02:00 to 10:00 UTC each day; the trace begins at 18:00.
DATED = Zone(
    "zone-a",
    MarketAvailability(
        np.array([0.0, *(day * DAY + hours * HOUR for day in range(10) for hours in (8, 16))]),
        np.array([False, *([True, False] * 10)]),
        10 * DAY,
    ),
    start=datetime(2026, 3, 1, 18, tzinfo=UTC),
)


def test_nights_of_a_dated_trace_begin_at_the_hour_of_the_schedule():
    schedule = Schedule(cron="0 2 * * ? *")
    assert night_starts(DATED, schedule, 8 * HOUR) == tuple(day * DAY + 8 * HOUR for day in range(10))
    nights = of_traces([DATED], schedule, nights=30, night_seconds=8 * HOUR, seed=7).month(0)
    assert all(night.share_up == 1 for night in nights)


def test_the_hour_is_the_one_of_the_schedules_own_zone():
    # New York is five hours behind on the first of March.
    schedule = Schedule(cron="0 21 * * ? *", timezone="America/New_York")
    assert night_starts(DATED, schedule, 8 * HOUR) == night_starts(
        DATED, Schedule(cron="0 2 * * ? *"), 8 * HOUR
    )


def test_a_night_by_day_is_another_one_on_the_same_trace():
    nights = of_traces(
        [DATED], Schedule(cron="0 12 * * ? *"), nights=9, night_seconds=8 * HOUR, seed=7
    ).month(0)
    assert all(night.share_up == 0 for night in nights)


@pytest.mark.parametrize(
    ("schedule", "start"),
    [(None, DATED.start), (Schedule(rate="1 day"), DATED.start), (Schedule(cron="0 2 * * ? *"), None)],
    ids=["no schedule", "a rate, whose hour nobody knows", "a trace without a date"],
)
def test_without_an_hour_nights_begin_at_random(schedule, start):
    zone = Zone("zone-a", DATED.changes, start=start)
    assert night_starts(zone, schedule, 8 * HOUR) == ()
    nights = of_traces([zone], schedule, nights=30, night_seconds=8 * HOUR, seed=7).month(0)
    assert len({night.share_up for night in nights}) > 10


def test_a_trace_without_a_whole_night_from_the_hour_on_is_refused():
    short = Zone("zone-a", flat(2, 8), start=datetime(2026, 3, 1, 18, tzinfo=UTC))
    with pytest.raises(
        BacktestError, match="from the schedule's hour on must lie within zone-a, 36000 s from"
    ):
        night_starts(short, Schedule(cron="0 21 * * ? *"), 8 * HOUR)


def test_a_trace_tells_of_as_many_nights_as_lie_in_it_side_by_side():
    at_two = Schedule(cron="0 2 * * ? *")
    assert of_traces([DATED], at_two, nights=3, night_seconds=8 * HOUR, seed=7).distinct == 10
    assert of_traces([DATED], None, nights=3, night_seconds=8 * HOUR, seed=7).distinct == 30
