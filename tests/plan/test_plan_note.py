"""What a person is told of a plan: what a late start has left possible, in the policy's own figures."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.plan.planning import ResumedRun, plan_note
from nightspot.run.model import Action


@pytest.fixture
def late(story):
    """`late("01:00", **changes)`: the reference run, scheduled for midnight and started then."""
    return lambda clock, **changes: story.run(
        started_at=story.at(clock), **{"scheduled_at": story.midnight, **changes}
    )


@pytest.mark.parametrize(
    ("clock", "note"),
    [
        (
            "01:00",
            "Started 1 h late: 7 h are left of 8 h, with 4 h 48 min of work left at most; "
            "Spot may still be waited for until 02:14 UTC.",
        ),
        (
            "02:30",
            "Started 2 h 30 min late: 5 h 30 min are left of 8 h, with 4 h 48 min of work left at most; "
            "on-demand at once is the only way that is in time.",
        ),
        (
            "04:00",
            "Started 4 h late: 4 h are left of 8 h, with 4 h 48 min of work left at most; "
            "even on-demand at once is late by about 1 h 3 min.",
        ),
        (
            "10:00",
            "Started 10 h late: its deadline, 08:00 UTC, passed 2 h ago, with 4 h 48 min of work left at most; "
            "even on-demand at once is late by about 7 h 3 min.",
        ),
    ],
)
def test_a_late_start_says_what_is_still_possible(late, clock, note):
    assert plan_note(late(clock)) == note


def test_a_start_in_time_has_nothing_to_say(late):
    assert plan_note(late("00:01")) is None
    assert plan_note(late("01:00", scheduled_at=None)) is None
    assert plan_note(late("00:01:01")) is not None


def test_where_nothing_can_be_bought_the_note_says_why(late):
    note = plan_note(late("04:00", fallback=Fallback.NEVER))
    assert note.endswith(
        "; nothing is asked for: Spot can no longer finish by 08:00 UTC and the job forbids on-demand."
    )


def test_a_job_without_spot_is_not_told_that_it_is_too_late_for_spot(late, story):
    for changes in ({"policy": Policy.ON_DEMAND}, {"rungs": (story.on_demand,)}):
        assert plan_note(late("01:00", **changes)).endswith("; on-demand at once is in time.")


def test_a_retry_that_started_late_says_both(late, story):
    before = story.run(run_id="20261120-aaaaaa")
    note = plan_note(late("01:00", resume_from=before.run_id), ResumedRun(before))
    assert note.startswith("Started 1 h late")
    assert note.endswith("Follows run 20261120-aaaaaa from zero: it has left no checkpoint.")


def test_a_retry_of_a_run_without_checkpoints_says_so(story):
    before = story.run(checkpoint_s3_uri=None, run_id="20261120-aaaaaa")
    assert (
        plan_note(story.run(), ResumedRun(before))
        == "Follows run 20261120-aaaaaa from zero: it kept no checkpoints."
    )


minutes = st.integers(min_value=-60 * 24 * 6, max_value=60 * 12)


@given(
    left=minutes,
    fallback=st.sampled_from(Fallback),
    policy=st.sampled_from(Policy),
    budget=st.one_of(st.none(), st.floats(min_value=0, max_value=500)),
)
def test_whatever_is_left_there_is_a_step_and_a_note_that_agrees_with_it(
    story, left, fallback, policy, budget
):
    run = story.run(
        deadline=story.midnight + timedelta(minutes=left),
        scheduled_at=story.midnight - timedelta(hours=1),
        fallback=fallback,
        policy=policy,
        budget_usd=budget,
    )
    step, note = next_step(run, run.started_at), plan_note(run)
    assert note.startswith("Started 1 h late: ")
    if step.action is Action.START:
        assert step.wait_seconds >= 1
        assert ("Spot may still be waited for" in note) == (step.rung.market is Market.SPOT)
        assert ("is late by about" in note) == step.late
    else:
        assert step.action is Action.FINISH
        assert "nothing is asked for" in note


@given(left=st.integers(min_value=-60 * 24 * 6, max_value=0))
def test_after_the_deadline_the_work_is_begun_on_demand_at_once_and_said_to_be_late(story, left):
    run = story.run(deadline=story.midnight + timedelta(minutes=left))
    step = next_step(run, story.midnight)
    assert (step.action, step.rung.market, step.late) == (Action.START, Market.ON_DEMAND, True)


@given(left=st.integers(min_value=-60 * 24 * 6, max_value=0))
def test_after_the_deadline_a_job_that_forbids_on_demand_buys_nothing(story, left):
    run = story.run(deadline=story.midnight + timedelta(minutes=left), fallback=Fallback.NEVER)
    assert next_step(run, story.midnight).action is Action.FINISH


@given(
    left=st.integers(min_value=-60 * 24 * 6, max_value=0),
    state=st.sampled_from(["waiting", "training", "ended"]),
    market=st.sampled_from(Market),
)
def test_after_the_deadline_every_later_decision_is_one_that_the_workflow_can_take(
    story, left, state, market
):
    rung = story.spot if market is Market.SPOT else story.on_demand
    attempt = story.training(rung, since="00:00") if state == "training" else story.attempt(rung)
    run = story.run(deadline=story.midnight + timedelta(minutes=left), attempts=(attempt,))
    if state == "ended":
        run = run.with_attempt(story.ended(FailureClass.NO_CAPACITY, rung, ended_waiting=True))
    step = next_step(run, story.at("00:10"))
    assert step.action is Action.FINISH or step.wait_seconds >= 1
