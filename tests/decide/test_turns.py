"""Whose turn on the ladder it is: after waits, refusals and markets that only take; and whose turn among runs."""

from dataclasses import replace

import pytest

from nightspot.decide import ladder
from nightspot.decide.ladder import ladder_of
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.run.model import Action, AttemptState, LeftOut, Outcome


@pytest.fixture
def p5(story):
    return replace(story.spot, instance_type="ml.p5.48xlarge")


@pytest.fixture
def g5(story):
    return replace(story.spot, instance_type="ml.g5.48xlarge", speed=0.45)


@pytest.fixture
def rungs(story, p5, g5):
    return (story.spot, p5, g5, story.on_demand)


def test_each_type_has_its_own_patience(story, p5, rungs):
    patient = replace(p5, patience_seconds=50 * 60)
    ladder_of = (story.spot, patient, *rungs[2:])
    first = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, ended_waiting=True)

    def step(clock):
        waiting = story.attempt(patient, number=2, asked_at=story.at("00:30"))
        return next_step(story.run(rungs=ladder_of, attempts=[first, waiting]), story.at(clock))

    assert (step("01:10").action, step("01:10").wait_seconds) == (Action.WATCH, 10 * 60)
    assert step("01:20").action is Action.STOP
    assert "ml.g5.48xlarge may have capacity" in step("01:20").because


def test_the_ladder_wraps_round_while_there_is_time(story, p5, g5, rungs):
    tried = []
    for number, expected in enumerate([story.spot, p5, g5, story.spot, p5], 1):
        run = story.run(rungs=rungs, attempts=tried)
        assert ladder.next_rung(run, Market.SPOT) == expected
        tried.append(
            story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, expected, number=number, ended_waiting=True)
        )


def test_a_type_that_trained_and_then_kept_nobody_waiting_comes_first_again(story, p5, rungs):
    ended = story.ended(FailureClass.SERVICE_FAULT, p5, trained_seconds=600.0)
    assert ladder.next_rung(story.run(rungs=rungs, attempts=[ended]), Market.SPOT) == story.spot


def test_a_type_that_was_left_while_it_waited_is_not_asked_at_once_again(story, p5, rungs):
    # It had trained before: that must not bring it back to the top while it has no machine.
    left = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, trained_seconds=3600.0, ended_waiting=True)
    assert ladder.next_rung(story.run(rungs=rungs, attempts=[left]), Market.SPOT) == p5


class TestAMarketThatOnlyTakes:
    @pytest.fixture
    def worn(self, story):
        return story.attempt(
            interruptions=3,
            fruitless_interruptions=3,
            safe_point=4.0,
            trained_seconds=1500.0,
            state_since=story.at("01:00"),
        )

    def test_gives_way_to_the_next_type(self, story, worn, rungs):
        step = next_step(story.run(rungs=rungs, attempts=[worn]), story.at("01:01"))
        assert step.action is Action.STOP
        assert "3 times without a new checkpoint" in step.because
        assert "next is Spot ml.p5.48xlarge" in step.because

    def test_is_waited_for_where_it_is_the_only_type_and_has_cost_little(self, story, worn):
        # 25 minutes in vain, and 4 h 48 min to go: a few starts are cheaper than on-demand.
        assert next_step(story.run(attempts=[worn]), story.at("01:01")).action is Action.WATCH
        ended = replace(worn, state=AttemptState.ENDED, failure=FailureClass.NO_CAPACITY)
        assert ladder.next_rung(story.run(attempts=[ended]), Market.SPOT) == story.spot

    def test_gives_way_to_on_demand_once_a_quarter_of_the_work_left_was_in_vain(self, story, worn):
        worn = replace(worn, trained_seconds=72 * 60 + 600.0, safe_seconds=600.0)
        step = next_step(story.run(attempts=[worn]), story.at("01:01"))
        assert step.action is Action.STOP
        assert "next is on-demand ml.p4d.24xlarge" in step.because
        ended = replace(worn, state=AttemptState.ENDED, failure=FailureClass.STOPPED_BY_NIGHTSPOT)
        assert next_step(story.run(attempts=[ended]), story.at("01:05")).rung == story.on_demand

    def test_is_kept_where_nothing_else_may_be_bought(self, story, worn):
        run = story.run(attempts=[worn], fallback=Fallback.NEVER)
        assert next_step(run, story.at("01:01")).action is Action.WATCH
        ended = replace(worn, state=AttemptState.ENDED, failure=FailureClass.NO_CAPACITY)
        run = story.run(attempts=[ended], fallback=Fallback.NEVER)
        assert ladder.next_rung(run, Market.SPOT) == story.spot

    def test_is_left_alone_while_it_trains(self, story, worn):
        training = replace(worn, state=AttemptState.TRAINING, secondary_status="Training")
        assert next_step(story.run(attempts=[training]), story.at("01:01")).action is Action.WATCH

    def test_may_be_asked_again_once_something_new_is_safe(self, story, worn, p5, rungs):
        ended = replace(worn, state=AttemptState.ENDED, failure=FailureClass.STOPPED_BY_NIGHTSPOT)
        stuck = story.ended(FailureClass.NO_CAPACITY, p5, number=2, safe_point=4.0)
        moved = replace(stuck, safe_point=6.0)
        assert story.spot not in ladder_of(story.run(rungs=rungs, attempts=[ended, stuck])).eligible(
            Market.SPOT
        )
        assert story.spot in ladder_of(story.run(rungs=rungs, attempts=[ended, moved])).eligible(Market.SPOT)


class TestOnDemandThatQueues:
    def test_the_first_type_that_is_in_time_is_taken(self, story):
        fast = replace(story.on_demand, instance_type="ml.p5.48xlarge", speed=2.0)
        run = story.run(rungs=(story.spot, story.on_demand, fast))
        # At 02:58 five hours and three minutes on the first type are too late, two and a half are not.
        assert ladder.repair_rung(run, story.at("02:57")) == story.on_demand
        assert ladder.repair_rung(run, story.at("02:58")) == fast

    def test_where_none_is_in_time_the_soonest_is_taken_and_late_is_said(self, story):
        fast = replace(story.on_demand, instance_type="ml.p5.48xlarge", speed=2.0)
        run = story.run(rungs=(story.on_demand, fast))
        step = next_step(run, story.at("07:00"))
        assert (step.rung, step.late) == (fast, True)

    def test_a_run_gives_up_a_day_after_its_deadline(self, story):
        pending = story.attempt(story.on_demand, asked_at=story.at("06:00"))
        run = story.run(attempts=[pending])
        assert next_step(run, story.at("31:59")).action is Action.WATCH
        assert next_step(run, story.at("32:00")).action is Action.STOP
        ended = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, story.on_demand, ended_at=story.at("32:03"))
        step = next_step(story.run(attempts=[ended]), story.at("32:03"))
        assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
        assert "long past 21 November 2026, 08:00 UTC" in step.because


class TestRungsThatAreLeftOut:
    def test_are_not_asked_for_and_named_in_the_outcome(self, story, p5, rungs):
        run = story.run(rungs=rungs, left_out=(LeftOut(story.spot, "its quota is 0, and 1 are needed"),))
        assert next_step(run, story.midnight).rung == p5
        done = story.ended(None, p5)
        over = next_step(replace(run, attempts=(done,)), story.at("05:00"))
        assert over.outcome is Outcome.SUCCEEDED
        assert over.because.endswith(" Left out: Spot ml.p4d.24xlarge (its quota is 0, and 1 are needed).")

    def test_a_refusal_for_good_leaves_the_rung_out_as_well(self, story):
        refused = story.ended(FailureClass.QUOTA_PERMANENT, failure_reason="limit is 0 Instances")
        done = story.ended(None, story.on_demand, number=2)
        over = next_step(story.run(attempts=[refused, done]), story.at("05:00"))
        assert over.because.endswith(" Left out: Spot ml.p4d.24xlarge (quota permanent, attempt 1).")

    def test_a_ladder_of_which_nothing_is_left_ends_the_run(self, story):
        out = tuple(LeftOut(rung, "its quota is 0") for rung in (story.spot, story.on_demand))
        step = next_step(story.run(left_out=out, budget_usd=900.0), story.midnight)
        assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
        assert "no rung of the ladder is left" in step.because


class TestOneRunOfAJobAtATime:
    def test_a_refused_run_starts_nothing(self, story):
        step = next_step(story.run(refused_because="Run x is still going on."), story.midnight)
        assert (step.action, step.outcome) == (Action.FINISH, Outcome.REFUSED)
        assert step.because == "Run x is still going on."

    def test_a_run_pauses_while_the_one_that_it_replaces_is_ending(self, story):
        step = next_step(story.run(waits_for_run="20261121-old000"), story.midnight)
        assert (step.action, step.wait_seconds) == (Action.PAUSE, 60)
        assert "20261121-old000" in step.because

    def test_a_replaced_run_stops_its_training_job_and_then_ends(self, story):
        run = story.run(attempts=[story.training(since="01:00")], replaced_by="20261121-new000")
        step = next_step(run, story.at("02:00"))
        assert (step.action, step.attempt) == (Action.STOP, 1)
        asked = story.attempt(state=AttemptState.STOPPING, stop_requested_at=story.at("02:00"))
        assert next_step(replace(run, attempts=(asked,)), story.at("02:01")).action is Action.WATCH
        ended = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT)
        over = next_step(replace(run, attempts=(ended,)), story.at("02:03"))
        assert (over.action, over.outcome) == (Action.FINISH, Outcome.STOPPED)
        assert over.because == "Run 20261121-new000 of the same job takes this one's place."

    def test_a_replaced_run_that_has_just_completed_has_succeeded(self, story):
        run = story.run(attempts=[story.ended(None)], replaced_by="20261121-new000")
        assert next_step(run, story.at("05:00")).outcome is Outcome.SUCCEEDED

    def test_a_run_that_is_replaced_before_it_has_started_starts_nothing(self, story):
        run = story.run(waits_for_run="20261121-old000", replaced_by="20261121-new000")
        step = next_step(run, story.midnight)
        assert (step.action, step.outcome) == (Action.FINISH, Outcome.STOPPED)


class TestEager:
    def test_every_spot_type_gets_its_patience_once(self, story, p5):
        run = story.run(rungs=(story.spot, p5, story.on_demand), policy=Policy.EAGER)
        assert next_step(run, story.midnight).wait_seconds == 1800
        first = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, ended_waiting=True)
        assert next_step(replace(run, attempts=(first,)), story.at("00:33")).rung == p5
        second = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, p5, number=2, ended_waiting=True)
        assert next_step(replace(run, attempts=(first, second)), story.at("01:06")).rung == story.on_demand

    def test_the_only_type_is_left_for_on_demand_after_its_patience(self, story):
        run = story.run(attempts=[story.attempt()], policy=Policy.EAGER)
        assert next_step(run, story.at("00:20")).wait_seconds == 600
        step = next_step(run, story.at("00:30"))
        assert step.action is Action.STOP
        assert "on-demand ml.p4d.24xlarge may have capacity" in step.because

    def test_a_reclaimed_machine_is_waited_for_as_long(self, story):
        waiting = story.attempt(interruptions=1, trained_seconds=3600.0, state_since=story.at("02:00"))
        run = story.run(attempts=[waiting], policy=Policy.EAGER, progress=story.progress(6, "01:55"))
        assert next_step(run, story.at("02:29")).action is Action.WATCH
        assert next_step(run, story.at("02:30")).action is Action.STOP

    def test_a_job_that_may_not_buy_stays_with_spot(self, story):
        first = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, ended_waiting=True)
        run = story.run(attempts=[first], policy=Policy.EAGER, fallback=Fallback.NEVER)
        assert next_step(run, story.at("00:33")).rung == story.spot


def test_a_job_that_wants_on_demand_gets_it_at_once(story):
    assert next_step(story.run(policy=Policy.ON_DEMAND), story.midnight).rung == story.on_demand
