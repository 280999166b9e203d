"""How much work is left: always a little more than one thinks."""

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.decide import ladder
from nightspot.decide.ledger import fold
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.run import estimates
from nightspot.run.model import AttemptState
from nightspot.run.reasons import Reason

HOUR = 3600


def test_a_pace_measured_tonight_replaces_the_plan(story):
    # 24 steps of 700 s are 16,800 s, and a tenth above that is planned with.
    run = story.run(
        attempts=[story.training(since="00:10", seconds_per_step=700.0)], progress=story.progress(3, "00:45")
    )
    assert estimates.total_work_seconds(run) == pytest.approx(18_480)


def test_a_pace_on_a_slow_rung_is_told_in_work_at_speed_one(story):
    slow = replace(story.spot, speed=0.5)
    run = story.run(
        attempts=[story.training(slow, since="00:10", seconds_per_step=1400.0)],
        progress=story.progress(3, "01:20"),
    )
    assert estimates.total_work_seconds(run) == pytest.approx(18_480)
    assert estimates.work_left_seconds(run, slow) == pytest.approx(2 * 18_480 * 21 / 24)


def test_the_best_pace_of_the_night_counts(story):
    run = story.run(
        attempts=[
            story.ended(FailureClass.NO_CAPACITY, seconds_per_step=700.0),
            story.training(number=2, since="00:10", seconds_per_step=900.0),
        ],
        progress=story.progress(3, "00:45"),
    )
    assert estimates.total_work_seconds(run) == pytest.approx(18_480)


def trained_to(story, means, **changes):
    """The run after a look at each of `means`: mean seconds per step by the step that was safe."""
    run = story.run(attempts=[story.attempt()], **changes)
    for step, mean in means.items():
        now = story.at("00:10") + timedelta(seconds=step * mean)
        view = story.view(("Starting", "00:00", "00:10"), ("Training", "00:10", None))
        saved = replace(story.progress(step, "00:10", total_steps=160, seconds_per_step=mean), saved_at=now)
        run = fold(run, story.look(view, progress=replace(saved, attempt=run.last_attempt.number)), now)
    return run


def mean_with_evaluations(epochs):
    """160 epochs of a minute, and after each fifth an evaluation of 150 s: four hours."""
    return 60 + 150 * (epochs // 5) / epochs


@pytest.mark.parametrize("last", [1, 4, 9, 19, 39, 44, 80, 160])
def test_evaluations_between_epochs_make_no_estimate_too_small(story, last):
    looks = {epochs: mean_with_evaluations(epochs) for epochs in range(1, last + 1)}
    assert estimates.total_work_seconds(trained_to(story, looks)) >= 4 * HOUR


@pytest.mark.parametrize("stretch", [1, 4, 19])
def test_a_short_stretch_on_another_machine_makes_it_no_smaller(story, stretch):
    run = trained_to(story, {epochs: mean_with_evaluations(epochs) for epochs in range(1, 81)})
    short = story.progress(
        80 + stretch, "02:20", total_steps=160, attempt=2, seconds_per_step=60.0, resumed_from_step=80
    )
    run = replace(run, attempts=(*run.attempts, story.training(number=2, since="02:18")))
    folded = fold(run, replace(story.look(None, progress=short), jobs={}), story.at("02:20"))
    assert folded.last_attempt.seconds_per_step == 60.0
    assert estimates.total_work_seconds(folded) >= 4 * HOUR


def test_until_a_quarter_is_done_it_is_never_below_the_plan(story):
    fast = dict.fromkeys((10, 20, 39), 60.0)
    assert estimates.total_work_seconds(trained_to(story, fast)) == 17_280
    assert estimates.total_work_seconds(trained_to(story, {**fast, 40: 60.0})) == pytest.approx(160 * 66)
    slow = dict.fromkeys((10, 20), 120.0)
    assert estimates.total_work_seconds(trained_to(story, slow)) == pytest.approx(160 * 132)


def test_a_pace_that_falls_on_one_machine_is_the_machines_doing(story):
    run = trained_to(story, {20: 90.0, 40: 90.0, 60: 150.0})
    assert run.last_attempt.seconds_per_step == 150.0
    assert estimates.total_work_seconds(run) == pytest.approx(160 * 99)
    # And so it is found to be slow: 100 steps of 150 s, where on-demand would take as many of 99.
    now = run.progress.saved_at
    late = replace(run, deadline=now + timedelta(seconds=100 * 99 + 900 + 180 + 30))
    assert next_step(late, now).reason is Reason.TOO_SLOW


def test_without_a_number_of_steps_the_plan_stands(story):
    run = story.run(
        attempts=[story.training(since="00:10", seconds_per_step=700.0)],
        progress=story.progress(3, "00:45", total_steps=None),
    )
    assert estimates.total_work_seconds(run) == 17_280


@pytest.mark.parametrize(
    ("changes", "fraction"),
    [
        ({"step": 6}, 0.25),
        ({"step": 6, "fraction": 0.5}, 0.5),
        ({"step": 48}, 1.0),
        ({"step": 6, "fraction": 1.7}, 1.0),
        ({"step": 6, "fraction": -1.0}, 0.0),
        ({"step": 6, "total_steps": 0}, 0.0),
        ({"step": 6, "total_steps": None}, 0.0),
    ],
)
def test_the_progress_file_says_what_is_safe(story, changes, fraction):
    run = story.run(progress=story.progress(**{"saved_at": "01:00", **changes}))
    assert estimates.durable_fraction(run) == fraction


def test_without_a_checkpoint_prefix_nothing_is_safe(story):
    run = story.run(progress=story.progress(12, "01:00"), checkpoint_s3_uri=None)
    assert estimates.durable_fraction(run) == 0
    assert estimates.lost_work_seconds(run, story.spot) == 17_280


def test_without_a_progress_file_training_time_less_an_interval_for_each_cut_is_safe(story):
    # 2 h trained in two stretches, half an hour may be lost of each: 1 h of 4.8 h.
    attempt = story.training(since="02:00", trained_seconds=2 * HOUR, interruptions=1)
    assert estimates.durable_fraction(story.run(attempts=[attempt])) == pytest.approx(1 / 4.8)


def test_training_shorter_than_an_interval_may_all_be_lost(story):
    attempts = [
        story.ended(FailureClass.NO_CAPACITY, trained_seconds=1000.0),
        story.training(number=2, since="02:00", trained_seconds=HOUR),
    ]
    assert estimates.durable_fraction(story.run(attempts=attempts)) == pytest.approx(0.5 / 4.8)


def test_training_on_a_slow_rung_counts_by_its_speed(story):
    attempt = story.training(replace(story.spot, speed=0.5), since="00:10", trained_seconds=1.5 * HOUR)
    assert estimates.durable_fraction(story.run(attempts=[attempt])) == pytest.approx(0.5 / 4.8)


def test_more_training_than_work_is_all_the_work(story):
    attempt = story.training(since="00:10", trained_seconds=20 * HOUR)
    assert estimates.work_left_seconds(story.run(attempts=[attempt]), story.spot) == 0


def test_what_a_running_job_has_done_since_its_last_checkpoint_counts(story):
    # Step 6 of 24 was safe at 01:10 and ten minutes have passed: 18 steps of 600 s less 600 s.
    attempt = story.training(since="00:10", seconds_per_step=600.0)
    run = story.run(attempts=[attempt], progress=story.progress(6, "01:10", attempt=1))
    assert estimates.running_left_seconds(run, attempt, story.at("01:20")) == 10_200


def test_another_attempts_checkpoint_is_where_a_resumed_job_began(story):
    # The last checkpoint of the job before may arrive when this one is training already.
    attempt = story.training(since="03:00", number=2, seconds_per_step=600.0)
    run = story.run(attempts=[attempt], progress=story.progress(6, "03:05", attempt=1))
    assert estimates.running_left_seconds(run, attempt, story.at("03:20")) == 18 * 600 - 1200


def test_a_job_without_a_machine_gets_nothing_done(story):
    attempt = story.attempt(seconds_per_step=600.0, state=AttemptState.WAITING)
    run = story.run(attempts=[attempt], progress=story.progress(6, "01:10", attempt=1))
    assert estimates.running_left_seconds(run, attempt, story.at("05:00")) == 18 * 600


def test_without_a_progress_file_training_time_is_not_counted_twice(story):
    attempt = story.training(since="00:10", trained_seconds=1.5 * HOUR)
    run = story.run(attempts=[attempt])
    assert estimates.running_left_seconds(run, attempt, story.at("01:40")) == pytest.approx(3.8 * HOUR)


def test_no_time_is_left_below_zero(story):
    attempt = story.training(since="00:10", seconds_per_step=600.0)
    run = story.run(attempts=[attempt], progress=story.progress(23, "04:00", attempt=1))
    assert estimates.running_left_seconds(run, attempt, story.at("05:00")) == 0


def test_a_reclaim_takes_an_interval_or_what_is_left(story):
    assert estimates.lost_work_seconds(story.run(), story.spot) == 1800
    nearly_done = story.run(progress=story.progress(23, "04:00"))
    assert estimates.lost_work_seconds(nearly_done, story.spot) == pytest.approx(720)


class TestBesideTheSteps:
    """L9: loading before the first step and exporting after the last were in no figure."""

    OVERHEAD = 30 * 60.0

    def run_at(self, story, step, **changes):
        attempt = story.ended(FailureClass.INTERRUPTED, seconds_per_step=525.0)
        return story.run(
            attempts=[attempt],
            progress=story.progress(step, "03:40"),
            work_seconds=14_400.0,
            work_upper_seconds=14_500.0,
            overhead_seconds=self.OVERHEAD,
            **changes,
        )

    def test_with_all_steps_safe_another_machine_still_loads_and_exports(self, story):
        run = self.run_at(story, 24)
        assert estimates.work_left_seconds(run, story.on_demand) == self.OVERHEAD
        assert estimates.expected_work_seconds(run) == self.OVERHEAD

    def test_in_the_middle_what_comes_beside_the_steps_is_not_shared_out(self, story):
        run = self.run_at(story, 12)
        steps = estimates.total_work_seconds(run) - self.OVERHEAD
        assert estimates.work_left_seconds(run, story.on_demand) == pytest.approx(steps / 2 + self.OVERHEAD)

    def test_a_run_that_lost_its_machine_in_the_export_leaves_spot_in_time(self, story):
        run = self.run_at(story, 24)
        leave_at = ladder.spot_leave_at(run, story.spot, story.on_demand)
        needed = self.OVERHEAD + story.on_demand.change_over_seconds + run.stop_seconds
        assert leave_at <= story.deadline - timedelta(seconds=needed)

    def test_the_plan_s_own_length_has_it_already(self, story):
        run = story.run(work_upper_seconds=14_500.0, overhead_seconds=self.OVERHEAD)
        assert estimates.work_seconds(run) == 14_500.0


class TestEarlyStopping:
    """L6: a script that stops at 40 of 100 epochs was planned with all of them, every night."""

    def run_at(self, story, epoch, **changes):
        attempt = story.training(since="00:10", seconds_per_step=360.0)
        return story.run(
            attempts=[attempt],
            progress=story.progress(epoch, "01:30", total_steps=100),
            work_upper_seconds=14_500.0,
            steps_share=0.44,
            **changes,
        )

    def test_the_steps_that_it_usually_takes_are_planned_with(self, story):
        run = self.run_at(story, 11)
        assert estimates.total_work_seconds(run) == pytest.approx(44 * 360 * 1.1)
        assert estimates.durable_fraction(run) == 11 / 44
        assert estimates.machine_seconds(run, run.last_attempt) == 33 * 360

    def test_the_fraction_that_the_file_states_is_of_all_steps(self, story):
        run = self.run_at(story, 11)
        stated = replace(run, progress=replace(run.progress, fraction=0.11))
        assert estimates.durable_fraction(stated) == pytest.approx(0.25)

    def test_once_it_goes_on_beyond_them_all_steps_count(self, story):
        run = self.run_at(story, 50)
        assert estimates.durable_fraction(run) == 0.5
        assert estimates.machine_seconds(run, run.last_attempt) == 50 * 360

    def test_such_a_night_is_on_track_and_not_late(self, story):
        run = self.run_at(story, 11)
        step = next_step(run, story.at("01:31"))
        assert (step.reason, step.late) == (Reason.ON_TRACK, False)
        assert next_step(replace(run, steps_share=1.0), story.at("01:31")).reason is not Reason.ON_TRACK
