"""Makes a run out of a job and a moment: its id, deadline, ladder with prices, estimates, checkpoint prefix."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from nightspot import estimates, requests
from nightspot.job import Market
from nightspot.run import Run, Rung

if TYPE_CHECKING:
    from nightspot.job import InstanceType, Job

Price = Callable[[str, str], float | None]
"""(instance type, region) -> on-demand USD per instance hour, or None where it is not known."""


def plan_run(job: Job, *, started_at: datetime, execution_arn: str, region: str, price: Price) -> Run:
    """The run of `job` that started at `started_at` (aware UTC) as the execution `execution_arn`.

    The same execution always gives the same run id.
    """
    run_id = run_id_of(execution_arn, started_at)
    return Run(
        job=job.name,
        run_id=run_id,
        execution_arn=execution_arn,
        started_at=started_at,
        deadline=job.deadline.after(started_at),
        rungs=(
            *(_rung(job, Market.SPOT, spec, region, price) for spec in job.capacity.spot),
            *(_rung(job, Market.ON_DEMAND, spec, region, price) for spec in job.capacity.on_demand),
        ),
        work_seconds=job.work_seconds,
        work_upper_seconds=estimates.upper_work_seconds(job.work_seconds),
        checkpoint_every_seconds=job.checkpoint_every_seconds,
        checkpoint_s3_uri=requests.checkpoint_prefix(job.training_job, run_id),
        training_job=job.training_job,
        fallback=job.fallback,
        budget_usd=job.budget.per_run_usd if job.budget else None,
    )


def run_id_of(execution_arn: str, started_at: datetime) -> str:
    """Date and six characters of the execution: sortable, and unique per execution. 15 characters."""
    digest = hashlib.sha256(execution_arn.encode()).hexdigest()
    return f"{started_at:%Y%m%d}-{digest[:6]}"


def _rung(job: Job, market: Market, spec: InstanceType, region: str, price: Price) -> Rung:
    change_over = job.change_over
    return Rung(
        market=market,
        instance_type=spec.instance_type,
        region=region,
        instance_count=job.instance_count,
        speed=spec.speed,
        usd_per_hour=price(spec.instance_type, region),
        change_over_seconds=(
            change_over.spot_seconds if market is Market.SPOT else change_over.on_demand_seconds
        ),
    )
