"""A night of hours that is played in seconds reports hours."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from nightspot.checkpoint import Checkpointer, ClockSettingError
from nightspot.checkpoint.core.settings import as_text, clock_from, from_text

REAL = 1_790_000_000.0
STORY = 1_795_212_000.0  # 2026-11-20 22:00 UTC


class Seconds:
    """Real time, as epoch seconds, that the test sets."""

    def __init__(self):
        self.value = REAL

    def __call__(self):
        return self.value


def test_without_the_variable_it_is_the_machines_time_in_utc():
    assert clock_from({}, lambda: STORY)() == datetime(2026, 11, 20, 22, tzinfo=UTC)


def test_story_time_starts_where_it_is_told_and_runs_at_its_scale():
    real = Seconds()
    now = clock_from({"NIGHTSPOT_CLOCK": f"{REAL}:{STORY}:480"}, real)
    assert now() == datetime(2026, 11, 20, 22, tzinfo=UTC)

    real.value += 1.25
    assert now() == datetime(2026, 11, 20, 22, 10, tzinfo=UTC)


def test_a_checkpointer_reports_in_story_time(tmp_path):
    # Twice as fast as the epoch's seconds: the story is in the second half of this century.
    environ = {"NIGHTSPOT_CLOCK": "0:0:2"}
    before = clock_from(environ)()
    Checkpointer(tmp_path, environ=environ).save(1, b"s")
    after = clock_from(environ)()

    saved_at = from_text(json.loads((tmp_path / "nightspot.json").read_text())["saved_at"])
    assert before - timedelta(milliseconds=1) <= saved_at <= after
    assert saved_at > datetime(2070, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["", "1:2", "1:2:3:4", "now:2:3", "1:2:0", "1:2:-480", "nan:2:3", "1:inf:3", "1:2:nan"],
)
def test_a_malformed_clock_is_refused_with_variable_value_and_rule(tmp_path, value):
    with pytest.raises(ClockSettingError) as refused:
        Checkpointer(tmp_path, environ={"NIGHTSPOT_CLOCK": value})

    for part in (f"NIGHTSPOT_CLOCK={value!r}", "<real epoch seconds>", "scale greater than 0"):
        assert part in str(refused.value)


def test_times_are_written_in_utc_with_a_z_and_read_back():
    dublin_summer = datetime(2026, 7, 1, 1, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))

    assert as_text(dublin_summer) == "2026-07-01T00:30:00.250Z"
    assert from_text("2026-07-01T00:30:00.250Z") == dublin_summer
