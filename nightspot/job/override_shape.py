"""What overrides can say: the job file's own values, in the shapes that a command line and an input want.

Rules that compare overrides with each other and with the job are in `overrides`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag, model_validator

from nightspot.durations import DurationError, parse_duration
from nightspot.job.hyperparameters import HyperParameters
from nightspot.job.markets import Fallback, Market, MarketChoice
from nightspot.job.model import InstanceType, Usd
from nightspot.job.times import Deadline, Section, broken_rule

_TIME_OF_DAY = re.compile(r"[0-9]{1,2}:.*", re.DOTALL)


def _deadline_in_short(given: object) -> object:
    """`"07:00"` as `at`, `"6h"` and whole seconds as `within`; mappings as they are."""
    if isinstance(given, Mapping | Deadline):
        return given
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


def _not_empty(types: tuple[InstanceType, ...]) -> tuple[InstanceType, ...]:
    # Not by Field: that counts the sound ones, and calls a list of nothing but mistakes empty.
    if not types:
        raise broken_rule("must not be empty")
    return types


_Types = Annotated[tuple[InstanceType, ...], AfterValidator(_not_empty)]


class MarketTypes(Section):
    """Instance types for each market by itself; a market that is not named keeps the job's own."""

    spot: _Types | None = None
    on_demand: _Types | None = None

    @model_validator(mode="after")
    def _some_market(self) -> MarketTypes:
        if self.spot is None and self.on_demand is None:
            raise broken_rule("must name instance types under spot or on_demand")
        return self


def _list_or_mapping(given: object) -> str | None:
    if isinstance(given, list | tuple):
        return InstanceType.__name__
    return MarketTypes.__name__ if isinstance(given, Mapping | MarketTypes) else None


_EitherTypes = Annotated[
    # The tags are the models' names: so a problem's path can leave them out again (see `validation`).
    Annotated[_Types, Tag(InstanceType.__name__)] | Annotated[MarketTypes, Tag(MarketTypes.__name__)],
    Discriminator(
        _list_or_mapping,
        custom_error_type="rule",
        custom_error_message="must be a list of instance types, or a mapping with such lists as spot and on_demand",
    ),
]


class Overrides(Section):
    """What one run changes of its job; None is no change.

    `market` spot buys Spot or nothing, on_demand buys no Spot, auto is the job's own ladder.
    `instance_types` is a list for every market in use, or MarketTypes; what an entry leaves unsaid (see
    `model_fields_set`) is the job's own for that type. A `deadline` at a time of day without a timezone is
    in the zone of the job's deadline. `hyperparameters` are merged over the job's; numbers and booleans
    have become text (see `hyperparameter_text`). `budget` is this run's alone.
    """

    market: MarketChoice | None = None
    instance_types: _EitherTypes | None = None
    deadline: Annotated[Deadline, BeforeValidator(_deadline_in_short)] | None = None
    hyperparameters: HyperParameters | None = None
    budget: BudgetOverride | None = None
    fallback: Fallback | None = None

    def types_for(self, market: Market) -> tuple[InstanceType, ...] | None:
        """The types that are given for `market`, as they were given; None where there are none."""
        if isinstance(self.instance_types, MarketTypes):
            return self.instance_types.spot if market is Market.SPOT else self.instance_types.on_demand
        return self.instance_types
