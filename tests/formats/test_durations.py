"""Durations as people write them, and as sentences say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.formats.figures import DurationError, format_duration, parse_duration

UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4h", 14_400),
        ("90m", 5400),
        ("1h30m", 5400),
        ("45s", 45),
        ("2d", 172_800),
        ("1d 2h 3m 4s", 93_784),
        ("3 h 12 min", 11_520),
        (" 10m ", 600),
        (90, 90),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "0s", "0h0m", "-4h", "4", "1.5h", "4 hours", "30m1h", "4h4h", "٤h", "h", "1e3s"),
        *("9" * 5000 + "s", 0, -1, 1.5, 3600.0, float("nan"), True, None, [], {"h": 4}),
    ],
)
def test_nonsense_is_refused(value):
    with pytest.raises(DurationError, match="4h"):
        parse_duration(value)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(UNIT_SECONDS, st.integers(0, 10_000))))
def test_whatever_is_written_in_units_is_their_sum(counts):
    seconds = sum(count * UNIT_SECONDS[unit] for unit, count in counts.items())
    text = "".join(f"{counts[unit]}{unit}" for unit in UNIT_SECONDS if unit in counts)
    if seconds:
        assert parse_duration(text) == seconds
    else:
        with pytest.raises(DurationError):
            parse_duration(text)


@given(st.integers(1, 10**9))
def test_a_sentence_reads_back_without_growing_and_loses_less_than_its_small_unit(seconds):
    read = parse_duration(format_duration(seconds))
    small = next(step for bound, step in ((86_400, 3600), (3600, 60), (0, 1)) if seconds >= bound)
    assert 0 <= seconds - read < small


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (-0.4, "0 s"),
        (45, "45 s"),
        (59.7, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (11_520, "3 h 12 min"),
        (11_579, "3 h 12 min"),
        (86_399, "23 h 59 min"),
        (93_600, "1 d 2 h"),
        (86_460, "1 d"),
        (-240, "-4 min"),
    ],
)
def test_a_duration_is_worded_in_its_two_largest_units(seconds, words):
    assert format_duration(seconds) == words
