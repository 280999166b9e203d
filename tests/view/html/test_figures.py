"""How figures read: money, durations, moments, and what is not known."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from nightspot.formats import figures
from nightspot.job.markets import Market

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "$0.00"),
        (-0.001, "$0.00"),
        (1383.6, "$1,383.60"),
        (-4.0, "-$4.00"),
        (None, "not known"),
    ],
)
def test_money(value, words):
    assert figures.usd(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (61, "1 min"),
        (2835.0, "47 min"),
        (-4321.0, "-1 h 12 min"),
        (360_000, "4 d 4 h"),
        (None, "not known"),
    ],
)
def test_durations_have_no_seconds_beside_minutes(seconds, words):
    assert figures.duration(seconds) == words


def test_a_share_is_one_digit_and_does_not_break_from_its_sign():
    assert figures.percent(37.196) == "37.2\u00a0%"
    assert figures.percent(-0.01) == "0.0\u00a0%"
    assert figures.percent(None) == "not known"


def test_a_moment_says_its_day_only_where_it_is_another_one():
    assert figures.clock(MIDNIGHT, MIDNIGHT) == "00:00 UTC"
    assert figures.clock(MIDNIGHT - timedelta(minutes=1), MIDNIGHT) == "20 November 2026, 23:59 UTC"
    assert figures.clock(None) == "not known"


def test_moments_are_utc_wherever_they_come_from():
    dublin = MIDNIGHT.astimezone(timezone(timedelta(hours=1)))
    assert figures.clock(dublin) == "00:00 UTC"
    assert figures.day(dublin) == "21 November 2026"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.25109, "0.2511"),
        (24, "24"),
        (12345.6, "12,346"),
        (0.0000123, "1.23e-05"),
        (0, "0"),
        (None, "not known"),
    ],
)
def test_metrics_have_the_digits_that_count(value, words):
    assert figures.number(value) == words


def test_every_market_has_a_name():
    assert [market.of("ml.x") for market in Market] == ["Spot ml.x", "on-demand ml.x"]


def test_plain_text_turns_no_reading_direction():
    assert figures.plain("a\u202eb\u2066c\u200f\x00d") == "abcd"
    assert figures.plain("größer ≠ 模型") == "größer ≠ 模型"
