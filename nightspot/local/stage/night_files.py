"""Which night is played: one of the known ones, a user's market file, or a stretch of a public trace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightspot.formats.figures import format_duration
from nightspot.job.errors import describe, nearest
from nightspot.job.model import Job
from nightspot.job.reading import read_yaml
from nightspot.local.sagemaker.markets import MarketError, Markets, SimulatedMarket, SimulationOptions
from nightspot.local.sagemaker.request_rules import ServiceFault

_SECTIONS = ("spot", "on_demand")


class NightError(ValueError):
    """A night cannot be made of what was given; one line per problem: field, value, rule."""


def night_named(name: str) -> Night:
    """One of the known nights. Raises NightError naming them."""
    if name not in NIGHTS:
        known = f"must be one of {', '.join(NIGHTS)}"
        raise NightError(f"night: {name!r}: {known}{nearest(name, NIGHTS)}")
    return NIGHTS[name]


def night_of_trace(path: Path, offset_seconds: float = 0) -> Night:
    """Spot as a public trace has it from `offset_seconds` on, for every type; on-demand is always there.

    Raises NightError; see `Market.from_trace` for the file.
    """
    try:
        market = SimulatedMarket.from_trace(path, offset_seconds=offset_seconds)
    except MarketError as error:
        raise NightError(str(error)) from error
    since = f" from {format_duration(offset_seconds)} on" if offset_seconds else ""
    return Night("trace", f"Spot as it was in {path.name}{since}.", Markets(default_spot=market))


def night_of_file(path: Path, job: Job) -> Night:
    """The night of a market file: `spot` and, if given, `on_demand`, as `Market.scripted` reads them.

    Each is a list, for all types, or a mapping from instance types of the job's ladder to lists. A type that the
    mapping leaves out always has capacity. Raises NightError with every problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise NightError(f"market: {str(path)!r}: cannot be read: {said}") from error
    document, notation = read_yaml(text)
    if notation:
        raise NightError("\n".join(f"{path.name}: {problem}" for problem in notation))
    if not isinstance(document, dict) or not document:
        given = describe(document)
        raise NightError(f"{path.name}: {given}: must be a mapping with spot, on_demand or both")
    problems = [
        f"{key}: is not known; the fields are spot and on_demand{nearest(str(key), _SECTIONS)}"
        for key in document
        if key not in _SECTIONS
    ]
    ladder = {
        "spot": [rung.instance_type for rung in job.capacity.spot],
        "on_demand": [rung.instance_type for rung in job.capacity.on_demand],
    }
    read = {name: _section(name, document.get(name), ladder[name], problems) for name in _SECTIONS}
    if problems:
        raise NightError("\n".join(f"{path.name}: {problem}" for problem in problems))
    (spot, default_spot), (on_demand, default_on_demand) = read["spot"], read["on_demand"]
    markets = Markets(spot, on_demand, default_spot, default_on_demand)
    return Night("market file", f"the market as written in {path.name}.", markets)


def _section(
    name: str, given: Any, ladder: Collection[str], problems: list[str]
) -> tuple[Mapping[str, SimulatedMarket], SimulatedMarket]:
    """The markets by instance type, and the one of all the others."""
    if given is None:
        return {}, SimulatedMarket.always()
    if isinstance(given, list):
        return {}, _market(name, given, problems)
    if not isinstance(given, dict):
        problems.append(f"{name}: {describe(given)}: must be a list, or a mapping of instance types to lists")
        return {}, SimulatedMarket.always()
    markets = {}
    for instance_type, script in given.items():
        where = f"{name}.{instance_type}"
        if instance_type not in ladder:
            types = ", ".join(ladder) or "none"
            problems.append(f"{where}: is not on the job's ladder, which has {types}")
        elif not isinstance(script, list):
            problems.append(f"{where}: {describe(script)}: must be a list such as [{{available: rest}}]")
        else:
            markets[instance_type] = _market(where, script, problems)
    return markets, SimulatedMarket.always()


def _market(where: str, script: list[Any], problems: list[str]) -> SimulatedMarket:
    try:
        return SimulatedMarket.scripted(script)
    except MarketError as error:
        # The market calls its list `script`, the file calls it by its field.
        problems.append(
            f"{where}{str(error).removeprefix('script')}"
            if str(error).startswith("script")
            else f"{where}: {error}"
        )
        return SimulatedMarket.always()


@dataclass(frozen=True)
class Night:
    """One night's market and mishaps. Moments are counted from the run's start, in story time."""

    name: str
    story: str
    markets: Markets = field(default_factory=Markets)
    options: SimulationOptions = field(default_factory=SimulationOptions)
    create_faults: tuple[ServiceFault, ...] = ()
    stop_faults: tuple[ServiceFault, ...] = ()
    describe_faults: tuple[ServiceFault, ...] = ()
    # What the run's input says beside the job: this run's own overrides.
    overrides: Mapping[str, Any] = field(default_factory=dict)


def _spot(*script: dict[str, object]) -> Markets:
    return Markets(default_spot=SimulatedMarket.scripted(script))


NIGHTS: dict[str, Night] = {
    night.name: night
    for night in (
        Night("quiet", "Spot has capacity all night and takes nothing back."),
        Night(
            "interrupted",
            "Spot takes the machine twice, once without and once with a warning, and has it back soon.",
            _spot(
                {"available": "1h30m"},
                {"reclaim": "15m"},
                {"available": "1h20m"},
                {"reclaim": "20m", "warning": True},
                {"available": "rest"},
            ),
        ),
        Night("no-capacity", "Spot never has a machine.", Markets(default_spot=SimulatedMarket.never())),
        Night(
            "bad",
            "Spot is empty at first, takes the machine away twice mid-training, and then stays empty.",
            _spot(
                {"missing": "30m"},
                {"available": "1h45m"},
                {"reclaim": "20m"},
                {"available": "1h20m"},
                {"reclaim": "rest"},
            ),
        ),
        Night(
            "ladder",
            "The first Spot type is out of quota, the second has no capacity, the third trains at 0.8 of the pace.",
            Markets(spot={"ml.p4de.24xlarge": SimulatedMarket.never()}),
            SimulationOptions(
                quotas={"ml.p4d.24xlarge for spot training job usage": 0}, speeds={"ml.g5.48xlarge": 0.8}
            ),
            overrides={
                "instance_types": {
                    "spot": [
                        "ml.p4d.24xlarge",
                        "ml.p4de.24xlarge",
                        {"instance_type": "ml.g5.48xlarge", "speed": 0.8},
                    ],
                    "on_demand": ["ml.p4d.24xlarge"],
                },
                "budget": 250,
            },
        ),
    )
}
