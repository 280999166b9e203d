"""A run that somebody wants ended: what it does with the wish in each of its states."""

from dataclasses import replace

import pytest

from nightspot.decide.ledger import book
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.record.events import between
from nightspot.run.model import Action, AttemptState, Outcome, run_from_json, to_json

BY = "nightspot stop"
ASKED = "The run was asked to stop (nightspot stop)."


@pytest.mark.parametrize("state", [AttemptState.WAITING, AttemptState.STARTING, AttemptState.TRAINING])
def test_its_training_job_is_stopped_and_then_it_ends(story, state):
    run = story.run(attempts=[story.attempt(state=state)], stop_asked_by=BY)
    step = next_step(run, story.at("01:00"))
    assert (step.action, step.attempt, step.because) == (Action.STOP, 1, ASKED)
    ended = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT)
    over = next_step(replace(run, attempts=(ended,)), story.at("01:03"))
    assert (over.action, over.outcome, over.because) == (Action.FINISH, Outcome.STOPPED, ASKED)


def test_a_training_job_that_is_stopping_is_waited_for(story):
    run = story.run(attempts=[story.attempt(state=AttemptState.STOPPING)], stop_asked_by=BY)
    assert next_step(run, story.at("01:00")).action is Action.WATCH


@pytest.mark.parametrize("wanted", [{"stop_asked_by": BY}, {"replaced_by": "20261121-new000"}])
def test_a_training_job_that_sagemaker_does_not_show_yet_is_not_stopped_but_waited_for(story, wanted):
    """The refusal of a stop would be taken for the end of a training job that may still come."""
    unseen = story.attempt(state=AttemptState.ASKED, status=None)
    step = next_step(story.run(attempts=[unseen], **wanted), story.at("00:01"))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 60)
    assert step.because.endswith("SageMaker does not show its training job yet.")


def test_a_training_job_that_never_came_ends_it(story):
    never = story.ended(FailureClass.UNKNOWN, failure_reason="SageMaker does not know it.")
    assert (
        next_step(story.run(attempts=[never], stop_asked_by=BY), story.at("00:15")).outcome is Outcome.STOPPED
    )


def test_a_model_that_is_there_all_the_same_is_a_success(story):
    run = story.run(attempts=[story.ended(None)], stop_asked_by=BY)
    assert next_step(run, story.at("05:00")).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "failure",
    [FailureClass.NO_CAPACITY, FailureClass.INTERRUPTED, FailureClass.THROTTLED, FailureClass.SERVICE_FAULT],
)
def test_what_another_attempt_would_answer_ends_it(story, failure):
    """A stop while Spot waits for a new machine reads as an interruption: the wish tells it from one."""
    run = story.run(attempts=[story.ended(failure, ended_at=story.at("01:00"))])
    assert next_step(run, story.at("01:00")).action in {Action.START, Action.PAUSE}
    over = next_step(replace(run, stop_asked_by=BY), story.at("01:00"))
    assert (over.action, over.outcome, over.because) == (Action.FINISH, Outcome.STOPPED, ASKED)


def test_before_its_first_training_job_nothing_is_started(story):
    over = next_step(story.run(stop_asked_by=BY), story.midnight)
    assert (over.action, over.outcome, over.because) == (Action.FINISH, Outcome.STOPPED, ASKED)


def test_its_turn_is_not_waited_for(story):
    over = next_step(story.run(waits_for_run="20261121-old000", stop_asked_by=BY), story.midnight)
    assert (over.action, over.outcome) == (Action.FINISH, Outcome.STOPPED)


def test_a_refused_run_stays_refused(story):
    run = story.run(refused_because="Run x is still going on.", stop_asked_by=BY)
    over = next_step(run, story.midnight)
    assert (over.outcome, over.because) == (Outcome.REFUSED, "Run x is still going on.")


def test_a_newer_run_that_takes_its_place_is_the_reason_that_is_told(story):
    run = story.run(attempts=[story.training(since="01:00")], stop_asked_by=BY, replaced_by="20261121-new000")
    for attempts in (run.attempts, (story.ended(FailureClass.STOPPED_BY_NIGHTSPOT),)):
        step = next_step(replace(run, attempts=attempts), story.at("02:00"))
        assert step.because == "Run 20261121-new000 of the same job takes this one's place."


def test_who_asked_is_told_without_the_account(story):
    by = "api: arn:aws:sts::123456789012:assumed-role/pipeline/ci"
    over = next_step(story.run(stop_asked_by=by), story.midnight)
    assert over.because == (
        "The run was asked to stop (api: arn:aws:sts::<account>:assumed-role/pipeline/ci)."
    )


def test_the_stop_alone_is_no_news_for_people_who_hear_of_the_end(story):
    before = story.run(attempts=[story.training(since="01:00")])
    seen = replace(before, stop_asked_by=BY)
    step = next_step(seen, story.at("02:00"))
    assert between(before, book(seen, step), step) == ()


def test_a_ledger_from_before_there_were_wishes_is_read(story):
    old = to_json(story.run())
    del old["stop_asked_by"]
    assert run_from_json(old).stop_asked_by is None
    assert run_from_json(to_json(story.run(stop_asked_by=BY))).stop_asked_by == BY
