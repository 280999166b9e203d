"""Decides what an instance hour of training costs when nobody can ask AWS: the price book in the package.

On-demand prices only. A Spot attempt is billed in already discounted seconds at this same price
(https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

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
