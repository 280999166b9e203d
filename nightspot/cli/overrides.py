"""The options with which one run does otherwise than its job file says, as the execution's input takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.job.markets import MarketChoice

# (--market's words; anything else that stands there is a file)
CHOICES = tuple(choice.value for choice in MarketChoice)

Market = Annotated[
    str | None,
    typer.Option(metavar="|".join(CHOICES), help="What this run buys; or a market file, as --market-file."),
]
MarketFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A YAML file that says when there is capacity.")
]
InstanceTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--instance-type",
        metavar="TYPE[@SPEED]",
        help="The ladder of this run, best first; give it once for each type.",
    ),
]
Deadline = Annotated[
    str | None, typer.Option(metavar="6h|07:00", help="When this run's model is due: after so long, or at.")
]
Hyperparameters = Annotated[
    list[str] | None,
    typer.Option("--hyperparameter", metavar="NAME=VALUE", help="Instead of the job's; may be repeated."),
]
Budget = Annotated[str | None, typer.Option(metavar="USD", help="The most that this run may cost.")]
Fallback = Annotated[str | None, typer.Option(metavar="on_demand|never", help="What follows Spot.")]


def market_and_file(market: str | None, market_file: Path | None) -> tuple[str | None, Path | None]:
    """`--market` takes a word, or, as it always has, the file that `--market-file` names."""
    if market is None or market in CHOICES:
        return market, market_file
    if market_file is not None:
        raise typer.BadParameter(f"--market: {market!r}: must be one of {', '.join(CHOICES)}")
    if not Path(market).exists() and not market.endswith((".yaml", ".yml")):
        rule = f"must be one of {', '.join(CHOICES)}, or a market file"
        raise typer.BadParameter(f"--market: {market!r}: {rule}")
    return None, Path(market)


def overrides_of(
    *,
    market: str | None,
    instance_types: list[str] | None,
    deadline: str | None,
    hyperparameters: list[str] | None,
    budget: str | None,
    fallback: str | None,
) -> dict[str, Any]:
    """What was given, as the execution's input names it; `read_overrides` checks it."""
    given = {
        "market": market,
        "instance_types": [_type_of(text) for text in instance_types] if instance_types else None,
        "deadline": deadline,
        "hyperparameters": _named(hyperparameters) if hyperparameters else None,
        "budget": None if budget is None else _usd(budget),
        "fallback": fallback,
    }
    return {name: value for name, value in given.items() if value is not None}


def _type_of(text: str) -> str | dict[str, Any]:
    name, at, speed = text.partition("@")
    if not at:
        return name
    try:
        return {"instance_type": name, "speed": float(speed)}
    except ValueError as error:
        rule = "must be TYPE or TYPE@SPEED, such as ml.g5.48xlarge@0.45"
        raise typer.BadParameter(f"--instance-type: {text!r}: {rule}") from error


def _usd(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"--budget: {text!r}: must be a number of US dollars") from error


def _named(given: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--hyperparameter: {text!r}: must be NAME=VALUE")
        if name in named:
            raise typer.BadParameter(f"--hyperparameter: {name!r}: must be given only once")
        named[name] = value
    return named
