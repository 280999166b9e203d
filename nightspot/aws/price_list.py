"""What AWS says that a machine costs: its Price List on-demand, the account's Savings Plans, EC2's Spot prices."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, inf, isfinite
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.run.pricing import Basis, PlanRate, SpotDiscount

# https://docs.aws.amazon.com/general/latest/gr/billing.html: us-east-1, eu-central-1 and ap-south-1 alone, with the
# prices of all regions; China has its own.
# fact: pricing.regions
API_REGION = "us-east-1"
# fact: pricing.regions
CHINA_API_REGION = "cn-northwest-1"

_MOST_PAGES = 3  # the filters leave a handful of products
_PAGE_SIZE = 100
_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_HOURS = frozenset({"hr", "hrs", "hour", "hours"})


class PricesUnknownError(Exception):
    """AWS did not say what something costs; the text tells why."""


@dataclass(frozen=True)
class Listed:
    """A price in the list: USD for one hour of one instance, and the usage type that it is billed under."""

    usd_per_hour: float
    usage_type: str


# fact: pricing.training.filter
class PriceList:
    """The Price List. `client` is boto3's Pricing client, in a region of `api_region`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def training(self, instance_type: str, region: str, at: dt.datetime) -> Listed | None:
        """What SageMaker training costs on `instance_type` (ml.…) in `region` at the time `at` (aware).

        None where the list has no such price in USD. Raises PricesUnknownError where it cannot be asked.
        """
        wanted = {"regionCode": region, "instanceName": instance_type, "platoinstancetype": "Training"}
        products = self._products("AmazonSageMaker", wanted)
        return listed(products, wanted, f"Train:{instance_type}", at)

    def ec2(self, instance_type: str, region: str, at: dt.datetime) -> Listed | None:
        """What the EC2 machine `instance_type` (without ml.) costs with Linux. Otherwise as `training`."""
        wanted = {
            "regionCode": region,
            "instanceType": instance_type,
            "operatingSystem": "Linux",
            "preInstalledSw": "NA",
            "tenancy": "Shared",
            "capacitystatus": "Used",
        }
        return listed(self._products("AmazonEC2", wanted), wanted, f"BoxUsage:{instance_type}", at)

    def _products(self, service: str, wanted: Mapping[str, str]) -> list[Any]:
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
        try:
            pages = self._client.get_paginator("get_products").paginate(
                ServiceCode=service,
                Filters=filters,
                FormatVersion="aws_v1",
                PaginationConfig={"PageSize": _PAGE_SIZE, "MaxItems": _MOST_PAGES * _PAGE_SIZE},
            )
            texts = [text for page in pages for text in page.get("PriceList", ())]
        except (ClientError, BotoCoreError) as error:
            asked = ", ".join(f"{field}={value}" for field, value in wanted.items())
            raise PricesUnknownError(
                f"the Price List did not answer for {service} ({asked}): {error}"
            ) from error
        return list(_documents(texts))


def api_region(region: str) -> str:
    """The region in which the Price List answers for `region`."""
    return CHINA_API_REGION if region.startswith("cn-") else API_REGION


def listed(products: Sequence[Any], wanted: Mapping[str, str], usage: str, at: dt.datetime) -> Listed | None:
    """The price of the product with the attributes `wanted`, among `products` as the Price List writes them.

    A usage type that ends in `usage`, such as "Train:ml.g5.xlarge" in "USE1-Train:ml.g5.xlarge", is preferred.
    Where several prices are left the dearest counts, because budgets are promised with it. None where none is left.
    """
    found = [price for product in products for price in _priced(product, wanted, at)]
    exact = [price for price in found if _is_usage(price.usage_type, usage)]
    return max(exact or found, key=lambda price: price.usd_per_hour, default=None)


def _is_usage(usage_type: str, usage: str) -> bool:
    return usage_type == usage or usage_type.endswith(f"-{usage}")


def _documents(texts: Sequence[Any]) -> Iterator[Any]:
    for text in texts:
        try:
            yield json.loads(text)
        except (TypeError, ValueError):
            continue  # the other products may be readable


def _priced(document: Any, wanted: Mapping[str, str], at: dt.datetime) -> Iterator[Listed]:
    product = _mapping(document, "product")
    attributes = _mapping(product, "attributes")
    # The filters were the API's to apply; an attribute that it does not know it may ignore.
    if any(attributes.get(field) != value for field, value in wanted.items()):
        return
    usd = _current_usd(_mapping(_mapping(document, "terms"), "OnDemand"), at)
    if usd is not None:
        yield Listed(usd, str(attributes.get("usagetype", "")))


def _current_usd(terms: Mapping[str, Any], at: dt.datetime) -> float | None:
    """The price of the newest term that is in force and has one."""
    in_force = [(since, term) for term in terms.values() if (since := _effective(term)) <= at]
    for _, term in sorted(in_force, key=lambda pair: pair[0], reverse=True):
        tiers = [tier for tier in _mapping(term, "priceDimensions").values() if _is_hourly(tier)]
        priced = [
            (_above_zero(tier.get("beginRange")) or 0.0, usd)
            for tier in tiers
            if (usd := _usd(tier)) is not None
        ]
        if priced:
            # The first hours' tier; one at zero is a free or a reserved allowance, and was left out.
            first = min(begin for begin, _ in priced)
            return max(usd for begin, usd in priced if begin == first)
    return None


def _effective(term: Any) -> dt.datetime:
    # One that does not say it is in force, but behind those that do.
    return (_moment(term.get("effectiveDate")) if isinstance(term, dict) else None) or _LONG_AGO


def _is_hourly(tier: Any) -> bool:
    return isinstance(tier, dict) and str(tier.get("unit", "")).lower() in _HOURS


def _usd(tier: Mapping[str, Any]) -> float | None:
    """USD above zero, else None: China is listed in CNY alone, and no rate of exchange is assumed."""
    return _above_zero(_mapping(tier, "pricePerUnit").get("USD"))


def _above_zero(value: Any) -> float | None:
    """What AWS writes, as text, of an amount; None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) and number > 0 else None


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


# One endpoint for all regions, signed for this one: https://docs.aws.amazon.com/general/latest/gr/savingsplans.html
# fact: pricing.regions
PLANS_API_REGION = "us-east-1"
SAGEMAKER = "SageMaker"  # product type and type of plan alike
SERVICE_CODE = "AmazonSageMaker"

_MOST_PLAN_PAGES = 10
_USE_WINDOW = dt.timedelta(days=7)  # before yesterday, of which Cost Explorer may not know all


class SavingsPlans:
    """The account's Savings Plans. `client` is boto3's Savings Plans client.

    `cost_explorer` is boto3's Cost Explorer client, in a region of `api_region`; each of its calls costs $0.01.
    None: how much of a plan is used is not asked.
    """

    def __init__(self, client: Any, cost_explorer: Any = None) -> None:
        self._client = client
        self._cost_explorer = cost_explorer

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
                yield usage_type, PlanRate(usd, commitment, ends_at, str(plan.get("savingsPlanArn", "")))

    def used_share(self, plan_arn: str, at: dt.datetime) -> float | None:
        """The part of a plan's commitment that was used, 0..1, on the least used of the days before `at` (aware).

        None where Cost Explorer knows no such day. Raises PricesUnknownError where it does not answer.
        https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetSavingsPlansUtilization.html
        """
        if self._cost_explorer is None:
            return None
        end = at.date() - dt.timedelta(days=1)  # exclusive
        try:
            answer = self._cost_explorer.get_savings_plans_utilization(
                TimePeriod={"Start": f"{end - _USE_WINDOW}", "End": f"{end}"},
                Granularity="DAILY",
                Filter={"Dimensions": {"Key": "SAVINGS_PLAN_ARN", "Values": [plan_arn]}},
            )
        except (ClientError, BotoCoreError) as error:
            raise PricesUnknownError(f"how much of a Savings Plan is used is not known: {error}") from error
        days = [_mapping(day, "Utilization") for day in answer.get("SavingsPlansUtilizationsByTime", ())]
        shares = [_share(day) for day in days if _above_zero(day.get("TotalCommitment"))]
        known = [share for share in shares if share is not None]
        return min(known) if known and len(known) == len(shares) else None

    def _pages(self, operation: str, name: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        # botocore has no paginators for this service.
        for _ in range(_MOST_PLAN_PAGES):
            page = getattr(self._client, operation)(**arguments)
            yield from page.get(name, ())
            if not page.get("nextToken"):
                return
            arguments["nextToken"] = page["nextToken"]


def _share(utilization: Mapping[str, Any]) -> float | None:
    try:
        share = float(utilization["UtilizationPercentage"]) / 100
    except (KeyError, TypeError, ValueError):
        return None
    return share if 0 <= share < inf else None


def _covers_sagemaker(plan: Mapping[str, Any]) -> bool:
    return plan.get("savingsPlanType") == SAGEMAKER or SAGEMAKER in plan.get("productTypes", ())


def _amount(record: Mapping[str, Any], name: str) -> float | None:
    """USD above zero, else None."""
    return _above_zero(record.get(name)) if record.get("currency") == "USD" else None


def _moment(text: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


WINDOW = dt.timedelta(days=7)
# fact: ec2.spotprices.seconds
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
            raise PricesUnknownError(f"EC2 gave no Spot prices for {instance_type}: {error}") from error
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
            _above_zero(change.get("SpotPrice")),
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
