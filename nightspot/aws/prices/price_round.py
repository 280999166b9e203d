"""Decides what one round of questions to AWS about prices asks, in which order, and when it has asked enough."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, TypeVar

from nightspot.aws.prices.price_list import PriceList, PricesUnknownError
from nightspot.aws.prices.savings_plans import SavingsPlans
from nightspot.aws.prices.spot_discount import SpotPrices, discount_hint, ec2_type
from nightspot.run.pricing import PlanRate, Price, PriceSource, SpotDiscount

ASK_AGAIN_AFTER = dt.timedelta(days=1)
# Where the Price List did not answer: a permission may be mended within hours.
ASK_AGAIN_AFTER_A_FAULT = dt.timedelta(hours=1)

_T = TypeVar("_T")


class _Service(StrEnum):
    """Who can fall silent."""

    PRICE_LIST = "price list"
    SAVINGS_PLANS = "savings plans"
    SPOT_PRICES = "spot prices"


@dataclass(frozen=True)
class PriceRecord:
    """What AWS has said of one instance type in one region."""

    ask_after: dt.datetime  # aware; before it AWS is not asked again
    price: Price | None = None  # at the list, without plans
    usage_type: str | None = None  # that it is billed under
    plans: tuple[PlanRate, ...] = ()
    spot_hint: SpotDiscount | None = None


@dataclass(frozen=True)
class Sources:
    """Whom the questions go to."""

    price_list: PriceList
    savings_plans: SavingsPlans
    spot_prices: SpotPrices


@dataclass(frozen=True)
class _Answer(Generic[_T]):
    value: _T


class PriceRound:
    """One round about the types of `region`. A service that did not answer once is not asked again in it.

    `now` gives aware UTC times. No question is begun once `longest` has passed. `problems` says what went
    unanswered.
    """

    def __init__(
        self, sources: Sources, region: str, now: Callable[[], dt.datetime], longest: dt.timedelta
    ) -> None:
        self._ask_of = sources
        self._region = region
        self._now = now
        self._at = now()
        self._until = self._at + longest
        self._silent: set[_Service] = set()
        self.problems: list[str] = []

    def about(self, due: Mapping[str, PriceRecord | None]) -> dict[str, PriceRecord]:
        """The new records of `due`: instance type (ml.…) to what was known of it.

        What AWS does not tell stays as it was known. A type that there was no time for is absent. All prices come
        before plans and hints, because money is counted with them.
        """
        records = {}
        for instance_type, known in due.items():
            if (record := self._priced(instance_type, known or PriceRecord(self._at))) is not None:
                records[instance_type] = record
        records = self._with_plans(records)
        return {
            instance_type: replace(record, spot_hint=self._hint(instance_type) or record.spot_hint)
            for instance_type, record in records.items()
        }

    def _priced(self, instance_type: str, known: PriceRecord) -> PriceRecord | None:
        answer = self._ask(
            _Service.PRICE_LIST,
            lambda: self._ask_of.price_list.training(instance_type, self._region, self._at),
        )
        if answer is None:
            if _Service.PRICE_LIST not in self._silent:
                return None
            return replace(known, ask_after=self._at + ASK_AGAIN_AFTER_A_FAULT)
        record = replace(known, ask_after=self._at + ASK_AGAIN_AFTER)
        if answer.value is None:
            self.problems.append(
                f"the Price List has no USD price of training on {instance_type} in {self._region}"
            )
            return record
        price = Price(
            answer.value.usd_per_hour,
            f"AWS Price List API, usage type {answer.value.usage_type}",
            self._at.date(),
            assumed=False,
            origin=PriceSource.PRICE_LIST,
        )
        return replace(record, price=price, usage_type=answer.value.usage_type)

    def _with_plans(self, records: dict[str, PriceRecord]) -> dict[str, PriceRecord]:
        usage_types = [record.usage_type for record in records.values() if record.usage_type]
        if not usage_types:
            return records
        answer = self._ask(
            _Service.SAVINGS_PLANS, lambda: self._ask_of.savings_plans.rates(usage_types, self._at)
        )
        if answer is None:
            return records
        return {
            instance_type: replace(record, plans=answer.value.get(record.usage_type or "", ()))
            for instance_type, record in records.items()
        }

    def _hint(self, instance_type: str) -> SpotDiscount | None:
        machine = ec2_type(instance_type)
        spot = self._ask(
            _Service.SPOT_PRICES, lambda: self._ask_of.spot_prices.mean_usd_per_hour(machine, self._at)
        )
        if spot is None or spot.value is None:
            return None
        on_demand = self._ask(
            _Service.PRICE_LIST, lambda: self._ask_of.price_list.ec2(machine, self._region, self._at)
        )
        if on_demand is None or on_demand.value is None:
            return None
        return discount_hint(instance_type, spot.value, on_demand.value.usd_per_hour, self._at.date())

    def _ask(self, service: _Service, question: Callable[[], _T]) -> _Answer[_T] | None:
        """The answer; None from a service that is silent, or where there is no time to ask."""
        if service in self._silent or self._now() >= self._until:
            return None
        try:
            return _Answer(question())
        except PricesUnknownError as error:
            self._silent.add(service)
            self.problems.append(str(error))
            return None
