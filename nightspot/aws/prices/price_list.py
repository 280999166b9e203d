"""What AWS's Price List says an instance hour costs, on-demand and in USD.

The Price List has one product per way of using a machine, and several prices per product: tiers, versions,
currencies, reservations at zero.
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# https://docs.aws.amazon.com/general/latest/gr/billing.html: us-east-1, eu-central-1 and ap-south-1 alone, with the
# prices of all regions; China has its own.
API_REGION = "us-east-1"
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
            (_number(tier.get("beginRange")) or 0.0, usd) for tier in tiers if (usd := _usd(tier)) is not None
        ]
        if priced:
            # The first hours' tier; one at zero is a free or a reserved allowance, and was left out.
            first = min(begin for begin, _ in priced)
            return max(usd for begin, usd in priced if begin == first)
    return None


def _effective(term: Any) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(term["effectiveDate"])
    except (KeyError, TypeError, ValueError):
        return _LONG_AGO  # in force, but behind those that say since when
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _is_hourly(tier: Any) -> bool:
    return isinstance(tier, dict) and str(tier.get("unit", "")).lower() in _HOURS


def _usd(tier: Mapping[str, Any]) -> float | None:
    """USD above zero, else None: China is listed in CNY alone, and no rate of exchange is assumed."""
    value = _number(_mapping(tier, "pricePerUnit").get("USD"))
    return value if value is not None and value > 0 else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
