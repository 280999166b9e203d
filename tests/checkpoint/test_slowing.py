"""How much a save that is written beside training slows the loop is seen in the pace of the steps."""

import pytest

from nightspot.checkpoint import interval_seconds
from nightspot.checkpoint.core.schedule import Every, SaveSchedule, Slowing


class Loop:
    """Steps of a second, saved once; while it is written they take as long as is said."""

    def __init__(self, clock, observer):
        self.clock, self.observer, self.step = clock, observer, 0

    def go(self, steps, seconds=1.0):
        """Do so many steps, and give what was made of each."""
        found = []
        for _ in range(steps):
            self.step += 1
            self.clock.move(seconds)
            found.append(self.observer(self.step, self.clock()))
        return found

    def save(self, saved, stall=0.5):
        self.clock.move(stall)
        saved(self.step, self.clock())


@pytest.fixture
def slowing():
    return Slowing()


@pytest.fixture
def loop(clock, slowing):
    loop = Loop(clock, slowing.step)
    loop.go(5)
    return loop


def beside(loop, slowing, steps, seconds, written):
    """So many steps of so many seconds beside a write that took `written` seconds."""
    loop.save(slowing.begin)
    loop.go(steps - 1, seconds)
    slowing.written(written)
    return loop.go(1, seconds)[0]


@pytest.mark.parametrize(
    ("seconds", "share"),
    [
        (1.0, 0.0),
        (1.25, 0.25),  # 8 steps in 10 seconds, which were 10 before
        (2.0, 0.8),  # 8 seconds lost, of a write of 10
        (5.0, 1.0),  # never more than all of it
        (0.5, 0.0),  # and never less than nothing
    ],
)
def test_the_share_is_what_the_steps_took_longer_over_what_the_write_took(loop, slowing, seconds, share):
    written = 8.0 if seconds == 1.25 else 10.0

    assert beside(loop, slowing, 8, seconds, written) == pytest.approx(share)


def test_a_share_is_given_once_for_each_write(loop, slowing):
    assert loop.go(5) == [None] * 5
    assert beside(loop, slowing, 4, 1.5, 4.0) == pytest.approx(0.5)
    assert loop.go(5) == [None] * 5
    assert beside(loop, slowing, 4, 1.0, 4.0) == pytest.approx(0.0)


def test_the_pace_is_that_since_the_write_before_and_not_that_beside_it(loop, slowing):
    beside(loop, slowing, 4, 2.0, 8.0)
    loop.go(5, 2.0)  # the steps have become longer

    assert beside(loop, slowing, 4, 2.0, 8.0) == pytest.approx(0.0)


def test_the_stall_of_the_save_itself_slows_no_step(loop, slowing, clock):
    loop.save(slowing.begin, stall=30.0)
    loop.go(3)
    slowing.written(4.0)

    assert loop.go(1) == [pytest.approx(0.0)]


def test_without_a_step_before_the_first_save_there_is_no_pace_to_compare_with(clock, slowing):
    loop = Loop(clock, slowing.step)
    loop.save(slowing.begin)
    slowing.written(4.0)

    assert loop.go(1, 9.0) == [None]


def test_a_save_that_was_waited_for_slows_nothing(loop, slowing):
    assert beside(loop, slowing, 4, 2.0, 0.0) is None


def test_a_clock_that_was_set_back_says_nothing(loop, slowing, clock):
    clock.move(-7200)
    loop.go(1)

    assert beside(loop, slowing, 4, 2.0, 8.0) is None


@pytest.mark.parametrize(("seconds", "share"), [(1.0, 0.0), (1.5, 0.5)])
def test_auto_weighs_a_save_by_how_much_it_slowed_the_loop(clock, seconds, share):
    schedule = SaveSchedule(Every(), 10_800.0, clock())
    loop = Loop(clock, schedule.is_due)
    for _ in range(3):
        loop.go(50)
        loop.save(schedule.begin)
        age = (clock() - schedule._started).total_seconds()
        loop.go(19, seconds)
        schedule.learn(0.5, 20.0)
        loop.go(1, seconds)

    expected = interval_seconds(0.5, 10_800, beside_seconds=20.0, slowed_share=share, age_seconds=age)
    assert schedule.interval_seconds == pytest.approx(expected)


def test_one_pause_beside_a_write_does_not_change_the_interval(clock):
    schedule = SaveSchedule(Every(), 10_800.0, clock())
    loop = Loop(clock, schedule.is_due)
    for pause in (0.0, 500.0, 0.0):
        loop.go(50)
        loop.save(schedule.begin)
        age = (clock() - schedule._started).total_seconds()
        clock.move(pause)
        schedule.learn(0.5, 20.0)
        loop.go(20)

    expected = interval_seconds(0.5, 10_800, beside_seconds=20.0, slowed_share=0.0, age_seconds=age)
    assert schedule.interval_seconds == pytest.approx(expected)
