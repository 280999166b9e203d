"""`nightspot prices`: which instance types are priced, in which region, and whether AWS is asked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError
from rich.console import Console

from nightspot.aws.price_list import API_REGION as SAVINGS_PLANS_REGION
from nightspot.aws.price_list import PriceList, SavingsPlans, SpotPrices, api_region
from nightspot.aws.prices import KnownPrices, LivePrices, Sources, load_price_book
from nightspot.cli import account
from nightspot.cli._shared import Json, fail, mistakes, print_json
from nightspot.formats.figures import NOT_KNOWN
from nightspot.job.reading import load_job
from nightspot.learn.history import expected_spot_discount
from nightspot.run.pricing import Price, SpotDiscount
from nightspot.terminal.lines import console_for, paragraph

DEFAULT_REGION = "eu-west-1"  # the local run's
# A person waits for the answer, not a night.
LONGEST_ASKING = timedelta(minutes=1)


def prices(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The job file whose types are priced.")
    ] = None,
    *,
    instance_type: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="Such as ml.g5.xlarge; may be repeated.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="REGION", help=f"Else AWS_REGION, AWS_DEFAULT_REGION, {DEFAULT_REGION}."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask AWS, with your credentials; else the shipped book alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what training costs on-demand and on Spot.

    With source and age of each price.
    """
    if (file is None) == (not instance_type):
        raise typer.BadParameter("give either a job file or --instance-type")
    where = _region(region)
    with mistakes():
        types = _types_of(file) if file is not None else _checked(instance_type or [])
    known = (_asked if live else _shipped)(types, where)
    found = [
        PriceRow(
            each,
            where,
            known.price(each, where),
            expected_spot_discount((), each, known.spot_hints.get(each)),
        )
        for each in types
    ]
    today = datetime.now(UTC).date()
    if as_json:
        print_json(prices_as_json(found, known.problems, today))
    else:
        show_prices(console_for(), found, known.problems, today)


def _region(given: str | None) -> str:
    name = given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    account.check_region(name)
    return name


def _checked(instance_types: list[str]) -> list[str]:
    for each in instance_types:
        if not re.fullmatch(r"ml(\.[a-z0-9-]+){2}", each):
            raise typer.BadParameter(
                f"--instance-type: {each!r}: must be one of SageMaker's, such as ml.g5.xlarge"
            )
    return list(dict.fromkeys(instance_types))


def _types_of(file: Path) -> list[str]:
    return list(load_job(file).instance_types)


def _shipped(types: list[str], region: str) -> KnownPrices:
    book = load_price_book()
    found = {each: book.usd_per_hour(each, region) for each in types}
    return KnownPrices(region, {each: price for each, price in found.items() if price is not None})


def _asked(types: list[str], region: str) -> KnownPrices:
    import boto3  # noqa: PLC0415 - a second to load, for this option alone

    try:
        sources = Sources(
            PriceList(boto3.client("pricing", region_name=api_region(region))),
            SavingsPlans(boto3.client("savingsplans", region_name=SAVINGS_PLANS_REGION)),
            SpotPrices(boto3.client("ec2", region_name=region)),
        )
    except BotoCoreError as error:
        fail(f"--live: {error}")  # a profile that is not there, say
    asking = LivePrices(
        sources,
        load_price_book(),
        None,
        region=region,
        now=lambda: datetime.now(UTC),
        longest_asking=LONGEST_ASKING,
    )
    return asking.known(types)


@dataclass(frozen=True)
class PriceRow:
    """What is known of one instance type (ml.…) in one region."""

    instance_type: str
    region: str
    price: Price | None
    discount: SpotDiscount


def show_prices(console: Console, types: list[PriceRow], problems: tuple[str, ...], today: date) -> None:
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


def prices_as_json(types: list[PriceRow], problems: tuple[str, ...], today: date) -> dict[str, Any]:
    """`{instance_types, problems}`; a figure is None where nobody knows it. USD, days, and discounts 0..1."""
    return {"instance_types": [_as_json(each, today) for each in types], "problems": list(problems)}


def _as_json(each: PriceRow, today: date) -> dict[str, Any]:
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
