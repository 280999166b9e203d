"""A world before it begins: a job, a market, a workload, and what is going to happen. Here without faults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from nightspot.job.model import Job
from tests.simulation.clock import HOUR, MINUTE
from tests.simulation.faults import Plan
from tests.simulation.market import MOODS, Market, spot_intervals
from tests.simulation.sagemaker import Habits
from tests.simulation.training import Workload

TYPES = ("ml.p4d.24xlarge", "ml.g5.12xlarge", "ml.p3.16xlarge", "ml.g6.12xlarge")
PRICES = {"ml.p4d.24xlarge": 33.0, "ml.g5.12xlarge": 7.0, "ml.p3.16xlarge": 28.0, "ml.g6.12xlarge": 6.0}
ON_DEMAND_CHANGE_OVER, SPOT_CHANGE_OVER = 15 * MINUTE, 10 * MINUTE
PLANNED_MARGIN = 1.2  # of the work that a job file states
STOP_SECONDS = 180.0
FUNCTION_NAMES = (
    "PlanRun",
    "DecideNextStep",
    "RecordOutcome",
    "WakeRun",
    "CloseRun",
    "Notify",
    "StartRun",
    "StartTrainingJob",
    "Reconcile",
)


@dataclass(frozen=True)
class Scenario:
    """One world, before it begins. Times are seconds from the world's begin."""

    seed: int
    kind: str
    job: Job
    window: float  # from a run's start to its deadline
    workload: Workload
    market: Market
    habits: Habits
    plan: Plan = field(default_factory=Plan)
    prices: Mapping[str, float] = field(default_factory=lambda: PRICES)
    starts_at: tuple[float, ...] = (0.0,)
    stop_at: float | None = None  # a person stops the open run
    abort_at: float | None = None  # a person aborts its execution
    crash_at: float | None = None  # its execution dies of itself
    old_code_until: float | None = None  # then the code is updated; what it left knows fewer fields
    resumes_at: float | None = None  # a person lets another run continue from the first one's checkpoints
    foreign_events: tuple[tuple[float, dict[str, Any]], ...] = ()  # state changes that are nobody's
    old_summaries: tuple[dict[str, Any], ...] = ()  # of the job's past runs
    writes_reports: bool = False
    executions_stall: bool = False  # while Step Functions is away
    late_allowed: float = 0.0  # seconds that these faults may cost
    model_expected: bool = True  # nothing in this world excuses a run without a model

    @property
    def deadline(self) -> float:
        """Of the first run."""
        return self.starts_at[0] + self.window

    @property
    def planned_work(self) -> float:
        """Seconds of work that are planned for, at speed 1."""
        return self.job.work_seconds * PLANNED_MARGIN

    @property
    def last_safe_moment(self) -> float:
        """Until when a run that has nothing yet may wait for Spot, as the policy reckons at its start."""
        speed = self.job.capacity.on_demand[0].speed if self.job.capacity.on_demand else 1.0
        lost = min(self.job.checkpoint_every_seconds, self.planned_work)
        needed = self.planned_work / speed + ON_DEMAND_CHANGE_OVER + lost + STOP_SECONDS + SPOT_CHANGE_OVER
        return self.deadline - needed

    @property
    def had_slack(self) -> bool:
        """Whether on-demand, asked for at the start, would have been in time by the plan's own estimates."""
        if not self.job.capacity.on_demand:
            return False
        return any(
            self.planned_work / spec.speed + ON_DEMAND_CHANGE_OVER + STOP_SECONDS <= self.window
            for spec in self.job.capacity.on_demand
        )


# --- the world without faults ---------------------------------------------------------------------------------


def quiet(seed: int, kind: str = "none") -> tuple[Scenario, Random]:
    """A world in which nothing goes wrong but the market, and the source of chance for its faults."""
    random = Random(f"{seed} {kind} world")
    types = random.sample(TYPES, 3)
    spot = types[: random.choice((1, 1, 2))]
    on_demand = types[: random.choice((1, 1, 1, 2))]
    speeds = {name: random.choice((1.0, 1.0, 0.7, 1.5)) for name in types}
    speeds[spot[0]] = 1.0
    steps = random.choice((12, 24, 48, 120))
    work = random.choice((1, 2, 3, 4)) * HOUR
    every = random.choice((10, 20, 30)) * MINUTE
    real = work * random.uniform(0.7, 1.1)
    slowest = min(speeds[name] for name in on_demand)
    least = work * PLANNED_MARGIN / slowest + ON_DEMAND_CHANGE_OVER + STOP_SECONDS
    window = math.ceil(least * random.choice((1.01, 1.1, 1.4, 1.8, 2.5)) / MINUTE) * MINUTE
    policy = random.choice(("patient", "patient", "patient", "eager", "on_demand"))
    fallback = random.choice(("on_demand",) * 6 + ("never",))
    budget = None
    if random.random() < 0.1:
        dearest = max(PRICES[name] / speeds[name] for name in (*spot, *on_demand))
        budget = {"per_run_usd": round(dearest * work / HOUR * random.choice((0.6, 1.3, 2.0)), 2)}
    moods = {name: random.choice(MOODS) for name in spot}
    fields: dict[str, Any] = {
        "name": "recommender",
        "deadline": {"within": f"{window / MINUTE:.0f}m"},
        "work": f"{work / MINUTE:.0f}m",
        "checkpoint_every": f"{every / MINUTE:.0f}m",
        "capacity": {
            "spot": [{"instance_type": name, "speed": speeds[name]} for name in spot],
            "on_demand": [{"instance_type": name, "speed": speeds[name]} for name in on_demand],
        },
        "policy": policy,
        "fallback": fallback,
        "concurrency": "forbid",
        "training_job": _request(round(work / slowest * 3)),
        **({} if budget is None else {"budget": budget}),
    }
    keeps_checkpoints = random.random() >= 0.08
    if not keeps_checkpoints:
        del fields["training_job"]["CheckpointConfig"]
    per_step = real / steps
    scenario = Scenario(
        seed=seed,
        kind=kind,
        job=Job.model_validate(fields),
        window=window,
        workload=Workload(
            total_steps=steps,
            seconds_per_step=per_step,
            # Not further apart than the file says, where the steps allow it.
            steps_per_save=max(1, int(every * 0.9 / (per_step / min(speeds.values())))),
            speeds=speeds,
            writes_progress=random.random() < 0.85,
        ),
        market=Market(
            spot={name: spot_intervals(moods[name], random, window) for name in spot},
            queues={name: random.choice((0.0, 60.0, 240.0)) for name in on_demand},
            quotas={},
            no_capacity={},
        ),
        habits=Habits(),
        writes_reports=random.random() < 0.1,
        model_expected=fallback != "never" and budget is None,
    )
    return scenario, Random(f"{seed} {kind} plan")


def reference(**changes: Any) -> Scenario:
    """The reference story: four hours of work, due after eight; Spot dies at 01:30, on-demand is always there."""
    name, steps = "ml.p4d.24xlarge", 24
    job = Job.model_validate(
        {
            "name": "recommender",
            "deadline": {"within": "8h"},
            "work": "4h",
            "checkpoint_every": "30m",
            "capacity": {"spot": [name], "on_demand": [name]},
            "training_job": _request(6 * 3600),
        }
    )
    fields: dict[str, Any] = {
        "seed": 0,
        "kind": "reference",
        "job": job,
        "window": 8 * HOUR,
        "workload": Workload(steps, 4 * HOUR / steps, 3, {name: 1.0}),
        "market": Market({name: [(0.0, 1.5 * HOUR)]}, {name: 0.0}, {}, {}),
        "habits": Habits(),
    }
    return Scenario(**{**fields, **changes})


def _request(longest_seconds: int) -> dict[str, Any]:
    return {
        "RoleArn": "arn:aws:iam::123456789012:role/nightspot-training",
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/recommender:1",
            "TrainingInputMode": "File",
        },
        "HyperParameters": {"epochs": "24"},
        "OutputDataConfig": {"S3OutputPath": "s3://nightspot-models/recommender/"},
        "CheckpointConfig": {"S3Uri": "s3://nightspot-checkpoints/recommender/"},
        "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": max(3600, longest_seconds)},
    }
