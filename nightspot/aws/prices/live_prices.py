"""Decides which prices a plan works with: AWS's, asked once a day; else what AWS said before; else the book.

Nothing here fails a plan or holds it up for long: what cannot be asked is a problem to log, and the next best
figure stands in, with its date.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.prices.price_round import PriceRecord, PriceRound, Sources
from nightspot.aws.prices.prices import PriceBook, better_founded
from nightspot.aws.table.run_table import RunTable
from nightspot.run.pricing import Price, SpotDiscount

# After it no question is begun; the types that are left are asked about by the next plan.
LONGEST_ASKING = dt.timedelta(seconds=5)

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


class LivePrices:
    """The prices of `region`, asked of `sources`, with the table as memory and the book as the last resort.

    Without a `table` nothing is kept, and every call asks. `now` gives aware UTC times.
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
        self._sources = sources
        self._book = book
        self._table = table
        self._region = region
        self._now = now
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
            asking = PriceRound(self._sources, self._region, self._now, self._longest_asking)
            asked = asking.about(due)
            problems += asking.problems
            self._keep(asked, problems)
            records |= asked
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
        plans = tuple(plan for plan in record.plans if plan.ends_at > now)
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

    def _keep(self, records: Mapping[str, PriceRecord], problems: list[str]) -> None:
        if self._table is None:
            return
        try:
            for instance_type, record in records.items():
                kept = _codec().dump_python(record, mode="json")
                self._table.record_price(self._region, instance_type, kept)
        except _TABLE_FAULTS as error:
            problems.append(f"the table did not take what AWS says of prices: {error}")


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
