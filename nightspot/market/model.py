"""What a simulated night is, and what became of it: the same for every policy that is played on it.

Seconds count from the night's start. A machine is paid from the moment it is given to the moment it is lost or
given back, its change-over included; on-demand costs 1 an hour, Spot what `prices` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from nightspot.market.availability import Availability, Prices

LATE_SECONDS = 1e-6  # what sums of floats may be off by


class Doing(StrEnum):
    """What a span of a simulated night is spent on."""

    WAITING = "waiting"  # no machine, nothing is paid
    STARTING = "starting"  # a machine is paid and does no work yet
    TRAINING = "training"
    STOPPING = "stopping"  # the old machine is given back; the next one may not start yet


@dataclass(frozen=True)
class Truth:
    """What the night is really like; no policy sees it beforehand.

    The k-th launch of a market takes the k-th of its change-overs (the last one again and again), whichever policy
    plays: so all of them have the same luck.
    """

    market: Availability  # when Spot can be had, from the night's start for the whole window at least
    prices: Prices  # of Spot, over on-demand's
    work_seconds: float
    window_seconds: float
    spot_changeover_seconds: tuple[float, ...]  # from the machine to its first step
    on_demand_changeover_seconds: tuple[float, ...]
    on_demand_queue_seconds: tuple[float, ...] = (0.0,)  # until a machine is given; nothing is paid
    checkpoint_seconds: float = 0.0  # training time from one checkpoint to the next; 0: nothing is ever lost
    stop_seconds: float = 0.0  # from asking a machine to stop to the moment at which another may start
    detection_seconds: float = 0.0  # until a change is known to whoever decides

    def is_late(self, finished_seconds: float) -> bool:
        """Whether a model that is ready then comes after the deadline."""
        return finished_seconds > self.window_seconds + LATE_SECONDS


@dataclass(frozen=True)
class Belief:
    """What a policy plans with."""

    work_seconds: float
    spot_changeover_seconds: float
    on_demand_changeover_seconds: float
    stop_seconds: float = 0.0


@dataclass(frozen=True)
class Span:
    """A stretch of the night: on which market (None: on none), doing what."""

    start_seconds: float
    end_seconds: float
    market: str | None  # "spot" or "on_demand"
    doing: Doing


class NightResult(NamedTuple):
    """What a policy made of a night. `cost` is in hours of on-demand."""

    cost: float
    finished_seconds: float
    late: bool
    interruptions: int
    launches: int  # machines that were paid for
    on_demand_seconds: float  # paid
    spot_seconds: float  # paid
    waited_seconds: float
    spans: tuple[Span, ...] = ()  # only where they were asked for


def changeover(seconds: tuple[float, ...], launch: int) -> float:
    """The change-over of the `launch`-th launch (from 0)."""
    return seconds[min(launch, len(seconds) - 1)]
