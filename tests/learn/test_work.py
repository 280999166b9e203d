"""What past runs teach of the work: on which machine, disturbed or not, with or without steps, stopped early."""

from datetime import timedelta

import pytest

from nightspot.job.model import Capacity, InstanceType, Job
from nightspot.job.times import Deadline
from nightspot.learn.work import learnt_work
from nightspot.record.model import RunState
from tests.records import past_run

P4D, G5 = "ml.p4d.24xlarge", "ml.g5.12xlarge"
HOUR, MINUTE = 3600.0, 60.0
KEY = "k"


def job(*spot, work_seconds=14_400, count=1):
    rungs = tuple(InstanceType(instance_type=name, speed=speed) for name, speed in spot or ((P4D, 1.0),))
    return Job(
        name="recommender",
        deadline=Deadline(within_seconds=28_800),
        work_seconds=work_seconds,
        capacity=Capacity(spot=rungs, on_demand=rungs),
        training_job={"ResourceConfig": {"InstanceCount": count}},
    )


def attempt(hours, on=P4D, *, cuts=0, repeated=0.0, evidence="measured", count=1, **fields):
    starting = 300.0
    return {
        "instance_type": on,
        "instance_count": count,
        "status": "Completed",
        "trained_seconds": hours * HOUR + starting,
        "starting_seconds": starting,
        "interruptions": cuts,
        "repeated_seconds": repeated,
        "repeated_evidence": evidence,
        **fields,
    }


def night(*attempts, name="n", **fields):
    return past_run(attempts, run_id=f"run-{name}", work_key=KEY, deadline_met=True, **fields)


def nights(count, hours=4.0, **fields):
    return [night(attempt(hours + n % 12 * 0.005, **fields), name=f"usual-{n}") for n in range(count)]


def learnt(past, of=None):
    return learnt_work(of or job(), KEY, past)


def hours(work):
    return round(work.upper_seconds / HOUR, 2)


def test_below_five_runs_the_job_file_stands():
    work = learnt(nights(4))
    assert (work.expected_seconds, work.upper_seconds) == (14_400, 17_280)
    assert work.longest is None


def test_then_what_undisturbed_runs_trained_is_planned_with_and_the_longest_is_named():
    work = learnt(nights(12))
    assert 4.05 < work.upper_seconds / HOUR < 4.15
    assert work.longest.run.run_id == "run-usual-11"
    assert work.spare_seconds == 17_280 - work.upper_seconds


@pytest.mark.parametrize("usual", [11, 20, 40, 59])
class TestOtherMachines:
    """L1: one run with another type by override cost sixty nights of Spot."""

    def test_a_run_on_a_type_that_the_job_does_not_have_teaches_it_nothing(self, usual):
        odd = night(attempt(12.0, on=G5), name="override", overrides={"instance_types": [G5]})
        assert learnt([odd, *nights(usual)]) == learnt(nights(usual))

    def test_a_run_with_more_machines_does_not_either(self, usual):
        odd = night(attempt(0.5, count=8), name="eight")
        assert learnt([odd, *nights(usual)]) == learnt(nights(usual))

    def test_one_of_an_older_version_which_did_not_say_its_machines_teaches_nothing(self, usual):
        old = night(attempt(12.0, count=None), name="old")
        assert learnt([old, *nights(usual)]) == learnt(nights(usual))

    def test_a_run_on_a_slower_type_of_the_ladder_is_no_longer_work(self, usual):
        odd = night(attempt(12.0, on=G5), name="slow")
        assert hours(learnt([odd, *nights(usual)], job((P4D, 1.0), (G5, 0.33)))) <= 4.3


class TestInterruptions:
    """L2: the more a job was interrupted, the longer its work was believed to be."""

    def test_repeated_work_is_no_work(self):
        disturbed = [
            night(attempt(2.0, cuts=1, repeated=0.4 * HOUR), attempt(2.4 + n / 100), name=f"cut-{n}")
            for n in range(9)
        ]
        assert 4.0 < learnt(disturbed).upper_seconds / HOUR < 4.25

    def test_runs_that_nothing_disturbed_come_first(self):
        disturbed = [night(attempt(5.0, cuts=2, repeated=HOUR), name=f"cut-{n}") for n in range(30)]
        assert hours(learnt([*disturbed, *nights(6)])) <= 4.1

    def test_where_it_is_only_estimated_what_was_repeated_all_that_was_trained_is_the_most(self):
        disturbed = [
            night(attempt(4.6, cuts=2, repeated=0.5 * HOUR, evidence="estimated"), name=f"cut-{n}")
            for n in range(9)
        ]
        work = learnt(disturbed)
        assert (hours(work), round(work.expected_seconds / HOUR, 2)) == (4.6, 4.1)

    def test_which_is_no_proof_that_the_job_file_says_too_little(self):
        cut = attempt(7.0, cuts=6, repeated=1.5 * HOUR, evidence="estimated")
        assert hours(learnt([night(cut, name=f"cut-{n}") for n in range(40)])) == 4.8

    def test_unless_even_the_least_that_they_trained_is_more(self):
        disturbed = [
            night(attempt(7.0, cuts=1, repeated=0.25 * HOUR, evidence="estimated"), name=f"cut-{n}")
            for n in range(9)
        ]
        work = learnt(disturbed)
        assert hours(work) == 6.5
        assert work.longest is not None

    def test_a_run_that_another_one_had_begun_teaches_nothing(self):
        continued = [night(attempt(1.0), name=f"c-{n}", resume_from="run-before") for n in range(9)]
        assert hours(learnt(continued)) == 4.8


class TestOutliers:
    """L3, for the work."""

    @pytest.mark.parametrize("usual", [4, 9, 18, 19, 40])
    def test_one_long_night_is_told_of_and_does_not_set_the_limit(self, usual):
        odd = night(attempt(8.0), name="odd")
        work = learnt([*nights(usual), odd])
        assert hours(work) <= 4.83
        assert [each.run.run_id for each in work.odd] == ["run-odd"]
        assert work.longest.run.run_id.startswith("run-usual")

    def test_work_that_has_grown_is_believed(self):
        assert 5.0 < learnt(nights(6, hours=5.0)).upper_seconds / HOUR < 5.4


class TestEarlyStopping:
    """L6: nights that stop at 40 of 100 epochs were planned with all of them."""

    def test_the_work_is_what_was_done(self):
        past = [
            night(attempt(4.0, seconds_per_step=360.0), name=f"n-{n}", steps_done=40, total_steps=100)
            for n in range(8)
        ]
        work = learnt(past)
        assert hours(work) == 4.0
        assert work.steps_share == pytest.approx(0.44)

    def test_before_there_is_enough_all_steps_are_planned_with(self):
        past = [night(attempt(4.0), name=f"n-{n}", steps_done=40, total_steps=100) for n in range(4)]
        assert learnt(past).steps_share == 1.0

    def test_a_script_that_stops_now_and_then_is_planned_with_what_it_may_take(self):
        shares = [40, 60, 100, 45, 80, 100]
        past = [night(attempt(4.0), name=f"{n}", steps_done=n, total_steps=100) for n in shares]
        assert learnt(past).steps_share == 1.0


class TestHeadAndTail:
    """L9: loading and exporting were in no learnt figure."""

    def test_the_work_has_what_a_script_does_beside_its_steps(self):
        past = [
            night(
                attempt(4.0, seconds_per_step=60.0),
                name=f"n-{n}",
                steps_done=210,
                total_steps=210,
                overhead_seconds=30 * MINUTE,
            )
            for n in range(6)
        ]
        work = learnt(past)
        assert hours(work) == 4.0
        assert work.overhead_seconds == 30 * MINUTE


class TestSpeeds:
    LADDER = ((P4D, 1.0), (G5, 0.5))

    def test_paces_of_two_types_make_a_speed(self):
        past = [
            night(attempt(4.0, seconds_per_step=1.0), attempt(4.0, on=G5, seconds_per_step=3.0), name=f"{n}")
            for n in range(5)
        ]
        speed = learnt(past, job(*self.LADDER)).speeds[G5]
        assert (speed.speed, speed.stated, speed.paces) == (pytest.approx(1 / 3), 0.5, 5)

    def test_whole_runs_do_where_no_steps_are_visible(self):
        past = [
            night(attempt(hours_, on=on), name=f"{on}-{n}")
            for on, hours_ in ((P4D, 4.0), (G5, 10.0))
            for n in range(5)
        ]
        assert learnt(past, job(*self.LADDER)).speeds[G5].speed == pytest.approx(0.4)

    def test_before_there_is_enough_the_stated_one_stands(self):
        past = [night(attempt(4.0, on=G5, seconds_per_step=3.0), name=f"{n}") for n in range(9)]
        assert learnt(past, job(*self.LADDER)).speeds[G5].speed == 0.5


@pytest.mark.parametrize(
    "other",
    [
        {"outcome": RunState.FAILED},
        {"work_key": "other"},
        {"outcome": RunState.RUNNING},
        {"forgotten": True},
    ],
    ids=["failed", "other-work", "running", "forgotten"],
)
def test_a_night_with_other_work_without_a_model_or_forgotten_teaches_nothing(other):
    past = [each.model_copy(update=other) for each in nights(50)]
    assert hours(learnt(past)) == 4.8


def test_runs_whose_figures_cannot_be_true_do_not_make_the_next_one_unplannable():
    past = [night(attempt(h), name=f"{h}") for h in (1e-5, 1e-4, 2e10, 3e10, 1.0)]
    assert timedelta(seconds=learnt(past).upper_seconds) > timedelta()
