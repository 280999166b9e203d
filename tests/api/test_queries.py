"""Which runs the API and `nightspot runs` are asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nightspot.api.queries import ENDINGS, QueryError, Wanted, endings_of, window_of
from nightspot.record.model import Ending

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_every_ending_can_be_asked_for_and_every_choice_has_some():
    assert set(ENDINGS) == set(Wanted)
    assert frozenset().union(*ENDINGS.values()) == set(Ending)
    assert endings_of(()) == set(Ending)
    assert endings_of((Wanted.LATE, Wanted.FAILED)) == {Ending.LATE, Ending.FAILED}


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("36h", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T01:00:00+01:00", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_since_is_a_duration_ago_or_a_time_that_is_utc_without_a_zone(since, first):
    window = window_of(since, None, NOON)
    assert first in window
    assert first - SECOND not in window
    assert NOON in window


def test_a_month_begins_with_its_first_second_and_ends_before_the_next_one():
    window = window_of(None, "2026-11", NOON)
    assert datetime(2026, 11, 1, tzinfo=UTC) in window
    assert datetime(2026, 12, 1, tzinfo=UTC) - SECOND in window
    assert datetime(2026, 11, 1, tzinfo=UTC) - SECOND not in window
    assert datetime(2026, 12, 1, tzinfo=UTC) not in window


def test_both_together_narrow_each_other_down():
    window = window_of("2026-11-20", "2026-11", NOON)
    assert datetime(2026, 11, 19, tzinfo=UTC) not in window
    assert window_of("2026-11-20", "2026-10", NOON).is_empty


@pytest.mark.parametrize(
    ("since", "month", "words"),
    [
        ("soon", None, "since: 'soon': must be a duration such as 7d"),
        ("999999999d", None, "since: '999999999d': must be a duration such as 7d"),
        (None, "11/2026", "month: '11/2026': must be a month such as 2026-11"),
    ],
)
def test_what_is_no_time_is_named_with_its_rule(since, month, words):
    with pytest.raises(QueryError) as refused:
        window_of(since, month, NOON)
    assert str(refused.value).startswith(words)
