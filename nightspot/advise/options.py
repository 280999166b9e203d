"""The ways to buy the machines of a training job, the hours that each takes, and what is told of one for a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from nightspot.advise.figures import Figure

MONTHS_A_YEAR = 12


class Option(StrEnum):
    """The ways to buy the machines of a training job."""

    NIGHTSPOT = "managed_spot_with_nightspot"
    MANAGED_SPOT = "managed_spot_alone"
    ON_DEMAND = "on_demand"
    EC2_SPOT = "ec2_spot"
    BATCH_SPOT = "aws_batch_on_spot"
    RESERVED = "hyperpod_or_training_plan"
    SAVINGS_PLAN = "savings_plan"
    SAVINGS_PLAN_FALLBACK = "savings_plan_under_the_fallback"


LABELS: Mapping[Option, str] = MappingProxyType(
    {
        Option.NIGHTSPOT: "Managed Spot with Nightspot",
        Option.MANAGED_SPOT: "Managed Spot alone",
        Option.ON_DEMAND: "On-demand",
        Option.EC2_SPOT: "EC2 Spot, self-managed",
        Option.BATCH_SPOT: "AWS Batch on Spot",
        Option.RESERVED: "HyperPod or a training plan",
        Option.SAVINGS_PLAN: "On-demand with a Savings Plan",
        Option.SAVINGS_PLAN_FALLBACK: "Nightspot, a Savings Plan under the fallback",
    }
)


@dataclass(frozen=True)
class Work:
    """Hours of engineering: once, and in each month. Assumed, unless the user has said."""

    setup_hours: float
    operate_hours: float
    words: str

    def usd_a_month(self, usd_per_hour: float) -> float:
        """The set-up spread over a year, and the month's own."""
        return (self.setup_hours / MONTHS_A_YEAR + self.operate_hours) * usd_per_hour


NIGHTSPOT_WORK = "checkpoints, a drill, quotas, the deployment"
# Of Nightspot's row the hours are the question's (`Economics`).
WORK: Mapping[Option, Work] = MappingProxyType(
    {
        Option.NIGHTSPOT: Work(16, 1, NIGHTSPOT_WORK),
        Option.MANAGED_SPOT: Work(12, 1, "checkpoints, a quota; a person starts what failed"),
        Option.ON_DEMAND: Work(0, 0, "none"),
        Option.EC2_SPOT: Work(80, 8, "images, start-up, interruption notices, retries, clean-up"),
        Option.BATCH_SPOT: Work(40, 4, "compute environment, queues, container, data to and fro"),
        Option.RESERVED: Work(24, 2, "a reservation paid ahead, and a cluster or its queue"),
        Option.SAVINGS_PLAN: Work(2, 0.5, "one purchase for one or three years, and a look at its use"),
        Option.SAVINGS_PLAN_FALLBACK: Work(18, 1.5, f"{NIGHTSPOT_WORK}, and one purchase"),
    }
)


@dataclass(frozen=True)
class Offer:
    """One option for this job. `usd` is AWS's bill of a month; `missed_nights` those without a model in time."""

    option: Option
    usd: Figure
    interruptions: str
    capacity: str
    work: Work
    work_usd: float
    missed_nights: float | None
    note: str = ""

    def total_usd(self, night_usd: float) -> float | None:
        """Bill, work and failed nights of a month; None where one of them is not known."""
        if self.usd.value is None or self.missed_nights is None:
            return None
        return self.usd.value + self.work_usd + self.missed_nights * night_usd
