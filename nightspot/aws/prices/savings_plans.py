"""Which rates the account's Savings Plans give it on SageMaker training, on-demand.

The figures are the plans' own, as AWS lists them for plans that are active now. Offers are not looked at.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import fsum, isfinite
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.prices.price_list import PricesUnknownError
from nightspot.run.pricing import Basis, PlanRate, SpotDiscount

# One endpoint for all regions, signed for this one: https://docs.aws.amazon.com/general/latest/gr/savingsplans.html
API_REGION = "us-east-1"
SAGEMAKER = "SageMaker"  # product type and type of plan alike
SERVICE_CODE = "AmazonSageMaker"

_MOST_PAGES = 10


class SavingsPlans:
    """The account's Savings Plans. `client` is boto3's Savings Plans client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def rates(self, usage_types: Iterable[str], at: dt.datetime) -> Mapping[str, tuple[PlanRate, ...]]:
        """By usage type ("USE1-Train:ml.g5.xlarge"), what each active plan makes of it; one without any is absent.

        `at` is aware. Raises PricesUnknownError where AWS does not say.
        """
        wanted = sorted(set(usage_types))
        if not wanted:
            return {}
        rates: dict[str, tuple[PlanRate, ...]] = {}
        try:
            plans = list(self._pages("describe_savings_plans", "savingsPlans", states=["active"]))
            for plan in plans:
                for usage_type, rate in self._rates_of(plan, wanted, at):
                    rates[usage_type] = (*rates.get(usage_type, ()), rate)
        except (ClientError, BotoCoreError) as error:
            raise PricesUnknownError(f"the account's Savings Plans are not known: {error}") from error
        return rates

    def _rates_of(
        self, plan: Mapping[str, Any], wanted: list[str], at: dt.datetime
    ) -> Iterator[tuple[str, PlanRate]]:
        commitment, ends_at = _amount(plan, "commitment"), _moment(plan.get("end"))
        if commitment is None or ends_at is None or ends_at <= at or not _covers_sagemaker(plan):
            return
        # One filter, because AWS documents no way to combine them; the rest is looked at here.
        found = self._pages(
            "describe_savings_plan_rates",
            "searchResults",
            savingsPlanId=plan["savingsPlanId"],
            filters=[{"name": "usageType", "values": wanted}],
        )
        for each in found:
            usd, usage_type = _amount(each, "rate"), each.get("usageType")
            is_ours = (each.get("serviceCode"), each.get("unit")) == (SERVICE_CODE, "Hrs")
            if is_ours and usd is not None and usage_type in wanted:
                yield usage_type, PlanRate(usd, commitment, ends_at)

    def _pages(self, operation: str, name: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        # botocore has no paginators for this service.
        for _ in range(_MOST_PAGES):
            page = getattr(self._client, operation)(**arguments)
            yield from page.get(name, ())
            if not page.get("nextToken"):
                return
            arguments["nextToken"] = page["nextToken"]


def _covers_sagemaker(plan: Mapping[str, Any]) -> bool:
    return plan.get("savingsPlanType") == SAGEMAKER or SAGEMAKER in plan.get("productTypes", ())


def _amount(record: Mapping[str, Any], name: str) -> float | None:
    """USD above zero, else None. AWS writes amounts as text."""
    if record.get("currency") != "USD":
        return None
    try:
        amount = float(record[name])
    except (KeyError, TypeError, ValueError):
        return None
    return amount if isfinite(amount) and amount > 0 else None


def _moment(text: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


WINDOW = dt.timedelta(days=7)
PRODUCT = "Linux/UNIX"

_MOST_PRICES = 3000  # of a week, all zones: a price changes a few times a day


class SpotPrices:
    """EC2's Spot prices in one region. `client` is boto3's EC2 client there."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def mean_usd_per_hour(self, instance_type: str, at: dt.datetime) -> float | None:
        """What the type (without ml.) cost on Spot in the week before `at` (aware).

        The mean over time in each zone, then over the zones.
        None where EC2 has no Spot price of it. Raises PricesUnknownError where EC2 cannot be asked.
        """
        try:
            pages = self._client.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=[instance_type],
                ProductDescriptions=[PRODUCT],
                StartTime=at - WINDOW,
                EndTime=at,
                PaginationConfig={"MaxItems": _MOST_PRICES},
            )
            changes = [change for page in pages for change in page.get("SpotPriceHistory", ())]
        except (ClientError, BotoCoreError) as error:
            raise PricesUnknownError(
                f"EC2 did not tell the Spot prices of {instance_type}: {error}"
            ) from error
        return _mean_over_zones(changes, at)


def ec2_type(instance_type: str) -> str:
    """ "g5.xlarge" of "ml.g5.xlarge"."""
    return instance_type.removeprefix("ml.")


def discount_hint(
    instance_type: str, spot_usd_per_hour: float, on_demand_usd_per_hour: float, date: dt.date
) -> SpotDiscount:
    """What EC2 took off its own on-demand price of the machine; never below nothing."""
    return SpotDiscount(
        value=max(0.0, 1 - spot_usd_per_hour / on_demand_usd_per_hour),
        basis=Basis.PRICED,
        words=(
            f"priced: EC2's Spot price of {ec2_type(instance_type)} over 7 days, mean of all zones, against EC2's "
            "on-demand price; a hint, because SageMaker has its own pool"
        ),
        date=date,
    )


def _mean_over_zones(changes: Iterable[Mapping[str, Any]], end: dt.datetime) -> float | None:
    zones: dict[str, list[tuple[dt.datetime, float]]] = defaultdict(list)
    for change in changes:
        usd, since, zone = (
            _usd(change.get("SpotPrice")),
            change.get("Timestamp"),
            change.get("AvailabilityZone"),
        )
        if usd is not None and isinstance(since, dt.datetime) and zone and since < end:
            zones[zone].append((since, usd))
    means = [_mean_over_time(sorted(prices), end) for prices in zones.values()]
    return fsum(means) / len(means) if means else None


def _mean_over_time(prices: Sequence[tuple[dt.datetime, float]], end: dt.datetime) -> float:
    """Each price holds until the next one. EC2 tells the one as well that held when the week began."""
    starts = [max(since, end - WINDOW) for since, _ in prices]
    seconds = [(until - since).total_seconds() for since, until in pairwise([*starts, end])]
    return fsum(held * usd for held, (_, usd) in zip(seconds, prices, strict=True)) / fsum(seconds)


def _usd(value: Any) -> float | None:
    try:
        usd = float(value)
    except (TypeError, ValueError):
        return None
    return usd if isfinite(usd) and usd > 0 else None
