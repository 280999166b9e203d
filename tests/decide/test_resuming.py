"""Whether training went on from its checkpoint, judged from the progress file; and what a failed resume changes."""

from dataclasses import replace

import pytest

from nightspot.decide.ledger import fold
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.run import estimates
from nightspot.run.model import Action, AttemptState, Resume


@pytest.fixture
def second(story):
    """The ledger after a first attempt that left step 9 behind, and the asking for a second."""
    first = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, trained_seconds=9000.0)
    attempt = story.attempt(story.on_demand, number=2, asked_at=story.at("03:00"), step_before=9)
    progress = story.progress(9, "02:50", attempt=1, seconds_per_step=600.0)
    return story.run(attempts=[first, attempt], progress=progress, furthest_step=9)


@pytest.fixture
def seen(story):
    """seen(run, progress) -> the ledger after a look at 05:00, the last attempt training since 03:10."""

    def look(run, progress, *history):
        history = history or (("Starting", "03:00", "03:10"), ("Training", "03:10", None))
        name = run.last_attempt.training_job_name
        view = replace(story.view(*history), training_job_name=name)
        return fold(run, replace(story.look(view), jobs={name: view}, progress=progress), story.at("05:00"))

    return look


def verdict(run):
    return run.last_attempt.resume


def test_a_file_that_names_the_newest_checkpoint_proves_the_resume(story, second, seen):
    progress = story.progress(9, "03:12", attempt=2, resumed_from_step=9, seconds_per_step=600.0)
    assert verdict(seen(second, progress)) is Resume.PROVEN


def test_a_checkpoint_earlier_than_the_newest_is_believed_within_one_interval(story, second, seen):
    # 30 minutes at 600 s a step are three steps.
    def resumed(step):
        progress = story.progress(step, "03:12", attempt=2, resumed_from_step=step, seconds_per_step=600.0)
        return verdict(seen(second, progress))

    assert [resumed(step) for step in (6, 5, 0)] == [Resume.PROVEN, Resume.BROKEN, Resume.BROKEN]


def test_steps_of_an_attempts_own_without_a_resume_are_a_start_from_nothing(story, second, seen):
    progress = story.progress(3, "04:00", attempt=2, seconds_per_step=600.0)
    run = seen(second, progress)
    assert verdict(run) is Resume.BROKEN
    # It stays so, however far it comes.
    later = story.progress(12, "04:50", attempt=2, seconds_per_step=600.0)
    assert verdict(seen(run, later)) is Resume.BROKEN


def test_the_old_word_of_the_attempt_before_says_nothing_yet(second, seen):
    assert verdict(seen(second, second.progress)) is Resume.NOT_VISIBLE  # silent for two intervals
    quick = (("Starting", "03:00", "04:50"), ("Training", "04:50", None))
    assert verdict(seen(second, second.progress, *quick)) is None


def test_a_script_without_a_progress_file_shows_nothing(story, second, seen):
    bare = replace(second, progress=None, furthest_step=0)
    assert verdict(seen(bare, None)) is Resume.NOT_VISIBLE


def test_a_first_start_has_nothing_to_resume_from(story, seen):
    run = story.run(attempts=[story.attempt(asked_at=story.at("03:00"))])
    assert verdict(seen(run, None)) is None
    progress = story.progress(3, "04:00", attempt=1, seconds_per_step=600.0)
    assert verdict(seen(run, progress)) is None


class TestReclaimsWithinOneJob:
    @pytest.fixture
    def cut(self, story, seen):
        """One look while it waits for another machine: step 9 is safe, of a process that began from nothing."""
        run = story.run(attempts=[story.attempt(asked_at=story.at("03:00"))])
        progress = story.progress(9, "04:30", attempt=1, seconds_per_step=600.0)
        history = (("Training", "03:10", "04:40"), ("Interrupted", "04:40", None))
        return seen(run, progress, *history)

    HISTORY = (
        ("Training", "03:10", "04:40"),
        ("Interrupted", "04:40", "04:45"),
        ("Training", "04:45", None),
    )

    def test_nothing_is_said_before_the_process_says_it(self, cut, seen):
        assert verdict(cut) is None
        assert verdict(seen(cut, cut.progress, *self.HISTORY)) is None

    def test_the_new_processs_word_proves_it(self, story, cut, seen):
        progress = story.progress(9, "04:46", attempt=1, resumed_from_step=9, seconds_per_step=600.0)
        assert verdict(seen(cut, progress, *self.HISTORY)) is Resume.PROVEN

    def test_a_step_that_goes_back_further_than_one_interval_is_broken(self, story, cut, seen):
        progress = story.progress(3, "04:58", attempt=1, seconds_per_step=600.0)
        assert verdict(seen(cut, progress, *self.HISTORY)) is Resume.BROKEN

    def test_a_new_process_that_began_from_nothing_is_found_out_however_far_it_is(self, story, cut, seen):
        # Nobody looked while its steps were low.
        first = replace(cut.progress, process_started_at=story.at("03:10"))
        run = seen(cut, first, *self.HISTORY)
        again = story.progress(12, "04:59", attempt=1, process_started_at=story.at("04:45"))
        assert verdict(seen(run, again, *self.HISTORY)) is Resume.BROKEN
        resumed = replace(again, resumed_from_step=9, seconds_per_step=600.0)
        assert verdict(seen(run, resumed, *self.HISTORY)) is Resume.PROVEN

    def test_the_old_resume_of_a_process_that_went_on_is_not_taken_for_the_new_ones(self, story, cut, seen):
        first = story.progress(9, "04:46", attempt=1, resumed_from_step=9, seconds_per_step=600.0)
        run = seen(cut, first, *self.HISTORY)
        further = story.progress(15, "04:59", attempt=1, resumed_from_step=9, seconds_per_step=600.0)
        assert verdict(seen(run, further, *self.HISTORY)) is Resume.PROVEN
        assert verdict(seen(seen(run, further, *self.HISTORY), further, *self.HISTORY)) is Resume.PROVEN


class TestAfterAFailedResume:
    @pytest.fixture
    def broken(self, story):
        return story.training(since="01:00", resume=Resume.BROKEN, trained_seconds=3600.0)

    def test_nothing_is_safe_any_more(self, story, broken):
        run = story.run(attempts=[broken], progress=story.progress(12, "01:50", fraction=0.5))
        assert estimates.durable_fraction(run) == 0
        assert estimates.lost_work_seconds(run, story.spot) == run.work_upper_seconds

    def test_spot_gives_way_while_on_demand_is_in_time_from_the_beginning(self, story, broken):
        step = next_step(story.run(attempts=[broken]), story.at("02:53"))
        assert step.action is Action.STOP
        assert "did not continue from its checkpoint" in step.because
        ended = replace(broken, state=AttemptState.ENDED, failure=FailureClass.STOPPED_BY_NIGHTSPOT)
        assert next_step(story.run(attempts=[ended]), story.at("02:56")).rung == story.on_demand

    @pytest.mark.parametrize("clock", ["02:53", "02:55"])
    def test_the_sentence_says_which_step_became_which(self, story, broken, clock):
        # Batches have become epochs, perhaps.
        progress = story.progress(3, "02:50", attempt=1, total_steps=None)
        step = next_step(story.run(attempts=[broken], progress=progress, furthest_step=500), story.at(clock))
        assert "continue from its checkpoint: step numbers fell from 500 to 3" in step.because

    def test_it_is_left_alone_once_on_demand_would_be_late(self, story, broken):
        step = next_step(story.run(attempts=[broken]), story.at("02:55"))
        assert step.action is Action.WATCH
        assert "would not be in time; expected" in step.because

    def test_a_job_without_a_machine_is_not_waited_for(self, story, broken):
        waiting = replace(broken, state=AttemptState.WAITING, state_since=story.at("06:00"))
        step = next_step(story.run(attempts=[waiting]), story.at("06:01"))
        assert step.action is Action.STOP

    def test_on_demand_is_never_stopped_for_it(self, story):
        training = story.training(story.on_demand, since="03:00", resume=Resume.BROKEN)
        assert next_step(story.run(attempts=[training]), story.at("04:00")).action is Action.WATCH


@pytest.fixture
def retried(story):
    """The ledger of a run that continues from step 9 of another one, with a first attempt of its own."""
    left = story.progress(9, "00:00", attempt=1, seconds_per_step=600.0)
    attempt = story.attempt(asked_at=story.at("03:00"), step_before=9)
    return story.run(
        attempts=[attempt],
        inherited=left,
        progress=replace(left, attempt=0),
        furthest_step=9,
        resume_from="20261120-aaaaaa",
    )


def test_what_another_run_has_left_is_no_word_of_the_first_attempt(story, retried, seen):
    run = seen(retried, retried.inherited)
    assert run.progress == replace(retried.inherited, attempt=0)
    assert run.last_attempt.seconds_per_step is None
    # It has trained for longer than two intervals, and said nothing of its own.
    assert verdict(run) is Resume.NOT_VISIBLE


@pytest.mark.parametrize(
    ("resumed_from", "step", "expected"),
    [(9, 9, Resume.PROVEN), (None, 2, Resume.BROKEN), (0, 1, Resume.BROKEN)],
)
def test_the_first_attempt_s_own_word_proves_the_resume_or_breaks_it(
    story, retried, seen, resumed_from, step, expected
):
    own = story.progress(step, "03:12", attempt=1, resumed_from_step=resumed_from, seconds_per_step=600.0)
    assert verdict(seen(retried, own)) is expected


def test_where_nobody_sees_progress_a_retry_s_resume_is_not_visible(story, retried, seen):
    unseen = replace(retried, inherited=None, progress=None, furthest_step=0, inherited_fraction=0.5)
    assert verdict(seen(unseen, None)) is Resume.NOT_VISIBLE
    assert verdict(seen(replace(unseen, inherited_fraction=0.0), None)) is None


def test_what_the_other_run_had_done_by_its_own_estimate_need_not_be_done_again(story):
    run = story.run(resume_from="20261120-aaaaaa", inherited_fraction=0.5)
    assert estimates.work_left_seconds(run, story.on_demand) == run.work_upper_seconds / 2
