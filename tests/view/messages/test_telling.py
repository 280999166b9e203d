"""Which happenings a person hears of, and when."""

import re
from pathlib import Path

import pytest

from nightspot.record.events import OF_OUTCOME, Happening
from nightspot.run.model import Outcome
from nightspot.view.messages.wording import (
    CLOSING,
    HAD_HAPPENED,
    HEARD,
    WORDINGS,
    Heard,
    happening_of,
    is_told,
    may_be_told,
)

PAGE = Path(__file__).parents[3] / "docs" / "notices.md"


def told(notice, **options):
    return is_told(notice.happening, notice.detail, **options)


def test_every_happening_has_its_moment():
    assert set(HEARD) == set(Happening)


def test_the_page_says_what_the_table_says():
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {happening.value: heard.value for happening, heard in HEARD.items()}


@pytest.mark.parametrize("happening", Happening)
def test_a_detail_type_is_read_back(happening):
    assert happening_of(happening.detail_type) is happening


def test_what_is_not_nightspot_s_is_no_happening():
    assert happening_of("SageMaker Training Job State Change") is None


@pytest.mark.parametrize("happening", [h for h in Happening if may_be_told(h)])
def test_what_may_be_told_has_words(notices, happening):
    assert happening in WORDINGS
    assert told(notices.any_of(happening))


@pytest.mark.parametrize("happening", [h for h in Happening if not may_be_told(h)])
def test_what_is_never_told_by_itself_is_not(notices, happening):
    assert happening not in WORDINGS
    assert not told(notices.at_once(happening), tell_success=True)


def test_what_is_heard_before_the_end_is_repeated_in_the_closing_message():
    before_the_end = {h for h in Happening if HEARD[h] in {Heard.AT_ONCE, Heard.AT_THE_END}} - CLOSING
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
    "happening",
    [
        Happening.FELL_BACK,
        Happening.AT_RISK,
        Happening.UNKNOWN_FAILURE,
        Happening.RESUME_BROKEN,
        Happening.DECISION_CRASHED,
    ],
)
def test_whoever_was_told_something_hears_of_a_good_end_as_well(notices, happening):
    assert told(notices.closing(notices.quiet(), happened=[happening.value]))


def test_a_happening_of_a_later_version_does_no_harm(notices):
    assert not told(notices.closing(notices.quiet(), happened=["FlewAway"]))


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.SUCCEEDED])
def test_every_end_without_a_model_is_told(notices, outcome):
    assert told(notices.closing(notices.over(outcome)))
    assert OF_OUTCOME[outcome] in CLOSING


@pytest.mark.parametrize("happening", [Happening.AT_RISK, Happening.UNKNOWN_FAILURE, Happening.RESUME_BROKEN])
def test_what_the_last_decision_brings_to_light_is_left_to_the_closing_message(notices, happening):
    assert told(notices.at_once(happening, action="start"))
    assert not told(notices.at_once(happening, action="finish"))


def test_a_crash_is_told_at_once_because_nothing_comes_after_it(notices):
    assert told(notices.crash())
