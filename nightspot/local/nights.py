"""The nights that can be played: when Spot has capacity, when it takes a machine away, what goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nightspot.local.faults import ServiceFault
from nightspot.local.markets import Market, Markets
from nightspot.local.options import SimulationOptions


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


def _spot(script: Iterable[dict[str, object]]) -> Markets:
    return Markets(default_spot=Market.scripted(list(script)))


NIGHTS: dict[str, Night] = {
    night.name: night
    for night in (
        Night("quiet", "Spot has capacity all night and takes nothing back."),
        Night(
            "interrupted",
            "Spot takes the machine twice, once without and once with a warning, and has it back soon.",
            _spot(
                [
                    {"available": "1h30m"},
                    {"reclaim": "15m"},
                    {"available": "1h20m"},
                    {"reclaim": "20m", "warning": True},
                    {"available": "rest"},
                ]
            ),
        ),
        Night("no-capacity", "Spot never has a machine.", Markets(default_spot=Market.never())),
        Night(
            "bad",
            "Spot is empty at first, takes the machine away twice mid-training, and then stays empty.",
            _spot(
                [
                    {"missing": "30m"},
                    {"available": "1h45m"},
                    {"reclaim": "20m"},
                    {"available": "1h20m"},
                    {"reclaim": "rest"},
                ]
            ),
        ),
        Night(
            "ladder",
            "The first Spot type is out of quota, the second has no capacity, the third trains at 0.8 of the pace.",
            Markets(spot={"ml.p4de.24xlarge": Market.never()}),
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
