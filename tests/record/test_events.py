"""What in a decision is worth a word outside."""

from dataclasses import replace

import pytest

from nightspot.decide import steps
from nightspot.failures.codes import FailureClass
from nightspot.record import events as run_events
from nightspot.record.events import RunEvent
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome, Resume
from nightspot.run.reasons import Reason


@pytest.fixture
def between(story):
    """What happens when nothing is seen and the step only watches, but for what is given."""

    def between(*, before=None, after=None, step=None, late=False):
        before = before or story.run(attempts=[story.attempt()])
        watch = steps.watch(before, story.attempt(), story.midnight, 60, Reason.NOT_SHOWN_YET, {}, late=late)
        return run_events.between(before, after or before, step or watch)

    return between


@pytest.fixture
def start(story):
    def start(run, rung, **options):
        return steps.start(run, story.midnight, rung, Reason.REFUSED, {"text": "x."}, 60, **options)

    return start


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_a_happening(outcome):
    assert run_events.OF_OUTCOME[outcome].name == f"RUN_{outcome.name}"


@pytest.mark.parametrize(
    ("run_event", "detail_type"),
    [
        (RunEvent.RUN_STARTED, "Nightspot Run Started"),
        (RunEvent.INTERRUPTED, "Nightspot Interrupted"),
        (RunEvent.AT_RISK, "Nightspot At Risk Of Being Late"),
    ],
)
def test_a_notice_is_named_in_words(run_event, detail_type):
    assert run_event.detail_type == detail_type


def test_an_uneventful_look_is_not_worth_a_word(between):
    assert between() == ()


def test_a_start_is_told(story, between, start):
    run = story.run()
    assert between(before=run, step=start(run, story.spot)) == (RunEvent.ATTEMPT_STARTED,)


def test_an_interruption_is_told_once(story, between):
    once = story.run(attempts=[story.attempt(interruptions=1)])
    assert between(after=once) == (RunEvent.INTERRUPTED,)
    assert between(before=once) == ()


def test_an_unknown_failure_is_told_once(story, between):
    unknown = story.run(attempts=[story.ended(FailureClass.UNKNOWN)])
    assert between(after=unknown) == (RunEvent.UNKNOWN_FAILURE,)
    assert between(before=unknown) == ()


def test_a_known_failure_is_told_with_the_outcome_only(story, between):
    assert between(after=story.run(attempts=[story.ended(FailureClass.USER_CODE)])) == ()


def test_the_first_on_demand_attempt_after_spot_is_a_fall_back(story, between, start):
    run = story.run(attempts=[story.ended(FailureClass.NO_CAPACITY)])
    told = between(before=run, step=start(run, story.on_demand))
    assert told == (RunEvent.ATTEMPT_STARTED, RunEvent.FELL_BACK)


def test_a_second_on_demand_attempt_is_no_second_fall_back(story, between, start):
    run = story.run(attempts=[story.ended(FailureClass.NO_CAPACITY, story.on_demand)])
    assert between(before=run, step=start(run, story.on_demand)) == (RunEvent.ATTEMPT_STARTED,)


def test_a_ladder_without_spot_cannot_fall_back(story, between, start):
    run = story.run(rungs=(story.on_demand,))
    assert between(before=run, step=start(run, story.on_demand)) == (RunEvent.ATTEMPT_STARTED,)


def test_late_is_told_once(story, between):
    told = story.run(attempts=[story.attempt()], said_late=True)
    assert between(late=True) == (RunEvent.AT_RISK,)
    assert between(before=told, late=True) == ()


def test_several_things_may_happen_at_once(story, between, start):
    before = story.run(attempts=[story.attempt()])
    after = replace(before, attempts=(story.ended(FailureClass.NO_CAPACITY, interruptions=1),))
    assert between(before=before, after=after, step=start(after, story.on_demand, late=True)) == (
        RunEvent.INTERRUPTED,
        RunEvent.ATTEMPT_STARTED,
        RunEvent.FELL_BACK,
        RunEvent.AT_RISK,
    )


def test_progress_that_may_not_be_read_is_told_once(story, between):
    refused = story.run(attempts=[story.attempt()], progress_unreadable="AccessDenied")
    assert between(after=refused) == (RunEvent.PROGRESS_UNREADABLE,)
    assert between(before=refused, after=refused) == ()
    assert RunEvent.PROGRESS_UNREADABLE in run_events.of_run(refused)


def test_a_resume_that_failed_is_told_once(story, between):
    broken = story.run(attempts=[story.attempt(resume=Resume.BROKEN)])
    assert between(after=broken) == (RunEvent.RESUME_BROKEN,)
    twice = replace(broken, attempts=(*broken.attempts, story.attempt(number=2, resume=Resume.BROKEN)))
    assert between(before=broken, after=twice) == ()


@pytest.mark.parametrize(
    "seen",
    [
        {"step_before": 9, "seconds_per_step": 600.0, "resumed_from_step": 9},
        {"step_before": 9},  # nothing saved yet
        {"step_before": None, "seconds_per_step": 600.0},  # had nothing to resume from
    ],
)
def test_a_resume_that_is_proven_or_not_to_be_seen_yet_is_not_told(story, between, seen):
    assert between(after=story.run(attempts=[story.attempt(**seen)])) == ()


def test_of_a_whole_run_each_thing_that_came_to_light_is_said_once(story):
    spot = story.ended(FailureClass.UNKNOWN, interruptions=3, resume=Resume.BROKEN)
    on_demand = story.attempt(story.on_demand, number=2)
    assert run_events.of_run(story.run(attempts=[spot, on_demand], said_late=True)) == (
        RunEvent.INTERRUPTED,
        RunEvent.FELL_BACK,
        RunEvent.AT_RISK,
        RunEvent.UNKNOWN_FAILURE,
        RunEvent.RESUME_BROKEN,
    )


def test_of_a_quiet_run_nothing_came_to_light(story):
    assert run_events.of_run(story.run(attempts=[story.ended(None)])) == ()


def test_a_run_without_spot_rungs_has_not_fallen_back(story):
    run = story.run(rungs=(story.on_demand,), attempts=[story.attempt(story.on_demand)])
    assert run_events.of_run(run) == ()


@pytest.mark.parametrize("on_demand", [True, False])
@pytest.mark.parametrize("has_spot", [True, False])
def test_the_whole_run_has_fallen_back_where_its_summary_says_so(story, on_demand, has_spot):
    rungs = (story.spot, story.on_demand) if has_spot else (story.on_demand,)
    run = story.run(rungs=rungs, attempts=[story.ended(None, story.on_demand if on_demand else story.spot)])
    assert (RunEvent.FELL_BACK in run_events.of_run(run)) == summarise(run).fell_back
