"""What a drill on AWS finds out, what it costs, and what it leaves behind, whatever goes wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nightspot.aws.drill_plan import MOST_WAIT_SECONDS, DrillError, DrillOutcome
from nightspot.failures.codes import FailureClass

FIRST, SECOND = (f"nightspot-recommender-drill-261121-3fa9c-{number}" for number in (1, 2))
PREFIX = "s3://checkpoints/nightly/drill-261121-3fa9c"
OUTPUT = "s3://checkpoints/nightly/drill-output-261121-3fa9c"


def verdict_of(drill):
    result = drill.play()
    assert drill.cloud.running() == []
    assert drill.left == []
    return result.verdict.outcome, result.verdict.because


def error_of(drill):
    with pytest.raises(DrillError) as raised:
        drill.play()
    return raised.value


def test_a_script_that_goes_on_from_its_checkpoint_passes(drill):
    tonight = drill()
    assert verdict_of(tonight) == (
        DrillOutcome.PASSED,
        "job 2 resumed from step 5, saved by job 1, and went on to step 10",
    )
    assert list(tonight.cloud.machines) == [FIRST, SECOND]


def test_the_second_job_starts_when_the_first_is_over_and_not_before(drill):
    tonight = drill()
    tonight.play()
    first, second = tonight.cloud.machines.values()
    ended_at, *_ = first.end(tonight.cloud.moment)
    assert second.asked_at >= ended_at


def test_after_news_it_looks_again_at_once_and_then_less_and_less_often(drill):
    tonight = drill()
    tonight.play()
    slept = tonight.cloud.slept
    assert set(slept) == {5, 10, 20, 30}
    # Once after each change of a job and each checkpoint.
    assert slept.count(5) >= 6
    assert slept[:5] == [5, 10, 20, 30, 5]


def test_a_job_that_its_time_limit_cuts_off_after_a_checkpoint_is_as_good_as_stopped(drill):
    # Between two looks, so that the drill sees the checkpoint and the end at once.
    tonight = drill(plan={"max_runtime_seconds": 301}, queue_seconds=63)
    assert verdict_of(tonight) == (
        DrillOutcome.PASSED,
        "job 2 resumed from step 5, saved by job 1, and went on to step 10",
    )
    assert not any(call.startswith("stop") for call in tonight.cloud.calls)


def test_a_job_is_stopped_soon_after_what_was_waited_for_because_it_costs_money(drill):
    tonight = drill()
    tonight.play()
    for job in tonight.cloud.machines.values():
        saved_at = job.trains_at + timedelta(minutes=5)
        assert timedelta() <= job.stopped_at - saved_at <= timedelta(seconds=30)


def test_a_script_that_ignores_its_checkpoints_fails(drill):
    assert verdict_of(drill(restores=False)) == (
        DrillOutcome.FAILED,
        "job 2 started again from zero, although step 5 was safe in S3: it has now saved step 5",
    )


def test_a_script_that_goes_back_by_more_than_an_interval_fails(drill):
    # Ten minutes between checkpoints are ten steps.
    tonight = drill(every=20, loses=15)
    outcome, because = verdict_of(tonight)
    assert outcome is DrillOutcome.FAILED
    assert because.startswith("job 2 went back to step 5, although step 20 was safe in S3")


def test_a_script_that_goes_back_by_less_than_an_interval_passes_and_it_is_said(drill):
    outcome, because = verdict_of(drill(every=20, loses=5))
    assert outcome is DrillOutcome.PASSED
    assert "resumed from step 15" in because
    assert "step 20 was safe; what lies between was trained again" in because


def test_a_script_without_any_checkpoint_fails_when_its_time_is_up(drill):
    outcome, because = verdict_of(drill(says="no file at all"))
    assert outcome is DrillOutcome.FAILED
    assert because.startswith("no checkpoint within 1 h")


def test_a_script_that_is_complete_without_a_checkpoint_fails(drill):
    outcome, because = verdict_of(drill(total=4))
    assert outcome is DrillOutcome.FAILED
    assert because.startswith("job 1 was complete without a single checkpoint")


def test_a_script_that_keeps_files_of_its_own_is_not_visible_and_does_not_use_its_time_up(drill):
    tonight = drill(says="nothing")
    outcome, because = verdict_of(tonight)
    assert outcome is DrillOutcome.NOT_VISIBLE
    assert because.startswith("the script writes no nightspot.json")
    assert list(tonight.cloud.machines) == [FIRST]
    assert tonight.cloud.machines[FIRST].stopped_at is not None


def test_a_progress_file_that_names_no_attempt_is_not_visible_and_no_second_job_is_paid(drill):
    tonight = drill(says="no attempt")
    outcome, because = verdict_of(tonight)
    assert outcome is DrillOutcome.NOT_VISIBLE
    assert "names no attempt" in because
    assert list(tonight.cloud.machines) == [FIRST]


def test_a_second_job_without_a_word_is_not_visible(drill):
    outcome, because = verdict_of(drill(speaks_once=True, total=1000))
    assert outcome is DrillOutcome.NOT_VISIBLE
    assert because.startswith("job 2 wrote nothing into nightspot.json after 20 min")


def test_to_the_end_lets_the_second_job_train_until_it_is_complete(drill):
    tonight = drill(plan={"to_the_end": True}, total=30)
    assert verdict_of(tonight) == (
        DrillOutcome.PASSED,
        "job 2 resumed from step 5, saved by job 1, and trained to its end",
    )
    assert "stop 2" not in tonight.cloud.calls


def test_an_end_that_is_not_reached_in_time_fails(drill):
    outcome, because = verdict_of(drill(plan={"to_the_end": True}))
    assert outcome is DrillOutcome.FAILED
    assert because.endswith("did not come to its end within 1 h: raise --max-minutes")


def test_a_second_job_that_saves_nothing_more_in_its_time_fails(drill):
    outcome, because = verdict_of(drill(stays_at=5))
    assert outcome is DrillOutcome.FAILED
    assert because == "job 2 resumed from step 5, but saved no further checkpoint within 1 h"


def test_a_script_that_fails_when_it_is_resumed_fails_the_drill(drill):
    tonight = drill(fails={2: "AlgorithmError: EOFError: Ran out of input"}, every=6)
    outcome, because = verdict_of(tonight)
    assert outcome is DrillOutcome.FAILED
    assert because == (
        "job 2 resumed from step 6, and then failed: AlgorithmError: EOFError: Ran out of input"
    )


def test_a_script_that_fails_before_its_first_checkpoint_says_nothing_about_resuming(drill):
    error = error_of(drill(fails={1: "AlgorithmError: no such file"}))
    assert error.failure is FailureClass.USER_CODE
    assert FIRST in str(error)
    assert "no such file" in str(error)


def test_a_second_job_that_fails_for_the_services_sake_says_nothing_about_the_script(drill):
    error = error_of(drill(fails={2: "InternalServerError: We encountered an internal error."}, every=6))
    assert error.failure is FailureClass.SERVICE_FAULT


def test_a_training_that_is_over_too_soon_cannot_be_drilled(drill):
    tonight = drill(total=5)
    error = error_of(tonight)
    assert "was complete before it could be stopped" in str(error)


def test_a_drill_gives_up_when_no_machine_comes(drill):
    tonight = drill(queue_seconds=1e6)
    error = error_of(tonight)
    assert error.failure is FailureClass.WAIT_LIMIT
    assert MOST_WAIT_SECONDS <= (tonight.cloud.moment - tonight.plan.run.started_at).total_seconds() < 7500
    assert tonight.cloud.machines[FIRST].stopped_at is not None


def test_what_a_passed_drill_has_stored_is_deleted_and_nothing_else(drill):
    tonight = drill()
    others = {
        "nightly/20261120-abc123/step-24": b"of a run",
        "nightly/drill-261121-3fa9cd/step-1": b"of a drill whose name begins alike",
    }
    tonight.cloud.objects |= others
    result = tonight.play()
    assert tonight.cloud.objects == others
    assert result.kept == ()


@pytest.mark.parametrize(
    ("keep", "script"), [(True, {}), (False, {"restores": False}), (False, {"says": "nothing"})]
)
def test_what_a_drill_has_stored_is_kept_where_it_is_asked_for_or_has_not_passed(drill, keep, script):
    tonight = drill(**script)
    assert tonight.play(keep=keep).kept == (PREFIX, OUTPUT)
    assert "delete" not in tonight.cloud.calls
    assert any(key.startswith("nightly/drill-261121-3fa9c/") for key in tonight.cloud.objects)


def test_files_that_may_not_be_deleted_do_not_change_the_verdict(drill, refusal):
    tonight = drill()
    tonight.cloud.refusals["delete"] = [refusal("AccessDenied", "Access Denied", 403)]
    result = tonight.play()
    assert result.verdict.outcome is DrillOutcome.PASSED
    assert result.kept == (PREFIX,)
    assert "cannot delete" in result.notes[0]


def test_more_objects_than_one_call_takes_are_deleted_too(drill):
    tonight = drill()
    # Files of the training's own, beside its checkpoints; SageMaker uploads them all.
    tonight.cloud.litter = 2500
    tonight.play()
    assert tonight.cloud.objects == {}
    assert tonight.cloud.calls.count("delete") == 4


def test_a_single_file_that_may_not_be_deleted_is_told_too(drill):
    tonight = drill()
    tonight.cloud.undeletable = {"nightly/drill-261121-3fa9c/step-5"}
    result = tonight.play()
    assert result.kept == (PREFIX,)
    assert "AccessDenied" in result.notes[0]


def test_a_prefix_that_is_in_use_is_left_alone_and_nothing_is_started(drill):
    tonight = drill()
    tonight.cloud.objects["nightly/drill-261121-3fa9c/step-1"] = b"somebody's"
    assert "is in use already" in str(error_of(tonight))
    assert tonight.cloud.machines == {}


def test_a_last_job_that_cannot_be_stopped_does_not_cost_the_verdict(drill, refusal):
    tonight = drill()
    tonight.cloud.refusals["stop 2"] = [refusal("ExpiredTokenException", "expired")] * 2
    result = tonight.play()
    assert result.verdict.outcome is DrillOutcome.PASSED
    assert [name for name, _ in tonight.left] == [SECOND]
    # It may still write into it.
    assert result.kept == (PREFIX, OUTPUT)
    assert "cannot stop" in result.notes[0]
