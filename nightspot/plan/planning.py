"""The plan of a run, and the CreateTrainingJob request of each of its attempts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from nightspot.decide import ladder, limits
from nightspot.decide.policy import next_step
from nightspot.formats import run_ids
from nightspot.formats.figures import format_duration
from nightspot.formats.run_ids import run_id_of
from nightspot.job.code_version import CodeVersion, parameters_of
from nightspot.job.markets import Fallback, Market, wait_limit_seconds, why_too_short
from nightspot.learn import history
from nightspot.learn.history import LearntStart
from nightspot.learn.identity import work_key_of
from nightspot.learn.work import UNLEARNT_WORK_MARGIN, LearntSpeed, LearntWork, learnt_work
from nightspot.record.model import RunRecord
from nightspot.run import estimates, pricing
from nightspot.run.model import (
    BEFORE_THE_FIRST,
    CONSOLE,
    Action,
    LeftOut,
    LimitingRun,
    Progress,
    Run,
    Rung,
    evolve,
)
from nightspot.run.reasons import clock

if TYPE_CHECKING:
    from nightspot.job.model import InstanceType, Job


# fact: sagemaker.checkpoints.path
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


def with_code(training_job: Mapping[str, Any], version: CodeVersion, s3_uri: str) -> dict[str, Any]:
    """The request with the code that all attempts of the run fetch and run, whose archive is at `s3_uri`."""
    parameters = {**training_job.get("HyperParameters", {}), **parameters_of(version, s3_uri)}
    return {**training_job, "HyperParameters": parameters}


def training_job_name(run: Run, attempt: int) -> str:
    """The attempt's name: the same for the same attempt, so that asking twice cannot start two jobs."""
    return run_ids.training_job_name(run.environment, run.job, run.run_id, attempt)


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
        *([{"Key": "nightspot:environment", "Value": run.environment}] if run.environment else []),
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
    history: Sequence[RunRecord] = ()  # the job's past runs, newest first
    work_key: str | None = None  # of those with the same work to do; None: as `identity.work_key_of` has it
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
    environment: str = "",
    code: CodeVersion | None = None,
) -> Run:
    """The run of `job` that started at `started_at` (aware UTC) as the execution `execution_arn`.

    `overrides`: what the run's input has changed already in `job`, for the record. The deadline counts from the
    moment for which the run was scheduled: a late start is no reason to wait a day longer for the model. Its share
    of a month's budget is not taken yet.
    `resumed`: the run whose checkpoints this one takes over, and its deadline (`_deadline`). The same execution
    always gives the same run id. `environment`: the deployment's, for the names of its training jobs. `code`: what
    the request in `job` names already (`with_code`), for the record.
    """
    run_id = run_id_of(execution_arn, started_at)
    per_run_usd = job.budget.per_run_usd if job.budget else None
    per_month_usd = job.budget.per_month_usd if job.budget else None
    is_the_months = per_month_usd is not None and (per_run_usd is None or per_month_usd < per_run_usd)
    work_key = known.work_key or work_key_of(job)
    work = learnt_work(job, work_key, known.history)
    types = [(market, spec) for market in Market for spec in job.capacity.rungs_of(market)]
    starts = [
        history.start_of(job, market, spec, known.history, work.spare_seconds) for market, spec in types
    ]
    rungs = tuple(
        _rung(job, market, spec, region, known, work.speeds[spec.instance_type], start)
        for (market, spec), start in zip(types, starts, strict=True)
    )
    own_prefix = checkpoint_prefix(job.training_job, run_id)
    fields: dict[str, Any] = {"checkpoint_s3_uri": own_prefix}
    if resumed is not None:
        fields.update(_inherited(resumed, own_prefix, work_key))
    run = Run(
        job=job.name,
        run_id=run_id,
        environment=environment,
        execution_arn=execution_arn,
        started_at=started_at,
        deadline=_deadline(job, started_at, overrides or {}, origin, resumed),
        rungs=rungs,
        work_seconds=work.expected_seconds,
        work_upper_seconds=work.upper_seconds,
        work_key=work_key,
        overhead_seconds=work.overhead_seconds,
        steps_share=work.steps_share,
        checkpoint_every_seconds=job.checkpoint_every_seconds,
        training_job=_tracked(job, run_id),
        trackers={} if job.tracking is None else job.tracking.links(run_id),
        fallback=job.fallback,
        policy=job.policy,
        budget_usd=per_month_usd if is_the_months else per_run_usd,
        budget_of="month" if is_the_months else "run",
        month_budget_usd=per_month_usd,
        left_out=(
            *_without_quota(rungs, known.quotas),
            *_too_short_on_spot(rungs, job, work.expected_seconds),
        ),
        overrides=dict(overrides or {}),
        scheduled_at=origin.scheduled_at,
        requested_by=origin.requested_by,
        code=code,
        **fields,
    )
    limited_by = _limited_by(run, job, work, starts)
    if limited_by is not None:
        limited_by = replace(limited_by, is_new=not any(past.limited_by_run for past in known.history[:1]))
    return evolve(run, limited_by=limited_by)


def _tracked(job: Job, run_id: str) -> Mapping[str, Any]:
    """The job's request with the variables by which its tracker knows the run."""
    if job.tracking is None:
        return job.training_job
    given = job.training_job.get("Environment") or {}
    return {**job.training_job, "Environment": {**given, **job.tracking.environment(job.name, run_id)}}


def _deadline(
    job: Job,
    started_at: datetime,
    overrides: Mapping[str, Any],
    origin: RunOrigin,
    resumed: ResumedRun | None,
) -> datetime:
    """When the model is due.

    That of a run that was resumed is due when its own was, though that has passed, until the next one would be:
    somebody waits for it. Unless its input says otherwise, and where nothing could be bought for it any more.
    """
    own = job.deadline.after(origin.scheduled_at or started_at)
    if resumed is None or origin.scheduled_at is not None:
        return own
    before = resumed.run
    is_given = overrides.get("deadline") != before.overrides.get("deadline")
    is_past = before.deadline <= started_at
    if is_given or (is_past and job.fallback is Fallback.NEVER):
        return own
    return before.deadline if job.deadline.after(before.deadline) > started_at else own


def _limited_by(run: Run, job: Job, work: LearntWork, starts: Sequence[LearntStart]) -> LimitingRun | None:
    """The past run because of which `run` asks for no Spot, where the job file's own figures would."""
    if not run.rungs_of(Market.SPOT) or _begins_with_spot(run):
        return None
    stated = evolve(
        run,
        work_seconds=float(job.work_seconds),
        work_upper_seconds=job.work_seconds * UNLEARNT_WORK_MARGIN,
        overhead_seconds=0.0,
    )
    rungs = tuple(replace(rung, change_over_seconds=job.change_over.of(rung.market)) for rung in run.rungs)
    if not _begins_with_spot(evolve(stated, rungs=rungs)):
        return None
    slow = [(start.seconds, start.longest) for start in starts if start.longest is not None]
    if work.longest is not None and (_begins_with_spot(stated) or not slow):
        return LimitingRun(work.longest.run.run_id, work.upper_seconds)
    if not slow:
        return None
    seconds, longest = max(slow, key=lambda each: each[0])
    return LimitingRun(longest.run_id, seconds, is_start=True)


def _begins_with_spot(run: Run) -> bool:
    step = next_step(run, run.started_at)
    return step.rung is not None and step.rung.market is Market.SPOT


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
        fields["inherited_fraction"] = estimates.durable_fraction(before)
    elif progress is not None:
        # Of other work nobody knows which part is done; the step is still what training must go on from.
        progress = evolve(progress, fraction=None, total_steps=None)
    if progress is not None:
        progress = evolve(progress, trackers={})  # they are that run's
        fields["inherited"] = progress
        fields["progress"] = evolve(progress, attempt=BEFORE_THE_FIRST)
        fields["furthest_step"] = progress.step
    return fields


# fact: sagemaker.quota.names
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


def _rung(
    job: Job,
    market: Market,
    spec: InstanceType,
    region: str,
    known: Known,
    speed: LearntSpeed,
    start: LearntStart,
) -> Rung:
    past, instance_type = known.history, spec.instance_type
    patience = spec.patience_seconds
    return Rung(
        market=market,
        instance_type=instance_type,
        region=region,
        instance_count=job.instance_count,
        speed=speed.speed if speed.paces else spec.speed,
        change_over_seconds=start.seconds,
        patience_seconds=history.patience_seconds(past, market, instance_type)
        if patience is None
        else patience,
        mean_life_seconds=history.mean_life_seconds(past, instance_type) if market is Market.SPOT else None,
        **_priced(known.price(instance_type, region), job.instance_count),
        **(_expected_discount(instance_type, known) if market is Market.SPOT else {}),
    )


def _priced(price: pricing.Price | float | None, instance_count: int) -> dict[str, Any]:
    """A rung's fields about its price."""
    if not isinstance(price, pricing.Price):
        return {"usd_per_hour": price}
    return {
        "usd_per_hour": price.usd_per_hour,
        "price_source": price.origin,
        "price_date": price.date,
        "price_assumed": price.assumed,
        # Of a Spot rung too: accounts may compare with its type on-demand.
        "least_usd_per_hour": price.least_usd_per_hour(instance_count),
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
    return " ".join([*_late_start(run), *_resumption(run, resumed), *_limit(run)]) or None


def _limit(run: Run) -> Iterator[str]:
    limit = run.limited_by
    if limit is None:
        return
    took = f"{'its on-demand start' if limit.is_start else 'its training'} sets a limit of"
    yield (
        f"No Spot, because of what past runs teach: run {limit.run_id}, {took}"
        f" {format_duration(limit.seconds)}, leaves it no time. `nightspot history` shows all of them, and"
        f" `--forget {limit.run_id}` takes it out."
    )


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
    if run.deadline == before.deadline and run.deadline <= run.started_at:
        yield f"Its model was due when that run's was, at {clock(run.deadline)}."
    if run.work_key != before.work_key:
        yield (
            f"Its work is not that of run {before.run_id} (algorithm, channels, hyperparameters or `work` differ):"
            " how much of it is done, nobody knows."
        )
    if (differs := code_differs(run.code, before.code)) is not None:
        yield f"{differs}: its checkpoints must still fit."


def code_differs(code: CodeVersion | None, before: CodeVersion | None) -> str | None:
    """How the code of a run differs from that of the one it resumes, `before`; None: it does not."""
    if (code.identity if code else None) == (before.identity if before else None):
        return None
    known = [version.words if version else "not on record" for version in (code, before)]
    return f"Its code differs: {known[0]}, and that of the run before was {known[1]}"


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
