"""When runs start by themselves."""

from datetime import time

import pytest

from nightspot.job import Schedule


@pytest.mark.parametrize(
    "cron",
    [
        "0 0 * * ? *",
        "15 3 ? * MON-FRI *",
        "0/10 * ? * MON-FRI *",
        "0 18 1W * ? *",
        "0 8 L * ? 2026-2030",
        "5 8-20/2 ? JAN,JUL 6L *",
        "30 6 ? * TUE#2 2199",
        "0 0 LW 12 ? *",
        "*/15 0 * * ? *",
    ],
)
def test_a_cron_of_eventbridge_is_taken_bare_and_wrapped(cron):
    assert Schedule(cron=cron).expression == f"cron({cron})"
    assert Schedule(cron=f"cron({cron})") == Schedule(cron=f"  {cron} ") == Schedule(cron=cron)


@pytest.mark.parametrize(
    ("cron", "rule"),
    [
        ("0 0 * * *", "add the year"),
        ("0 0 * * ? * *", "six fields"),
        ("@daily", "six fields"),
        ("60 0 * * ? *", "minutes"),
        ("0 24 * * ? *", "hours"),
        ("0 0 0 * ? *", "day of month"),
        ("0 0 32W * ? *", "day of month"),
        ("0 0 * 13 ? *", "month"),
        ("0 0 ? * FUN *", "day of week"),
        ("0 0 ? * 0 *", "day of week"),
        ("0 0 ? * MON#6 *", "day of week"),
        ("0 0 * * ? 1969", "year"),
        ("0 0-1-2 * * ? *", "hours"),
        ("0/0 0 * * ? *", "minutes"),
        ("0/x 0 * * ? *", "minutes"),
        ("-5 0 * * ? *", "minutes"),
        ("0, 0 * * ? *", "minutes"),
        ("0 0 * * * *", "exactly one of day of month and day of week"),
        ("0 0 ? * ? *", "exactly one of day of month and day of week"),
        ("rate(1 day)", "six fields"),
        ("cron(0 0 * * ? *", "minutes"),
    ],
)
def test_a_cron_that_eventbridge_would_refuse_is_refused(cron, rule):
    with pytest.raises(ValueError, match=rule):
        Schedule(cron=cron)


@pytest.mark.parametrize(
    ("given", "expression"),
    [("1 day", "rate(1 day)"), ("rate(12 hour)", "rate(12 hours)"), ("1 minutes", "rate(1 minute)")],
)
def test_a_rate_is_written_as_eventbridge_wants_it(given, expression):
    assert Schedule(rate=given).expression == expression


@pytest.mark.parametrize("rate", ["0 days", "-1 days", "1.5 hours", "1 week", "day", "cron(1 day)"])
def test_a_rate_that_eventbridge_would_refuse_is_refused(rate):
    with pytest.raises(ValueError, match="must be a rate"):
        Schedule(rate=rate)


@pytest.mark.parametrize(
    ("schedule", "daily_at"),
    [
        (Schedule(cron="30 4 * * ? *"), time(4, 30)),
        (Schedule(cron="30 4 ? * MON *"), time(4, 30)),
        (Schedule(cron="0/30 4 * * ? *"), None),
        (Schedule(cron="0 1,2 * * ? *"), None),
        (Schedule(rate="1 day"), None),
    ],
)
def test_only_a_plain_minute_and_hour_tell_the_time_of_day(schedule, daily_at):
    assert schedule.daily_at == daily_at
