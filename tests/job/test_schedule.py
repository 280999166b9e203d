"""When runs start by themselves."""

import re
from datetime import UTC, datetime, time, timedelta

import pytest
import yaml
from pydantic import ValidationError

from nightspot.job.cautions import start_try_seconds, warnings_for, whole_window_seconds, window_seconds
from nightspot.job.errors import InvalidJobError
from nightspot.job.times import Deadline, Schedule

MINUTE, HOUR = 60, 3600


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


def test_a_schedule_is_neither_paused_nor_flexible_unless_it_says_so():
    schedule = Schedule(rate="1 day")
    assert (schedule.paused, schedule.flexible_seconds) == (False, None)


@pytest.mark.parametrize(("flexible", "seconds"), [("1m", 60), ("1h30m", 5400), (900, 900), ("24h", 86400)])
def test_a_start_may_come_later_by_whole_minutes_up_to_a_day(flexible, seconds):
    assert Schedule(cron="0 0 * * ? *", flexible=flexible).flexible_seconds == seconds


@pytest.mark.parametrize("flexible", ["90s", "59s", 61, "24h1m", "2d"])
def test_what_is_no_flexible_window_of_scheduler_s_is_refused(flexible):
    with pytest.raises(ValueError, match="whole minutes, from 1 to 1440"):
        Schedule(cron="0 0 * * ? *", flexible=flexible)


@pytest.mark.parametrize("flexible", ["0m", "soon", True, 1.5])
def test_what_is_no_duration_is_no_flexible_window(flexible):
    with pytest.raises(ValueError, match="must be a duration above zero"):
        Schedule(cron="0 0 * * ? *", flexible=flexible)


def test_a_start_must_not_come_after_the_next_one():
    assert Schedule(rate="1 hour", flexible="59m").flexible_seconds == 59 * MINUTE
    with pytest.raises(ValueError, match="must be shorter than its rate of 1 hour"):
        Schedule(rate="1 hour", flexible="1h")


@pytest.mark.parametrize(
    ("rate", "seconds"), [("90 minutes", 5400), ("1 hour", 3600), ("2 days", 172_800), (None, None)]
)
def test_a_rate_tells_the_time_between_two_starts(rate, seconds):
    schedule = Schedule(rate=rate) if rate else Schedule(cron="0 0 * * ? *")
    assert schedule.rate_seconds == seconds


@pytest.mark.parametrize("paused", ["yes", 1, "true"])
def test_paused_is_true_or_false_and_nothing_like_it(broken, paused):
    (problem,) = broken({"schedule.paused": paused})
    assert (problem.field, problem.rule) == ("schedule.paused", "must be true or false")


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        # Eight hours to the deadline; on-demand needs four, and fifteen minutes of change-over.
        ({"schedule.flexible": "3h45m"}, True),
        ({"schedule.flexible": "3h46m"}, False),
        ({"schedule.flexible": "10h"}, False),
        ({"schedule.flexible": "3h46m", "change_over": {"on_demand": "14m"}}, True),
        # `within` counts from the scheduled moment too, however late the start comes.
        ({"schedule.flexible": "1h", "deadline": {"within": "5h15m"}}, True),
        ({"schedule.flexible": "1h", "deadline": {"within": "5h14m"}}, False),
        # Spot or nothing: Spot's change-over counts.
        ({"schedule.flexible": "3h50m", "capacity.on_demand": [], "fallback": "never"}, True),
        ({"schedule.flexible": "3h51m", "capacity.on_demand": [], "fallback": "never"}, False),
        # A start that the file does not tell.
        ({"schedule": {"cron": "0 1,2 * * ? *", "flexible": "23h"}}, True),
    ],
)
def test_a_flexible_start_leaves_time_for_the_work(job_with, broken, changes, fits):
    if fits:
        assert job_with(changes).schedule.flexible_seconds
        return
    (problem,) = broken(changes)
    assert problem.field == "schedule.flexible"
    assert "leaves no time for the work" in problem.rule


def test_a_flexible_start_that_is_too_late_is_told_with_the_numbers(broken):
    (problem,) = broken({"schedule.flexible": "4h"})
    assert str(problem) == (
        "schedule.flexible: 4 h: leaves no time for the work: of 8 h from the scheduled start to the deadline, "
        "on-demand training needs 4 h 15 min"
    )


def test_a_flexible_start_shortens_the_window_that_can_be_counted_on(job_with):
    assert window_seconds(job_with({})) == 8 * HOUR
    assert window_seconds(job_with({"schedule.flexible": "1h"})) == 7 * HOUR


def test_a_paused_job_is_a_caution(job_with):
    (caution,) = warnings_for(job_with({"schedule.paused": True}))
    assert (caution.field, caution.severity) == ("schedule.paused", "warning")
    assert "starts no run by itself" in caution.rule


@pytest.mark.parametrize(
    ("schedule", "cautioned"),
    [
        ({"rate": "1 day", "timezone": "Europe/Dublin"}, True),
        ({"rate": "1 day"}, False),
        ({"cron": "0 0 * * ? *", "timezone": "Europe/Dublin"}, False),
    ],
)
def test_a_time_zone_that_means_nothing_is_a_caution(job_with, schedule, cautioned):
    fields = [caution.field for caution in warnings_for(job_with({"schedule": schedule}))]
    assert ("schedule.timezone" in fields) is cautioned


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 8 * HOUR),
        # What Scheduler may wait for by itself is not there any more to try again in.
        ({"schedule.flexible": "1h"}, 7 * HOUR),
        ({"deadline": {"within": "30h"}}, 24 * HOUR),
        # A start that the file does not tell: as long as Scheduler can.
        ({"schedule.cron": "0 1,2 * * ? *"}, 24 * HOUR),
        ({"schedule": {"rate": "6 hours"}}, 6 * HOUR),
        ({"schedule": {"rate": "12 hours"}, "deadline": {"within": "8h"}}, 8 * HOUR),
        ({"schedule": {"rate": "1 minute"}, "deadline": {"within": "8h"}}, MINUTE),
    ],
)
def test_a_start_is_tried_again_until_the_deadline_or_the_next_start(job_with, changes, seconds):
    assert start_try_seconds(job_with(changes)) == seconds


@pytest.fixture
def page(pytestconfig):
    return (pytestconfig.rootpath / "docs" / "schedules.md").read_text(encoding="utf-8")


def test_the_schedules_that_the_page_shows_are_sound(page):
    shown = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    schedules = [Schedule.model_validate(yaml.safe_load(text)["schedule"], by_alias=True) for text in shown]
    assert [schedule.flexible_seconds for schedule in schedules] == [None, 900, None]
    assert [schedule.paused for schedule in schedules] == [False, False, True]


def test_the_refusal_that_the_page_shows_is_the_real_one(page, broken):
    (problem,) = broken({"schedule.flexible": "4h"})
    assert str(problem) in page


@pytest.fixture
def broken(job_with):
    """broken(changes) -> the problems of the good file with these changes."""

    def problems(changes):
        with pytest.raises(InvalidJobError) as caught:
            job_with(changes)
        return caught.value.problems

    return problems


@pytest.mark.parametrize("cron", ["0 0 31 2 ? *", "0 0 30 FEB ? *", "0 0 31 4,6,9,11 ? *", "0 0 29 2 ? 2027"])
def test_a_schedule_that_can_never_fire_is_refused(cron):
    with pytest.raises(ValidationError, match="never fires"):
        Schedule(cron=cron)


@pytest.mark.parametrize("cron", ["0 0 29 2 ? *", "0 0 31 * ? *", "0 0 ? 1 2#5 *", "0 0 L 2 ? *"])
def test_a_schedule_that_fires_seldom_is_taken(cron):
    assert Schedule(cron=cron).cron == cron


def test_a_schedule_whose_years_are_past_is_warned_of(job_with):
    job = job_with({"schedule": {"cron": "0 0 1 1 ? 2020-2025"}})
    (warning,) = [
        found
        for found in warnings_for(job, datetime(2026, 1, 2, tzinfo=UTC))
        if found.field == "schedule.cron"
    ]
    assert "never fires again" in warning.rule
    assert not [
        found
        for found in warnings_for(job, datetime(2025, 1, 1, tzinfo=UTC) - timedelta(days=1))
        if "again" in found.rule
    ]


@pytest.mark.parametrize(
    "zone",
    ["localtime", "right/Europe/Dublin", "posix/Europe/Dublin", "posixrules", "Factory", "europe/dublin", ""],
)
def test_a_zone_that_eventbridge_does_not_know_is_refused_whatever_this_machine_knows(zone):
    with pytest.raises(ValidationError, match="IANA database"):
        Schedule(rate="1 day", timezone=zone)


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Dublin", "US/Eastern", "Etc/GMT+5", "America/Argentina/ComodRivadavia"]
)
def test_a_zone_of_the_iana_database_is_taken(zone):
    assert Schedule(rate="1 day", timezone=zone).timezone == zone


def test_the_shortest_window_of_the_year_counts():
    # On 29 March 2026 Dublin's clocks go forward between midnight and 08:00.
    schedule = Schedule(cron="0 0 * * ? *", timezone="Europe/Dublin")
    deadline = Deadline(at="08:00", timezone="Europe/Dublin")
    assert whole_window_seconds(schedule, deadline) == 7 * 3600
    assert (
        whole_window_seconds(Schedule(cron="0 0 ? * MON-FRI *", timezone="Europe/Dublin"), deadline)
        == 8 * 3600
    )
