"""What an interruption can take is learnt from how far the progress in S3 is behind a training that goes on."""

from dataclasses import replace

import pytest

from nightspot.decide import ladder
from nightspot.decide.ledger import fold
from nightspot.run import estimates
from nightspot.run.model import Resume, run_from_json, to_json


@pytest.fixture
def seen(story):
    """seen(at, saved_at) -> the ledger after a look; the attempt has been in `status` since 01:00."""

    def look(at, saved_at, run=None, status="Training", **changes):
        run = run or story.run(attempts=[story.attempt()])
        view = story.view(("Starting", "00:00", "01:00"), (status, "01:00", None))
        progress = story.progress(3, saved_at, **{"attempt": 1, **changes})
        return fold(run, story.look(view, progress=progress), story.at(at))

    return look


def test_a_checkpoint_that_shows_itself_later_than_it_is_due_makes_an_interruption_dearer(seen):
    run = seen("02:40", "02:00")

    assert run.behind_seconds == 2400
    assert estimates.interval_seconds(run) == 2400


def test_as_long_as_it_is_in_time_the_job_file_s_interval_counts(seen):
    assert estimates.interval_seconds(seen("02:20", "02:00")) == 1800


def test_the_longest_delay_of_the_run_counts(seen):
    first = seen("02:40", "02:00")
    second = seen("02:55", "02:50", run=first)

    assert estimates.interval_seconds(second) == 2400


def test_what_was_saved_before_this_stretch_counts_from_its_beginning(seen):
    assert seen("01:10", "00:10").behind_seconds == 600


@pytest.mark.parametrize("status", ["Starting", "Downloading", "Uploading", "Stopping", "Interrupted"])
def test_only_training_can_be_ahead_of_its_checkpoint(seen, status):
    assert seen("04:00", "02:00", status=status).behind_seconds == 0


def test_a_script_that_has_said_nothing_yet_is_not_known_to_be_ahead(seen):
    assert seen("04:00", "00:30", attempt=0).behind_seconds == 0


def test_a_machine_s_clock_that_is_ahead_measures_nothing(seen):
    assert seen("02:00", "03:00").behind_seconds == 0


def test_the_last_safe_moment_comes_as_much_earlier(story):
    asked = story.run(attempts=[story.attempt()])
    late = replace(asked, behind_seconds=2400.0)
    now = story.at("00:10")

    assert ladder.last_safe_at(asked, now) == story.at("02:14")
    assert ladder.last_safe_at(late, now) == story.at("02:04")


def test_a_broken_resume_leaves_nothing_to_count_on(story):
    run = story.run(attempts=[story.attempt(resume=Resume.BROKEN)], behind_seconds=2400.0)
    assert estimates.interval_seconds(run) == float("inf")


def test_an_older_ledger_knows_of_no_delay(story):
    older = {name: value for name, value in to_json(story.run()).items() if name != "behind_seconds"}
    assert run_from_json(older).behind_seconds == 0
