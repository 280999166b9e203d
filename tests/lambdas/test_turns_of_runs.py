"""One run per job at a time, in the handlers: forbid, replace, allow, and locks whose owner died."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.job.markets import Concurrency
from nightspot.job.model import Budget
from nightspot.run.model import run_from_json

OTHER = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:two"
THIRD = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:three"


@pytest.fixture
def concurrency(world):
    """Give the recommender this concurrency."""

    def change(value):
        job = world.jobs["recommender"].model_copy(update={"concurrency": Concurrency(value)})
        world.jobs["recommender"] = job

    return change


def decided(world, run, times=1):
    for _ in range(times):
        answer = world.decide(run)
        run = answer["run"]
    return run, answer["step"]


def test_a_run_holds_its_jobs_lock_until_its_outcome_is_recorded(world):
    run = world.plan()["run"]
    assert run["locked"]
    assert world.plan(execution=OTHER)["run"]["refused_because"]
    run["outcome"], run["outcome_because"] = "failed", "x."
    world.record(run)
    assert world.plan(execution=THIRD)["run"]["locked"]


def test_a_second_run_is_refused_on_record_and_starts_nothing(world, metrics):
    first = world.plan()["run"]
    second, step = decided(world, world.plan(execution=OTHER)["run"])
    assert (step["action"], step["outcome"]) == ("finish", "refused")
    assert f"Run {first['run_id']} of recommender is still going on" in step["because"]
    assert second["attempts"] == []
    world.record(second)
    assert [summary.outcome for summary in world.table.history("recommender")].count("refused") == 1
    assert "Nightspot Run Refused" in world.bus.told
    assert metrics()["RunRefused"] == [1]
    # The refused run gave nothing back that was not its own.
    assert world.plan(execution=THIRD)["run"]["refused_because"]


def test_another_jobs_run_is_nobodys_hindrance(world):
    world.plan()
    assert world.plan({"job": "another"}, execution=OTHER)["run"]["locked"]


def test_the_same_execution_planned_again_keeps_its_lock(world):
    assert world.plan()["run"] == world.plan()["run"]


def test_allow_asks_for_no_lock(world, concurrency):
    concurrency("allow")
    runs = [world.plan(execution=execution)["run"] for execution in (OTHER, THIRD)]
    assert [(run["locked"], run["refused_because"]) for run in runs] == [(False, None)] * 2
    assert decided(world, runs[1])[1]["action"] == "start"


def test_a_lock_whose_execution_was_aborted_is_taken_at_once(world):
    world.plan()
    world.step_functions.over.add("arn:aws:states:eu-west-1:123456789012:execution:nightspot:one")
    # Step Functions may not know what has just begun: that is not the same as over.
    assert world.plan(execution=OTHER)["run"]["refused_because"]
    world.pass_time(minutes=2)
    assert world.plan(execution=THIRD)["run"]["locked"]


def test_a_lock_that_nobody_renewed_expires(world):
    world.plan()
    world.pass_time(hours=1, minutes=59)
    assert world.plan(execution=OTHER)["run"]["refused_because"]
    world.pass_time(minutes=2)
    assert world.plan(execution=THIRD)["run"]["locked"]


def test_every_decision_renews_the_lock(world):
    run = world.plan()["run"]
    for _ in range(4):
        world.pass_time(hours=1)
        run, _ = decided(world, run)
        assert world.plan(execution=OTHER)["run"]["refused_because"]


def test_a_run_that_lost_its_lock_stops(world):
    run = world.plan()["run"]
    world.pass_time(hours=3)
    assert world.plan(execution=OTHER)["run"]["locked"]
    run, step = decided(world, run)
    assert (step["action"], step["outcome"]) == ("finish", "stopped")
    world.record(run)
    assert world.plan(execution=THIRD)["run"]["refused_because"]  # the lock stayed with its new owner


class TestReplace:
    @pytest.fixture
    def training(self, world, concurrency, midnight):
        """The first run, whose training job trains and waits for news."""
        concurrency("replace")
        run, step = decided(world, world.plan()["run"])
        name = step["training_job_name"]
        world.sagemaker.shows(name, "InProgress", ("Training", midnight + timedelta(minutes=5)))
        world.begin_to_wait(name, "token-1")
        return run, name

    def test_the_newer_run_wakes_the_older_and_waits_for_it(self, world, training):
        older, _ = training
        newer = world.plan(execution=OTHER)["run"]
        assert newer["waits_for_run"] == older["run_id"]
        assert world.step_functions.returned == ["token-1"]
        newer, step = decided(world, newer)
        assert (step["action"], step["wait_seconds"]) == ("pause", 60)

    def test_a_newer_run_that_may_not_wake_the_older_waits_and_rings_the_alarm(
        self, world, training, metrics, aws_fault
    ):
        older, _ = training
        world.step_functions.refusal = aws_fault("AccessDeniedException")
        metrics()
        assert world.plan(execution=OTHER)["run"]["waits_for_run"] == older["run_id"]
        assert metrics()["WakeRefused"] == [1]

    def test_the_older_run_stops_its_job_keeps_its_books_and_frees_the_lock(self, world, training, midnight):
        older, name = training
        newer = world.plan(execution=OTHER)["run"]
        older, step = decided(world, older)
        assert (step["action"], step["training_job_name"]) == ("stop", name)
        stopped = midnight + timedelta(minutes=40)
        world.sagemaker.shows(
            name,
            "Stopped",
            ("Training", midnight + timedelta(minutes=5)),
            ("Stopped", stopped),
            BillableTimeInSeconds=600,
        )
        older, step = decided(world, older)
        assert (step["action"], step["outcome"]) == ("finish", "stopped")
        assert newer["run_id"] in step["because"]
        assert world.record(older)["cost_usd"] == pytest.approx(600 / 3600 * 2.0, abs=1e-4)
        newer, step = decided(world, newer)
        assert (newer["locked"], newer["waits_for_run"], step["action"]) == (True, None, "start")

    @pytest.mark.parametrize(
        ("budget", "spent_usd", "share_usd"),
        [
            ({"per_month_usd": 1000}, 600 / 3600 * 2, 1000 - 600 / 3600 * 2),
            ({"per_run_usd": 100, "per_month_usd": 120}, 600 / 3600 * 2, 100),
            ({"per_run_usd": 100, "per_month_usd": 100.2}, 600 / 3600 * 2, 100.2 - 600 / 3600 * 2),
        ],
        ids=["the month's alone", "the run's is the tighter", "the month's is the tighter"],
    )
    def test_the_newer_run_has_its_share_of_the_month_when_it_has_its_turn(
        self, world, concurrency, midnight, budget, spent_usd, share_usd
    ):
        job = world.jobs["recommender"].model_copy(update={"budget": Budget(**budget)})
        world.jobs["recommender"] = job
        concurrency("replace")
        older, step = decided(world, world.plan()["run"])
        assert older["budget_usd"] == min(budget.values())
        name = step["training_job_name"]
        world.sagemaker.shows(name, "InProgress", ("Training", midnight + timedelta(minutes=5)))
        newer = world.plan(execution=OTHER)["run"]
        newer, step = decided(world, newer)
        assert step["action"] == "pause"
        older, _ = decided(world, older)
        at = midnight + timedelta(minutes=40)
        trained = ("Training", midnight + timedelta(minutes=5))
        world.sagemaker.shows(name, "Stopped", trained, ("Stopped", at), BillableTimeInSeconds=600)
        older, _ = decided(world, older)
        assert world.record(older)["cost_usd"] == pytest.approx(spent_usd, abs=1e-4)
        newer, step = decided(world, newer)
        assert (step["action"], newer["budget_usd"]) == ("start", pytest.approx(share_usd, abs=1e-4))
        # Decided once: neither a later decision nor another execution that goes on with it gives more.
        world.table.record_outcome(replace(run_from_json(older), attempts=()))
        newer, _ = decided(world, newer)
        assert newer["budget_usd"] == pytest.approx(share_usd, abs=1e-4)
        assert world.table.run(newer["run_id"]).month_budget_usd is None

    def test_a_run_that_still_waits_promises_nothing_of_the_month_to_itself(self, world, concurrency):
        job = world.jobs["recommender"].model_copy(update={"budget": Budget(per_month_usd=1000)})
        world.jobs["recommender"] = job
        concurrency("replace")
        first, _ = decided(world, world.plan()["run"])
        world.plan(execution=OTHER)
        third = world.plan(execution=THIRD, started_at=world.now + timedelta(minutes=1))["run"]
        over = {**first, "attempts": [], "outcome": "stopped", "outcome_because": "x."}
        world.record(over)
        # The second has not decided again since, and does not know that its place is taken.
        third, step = decided(world, third)
        assert (step["action"], third["budget_usd"]) == ("start", 1000)

    def test_what_a_dead_run_has_promised_is_waited_for_until_its_record_is_closed(
        self, world, concurrency, midnight
    ):
        job = world.jobs["recommender"].model_copy(update={"budget": Budget(per_month_usd=1000)})
        world.jobs["recommender"] = job
        concurrency("replace")
        older, _ = decided(world, world.plan()["run"])
        world.step_functions.over.add(older["execution_arn"])
        world.pass_time(minutes=2)
        world.sagemaker.shows(older["attempts"][0]["training_job_name"], "Stopped", ("Stopped", midnight))
        newer, step = decided(world, world.plan(execution=OTHER)["run"])
        assert (step["action"], newer["waits_for_run"]) == ("pause", older["run_id"])
        world.table.record_outcome(
            run_from_json({**older, "attempts": [], "outcome": "failed", "outcome_because": "x."})
        )
        newer, step = decided(world, newer)
        assert (step["action"], newer["budget_usd"]) == ("start", 1000)

    def test_a_third_run_takes_the_second_ones_place(self, world, training):
        second = world.plan(execution=OTHER)["run"]
        third = world.plan(execution=THIRD, started_at=world.now + timedelta(minutes=1))["run"]
        assert third["waits_for_run"] == training[0]["run_id"]
        second, step = decided(world, second)
        assert (step["action"], step["outcome"]) == ("finish", "stopped")
        assert third["run_id"] in step["because"]

    def test_the_newest_wins_even_where_an_older_one_was_quicker_to_the_lock(self, world, training):
        second = world.plan(execution=OTHER)["run"]
        third = world.plan(execution=THIRD, started_at=world.now + timedelta(minutes=1))["run"]
        world.lock.release("recommender", training[0]["run_id"])
        second, step = decided(world, second)
        assert step["action"] == "start"
        third, step = decided(world, third)
        assert (step["action"], third["waits_for_run"]) == ("pause", second["run_id"])
        world.sagemaker.shows(
            second["attempts"][0]["training_job_name"], "InProgress", ("Training", world.now)
        )
        second, step = decided(world, second)
        assert step["action"] == "stop"

    def test_a_run_that_dies_while_it_is_waited_for_leaves_its_lock_and_its_training_job(
        self, world, training, midnight
    ):
        older, name = training
        newer = world.plan(execution=OTHER)["run"]
        world.step_functions.over.add(older["execution_arn"])
        world.pass_time(minutes=2)
        newer, step = decided(world, newer)
        assert (newer["locked"], newer["waits_for_run"], step["action"]) == (True, older["run_id"], "pause")
        assert world.sagemaker.stops == [name]
        world.sagemaker.shows(name, "Stopped", ("Stopped", midnight + timedelta(minutes=3)))
        newer, step = decided(world, newer)
        assert (newer["waits_for_run"], step["action"]) == (None, "start")

    def test_a_run_that_knows_that_it_is_replaced_is_woken_no_more(self, world, training):
        """Else the two would wake each other every minute until the older one's stop has gone through."""
        older, name = training
        newer = world.plan(execution=OTHER)["run"]
        assert world.step_functions.returned == ["token-1"]
        world.begin_to_wait(name, "token-2")
        newer, _ = decided(world, newer)  # it may have been deciding when it was woken
        assert world.step_functions.returned == ["token-1", "token-2"]
        older, _ = decided(world, older)
        for number in range(3, 6):
            world.begin_to_wait(name, f"token-{number}")
            newer, step = decided(world, newer)
            assert step["action"] == "pause"
        assert world.step_functions.returned == ["token-1", "token-2"]

    def test_a_run_that_a_person_stops_is_woken_by_nobody_else(self, world, training):
        older, name = training
        world.table.ask_to_stop(older["run_id"], "nightspot stop")
        decided(world, older)
        world.begin_to_wait(name, "token-2")
        world.plan(execution=OTHER)
        assert world.step_functions.returned == []


class TestTheTrainingJobOfADeadRun:
    """A run that takes the lock of a crashed one does not train beside what that has left, under forbid either."""

    @pytest.fixture
    def dead(self, world, midnight):
        """A run whose execution is over, while its training job trains."""
        run, step = decided(world, world.plan()["run"])
        name = step["training_job_name"]
        world.sagemaker.shows(name, "InProgress", ("Training", midnight + timedelta(minutes=5)))
        world.step_functions.over.add(run["execution_arn"])
        world.pass_time(minutes=10)
        return run, name

    @pytest.fixture(params=["dead execution", "expired lock"])
    def taken(self, request, world, dead):
        """The next run, which has the lock."""
        if request.param == "expired lock":
            world.step_functions.over.clear()
            world.pass_time(hours=3)
        return world.plan(execution=OTHER)["run"]

    def test_is_stopped_and_waited_for(self, world, dead, taken, midnight):
        run, name = dead
        assert (taken["locked"], taken["waits_for_run"]) == (True, run["run_id"])
        assert world.sagemaker.stops == [name]
        taken, step = decided(world, taken)
        assert (step["action"], step["wait_seconds"]) == (
            "pause",
            min((world.now - midnight).total_seconds() / 5, 300),
        )
        assert world.sagemaker.stops == [name]  # it is stopping
        world.sagemaker.shows(name, "Stopped", ("Stopped", midnight + timedelta(minutes=13)))
        taken, step = decided(world, taken)
        assert (taken["waits_for_run"], step["action"]) == (None, "start")

    def test_is_waited_for_by_a_plan_that_is_made_again(self, world, dead):
        first = world.plan(execution=OTHER)["run"]
        again = world.plan(execution=OTHER)["run"]
        assert (again["waits_for_run"], again["locked"]) == (first["waits_for_run"], True)
        assert again["waits_for_run"] == dead[0]["run_id"]

    def test_is_waited_for_as_long_as_it_takes_and_the_lock_is_kept(self, world, dead, taken):
        for _ in range(4):
            world.pass_time(hours=1)
            taken, step = decided(world, taken)
            assert step["action"] == "pause"
        assert world.lock.holder("recommender").run_id == taken["run_id"]

    @pytest.mark.parametrize("call", ["DescribeTrainingJob", "StopTrainingJob"])
    def test_of_which_sagemaker_says_nothing_is_waited_for(self, world, dead, aws_fault, call):
        if call == "DescribeTrainingJob":
            world.sagemaker.refusal = aws_fault("ThrottlingException")
        else:
            world.sagemaker.stop_refusal = aws_fault("ThrottlingException")
        run = world.plan(execution=OTHER)["run"]
        assert run["waits_for_run"] == dead[0]["run_id"]
        world.sagemaker.refusal = world.sagemaker.stop_refusal = None
        decided(world, run)
        assert world.sagemaker.stops == [dead[1]]

    def test_that_has_just_been_asked_for_may_still_come(self, world, midnight):
        run, _ = decided(world, world.plan()["run"])
        world.step_functions.over.add(run["execution_arn"])
        # The lock is looked into no sooner than a minute after it was taken, and renewed by each decision.
        world.pass_time(minutes=2)
        asked = world.table.run(run["run_id"])
        late = replace(asked.attempts[0], asked_at=world.now - timedelta(seconds=59))
        world.table.record_outcome(asked.with_attempt(late))
        waiting = world.plan(execution=OTHER)["run"]
        assert waiting["waits_for_run"] == run["run_id"]
        world.pass_time(seconds=1)
        assert decided(world, waiting)[1]["action"] == "start"

    def test_that_is_on_no_record_is_stopped_and_waited_for(self, world, midnight):
        """The table took no write of the decision that started it."""
        dead = world.plan()["run"]
        name = f"nightspot-recommender-{dead['run_id']}-1"
        world.sagemaker.shows(name, "InProgress", ("Starting", midnight))
        world.step_functions.over.add(dead["execution_arn"])
        world.pass_time(minutes=2)
        waiting = world.plan(execution=OTHER)["run"]
        assert (waiting["waits_for_run"], world.sagemaker.stops) == (dead["run_id"], [name])
        world.sagemaker.shows(name, "Stopped", ("Stopped", midnight))
        assert decided(world, waiting)[1]["action"] == "start"

    def test_that_is_over_is_not_waited_for(self, world, dead, midnight):
        world.sagemaker.shows(dead[1], "Completed", ("Completed", midnight + timedelta(minutes=9)))
        run = world.plan(execution=OTHER)["run"]
        assert (run["locked"], run["waits_for_run"], world.sagemaker.stops) == (True, None, [])

    def test_of_a_run_that_comes_back_ends_with_it(self, world, dead, taken):
        """The dead run is restarted meanwhile: it has lost its lock, and ends as replaced."""
        run, _ = dead
        world.step_functions.over.add(run["execution_arn"])
        back = world.plan({"continue_run": run["run_id"]}, execution=THIRD)["run"]
        assert back["replaced_by"] is not None
        back, step = decided(world, back)
        assert step["action"] in {"stop", "watch"}
        assert world.lock.holder("recommender").run_id == taken["run_id"]


def test_a_ledger_with_a_lock_travels(world):
    run = world.plan()["run"]
    assert run_from_json(run).locked
