"""The nights that the local run can play, in virtual time: for what no real process and no real clock adds to."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.job.model import Job
from nightspot.local.sagemaker.job_state import ENDINGS, Interruption, JobEnding, of_exit
from nightspot.local.sagemaker.markets import Supply
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.session import LocalNight
from tests.simulation.clock import HOUR
from tests.simulation.faults import Plan
from tests.simulation.sagemaker import Habits
from tests.simulation.scenarios import Scenario
from tests.simulation.stepfunctions import MACHINE_ARN
from tests.simulation.training import Workload
from tests.simulation.world import World

PROCESS_START_SECONDS = 100.0  # of an interpreter, at the pace of the real nights
SECONDS_PER_STEP = 300.0
Handler = Callable[[Any], Any]


@dataclass(frozen=True)
class NightMarket:
    """A night's markets and quotas, asked as the simulated SageMaker asks."""

    night: Night

    def available_from(self, instance_type: str, now: float) -> float | None:
        """When a Spot machine is next to be had; None: never."""
        return self.night.markets.market_for(instance_type, spot=True).next_available(now)

    def taken_back_at(self, instance_type: str, now: float) -> float | None:
        """When a Spot machine given now is interrupted; None: it is left alone."""
        market = self.night.markets.market_for(instance_type, spot=True)
        if market.state_at(now) is Supply.RECLAIM:
            return now
        reclaim = market.next_reclaim(now)
        return None if reclaim is None else reclaim[0]

    def given_from(self, instance_type: str, now: float) -> float | None:
        """When an on-demand machine asked for now is to be had; None: never."""
        return self.night.markets.market_for(instance_type, spot=False).next_available(now)

    @property
    def quotas(self) -> Mapping[str, int]:
        return self.night.options.quotas

    @property
    def no_capacity(self) -> Mapping[str, float]:
        return {}


class _Handed(World):
    """A world whose run is started by hand, with an input of one's own."""

    run_input: Any = None

    def _start(self, at: float) -> None:
        self.started_at.append(at)
        self.states.start_execution(
            stateMachineArn=MACHINE_ARN, name=self.scenario.job.name, input=json.dumps(self.run_input)
        )


def play_night(
    job: Job,
    night: Night,
    *,
    run_input: Any = None,
    wrap: Callable[[str, Handler], Handler] = lambda _name, handler: handler,
) -> LocalNight:
    """What is left of `night`, as of one that LocalAws plays, but for messages. Nothing is real but the code.

    The job's hyperparameters say what its script does, as tests/workflow/scripts/trainer.py understands them.
    """
    options, refusals = night.options, deque(night.create_faults)
    fixed = {name: (seconds, seconds) for name, seconds in _durations(night).items()}
    world = _Handed(
        Scenario(
            seed=0,
            kind="night",
            job=job,
            window=24 * HOUR,
            workload=_workload(job, run_input),
            market=NightMarket(night),
            habits=Habits(**fixed, refusal=lambda: refusals.popleft() if refusals else None),
            plan=Plan(),
            prices=dict.fromkeys(("ml.g5.xlarge", "ml.g5.2xlarge", "ml.g5.4xlarge"), 10.0),
        )
    )
    world.run_input = {"job": job.name, **night.overrides} if run_input is None else run_input
    for name, (handler, use) in world.functions.handlers.items():
        world.functions.handlers[name] = (_wrapped(name, handler, wrap), use)
    endings = [(at, ENDINGS[Interruption.INTERNAL_ERROR]) for at in options.internal_errors_at_seconds]
    for at, ending in (*endings, *options.endings_at_seconds):
        world.clock.at(at, lambda ending=ending: _end(world, ending))
    world.play()
    return _left_of(world)


def _durations(night: Night) -> dict[str, float]:
    options = night.options
    return {
        "provisioning": options.spot_provisioning_seconds,
        "downloading": options.download_seconds + PROCESS_START_SECONDS,
        "uploading": options.upload_seconds,
        "stopping": options.upload_seconds,
    }


def _workload(job: Job, run_input: Any) -> Workload:
    given = run_input.get("hyperparameters", {}) if isinstance(run_input, Mapping) else {}
    parameters = {**job.training_job.get("HyperParameters", {}), **given}
    steps = int(parameters["steps"])
    fails_at = parameters.get("fail_at")
    return Workload(
        total_steps=steps,
        seconds_per_step=SECONDS_PER_STEP,
        steps_per_save=int(parameters["every"]),
        speeds={},
        upload_seconds=(1.0, 60.0),
        writes_progress="silent" not in parameters,
        fails_at_step=None if fails_at is None else int(fails_at),
        failure=of_exit(1, "CapacityError: my own words, not AWS's").failure_reason or "",
    )


def _wrapped(name: str, handler: Any, wrap: Callable[[str, Handler], Handler]) -> Any:
    def call(event: Any, context: Any, *, use: Any) -> Any:
        return wrap(name, lambda given: handler(given, context, use=use))(event)

    return call


def _end(world: World, ending: JobEnding) -> None:
    world.sagemaker.end_all(ending.status, ending.secondary, ending.failure_reason)


def _left_of(world: World) -> LocalNight:
    first, *others = world.states.executions.values()
    execution = others[-1] if others else first  # one that crashed is gone on with by another
    run_id = world.run_id(first)
    sent = [event for event in world.bus.sent if event["source"] == "nightspot"]
    return LocalNight(
        execution_status=execution.status,
        error=execution.error,
        cause=execution.cause,
        output=execution.output,
        run=world.table.run(run_id),
        steps=tuple(world.table.steps(run_id)),
        phases=world.table.phases(run_id),
        state_transitions=execution.transitions,
        states_entered=tuple(execution.states_entered),
        notices=tuple(
            {"DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])} for event in sent
        ),
        training_jobs=tuple(world.sagemaker.description(job) for job in world.sagemaker.jobs.values()),
        dead_letters=len(world.bus.dead_letters),
        real_seconds=0.0,
        messages=(),
    )
