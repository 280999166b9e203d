"""`nightspot prices`: which instance types are priced, in which region, and whether AWS is asked."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError

from nightspot.aws.price_list import PLANS_API_REGION as SAVINGS_PLANS_REGION
from nightspot.aws.price_list import PriceList, SavingsPlans, SpotPrices, api_region
from nightspot.aws.prices import KnownPrices, LivePrices, Sources, load_price_book
from nightspot.cli._shared import Json, fail, mistakes, print_json
from nightspot.job.markets import Market
from nightspot.job.reading import load_job
from nightspot.learn.history import expected_spot_discount
from nightspot.terminal.lines import console_for
from nightspot.terminal.tables import PricedType, prices_as_json, show_prices

DEFAULT_REGION = "eu-west-1"  # the local run's
# A person waits for the answer, not a night.
LONGEST_ASKING = timedelta(minutes=1)

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


def prices(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The job file whose ladder is priced.")
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
        PricedType(
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
    if not _REGION.fullmatch(name):
        raise typer.BadParameter(f"--region: {name!r}: must be the name of a region, such as eu-west-1")
    return name


def _checked(instance_types: list[str]) -> list[str]:
    for each in instance_types:
        if not re.fullmatch(r"ml(\.[a-z0-9-]+){2}", each):
            raise typer.BadParameter(
                f"--instance-type: {each!r}: must be one of SageMaker's, such as ml.g5.xlarge"
            )
    return list(dict.fromkeys(instance_types))


def _types_of(file: Path) -> list[str]:
    capacity = load_job(file).capacity
    return list(dict.fromkeys(spec.instance_type for market in Market for spec in capacity.rungs_of(market)))


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
