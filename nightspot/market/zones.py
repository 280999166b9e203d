"""Which markets a backtest plays on, and what a job file says about its nights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nightspot.job.cautions import window_seconds
from nightspot.job.markets import Market
from nightspot.job.model import Job, dig
from nightspot.market.availability import Availability
from nightspot.market.generator import generate, profiles
from nightspot.market.samples import BacktestError, Setting, Zone
from nightspot.market.traces import Trace, TraceError, load_trace, load_traces, pool
from nightspot.plan.planning import Known, plan_run
from nightspot.run.model import STOP_SECONDS, Run

GENERATED_DAYS = 31
GENERATED_PER_PROFILE = 3
# Without a checkpoint nothing survives a reclaim, however long it has trained: SageMaker's longest job.
NEVER_SAVED_SECONDS = 28 * 24 * 3600.0
REGION = "eu-west-1"  # whose prices set the rungs of a ladder against each other


def from_traces(path: Path, *, pooled: bool = False) -> tuple[Zone, ...]:
    """A zone for each trace below a folder, or of one file; pooled: all of them as one.

    Raises TraceError for a folder that cannot be read, holds none or a malformed one, and for traces that
    cannot be pooled.
    """
    try:
        if not path.is_file():
            next(path.iterdir(), None)
        traces = (load_trace(path),) if path.is_file() else load_traces(path)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    return (_zone(pool(traces)),) if pooled else tuple(_zone(trace) for trace in traces)


def generated(seed: int, *, pooled: bool = False) -> tuple[Zone, ...]:
    """Three made-up zones of 31 days for each shipped profile, or all of them as one; without prices."""
    zones = tuple(
        Zone(
            f"{name}-{number}",
            generate(
                market,
                seconds=GENERATED_DAYS * 24 * 3600.0,
                randomness=np.random.default_rng([seed, *name.encode(), number]),
                name=f"{name}-{number}",
            ),
        )
        for name, market in profiles().items()
        for number in range(1, GENERATED_PER_PROFILE + 1)
    )
    return (pooled_zone(zones),) if pooled else zones


def pooled_zone(zones: Sequence[Zone]) -> Zone:
    """The market of one who takes any of these zones: up where one of them is, cut to the shortest.

    As in `traces.pool`, a machine is only lost where no zone has another: this flatters.
    """
    length = min(zone.changes.length_seconds for zone in zones)
    starts = np.unique(np.concatenate([zone.changes.starts_seconds for zone in zones]))
    up = np.zeros(len(starts), dtype=np.bool_)
    for zone in zones:
        changes = zone.changes
        up |= changes.up[np.searchsorted(changes.starts_seconds, starts, side="right") - 1]
    name = "+".join(zone.name for zone in zones)
    changes = Availability.merged(starts, up, length_seconds=length, name=name)
    return Zone(name, changes, max(zone.gap_seconds for zone in zones))


def plan_of(job: Job, *, price: Callable[[str, str], float | None]) -> Run:
    """The plan that ours plays for `job`: its whole ladder. `price`: see `planning.Price`.

    Prices set the rungs of the ladder against each other. The budget and `fallback` are left out: a backtest asks
    what the nights cost until the model is there. Raises BacktestError for a job without rungs in both markets.
    """
    for market in Market:
        if not job.capacity.rungs_of(market):
            rule = "must name an instance type, because both markets are compared"
            raise BacktestError(f"capacity.{market.value}: none: {rule}")
    started_at = datetime(2026, 1, 1, tzinfo=UTC)  # decides nothing that a backtest reads
    return plan_run(job, started_at=started_at, execution_arn=job.name, region=REGION, known=Known(price))


def setting_of(job: Job | None = None, *, spot_ratio: float | None = 0.30, **given: float | None) -> Setting:
    """The setting of what was `given` (fields of Setting; None: not given), else of the job, else the default.

    A job's nights last from its schedule's start to its deadline (the shortest of a year), and its change-overs,
    checkpoints and stops take what is planned for. Raises BacktestError as Setting does, and where neither the job
    nor `given` says how long a night is.
    """
    known = {name: value for name, value in given.items() if value is not None}
    fields: dict[str, Any] = {} if job is None else _of_job(job)
    if "changeover_seconds" in known:
        fields.pop("on_demand_changeover_seconds", None)
    fields |= known
    if fields.get("window_seconds", 0.0) is None:
        raise BacktestError(
            "window_seconds: must be given, because no schedule starts the job at one time of day and its deadline"
            " has no `within`"
        )
    return Setting(spot_ratio=spot_ratio, **fields)


def _of_job(job: Job) -> dict[str, Any]:
    saves = dig(job.training_job, "CheckpointConfig", "S3Uri") is not None
    return {
        "work_seconds": float(job.work_seconds),
        "window_seconds": window_seconds(job),
        "changeover_seconds": float(job.change_over.spot_seconds),
        "on_demand_changeover_seconds": float(job.change_over.on_demand_seconds),
        "checkpoint_seconds": float(job.checkpoint_every_seconds) if saves else NEVER_SAVED_SECONDS,
        "stop_seconds": float(STOP_SECONDS),
        "on_demand_speed": max((rung.speed for rung in job.capacity.on_demand), default=1.0),
    }


def _zone(trace: Trace) -> Zone:
    prices = trace.prices() if trace.spot_price_changes else None
    return Zone(trace.name, trace.changes(), trace.gap_seconds, prices, trace.on_demand_usd_per_hour)
