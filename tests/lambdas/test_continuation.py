"""A crashed run that another execution goes on with: at the same step, once, and only if nobody else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.aws.faults import TransientAwsError
from nightspot.failures.codes import FailureClass
from nightspot.lambdas.plan_run import InvalidInputError
from nightspot.run.model import Outcome, run_from_json, to_json

PREFIX = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:"
ONE, TWO, THREE = (f"{PREFIX}{name}" for name in ("one", "two", "three"))


@pytest.fixture
def crashed(night):
    """The run that trained until its execution failed, at three o'clock."""
    run = night.trains()
    night.ends(ONE)
    return run


def continued(world, run, execution=TWO):
    return run_from_json(world.plan({"continue_run": run.run_id}, execution=execution)["run"])


def test_it_goes_on_where_the_last_decision_left_it(world, crashed):
    run = continued(world, crashed)
    said = "Restarted at 03:00 UTC, because its execution had crashed."
    assert run == replace(crashed, execution_arn=TWO, restarts=1, plan_note=said)
    assert world.table.run(run.run_id) == run
    assert world.table.open_runs.get(run.run_id).execution_arn == TWO
    (summary,) = world.table.history("recommender")
    assert (summary.run_id, summary.execution_arn) == (run.run_id, TWO)


def test_its_loop_decides_the_next_step_on_the_same_training_job(world, crashed):
    step = world.decide(to_json(continued(world, crashed)))["step"]
    assert (step["number"], step["action"]) == (3, "watch")
    assert step["training_job_name"] == crashed.attempts[0].training_job_name


def test_a_start_that_was_decided_before_the_crash_is_decided_again_under_the_same_name(world, night):
    planned = run_from_json(world.plan()["run"])
    night.ends(ONE)
    world.pass_time(minutes=3)
    run = continued(world, planned)
    step = world.decide(to_json(run))["step"]
    assert (step["action"], step["attempt"]) == ("start", 1)
    assert step["training_job_name"] == f"nightspot-recommender-{planned.run_id}-1"


def test_a_start_that_the_table_did_not_take_is_stopped_where_another_run_takes_its_place(world, night):
    planned = run_from_json(world.plan()["run"])
    name = f"nightspot-recommender-{planned.run_id}-1"
    night.shows(name, "InProgress")
    night.ends(ONE)
    world.lock.ask_for("recommender", owner_run_id=planned.run_id, by_run_id="20261121-another")
    world.pass_time(minutes=3)
    run = continued(world, planned)
    assert [attempt.training_job_name for attempt in run.attempts] == [name]
    step = world.decide(to_json(run))["step"]
    assert (step["action"], step["training_job_name"]) == ("stop", name)


def test_of_two_starts_that_the_table_did_not_take_the_second_is_open(world, night):
    planned = run_from_json(world.plan()["run"])
    first, second = (f"nightspot-recommender-{planned.run_id}-{number}" for number in (1, 2))
    night.shows(first, "Failed", FailureReason="CapacityError: no capacity")
    night.shows(second, "InProgress")
    night.ends(ONE)
    world.pass_time(minutes=3)
    run = run_from_json(world.decide(to_json(continued(world, planned)))["run"])
    assert [(a.training_job_name, a.is_open, a.unsettled) for a in run.attempts] == [
        (first, False, False),
        (second, True, False),
    ]
    assert run.attempts[0].failure is FailureClass.NO_CAPACITY


def test_a_restart_waits_until_sagemaker_says_what_it_has_started(world, crashed, aws_fault):
    world.sagemaker.refusal = aws_fault("ThrottlingException")
    with pytest.raises(TransientAwsError):
        continued(world, crashed)
    world.sagemaker.refusal = None
    assert continued(world, crashed).attempts == crashed.attempts


def test_nobody_is_told_that_a_run_starts(world, crashed, metrics):
    continued(world, crashed)
    assert world.bus.told == []
    assert "RunStarted" not in metrics()


def test_planned_twice_it_is_restarted_once(world, crashed):
    assert continued(world, crashed) == continued(world, crashed)


def test_of_two_executions_that_ask_for_it_at_once_one_has_it(world, crashed, monkeypatch):
    # The second has looked before the first took the run on, and both saw the crash.
    noted = world.table.open_runs.get(crashed.run_id)
    continued(world, crashed, TWO)
    monkeypatch.setattr(world.table.open_runs, "get", lambda _run_id: noted)
    with pytest.raises(InvalidInputError, match="another execution has just taken it on"):
        continued(world, crashed, THREE)


def test_its_lock_is_its_new_execution_s(world, crashed):
    run = continued(world, crashed)
    holder = world.lock.holder("recommender")
    assert (holder.run_id, holder.execution_arn) == (run.run_id, TWO)
    # So nobody takes the lock of an execution that is over.
    world.pass_time(minutes=2)
    assert world.plan(execution=THREE)["run"]["refused_because"]


def test_where_another_run_has_the_lock_by_now_it_ends(world, crashed):
    now = world.now
    world.lock.release("recommender", crashed.run_id)
    world.lock.acquire("recommender", "20261121-ffffff", THREE, now=now, until=now + timedelta(hours=1))
    run = continued(world, crashed)
    assert run.replaced_by is not None
    assert world.decide(to_json(run))["step"]["action"] == "stop"


def test_the_request_comes_from_the_table(world, crashed):
    world.dynamodb.update_item(
        TableName="nightspot-runs",
        Key={"pk": {"S": f"RUN#{crashed.run_id}"}, "sk": {"S": "REQUEST"}},
        UpdateExpression="SET #r.RoleArn = :arn",
        ExpressionAttributeNames={"#r": "request"},
        ExpressionAttributeValues={":arn": {"S": "as planned"}},
    )
    answer = world.plan({"continue_run": crashed.run_id}, execution=TWO)
    assert answer["request"]["RoleArn"] == "as planned"
    assert answer["most_misses"] > 30


def test_a_note_of_the_plan_is_kept(world, night):
    planned = run_from_json(world.plan()["run"])
    world.table.record_plan(replace(planned, plan_note="Started late."))
    night.ends(ONE)
    assert continued(world, planned).plan_note.startswith("Started late. Restarted at 00:00 UTC")


def test_a_run_that_is_not_there_is_refused(world):
    with pytest.raises(InvalidInputError) as caught:
        world.plan({"continue_run": "20261121-ffffff"}, execution=TWO)
    assert str(caught.value) == (
        "continue_run: '20261121-ffffff' must be the id of a run on record, and there is none"
    )


def test_a_run_that_is_over_is_refused(world, crashed):
    world.table.record_outcome(replace(crashed, outcome=Outcome.FAILED, outcome_because="x.", steps=9))
    with pytest.raises(InvalidInputError, match=r"it is over \(failed\); retry it instead"):
        continued(world, crashed)


def test_a_run_that_goes_on_is_refused(world, night):
    run = night.trains()
    with pytest.raises(InvalidInputError, match="its execution one goes on"):
        continued(world, run)
    assert world.table.run(run.run_id) == run


def test_a_run_that_another_execution_went_on_with_is_refused(world, crashed):
    continued(world, crashed)
    with pytest.raises(InvalidInputError, match="its execution two goes on"):
        continued(world, crashed, THREE)


def test_a_run_whose_plan_was_not_made_to_the_end_is_refused(world, night):
    run = run_from_json(world.plan()["run"])
    world.table.open_runs.forget(run.run_id)
    night.ends(ONE)
    with pytest.raises(InvalidInputError, match="its plan was not made to the end"):
        continued(world, run)


def test_a_run_that_an_older_version_planned_is_gone_on_with(world, crashed):
    world.table.open_runs.forget(crashed.run_id)
    assert continued(world, crashed).restarts == 1
    assert world.table.open_runs.get(crashed.run_id).execution_arn == TWO


def test_where_aws_does_not_say_it_is_asked_again(world, crashed, monkeypatch, aws_fault):
    def throttled(**_):
        raise aws_fault("ThrottlingException")

    monkeypatch.setattr(world.step_functions, "describe_execution", throttled)
    with pytest.raises(TransientAwsError):
        continued(world, crashed)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"continue_run": 7}, "continue_run: 7 must be the id of a run, as text"),
        ({"continue_run": ""}, "continue_run: '' must be the id of a run, as text"),
        (
            {"continue_run": "20261121-ffffff", "job": "recommender"},
            "job: must not stand beside continue_run: the run is planned already",
        ),
    ],
)
def test_an_input_that_makes_no_sense_is_refused_with_its_field_and_the_rule(world, given, complaint):
    with pytest.raises(InvalidInputError) as caught:
        world.plan(given, execution=TWO)
    assert str(caught.value) == complaint
