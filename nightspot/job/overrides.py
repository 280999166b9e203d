"""What one run may change of its job, and gives back the job as that run shall have it.

The overrides stand beside `job` in an execution's input. Their values keep the rules of the job file, and
the new job those between fields; what was true of the request when it was deployed is not asked again. How far
they may go is the job file's word (`nightspot.job.limits`): every way to start a run ends in `apply_overrides`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, model_validator

from nightspot.formats.figures import DurationError, parse_duration
from nightspot.job.errors import (
    InvalidOverridesError,
    PathPart,
    Problem,
    describe,
    found_by_pydantic,
    nearest,
    problem,
)
from nightspot.job.limits import beyond_limits
from nightspot.job.markets import Fallback, Market, MarketChoice, Policy
from nightspot.job.model import (
    Budget,
    Capacity,
    EitherTypes,
    InstanceType,
    Job,
    MarketTypes,
    Usd,
    dig,
    types_of,
)
from nightspot.job.request_shape import LARGEST_COUNT, HyperParameters
from nightspot.job.rules import Draft, broken_rules
from nightspot.job.times import Deadline, Section, broken_rule

__all__ = ["Overrides", "apply_overrides", "merge_overrides", "overrides_as_json", "read_overrides"]

_WHOLE = "(overrides)"
_SAGEMAKER_NAME = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
_ONLY = {MarketChoice.SPOT: Market.SPOT, MarketChoice.ON_DEMAND: Market.ON_DEMAND}
# A key that somebody may well try, and why it is refused.
_REFUSED_KEYS = {
    "budget.per_month_usd": "must not be given: a run has its own budget, per_run_usd, and the month is the job's"
}


def read_overrides(given: Mapping[str, Any], *, check_instance_types: bool = False) -> Overrides:
    """The overrides of an execution's input without its `job`.

    With `check_instance_types`, names are held against botocore's own list, which the Lambda runtime does
    without. Raises InvalidOverridesError with every problem found.
    """
    if not isinstance(given, Mapping):
        raise InvalidOverridesError([Problem(_WHOLE, describe(given), "must be a mapping of overrides")])
    try:
        overrides = Overrides.model_validate(dict(given), by_alias=True, by_name=False)
    except ValidationError as error:
        found = [found_by_pydantic(details, Overrides) for details in error.errors()]
        raise InvalidOverridesError(
            Problem(one.field, one.value, _REFUSED_KEYS.get(one.field, one.rule)) for one in found
        ) from error
    problems = [*_own_problems(overrides), *(_unknown_types(overrides) if check_instance_types else ())]
    if problems:
        raise InvalidOverridesError(problems)
    return overrides


def overrides_as_json(overrides: Overrides) -> dict[str, Any]:
    """What was given and nothing else, JSON-ready: `read_overrides` reads it back as the same overrides."""
    return overrides.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def merge_overrides(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What a retry changes of its job: what the retried run did, but for what is given now, both JSON-ready.

    Hyperparameters are given one by one, so they are merged by their names; all else is replaced as a whole.
    """
    merged = {**old, **new}
    if old.get("hyperparameters") and new.get("hyperparameters"):
        merged["hyperparameters"] = {**old["hyperparameters"], **new["hyperparameters"]}
    return merged


def apply_overrides(job: Job, overrides: Overrides) -> Job:
    """The job as a run with `overrides` has it; an equal job where nothing is overridden.

    To be called before the job's `${Names}` are filled in or after. Raises InvalidOverridesError with every
    problem found, under the override that brought it about.
    """
    problems = [*_own_problems(overrides), *_idle_words(job, overrides)]
    if problems:
        raise InvalidOverridesError(problems)
    fallback = _fallback(job, overrides)
    changed = job.model_copy(
        update={
            "capacity": Capacity(
                spot=_rungs(job, overrides, Market.SPOT), on_demand=_rungs(job, overrides, Market.ON_DEMAND)
            ),
            "fallback": fallback,
            # A run that may buy no on-demand can only be patient.
            "policy": job.policy if fallback is Fallback.ON_DEMAND else Policy.PATIENT,
            "deadline": _deadline(job, overrides),
            "budget": _budget(job, overrides),
            "training_job": _training_job(job, overrides),
        }
    )
    problems = [*beyond_limits(job, changed, overrides), *_new_problems(job, changed, overrides)]
    if problems:
        raise InvalidOverridesError(problems)
    return changed


def _own_problems(overrides: Overrides) -> Iterator[Problem]:
    """What is wrong with the overrides whatever the job: contradictions, and types that cannot be."""
    only = _ONLY.get(overrides.market) if overrides.market else None
    if only is Market.SPOT and overrides.fallback is Fallback.ON_DEMAND:
        yield problem(
            ("fallback",), overrides.fallback.value, "contradicts market: spot, which buys no on-demand"
        )
    if only and isinstance(overrides.instance_types, MarketTypes):
        for market in Market:
            types = overrides.types_for(market)
            if market is not only and types:
                rule = f"contradicts market: {only}, which buys nothing else"
                yield problem(("instance_types", market.value), types, rule)
    for path, names in _names(overrides):
        for n, name in enumerate(names):
            here = (*path, n, "instance_type")
            if not _SAGEMAKER_NAME.fullmatch(name):
                yield problem(
                    here, name, "must be an instance type as SageMaker writes it, such as ml.g5.48xlarge"
                )
            elif name in names[:n]:
                yield problem(here, name, "must be named only once")


def _unknown_types(overrides: Overrides) -> Iterator[Problem]:
    # Here, not above: it reads botocore's model.
    from nightspot.job.request_shape import training_instance_types  # noqa: PLC0415

    known = training_instance_types()
    for path, names in _names(overrides):
        for n, name in enumerate(names):
            if _SAGEMAKER_NAME.fullmatch(name) and name not in known:
                rule = "must be an instance type that SageMaker trains on" + nearest(name, known)
                yield problem((*path, n, "instance_type"), name, rule)


def _names(overrides: Overrides) -> Iterator[tuple[tuple[PathPart, ...], list[str]]]:
    """Each list of types by its path, as names."""
    given = overrides.instance_types
    lists = (("spot", given.spot), ("on_demand", given.on_demand)) if isinstance(given, MarketTypes) else ()
    for market, types in lists:
        yield ("instance_types", market), [rung.instance_type for rung in types or ()]
    if isinstance(given, tuple):
        yield ("instance_types",), [rung.instance_type for rung in given]


def _in_use(job: Job, overrides: Overrides, market: Market) -> bool:
    """Whether the run may buy in `market`: as `market` says, else as the ladder and the fallback do."""
    if overrides.market in _ONLY:
        return market is _ONLY[overrides.market]
    if isinstance(overrides.instance_types, MarketTypes) and overrides.types_for(market):
        return True
    wanted = market is Market.ON_DEMAND and overrides.fallback is Fallback.ON_DEMAND
    return wanted or bool(job.capacity.rungs_of(market))


def _rungs(job: Job, overrides: Overrides, market: Market) -> tuple[InstanceType, ...]:
    if not _in_use(job, overrides, market):
        return ()
    given = overrides.types_for(market)
    own = job.capacity.rungs_of(market)
    if given is None:
        return own
    # What the ladder says of a type counts before what is said of the types that a start may add.
    here = {rung.instance_type: rung for rung in (*_addable(job, market), *own)}
    added = [rung for each in Market for rung in _addable(job, each)]
    ladder = [rung for each in Market for rung in job.capacity.rungs_of(each)]
    anywhere = {rung.instance_type: rung for rung in (*added, *ladder, *own)}
    return tuple(_completed(rung, here, anywhere) for rung in given)


def _addable(job: Job, market: Market) -> tuple[InstanceType, ...]:
    """What the job file lets a start buy beside the ladder."""
    return types_of(job.overrides.instance_types, market) or ()


def _completed(
    given: InstanceType, here: Mapping[str, InstanceType], anywhere: Mapping[str, InstanceType]
) -> InstanceType:
    """`given` with what it leaves unsaid: the pace is the type's in any market, the patience this market's."""
    update: dict[str, Any] = {}
    if "speed" not in given.model_fields_set and given.instance_type in anywhere:
        update["speed"] = anywhere[given.instance_type].speed
    if given.patience_seconds is None and given.instance_type in here:
        update["patience_seconds"] = here[given.instance_type].patience_seconds
    return given.model_copy(update=update)


def _idle_words(job: Job, overrides: Overrides) -> Iterator[Problem]:
    """A market that is asked for without a type to buy, and types that nothing would buy."""
    asked: list[tuple[str, Market]] = []
    if overrides.market in _ONLY:
        asked.append(("market", _ONLY[overrides.market]))
    elif overrides.fallback is Fallback.ON_DEMAND:
        asked.append(("fallback", Market.ON_DEMAND))
    types = overrides.instance_types
    silent = overrides.market not in _ONLY and overrides.fallback is None
    if silent and job.fallback is Fallback.NEVER and isinstance(types, MarketTypes) and types.on_demand:
        rule = "would never be bought: the job says fallback: never; say fallback: on_demand beside it"
        yield problem(("instance_types", "on_demand"), types.on_demand, rule)
    for key, market in asked:
        if not _rungs(job, overrides, market):
            rule = (
                f"needs instance types: the job has none under capacity.{market}; name them as instance_types"
            )
            yield problem((key,), market.value, rule)


def _fallback(job: Job, overrides: Overrides) -> Fallback:
    if overrides.market is MarketChoice.SPOT:
        return Fallback.NEVER
    if overrides.market is MarketChoice.ON_DEMAND:
        # There is nothing to fall from, and a job without Spot must not say `never`.
        return Fallback.ON_DEMAND
    return overrides.fallback or job.fallback


def _deadline(job: Job, overrides: Overrides) -> Deadline:
    given = overrides.deadline
    if given is None:
        return job.deadline
    if given.at is not None and "timezone" not in given.model_fields_set:
        return given.model_copy(update={"timezone": job.deadline.timezone})
    return given


def _budget(job: Job, overrides: Overrides) -> Budget | None:
    if overrides.budget is None:
        return job.budget
    return Budget(
        per_run_usd=overrides.budget.per_run_usd,
        per_month_usd=job.budget.per_month_usd if job.budget else None,
    )


def _training_job(job: Job, overrides: Overrides) -> dict[str, Any]:
    if not overrides.hyperparameters:
        return job.training_job
    merged = {**(dig(job.training_job, "HyperParameters") or {}), **overrides.hyperparameters}
    return {**job.training_job, "HyperParameters": merged}


def _new_problems(job: Job, changed: Job, overrides: Overrides) -> Iterator[Problem]:
    """The rules that the overrides break: not those that the job breaks without them.

    So a request may still have `${Names}` in it, which rules on texts know nothing of.
    """
    merged = dig(changed.training_job, "HyperParameters") or {}
    if overrides.hyperparameters and len(merged) > LARGEST_COUNT:
        rule = f"must be at most {LARGEST_COUNT} with the job's own, not {len(merged)}: SageMaker's limit"
        yield problem(("hyperparameters",), overrides.hyperparameters, rule)
    before = set(broken_rules(_draft(job)))
    for found in broken_rules(_draft(changed)):
        if found not in before:
            yield _blamed(found, overrides)


def _blamed(found: Problem, overrides: Overrides) -> Problem:
    """A rule of the job file as a problem of the override that broke it."""
    section = found.field.partition(".")[0]
    does_not_fit = f"does not fit the job: {found.field} {found.rule}"
    if section == "training_job":
        # Only Spot, newly come to the ladder, asks more of a request than it asked of itself before.
        named = isinstance(overrides.instance_types, MarketTypes)
        path = ("instance_types", "spot") if named else ("instance_types",)
        return problem(path, overrides.types_for(Market.SPOT), does_not_fit)
    if section == "budget" and overrides.budget:
        return problem(("budget", "per_run_usd"), overrides.budget.per_run_usd, does_not_fit)
    return found


def _draft(job: Job) -> Draft:
    return Draft(**{field.name: getattr(job, field.name) for field in fields(Draft)})


_TIME_OF_DAY = re.compile(r"[0-9]{1,2}:.*", re.DOTALL)
# No machine is there sooner: who writes 6 or 90 means hours or minutes.
_LEAST_WITHOUT_UNIT_SECONDS = 300


def _deadline_in_short(given: object) -> object:
    """`"07:00"` as `at`, `"6h"` and whole seconds as `within`; mappings as they are."""
    if isinstance(given, Mapping | Deadline):
        return given
    if isinstance(given, int) and not isinstance(given, bool) and 0 < given < _LEAST_WITHOUT_UNIT_SECONDS:
        raise broken_rule('must have a unit, such as "6h": a bare number is seconds')
    if isinstance(given, str) and _TIME_OF_DAY.fullmatch(given):
        return {"at": given}
    try:
        return {"within": parse_duration(given)}
    except DurationError:
        rule = (
            'must be a time of day such as "07:00", a duration such as "6h", or a mapping with at or within'
        )
        raise broken_rule(rule) from None


class BudgetOverride(Section):
    """The most that this run may cost; a bare number stands for a mapping with `per_run_usd`."""

    per_run_usd: Usd

    @model_validator(mode="before")
    @classmethod
    def _from_a_number(cls, given: Any) -> Any:
        if isinstance(given, int | float) and not isinstance(given, bool):
            return {"per_run_usd": given}
        if not isinstance(given, Mapping | BudgetOverride):
            raise broken_rule("must be a number of US dollars, or a mapping with per_run_usd")
        return given


class Overrides(Section):
    """What one run changes of its job; None is no change.

    `market` spot buys Spot or nothing, on_demand buys no Spot, auto is the job's own ladder.
    `instance_types` is a list for every market in use, or MarketTypes; what an entry leaves unsaid (see
    `model_fields_set`) is the job's own for that type. A `deadline` at a time of day without a timezone is
    in the zone of the job's deadline. `hyperparameters` are merged over the job's; numbers and booleans
    have become text (see `hyperparameter_text`). `budget` is this run's alone.
    """

    market: MarketChoice | None = None
    instance_types: EitherTypes | None = None
    deadline: Annotated[Deadline, BeforeValidator(_deadline_in_short)] | None = None
    hyperparameters: HyperParameters | None = None
    budget: BudgetOverride | None = None
    fallback: Fallback | None = None

    def types_for(self, market: Market) -> tuple[InstanceType, ...] | None:
        """The types that are given for `market`, as they were given; None where there are none."""
        return types_of(self.instance_types, market)
