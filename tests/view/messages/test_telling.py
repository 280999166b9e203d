"""Which events a person hears of, and when."""

import re
from pathlib import Path

import pytest

from nightspot.record.events import OF_OUTCOME, RunEvent
from nightspot.run.model import Outcome
from nightspot.view.messages.wording import (
    CLOSING,
    HAD_HAPPENED,
    NOTIFY_WHEN,
    WORDINGS,
    NotifyWhen,
    is_told,
    may_be_told,
    run_event_of,
)

PAGE = Path(__file__).parents[3] / "docs" / "notices.md"


def told(notice, **options):
    return is_told(notice.run_event, notice.detail, **options)


def test_every_happening_has_its_moment():
    assert set(NOTIFY_WHEN) == set(RunEvent)


def test_the_page_says_what_the_table_says():
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {run_event.value: heard.value for run_event, heard in NOTIFY_WHEN.items()}


@pytest.mark.parametrize("run_event", RunEvent)
def test_a_detail_type_is_read_back(run_event):
    assert run_event_of(run_event.detail_type) is run_event


def test_what_is_not_nightspot_s_is_no_happening():
    assert run_event_of("SageMaker Training Job State Change") is None


@pytest.mark.parametrize("run_event", [h for h in RunEvent if may_be_told(h)])
def test_what_may_be_told_has_words(notices, run_event):
    assert run_event in WORDINGS
    assert told(notices.any_of(run_event))


@pytest.mark.parametrize("run_event", [h for h in RunEvent if not may_be_told(h)])
def test_what_is_never_told_by_itself_is_not(notices, run_event):
    assert run_event not in WORDINGS
    assert not told(notices.at_once(run_event), tell_success=True)


def test_what_is_heard_before_the_end_is_repeated_in_the_closing_message():
    before_the_end = {
        h for h in RunEvent if NOTIFY_WHEN[h] in {NotifyWhen.AT_ONCE, NotifyWhen.AT_THE_END}
    } - CLOSING
    assert before_the_end <= set(HAD_HAPPENED)


def test_a_success_in_time_is_quiet_unless_the_deployment_says_so(notices):
    quiet = notices.closing(notices.quiet())
    assert not told(quiet)
    assert told(quiet, tell_success=True)


def test_a_success_with_remarks_is_not_quiet(notices):
    remarks = [{"kind": "model_empty", "text": "the model artefact is empty"}]
    assert told(notices.closing(notices.quiet(), summary={"remarks": remarks}))


def test_interruptions_alone_do_not_make_a_success_loud(notices):
    assert not told(notices.closing(notices.quiet(interruptions=3)))


def test_a_late_success_is_not_quiet(notices, story):
    run = notices.quiet()
    assert told(notices.closing(run, summary={"deadline_met": False}))


def test_a_success_of_which_nobody_knows_whether_it_was_in_time_is_not_quiet(notices):
    assert told(notices.closing(notices.quiet(), summary={"deadline_met": None}))


@pytest.mark.parametrize(
    "run_event",
    [
        RunEvent.FELL_BACK,
        RunEvent.AT_RISK,
        RunEvent.UNKNOWN_FAILURE,
        RunEvent.RESUME_BROKEN,
        RunEvent.DECISION_CRASHED,
    ],
)
def test_whoever_was_told_something_hears_of_a_good_end_as_well(notices, run_event):
    assert told(notices.closing(notices.quiet(), happened=[run_event.value]))


def test_a_run_event_of_a_later_version_does_no_harm(notices):
    assert not told(notices.closing(notices.quiet(), happened=["FlewAway"]))


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.SUCCEEDED])
def test_every_end_without_a_model_is_told(notices, outcome):
    assert told(notices.closing(notices.over(outcome)))
    assert OF_OUTCOME[outcome] in CLOSING


@pytest.mark.parametrize("run_event", [RunEvent.AT_RISK, RunEvent.UNKNOWN_FAILURE, RunEvent.RESUME_BROKEN])
def test_what_the_last_decision_brings_to_light_is_left_to_the_closing_message(notices, run_event):
    assert told(notices.at_once(run_event, action="start"))
    assert not told(notices.at_once(run_event, action="finish"))


def test_a_crash_is_told_at_once_because_nothing_comes_after_it(notices):
    assert told(notices.crash())
