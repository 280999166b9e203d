"""Every five minutes: what no event brought about is repaired, once, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import restart_arn
from nightspot.aws.table.open_runs import PlannedLock
from nightspot.failures.codes import FailureClass
from nightspot.lambdas import settling, turns
from nightspot.run.model import AttemptState, Outcome, run_from_json, to_json

ONE = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
NOTHING = {"found": {}, "repaired": {}, "failed": 0}


@pytest.fixture
def training(night):
    return night.trains()


@pytest.fixture
def name(training):
    return training.attempts[0].training_job_name


def billed(night, name, status="Stopped"):
    night.shows(name, status, BillableTimeInSeconds=3600, TrainingTimeInSeconds=10_440)


def test_with_nothing_unfinished_nothing_is_done_and_nothing_is_counted(world, capsys):
    assert world.reconcile() == NOTHING
    assert "CloudWatchMetrics" not in capsys.readouterr().out


def test_a_run_that_goes_on_is_left_alone(world, night, training, name, metrics):
    metrics()
    assert world.reconcile() == NOTHING
    assert night.recorded(training) == training
    assert (night.stops, world.bus.told, world.step_functions.returned) == ([], [], [])
    assert metrics() == {}


def test_an_abort_whose_event_was_lost_is_a_stop_all_the_same(world, night, training, name, metrics):
    world.step_functions.over.add(ONE)
    metrics()
    assert world.reconcile() == {"found": {"record_open": 1}, "repaired": {"record_open": 1}, "failed": 0}
    assert night.stops == [name]
    assert night.recorded(training).outcome is Outcome.STOPPED
    assert world.bus.told == ["Nightspot Run Stopped"]
    assert world.lock.holder("recommender") is None
    counts = metrics()
    assert (counts["RunStopped"], counts["Reconciled"]) == ([1], [1])
    billed(night, name)
    assert world.reconcile()["repaired"] == {"bill_incomplete": 1}
    assert world.table.history("recommender")[0].cost_usd == 2.0
    assert "Reconciled" not in metrics()  # a bill that comes late is no news
    assert world.reconcile() == NOTHING
    assert world.bus.told == ["Nightspot Run Stopped"]
    assert world.table.open_runs.all() == []


def test_a_crash_whose_event_was_lost_is_restarted(world, night, training, metrics):
    night.ends(ONE)
    metrics()
    assert world.reconcile()["repaired"] == {"loop_gone": 1}
    assert list(world.step_functions.started) == [restart_arn(training, 1, like=ONE)]
    assert world.reconcile() == NOTHING
    counts = metrics()
    assert (counts["RunRestarted"], counts["Reconciled"]) == ([1], [1])


def test_a_restart_that_step_functions_could_not_take_is_tried_again(world, night, training, aws_fault):
    night.ends(ONE)
    world.step_functions.start_refusal = aws_fault("ThrottlingException")
    assert world.reconcile() == {"found": {"loop_gone": 1}, "repaired": {}, "failed": 0}
    world.step_functions.start_refusal = None
    assert world.reconcile()["repaired"] == {"loop_gone": 1}


def test_a_repair_that_aws_forbids_is_counted_and_keeps_nobody_from_the_others(
    world, night, training, aws_fault, metrics
):
    other = run_from_json(world.plan({"job": "another"}, execution=f"{ONE}2")["run"])
    night.ends(ONE)
    world.step_functions.over.add(f"{ONE}2")
    world.step_functions.start_refusal = aws_fault("AccessDeniedException")
    metrics()
    answer = world.reconcile()
    assert (answer["repaired"], answer["failed"]) == ({"record_open": 1}, 1)
    assert night.recorded(other).outcome is Outcome.STOPPED
    assert metrics()["Reconciled"] == [3]  # two findings, and the failure


class TestAnEndThatNobodyWasToldOf:
    @pytest.fixture
    def recorded(self, world, night, training, name, aws_fault):
        """A run whose notice EventBridge would not take; its execution has failed as it should."""
        billed(night, name, "Failed")
        run = run_from_json(world.decide(to_json(training))["run"])
        assert run.outcome is Outcome.FAILED
        world.bus.entries.clear()
        world.bus.refusal = aws_fault("InternalException")
        world.record(to_json(run))
        world.bus.refusal = None
        night.ends(ONE)
        return run

    def test_is_told_and_not_counted_again(self, world, recorded, metrics):
        metrics()
        assert world.reconcile()["repaired"] == {"end_untold": 1}
        assert world.bus.told == ["Nightspot Run Failed"]
        counts = metrics()
        assert ("RunFailed" in counts, "CostUsd" in counts) == (False, False)
        assert world.reconcile() == NOTHING
        assert world.table.open_runs.all() == []

    def test_waits_while_eventbridge_takes_nothing(self, world, recorded, aws_fault, metrics):
        world.bus.refusal = aws_fault("InternalException")
        metrics()
        assert world.reconcile() == {"found": {"end_untold": 1}, "repaired": {}, "failed": 0}
        assert metrics()["NoticeLost"] == [1]
        assert world.table.open_runs.all()

    def test_is_counted_where_the_function_died_before(self, world, recorded, metrics):
        world.table.close_turns.begin_to_tell(recorded.run_id, world.now)
        metrics()
        world.reconcile()
        counts = metrics()
        assert (counts["RunFailed"], counts["CostUsd"]) == ([1], [2.0])


def test_a_decided_end_that_died_with_its_recording_is_recorded_as_decided(world, night, training, name):
    billed(night, name, "Failed")
    run = run_from_json(world.decide(to_json(training))["run"])
    world.bus.entries.clear()
    night.ends(ONE)
    assert world.reconcile()["repaired"] == {"outcome_unrecorded": 1}
    (summary,) = world.table.history("recommender")
    assert (summary.outcome, summary.because) == ("failed", run.outcome_because)
    assert world.bus.told == ["Nightspot Run Failed"]
    assert world.step_functions.started == {}
    assert world.reconcile() == NOTHING


class TestATrainingJobThatNobodyWatches:
    def test_of_a_run_that_was_closed_long_ago_is_stopped_and_billed(self, world, night, training, name):
        ended = replace(
            training.attempts[0],
            state=AttemptState.ENDED,
            ended_at=world.now,
            failure=FailureClass.UNKNOWN,
            status=None,
            trained_seconds=0.0,
        )
        run = training.with_attempt(ended)
        world.record(to_json(replace(run, outcome=Outcome.FAILED, outcome_because="x.", steps=9)))
        world.table.open_runs.forget(run.run_id)
        assert world.reconcile()["repaired"] == {"job_orphaned": 1}
        assert night.stops == [name]
        billed(night, name)
        assert world.reconcile()["repaired"] == {"bill_incomplete": 1}
        (summary,) = world.table.history("recommender")
        assert summary.cost_usd == 2.0
        assert summary.attempts[0].failure_class == "stopped_by_nightspot"
        assert world.reconcile() == NOTHING

    def test_of_an_attempt_that_had_ended_is_stopped_while_its_run_goes_on(
        self, world, night, training, name
    ):
        ended = replace(training.attempts[0], state=AttemptState.ENDED, ended_at=world.now)
        (step,) = world.table.steps(training.run_id)[-1:]
        world.table.record_step(training, training.with_attempt(ended), step)
        assert world.reconcile()["repaired"] == {"job_orphaned": 1}
        assert night.stops == [name]
        assert night.recorded(training).outcome is None

    def test_of_another_deployment_is_never_touched_and_rings_for_nobody(self, world, night, metrics):
        night.shows("nightspot-recommender-20261121-ffffff-1", "InProgress")
        metrics()
        assert world.reconcile() == {"found": {"job_of_unknown_run": 1}, "repaired": {}, "failed": 0}
        assert (night.stops, metrics()) == ([], {})

    def test_is_looked_at_once_more_before_it_is_stopped(self, world, night, training, name, monkeypatch):
        """The run was closed for a moment's look; the second look, in its turn, finds that all is well."""
        world.record(to_json(replace(training, outcome=Outcome.FAILED, outcome_because="x.", steps=9)))
        real = world.table.close_turns.take

        def meanwhile(*args, **options):
            billed(night, name)
            return real(*args, **options)

        monkeypatch.setattr(world.table.close_turns, "take", meanwhile)
        world.reconcile()
        assert night.stops == []


def test_a_run_that_decides_nothing_is_woken(world, night, training, metrics):
    world.pass_time(hours=2, minutes=31)
    metrics()
    assert world.reconcile() == {"found": {"loop_silent": 1}, "repaired": {}, "failed": 0}
    assert world.step_functions.returned == ["token"]
    assert metrics()["Reconciled"] == [1]


def test_a_lock_that_was_taken_after_the_last_record_is_freed_with_the_run(world, night):
    run = run_from_json(world.plan()["run"])
    world.table.record_plan(replace(run, locked=False))
    world.step_functions.over.add(ONE)
    world.reconcile()
    assert world.lock.holder("recommender") is None


def test_a_run_that_somebody_else_repairs_is_left_to_them(world, night, training):
    night.ends(ONE)
    now = world.now
    world.table.close_turns.take(training.run_id, now=now, until=now + timedelta(seconds=90))
    assert world.reconcile() == {"found": {"loop_gone": 1}, "repaired": {}, "failed": 0}
    assert world.step_functions.started == {}


def test_an_outage_of_the_table_is_waited_for(world, monkeypatch, metrics):
    def away():
        raise TransientAwsError("ThrottlingException")

    monkeypatch.setattr(world.table.open_runs, "everything", away)
    assert world.reconcile() == {"found": {}, "repaired": {}, "failed": 1}
    assert metrics() == {}


def test_an_outage_of_sagemaker_keeps_no_run_from_its_restart(world, night, training, aws_fault):
    night.ends(ONE)
    world.sagemaker.refusal = aws_fault("ThrottlingException")
    assert world.reconcile()["repaired"] == {"loop_gone": 1}


def test_an_outage_of_s3_keeps_no_run_open(world, night, training, monkeypatch):
    world.step_functions.over.add(ONE)

    def away(*_args, **_options):
        raise TransientAwsError("SlowDown")

    use = world.use
    monkeypatch.setattr(use.checkpoints, "progress", away)
    settling.settle(training.run_id, use)
    assert night.recorded(training).outcome is Outcome.STOPPED


class Killed(BaseException):
    """The function's environment is gone."""


@pytest.mark.parametrize(
    "call",
    [
        "put_item",
        "update_item",
        "delete_item",
    ],
)
def test_whatever_call_it_dies_at_the_next_one_ends_what_it_began(
    world, night, training, name, monkeypatch, call
):
    """Killed before and after every write on the way to a closed, told and billed run."""
    world.step_functions.over.add(ONE)
    billed(night, name)
    real = getattr(world.dynamodb, call)
    deaths = 0
    for number in range(60):
        left = number // 2

        def dying(_before=number % 2 == 0, **given):
            nonlocal left
            left -= 1
            if left == -1 and _before:
                raise Killed
            answer = real(**given)
            if left == -1:
                raise Killed
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(world.dynamodb, call, dying)
            try:
                world.reconcile()
            except Killed:
                deaths += 1
                world.pass_time(minutes=5)
            else:
                if left >= 0:
                    break
    assert deaths > 0
    world.reconcile()
    assert world.reconcile() == NOTHING
    assert night.recorded(training).outcome is Outcome.STOPPED
    (summary,) = world.table.history("recommender")
    assert (summary.outcome, summary.cost_usd) == ("stopped", 2.0)
    assert {detail["notice_id"] for detail in world.bus.details()} == {f"{training.run_id}/end"}
    assert world.lock.holder("recommender") is None
    assert world.table.open_runs.all() == []


class TestALockThatAPlanTookAndNoRecordTellsOf:
    """The plan died after it had taken the job's lock, and its execution was aborted; the event was lost."""

    @pytest.fixture
    def planned(self, world, monkeypatch):
        def away(*_given):
            raise TransientAwsError("ProvisionedThroughputExceededException")

        with monkeypatch.context() as patch:
            patch.setattr(world.table, "record_plan", away)
            with pytest.raises(TransientAwsError):
                world.plan()
        assert world.lock.holder("recommender") is not None

    def test_stays_while_the_execution_goes_on(self, world, planned):
        world.pass_time(minutes=30)
        assert world.reconcile() == NOTHING
        assert world.lock.holder("recommender") is not None

    def test_is_freed_once_nothing_can_take_it_any_more(self, world, planned):
        world.step_functions.over.add(ONE)
        world.pass_time(minutes=1)
        assert world.reconcile() == NOTHING  # the function may be at work still
        world.pass_time(minutes=1)
        assert world.reconcile()["repaired"] == {"lock_left": 1}
        assert world.lock.holder("recommender") is None
        assert world.table.open_runs.everything() == ([], [])
        assert world.reconcile() == NOTHING

    def test_is_left_alone_where_another_run_has_it_by_now(self, world, planned):
        world.step_functions.over.add(ONE)
        world.pass_time(minutes=5)
        taken = world.plan(execution=f"{ONE}2")["run"]
        assert world.reconcile() == NOTHING
        assert world.lock.holder("recommender").run_id == taken["run_id"]
        assert world.table.open_runs.everything()[1] == []


def test_a_run_that_is_on_record_has_no_note_of_its_lock(world):
    world.plan()
    assert world.table.open_runs.everything()[1] == []


def test_a_note_of_a_lock_that_the_table_kept_is_forgotten(world, night, training, monkeypatch):
    turn = PlannedLock("recommender", training.run_id, training.execution_arn, training.started_at)
    world.table.open_runs.will_lock(turn)
    assert world.reconcile() == NOTHING
    assert world.table.open_runs.everything()[1] == []
    assert world.lock.holder("recommender").run_id == training.run_id


def test_a_run_that_promised_its_share_and_was_never_planned_is_closed(world, monkeypatch):
    """Its promise is on record, and its plan is not: nothing but the note of its lock tells of it."""
    monkeypatch.setattr(world.table, "record_plan", lambda run, _request: world.table.record_promise(run))
    monkeypatch.setattr(turns, "has_planned", lambda _run, _use: None)
    run = run_from_json(world.plan()["run"])
    world.step_functions.over.add(ONE)
    world.pass_time(minutes=3)
    assert world.reconcile()["repaired"] == {"record_open": 1}
    assert world.table.run(run.run_id).outcome is Outcome.STOPPED
    assert world.lock.holder("recommender") is None


class TestATrainingJobThatIsOnNoRecord:
    """The table took no write of the decision that started it, and the execution ended before the next one."""

    @pytest.fixture
    def unrecorded(self, world, night):
        run = run_from_json(world.plan()["run"])
        name = f"nightspot-recommender-{run.run_id}-1"
        night.shows(name, "InProgress")
        world.pass_time(minutes=5)
        return run, name

    def test_of_an_aborted_run_is_stopped_and_on_its_record(self, world, night, unrecorded):
        run, name = unrecorded
        world.step_functions.over.add(ONE)
        assert world.reconcile()["repaired"] == {"record_open": 1}
        assert night.stops == [name]
        closed = night.recorded(run)
        assert [each.training_job_name for each in closed.attempts] == [name]
        assert closed.outcome is Outcome.STOPPED

    def test_keeps_the_record_open_while_sagemaker_says_nothing(self, world, unrecorded, night, aws_fault):
        run, _ = unrecorded
        world.step_functions.over.add(ONE)
        world.sagemaker.refusal = aws_fault("ThrottlingException")
        assert world.reconcile() == {"found": {"job_unseen": 1}, "repaired": {}, "failed": 0}
        assert night.recorded(run).outcome is None
