"""Whether the sections of a job file fit each other and leave Nightspot what it must set.

Each rule is one function from a draft to its problems; a rule whose sections are unsound or absent
has nothing to say. Most hold for every job; a few hold a file's author to their word, and not the ladder
that the overrides of a run have changed. What AWS would refuse at night is refused here, by the facts in
https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nightspot.formats.figures import format_duration
from nightspot.job.cautions import flexible_seconds, need, surest_market, whole_window_seconds
from nightspot.job.code_version import CODE_PARAMETERS, PROGRAM
from nightspot.job.errors import Problem, describe, dotted, problem
from nightspot.job.markets import Concurrency, Fallback, Interruptible, Policy
from nightspot.job.model import (
    Budget,
    Capacity,
    ChangeOver,
    Code,
    Job,
    Local,
    OverrideLimits,
    Tracking,
    dig,
)
from nightspot.job.places import broken_place, places_in
from nightspot.job.request_shape import LARGEST_COUNT
from nightspot.job.times import LONGEST_SECONDS, Deadline, Schedule

# fact: sagemaker.tags.count
LARGEST_TAG_COUNT = 50  # per training job
# As JSON. Step Functions' limit for a payload less what an attempt adds to it, the largest ledger that comes beside
# it out of the plan, and some room.
# fact: stepfunctions.payload.bytes
LARGEST_REQUEST_BYTES = 192 * 1024
OWN_TAG_COUNT = 5  # what Nightspot may add

_STOPPING = ("training_job", "StoppingCondition")
_CHECKPOINTS = ("CheckpointConfig", "S3Uri")

HETEROGENEOUS = (
    "must not be given: it is a heterogeneous cluster, several instance types that train one job together, "
    "and a rung "
    "of the ladder is one instance type; give InstanceType and InstanceCount, or leave this job outside Nightspot"
)
_SET_BY_NIGHTSPOT = "must not be given: it is set by Nightspot for each attempt"
# What in a request cannot stand beside the ladder, and why.
_REFUSED = {
    ("TrainingJobName",): _SET_BY_NIGHTSPOT,
    ("EnableManagedSpotTraining",): _SET_BY_NIGHTSPOT,
    ("ServerlessJobConfig",): "must not be given: serverless jobs have no instances to choose",
    ("ResourceConfig", "InstanceGroups"): HETEROGENEOUS,
    ("ResourceConfig", "InstancePreferences"): (
        "must not be given: it excludes managed Spot and InstanceType; list the types under capacity"
    ),
    ("ResourceConfig", "SelectedInstanceType"): "must not be given: it is an answer of SageMaker's",
    ("ResourceConfig", "SelectedInstanceCount"): ("must not be given: it is an answer of SageMaker's"),
}


def without_refused(request: dict[str, Any]) -> dict[str, Any]:
    """`request` less the fields that a rule of Nightspot's own refuses, whatever stands in them."""
    return _without(request, ())


def _without(mapping: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: _without(value, (*path, key)) if isinstance(value, dict) else value
        for key, value in mapping.items()
        if (*path, key) not in _REFUSED
    }


@dataclass(frozen=True)
class Draft:
    """The sections of a job file that are sound by themselves; None for the others."""

    name: str | None = None
    schedule: Schedule | None = None
    deadline: Deadline | None = None
    work_seconds: int | None = None
    checkpoint_every_seconds: int | None = None
    capacity: Capacity | None = None
    change_over: ChangeOver | None = None
    fallback: Fallback = Fallback.ON_DEMAND
    interruptible: Interruptible = Interruptible.FROM_CHECKPOINT
    concurrency: Concurrency = Concurrency.FORBID
    policy: Policy = Policy.PATIENT
    budget: Budget | None = None
    overrides: OverrideLimits | None = None
    tracking: Tracking | None = None
    training_job: dict[str, Any] | None = None
    code: Code | None = None
    local: Local | None = None


def broken_rules(draft: Draft) -> Iterator[Problem]:
    """Every rule between fields that the draft breaks and that holds for each job, overridden or not."""
    for rule in _RULES:
        yield from rule(draft)


def broken_file_rules(draft: Draft) -> Iterator[Problem]:
    """Every rule between fields that the draft breaks and that holds for job files alone."""
    for rule in _FILE_RULES:
        yield from rule(draft)


def _no_type_twice(draft: Draft) -> Iterator[Problem]:
    for market, rungs in _ladder(draft):
        names = [rung.instance_type for rung in rungs]
        for n, name in enumerate(names):
            if name in names[:n]:
                path = ("capacity", market, n, "instance_type")
                yield problem(path, name, f"must be named only once under {market}")


def _first_rung_has_pace_one(draft: Draft) -> Iterator[Problem]:
    if draft.capacity and draft.capacity.first.speed != 1.0:
        path = ("capacity", draft.capacity.first_market.value, 0, "speed")
        rule = "must be 1.0 on the first rung, because work is stated for the first rung"
        yield problem(path, draft.capacity.first.speed, rule)


def _fallback_has_somewhere_to_go(draft: Draft) -> Iterator[Problem]:
    if draft.capacity is None:
        return
    if draft.fallback is Fallback.ON_DEMAND and not draft.capacity.on_demand:
        rule = "needs a rung under capacity.on_demand; to skip a run instead, say fallback: never"
        yield problem(("fallback",), draft.fallback.value, rule)
    if draft.fallback is Fallback.NEVER and not draft.capacity.spot:
        rule = "needs a rung under capacity.spot: with only on-demand there is nothing to fall from"
        yield problem(("fallback",), draft.fallback.value, rule)


def _policy_can_buy(draft: Draft) -> Iterator[Problem]:
    if draft.capacity is None or draft.policy is Policy.PATIENT:
        return
    if draft.fallback is Fallback.NEVER or not draft.capacity.on_demand:
        rule = "needs fallback: on_demand and a rung under capacity.on_demand; without them a run is patient"
        yield problem(("policy",), draft.policy.value, rule)


def _checkpoint_within_the_work(draft: Draft) -> Iterator[Problem]:
    every, work = draft.checkpoint_every_seconds, draft.work_seconds
    if every is not None and work is not None and every > work:
        rule = f"must not be longer than work ({format_duration(work)})"
        yield Problem("checkpoint_every", format_duration(every), rule)


def _spot_can_checkpoint(draft: Draft) -> Iterator[Problem]:
    request = draft.training_job
    if request is None:
        return
    uri = dig(request, "CheckpointConfig", "S3Uri")
    path = ("training_job", "CheckpointConfig", "S3Uri")
    has_spot = draft.capacity is not None and draft.capacity.spot
    if uri is None and has_spot and draft.interruptible is not Interruptible.FROM_START:
        rule = (
            "is required with Spot rungs: without it every interruption starts over; "
            "where that is acceptable, say interruptible: from_start"
        )
        yield problem(path, uri, rule)


def _places_are_in_s3(draft: Draft) -> Iterator[Problem]:
    for path, uri in places_in(draft.training_job):
        # Those are names of the script's own, or nobody's fields.
        if path[0] in {"Environment", "HyperParameters", "Tags"}:
            continue
        rule = broken_place(uri, needs_prefix=path == _CHECKPOINTS)
        if rule is not None:
            yield problem(("training_job", *path), uri, rule)


def _request_leaves_room(draft: Draft) -> Iterator[Problem]:
    for path, rule in _REFUSED.items():
        above = dig(draft.training_job, *path[:-1])
        if isinstance(above, dict) and path[-1] in above:
            yield problem(("training_job", *path), above[path[-1]], rule)


def _warm_pools_exclude_spot(draft: Draft) -> Iterator[Problem]:
    keep = dig(draft.training_job, "ResourceConfig", "KeepAlivePeriodInSeconds")
    if keep is not None and draft.capacity and draft.capacity.spot:
        path = ("training_job", "ResourceConfig", "KeepAlivePeriodInSeconds")
        yield problem(path, keep, "must not be given: warm pools exclude managed Spot")


def _request_names_a_rung(draft: Draft) -> Iterator[Problem]:
    path = ("ResourceConfig", "InstanceType")
    given = dig(draft.training_job, *path)
    names = [rung.instance_type for _, rungs in _ladder(draft) for rung in rungs]
    if given is not None and names and given not in names:
        rule = "must be on the ladder under capacity, or be left out: each rung sets it"
        yield problem(("training_job", *path), given, rule)


def _some_instance_trains(draft: Draft) -> Iterator[Problem]:
    path = ("ResourceConfig", "InstanceCount")
    count = dig(draft.training_job, *path)
    if count == 0:
        yield problem(("training_job", *path), count, "must be at least 1")


def _request_fits(draft: Draft) -> Iterator[Problem]:
    size = 0 if draft.training_job is None else len(json.dumps(draft.training_job, default=str))
    if size > LARGEST_REQUEST_BYTES:
        rule = (
            f"must have at most {LARGEST_REQUEST_BYTES:,} bytes as JSON, because Step Functions passes on no "
            f"more "
            "than 256 KiB; large values belong into S3"
        )
        yield Problem("training_job", f"{size:,} bytes", rule)


def _one_algorithm(draft: Draft) -> Iterator[Problem]:
    if draft.training_job is None:
        return
    given = dig(draft.training_job, "AlgorithmSpecification")
    image, name = dig(given, "TrainingImage"), dig(given, "AlgorithmName")
    if (image is None) == (name is None):
        rule = "must have exactly one of TrainingImage and AlgorithmName"
        yield problem(("training_job", "AlgorithmSpecification"), given, rule)


def _flexible_start_leaves_time(draft: Draft) -> Iterator[Problem]:
    flexible = flexible_seconds(draft.schedule)
    if not flexible or draft.deadline is None or draft.capacity is None or draft.work_seconds is None:
        return
    window = whole_window_seconds(draft.schedule, draft.deadline)
    market = surest_market(draft.capacity)
    once = need(market, draft.work_seconds, draft.capacity, draft.change_over or ChangeOver())
    if window is not None and window - flexible < once.seconds:
        rule = (
            f"leaves no time for the work: of {format_duration(window)} from the scheduled start to the "
            f"deadline, "
            f"{market.value.replace('_', '-')} training needs {format_duration(once.seconds)}"
        )
        yield Problem("schedule.flexible", format_duration(flexible), rule)


def _limits_leave_time(draft: Draft) -> Iterator[Problem]:
    runtime = dig(draft.training_job, "StoppingCondition", "MaxRuntimeInSeconds")
    wait = dig(draft.training_job, "StoppingCondition", "MaxWaitTimeInSeconds")
    path = (*_STOPPING, "MaxRuntimeInSeconds")
    if _is_count(runtime):
        if draft.work_seconds is not None and runtime < draft.work_seconds:
            yield problem(path, runtime, f"must be at least work ({draft.work_seconds} s)")
        if runtime > LONGEST_SECONDS:
            yield problem(path, runtime, f"must be at most 28 days ({LONGEST_SECONDS} s)")
    least, what = (runtime, "MaxRuntimeInSeconds") if _is_count(runtime) else (draft.work_seconds, "work")
    if _is_count(least) and _is_count(wait) and wait < least:
        rule = f"must be at least {what} ({least}): it counts waiting and running"
        yield problem((*_STOPPING, "MaxWaitTimeInSeconds"), wait, rule)


def _waits_for_spot_alone(draft: Draft) -> Iterator[Problem]:
    wait = dig(draft.training_job, "StoppingCondition", "MaxWaitTimeInSeconds")
    if wait is not None and draft.capacity and not draft.capacity.spot:
        rule = "must not be given without a Spot rung: SageMaker refuses it"
        yield problem((*_STOPPING, "MaxWaitTimeInSeconds"), wait, rule)


def _month_holds_a_run(draft: Draft) -> Iterator[Problem]:
    if draft.budget is None or draft.budget.per_run_usd is None or draft.budget.per_month_usd is None:
        return
    if draft.budget.per_month_usd < draft.budget.per_run_usd:
        rule = f"must be at least per_run_usd ({draft.budget.per_run_usd:g}), or no run could use that up"
        yield problem(("budget", "per_month_usd"), draft.budget.per_month_usd, rule)


def _month_is_spent_once(draft: Draft) -> Iterator[Problem]:
    if draft.budget is None or draft.concurrency is not Concurrency.ALLOW:
        return
    if draft.budget.per_month_usd is not None and draft.budget.per_run_usd is None:
        rule = (
            "is required with per_month_usd and concurrency: allow, "
            "because two open runs could spend what is left of the month twice"
        )
        yield problem(("budget", "per_run_usd"), None, rule)


def _starts_may_spend_what_runs_may(draft: Draft) -> Iterator[Problem]:
    most = draft.overrides.per_run_usd if draft.overrides else None
    if most is None or draft.budget is None:
        return
    run, month = draft.budget.per_run_usd, draft.budget.per_month_usd
    path = ("overrides", "per_run_usd")
    if run is not None and most < run:
        yield problem(path, most, f"must be at least budget.per_run_usd ({run:g}), which every run has")
    if month is not None and most > month:
        yield problem(path, most, f"must be at most budget.per_month_usd ({month:g}): no run may spend more")


def _code_is_said_once(draft: Draft) -> Iterator[Problem]:
    if draft.code is None:
        return
    given = set(_keys(dig(draft.training_job, "HyperParameters")))
    for name in sorted(given & set(CODE_PARAMETERS)):
        path = ("training_job", "HyperParameters", name)
        yield problem(
            path, dig(draft.training_job, *path[1:]), "must not be given beside code, which sets it"
        )
    names = draft.overrides.hyperparameters if draft.overrides else None
    for n, name in enumerate(names or ()):
        if name in CODE_PARAMETERS:
            rule = "must not be set by a start: code says which script runs"
            yield problem(("overrides", "hyperparameters", n), name, rule)
    if len(given) > LARGEST_COUNT - len(CODE_PARAMETERS):
        most = LARGEST_COUNT - len(CODE_PARAMETERS)
        rule = f"must be at most {most} with code, which adds {len(CODE_PARAMETERS)}: SageMaker's limit"
        yield Problem("training_job.HyperParameters", f"{len(given)} names", rule)


def _code_can_be_fetched(draft: Draft) -> Iterator[Problem]:
    if draft.code is None:
        return
    if dig(draft.training_job, "EnableNetworkIsolation") is True:
        rule = "must not be true with code: the container fetches its code from S3 by itself"
        yield problem(("training_job", "EnableNetworkIsolation"), True, rule)
    name = dig(draft.training_job, "AlgorithmSpecification", "AlgorithmName")
    if name is not None:
        rule = "must not be given with code: an algorithm brings its own; name a TrainingImage"
        yield problem(("training_job", "AlgorithmSpecification", "AlgorithmName"), name, rule)


def not_trained_here(job: Job) -> tuple[Problem, ...]:
    """Why the job cannot be trained on this machine; () where it can."""
    if job.local is not None:
        return ()
    return (Problem("local", "nothing", "must say with local.command how to train the job on this machine"),)


def not_drilled_here(job: Job) -> tuple[Problem, ...]:
    """Why the job cannot be drilled on this machine; () where it can."""
    found = not_trained_here(job)
    if "CheckpointConfig" not in job.training_job:
        rule = "must name where checkpoints go: without it SageMaker keeps nothing that could be resumed"
        found = (*found, Problem("training_job.CheckpointConfig", "nothing", rule))
    return found


def _trains_here_somehow(draft: Draft) -> Iterator[Problem]:
    if draft.local is None or draft.local.command is not None or draft.code is not None:
        return
    request = draft.training_job
    own = dig(request, "AlgorithmSpecification", "ContainerEntrypoint") or dig(
        request, "HyperParameters", PROGRAM
    )
    if request is not None and not own:
        rule = f"is required, unless code, a ContainerEntrypoint or {PROGRAM} says what to run"
        yield problem(("local", "command"), None, rule)


def _own_names_are_free(draft: Draft) -> Iterator[Problem]:
    for name in _keys(dig(draft.training_job, "Environment")):
        if name.upper().startswith("NIGHTSPOT_"):
            rule = "must not start with NIGHTSPOT_: those are set by Nightspot"
            yield Problem(dotted(("training_job", "Environment", name)), describe(name), rule)
    taken = draft.tracking.environment("job", "run") if draft.tracking else {}
    for name in _keys(dig(draft.training_job, "Environment")):
        if name in taken:
            rule = "must not be given beside tracking, which sets it"
            yield Problem(dotted(("training_job", "Environment", name)), describe(name), rule)
    tags = dig(draft.training_job, "Tags")
    keys = [dig(tag, "Key") for tag in tags] if isinstance(tags, list) else []
    for n, key in enumerate(keys):
        if not isinstance(key, str):
            continue
        tag_path = ("training_job", "Tags", n, "Key")
        if key.lower().startswith(("nightspot:", "aws:")):
            yield problem(tag_path, key, "must not start with nightspot: or aws:, which are taken")
        if key in keys[:n]:
            yield problem(tag_path, key, "must be given only once")
    if len(keys) > LARGEST_TAG_COUNT - OWN_TAG_COUNT:
        rule = (
            f"must be at most {LARGEST_TAG_COUNT - OWN_TAG_COUNT}: SageMaker allows "
            f"{LARGEST_TAG_COUNT} and Nightspot adds up to {OWN_TAG_COUNT}"
        )
        yield problem(("training_job", "Tags"), tags, rule)


def _ladder(draft: Draft) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if draft.capacity:
        yield "spot", draft.capacity.spot
        yield "on_demand", draft.capacity.on_demand


def _keys(mapping: Any) -> Iterable[str]:
    return (key for key in mapping if isinstance(key, str)) if isinstance(mapping, dict) else ()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_RULES = (
    _no_type_twice,
    _fallback_has_somewhere_to_go,
    _policy_can_buy,
    _checkpoint_within_the_work,
    _spot_can_checkpoint,
    _places_are_in_s3,
    _request_leaves_room,
    _warm_pools_exclude_spot,
    _some_instance_trains,
    _request_fits,
    _one_algorithm,
    _limits_leave_time,
    _code_is_said_once,
    _code_can_be_fetched,
    _own_names_are_free,
    _month_holds_a_run,
    _month_is_spent_once,
)
# An override's ladder may begin with a slower type, and a run with overrides is started by no schedule. What the
# others refuse, each attempt's request sets or drops by itself; in a file it is a slip of the pen.
_FILE_RULES = (
    _trains_here_somehow,
    _flexible_start_leaves_time,
    _starts_may_spend_what_runs_may,
    _first_rung_has_pace_one,
    _request_names_a_rung,
    _waits_for_spot_alone,
)
