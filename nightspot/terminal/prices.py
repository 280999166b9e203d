"""Decides how prices and expected Spot discounts are shown: every figure with its source, its date and its age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from rich.console import Console

from nightspot.run.pricing import Price, SpotDiscount
from nightspot.terminal.lines import paragraph

NOT_KNOWN = "not known"


@dataclass(frozen=True)
class PricedType:
    """What is known of one instance type (ml.…) in one region."""

    instance_type: str
    region: str
    price: Price | None
    discount: SpotDiscount


def show_prices(console: Console, types: list[PricedType], problems: tuple[str, ...], today: date) -> None:
    """One block for each type, then what could not be learnt."""
    for each in types:
        paragraph(console, "type", f"{each.instance_type} in {each.region}", "bold")
        paragraph(console, "on-demand", _price_words(each.price, today))
        for plan in each.price.plans if each.price else ():
            rate = f"${plan.usd_per_hour:,.3f} an hour on-demand, until {plan.ends_at:%Y-%m-%d}"
            room = f"as far as its ${plan.commitment_usd_per_hour:,.2f} an hour go"
            paragraph(console, "Savings Plan", f"{rate}, {room}; never assumed for Spot")
        paragraph(console, "Spot", _discount_words(each.discount))
    for problem in problems:
        paragraph(console, "note", problem, "yellow")


def prices_as_json(types: list[PricedType], problems: tuple[str, ...], today: date) -> dict[str, Any]:
    """`{instance_types, problems}`; a figure is None where nobody knows it. USD, days, and discounts 0..1."""
    return {"instance_types": [_as_json(each, today) for each in types], "problems": list(problems)}


def _as_json(each: PricedType, today: date) -> dict[str, Any]:
    price, discount = each.price, each.discount
    return {
        "instance_type": each.instance_type,
        "region": each.region,
        "usd_per_hour": price.usd_per_hour if price else None,
        "basis": price.basis.value if price else None,
        "price_source": price.origin.value if price else None,
        "source": price.source if price else None,
        "date": price.date.isoformat() if price else None,
        "age_days": (today - price.date).days if price else None,
        "savings_plans": [
            {
                "usd_per_hour": plan.usd_per_hour,
                "commitment_usd_per_hour": plan.commitment_usd_per_hour,
                "ends_at": plan.ends_at.isoformat(),
            }
            for plan in (price.plans if price else ())
        ],
        "spot_discount": {
            "value": round(discount.value, 4),
            "basis": discount.basis.value,
            "source": discount.words,
            "date": discount.date.isoformat(),
        },
    }


def _price_words(price: Price | None, today: date) -> str:
    if price is None:
        return NOT_KNOWN
    return f"${price.usd_per_hour:,.3f} an hour: {price.words(today)}; {price.source}"


def _discount_words(discount: SpotDiscount) -> str:
    return f"about {round(discount.value * 100)} % less, {discount.words} ({discount.date})"
