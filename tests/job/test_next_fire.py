"""When a schedule fires next: EventBridge Scheduler's notations, time zones, the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nightspot.job.times import Schedule, next_fire

SATURDAY = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 0 * * ? *", "2026-11-22 00:00"),
        ("30 2 * * ? *", "2026-11-22 02:30"),
        ("30 14 * * ? *", "2026-11-21 14:30"),
        ("0 12 * * ? *", "2026-11-22 12:00"),  # later than now
        ("0/20 12 * * ? *", "2026-11-21 12:20"),
        ("*/20 12-13 * * ? *", "2026-11-21 12:20"),
        ("50-10/20 * * * ? *", "2026-11-21 12:10"),  # 50, 10
        ("0 0 ? * MON-FRI *", "2026-11-23 00:00"),
        ("0 0 ? * 2-6 *", "2026-11-23 00:00"),
        ("0 0 ? * FRI-SUN *", "2026-11-22 00:00"),
        ("0 13 ? * L *", "2026-11-21 13:00"),
        ("0 0 ? * FRIL *", "2026-11-27 00:00"),
        ("0 0 ? * 6L *", "2026-11-27 00:00"),
        ("0 0 ? * 2#1 *", "2026-12-07 00:00"),
        ("0 0 ? * MON#5 *", "2026-11-30 00:00"),
        ("0 0 1,15 * ? *", "2026-12-01 00:00"),
        ("0 0 31 * ? *", "2026-12-31 00:00"),
        ("0 0 L * ? *", "2026-11-30 00:00"),
        ("0 0 L FEB ? *", "2027-02-28 00:00"),
        ("0 0 LW 1 ? *", "2027-01-29 00:00"),  # the 31st is a Sunday
        ("0 0 1W MAY ? *", "2027-05-03 00:00"),  # the 1st is a Saturday
        ("0 0 15W AUG ? *", "2027-08-16 00:00"),  # the 15th is a Sunday
        ("0 0 29 2 ? *", "2028-02-29 00:00"),
        ("0 0 1 JAN ? 2030", "2030-01-01 00:00"),
        ("0 0 * * ? 2027/2", "2027-01-01 00:00"),
        ("0 0 * * ? 2020-2025", None),
    ],
)
def test_a_cron_expression_fires_next_in_utc(cron, expected):
    found = next_fire(Schedule(cron=cron), SATURDAY)
    assert (None if found is None else f"{found:%Y-%m-%d %H:%M}") == expected


@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"),
    [
        ("Europe/Dublin", "30 2 * * ? *", "2026-07-01T12:00", "2026-07-02T01:30"),
        ("Europe/Dublin", "30 2 * * ? *", "2026-12-01T12:00", "2026-12-02T02:30"),
        ("Asia/Kolkata", "0 0 * * ? *", "2026-12-01T12:00", "2026-12-01T18:30"),
        ("America/New_York", "0 22 ? * FRI *", "2026-12-01T12:00", "2026-12-05T03:00"),
        ("Pacific/Auckland", "0 1 ? * SAT *", "2026-12-03T12:00", "2026-12-04T12:00"),
        # 29 March 2026, 01:30 is not on Dublin's clocks: no start that night.
        ("Europe/Dublin", "30 1 * * ? *", "2026-03-28T12:00", "2026-03-30T00:30"),
        # 25 October 2026, 01:30 is there twice: one start, and no second one an hour later.
        ("Europe/Dublin", "30 1 * * ? *", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("Europe/Dublin", "30 1 * * ? *", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_a_cron_expression_is_read_by_the_clocks_of_its_zone(zone, cron, after, expected):
    started, fires = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (after, expected))
    assert next_fire(Schedule(cron=cron, timezone=zone), started) == fires


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("5 minutes", "2026-11-21 12:05"),
        ("12 hours", "2026-11-22 00:00"),
        ("9 hours", "2026-11-21 18:00"),
        ("1 day", "2026-11-22 00:00"),
        ("7 days", "2026-11-22 00:00"),
    ],
)
def test_a_rate_counts_from_midnight(rate, expected):
    assert f"{next_fire(Schedule(rate=rate), SATURDAY):%Y-%m-%d %H:%M}" == expected


def test_a_paused_schedule_has_its_next_time_too():
    assert next_fire(Schedule(cron="0 0 * * ? *", paused=True), SATURDAY) == SATURDAY + timedelta(hours=12)
