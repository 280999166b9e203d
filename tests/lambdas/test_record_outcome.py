"""The end of a run: its summary is the execution's output, on record, told and counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.aws.runs.checkpoints import Models
from nightspot.decide.audit import UnsentEnd
from nightspot.failures.codes import FailureClass
from nightspot.lambdas.record_outcome import RunNotOverError
from nightspot.record.model import read_record
from nightspot.run.model import Action, AttemptState, Outcome, Progress, Remark, Step, run_from_json, to_json


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


def test_what_is_odd_about_a_success_is_in_answer_record_and_notice(world, over, midnight):
    progress = Progress(step=3, saved_at=midnight, total_steps=24)
    run = replace(
        over(Outcome.SUCCEEDED, model_artifact="s3://models/x/output/model.tar.gz"), progress=progress
    )
    world.models = Models(world.s3)
    summary = world.record(to_json(run))
    assert [remark["text"] for remark in summary["remarks"]] == [
        "finished at step 3 of 24",
        "the model artefact is missing",
    ]
    assert world.table.history("recommender")[0].to_json()["remarks"] == summary["remarks"]
    assert world.bus.details()[-1]["summary"]["remarks"] == summary["remarks"]
    kept = world.table.run(run.run_id)
    assert [remark.kind for remark in kept.remarks] == [Remark.UNFINISHED_STEPS, Remark.MODEL_MISSING]


def test_what_was_seen_at_the_end_stays_when_it_is_recorded_again(world, over):
    run = over(Outcome.SUCCEEDED, model_artifact=None)
    world.models = Models(world.s3)
    first = world.record(to_json(run))
    world.models = None
    again = world.record(to_json(world.table.run(run.run_id)))
    assert first["remarks"] == again["remarks"] != []


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.SUCCEEDED])
def test_without_a_success_no_model_is_looked_for(world, over, outcome):
    class Models:
        def state(self, _uri):
            raise AssertionError("looked")

    world.models = Models()
    assert world.record(to_json(over(outcome)))["remarks"] == []


def test_the_summary_is_the_answer_and_is_on_record(world, over):
    run = over(Outcome.SUCCEEDED, model_artifact="s3://models/model.tar.gz")
    summary = world.record(to_json(run))
    assert (summary["outcome"], summary["because"]) == ("succeeded", "why")
    assert (summary["deadline_met"], summary["margin_seconds"]) == (True, 3 * 3600)
    assert summary["model_artifact"] == "s3://models/model.tar.gz"
    assert [run.to_json() for run in world.table.history("recommender")] == [read_record(summary).to_json()]
    assert world.table.run(run.run_id) == run


def test_the_decisions_that_the_table_could_not_take_are_written_with_the_end(world, over, midnight):
    last = Step(2, midnight, Action.FINISH, "why", outcome=Outcome.FAILED)
    run = replace(over(Outcome.FAILED), unwritten=(last,))
    world.record(to_json(run))
    assert [step.number for step in world.table.steps(run.run_id)] == [1, 2]
    assert world.table.run(run.run_id) == replace(run, unwritten=())


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


def test_a_notice_that_could_not_be_sent_leaves_a_mark_and_what_is_counted_is_counted(
    world, over, aws_fault, midnight
):
    run = over(Outcome.SUCCEEDED)
    world.bus.refusal = aws_fault("InternalException")
    world.record(to_json(run))
    assert world.table.close_turns.untold(run.run_id) == UnsentEnd(since=midnight, is_counted=True)
    assert [each.run_id for each in world.table.open_runs.all()] == [run.run_id]


class Killed(BaseException):
    """The function's environment is gone."""


@pytest.mark.parametrize("where", ["before the record", "before the notice", "after the notice"])
def test_a_kill_on_the_way_leaves_the_mark_and_the_repetition_takes_it_away(world, over, monkeypatch, where):
    run = over(Outcome.FAILED)

    def dies(*_args, **_options):
        raise Killed

    owner, method = {
        "before the record": (world.table, "record_outcome"),
        "before the notice": (world.bus, "put_events"),
        "after the notice": (world.table.close_turns, "has_told"),
    }[where]
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, dies)
        with pytest.raises(Killed):
            world.record(to_json(run))
    untold = world.table.close_turns.untold(run.run_id)
    assert untold is not None
    assert not untold.is_counted
    world.record(to_json(run))
    assert world.table.close_turns.untold(run.run_id) is None
    assert {detail["notice_id"] for detail in world.bus.details()} == {f"{run.run_id}/end"}


def test_a_run_of_which_nothing_is_unfinished_is_forgotten(world, over):
    assert world.table.open_runs.all() == []
    run = over(Outcome.SUCCEEDED)
    assert world.table.open_runs.all()
    world.record(to_json(run))
    assert world.table.open_runs.all() == []
    assert world.table.close_turns.untold(run.run_id) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"billable_seconds": None}, id="a bill is lacking"),
        pytest.param({"state": AttemptState.STOPPING, "ended_at": None}, id="a job goes on"),
        pytest.param(
            {"failure": FailureClass.UNKNOWN, "trained_seconds": 0.0, "billable_seconds": None},
            id="nobody knows whether there is a job",
        ),
    ],
)
def test_a_run_of_which_something_is_unfinished_is_not_forgotten(world, over, changes):
    run = over(Outcome.FAILED)
    run = run.with_attempt(replace(run.attempts[0], **changes))
    world.record(to_json(run))
    assert [each.run_id for each in world.table.open_runs.all()] == [run.run_id]


def test_a_run_that_was_restarted_tells_of_the_crash_at_its_end(world, over):
    world.record(to_json(replace(over(Outcome.SUCCEEDED), restarts=1)))
    assert world.bus.details()[0]["happened"] == ["DecisionCrashed"]


def test_a_run_without_an_outcome_is_refused_and_left_as_it_is(world, over):
    run = replace(over(Outcome.FAILED), outcome=None)
    with pytest.raises(RunNotOverError, match=run.run_id):
        world.record(to_json(run))
    assert world.bus.told == []
    assert [summary.outcome for summary in world.table.history("recommender")] == ["running"]
