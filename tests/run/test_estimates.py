"""How much work is left: always a little more than one thinks."""

from dataclasses import replace

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.run import estimates
from nightspot.run.model import AttemptState

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
