"""Decides what EC2's Spot prices hint about the discount of managed Spot training on the same machine.

A hint and no more: SageMaker has a pool of its own, and bills what it bills. It stands in until enough of the
account's own runs are over (`pricing.expected_spot_discount`).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import fsum, isfinite
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.prices.price_list import PricesUnknownError
from nightspot.run.pricing import Basis, SpotDiscount

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
