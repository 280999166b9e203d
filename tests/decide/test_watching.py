"""Whether an open training job is left alone, and when it is looked at again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback
from nightspot.run.model import Action, AttemptState, StopCall
from nightspot.run.reasons import Reason


@pytest.fixture
def step_at(story):
    """The step at `clock` with this attempt open."""

    def step(clock, attempt, *before, **changes):
        return next_step(story.run(attempts=[*before, attempt], **changes), story.at(clock))

    return step


@pytest.fixture
def p5(story):
    return replace(story.spot, instance_type="ml.p5.48xlarge")


def test_waiting_costs_nothing_until_exactly_the_last_safe_moment(story, step_at):
    # 08:00 - 4 h 48 min - 30 min - 10 min - 3 min - 15 min = 02:14.
    waits = {clock: step_at(clock, story.attempt()).wait_seconds for clock in ("00:30", "01:30", "02:13:59")}
    assert waits == {"00:30": 3600, "01:30": 44 * 60, "02:13:59": 1}
    stop = step_at("02:14", story.attempt())
    assert (stop.action, stop.attempt) == (Action.STOP, 1)
    assert stop.training_job_name == story.attempt().training_job_name
    assert stop.because == (
        "No Spot capacity for 2 h 14 min; on-demand must start by 02:57 UTC to finish by 08:00 UTC."
    )


def test_a_wait_says_how_long_it_may_last(story, step_at):
    assert step_at("01:30", story.attempt()).because == (
        "No Spot capacity for 1 h 30 min; waiting until 02:14 UTC: "
        "on-demand must start by 02:57 UTC to finish by 08:00 UTC."
    )


def test_a_job_that_has_its_machine_is_left_to_start_until_on_demand_must(story, step_at):
    starting = story.attempt(state=AttemptState.STARTING, state_since=story.at("02:13"))
    watch = step_at("02:20", starting)
    assert (watch.action, watch.wait_seconds) == (Action.WATCH, 4 * 60)
    assert "is starting" in watch.because
    assert step_at("02:24", starting).action is Action.STOP


def test_an_interruption_early_in_the_night_is_waited_out(story, step_at):
    # Step 3 of 24 is safe: 4 h 12 min are left, and the last safe moment is 02:50.
    waiting = story.attempt(interruptions=1, state_since=story.at("02:40"))
    step = step_at("02:40", waiting, progress=story.progress(3, "02:35"))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 600)
    assert "was interrupted" in step.because


def test_an_interruption_inside_the_margin_goes_to_on_demand_at_once(story, step_at):
    # 08:00 - 4 h 12 min - 15 min = 03:33, when on-demand must start.
    waiting = story.attempt(interruptions=1, state_since=story.at("03:00"))
    step = step_at("03:00", waiting, progress=story.progress(3, "02:55"))
    assert step.action is Action.STOP
    assert "on-demand must start by 03:33 UTC" in step.because


def test_a_machine_back_at_once_inside_the_margin_does_not_hide_the_interruption(story, step_at):
    starting = story.attempt(state=AttemptState.STARTING, interruptions=1, state_since=story.at("03:00"))
    assert step_at("03:00", starting, progress=story.progress(3, "02:55")).action is Action.STOP


def test_spot_at_full_pace_is_left_alone_even_inside_the_margin(story, step_at):
    # 21 steps of 600 s from 03:55 end at 07:25, but on-demand would need 3 h 51 min + 18 min of the 4 h left.
    attempt = story.training(since="03:25", seconds_per_step=600.0)
    step = step_at("04:00", attempt, progress=story.progress(3, "03:55", attempt=1))
    assert (step.action, step.wait_seconds, step.late) == (Action.WATCH, 900, False)
    assert step.because == (
        "On track: Spot ml.p4d.24xlarge (step 3 of 24 is safe), expected 07:25 UTC, due 08:00 UTC."
    )


def test_training_is_looked_at_after_half_the_spare_time_between_a_quarter_and_a_whole_hour(story, step_at):
    # W = 24 times 600 s times 1.1 = 4 h 24 min; with 3 min to stop, 15 min on-demand and 30 min lost: 5 h 12 min.
    attempt = story.training(since="00:10", seconds_per_step=600.0)
    looks = [
        step_at(
            clock, attempt, progress=story.progress(0, "00:10", attempt=1), work_upper_seconds=15_840.0
        ).wait_seconds
        for clock in ("00:11", "01:48", "02:30")
    ]
    assert looks == [3600, 1800, 900]


def test_without_a_progress_file_a_training_job_is_judged_by_its_time(story, step_at):
    step = step_at("01:10", story.training(since="00:10", trained_seconds=3600.0))
    assert step.action is Action.WATCH
    # An hour less the half hour that may be lost: 4 h 18 min are left.
    assert "expected 05:28 UTC" in step.because


@pytest.fixture
def slow(story):
    """Training at 0.45 of the pace since 00:40: 3 steps of 1,333 s were safe at 01:46:40.

    The plan is as long as the pace makes it. On-demand would need 21 steps of 600 s times 1.1 = 3 h 51 min, 15 min
    to start and 3 min to stop:
    4 h 09 min, so its last safe moment is 03:51.
    """
    rung = replace(story.spot, speed=0.45)
    attempt = story.training(rung, since="00:40", seconds_per_step=600 / 0.45)
    progress = story.progress(3, "01:46:40", attempt=1)
    return attempt, {"rungs": (rung, story.on_demand), "progress": progress, "work_upper_seconds": 15_840.0}


def test_a_slow_rung_trains_on_until_its_last_safe_moment(step_at, slow):
    attempt, changes = slow
    steps = {clock: step_at(clock, attempt, **changes) for clock in ("02:00", "03:00", "03:49")}
    assert {step.action for step in steps.values()} == {Action.WATCH}
    # Half of 1 h 51 min less the half hour that may be lost; at 03:00 a checkpoint is due.
    assert [step.wait_seconds for step in steps.values()] == [2430, 900, 60]
    assert "after the deadline; on-demand can still take over for 51 min" in steps["03:00"].because


def test_a_slow_rung_that_should_be_in_time_says_until_when_it_trains(story, step_at, slow):
    attempt, changes = slow
    step = step_at("02:00", attempt, **{**changes, "deadline": story.at("10:00")})
    assert step.because == (
        "On track: Spot ml.p4d.24xlarge (step 3 of 24 is safe), expected 09:33 UTC, due 10:00 UTC; slower than "
        "on-demand, which takes over at 09:16 UTC at the latest."
    )


def test_a_slow_rung_that_should_be_in_time_is_stopped_while_on_demand_could_still_repair_a_reclaim(
    story, step_at, slow
):
    attempt, changes = slow
    # 4 steps of 1,333 s would end at 10:29. On-demand needs 44 min, 15 min to start and 3 min to stop: 28 min of
    # slack are left, and half an hour until the next checkpoint.
    changes = {**changes, "deadline": story.at("10:30"), "progress": story.progress(20, "09:00", attempt=1)}
    step = step_at("09:00", attempt, **changes)
    assert (step.action, step.reason, step.late) == (Action.STOP, Reason.LAST_SAFE_MOMENT, False)
    assert step.because == (
        "Spot ml.p4d.24xlarge (step 20 of 24 is safe) is slower than on-demand; on-demand must start by "
        "09:31 UTC to finish by 10:30 UTC."
    )


@pytest.mark.parametrize("clock", ["03:50", "03:50:30", "03:50:59"])
def test_a_slow_rung_is_stopped_at_its_last_safe_moment(step_at, slow, clock):
    attempt, changes = slow
    step = step_at(clock, attempt, **changes)
    assert step.action is Action.STOP
    assert "on-demand is still in time from the checkpoint" in step.because


def test_a_slow_rung_is_left_alone_once_on_demand_would_be_late_as_well(step_at, slow):
    attempt, changes = slow
    step = step_at("03:51:01", attempt, **changes)
    assert (step.action, step.late) == (Action.WATCH, True)
    assert "nothing is faster" in step.because


def test_a_slow_rung_that_makes_the_deadline_itself_is_left_alone(story, step_at, slow):
    attempt, changes = slow
    # 21 steps of 1,333 s from 01:46:40 end at 09:33:20.
    step = step_at("06:00", attempt, **changes, deadline=story.at("09:34"))
    assert (step.action, step.late) == (Action.WATCH, False)
    assert step.because.startswith("On track: ")


def test_a_slow_rung_of_a_job_that_forbids_on_demand_says_late_and_trains_on(step_at, slow):
    attempt, changes = slow
    step = step_at("03:50", attempt, **changes, fallback=Fallback.NEVER)
    assert (step.action, step.late) == (Action.WATCH, True)


def test_a_pace_that_fell_tonight_gives_a_full_rung_a_last_safe_moment_too(story, step_at):
    # The first attempt trained at 600 s a step, this one takes 1,333 s: the same numbers as on the slow rung.
    before = story.ended(FailureClass.INTERRUPTED, seconds_per_step=600.0, trained_seconds=600.0)
    attempt = story.training(since="00:40", number=2, seconds_per_step=600 / 0.45)
    changes = {"progress": story.progress(3, "01:46:40", attempt=2), "work_upper_seconds": 15_840.0}
    assert step_at("03:49", attempt, before, **changes).action is Action.WATCH
    assert step_at("03:50", attempt, before, **changes).action is Action.STOP


def test_a_job_that_is_not_shown_yet_is_looked_at_in_a_minute(story, step_at):
    step = step_at("00:00", story.attempt(state=AttemptState.ASKED, status=None))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 60)


def test_a_stopping_job_is_waited_for(story, step_at):
    stopping = story.attempt(state=AttemptState.STOPPING, stop_requested_at=story.at("02:14"))
    step = step_at("02:15", stopping)
    assert (step.action, step.wait_seconds) == (Action.WATCH, 300)


def test_a_job_that_a_person_stops_is_waited_for_like_any_other(story, step_at):
    assert step_at("02:15", story.attempt(state=AttemptState.STOPPING)).action is Action.WATCH


def test_a_stop_that_has_no_effect_is_asked_for_again(story, step_at):
    accepted = story.attempt(stop_requested_at=story.at("02:14"), stop_call=StopCall.ACCEPTED)
    assert (step_at("02:15", accepted).action, step_at("02:15", accepted).wait_seconds) == (Action.WATCH, 240)
    step = step_at("02:19", accepted)
    assert step.action is Action.STOP
    assert step.because == "The stop asked for at 02:14 UTC has not taken effect after 5 min; asking again."


@pytest.mark.parametrize(
    ("faults", "pause"), [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 300), (50, 300)]
)
def test_a_stop_that_was_refused_is_asked_for_again_later_and_later_and_never_given_up(
    story, step_at, faults, pause
):
    refused = story.attempt(
        stop_requested_at=story.at("02:14"), stop_call=StopCall.REFUSED, stop_faults=faults
    )
    step = step_at("02:14:01", refused)
    assert (step.action, step.wait_seconds) == (Action.WATCH, pause - 1)
    assert "AWS has refused" in step.because
    again = step_at(f"02:{14 + pause // 60}:{pause % 60:02d}", refused)
    assert again.action is Action.STOP


@pytest.mark.parametrize(("clock", "late"), [("02:56", False), ("02:58", True)])
@pytest.mark.parametrize("state", [AttemptState.WAITING, AttemptState.STOPPING])
def test_a_stop_that_keeps_on_demand_waiting_too_long_is_said_to_make_the_run_late(
    story, step_at, clock, late, state
):
    refused = story.attempt(
        state=state, stop_requested_at=story.at("02:14"), stop_call=StopCall.REFUSED, stop_faults=9
    )
    assert step_at(clock, refused).late is late


def test_a_run_that_somebody_ends_is_not_late(story, step_at):
    stopping = story.attempt(state=AttemptState.STOPPING, stop_requested_at=story.at("02:14"))
    assert not step_at("04:00", stopping, stop_asked_by="nightspot stop").late


def test_a_job_that_sagemaker_says_nothing_of_is_looked_at_again_in_a_minute(story, step_at):
    step = step_at("00:40", story.attempt(unseen_since=story.at("00:30")))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 60)
    assert step.because.startswith("SageMaker has not answered since 00:30 UTC. ")


def test_after_half_an_hour_without_an_answer_a_minute_no_longer_matters(story, step_at):
    unseen = {"state": AttemptState.TRAINING, "unseen_since": story.at("00:30")}
    assert step_at("00:59", story.attempt(**unseen)).wait_seconds == 60
    assert step_at("01:00", story.attempt(**unseen)).wait_seconds == 300
    # The next look is the last safe moment's still, where that is nearer.
    waits = story.attempt(unseen_since=story.at("00:30"))
    assert step_at("02:12", waits).wait_seconds == 120


def test_a_stop_that_nobody_sees_is_looked_at_each_minute_until_the_run_is_late(story, step_at):
    refused = {"stop_requested_at": story.at("02:14"), "stop_call": StopCall.REFUSED, "stop_faults": 9}
    unseen = story.attempt(unseen_since=story.at("00:30"), **refused)
    in_time = step_at("02:15", unseen)
    assert (in_time.late, in_time.wait_seconds) == (False, 60)
    late = step_at("04:00", replace(unseen, stop_requested_at=story.at("03:59")))
    assert (late.late, late.wait_seconds) == (True, 240)


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [("02:20", 300), ("03:14", 300), ("04:14", 600), ("06:14", 900), ("09:00", 900)],
    ids=lambda value: str(value).replace(":", "h"),
)
def test_a_stop_that_hangs_is_looked_at_more_seldom_once_the_run_is_late(story, step_at, clock, seconds):
    stopping = story.attempt(state=AttemptState.STOPPING, stop_requested_at=story.at("02:14"))
    assert step_at(clock, stopping).wait_seconds == seconds
    assert step_at(clock, stopping, stop_asked_by="nightspot stop").wait_seconds == seconds


def test_a_wait_for_spot_ends_at_its_last_safe_moment_even_unseen(story, step_at):
    assert step_at("02:14", story.attempt(unseen_since=story.at("00:30"))).action is Action.STOP


def test_a_spot_type_without_capacity_gives_way_to_the_next_after_half_an_hour(story, step_at, p5):
    rungs = (story.spot, p5, story.on_demand)
    assert step_at("00:10", story.attempt(), rungs=rungs).wait_seconds == 20 * 60
    step = step_at("00:30", story.attempt(), rungs=rungs)
    assert step.action is Action.STOP
    assert "30 min" in step.because
    assert "ml.p5.48xlarge may have capacity" in step.because


def test_patience_counts_from_the_interruption(story, step_at, p5):
    waiting = story.attempt(interruptions=1, state_since=story.at("01:00"))
    step = step_at("01:10", waiting, rungs=(story.spot, p5, story.on_demand))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 20 * 60)


def test_a_type_without_quota_is_no_reason_to_move(story, step_at, p5):
    gone = story.ended(FailureClass.QUOTA_PERMANENT, p5)
    step = step_at("00:30", story.attempt(number=2), gone, rungs=(story.spot, p5, story.on_demand))
    assert step.action is Action.WATCH


def test_a_machine_that_is_starting_is_not_given_up_for_another_type(story, step_at, p5):
    starting = story.attempt(state=AttemptState.STARTING)
    assert step_at("00:40", starting, rungs=(story.spot, p5, story.on_demand)).action is Action.WATCH


def test_pending_on_demand_is_waited_for_and_late_is_said_as_soon_as_it_is(story, step_at):
    # Asked for at 02:50: 15 min to start and 4 h 48 min of work are in time until 02:57.
    pending = story.attempt(story.on_demand, asked_at=story.at("02:50"))
    before, behind = step_at("02:57", pending), step_at("02:58", pending)
    assert (before.action, before.wait_seconds, before.late) == (Action.WATCH, 1800, False)
    assert (behind.action, behind.late) == (Action.WATCH, True)
    assert behind.because == (
        "Late: on-demand ml.p4d.24xlarge, without capacity for 8 min, expected 08:01 UTC, due 08:00 UTC; "
        "nothing is faster."
    )


def test_pending_on_demand_gives_way_to_another_type_where_there_is_one(story, step_at):
    other = replace(story.on_demand, instance_type="ml.p5.48xlarge")
    pending = story.attempt(story.on_demand, asked_at=story.at("02:30"))
    rungs = (story.spot, story.on_demand, other)
    assert step_at("02:59", pending, rungs=rungs).action is Action.WATCH
    assert step_at("03:00", pending, rungs=rungs).action is Action.STOP
    assert step_at("03:00", pending).action is Action.WATCH


def test_training_on_demand_is_never_stopped(story, step_at):
    late = story.training(story.on_demand, since="06:00", seconds_per_step=600.0)
    step = step_at("07:00", late, progress=story.progress(3, "06:50", attempt=1))
    assert (step.action, step.wait_seconds, step.late) == (Action.WATCH, 3600, True)


def test_a_job_past_its_deadline_is_still_watched(story, step_at):
    training = story.training(story.on_demand, since="06:00")
    assert step_at("09:00", training).action is Action.WATCH
    waiting = story.attempt(story.on_demand, asked_at=story.deadline - timedelta(hours=1))
    assert step_at("09:00", waiting).wait_seconds == 1800
