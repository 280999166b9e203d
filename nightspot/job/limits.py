"""How far the start of a run may change its job: what the job file's `overrides` allow, applied to one run.

Whoever may start a run (the API, a pipeline, the console, the command line) is not always who may decide what the
job may cost. Without a word in the file a start may choose among what the file has, and spend less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from nightspot.formats.figures import DAY_SECONDS, format_duration
from nightspot.job.errors import Problem, problem
from nightspot.job.markets import Market
from nightspot.job.model import Job, MarketTypes, OverrideName, types_of

if TYPE_CHECKING:
    from nightspot.job.overrides import Overrides

# AWS's framework images read from these which code to run.
# https://github.com/aws/sagemaker-training-toolkit (params.SAGEMAKER_PREFIX)
RESERVED_PREFIX = "sagemaker_"


@dataclass(frozen=True)
class StartLimits:
    """How far a start of one job may go, with the defaults filled in.

    `allow`: the overrides that it may give. `instance_types`: by market, what it may buy, the ladder's first.
    `per_run_usd`: the largest budget; None: any. `deadline`: seconds from the start; below a day no time of day
    may be given. `hyperparameters`: the names that may be set; None: all but those of RESERVED_PREFIX.
    """

    allow: tuple[OverrideName, ...]
    instance_types: Mapping[Market, tuple[str, ...]]
    per_run_usd: float | None
    deadline: int
    hyperparameters: tuple[str, ...] | None


def limits_of(job: Job) -> StartLimits:
    """What `beyond_limits` holds a start's overrides against."""
    return StartLimits(
        get_args(OverrideName) if job.overrides.allow is None else job.overrides.allow,
        {market: _types_to_buy(job, market) for market in Market},
        largest_budget_usd(job),
        _longest_deadline_seconds(job),
        job.overrides.hyperparameters,
    )


def beyond_limits(job: Job, changed: Job, overrides: Overrides) -> Iterator[Problem]:
    """Each override that goes further than the file of `job` lets a start go; `changed` is the overridden job."""
    barred = [name for name in _given(overrides) if _is_barred(job, name)]
    for name in barred:
        allowed = ", ".join(job.overrides.allow or ()) or "nothing"
        rule = (
            f"may not be changed by a start: the job file's overrides.allow has {allowed}; add {name} there"
        )
        yield problem((name,), getattr(overrides, name), rule)
    for name, check in _CHECKS.items():
        if name not in barred:
            yield from check(job, changed, overrides)


def _given(overrides: Overrides) -> list[str]:
    return [name for name in type(overrides).model_fields if getattr(overrides, name) is not None]


def _is_barred(job: Job, name: str) -> bool:
    return job.overrides.allow is not None and name not in job.overrides.allow


def _types(job: Job, changed: Job, overrides: Overrides) -> Iterator[Problem]:
    by_market = isinstance(overrides.instance_types, MarketTypes)
    told = set()
    for market in Market:
        known = _types_to_buy(job, market)
        given = changed.capacity.rungs_of(market) if overrides.types_for(market) else ()
        for n, rung in enumerate(given):
            path = ("instance_types", *((market.value,) if by_market else ()), n, "instance_type")
            if rung.instance_type in known or path in told:
                continue
            told.add(path)
            only = ", ".join(known) or "nothing"
            rule = (
                f"may not be bought {'as Spot' if market is Market.SPOT else 'on-demand'} by a start of this job, "
                f"only {only}: add it to overrides.instance_types in the job file"
            )
            yield problem(path, rung.instance_type, rule)


def _types_to_buy(job: Job, market: Market) -> tuple[str, ...]:
    # Spot of a type that may be bought on-demand costs no more.
    own = (*job.capacity.rungs_of(market), *(job.capacity.on_demand if market is Market.SPOT else ()))
    added = types_of(job.overrides.instance_types, market) or ()
    return tuple(dict.fromkeys(rung.instance_type for rung in (*own, *added)))


def _longest_deadline_seconds(job: Job) -> int:
    said = job.overrides.deadline_seconds
    return max(DAY_SECONDS, job.deadline.within_seconds or 0) if said is None else said


def _deadline(job: Job, changed: Job, overrides: Overrides) -> Iterator[Problem]:
    if overrides.deadline is None or changed.deadline == job.deadline:
        return
    longest = _longest_deadline_seconds(job)
    within = changed.deadline.within_seconds
    longest_words = f"{format_duration(longest)} after the start"
    if within is not None and within > longest:
        rule = f"must be at most {longest_words}: set overrides.deadline in the job file to allow more"
        yield Problem("deadline.within", format_duration(within), rule)
    if within is None and longest < DAY_SECONDS:
        rule = (
            f"must be a duration of at most {longest_words}, because a time of day may be a day away: set "
            "overrides.deadline in the job file to 24h to allow it"
        )
        at = changed.deadline.at
        yield Problem("deadline.at", repr(at.isoformat("minutes") if at else ""), rule)


def _hyperparameters(job: Job, _: Job, overrides: Overrides) -> Iterator[Problem]:
    names = job.overrides.hyperparameters
    for name, value in (overrides.hyperparameters or {}).items():
        if names is not None and name not in names:
            known = ", ".join(names) or "none"
            rule = f"may not be set by a start, only {known}: add it to overrides.hyperparameters in the job file"
        elif names is None and name.lower().startswith(RESERVED_PREFIX):
            rule = (
                f"may not be set by a start: {RESERVED_PREFIX}… says which code AWS's images run; name it in "
                "overrides.hyperparameters in the job file to allow it"
            )
        else:
            continue
        yield problem(("hyperparameters", name), value, rule)


def _budget(job: Job, _: Job, overrides: Overrides) -> Iterator[Problem]:
    most = largest_budget_usd(job)
    asked = overrides.budget.per_run_usd if overrides.budget else None
    if asked is not None and most is not None and asked > most:
        rule = f"must be at most {most:g}: set overrides.per_run_usd in the job file to allow more"
        yield problem(("budget", "per_run_usd"), asked, rule)


def largest_budget_usd(job: Job) -> float | None:
    """The most that a start may let its run cost, in USD; None where the job file limits no run."""
    said = job.overrides.per_run_usd
    own = job.budget.per_run_usd if job.budget else None
    return own if said is None else said


_CHECKS: Mapping[str, Callable[[Job, Job, Overrides], Iterator[Problem]]] = {
    "instance_types": _types,
    "deadline": _deadline,
    "hyperparameters": _hyperparameters,
    "budget": _budget,
}
