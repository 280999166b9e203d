"""The prices a plan works with: what AWS says, asked once a day and kept in the table; else the price book's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.price_list import (
    PriceList,
    PricesUnknownError,
    SavingsPlans,
    SpotPrices,
    discount_hint,
    ec2_type,
)
from nightspot.aws.table.run_table import RunTable
from nightspot.run.pricing import PlanRate, Price, PriceSource, SpotDiscount

__all__ = ["Price", "PriceBook", "better_founded", "load_price_book", "read_price_book"]


@dataclass(frozen=True)
class PriceBook:
    """On-demand prices of SageMaker training by instance type (ml.…) and region."""

    prices: Mapping[tuple[str, str], Price]

    def usd_per_hour(self, instance_type: str, region: str) -> Price | None:
        """The price of one instance for one hour, or None where the book has none."""
        return self.prices.get((instance_type, region))


def load_price_book() -> PriceBook:
    """The price book that ships with Nightspot (`prices.json` beside this module)."""
    text = resources.files("nightspot.aws").joinpath("prices.json").read_text(encoding="utf-8")
    return read_price_book(json.loads(text))


def read_price_book(document: Mapping[str, Any]) -> PriceBook:
    """The book of a document shaped like `prices.json`.

    Where two blocks price the same type and region, the better founded one counts.
    """
    prices: dict[tuple[str, str], Price] = {}
    for block in document["blocks"]:
        source, assumed = block["source"], block["assumed"]
        date = dt.date.fromisoformat(block["date"])
        for instance_type, usd in block["usd_per_hour"].items():
            key = (instance_type, block["region"])
            price = Price(float(usd), source, date, assumed)
            prices[key] = better_founded(prices.get(key), price) or price
    return PriceBook(MappingProxyType(prices))


def better_founded(one: Price | None, other: Price | None) -> Price | None:
    """The one to believe: a price list beats an assumption, and then the later date wins."""
    given = [price for price in (one, other) if price is not None]
    return max(given, key=lambda price: (not price.assumed, price.date), default=None)


# fact: quotas.seconds
_PAGE_SIZE = 100  # the most that Service Quotas gives; SageMaker has thousands of quotas


class QuotasUnknownError(Exception):
    """Service Quotas did not say; the text tells why."""


class Quotas:
    """SageMaker's quotas in one account and region. `client` is boto3's Service Quotas client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def limits(self, names: Iterable[str]) -> Mapping[str, float]:
        """Instances by quota name (`planning.quota_name`); one that AWS does not list or cannot tell is absent.

        The account's own value where one was ever applied, else AWS's default. Raises QuotasUnknownError.
        """
        wanted = frozenset(names)
        try:
            applied = self._listed("list_service_quotas", wanted)
            defaults = self._listed("list_aws_default_service_quotas", wanted - applied.keys())
        except (ClientError, BotoCoreError) as error:
            raise QuotasUnknownError(f"Service Quotas did not list SageMaker's quotas: {error}") from error
        return {name: value for name, value in (applied | defaults).items() if value is not None}

    def _listed(self, operation: str, wanted: frozenset[str]) -> dict[str, float | None]:
        """What `operation` lists of the wanted; None where it cannot tell the value. No page more than needed."""
        found: dict[str, float | None] = {}
        if not wanted:
            return found
        pages = self._client.get_paginator(operation).paginate(
            ServiceCode="sagemaker", PaginationConfig={"PageSize": _PAGE_SIZE}
        )
        for page in pages:
            for quota in page["Quotas"]:
                if quota["QuotaName"] in wanted:
                    # With an ErrorReason there is no value, and AWS's default would be a guess.
                    found[quota["QuotaName"]] = quota.get("Value")
            if len(found) == len(wanted):
                break
        return found


ASK_AGAIN_AFTER = dt.timedelta(days=1)
# Where the Price List did not answer: a permission may be fixed within hours.
ASK_AGAIN_AFTER_A_FAULT = dt.timedelta(hours=1)

_T = TypeVar("_T")


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
        self,
        sources: Sources,
        region: str,
        now: Callable[[], dt.datetime],
        longest: dt.timedelta,
        known_plans: Iterable[PlanRate] = (),
    ) -> None:
        self._ask_of = sources
        self._plan_uses = {plan.plan_arn: plan for plan in sorted(known_plans, key=_asked_at)}
        self._region = region
        self._now = now
        self._at = now()
        self._until = self._at + longest
        self._silent: set[str] = set()
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
            "price list",
            lambda: self._ask_of.price_list.training(instance_type, self._region, self._at),
        )
        if answer is None:
            if "price list" not in self._silent:
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
        answer = self._ask("savings plans", lambda: self._ask_of.savings_plans.rates(usage_types, self._at))
        if answer is None:
            return records
        arns = {plan.plan_arn for plans in answer.value.values() for plan in plans}
        uses = {arn: self._plan_use(arn) for arn in sorted(arns)}
        return {
            instance_type: replace(
                record,
                plans=tuple(
                    replace(plan, **uses[plan.plan_arn])
                    for plan in answer.value.get(record.usage_type or "", ())
                ),
            )
            for instance_type, record in records.items()
        }

    def _plan_use(self, plan_arn: str) -> dict[str, Any]:
        """A plan's fields about its use. A call costs $0.01: within a day there is no second one, for no type."""
        if not plan_arn:
            return {}
        known = self._plan_uses.get(plan_arn)
        if known is not None and self._at < _asked_at(known) + ASK_AGAIN_AFTER:
            return {"used_share": known.used_share, "use_asked_at": known.use_asked_at}
        answer = self._ask("plan use", lambda: self._ask_of.savings_plans.used_share(plan_arn, self._at))
        if answer is None and "plan use" not in self._silent:
            return {}  # there was no time
        return {"used_share": None if answer is None else answer.value, "use_asked_at": self._at}

    def _hint(self, instance_type: str) -> SpotDiscount | None:
        machine = ec2_type(instance_type)
        spot = self._ask("spot prices", lambda: self._ask_of.spot_prices.mean_usd_per_hour(machine, self._at))
        if spot is None or spot.value is None:
            return None
        on_demand = self._ask(
            "price list", lambda: self._ask_of.price_list.ec2(machine, self._region, self._at)
        )
        if on_demand is None or on_demand.value is None:
            return None
        return discount_hint(instance_type, spot.value, on_demand.value.usd_per_hour, self._at.date())

    def _ask(self, service: str, question: Callable[[], _T]) -> _Answer[_T] | None:
        """The answer; None from a service that is silent, or where there is no time to ask."""
        if service in self._silent or self._now() >= self._until:
            return None
        try:
            return _Answer(question())
        except PricesUnknownError as error:
            self._silent.add(service)
            self.problems.append(str(error))
            return None


def _asked_at(plan: PlanRate) -> dt.datetime:
    return plan.use_asked_at or dt.datetime.min.replace(tzinfo=dt.UTC)


# After it no question is begun; the types that are left are asked about the next time.
LONGEST_ASKING = dt.timedelta(seconds=40)
# So old a price says that AWS has not answered for a while: it is asked every day.
STALE_AFTER = dt.timedelta(days=2)

_TABLE_FAULTS = (TransientAwsError, ClientError, BotoCoreError)


@dataclass(frozen=True)
class KnownPrices:
    """The prices of one region at one moment. What stands in no mapping nobody knows."""

    region: str
    prices: Mapping[str, Price] = field(default_factory=dict)  # by instance type
    spot_hints: Mapping[str, SpotDiscount] = field(default_factory=dict)
    problems: tuple[str, ...] = ()  # what could not be learnt, and why

    def price(self, instance_type: str, region: str) -> Price | None:
        """A `planning.Price`; None where the price is not known."""
        return self.prices.get(instance_type) if region == self.region else None


class KeptPrices:
    """The prices of `region` as AWS said them before and the table has kept them; the book is the last resort.

    Nobody is asked but the table. Without a `table` the book's alone. `now` gives aware UTC times.
    """

    def __init__(
        self, book: PriceBook, table: RunTable | None, *, region: str, now: Callable[[], dt.datetime]
    ) -> None:
        self._book = book
        self._table = table
        self._region = region
        self._now = now

    def known(self, instance_types: Iterable[str]) -> KnownPrices:
        """What is known of the prices of `instance_types` (ml.…).

        No fault of AWS is raised: it is one of the `problems`, as is a type of which AWS has said nothing lately.
        """
        types = tuple(dict.fromkeys(instance_types))
        problems: list[str] = []
        found = self._found(types, self._kept(problems), problems)
        return replace(found, problems=(*problems, *self._silences(found, types)))

    def _silences(self, found: KnownPrices, types: Iterable[str]) -> Iterator[str]:
        for each in unlisted(found, types, self._now()):
            price = found.prices.get(each)
            stands_in = f"the price of {price.date} counts" if price else "no price is known"
            yield f"the Price List has not said in two days what {each} costs in {self._region}: {stands_in}"

    def _found(
        self, types: Iterable[str], records: Mapping[str, PriceRecord], problems: Iterable[str]
    ) -> KnownPrices:
        now = self._now()
        prices = {each: self._price(each, records.get(each), now) for each in types}
        hints = {each: records[each].spot_hint for each in types if each in records}
        return KnownPrices(
            self._region,
            {each: price for each, price in prices.items() if price is not None},
            {each: hint for each, hint in hints.items() if hint is not None},
            tuple(problems),
        )

    def _price(self, instance_type: str, record: PriceRecord | None, now: dt.datetime) -> Price | None:
        shipped = self._book.usd_per_hour(instance_type, self._region)
        if record is None:
            return shipped
        price = better_founded(shipped, record.price)
        plans = tuple(_as_of(plan, now) for plan in record.plans if plan.ends_at > now)
        return None if price is None else replace(price, plans=plans)

    def _kept(self, problems: list[str]) -> dict[str, PriceRecord]:
        if self._table is None:
            return {}
        try:
            kept = self._table.price_records(self._region)
        except _TABLE_FAULTS as error:
            problems.append(f"the table did not tell what AWS said of prices before: {error}")
            return {}
        return dict(_readable(kept, problems))


class LivePrices(KeptPrices):
    """The prices of `region`, asked of `sources` where the table's are a day old, and kept there.

    Without a `table` nothing is kept, and every call asks.
    """

    def __init__(
        self,
        sources: Sources,
        book: PriceBook,
        table: RunTable | None,
        *,
        region: str,
        now: Callable[[], dt.datetime],
        longest_asking: dt.timedelta = LONGEST_ASKING,
    ) -> None:
        super().__init__(book, table, region=region, now=now)
        self._sources = sources
        self._longest_asking = longest_asking

    def known(self, instance_types: Iterable[str]) -> KnownPrices:
        """What is known of the prices of `instance_types` (ml.…), asked where it is time.

        No fault of AWS is raised: it is one of the `problems`.
        """
        types, now = tuple(instance_types), self._now()
        problems: list[str] = []
        records = self._kept(problems)
        due = {
            each: records.get(each) for each in types if each not in records or records[each].ask_after <= now
        }
        if due:
            plans = [plan for record in records.values() for plan in record.plans]
            asking = PriceRound(self._sources, self._region, self._now, self._longest_asking, plans)
            asked = asking.about(due)
            problems += asking.problems
            self._keep(asked, problems)
            records |= asked
        return self._found(types, records, problems)

    def _keep(self, records: Mapping[str, PriceRecord], problems: list[str]) -> None:
        if self._table is None:
            return
        try:
            for instance_type, record in records.items():
                kept = _codec().dump_python(record, mode="json")
                self._table.record_price(self._region, instance_type, kept)
        except _TABLE_FAULTS as error:
            problems.append(f"the table did not take what AWS says of prices: {error}")


def unlisted(known: KnownPrices, instance_types: Iterable[str], now: dt.datetime) -> list[str]:
    """Those of `instance_types` for which `known` has no price of AWS's Price List, or an old one. `now`: aware.

    A type that the list does not name, or not as it is asked for; or a list that nobody answers for.
    """
    latest = now.date() - STALE_AFTER
    found = []
    for each in instance_types:
        price = known.prices.get(each)
        if price is None or price.origin is not PriceSource.PRICE_LIST or price.date < latest:
            found.append(each)
    return found


def _as_of(plan: PlanRate, now: dt.datetime) -> PlanRate:
    """A use that could not be asked for again is no news of today."""
    return plan if now - _asked_at(plan) < 2 * ASK_AGAIN_AFTER else replace(plan, used_share=None)


def _readable(kept: Mapping[str, Any], problems: list[str]) -> Iterator[tuple[str, PriceRecord]]:
    from pydantic import ValidationError  # noqa: PLC0415 - with the codec

    for instance_type, record in kept.items():
        try:
            yield instance_type, _codec().validate_python(record)
        except ValidationError as error:
            # Another version's, say. AWS is asked anew, and the record written again.
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            problems.append(f"the table's price of {instance_type} cannot be read: {place}: {first['msg']}")


@cache
def _codec() -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415 - a decision needs no prices

    return TypeAdapter(PriceRecord)
