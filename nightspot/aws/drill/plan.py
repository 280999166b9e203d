"""Decides what a drill on AWS asks of SageMaker: two short jobs on one checkpoint prefix, and their worst price."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightspot.costs.account import hourly_usd
from nightspot.decide import limits
from nightspot.formats.durations import format_duration
from nightspot.job import InvalidJobError, Job, Market, Problem
from nightspot.plan import request as requests
from nightspot.run.model import STOP_SECONDS, Run, Rung

TRAINING_JOBS = 2
ID_CHARACTERS = 12  # more would not fit into a training job's name beside the longest job name
_TOKEN_CHARACTERS = 5
# A queue for a machine is not billed; on-demand GPUs have been seen to take most of an hour.
MOST_WAIT_SECONDS = 2 * 3600

Price = Callable[[str, str], float | None]
"""(instance type, region) -> on-demand USD per instance hour, or None where it is not known."""


@dataclass(frozen=True)
class DrillPlan:
    """A drill that has not begun.

    `run` is its ledger, without attempts; its run id is `drill-ID`, so that names, tags and prefix are built like
    those of any run. `output_uri` is where the two jobs put what they call a model.
    """

    run: Run
    rung: Rung
    max_runtime_seconds: int  # of each job, as SageMaker holds it
    checkpoint_uri: str
    output_uri: str
    to_the_end: bool = False  # job 2 trains until it is complete

    @property
    def most_usd(self) -> float | None:
        """What both jobs cost at most, their stops included; None without a price.

        At the on-demand price in either market: Spot never costs more.
        """
        price = hourly_usd(self.rung)
        if price is None:
            return None
        return TRAINING_JOBS * (self.max_runtime_seconds + STOP_SECONDS) / 3600 * price

    @property
    def price_in_words(self) -> str:
        """ "at most $3.30: two training jobs on 1 x on-demand ml.g5.xlarge, …": one sentence for who has to pay."""
        limit = f"of at most {format_duration(self.max_runtime_seconds)} and a stop each"
        what = f"two training jobs on {self.rung.instance_count} x {self.rung.label}, {limit}"
        if self.most_usd is None:
            return f"{what}; no price is known for {self.rung.instance_type} in {self.rung.region}"
        of_spot = ", which Spot stays below" if self.rung.market is Market.SPOT else ""
        return f"at most ${self.most_usd:,.2f}: {what}, at ${self.rung.usd_per_hour:,.3f} an hour{of_spot}"


def drill_id(now: datetime, token: str) -> str:
    """The drill's own name, from the day and five characters of `token` (random hexadecimal): "261121-3fa9c"."""
    return f"{now:%y%m%d}-{token[:_TOKEN_CHARACTERS]}"


def plan_drill(
    job: Job,
    *,
    drill_id: str,
    region: str,
    now: datetime,
    price: Price,
    market: Market = Market.ON_DEMAND,
    instance_type: str | None = None,
    max_runtime_seconds: int = 3600,
    to_the_end: bool = False,
) -> DrillPlan:
    """The drill of `job`, whose request has no placeholders any more, on its first instance type or on another.

    Raises InvalidJobError for a job without checkpoints: there would be nothing to resume from.
    """
    run_id = f"drill-{drill_id}"
    checkpoint_uri = requests.checkpoint_prefix(job.training_job, run_id)
    if checkpoint_uri is None:
        rule = "must be given: without checkpoints there is nothing to resume from"
        raise InvalidJobError([Problem("training_job.CheckpointConfig.S3Uri", "nothing", rule)], job.name)
    kind = instance_type or _first_type(job, market)
    rung = Rung(market, kind, region, instance_count=job.instance_count, usd_per_hour=price(kind, region))
    output_uri = f"{checkpoint_uri.removesuffix(run_id)}drill-output-{drill_id}"
    request, limit_seconds = _short(job.training_job, max_runtime_seconds, output_uri)
    run = Run(
        job=job.name,
        run_id=run_id,
        execution_arn="",
        started_at=now,
        deadline=now,
        rungs=(rung,),
        work_seconds=job.work_seconds,
        work_upper_seconds=job.work_seconds,
        checkpoint_every_seconds=job.checkpoint_every_seconds,
        checkpoint_s3_uri=checkpoint_uri,
        training_job=request,
    )
    return DrillPlan(run, rung, limit_seconds, checkpoint_uri, output_uri, to_the_end)


def create_request(plan: DrillPlan, run: Run, attempt: int, now: datetime) -> dict[str, Any]:
    """The CreateTrainingJob request of one of the two jobs, 1 or 2, asked for at `now`."""
    request = requests.create_training_job(run, plan.rung, attempt, now)
    # A run's limits come from its work and its deadline; a drill has neither.
    stopping = request["StoppingCondition"]
    stopping["MaxRuntimeInSeconds"] = plan.max_runtime_seconds
    if plan.rung.market is Market.SPOT:
        stopping["MaxWaitTimeInSeconds"] = MOST_WAIT_SECONDS + plan.max_runtime_seconds
    return request


def _first_type(job: Job, market: Market) -> str:
    rungs = job.capacity.rungs_of(market) or (job.capacity.first,)
    return rungs[0].instance_type


def _short(request: dict[str, Any], limit_seconds: int, output_uri: str) -> tuple[dict[str, Any], int]:
    """The job's request as a drill has it, and the limit that holds: the tighter of the user's and the drill's."""
    short = copy.deepcopy(request)
    stopping = short.setdefault("StoppingCondition", {})
    own_seconds: int = stopping.get("MaxRuntimeInSeconds", limits.DEFAULT_RUNTIME_SECONDS)
    stopping["MaxRuntimeInSeconds"] = min(limit_seconds, own_seconds)
    stopping.pop("MaxWaitTimeInSeconds", None)  # made for a whole night
    # A warm pool would go on costing after the drill.
    short.get("ResourceConfig", {}).pop("KeepAlivePeriodInSeconds", None)
    # Stopping a job uploads what it has as its model: nobody may take that for tonight's. Not below the checkpoint
    # prefix, and not a name that begins like it, or job 2 would be given it as a checkpoint.
    short.setdefault("OutputDataConfig", {})["S3OutputPath"] = output_uri
    return short, stopping["MaxRuntimeInSeconds"]
