"""A word about progress that is older than what a run knows changes nothing; a start from nothing does."""

from dataclasses import replace

import pytest

from nightspot.decide.ledger import fold
from nightspot.run.model import Resume


@pytest.fixture
def known(story):
    """Trains since 01:00 in its second process, which has saved step 9."""
    progress = story.progress(
        9,
        "03:00",
        attempt=1,
        resumed_from_step=3,
        seconds_per_step=600.0,
        process=2,
        number=3,
        process_started_at=story.at("01:00"),
    )
    attempt = story.training(since="01:00", asked_at=story.at("00:00"))
    return story.run(attempts=[attempt], progress=progress, furthest_step=9)


@pytest.fixture
def seen(story, known):
    def look(run=known, **changes):
        view = story.view(("Starting", "00:00", "01:00"), ("Training", "01:00", None))
        progress = replace(known.progress, **changes)
        return fold(run, story.look(view, progress=progress), story.at("04:00"))

    return look


@pytest.mark.parametrize(
    "older",
    [
        {"step": 3, "number": 1},
        {"step": 9, "number": 2},
        {"process": 1, "step": 3, "number": 7, "resumed_from_step": None},
        {"process": 1, "step": 12, "number": 7, "resumed_from_step": None},
    ],
    ids=[
        "of an earlier step",
        "of the same step",
        "of an earlier process",
        "of an earlier process, further on",
    ],
)
def test_an_older_word_is_no_news_and_breaks_no_resume(story, known, seen, older):
    if "process" in older:
        older = {**older, "process_started_at": story.at("00:10")}
    run = seen(**older)

    assert run.progress == known.progress
    assert run.last_attempt.resume is not Resume.BROKEN
    assert run.last_attempt.step_after == 9


def test_a_newer_word_is_taken_whatever_the_machines_clock_says(story, seen):
    run = seen(process=3, step=9, number=1, resumed_from_step=9, process_started_at=story.at("00:30"))

    assert run.progress.process == 3
    assert run.last_attempt.resume is Resume.PROVEN


def test_a_later_process_that_counts_from_one_again_has_lost_everything(story, seen):
    run = seen(process=1, step=1, number=1, resumed_from_step=None, process_started_at=story.at("03:30"))

    assert run.progress.step == 1
    assert run.last_attempt.resume is Resume.BROKEN


def test_a_word_of_an_older_library_counts_as_ever(seen):
    assert seen(step=3, process=None, number=None).progress.step == 3


def test_in_the_ledger_of_an_older_version_whatever_is_read_next_counts(known, seen):
    older = replace(known, progress=replace(known.progress, process=None, number=None))
    assert seen(older, step=3).progress.step == 3
