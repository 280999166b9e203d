"""A checkpoint is due by steps, by time, or as often as serves the training best."""

import pickle

import pytest

from nightspot.checkpoint import SettingError, StepError, interval_seconds
from nightspot.checkpoint.core.schedule import Cost, Every, SaveSchedule


def due_steps(trainer, clock, last, seconds=60.0):
    """The steps after which it saves, a step taking this long."""
    saved = []
    for step in range(1, last + 1):
        clock.move(seconds)
        if trainer.save_if_due(step, b"s"):
            saved.append(step)
    return saved


def test_every_so_many_steps(process, clock):
    assert due_steps(process(every_steps=4), clock, 10) == [4, 8]


def test_after_the_last_step_a_checkpoint_is_always_due_and_once(process, clock):
    trainer = process(every_steps=4, total_steps=10)

    assert due_steps(trainer, clock, 10) == [4, 8, 10]
    assert not trainer.due(10)


def test_intervals_of_steps_are_counted_from_the_beginning_of_training_after_a_resume_too(process, clock):
    process().save(6, b"s")
    trainer = process(every_steps=4)
    trainer.restore()

    assert [step for step in (6, 7, 8) if trainer.due(step)] == [8]


def test_steps_that_come_by_threes_do_not_jump_over_an_interval(process):
    trainer = process(every_steps=4)

    assert [step for step in (3, 6, 9, 12) if trainer.save_if_due(step, b"s")] == [6, 9, 12]


def test_every_so_many_seconds(process, clock):
    assert due_steps(process(every_seconds=150), clock, 9) == [3, 6, 9]


def test_time_begins_again_at_a_restore(process, clock):
    process().save(6, b"s")
    trainer = process(every_seconds=150)
    clock.move(140)
    trainer.restore()
    clock.move(140)

    assert not trainer.due(7)
    clock.move(10)
    assert trainer.due(7)


def test_a_clock_that_was_set_back_does_not_put_saves_off_for_ever(process, clock):
    trainer = process(every_seconds=150)
    clock.move(-7200)
    assert not trainer.due(1)
    clock.move(150)

    assert trainer.due(2)


class Costly:
    """A serialiser that takes its time."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __call__(self, value, stream):
        self.clock.move(self.seconds)


def test_auto_learns_what_a_save_costs_and_how_long_machines_live(process, clock):
    trainer = process(serialise=Costly(clock, 8.0), environ={"NIGHTSPOT_MEAN_LIFE_SECONDS": "10000"})
    trainer.save(1, {"value": 1})
    trainer.save(2, {"value": 1})

    seconds = interval_seconds(8.0, 10_000, age_seconds=16.0)
    assert trainer.interval_seconds == pytest.approx(seconds)
    clock.move(seconds - 1)
    assert not trainer.due(3)
    clock.move(1.001)
    assert trainer.due(3)


def test_auto_goes_by_the_last_few_saves(process, clock):
    costly = Costly(clock, 100.0)
    trainer = process(interval="auto", serialise=costly)
    trainer.save(1, {"value": 1})
    costly.seconds = 6.0
    for step in range(2, 7):
        trainer.save(step, {"value": 1})

    # Three hours of life where nothing is said.
    assert trainer.interval_seconds == pytest.approx(interval_seconds(6.0, 10_800, age_seconds=130.0))


def test_auto_grows_with_the_age_of_the_process(process, clock):
    trainer = process(serialise=Costly(clock, 8.0))
    trainer.save(1, {"value": 1})
    young = trainer.interval_seconds
    clock.move(4 * 3600)
    assert trainer.interval_seconds == young  # it goes by the age at the last save, and so stands still
    trainer.save(2, {"value": 1})

    assert trainer.interval_seconds > 1.5 * young


class CostlyCopy:
    """A snapshot that takes its time."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __call__(self, value):
        self.clock.move(self.seconds)
        return value


def test_auto_learns_apart_what_holds_the_loop_up_and_what_is_written_beside_it(process, clock):
    trainer = process(asynchronous=True, serialise=Costly(clock, 40.0), snapshot=CostlyCopy(clock, 2.0))
    trainer.save(1, {"value": 1})
    trainer.wait()

    # The interval began between the copy and the end of the write: 2 to 42 seconds of age.
    seconds = interval_seconds(2.0, 10_800, beside_seconds=40.0, age_seconds=0.0)
    assert trainer.interval_seconds == pytest.approx(seconds, rel=0.03)


@pytest.mark.parametrize(("asynchronous", "cost"), [(False, (90.0, 0.0)), (True, (0.0, 90.0))])
def test_auto_takes_a_restores_time_for_a_saves_until_one_is_measured(process, clock, asynchronous, cost):
    process().save(6, {"value": 1})

    def slowly(stream):
        clock.move(90.0)
        return pickle.load(stream)  # noqa: S301 - saved above

    trainer = process(asynchronous=asynchronous, deserialise=slowly)
    trainer.restore()

    seconds = interval_seconds(cost[0], 10_800, beside_seconds=cost[1], age_seconds=90.0)
    assert trainer.interval_seconds == pytest.approx(seconds)


def scheduled(clock):
    return SaveSchedule(Every(), 10_800.0, clock())


def test_auto_counts_what_is_written_beside_training_by_what_it_slows_the_loop(clock):
    schedule = scheduled(clock)
    schedule.learn(0.5, 20.0)
    schedule.learn(1.5, 40.0)

    mean = interval_seconds(1.0, 10_800, beside_seconds=30.0, age_seconds=0.0)
    assert schedule.interval_seconds == pytest.approx(mean)


def test_auto_goes_by_what_is_assumed_until_a_save_is_measured(clock):
    schedule = scheduled(clock)
    schedule.assume(Cost(60.0))
    schedule.assume(Cost(-1.0))  # of a clock that was set back

    assert schedule.interval_seconds == pytest.approx(interval_seconds(60.0, 10_800, age_seconds=0.0))
    schedule.learn(2.0)
    assert schedule.interval_seconds == pytest.approx(interval_seconds(2.0, 10_800, age_seconds=0.0))


@pytest.mark.parametrize("measured", [(-1.0,), (1.0, -1.0)])
def test_a_clock_that_was_set_back_during_a_save_measured_nothing(clock, measured):
    schedule = scheduled(clock)
    schedule.learn(2.0)
    schedule.learn(*measured)

    assert schedule.interval_seconds == pytest.approx(interval_seconds(2.0, 10_800, age_seconds=0.0))


def test_auto_saves_within_minutes_before_it_has_measured_anything(process, clock):
    assert due_steps(process(), clock, 4)[0] == 2


def test_by_steps_there_is_no_interval_of_time(process):
    assert process(every_steps=3).interval_seconds is None


def test_a_state_that_is_costly_to_build_is_built_only_if_it_is_saved(process):
    trainer, built = process(every_steps=2), []

    def state():
        built.append(1)
        return b"s"

    assert [trainer.save_if_due(step, state) is not None for step in (1, 2, 3)] == [False, True, False]
    assert len(built) == 1


def test_an_object_that_can_be_called_is_a_state_and_no_function(process):
    class Module:
        def __call__(self):
            raise AssertionError("a module's forward pass")

        def state_dict(self):
            return {"weight": 1}

    process(every_steps=1).save_if_due(1, Module())

    assert process().restore().state == {"weight": 1}


def test_a_step_that_cannot_be_is_refused_when_asked_for(process):
    with pytest.raises(StepError, match="step=25: must not be beyond total_steps=24"):
        process(total_steps=24).due(25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_steps": 1, "every_seconds": 5}, "every_steps and every_seconds: only one"),
        ({"every_seconds": 5, "interval": "auto"}, "every_seconds and interval: only one"),
        ({"every_steps": 0}, "every_steps=0: must be a whole number from 1"),
        ({"every_seconds": 0}, "every_seconds=0: must be a number of seconds"),
        ({"every_seconds": float("nan")}, "every_seconds=nan: must be"),
        ({"interval": "hourly"}, "interval='hourly': must be 'auto'"),
        ({"environ": {"NIGHTSPOT_MEAN_LIFE_SECONDS": "3h"}}, "NIGHTSPOT_MEAN_LIFE_SECONDS='3h': must be"),
        ({"environ": {"NIGHTSPOT_MEAN_LIFE_SECONDS": "0"}}, r"NIGHTSPOT_MEAN_LIFE_SECONDS=.*0.*: must be"),
    ],
)
def test_an_interval_that_makes_no_sense_is_refused(process, options, message):
    with pytest.raises(SettingError, match=message):
        process(**options)
