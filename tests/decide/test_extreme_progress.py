"""The most extreme progress that the parser admits: every decision, sum and date stays finite."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.decide.ledger import fold
from nightspot.decide.policy import next_step
from nightspot.record.summary import record_of, summarise
from nightspot.run import estimates
from nightspot.run.model import MOST_WORK_SECONDS, AttemptState, Outcome, Progress, evolve, to_json
from nightspot.run.progress_file import LEAST_SECONDS_PER_STEP, MOST_SECONDS_PER_STEP, MOST_STEPS

steps = st.sampled_from([0, 1, 24, 10**6, MOST_STEPS])
paces = st.sampled_from([None, 0.0, LEAST_SECONDS_PER_STEP, 600.0, MOST_SECONDS_PER_STEP])
moments = st.sampled_from(
    [datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC) for year in (2000, 2025, 2026, 2100)]
)
progresses = st.builds(
    Progress,
    step=steps,
    saved_at=moments,
    total_steps=st.none() | steps.filter(bool),
    fraction=st.none() | st.sampled_from([0.0, 1e-300, 0.5, 1.0]),
    seconds_per_step=paces,
    attempt=st.sampled_from([None, 0, 1, 7]),
    resumed_from_step=st.none() | steps,
    process_started_at=st.none() | moments,
    metrics=st.just({"loss": 9.9e125}),
)


@given(
    before=st.none() | progresses,
    after=progresses,
    state=st.sampled_from(AttemptState),
    hours=st.integers(0, 40),
)
def test_a_run_is_decided_and_told_of_whatever_progress_it_sees(story, before, after, state, hours):
    now = story.midnight + timedelta(hours=hours)
    secondary = {AttemptState.WAITING: "Starting", AttemptState.STARTING: "Downloading"}.get(
        state, "Training"
    )
    status = {AttemptState.STOPPING: "Stopping", AttemptState.ENDED: "Completed"}.get(state, "InProgress")
    view = story.view(("Starting", "00:00", "00:05"), (secondary, "00:05", None), status=status)
    run = story.run(attempts=[story.attempt()])
    for progress in (before, after):
        run = fold(run, story.look(view, progress=progress), now)
        step = next_step(run, now)
        json.dumps(to_json(step), allow_nan=False)
    for outcome in (None, Outcome.SUCCEEDED, Outcome.FAILED):
        told = evolve(run, outcome=outcome)
        json.dumps(summarise(told).to_json(), allow_nan=False)
        json.dumps(record_of(told, [step], {}).to_json(), allow_nan=False)


def test_work_without_an_end_is_planned_for_ten_years(story):
    slow = story.training(since="00:10", seconds_per_step=MOST_SECONDS_PER_STEP)
    run = story.run(attempts=[slow], progress=story.progress(1, "00:40", total_steps=MOST_STEPS))
    assert estimates.total_work_seconds(run) == MOST_WORK_SECONDS
    assert estimates.work_left_seconds(run, replace(story.spot, speed=1e-9)) == MOST_WORK_SECONDS
    assert estimates.running_left_seconds(run, slow, story.at("00:10")) == MOST_WORK_SECONDS


def test_a_checkpoint_that_a_wrong_clock_saved_in_the_future_makes_nothing_longer(story):
    trains = story.training(since="00:10", seconds_per_step=600.0)
    saved = {clock: story.progress(3, clock, attempt=1) for clock in ("00:40", "90:00")}
    left = {
        clock: estimates.running_left_seconds(
            story.run(attempts=[trains], progress=progress), trains, story.at("01:00")
        )
        for clock, progress in saved.items()
    }
    assert left == {"00:40": 21 * 600 - 20 * 60, "90:00": 21 * 600}


@pytest.mark.parametrize("total", [1, 24])
def test_more_steps_than_there_are_leave_nothing_to_do(story, total):
    trains = story.training(since="00:10", seconds_per_step=600.0)
    run = story.run(attempts=[trains], progress=story.progress(30, "00:40", total_steps=total))
    assert (
        estimates.running_left_seconds(run, evolve(trains, state=AttemptState.STARTING), story.deadline) == 0
    )
