"""The plan of a run, and the CreateTrainingJob request of each of its attempts."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from nightspot.decide import ladder, limits
from nightspot.decide.policy import next_step
from nightspot.formats.figures import format_duration
from nightspot.formats.run_ids import run_id_of
from nightspot.job.markets import Market, wait_limit_seconds, why_too_short
from nightspot.learn import history
from nightspot.record.model import RunRecord
from nightspot.run import estimates, pricing
from nightspot.run.model import BEFORE_THE_FIRST, CONSOLE, Action, LeftOut, Progress, Run, Rung, evolve
from nightspot.run.reasons import clock

if TYPE_CHECKING:
    from nightspot.job.model import InstanceType, Job


DEFAULT_CHECKPOINT_PATH = "/opt/ml/checkpoints"
# What an attempt changes of the user's request. The ledger carries these alone through the state machine, whose
# payloads hold 256 KiB, and the rest of the request goes beside it.
CHANGED = ("CheckpointConfig", "EnableManagedSpotTraining", "ResourceConfig", "StoppingCondition")


def split(training_job: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The user's request in two: what every attempt changes, and what it leaves as it is.

    The workflow puts them together again: its `Start the training job` adds to Environment and Tags what
    `create_training_job` returns, and replaces the rest.
    """
    changed = {name: value for name, value in training_job.items() if name in CHANGED}
    if (wait := wait_limit_seconds(training_job)) is not None:
        # It may come from the algorithm, which the ledger does not know.
        changed["StoppingCondition"] = {**changed.get("StoppingCondition", {}), "MaxWaitTimeInSeconds": wait}
    return changed, {name: value for name, value in training_job.items() if name not in CHANGED}


def training_job_name(run: Run, attempt: int) -> str:
    """The attempt's name: the same for the same attempt, so that asking twice cannot start two jobs."""
    return f"nightspot-{run.job}-{run.run_id}-{attempt}"


def checkpoint_prefix(training_job: Mapping[str, Any], run_id: str) -> str | None:
    """The run's own prefix below the user's. None where the request names none.

    One prefix per run, because with a shared one tonight's job finds last night's finished checkpoint and
    trains nothing; shared by all attempts of the run, because that is how they resume.
    """
    uri = training_job.get("CheckpointConfig", {}).get("S3Uri")
    return None if uri is None else f"{uri.rstrip('/')}/{run_id}"


def create_training_job(run: Run, rung: Rung, attempt: int, now: datetime) -> dict[str, Any]:
    """The request for `attempt` on `rung` as AWS writes it, as far as `run.training_job` holds it (`split`)."""
    request: dict[str, Any] = copy.deepcopy(dict(run.training_job))
    request["TrainingJobName"] = training_job_name(run, attempt)
    request.setdefault("ResourceConfig", {})["InstanceType"] = rung.instance_type
    if run.checkpoint_s3_uri is not None:
        config = request.setdefault("CheckpointConfig", {})
        config["S3Uri"] = run.checkpoint_s3_uri
        config.setdefault("LocalPath", DEFAULT_CHECKPOINT_PATH)
    stopping = request.setdefault("StoppingCondition", {})
    stopping["MaxRuntimeInSeconds"] = _max_runtime_seconds(run, rung)
    if rung.market is Market.SPOT:
        request["EnableManagedSpotTraining"] = True
        wait = wait_limit_seconds(run.training_job) or _max_wait_seconds(run, stopping, now)
        stopping["MaxWaitTimeInSeconds"] = wait
        # The wait counts waiting and running, and SageMaker refuses one that is shorter.
        stopping["MaxRuntimeInSeconds"] = min(stopping["MaxRuntimeInSeconds"], wait)
        # It bounds the queueing of a job without Spot.
        stopping.pop("MaxPendingTimeInSeconds", None)
    else:
        request.pop("EnableManagedSpotTraining", None)
        # SageMaker rejects it on a job without Spot.
        stopping.pop("MaxWaitTimeInSeconds", None)
    request["Environment"] = {
        **request.get("Environment", {}),
        "NIGHTSPOT_RUN_ID": run.run_id,
        "NIGHTSPOT_ATTEMPT": str(attempt),
    }
    if rung.mean_life_seconds is not None:
        # How often checkpoints are worth their time hangs on it.
        request["Environment"]["NIGHTSPOT_MEAN_LIFE_SECONDS"] = f"{rung.mean_life_seconds:.0f}"
    request["Tags"] = [
        *request.get("Tags", []),
        {"Key": "nightspot:job", "Value": run.job},
        {"Key": "nightspot:run", "Value": run.run_id},
        {"Key": "nightspot:attempt", "Value": str(attempt)},
        {"Key": "nightspot:market", "Value": rung.market.value},
    ]
    return request


def _max_runtime_seconds(run: Run, rung: Rung) -> int:
    """The attempt's limit, or what the rest of the budget pays for: it holds even if the workflow has crashed."""
    limit = limits.runtime_limit_seconds(run, rung)
    paid = ladder.paid_seconds(run, rung)
    if paid is not None and paid < limit:
        limit = paid + run.stop_seconds
    return max(1, floor(limit))


def _max_wait_seconds(run: Run, stopping: Mapping[str, Any], now: datetime) -> int:
    """Waiting up to the deadline plus a whole run: the net below the policy, which stops a wait in time.

    It counts waiting and running, and must never kill a job that is training past the deadline. Where on-demand has
    no machine, Spot is waited for past the deadline as well.
    """
    max_runtime: int = stopping["MaxRuntimeInSeconds"]
    until = ladder.give_up_at(run) if ladder.ladder_of(run).is_spots_turn else run.deadline
    return min(limits.LONGEST_SECONDS, max(0, ceil((until - now).total_seconds())) + max_runtime)


Price = Callable[[str, str], pricing.Price | float | None]
"""(instance type, region) -> the on-demand price of an instance hour, or None where it is not known.

A bare number is USD that nobody stands behind, such as a simulated market's.
"""


@dataclass(frozen=True)
class Known:
    """What is known beside the job when its run is planned."""

    price: Price
    history: Sequence[RunRecord] = ()  # the job's past runs
    quotas: Mapping[str, float] = field(
        default_factory=dict
    )  # by name, as Service Quotas writes it; may lack any
    # By instance type, what EC2's Spot prices let expect; may lack any.
    spot_hints: Mapping[str, pricing.SpotDiscount] = field(default_factory=dict)


@dataclass(frozen=True)
class RunOrigin:
    """Who asked for a run, and for when."""

    scheduled_at: datetime | None = None  # aware; None: for now
    requested_by: str = CONSOLE


@dataclass(frozen=True)
class ResumedRun:
    """The run on whose checkpoints another one goes on, and what there is of them."""

    run: Run
    progress: Progress | None = None  # what its progress file says now; None: nothing readable
    is_empty: bool = True  # nothing at all lies below its prefix


def plan_run(
    job: Job,
    *,
    started_at: datetime,
    execution_arn: str,
    region: str,
    known: Known,
    overrides: Mapping[str, Any] | None = None,
    origin: RunOrigin = RunOrigin(),
    resumed: ResumedRun | None = None,
) -> Run:
    """The run of `job` that started at `started_at` (aware UTC) as the execution `execution_arn`.

    `overrides`: what the run's input has changed already in `job`, for the record. The deadline counts from the
    moment for which the run was scheduled: a late start is no reason to wait a day longer for the model. Its share
    of a month's budget is not taken yet.
    `resumed`: the run whose checkpoints this one takes over. The same execution always gives the same run id.
    """
    run_id = run_id_of(execution_arn, started_at)
    per_run_usd = job.budget.per_run_usd if job.budget else None
    per_month_usd = job.budget.per_month_usd if job.budget else None
    is_the_months = per_month_usd is not None and (per_run_usd is None or per_month_usd < per_run_usd)
    work_key = work_key_of(job)
    work_seconds, work_upper_seconds = history.work_seconds(known.history, work_key, job.work_seconds)
    rungs = (
        *(_rung(job, Market.SPOT, spec, region, known) for spec in job.capacity.spot),
        *(_rung(job, Market.ON_DEMAND, spec, region, known) for spec in job.capacity.on_demand),
    )
    own_prefix = checkpoint_prefix(job.training_job, run_id)
    fields: dict[str, Any] = {"checkpoint_s3_uri": own_prefix}
    if resumed is not None:
        fields.update(_inherited(resumed, own_prefix, work_key))
    return Run(
        job=job.name,
        run_id=run_id,
        execution_arn=execution_arn,
        started_at=started_at,
        deadline=job.deadline.after(origin.scheduled_at or started_at),
        rungs=rungs,
        work_seconds=work_seconds,
        work_upper_seconds=work_upper_seconds,
        work_key=work_key,
        checkpoint_every_seconds=job.checkpoint_every_seconds,
        training_job=job.training_job,
        fallback=job.fallback,
        policy=job.policy,
        budget_usd=per_month_usd if is_the_months else per_run_usd,
        budget_of="month" if is_the_months else "run",
        month_budget_usd=per_month_usd,
        left_out=(*_without_quota(rungs, known.quotas), *_too_short_on_spot(rungs, job, work_seconds)),
        overrides=dict(overrides or {}),
        scheduled_at=origin.scheduled_at,
        requested_by=origin.requested_by,
        **fields,
    )


def resumed_prefix(own_prefix: str | None, previous: Run) -> str | None:
    """The checkpoint prefix of a run that resumes `previous`: that run's, unless one of them keeps no checkpoints.

    Nothing is copied: nobody writes there any more, and it may be hundreds of gigabytes.
    """
    return own_prefix and (previous.checkpoint_s3_uri or own_prefix)


def _inherited(resumed: ResumedRun, own_prefix: str | None, work_key: str) -> dict[str, Any]:
    """A run's fields about the run that it resumes."""
    before, progress = resumed.run, resumed.progress
    fields: dict[str, Any] = {
        "resume_from": before.run_id,
        "checkpoint_s3_uri": resumed_prefix(own_prefix, before),
    }
    if own_prefix is None or before.checkpoint_s3_uri is None or resumed.is_empty:
        return fields
    if before.work_key == work_key:
        # Of other work nobody knows which part is done.
        fields["inherited_fraction"] = estimates.durable_fraction(before)
    if progress is not None:
        fields["inherited"] = progress
        fields["progress"] = evolve(progress, attempt=BEFORE_THE_FIRST)
        fields["furthest_step"] = progress.step
    return fields


def quota_name(market: Market, instance_type: str) -> str:
    """What Service Quotas calls the limit that a rung draws on. Spot's and on-demand's are separate."""
    return f"{instance_type} for {'spot ' if market is Market.SPOT else ''}training job usage"


def _without_quota(rungs: Iterable[Rung], quotas: Mapping[str, float]) -> Iterator[LeftOut]:
    for rung in rungs:
        limit = quotas.get(quota_name(rung.market, rung.instance_type))
        if limit is not None and limit < rung.instance_count:
            yield LeftOut(rung, f"its quota is {limit:g}, and {rung.instance_count} are needed")


def _too_short_on_spot(rungs: Iterable[Rung], job: Job, work_seconds: float) -> Iterator[LeftOut]:
    for rung in rungs:
        if rung.market is Market.SPOT and (why := why_too_short(job.training_job, work_seconds / rung.speed)):
            yield LeftOut(rung, why)


def work_key_of(job: Job) -> str:
    """What makes two runs the same work: the request and the length that the file states. Eight characters."""
    request = {name: value for name, value in job.training_job.items() if name != "Tags"}
    known = json.dumps([request, job.work_seconds], sort_keys=True, default=str)
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def _rung(job: Job, market: Market, spec: InstanceType, region: str, known: Known) -> Rung:
    change_over = job.change_over
    stated = change_over.spot_seconds if market is Market.SPOT else change_over.on_demand_seconds
    return Rung(
        market=market,
        instance_type=spec.instance_type,
        region=region,
        instance_count=job.instance_count,
        speed=spec.speed,
        change_over_seconds=history.change_over_seconds(known.history, market, spec.instance_type, stated),
        patience_seconds=(
            spec.patience_seconds
            if spec.patience_seconds is not None
            else history.patience_seconds(known.history, market, spec.instance_type)
        ),
        mean_life_seconds=(
            history.mean_life_seconds(known.history, spec.instance_type) if market is Market.SPOT else None
        ),
        **_priced(known.price(spec.instance_type, region), market, job.instance_count),
        **(_expected_discount(spec.instance_type, known) if market is Market.SPOT else {}),
    )


def _priced(price: pricing.Price | float | None, market: Market, instance_count: int) -> dict[str, Any]:
    """A rung's fields about its price. A Savings Plan never touches Spot: nobody documents that it would."""
    if not isinstance(price, pricing.Price):
        return {"usd_per_hour": price}
    return {
        "usd_per_hour": price.usd_per_hour,
        "price_source": price.origin,
        "price_date": price.date,
        "price_assumed": price.assumed,
        "plan_usd_per_hour": (
            price.on_demand_leg_usd_per_hour(instance_count) if market is Market.ON_DEMAND else None
        ),
    }


def _expected_discount(instance_type: str, known: Known) -> dict[str, Any]:
    expected = history.expected_spot_discount(
        known.history, instance_type, known.spot_hints.get(instance_type)
    )
    return {"spot_discount": expected.value, "spot_discount_basis": expected.basis}


# A start is never on the second, and EventBridge Scheduler's own is up to a minute behind.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/what-is-scheduler.html
ON_TIME = timedelta(minutes=1)


def plan_note(run: Run, resumed: ResumedRun | None = None) -> str | None:
    """The sentences about the plan of `run`, before its turn is taken; None where all is as always."""
    return " ".join([*_late_start(run), *_resumption(run, resumed)]) or None


def _late_start(run: Run) -> Iterator[str]:
    """What is still possible, as of the start."""
    if run.scheduled_at is None or run.started_at - run.scheduled_at <= ON_TIME:
        return
    late = format_duration((run.started_at - run.scheduled_at).total_seconds())
    window = format_duration((run.deadline - run.scheduled_at).total_seconds())
    left = (run.deadline - run.started_at).total_seconds()
    if left > 0:
        left_of_it = f"{format_duration(left)} are left of {window}"
    else:
        left_of_it = (
            f"its deadline, {clock(run.deadline, run.started_at)}, passed {format_duration(-left)} ago"
        )
    rung = ladder.repair_rung(run, run.started_at) or ladder.next_rung(run, Market.SPOT)
    work = ""
    if rung is not None:
        work = f", with {format_duration(estimates.work_left_seconds(run, rung))} of work left at most"
    yield f"Started {late} late: {left_of_it}{work}; {_still_possible(run)}."


def _still_possible(run: Run) -> str:
    step = next_step(run, run.started_at)
    if step.action is not Action.START or step.rung is None:
        return f"nothing is asked for: {step.because.rstrip('.')}"
    if step.rung.market is Market.SPOT:
        leave_at = ladder.last_safe_at(run, run.started_at, step.rung)
        return f"Spot may still be waited for until {clock(leave_at or run.deadline, run.started_at)}"
    if step.late:
        return f"even on-demand at once is late by about {format_duration(_late_seconds(run, step.rung))}"
    if run.rungs_of(Market.SPOT) and not ladder.has_had_enough_of_spot(run):
        return "on-demand at once is the only way that is in time"
    return "on-demand at once is in time"


def _late_seconds(run: Run, rung: Rung) -> float:
    needed = timedelta(seconds=ladder.seconds_needed(run, rung))
    return (run.started_at + needed - run.deadline).total_seconds()


def _resumption(run: Run, resumed: ResumedRun | None) -> Iterator[str]:
    if resumed is None:
        return
    before = resumed.run
    yield f"{_start_of(run, resumed)}."
    if run.work_key != before.work_key:
        yield f"The job's training request or its `work` is not the same as that of run {before.run_id}."


def _start_of(run: Run, resumed: ResumedRun) -> str:
    name = f"run {resumed.run.run_id}"
    if run.checkpoint_s3_uri is None:
        return f"Follows {name} from zero: the job keeps no checkpoints"
    if resumed.run.checkpoint_s3_uri is None:
        return f"Follows {name} from zero: it kept no checkpoints"
    if resumed.is_empty:
        return f"Follows {name} from zero: it has left no checkpoint"
    if resumed.progress is None:
        share = estimates.durable_fraction(run)
        about = (
            f"about {share:.0%} of the work, going by its training time" if share else "how far, is not known"
        )
        return f"Continues from the checkpoints of {name} ({about})"
    of = f" of {resumed.progress.total_steps}" if resumed.progress.total_steps else ""
    return f"Continues from step {resumed.progress.step}{of}, the last checkpoint of {name}"
