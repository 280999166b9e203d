"""What is known of prices without asking for them: the price book in the package; and the account's quotas."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.run.pricing import Price

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
    text = resources.files("nightspot.aws.prices").joinpath("prices.json").read_text(encoding="utf-8")
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
