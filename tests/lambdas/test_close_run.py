"""A run whose execution ended without recording it: stopped, closed, told of once, and its bill completed later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from nightspot.aws.faults import NotYetError, TransientAwsError
from nightspot.aws.runs.executions import restart_arn
from nightspot.aws.table import run_table
from nightspot.cli import _shared
from nightspot.cli._shared import ExitStatus
from nightspot.decide import ladder
from nightspot.decide.audit import Execution, ExecutionState
from nightspot.failures.codes import FailureClass
from nightspot.formats.run_ids import first_run_id_of
from nightspot.lambdas import close_run
from nightspot.lambdas.close_run import ENDS
from nightspot.lambdas.settling import OUTCOME_OF, WORDS_OF
from nightspot.local.stage.emulated_aws import LocalContext
from nightspot.plan import planning
from nightspot.run.model import Action, AttemptState, Outcome, run_from_json, to_json

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


def test_an_aborted_run_is_closed_as_stopped_and_its_training_job_is_asked_to_stop(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    assert night.execution_ends()
    assert night.stops == [name]
    recorded = night.recorded(run)
    assert recorded.outcome is Outcome.STOPPED
    assert recorded.outcome_because == (
        f"The execution was aborted by hand in Step Functions at 03:12 UTC; training job {name} was asked to stop. "
        f"Its cost is counted once it is over."
    )
    (summary,) = world.table.history("recommender")
    assert (summary.outcome, summary.because) == ("stopped", recorded.outcome_because)


def test_the_end_is_the_last_decision_of_the_run_s_story(night, world):
    run = night.trains()
    night.execution_ends()
    *_, last = world.table.steps(run.run_id)
    assert (last.action, last.outcome) == (Action.FINISH, Outcome.STOPPED)
    assert last.because == night.recorded(run).outcome_because


def test_people_hear_of_it_as_of_every_end(night, world, metrics):
    night.trains()
    metrics()
    night.execution_ends()
    assert world.bus.told == ["Nightspot Run Stopped"]
    (detail,) = world.bus.details()
    assert detail["summary"]["outcome"] == "stopped"
    counts = metrics()
    assert (counts["RunStopped"], counts["RunLeftOpen"]) == ([1], [1])


def test_progress_that_may_not_be_read_is_on_record_and_in_what_people_hear(night, world, aws_fault):
    class Locked:
        def list_objects_v2(self, **_prefix):
            raise aws_fault("AccessDenied", "kms:Decrypt")

        get_object = list_objects_v2

    night.trains()
    world.s3 = Locked()
    night.execution_ends()
    (detail,) = world.bus.details()
    assert "kms:Decrypt" in detail["summary"]["progress_unreadable"]
    assert "ProgressUnreadable" in detail["happened"]


def test_what_the_run_held_is_free_again(night, world):
    run = night.trains()
    night.execution_ends()
    assert world.table.waiting(run.attempts[0].training_job_name).closed
    until = world.now + timedelta(hours=1)
    assert world.lock.acquire("recommender", "next", "arn", now=world.now, until=until) is None


def test_a_lock_that_could_not_be_freed_is_freed_by_the_event_s_return(night, world, monkeypatch):
    run = night.trains()

    def fails(*_: str) -> bool:
        raise TransientAwsError("DynamoDB is throttled")

    with monkeypatch.context() as patched:
        patched.setattr(world.lock, "release", fails)
        with pytest.raises(TransientAwsError):
            night.execution_ends()
    assert night.execution_ends()
    assert night.recorded(run).outcome is Outcome.STOPPED
    until = world.now + timedelta(hours=1)
    assert world.lock.acquire("recommender", "next", "arn", now=world.now, until=until) is None


def test_what_has_been_trained_by_then_is_on_record_and_its_cost_is_not_known_yet(night, world):
    run = night.trains()
    night.execution_ends()
    (summary,) = world.table.history("recommender")
    assert summary.trained_seconds == 2 * 3600 + 55 * 60
    assert (summary.cost_usd, summary.missing) == (None, ("billable_seconds",))
    assert summary.spent_usd > 0
    assert world.table.phases(run.run_id)[1]


@pytest.mark.parametrize("state", ExecutionState)
def test_every_end_has_an_outcome_and_words(state):
    is_end = Execution("arn", state).is_over
    assert (state in OUTCOME_OF, state in WORDS_OF) == (is_end, is_end)
    assert set(OUTCOME_OF.values()) == {Outcome.STOPPED, Outcome.FAILED}
    assert OUTCOME_OF.keys() > ENDS


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
def test_after_a_crash_another_execution_goes_on_with_the_run_and_its_training_job(
    night, world, metrics, status
):
    run = night.trains()
    night.ends(EXECUTION, status)
    metrics()
    assert not night.execution_ends(status)
    arn = f"{EXECUTION.removesuffix('one')}recommender-{run.run_id}-r1"
    assert world.step_functions.started == {arn: {"continue_run": run.run_id}}
    assert night.stops == []
    assert night.recorded(run).outcome is None
    assert world.bus.told == []
    assert metrics() == {"SomethingEnded": [1], "RunRestarted": [1]}


def test_the_event_is_believed_though_step_functions_still_shows_the_execution_as_running(night, world):
    night.trains()
    assert not night.execution_ends("FAILED")
    assert len(world.step_functions.started) == 1


def test_the_same_crash_told_twice_starts_one_execution(night, world):
    night.trains()
    night.crashes()
    night.crashes()
    assert len(world.step_functions.started) == 1


def test_a_crash_of_an_execution_that_has_the_run_no_more_is_old_news(night, world):
    run = night.trains()
    night.crashes()
    (arn,) = world.step_functions.started
    world.plan({"continue_run": run.run_id}, execution=arn)
    night.crashes()
    assert len(world.step_functions.started) == 1
    assert night.recorded(run).outcome is None


@pytest.mark.parametrize(
    ("status", "outcome"), [("Completed", Outcome.SUCCEEDED), ("Failed", Outcome.FAILED)]
)
def test_a_run_that_is_restarted_no_more_is_closed_as_its_training_job_ends(night, world, status, outcome):
    run = night.trains()
    night.restarts_are_used_up(run)
    assert not night.crashes()
    assert (night.recorded(run).outcome, night.stops) == (None, [])
    name = run.attempts[0].training_job_name
    night.shows(name, status, BillableTimeInSeconds=3600)
    assert night.training_job_ends(name, status)
    after = night.recorded(run)
    assert after.outcome is outcome
    assert "failed in Step Functions at 03:12 UTC" in after.outcome_because
    assert world.bus.told == [f"Nightspot Run {outcome.value.title()}"]
    assert "DecisionCrashed" in world.bus.details()[0]["happened"]  # who heard of it hears of the good end
    assert world.table.history("recommender")[0].cost_usd == 2.0


def test_a_crash_past_the_time_at_which_a_run_gives_up_is_restarted_no_more(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.shows(name, "Failed", BillableTimeInSeconds=60)
    late = ladder.give_up_at(run)
    world.now = late + timedelta(seconds=1)
    night.ends(EXECUTION)
    assert night.execution_ends("FAILED", stopDate=int(late.timestamp() * 1000))
    assert world.step_functions.started == {}
    assert night.recorded(run).outcome is Outcome.FAILED


def test_the_second_restart_comes_after_five_minutes_and_the_third_after_half_an_hour(night, world):
    run = night.trains()
    arns = [restart_arn(run, number, like=EXECUTION) for number in (1, 2, 3)]
    night.crashes()
    for number, minutes in ((1, 5), (2, 30)):
        world.step_functions.ends[arns[number - 1]] = {"status": "FAILED", "stopDate": world.now}
        world.pass_time(minutes=minutes, seconds=-1)
        world.reconcile()
        assert len(world.step_functions.started) == number
        world.pass_time(seconds=1)
        world.reconcile()
        assert list(world.step_functions.started) == arns[: number + 1]


def test_an_execution_that_died_before_it_had_the_run_is_followed_by_the_next(night, world):
    run = night.trains()
    night.crashes()
    first, second = (restart_arn(run, number, like=EXECUTION) for number in (1, 2))
    world.step_functions.ends[first] = {"status": "FAILED", "stopDate": world.now}
    world.pass_time(minutes=5)
    world.reconcile()
    assert list(world.step_functions.started) == [first, second]


def test_a_restart_that_somebody_aborts_is_that_person_s_stop(night, world):
    run = night.trains()
    night.crashes()
    (arn,) = world.step_functions.started
    world.step_functions.over.add(arn)
    given = f'{{"continue_run": "{run.run_id}"}}'
    assert night.execution_ends(executionArn=arn, input=given)
    assert night.recorded(run).outcome is Outcome.STOPPED
    assert night.stops == [run.attempts[0].training_job_name]


def test_a_run_whose_plan_was_not_made_to_the_end_is_not_gone_on_with(night, world):
    run = run_from_json(world.plan()["run"])
    world.table.open_runs.forget(run.run_id)
    assert night.crashes()
    assert world.step_functions.started == {}
    assert night.recorded(run).outcome is Outcome.FAILED


def test_a_crash_is_told_with_its_error_and_without_secrets(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.restarts_are_used_up(run)
    (last,) = (restart_arn(run, 3, like=EXECUTION),)
    cause = f"KeyError: ann@example.com {'x' * 500}"
    night.ends(last, error="Nightspot.DecisionCrashed", cause=cause)
    night.shows(name, "Failed", FailureReason="ClientError: no such bucket", BillableTimeInSeconds=60)
    assert night.crashes()
    because = night.recorded(run).outcome_because
    assert "failed in Step Functions at 03:12 UTC (Nightspot.DecisionCrashed: KeyError: " in because
    assert "ann@example.com" not in because
    assert len(because) < 600
    assert world.bus.told == ["Nightspot Run Failed"]


def test_the_stop_after_an_abort_is_the_person_s(night):
    run = night.trains()
    night.execution_ends()
    name = run.attempts[0].training_job_name
    night.shows(name, "Stopped", BillableTimeInSeconds=3600, TrainingTimeInSeconds=10_440)
    night.training_job_ends(name)
    assert night.recorded(run).attempts[0].failure is FailureClass.STOPPED_BY_PERSON


def test_the_same_event_again_does_nothing(night, world):
    run = night.trains()
    night.execution_ends()
    before = night.recorded(run)
    assert not night.execution_ends()
    assert night.recorded(run) == before
    assert (len(night.stops), len(world.bus.told)) == (1, 1)


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "PENDING_REDRIVE", "NEVER_HEARD_OF"])
def test_an_execution_that_is_not_over_or_ended_well_is_left_alone(night, status):
    run = night.trains()
    assert not night.execution_ends(status)
    assert night.recorded(run).outcome is None
    assert night.stops == []


def test_a_run_that_recorded_its_own_end_is_left_as_it_is(night, world):
    run = night.trains()
    ended = replace(run.attempts[0], state=AttemptState.ENDED, ended_at=world.now, billable_seconds=60.0)
    run = replace(run.with_attempt(ended), outcome=Outcome.FAILED, outcome_because="why", steps=9)
    world.record(to_json(run))
    world.bus.entries.clear()
    assert not night.execution_ends("FAILED")
    assert night.recorded(run).outcome_because == "why"
    assert (night.stops, world.bus.told) == ([], [])


def test_a_run_that_had_decided_its_end_and_not_recorded_it_is_recorded_as_decided(night, world):
    run = night.trains()
    (step,) = world.table.steps(run.run_id)[-1:]
    decided = replace(run, outcome=Outcome.FAILED, outcome_because="the script failed", steps=9)
    world.table.record_step(run, decided, step)
    assert [summary.outcome for summary in world.table.history("recommender")] == ["running"]
    assert night.execution_ends("FAILED")
    (summary,) = world.table.history("recommender")
    assert (summary.outcome, summary.because) == ("failed", "the script failed")
    assert world.bus.told == ["Nightspot Run Failed"]
    assert not night.execution_ends("FAILED")


def test_a_run_that_was_aborted_while_it_was_planned_is_closed_once_it_is_on_record(night, world):
    world.now = MIDNIGHT + timedelta(hours=3.2, seconds=3)
    with pytest.raises(NotYetError, match="may still be planned"):
        night.execution_ends()
    run = run_from_json(world.plan()["run"])
    world.bus.entries.clear()
    world.pass_time(minutes=3)
    assert night.execution_ends()
    assert night.recorded(run).outcome is Outcome.STOPPED
    assert world.bus.told == ["Nightspot Run Stopped"]


@pytest.mark.parametrize(
    ("status", "seconds", "may_come"),
    [
        ("ABORTED", 119, True),
        ("TIMED_OUT", 119, True),
        ("FAILED", 1, False),
        ("ABORTED", 120, False),
        ("TIMED_OUT", 120, False),
    ],
)
def test_a_run_is_looked_for_again_for_two_minutes_but_not_after_a_refused_input(
    night, world, status, seconds, may_come
):
    world.now = MIDNIGHT + timedelta(hours=3.2, seconds=seconds)
    if may_come:
        with pytest.raises(NotYetError):
            night.execution_ends(status)
    else:
        assert not night.execution_ends(status)
    assert world.table.jobs() == []


def test_an_end_without_its_moment_is_not_waited_for(night):
    assert not night.execution_ends("ABORTED", stopDate=None)


def test_an_input_that_was_refused_has_no_record_to_close(night, world):
    assert not night.execution_ends("FAILED")
    assert world.table.jobs() == []


def test_a_run_between_two_training_jobs_is_closed_without_a_stop(night, world):
    run = run_from_json(world.plan()["run"])
    assert night.execution_ends()
    assert night.stops == []
    assert night.recorded(run).outcome_because.endswith("; no training job was open.")


def test_a_training_job_that_is_over_already_has_its_bill_at_once(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.shows(name, "Stopped", BillableTimeInSeconds=3600, TrainingTimeInSeconds=10_440)
    night.execution_ends()
    assert night.stops == []
    assert night.recorded(run).outcome_because.endswith(f"; training job {name} was over by then.")
    assert world.table.phases(run.run_id)[1][-1].ended_at == MIDNIGHT + timedelta(hours=3, minutes=4)
    assert world.table.history("recommender")[0].cost_usd == 2.0


def test_a_training_job_that_is_just_being_asked_for_is_looked_for_again_in_a_minute(night, world):
    run = night.begins()
    with pytest.raises(NotYetError, match=run.attempts[0].training_job_name):
        night.execution_ends()
    assert night.recorded(run).outcome is None
    world.pass_time(minutes=1)
    assert night.execution_ends()
    recorded = night.recorded(run)
    assert recorded.outcome_because.endswith("was never there.")
    assert not recorded.attempts[0].is_open
    (summary,) = world.table.history("recommender")
    assert (summary.cost_usd, summary.missing) == (0.0, ())
    assert summary.attempts[0].failure_reason.startswith("Nightspot.NeverSeen")


def test_a_training_job_that_showed_itself_after_all_is_stopped(night, world):
    run = night.begins()
    with pytest.raises(NotYetError):
        night.execution_ends()
    world.pass_time(minutes=1)
    night.shows(run.attempts[0].training_job_name, "InProgress")
    assert night.execution_ends()
    assert night.stops == [run.attempts[0].training_job_name]


def test_a_stop_that_is_throttled_leaves_the_run_open_for_the_event_s_return(night, world, aws_fault):
    run = night.trains()
    world.sagemaker.stop_refusal = aws_fault("ThrottlingException")
    with pytest.raises(TransientAwsError):
        night.execution_ends()
    assert night.recorded(run).outcome is None
    world.sagemaker.stop_refusal = None
    assert night.execution_ends()


def test_the_end_of_the_training_job_completes_the_bill_and_tells_nobody_twice(night, world, metrics):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.execution_ends()
    world.bus.entries.clear()
    night.shows(name, "Stopped", BillableTimeInSeconds=3600, TrainingTimeInSeconds=10_440)
    metrics()
    assert not night.training_job_ends(name)
    (summary,) = world.table.history("recommender")
    # One billed hour at $2.
    assert (summary.outcome, summary.cost_usd, summary.missing) == ("stopped", 2.0, ())
    assert summary.attempts[0].ended_at is not None
    assert world.bus.told == []
    assert metrics() == {"SomethingEnded": [1], "CostUsd": [2.0]}


def test_the_bill_is_completed_once(night, world, metrics):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.execution_ends()
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    night.training_job_ends(name)
    before = night.recorded(run)
    metrics()
    assert not night.training_job_ends(name)
    assert night.recorded(run) == before
    assert metrics() == {"SomethingEnded": [1]}


def test_a_bill_that_sagemaker_does_not_show_yet_is_the_reconciler_s_to_add(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.execution_ends()
    assert not night.training_job_ends(name)
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    world.reconcile()
    assert world.table.history("recommender")[0].cost_usd == 2.0


def test_an_event_that_comes_for_the_last_time_is_left_to_the_reconciler(night, world, metrics, monkeypatch):
    run = night.begins()
    metrics()
    world.pass_time(seconds=30)
    detail_time = world.now - timedelta(seconds=150)
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "time": detail_time.isoformat(),
        "detail": {
            "executionArn": EXECUTION,
            "status": "ABORTED",
            "startDate": int(MIDNIGHT.timestamp() * 1000),
        },
    }
    answer = close_run.handler(event, LocalContext("CloseRun"), use=world.use)
    assert answer == {"closed": False, "repaired": []}
    assert metrics() == {"SomethingEnded": [1], "LeftToReconciler": [1]}
    world.step_functions.over.add(EXECUTION)
    world.pass_time(minutes=1)
    world.reconcile()
    assert night.recorded(run).outcome is Outcome.STOPPED


def test_the_end_of_a_training_job_whose_run_goes_on_is_for_the_run_to_see(night):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.shows(name, "Completed")
    assert not night.training_job_ends(name, "Completed")
    assert night.recorded(run).outcome is None


def test_where_the_execution_s_event_was_lost_the_training_job_s_end_closes_the_run(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    world.step_functions.over.add(EXECUTION)
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    assert night.training_job_ends(name)
    assert night.recorded(run).outcome is Outcome.STOPPED
    assert world.table.history("recommender")[0].cost_usd == 2.0


@pytest.mark.parametrize("time", [None, 1_795_219_200.5, "soon"], ids=["null", "seconds", "no time"])
def test_no_form_of_an_events_own_time_keeps_a_run_from_being_closed(night, world, time):
    run = night.trains()
    name = run.attempts[0].training_job_name
    world.step_functions.over.add(EXECUTION)
    night.shows(name, "Stopped")
    detail = {"TrainingJobName": name}
    event = {"detail-type": "SageMaker Training Job State Change", "detail": detail, "time": time}
    assert close_run.handler(event, LocalContext("CloseRun"), use=world.use)["closed"]


def test_an_executions_times_are_read_as_text_too(night):
    run = night.trains()
    start = str(int(MIDNIGHT.timestamp() * 1000))
    assert night.execution_ends(startDate=start, stopDate="2026-11-21T03:12:00Z")
    assert night.recorded(run).outcome is Outcome.STOPPED


def test_an_execution_that_step_functions_has_forgotten_is_over(night, world, aws_fault, monkeypatch):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.shows(name, "Completed")

    def forgotten(**_: Any) -> None:
        raise aws_fault("ExecutionDoesNotExist")

    monkeypatch.setattr(world.step_functions, "describe_execution", forgotten, raising=False)
    world.pass_time(days=90)
    assert night.training_job_ends(name, "Completed")
    assert night.recorded(run).outcome is Outcome.SUCCEEDED


def test_an_execution_that_ended_well_is_about_to_be_recorded_or_is(night, world, monkeypatch):
    run = night.trains()
    answer = {"executionArn": EXECUTION, "status": "SUCCEEDED"}
    monkeypatch.setattr(world.step_functions, "describe_execution", lambda **_: answer, raising=False)
    assert not night.training_job_ends(run.attempts[0].training_job_name, "Completed")
    assert night.recorded(run).outcome is None


def test_a_run_that_began_before_an_update_of_the_code_is_closed_under_the_id_that_it_has(
    night, world, monkeypatch
):
    monkeypatch.setattr(planning, "run_id_of", first_run_id_of)
    run = night.trains()
    monkeypatch.undo()
    assert run.run_id == first_run_id_of(EXECUTION, MIDNIGHT)
    assert night.execution_ends()
    assert night.recorded(run).outcome is Outcome.STOPPED
    night.shows(run.attempts[0].training_job_name, "Stopped", BillableTimeInSeconds=3600)
    night.training_job_ends(run.attempts[0].training_job_name)
    (summary,) = world.table.history("recommender")
    assert summary.billable_seconds == 3600


def test_an_execution_with_the_id_of_another_ones_run_does_not_close_that(night, world, monkeypatch):
    monkeypatch.setattr(run_table, "run_id_of", lambda _arn, _started_at: run.run_id)
    run = night.trains()
    assert not night.execution_ends(executionArn=f"{EXECUTION}-other", status="FAILED")
    assert night.recorded(run).outcome is None


@pytest.mark.parametrize("name", ["nightspot-recommender-drill-261121-abcde-2", "nightspot-x"])
def test_a_training_job_of_no_run_is_left_alone(night, name):
    night.trains()
    assert not night.training_job_ends(name)


def test_the_end_of_a_training_job_that_is_not_ours_is_counted_and_left_alone(night, metrics):
    night.trains()
    metrics()
    assert not night.training_job_ends("nightspot-prod-recommender-20261121-ffffff-1")
    assert metrics() == {"SomethingEnded": [1], "NotOurs": [1]}
    assert night.stops == []


def test_a_decision_that_was_under_way_does_not_open_the_record_again(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    world.step_functions.over.add(EXECUTION)
    night.execution_ends()
    # Begun before the abort, and so from the ledger as it was; written after the run was closed.
    world.decide(to_json(run))
    assert night.recorded(run).outcome is Outcome.STOPPED
    assert world.table.history("recommender")[0].outcome == "stopped"
    assert world.table.waiting(name).closed


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"detail": {}}, "detail-type"),
        ({"detail-type": "Step Functions Execution Status Change", "detail": {}}, "executionArn"),
        ({"detail-type": "SageMaker Training Job State Change", "detail": {}}, "TrainingJobName"),
    ],
)
def test_an_event_that_names_nothing_is_refused(world, event, field):
    with pytest.raises(ValidationError, match=field):
        close_run.handler(event, LocalContext("CloseRun"), use=world.use)


def test_a_crash_without_a_model_is_on_record_as_ours(night, world):
    run = run_from_json(world.plan()["run"])
    night.restarts_are_used_up(run)
    assert night.crashes()
    assert night.recorded(run).crashed
    (summary,) = world.table.history("recommender")
    assert (summary.outcome, summary.crashed) == ("failed", True)
    assert _shared.of_record(summary) is ExitStatus.SERVICE


@pytest.mark.parametrize("status", ["Completed", "Stopped"])
def test_neither_a_model_nor_an_abort_is_a_crash(night, world, status):
    run = night.trains()
    night.restarts_are_used_up(run)
    night.shows(run.attempts[0].training_job_name, status, BillableTimeInSeconds=3600)
    if status == "Completed":
        night.crashes()
    else:
        for number in (1, 2, 3):
            world.step_functions.over.add(restart_arn(run, number, like=EXECUTION))
            world.step_functions.ends[restart_arn(run, number, like=EXECUTION)].pop("status")
        night.execution_ends("ABORTED")
    assert not night.recorded(run).crashed
    assert world.table.history("recommender")[0].crashed is False


def test_a_run_that_had_decided_its_end_did_not_end_by_the_crash(night, world):
    run = night.trains()
    (step,) = world.table.steps(run.run_id)[-1:]
    decided = replace(run, outcome=Outcome.FAILED, outcome_because="the script failed", steps=9)
    world.table.record_step(run, decided, step)
    night.execution_ends("FAILED")
    assert world.table.history("recommender")[0].crashed is False


def test_a_crashed_run_whose_end_somebody_had_asked_for_is_stopped_and_not_restarted(night, world):
    run = night.trains()
    name = run.attempts[0].training_job_name
    world.table.ask_to_stop(run.run_id, "nightspot stop")
    assert night.crashes()
    assert (night.stops, world.step_functions.started) == ([name], {})
    recorded = night.recorded(run)
    assert (recorded.outcome, recorded.crashed) == (Outcome.STOPPED, False)
    assert recorded.outcome_because.endswith("The run was asked to stop (nightspot stop).")
    assert world.bus.told == ["Nightspot Run Stopped"]
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    night.training_job_ends(name)
    assert world.table.history("recommender")[0].cost_usd == 2.0


def test_a_wish_that_came_too_late_does_not_undo_the_model(night, world):
    run = night.trains()
    world.table.ask_to_stop(run.run_id, "nightspot stop")
    night.shows(run.attempts[0].training_job_name, "Completed", BillableTimeInSeconds=3600)
    assert night.crashes()
    assert night.recorded(run).outcome is Outcome.SUCCEEDED


@contextmanager
def meanwhile(monkeypatch, owner: Any, method: str, does: Any) -> Iterator[None]:
    """Inside: `does()` happens once, in the middle of the first call of `method`."""
    calls = iter([does])
    real = getattr(owner, method)

    def called(*args: Any, **kwargs: Any) -> Any:
        next(calls, lambda: None)()
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(owner, method, called)
        yield


def test_two_invocations_at_once_close_a_run_once(night, world, monkeypatch, metrics):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    world.step_functions.over.add(EXECUTION)
    metrics()

    def second() -> None:
        with pytest.raises(NotYetError, match="is being settled"):
            night.training_job_ends(name)

    with meanwhile(monkeypatch, world.table, "record_outcome", second):
        assert night.execution_ends()
    assert not night.training_job_ends(name)  # Lambda's retry
    assert world.bus.told == ["Nightspot Run Stopped"]
    counts = metrics()
    assert (counts["RunStopped"], counts["CostUsd"]) == ([1], [2.0])


def test_two_invocations_at_once_complete_a_bill_once(night, world, monkeypatch, metrics):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.execution_ends()
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    metrics()

    def second() -> None:
        with pytest.raises(NotYetError, match="is being settled"):
            night.training_job_ends(name)

    with meanwhile(monkeypatch, world.table, "record_outcome", second):
        night.training_job_ends(name)
    night.training_job_ends(name)
    assert metrics()["CostUsd"] == [2.0]


class Killed(BaseException):
    """The function's environment is gone: no handler of exceptions sees it in Lambda."""


def dies() -> None:
    raise Killed


@pytest.mark.parametrize("where", ["record_outcome", "record_phases"])
def test_what_died_before_people_were_told_is_told_by_the_event_s_return(night, world, monkeypatch, where):
    night.trains()
    with meanwhile(monkeypatch, world.table, where, dies), pytest.raises(Killed):
        night.execution_ends()
    assert world.bus.told == []
    assert night.execution_ends()
    assert not night.execution_ends()
    assert world.bus.told == ["Nightspot Run Stopped"]


def test_what_died_between_the_record_and_the_telling_is_told(night, world, monkeypatch):
    run = night.trains()
    name = run.attempts[0].training_job_name
    with meanwhile(monkeypatch, world.bus, "put_events", dies), pytest.raises(Killed):
        night.execution_ends()
    assert world.table.history("recommender")[0].outcome == "stopped"
    world.step_functions.over.add(EXECUTION)
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    assert night.training_job_ends(name)  # whichever event comes first
    assert not night.execution_ends()
    assert world.bus.told == ["Nightspot Run Stopped"]
    assert world.table.history("recommender")[0].cost_usd == 2.0


def test_a_turn_whose_holder_died_is_free_after_a_while(night, world, monkeypatch):
    run = night.trains()
    turns = world.table.close_turns
    with monkeypatch.context() as patched:
        patched.setattr(turns, "give_back", lambda *_, **__: None)
        with meanwhile(monkeypatch, world.bus, "put_events", dies), pytest.raises(Killed):
            night.execution_ends()
    with pytest.raises(NotYetError):
        night.execution_ends()
    world.pass_time(seconds=90)
    assert night.execution_ends()
    assert night.recorded(run).outcome is Outcome.STOPPED
    assert world.bus.told == ["Nightspot Run Stopped"]


def test_a_bill_whose_recording_died_is_completed_by_the_event_s_return(night, world, monkeypatch, metrics):
    run = night.trains()
    name = run.attempts[0].training_job_name
    night.execution_ends()
    night.shows(name, "Stopped", BillableTimeInSeconds=3600)
    metrics()
    with meanwhile(monkeypatch, world.table, "record_outcome", dies), pytest.raises(Killed):
        night.training_job_ends(name)
    assert not night.training_job_ends(name)
    assert world.table.history("recommender")[0].cost_usd == 2.0
    assert metrics()["CostUsd"] == [2.0]
    assert world.bus.told == ["Nightspot Run Stopped"]


def test_a_closed_run_leaves_nothing_of_its_closing_in_the_table(night, world):
    run = night.trains()
    night.execution_ends()
    assert world.table.close_turns.untold(run.run_id) is None
    now = world.now
    assert world.table.close_turns.take(run.run_id, now=now, until=now + timedelta(minutes=1))
