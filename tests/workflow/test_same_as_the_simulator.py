"""The simulator that the policy is measured with, and the workflow that is deployed, take the same decisions."""

import json
from dataclasses import dataclass, replace

import pytest

from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, SimulationOptions
from nightspot.local.stage.night_files import Night
from nightspot.market import night as simulator
from nightspot.market.model import Prices, Truth
from nightspot.market.traces import load_trace
from nightspot.run.model import Action, Step
from tests.market.ledger_night import play_through_ledger

MINUTE = 60.0
WORK_SECONDS = 3600.0  # twelve steps of five minutes
CHECKPOINT_SECONDS = 600.0  # the script saves every second step
# What an interpreter's start and a first import take here, in the story; the story's only guess.
PROCESS_START_SECONDS = 100.0
NEAR_SECONDS = 6 * MINUTE
DECISIONS = (Action.START, Action.STOP, Action.FINISH)


@dataclass(frozen=True)
class Decided:
    """A decision that changes something, on which market, so many seconds after the run's start."""

    action: Action
    market: str
    at_seconds: float


@pytest.fixture
def trace(tmp_path):
    """Ten minutes without a machine, half an hour with one, which is taken in the middle of two checkpoints."""
    path = tmp_path / "one-reclaim.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 300}, "data": [0, 0, *[1] * 6, *[0] * 40]}))
    return path


def truth_of(trace, options, window_seconds):
    """The night that `options` make of the trace, in the simulator's words."""
    ready = options.download_seconds + PROCESS_START_SECONDS
    return Truth(
        market=load_trace(trace).changes().window(0, window_seconds),
        prices=Prices.flat(1 - options.spot_discount),
        work_seconds=WORK_SECONDS,
        window_seconds=window_seconds,
        spot_changeover_seconds=(options.spot_provisioning_seconds + ready,),
        on_demand_changeover_seconds=(options.on_demand_provisioning_seconds + ready,),
        checkpoint_seconds=CHECKPOINT_SECONDS,
        # A job without a machine stops at once: no grace, nothing to upload.
        stop_seconds=0.0,
    )


def decided(steps, started_at):
    """What was started, stopped and finished; a stop and the finish belong to the latest start's market."""
    found, market = [], ""
    for step in steps:
        if step.action is Action.START:
            market = step.rung.market.value
        if step.action in DECISIONS:
            found.append(Decided(step.action, market, (step.at - started_at).total_seconds()))
    return found


def planned(run):
    """The plan that a run began with, for the simulator's midnight."""
    return replace(
        run,
        started_at=simulator.MIDNIGHT,
        deadline=simulator.MIDNIGHT + (run.deadline - run.started_at),
        attempts=(),
        progress=None,
        steps=0,
        said_late=False,
        outcome=None,
        outcome_because=None,
    )


def test_the_same_night_is_decided_alike_in_the_workflow_and_in_the_simulator(play_virtually, trace):
    options = SimulationOptions()
    played = play_virtually(
        Night("trace", "", Markets(default_spot=SimulatedMarket.from_trace(trace)), options)
    )
    real = decided(played.steps, played.run.started_at)

    plan = planned(played.run)
    truth = truth_of(trace, options, (plan.deadline - plan.started_at).total_seconds())
    steps: list[Step] = []
    play_through_ledger(plan, simulator.SimulatedNight(truth, shows_pace=True), steps.append)
    told = decided(steps, simulator.MIDNIGHT)

    what = [(each.action, each.market) for each in told]
    assert what == [
        (Action.START, "spot"),
        (Action.STOP, "spot"),
        (Action.START, "on_demand"),
        (Action.FINISH, "on_demand"),
    ]
    assert [(each.action, each.market) for each in real] == what
    assert [each.at_seconds for each in real] == pytest.approx(
        [each.at_seconds for each in told], abs=NEAR_SECONDS
    )
    spot, on_demand = played.record.attempts
    assert spot.interruptions == 1
    assert on_demand.resumed_from_step == 4
