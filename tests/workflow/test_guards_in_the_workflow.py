"""What keeps a run from waste, through the real workflow: ladder, overrides, quotas, budget, one run per job."""

import json
import threading
import time
from datetime import timedelta

import boto3
import pytest

from nightspot.job.markets import Market as Bought
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, SimulationOptions
from nightspot.local.stage.emulated_aws import REGION, start_execution, wait_for_end
from nightspot.local.stage.night_files import Night
from nightspot.plan.planning import quota_name

FIRST, SECOND, THIRD = "ml.g5.xlarge", "ml.g5.2xlarge", "ml.g5.4xlarge"
LONGEST_REAL_SECONDS = 120.0
# Twenty minutes of work, so that a whole night takes seconds.
SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


def no_quota(*types, market=Bought.SPOT):
    return {quota_name(market, instance_type): 0 for instance_type in types}


def created(played):
    """(market, instance type) of every training job that SageMaker accepted, in order."""
    return [
        (
            "spot" if job.get("EnableManagedSpotTraining") else "on_demand",
            job["ResourceConfig"]["InstanceType"],
        )
        for job in played.training_jobs
    ]


def classes(played):
    return [attempt.failure_class for attempt in played.record.attempts]


class TestALadder:
    def test_of_three_spot_types_is_climbed_down_to_the_one_that_trains(self, play_virtually):
        night = Night(
            "ladder",
            "",
            Markets(spot={SECOND: SimulatedMarket.never()}),
            SimulationOptions(quotas=no_quota(FIRST)),
        )
        second = {"instance_type": SECOND, "patience": "10m"}
        played = play_virtually(
            night, **SHORT, capacity={"spot": [FIRST, second, THIRD], "on_demand": [FIRST]}
        )

        assert created(played) == [("spot", SECOND), ("spot", THIRD)]
        assert classes(played) == ["quota_permanent", "stopped_by_nightspot", None]
        waited = played.record.attempts[1].waited_seconds
        assert 10 * 60 <= waited < 25 * 60  # its own patience, not the half hour of a type without
        assert played.record.to_json()["left_out"] == [
            {"market": "spot", "instance_type": FIRST, "because": "quota permanent, attempt 1"}
        ]
        assert f"Left out: Spot {FIRST} (quota permanent, attempt 1)" in played.output["because"]
        assert played.record.deadline_met

    def test_loses_the_rungs_without_quota_before_anything_is_asked_for(self, play):
        night = Night("no quota", "", options=SimulationOptions(quotas=no_quota(FIRST)))
        played = play(
            night, check_quotas=True, **SHORT, capacity={"spot": [FIRST, SECOND], "on_demand": [FIRST]}
        )

        assert classes(played) == [None]  # no call was spent on learning it
        assert created(played) == [("spot", SECOND)]
        assert played.record.to_json()["left_out"] == [
            {"market": "spot", "instance_type": FIRST, "because": "its quota is 0, and 1 are needed"}
        ]
        assert played.record.outcome == "succeeded"

    def test_without_any_quota_ends_before_anything_is_asked_for(self, play):
        quotas = no_quota(FIRST) | no_quota(FIRST, market=Bought.ON_DEMAND)
        night = Night("no quota", "", options=SimulationOptions(quotas=quotas))
        played = play(night, check_quotas=True)

        assert played.error == "Nightspot.failed"
        assert "no rung of the ladder is left" in played.cause
        assert played.record.attempts == ()
        assert played.training_jobs == ()

    def test_gives_up_a_type_that_takes_three_times_before_anything_is_saved(self, play_virtually):
        # Three minutes of training at a time, where ten are needed for a checkpoint; then it would stay.
        thrashing = SimulatedMarket.scripted(
            [
                *([{"available": "6m"}, {"reclaim": "3m"}] * 2),
                {"available": "6m"},
                {"reclaim": "20m"},
                {"available": "rest"},
            ]
        )
        night = Night("thrashing", "", Markets(spot={FIRST: thrashing}))
        played = play_virtually(night, **SHORT, capacity={"spot": [FIRST, SECOND], "on_demand": [FIRST]})

        assert created(played) == [("spot", FIRST), ("spot", SECOND)]
        thrashed, trained = played.record.attempts
        assert (thrashed.failure_class, thrashed.interruptions) == ("stopped_by_nightspot", 3)
        assert trained.failure_class is None
        assert any(
            f"Spot {FIRST} was interrupted 3 times without a new checkpoint; next is Spot {SECOND}."
            == step.because
            for step in played.steps
        )
        assert played.record.deadline_met


class TestTheExecutionsInput:
    def test_can_buy_on_demand_with_other_hyperparameters_deadline_and_budget(self, play_virtually):
        played = play_virtually(
            run_input={
                "job": "counter",
                "market": "on_demand",
                "hyperparameters": {"steps": 2, "every": 1},
                "deadline": "2h",
                "budget": 16,
            }
        )

        assert created(played) == [("on_demand", FIRST)]
        request = played.training_jobs[0]
        assert request["HyperParameters"] == {"steps": "2", "every": "1"}
        # $16 at $10 an hour; the job's own limit is two hours.
        assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 5760}
        assert played.run.deadline - played.run.started_at == timedelta(hours=2)
        assert played.record.overrides == {
            "market": "on_demand",
            "hyperparameters": {"steps": "2", "every": "1"},
            "deadline": {"within": 7200},
            "budget": {"per_run_usd": 16.0},
        }
        assert played.run.progress.total_steps == 2
        assert played.record.deadline_met

    def test_can_buy_spot_alone_on_another_type(self, play_virtually):
        played = play_virtually(
            overrides={"instance_types": {"spot": [THIRD]}},
            run_input={
                "job": "counter",
                "market": "spot",
                "instance_types": [THIRD],
                "hyperparameters": {"steps": 2},
                "deadline": "2h",
            },
        )

        assert created(played) == [("spot", THIRD)]
        request = played.training_jobs[0]
        assert request["HyperParameters"] == {"steps": "2", "every": "2"}  # merged over the job's own
        stopping = request["StoppingCondition"]
        # To the deadline, and a whole training more: see `requests`.
        assert 4 * 3600 - 300 <= stopping["MaxWaitTimeInSeconds"] <= 4 * 3600
        assert [rung.market for rung in played.run.rungs] == ["spot"]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"hyperparameter": {"steps": 2}}, ["hyperparameter: "]),
            ({"budget": {"per_run": 5}, "fallbck": "never"}, ["budget.per_run: ", "fallbck: "]),
            (
                {"market": "spot", "fallback": "on_demand"},
                ["fallback: 'on_demand': contradicts market: spot"],
            ),
            ({"deadline": "soon"}, ["deadline: 'soon': must be "]),
            (
                {"instance_types": [THIRD]},
                [f"instance_types[0].instance_type: '{THIRD}': may not be bought as Spot"],
            ),
        ],
    )
    def test_that_breaks_a_rule_starts_nothing_and_names_every_key(self, play_virtually, given, words):
        played = play_virtually(run_input={"job": "counter", **given})

        assert played.error == "Nightspot.InvalidInput"
        assert all(word in played.cause for word in words)
        assert played.states_entered[-1] == "The input was refused"
        assert played.training_jobs == ()


def test_a_budget_stops_spots_repeated_work_before_it_is_passed_and_buys_nothing_more(play):
    # Four minutes of work, lost twice; Spot is as expensive as on-demand tonight, and $2 are twelve minutes.
    again_and_again = SimulatedMarket.scripted(
        [*([{"available": "5m"}, {"reclaim": "1m"}] * 2), {"available": "rest"}],
    )
    options = SimulationOptions(spot_provisioning_seconds=30, download_seconds=15, spot_discount=0.0)
    played = play(
        Night("repeating", "", Markets(default_spot=again_and_again), options),
        time_scale=100.0,  # the stop has three minutes of the story, and a busy machine must keep to them
        work="5m",
        checkpoint_every="5m",
        hyperparameters={"steps": "12", "every": "12"},
        change_over={"spot": "2m", "on_demand": "2m"},
        budget={"per_run_usd": 2},
    )

    assert created(played) == [("spot", FIRST)]
    assert classes(played) == ["stopped_by_nightspot"]
    assert played.record.attempts[0].interruptions == 2
    assert 1.2 < played.record.cost_usd <= 2
    assert played.error == "Nightspot.failed"
    assert "of the run's $2.00 are spent and no attempt's worst case fits into the rest" in played.cause


class SecondRun:
    """A second execution of the same job, started as soon as the first one trains."""

    def __init__(self):
        self.execution = None
        self._over = threading.Event()

    def start(self, simulator, _clock):
        client = boto3.client("stepfunctions", region_name=REGION)
        while not any(state.secondary == "Training" for state in simulator.states()):
            time.sleep(0.02)
        (machine,) = client.list_state_machines()["stateMachines"]
        arn = start_execution(client, machine["stateMachineArn"], "second", {"job": "counter"})
        self.execution = wait_for_end(client, arn, LONGEST_REAL_SECONDS)
        self._over.set()

    def hold_the_first(self, name, handler):
        """The night is over with its first execution: keep that one until the second has ended as well."""

        def record(event):
            answer = handler(event)
            if not event["run"]["execution_arn"].endswith(":second"):
                assert self._over.wait(LONGEST_REAL_SECONDS)
            return answer

        return record if name == "RecordOutcome" else handler


class TestOneRunPerJob:
    @pytest.fixture
    def second(self):
        return SecondRun()

    def test_a_second_run_is_refused_while_the_first_one_trains(self, play, second):
        played = play(**SHORT, meanwhile=second.start, wrap=second.hold_the_first)

        assert second.execution["error"] == "Nightspot.refused"
        assert second.execution["cause"] == (
            f"Run {played.run.run_id} of counter is still going on, and the job's concurrency is forbid: "
            "nothing was started."
        )
        assert len(played.training_jobs) == 1
        assert played.record.outcome == "succeeded"
        assert "Nightspot Run Refused" in [entry["DetailType"] for entry in played.notices]

    def test_a_second_run_takes_the_place_of_the_first_one_and_trains_to_the_end(self, play, second):
        played = play(**SHORT, concurrency="replace", meanwhile=second.start, wrap=second.hold_the_first)

        assert played.error == "Nightspot.stopped"
        newer = json.loads(second.execution["output"])
        assert played.cause == f"Run {newer['run_id']} of the same job takes this one's place."
        assert newer["outcome"] == "succeeded"
        first_job, second_job = played.training_jobs
        assert (first_job["TrainingJobStatus"], second_job["TrainingJobStatus"]) == ("Stopped", "Completed")
        # Never both at once on one job's account, and each on a checkpoint prefix of its own.
        assert second_job["CreationTime"] >= first_job["TrainingEndTime"]
        assert first_job["CheckpointConfig"]["S3Uri"] != second_job["CheckpointConfig"]["S3Uri"]
