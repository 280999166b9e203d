"""Interruptions are counted, and those between which nothing new became durable are counted apart."""

import pytest

from nightspot.decide.ledger import book, fold
from nightspot.run.model import Action, Step


def cut(story, times):
    """A training job that has been interrupted so many times, ten minutes of training each."""
    history = []
    for n in range(times):
        history.append(("Training", f"01:{20 * n:02d}", f"01:{20 * n + 10:02d}"))
        history.append(("Interrupted", f"01:{20 * n + 10:02d}", f"01:{20 * n + 20:02d}" if n < 2 else None))
    return story.view(*history) if times else story.view(("Training", "01:00", None))


@pytest.fixture
def seen(story):
    """seen(run, interruptions, step=None) -> the ledger after that look."""

    def look(run, interruptions, step=None, clock="02:30"):
        progress = None if step is None else story.progress(step, "01:05", attempt=1)
        return fold(run, story.look(cut(story, interruptions), progress=progress), story.at(clock))

    return look


def without_progress(run):
    return run.last_attempt.fruitless_interruptions


def test_interruptions_without_a_new_checkpoint_add_up(story, seen):
    run = story.run(attempts=[story.attempt()])
    run = seen(run, 1, step=3)
    assert without_progress(run) == 0  # the first look: step 3 is new
    run = seen(run, 2, step=3)
    run = seen(run, 3, step=3)
    assert (without_progress(run), run.last_attempt.interruptions) == (2, 3)


def test_a_new_checkpoint_forgives_the_interruptions_before_it(story, seen):
    run = seen(story.run(attempts=[story.attempt(safe_point=3.0)]), 2, step=3)
    assert without_progress(run) == 2
    assert without_progress(seen(run, 3, step=6)) == 0


def test_a_look_at_the_same_thing_counts_nothing_twice(story, seen):
    run = seen(story.run(attempts=[story.attempt()]), 2)
    assert seen(run, 2) == run


def test_without_visible_progress_stretches_shorter_than_a_checkpoint_are_fruitless(story, seen):
    run = story.run(attempts=[story.attempt()])
    for interruptions in (1, 2, 3):
        run = seen(run, interruptions)
    assert without_progress(run) == 3


def test_a_new_attempt_starts_from_what_is_safe_already(story):
    run = story.run(progress=story.progress(9, "01:00"))
    step = Step(1, story.midnight, Action.START, "x.", attempt=1, rung=story.spot)
    assert book(run, step, "job").last_attempt.safe_point == 9


def test_the_wait_for_the_first_machine_is_kept_for_later_nights(story, seen):
    run = story.run(attempts=[story.attempt(asked_at=story.at("00:20"))])
    assert seen(run, 1).last_attempt.queued_seconds == 40 * 60
    waiting = fold(run, story.look(story.view(("Starting", "00:20", None))), story.at("02:00"))
    assert waiting.last_attempt.queued_seconds is None


@pytest.mark.parametrize(
    ("history", "ended_waiting"),
    [
        ([("Starting", "00:00", "00:30"), ("Stopped", "00:30", "00:31")], True),
        ([("Training", "00:00", "00:30"), ("Interrupted", "00:30", "00:50")], True),
        ([("Training", "00:00", "00:30"), ("Stopping", "00:30", "00:33")], False),
    ],
)
def test_an_attempt_knows_whether_it_had_a_machine_when_it_ended(story, history, ended_waiting):
    view = story.view(*history, status="Stopped", secondary_status="Stopped")
    run = fold(story.run(attempts=[story.attempt()]), story.look(view), story.at("01:00"))
    assert run.last_attempt.ended_waiting is ended_waiting
