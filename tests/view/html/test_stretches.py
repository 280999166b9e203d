"""The night as one row of stretches: nothing is missing between them, nothing is told twice."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.job.markets import Market
from nightspot.record.model import read_record
from nightspot.run.model import AttemptState
from nightspot.view.html.theme import _KINDS, WORDS, StretchKind, kind_of, stretches_of


def lengths(stretches):
    sums = dict.fromkeys(StretchKind, 0.0)
    for stretch in stretches:
        sums[stretch.kind] += stretch.seconds
    return sums


def assert_whole(run, stretches):
    assert stretches[0].started_at == run.started_at
    assert stretches[-1].ended_at == run.over_at
    assert all(first.ended_at == second.started_at for first, second in pairwise(stretches))
    assert all(stretch.seconds > 0 for stretch in stretches)
    night = (run.over_at - run.started_at).total_seconds()
    assert sum(stretch.seconds for stretch in stretches) == pytest.approx(night, abs=1e-6)


def test_the_stretches_are_the_night_without_gap_or_overlap(record):
    run = read_record(record)
    assert_whole(run, stretches_of(run))


def test_they_tell_the_story_in_order(record):
    told = [stretch.kind for stretch in stretches_of(read_record(record))]
    lived = [StretchKind.STARTING, StretchKind.TRAINING_ON_SPOT, StretchKind.INTERRUPTED]
    assert told == [
        StretchKind.NOTHING,
        *(StretchKind.ASKED, StretchKind.WAITING, *lived, *lived, StretchKind.STOPPING),
        StretchKind.NOTHING,
        *(StretchKind.ASKED, StretchKind.WAITING, StretchKind.STARTING, StretchKind.TRAINING_ON_DEMAND),
        StretchKind.NOTHING,
    ]


def test_what_was_waited_and_trained_is_what_the_attempts_say(record):
    run = read_record(record)
    sums = lengths(stretches_of(run))
    waited = sum(attempt.waited_seconds for attempt in run.attempts)
    trained = sum(attempt.trained_seconds for attempt in run.attempts)
    assert sums[StretchKind.WAITING] + sums[StretchKind.INTERRUPTED] == pytest.approx(waited, abs=1)
    training = sums[StretchKind.TRAINING_ON_SPOT] + sums[StretchKind.TRAINING_ON_DEMAND]
    assert training + sums[StretchKind.STARTING] == pytest.approx(trained, abs=2)


def test_what_was_known_goes_on_until_something_else_is(record):
    """SageMaker's history may have a hole, such as a status that the ledger does not know."""
    phases = record["attempts"][0]["phases"]
    waited = [phase["state"] for phase in phases].index("waiting")
    began = phases[waited + 1]["started_at"]
    phases[waited]["ended_at"] = phases[waited]["started_at"]
    told = stretches_of(read_record(record))
    waiting = next(stretch for stretch in told if stretch.kind is StretchKind.WAITING)
    assert waiting.ended_at == datetime.fromisoformat(began)


def test_a_record_without_phases_is_told_as_far_as_it_goes(old_record):
    run = read_record(old_record)
    stretches = stretches_of(run)
    assert_whole(run, stretches)
    assert {stretch.kind for stretch in stretches} == {StretchKind.NOTHING, StretchKind.NOT_TOLD}


def test_a_night_under_way_ends_where_its_record_does(changed):
    running = changed(
        outcome="running",
        ended_at=None,
        margin_seconds=None,
        attempt={"ended_at": None, "status": "InProgress"},
    )
    running["steps"] = running["steps"][:-1]
    running["attempts"][-1]["phases"][-1]["ended_at"] = None
    run = read_record(running)
    assert_whole(run, stretches_of(run))
    assert stretches_of(run)[-1].kind is StretchKind.TRAINING_ON_DEMAND


def test_a_run_that_never_asked_for_anything_is_one_stretch_or_none(changed):
    idle = changed(attempts=[], ended_at=None)
    assert [stretch.kind for stretch in stretches_of(read_record(idle))] == [StretchKind.NOTHING]
    assert stretches_of(read_record({**idle, "steps": []})) == ()


@pytest.mark.parametrize("state", AttemptState)
def test_every_state_of_an_attempt_has_its_kind(state):
    assert state in _KINDS
    assert kind_of(state, Market.SPOT, had_a_machine=False) is _KINDS[state]


def test_where_it_trains_and_whether_it_was_taken_tell_kinds_apart():
    training, waiting = AttemptState.TRAINING, AttemptState.WAITING
    assert kind_of(training, Market.ON_DEMAND, had_a_machine=True) is StretchKind.TRAINING_ON_DEMAND
    assert kind_of(training, Market.SPOT, had_a_machine=True) is StretchKind.TRAINING_ON_SPOT
    assert kind_of(waiting, Market.SPOT, had_a_machine=True) is StretchKind.INTERRUPTED


def test_every_kind_has_words_of_its_own():
    assert set(WORDS) == set(StretchKind)
    assert len(set(WORDS.values())) == len(StretchKind)


MOMENTS = st.integers(0, 40_000)


@given(
    asked=MOMENTS,
    ended=MOMENTS,
    phases=st.lists(st.tuples(st.sampled_from(list(AttemptState)), MOMENTS, MOMENTS), max_size=8),
    more=st.lists(st.tuples(MOMENTS, MOMENTS), max_size=3),
)
def test_whatever_the_record_says_the_stretches_add_up_to_the_night(asked, ended, phases, more):
    start = datetime.fromisoformat("2026-11-21T00:00:00+00:00")

    def at(seconds):
        return (start + timedelta(seconds=seconds)).isoformat()

    def attempt(number, asked_at, ended_at, history=()):
        return {
            "number": number,
            "training_job_name": f"job-{number}",
            "market": "spot",
            "instance_type": "ml.p4d.24xlarge",
            "asked_at": at(asked_at),
            "ended_at": at(ended_at),
            "phases": [
                {"state": state, "started_at": at(begin), "ended_at": at(end)}
                for state, begin, end in history
            ],
        }

    attempts = [attempt(1, asked, ended, phases)]
    attempts += [attempt(number, *moments) for number, moments in enumerate(more, 2)]
    run = read_record(
        {
            "job": "recommender",
            "run_id": "one",
            "outcome": "failed",
            "started_at": at(0),
            "deadline": at(28_800),
            "attempts": attempts,
        }
    )
    stretches = stretches_of(run)
    if run.over_at > run.started_at:
        assert_whole(run, stretches)
    else:
        assert stretches == ()
