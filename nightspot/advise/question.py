"""What is asked when somebody wants advice: the job, what is known beside its file, and how well it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from nightspot.job.model import Job
from nightspot.market.samples import Zone
from nightspot.record.model import RunRecord
from nightspot.run.pricing import Basis, Price, SpotDiscount

FAILED_NIGHT_HOURS = 2.0

PriceOf = Callable[[str, str], Price | None]
"""(instance type, region) -> what an hour of one instance costs, or None where that is not known."""


class Band(StrEnum):
    """How often EC2 takes machines of a type back within a month, as the Spot Instance Advisor groups it."""

    UNDER_5 = "<5"
    UNDER_10 = "5-10"
    UNDER_15 = "10-15"
    UNDER_20 = "15-20"
    OVER_20 = ">20"


class PlanRoom(StrEnum):
    """What the account's active Savings Plan has left for this job."""

    IDLE = "idle"  # enough for it: its on-demand hours are paid already
    USED = "used"  # nothing: other work uses the commitment up
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Hints:
    """What is known of the pool and of prices beside the job's own runs. None: not known.

    Placement score and band are about EC2's pool, not SageMaker's: hints, not facts. `plan_room`: None where no
    Savings Plan is active, or nobody has said. `on_demand_queue_seconds`: the longest wait for an on-demand
    machine.
    """

    placement_score: int | None = None  # 1..10, ec2:GetSpotPlacementScores
    band: Band | None = None
    zones: int | None = None  # availability zones that the job may be trained in
    spot_discount: SpotDiscount | None = None  # the user's word, or EC2's Spot prices
    ec2_spot_usd_per_hour: float | None = None  # of one instance of the first Spot type
    plan_room: PlanRoom | None = None
    on_demand_queue_seconds: float | None = None


@dataclass(frozen=True)
class Economics:
    """What work and failed nights cost. `failed_night_usd` None: two hours of an engineer."""

    engineer_usd_per_hour: float = 100.0
    setup_hours: float = 16.0  # checkpoints, a drill, quotas, the deployment
    operate_hours: float = 1.0  # a month
    failed_night_usd: float | None = None
    are_given: frozenset[str] = frozenset()  # which of them the user has said

    @property
    def night_usd(self) -> float:
        """What a night without a model in time costs.

        Unless it is given, only what surely comes: somebody finds out why, starts the job again and waits for it.
        What yesterday's model costs the business nobody else can know.
        """
        if self.failed_night_usd is not None:
            return self.failed_night_usd
        return FAILED_NIGHT_HOURS * self.engineer_usd_per_hour


@dataclass(frozen=True)
class Question:
    """Is Spot right for `job`?

    `history`: the job's past runs on AWS. `drill`: what `nightspot drill --json`
    wrote, of which only `outcome` is read. `zones`: Spot markets of the user's own, from traces, else made-up ones.
    `nights` and `window_seconds` stand in for what the job file does not tell. `today` is for the age of prices.
    """

    job: Job
    price: PriceOf
    region: str
    today: date
    history: Sequence[RunRecord] = ()
    drill: Mapping[str, Any] | None = None
    zones: Sequence[Zone] = ()
    hints: Hints = field(default_factory=Hints)
    economics: Economics = field(default_factory=Economics)
    nights: float | None = None  # a month
    window_seconds: float | None = None
    save_seconds: float = 30.0  # what writing one checkpoint takes of the training's time
    seed: int = 7


UNKNOWN = "unknown"
_STRENGTH = (Basis.MEASURED, Basis.PRICED, Basis.ASSUMED)  # the strongest first


@dataclass(frozen=True)
class Figure:
    """A number, or None where nobody honest could give one; where it comes from, and who says so."""

    value: float | None
    basis: Basis | None  # None exactly where the value is
    source: str

    def __post_init__(self) -> None:
        if (self.value is None) != (self.basis is None):
            raise ValueError(f"basis: {self.basis}: must be None exactly where value is, {self.value}")

    @property
    def word(self) -> str:
        return UNKNOWN if self.basis is None else self.basis.value


def priced(value: float, source: str) -> Figure:
    """A figure that somebody publishes."""
    return Figure(value, Basis.PRICED, source)


def assumed(value: float, source: str) -> Figure:
    """A figure that nobody stands behind."""
    return Figure(value, Basis.ASSUMED, source)


def unknown(source: str) -> Figure:
    """No figure, and why there is none."""
    return Figure(None, None, source)


def derived(value: float, inputs: Iterable[Figure], source: str) -> Figure:
    """A figure that was computed from others: as weak as the weakest, unknown where one of them is."""
    inputs = tuple(inputs)
    bases = [figure.basis for figure in inputs if figure.basis is not None]
    if len(bases) < len(inputs):
        missing = next(figure for figure in inputs if figure.basis is None)
        return unknown(missing.source)
    return Figure(value, max(bases, key=_STRENGTH.index, default=Basis.ASSUMED), source)
