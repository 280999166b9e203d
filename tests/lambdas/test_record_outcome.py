"""The end of a run: its summary is the execution's output, on record, told and counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lambdas.record_outcome import RunNotOverError
from nightspot.run import AttemptState, FailureClass, Outcome, run_from_json, to_json


@pytest.fixture
def over(world, metrics, midnight):
    """A run with one attempt, over with the given outcome; what was told on the way is put aside."""

    def end(outcome: Outcome, **changes):
        run = run_from_json(world.decide(world.plan()["run"])["run"])
        attempt = replace(
            run.attempts[0],
            state=AttemptState.ENDED,
            ended_at=midnight + timedelta(hours=5),
            trained_seconds=14400.0,
            billable_seconds=3600.0,
            **changes,
        )
        world.bus.entries.clear()
        metrics()
        return replace(run.with_attempt(attempt), steps=2, outcome=outcome, outcome_because="why")

    return end


def test_the_summary_is_the_answer_and_is_on_record(world, over):
    run = over(Outcome.SUCCEEDED, model_artifact="s3://models/model.tar.gz")
    summary = world.record(to_json(run))
    assert (summary["outcome"], summary["because"]) == ("succeeded", "why")
    assert (summary["deadline_met"], summary["margin_seconds"]) == (True, 3 * 3600)
    assert summary["model_artifact"] == "s3://models/model.tar.gz"
    assert world.table.history("recommender") == [summary]
    assert world.table.run(run.run_id) == run


def test_the_tokens_of_the_run_are_closed(world, over):
    run = over(Outcome.FAILED)
    name = run.attempts[0].training_job_name
    world.begin_to_wait(name, "first")
    world.record(to_json(run))
    assert world.table.waiting(name).closed


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome.SUCCEEDED, "Succeeded"),
        (Outcome.FAILED, "Failed"),
        (Outcome.SKIPPED, "Skipped"),
        (Outcome.STOPPED, "Stopped"),
    ],
)
def test_each_outcome_has_its_own_notice_and_its_own_metric(world, over, metrics, outcome, word):
    run = over(outcome)
    summary = world.record(to_json(run))
    assert world.bus.told == [f"Nightspot Run {word}"]
    assert world.bus.details()[0]["summary"] == summary
    counts = metrics()
    outcomes = {"RunSucceeded", "RunFailed", "RunSkipped", "RunStopped"}
    assert {name: counts[name] for name in outcomes & counts.keys()} == {f"Run{word}": [1]}


def test_the_notice_says_what_had_happened_before_the_end(world, over):
    run = over(Outcome.SUCCEEDED, interruptions=2)
    world.record(to_json(run))
    world.record(to_json(replace(run, said_late=True)))
    told = [detail["happened"] for detail in world.bus.details()]
    assert told == [["Interrupted"], ["Interrupted", "AtRiskOfBeingLate"]]


def test_cost_savings_and_margin_are_metrics(world, over, metrics):
    world.record(to_json(over(Outcome.SUCCEEDED)))
    counts = metrics()
    # One billed hour at $2, where four were trained.
    assert (counts["CostUsd"], counts["SavedPercent"]) == ([2.0], [75.0])
    assert counts["DeadlineMarginSeconds"] == [3 * 3600]


def test_what_is_not_known_is_not_counted_as_nothing(world, over, metrics):
    world.record(to_json(over(Outcome.FAILED, failure=FailureClass.USER_CODE)))
    counts = metrics()
    assert "SavedPercent" not in counts
    assert "DeadlineMarginSeconds" not in counts


def test_recording_twice_says_the_same_with_one_notice_id(world, over):
    run = to_json(over(Outcome.SUCCEEDED))
    assert world.record(run) == world.record(run)
    assert len(world.table.history("recommender")) == 1
    assert len({detail["notice_id"] for detail in world.bus.details()}) == 1


def test_a_notice_that_cannot_be_sent_does_not_lose_the_record(world, over, metrics, aws_fault):
    world.bus.refusal = aws_fault("InternalException")
    run = over(Outcome.SUCCEEDED)
    world.record(to_json(run))
    assert world.table.run(run.run_id) == run
    assert metrics()["NoticeLost"] == [1]


def test_a_run_without_an_outcome_is_refused_and_left_as_it_is(world, over):
    run = replace(over(Outcome.FAILED), outcome=None)
    with pytest.raises(RunNotOverError, match=run.run_id):
        world.record(to_json(run))
    assert world.bus.told == []
    assert [summary["outcome"] for summary in world.table.history("recommender")] == ["running"]
