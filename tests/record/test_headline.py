"""The sentence that stands first in a summary: how the run ended, when, and what it cost."""

from dataclasses import replace

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.record.model import Ending
from nightspot.record.sentences import HEADLINES
from nightspot.record.summary import summarise
from nightspot.run.model import AttemptState, Outcome


@pytest.fixture
def ended(story):
    """`ended("05:12", outcome, **changes)`: an attempt that trained from 01:00, and the run that it was."""

    def run_of(clock="05:12", outcome=Outcome.SUCCEEDED, failure=None, **changes):
        trained = (story.at(clock) - story.at("01:00")).total_seconds()
        fields = {
            "state": AttemptState.ENDED,
            "status": "Failed" if failure else "Completed",
            "ended_at": story.at(clock),
            "failure": failure,
            "trained_seconds": trained,
            "worked_seconds": trained,
            "billable_seconds": trained * 0.3,
            **changes,
        }
        attempt = replace(story.training(since="01:00"), **fields)
        return story.run(attempts=(attempt,), outcome=outcome, outcome_because="so")

    return run_of


def test_a_model_in_time_has_its_time_its_margin_and_its_saving(ended):
    assert summarise(ended()).headline == (
        "The model was ready at 05:12 UTC, 2 h 48 min before the deadline; $41.58, 70 % less than on-demand."
    )


def test_a_model_that_is_late_says_by_how_much(ended):
    assert "ready at 08:30 UTC, 30 min after the deadline; " in summarise(ended("08:30")).headline


def test_a_saving_that_was_none_is_told_as_it_is(ended):
    trained = 4 * 3600 + 12 * 60
    dear = summarise(ended(billable_seconds=trained * 1.1)).headline
    assert dear.endswith("10 % more than on-demand.")
    assert summarise(ended(billable_seconds=trained)).headline.endswith(", as much as on-demand.")


def test_under_an_idle_savings_plan_the_whole_cost_is_more_than_on_demand(ended):
    run = ended()
    covered = tuple(replace(rung, least_usd_per_hour=0.0) for rung in run.rungs)
    told = summarise(replace(run, rungs=covered)).headline
    assert told.endswith("; $41.58, $41.58 more than on-demand.")


def test_what_is_not_known_is_not_said(ended):
    assert summarise(ended(billable_seconds=None)).headline.endswith("its cost is not known, at least $0.00.")


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.SUCCEEDED])
def test_every_end_without_a_model_has_its_sentence_and_its_cost(ended, story, outcome):
    told = summarise(ended(outcome=outcome, failure=FailureClass.USER_CODE)).headline
    assert told.startswith(HEADLINES[Ending(outcome.value)].rstrip("."))
    assert told.endswith("; $41.58.")
    assert summarise(story.run(outcome=outcome)).headline == HEADLINES[Ending(outcome.value)]


def test_an_open_run_says_so(story, ended):
    assert summarise(story.run()).headline == "The run is still going on."
    assert "still going on; $41.58 so far" in summarise(ended(outcome=None)).headline


def test_it_is_the_first_word_of_the_summary(story):
    assert next(iter(summarise(story.run()).to_json())) == "headline"


def test_every_ending_has_a_sentence():
    assert set(HEADLINES) == set(Ending)
