"""When the model must be ready."""

from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.job.times import Deadline

ZONES = (
    "UTC",
    "Europe/Dublin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
)
starts = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis wants its bounds naive
    datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
wall_times = st.times().map(lambda at: at.replace(microsecond=0))


@given(started=starts, at=wall_times, zone=st.sampled_from(ZONES))
def test_the_deadline_is_the_next_time_the_clocks_show_it(started, at, zone):
    due = Deadline(at=at, timezone=zone).after(started)
    assert due.tzinfo is UTC
    assert timedelta(0) < due - started <= timedelta(hours=26)
    local = due.astimezone(ZoneInfo(zone))
    skipped = datetime.combine(local.date(), at, tzinfo=ZoneInfo(zone)).astimezone(UTC) != due
    if not skipped:
        assert local.time() == at


@given(started=starts, seconds=st.integers(1, 28 * 86_400), hours=st.integers(-14, 14))
def test_within_counts_from_the_start_in_any_zone(started, seconds, hours):
    elsewhere = started.astimezone(timezone(timedelta(hours=hours)))
    assert Deadline(within_seconds=seconds).after(elsewhere) == started + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("at", "zone", "started", "due"),
    [
        ("08:00", "UTC", "2026-01-31T00:00", "2026-01-31T08:00"),
        ("08:00", "UTC", "2026-01-31T08:00", "2026-02-01T08:00"),
        ("08:00", "UTC", "2026-01-31T23:00", "2026-02-01T08:00"),
        ("08:00", "Europe/Dublin", "2026-07-01T00:00", "2026-07-01T07:00"),
        ("00:30", "Asia/Kolkata", "2026-07-01T20:00", "2026-07-02T19:00"),
        # Dublin's clocks go from 01:00 to 02:00 on 2026-03-29, at 01:00 UTC.
        ("01:30", "Europe/Dublin", "2026-03-29T00:00", "2026-03-29T00:30"),
        ("01:30", "Europe/Dublin", "2026-03-29T00:45", "2026-03-30T00:30"),
        # And from 02:00 back to 01:00 on 2026-10-25, at 01:00 UTC.
        ("01:30", "Europe/Dublin", "2026-10-24T23:00", "2026-10-25T00:30"),
        ("01:30", "Europe/Dublin", "2026-10-25T00:45", "2026-10-26T01:30"),
        # Apia went without 2011-12-30.
        ("08:00", "Pacific/Apia", "2011-12-29T20:00", "2011-12-30T18:00"),
    ],
)
def test_clock_changes_never_make_a_deadline_late(at, zone, started, due):
    deadline = Deadline(at=at, timezone=zone)
    started_at = datetime.fromisoformat(started).replace(tzinfo=UTC)
    assert deadline.after(started_at) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_naive_start_is_refused():
    with pytest.raises(ValueError, match="aware"):
        Deadline(at=time(8)).after(datetime(2026, 1, 31))  # noqa: DTZ001


def test_a_time_with_a_zone_of_its_own_is_refused():
    with pytest.raises(ValueError, match="time of day"):
        Deadline(at=time(8, tzinfo=UTC))
