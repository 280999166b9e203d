"""What came of an attempt's training: kept, or in vain."""

from dataclasses import replace

import pytest

from nightspot.costs.lost_work import Evidence, KeptWork, delivered_step, kept_work_of
from nightspot.failures.codes import FailureClass
from nightspot.run.model import Resume

CUT = FailureClass.STOPPED_BY_NIGHTSPOT


@pytest.fixture
def attempt(story):
    """An ended attempt that trained so many seconds; steps take 600 s, checkpoints come every 1,800 s."""

    def build(worked, failure=None, *, steps=None, **changes):
        fields = {"worked_seconds": worked, "trained_seconds": worked or 0.0}
        if steps is not None:
            fields |= {"step_after": steps, "seconds_per_step": 600.0}
        return story.ended(failure, **{**fields, **changes})

    return build


def measured(kept, repeated):
    return KeptWork(pytest.approx(kept), pytest.approx(repeated), Evidence.MEASURED)


def estimated(kept, repeated):
    return KeptWork(pytest.approx(kept), pytest.approx(repeated), Evidence.ESTIMATED)


def test_steps_and_their_pace_tell_what_a_reclaim_took(story, attempt):
    run = story.run(
        attempts=[attempt(9000.0, CUT, steps=12), attempt(7200.0, number=2, steps=24)],
        progress=story.progress(24, "06:00"),
    )
    assert kept_work_of(run) == {1: measured(7200, 1800), 2: measured(7200, 0)}


def test_what_a_script_does_beside_its_steps_is_no_repeated_work(story, attempt):
    run = story.run(attempts=[attempt(15_000.0, steps=24)], progress=story.progress(24, "06:00"))
    assert kept_work_of(run) == {1: measured(14_400, 0)}


def test_an_interruption_within_a_job_that_completes_counts_as_well(story, attempt):
    run = story.run(
        attempts=[attempt(15_600.0, steps=24, interruptions=1)], progress=story.progress(24, "06:00")
    )
    assert kept_work_of(run) == {1: measured(14_400, 1200)}


def test_a_model_has_all_steps_whether_the_last_ones_were_saved_or_not(story, attempt):
    run = story.run(attempts=[attempt(14_400.0, steps=22)], progress=story.progress(22, "06:00"))
    assert kept_work_of(run) == {1: measured(14_400, 0)}


@pytest.mark.parametrize(
    ("step", "worked", "changes", "delivered"),
    [
        (3, 1800.0, {}, 3),
        (12, 7200.0, {}, 12),
        (12, 9000.0, {"safe_point": 12.0, "safe_seconds": 7200.0}, 15),
        (12, 14_400.0, {"safe_point": 12.0, "safe_seconds": 7200.0}, 15),
        (12, 9000.0, {"safe_point": 9.0, "safe_seconds": 5400.0}, 12),
        (21, 14_400.0, {}, 24),
        (20, 12_000.0, {}, 20),
        (23, 300.0, {"step_before": 23}, 23),
    ],
    ids=[
        "ended at step 3",
        "stopped early, and when its last save was is not known",
        "half an hour trained after its last save",
        "never more than one interval",
        "its last save was seen at its end",
        "the last steps lie within one interval",
        "the last steps lie further away",
        "it had no time for the last step",
    ],
)
def test_a_model_has_what_was_saved_and_one_interval_more_at_most(
    story, attempt, step, worked, changes, delivered
):
    """24 steps of 600 s, a checkpoint every 1,800 s."""
    run = story.run(attempts=[attempt(worked, steps=step, **changes)], progress=story.progress(step, "02:00"))
    assert delivered_step(run) == delivered


@pytest.mark.parametrize("total", [24, None], ids=["of 24", "of no known number"])
def test_what_runs_still_or_has_failed_holds_what_is_durable(story, attempt, total):
    progress = story.progress(22, "06:00", total_steps=total)
    running = story.training(since="00:10", seconds_per_step=600.0, trained_seconds=14_400.0)
    for last in (running, attempt(14_400.0, CUT, steps=22)):
        assert delivered_step(story.run(attempts=[last], progress=progress)) == 22
    assert delivered_step(story.run(attempts=[attempt(14_400.0)], progress=progress)) == 22  # no pace


def test_unsaved_steps_make_the_repeated_work_of_an_interrupted_attempt_an_estimate(story, attempt):
    cut = attempt(15_600.0, steps=22, interruptions=1)
    run = story.run(attempts=[cut], progress=story.progress(22, "06:00"))
    assert kept_work_of(run) == {1: estimated(14_400, 1200)}


def test_an_attempt_that_began_again_from_nothing_repeats_what_was_done_before(story, attempt):
    broken = attempt(14_400.0, number=2, steps=24, resume=Resume.BROKEN)
    run = story.run(attempts=[attempt(7200.0, CUT, steps=12), broken], progress=story.progress(24, "08:00"))
    assert kept_work_of(run) == {1: measured(7200, 0), 2: measured(7200, 7200)}


def test_what_a_broken_resume_has_overwritten_is_lost(story, attempt):
    # 12 steps, then 6 from nothing, then on from 6 to 24: of 36 steps trained 24 are in the model.
    run = story.run(
        attempts=[
            attempt(7200.0, CUT, steps=12),
            attempt(3600.0, CUT, number=2, steps=6, resume=Resume.BROKEN),
            attempt(10_800.0, number=3, steps=24, resume=Resume.BROKEN),
        ],
        progress=story.progress(24, "08:00"),
    )
    assert kept_work_of(run) == {1: measured(3600, 3600), 2: measured(0, 3600), 3: measured(10_800, 0)}


def test_a_slow_machine_keeps_its_own_seconds(story, attempt):
    slow = replace(story.spot, speed=0.5)
    run = story.run(
        attempts=[
            attempt(14_400.0, CUT, rung=slow, step_after=12, seconds_per_step=1200.0),
            attempt(7200.0, number=2, steps=24),
        ],
        progress=story.progress(24, "06:00"),
    )
    assert kept_work_of(run) == {1: measured(14_400, 0), 2: measured(7200, 0)}


def test_an_attempt_without_a_pace_of_its_own_is_told_by_the_others_and_its_speed(story, attempt):
    slow = replace(story.spot, speed=0.5)
    run = story.run(
        attempts=[
            attempt(9000.0, CUT, rung=slow, step_after=6),
            attempt(10_800.0, number=2, steps=24),
        ],
        progress=story.progress(24, "06:00"),
    )
    assert kept_work_of(run)[1] == measured(7200, 1800)


def test_a_pace_on_a_slow_machine_is_twice_as_good_on_a_whole_one(story, attempt):
    slow = replace(story.spot, speed=0.5)
    run = story.run(
        attempts=[
            attempt(14_400.0, CUT, rung=slow, step_after=12, seconds_per_step=1200.0),
            attempt(9000.0, CUT, number=2, step_after=24),
        ],
        progress=story.progress(24, "06:00"),
    )
    assert kept_work_of(run)[2] == measured(7200, 1800)


def test_nobody_keeps_more_than_it_has_trained(story, attempt):
    run = story.run(attempts=[attempt(6000.0, CUT, steps=12)], progress=story.progress(12, "06:00"))
    assert kept_work_of(run) == {1: measured(6000, 0)}


def test_training_without_a_new_checkpoint_was_in_vain(story, attempt):
    run = story.run(
        attempts=[attempt(7200.0, CUT, steps=12), attempt(1500.0, CUT, number=2, step_after=12)],
        progress=story.progress(12, "06:00"),
    )
    assert kept_work_of(run)[2] == measured(0, 1500)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, 900),
        ({"interruptions": 2}, 2700),
        ({"interruptions": 2, "ended_waiting": True}, 1800),
        ({"interruptions": 20}, 7200),
    ],
    ids=["its end", "and twice before", "twice, and none at its end", "never more than it trained"],
)
def test_where_no_steps_are_visible_each_cut_takes_half_a_checkpoint_interval(story, attempt, changes, lost):
    run = story.run(attempts=[attempt(7200.0, CUT, **changes)])
    assert kept_work_of(run) == {1: estimated(7200 - lost, lost)}


def test_steps_without_any_pace_are_estimated_too(story, attempt):
    run = story.run(attempts=[attempt(7200.0, CUT, step_after=9)], progress=story.progress(9, "02:00"))
    assert kept_work_of(run) == {1: estimated(6300, 900)}


def test_a_resume_that_nobody_can_see_makes_a_figure_an_estimate(story, attempt):
    unseen = attempt(7200.0, number=2, resume=Resume.NOT_VISIBLE)
    assert kept_work_of(story.run(attempts=[unseen])) == {2: estimated(7200, 0)}


def test_without_checkpoints_nothing_outlives_its_machine(story, attempt):
    run = story.run(checkpoint_s3_uri=None, attempts=[attempt(7200.0, CUT), attempt(14_400.0, number=2)])
    assert kept_work_of(run) == {1: measured(0, 7200), 2: measured(14_400, 0)}


def test_without_checkpoints_a_job_that_was_interrupted_kept_the_work_that_was_expected(story, attempt):
    run = story.run(checkpoint_s3_uri=None, attempts=[attempt(20_000.0, interruptions=1)])
    assert kept_work_of(run) == {1: estimated(14_400, 5600)}


def test_a_start_up_does_no_work(story, attempt):
    run = story.run(attempts=[attempt(7200.0, trained_seconds=7800.0)])
    assert kept_work_of(run) == {1: measured(7200, 0)}


def test_without_transitions_all_that_was_billed_for_is_training(story, attempt):
    assert kept_work_of(story.run(attempts=[attempt(None, trained_seconds=7200.0)])) == {1: measured(7200, 0)}


def test_where_sagemaker_says_nothing_nothing_is_known(story, attempt):
    assert kept_work_of(story.run(attempts=[attempt(None)])) == {1: KeptWork(None, None, None)}


def test_an_attempt_that_never_trained_repeated_nothing(story, attempt):
    refused = attempt(None, FailureClass.THROTTLED, status=None)
    assert kept_work_of(story.run(attempts=[refused])) == {1: measured(0, 0)}


def test_what_runs_now_has_lost_nothing_yet(story):
    running = story.training(since="00:10", trained_seconds=1000.0, worked_seconds=1000.0)
    assert kept_work_of(story.run(attempts=[running])) == {1: measured(1000, 0)}
