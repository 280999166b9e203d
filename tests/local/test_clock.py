"""The story clock: hours pass in seconds, and a training process can follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from nightspot.local.clock import StoryClock

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


class Machine:
    """A machine whose two clocks move only when told."""

    def __init__(self):
        self.monotonic_seconds = 50.0
        self.epoch_seconds = 1_000_000.0

    def passes(self, seconds):
        self.monotonic_seconds += seconds
        self.epoch_seconds += seconds


@pytest.fixture
def machine():
    return Machine()


def story_clock(machine, scale, start=MIDNIGHT):
    return StoryClock(
        start,
        scale,
        monotonic=lambda: machine.monotonic_seconds,
        wall=lambda: machine.epoch_seconds,
        pause=machine.passes,
    )


def test_one_real_second_is_as_many_story_seconds_as_the_scale_says(machine):
    clock = story_clock(machine, 1800)
    machine.passes(2)
    assert clock.now() == MIDNIGHT + timedelta(hours=1)
    assert clock.elapsed_seconds() == 3600


def test_sleeping_takes_the_scaled_time(machine):
    clock = story_clock(machine, 600)
    clock.sleep(1200)
    assert machine.monotonic_seconds == 52
    clock.sleep(-5)
    assert machine.monotonic_seconds == 52


def test_durations_convert_both_ways(machine):
    clock = story_clock(machine, 480)
    assert clock.real_seconds(960) == 2
    assert clock.story_seconds(2) == 960


def test_story_time_is_utc_whatever_zone_the_start_is_in(machine):
    dublin_summer = timezone(timedelta(hours=1))
    clock = story_clock(machine, 1, MIDNIGHT.astimezone(dublin_summer))
    assert clock.now() == MIDNIGHT
    assert clock.now().tzinfo is UTC


def test_the_environment_lets_another_process_compute_the_same_time(machine):
    clock = story_clock(machine, 1800)
    machine.passes(3)
    real, story, scale = map(float, clock.environment()["NIGHTSPOT_CLOCK"].split(":"))
    machine.passes(1.5)
    theirs = story + (machine.epoch_seconds - real) * scale
    assert theirs == pytest.approx(clock.now().timestamp())


def test_a_correction_of_the_machines_clock_does_not_move_the_story(machine):
    clock = story_clock(machine, 1800)
    machine.passes(1)
    machine.epoch_seconds += 3600
    real, story, _ = map(float, clock.environment()["NIGHTSPOT_CLOCK"].split(":"))
    assert real == machine.epoch_seconds
    assert story == clock.now().timestamp() == MIDNIGHT.timestamp() + 1800


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(machine, scale):
    with pytest.raises(ValueError, match="scale"):
        story_clock(machine, scale)


def test_a_start_without_a_time_zone_is_refused(machine):
    with pytest.raises(ValueError, match="time zone"):
        story_clock(machine, 1, MIDNIGHT.replace(tzinfo=None))
