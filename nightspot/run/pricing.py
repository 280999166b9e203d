"""What an instance hour is expected to cost and what Spot is expected to save, each with source and age.

The on-demand leg may be cheaper under the account's Savings Plans. Whether a plan covers managed Spot training is
not documented: no plan ever touches a Spot attempt here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

_DAYS_A_MONTH = 365.25 / 12
# An age is told in the unit in which it is about two or more.
_MONTHS_FROM_DAYS = 60
_YEARS_FROM_DAYS = 700
# A Savings Plan of whose commitment so much was used on every one of the last days has no room for another job.
USED_UP_SHARE = 0.99


class Basis(StrEnum):
    """How a figure about money came to be."""

    MEASURED = "measured"  # on this account's own runs
    PRICED = "priced"  # from a price that somebody publishes
    ASSUMED = "assumed"  # nobody's figure


class PriceSource(StrEnum):
    """Who says what an instance hour costs."""

    PRICE_LIST = "price_list"  # AWS's, asked by this account
    BOOK = "book"  # the one that ships with Nightspot


@dataclass(frozen=True)
class PlanRate:
    """What one Savings Plan of the account makes of one hour of one instance, on-demand."""

    usd_per_hour: float
    commitment_usd_per_hour: float  # what the plan pays for in every hour, at such rates
    ends_at: dt.datetime  # aware
    plan_arn: str = ""
    used_share: float | None = (
        None  # of its commitment, 0..1, on the least used of the last days; None: not known
    )
    use_asked_at: dt.datetime | None = None  # aware; when AWS was asked that

    @property
    def may_have_room(self) -> bool:
        """False where other work is known to use the whole commitment."""
        return self.used_share is None or self.used_share < USED_UP_SHARE


@dataclass(frozen=True)
class Price:
    """USD for one hour of one instance at the list, who says so, and the date on which it held.

    `assumed` marks a figure that no price list stands behind. `plans` are the Savings Plans that make it cheaper on
    the on-demand leg.
    """

    usd_per_hour: float
    source: str
    date: dt.date
    assumed: bool
    origin: PriceSource = PriceSource.BOOK
    plans: tuple[PlanRate, ...] = ()

    @property
    def basis(self) -> Basis:
        return Basis.ASSUMED if self.assumed else Basis.PRICED

    def words(self, today: dt.date) -> str:
        """ "price of 2023-12-31, 3 years old"; without an age on its first day."""
        age = age_words(self.date, today)
        return f"{'assumed ' if self.assumed else ''}price of {self.date}{f', {age}' if age else ''}"

    def least_usd_per_hour(self, instance_count: int) -> float | None:
        """What one on-demand instance of `instance_count` adds to an hour's bill at least; None without a plan.

        A commitment is paid whether it is used or not. What an idle one covers adds nothing, and the rest costs the
        list price; what it adds at most is the list price, where other work has used the commitment up. Where that
        is known of all plans, the least is the list price as well.
        Source: https://docs.aws.amazon.com/savingsplans/latest/userguide/sp-applying.html
        """
        if not self._rates:
            return None
        left = float(instance_count)
        for plan in self._rates:
            if plan.may_have_room:
                left -= min(left, plan.commitment_usd_per_hour / plan.usd_per_hour)
        return left / instance_count * self.usd_per_hour

    @property
    def _rates(self) -> list[PlanRate]:
        """The plans that make an hour cheaper, the cheapest first: AWS uses them up in this order."""
        cheaper = (plan for plan in self.plans if plan.usd_per_hour < self.usd_per_hour)
        return sorted(cheaper, key=lambda plan: plan.usd_per_hour)


@dataclass(frozen=True)
class SpotDiscount:
    """The part of the on-demand price that Spot is expected to save, 0..1, and why one should think so."""

    value: float
    basis: Basis
    words: str
    date: dt.date


# The middle of what jobs in public training logs saved (SageMaker's own line "Managed Spot Training savings": 53.7,
# 62.8, 66.9, 70.0 and 77.7 %), rounded down.
ASSUMED_SPOT_DISCOUNT = SpotDiscount(
    value=0.65,
    basis=Basis.ASSUMED,
    words="assumed: five public SageMaker training logs tell of 54 to 78 % saved; AWS promises up to 90 %",
    date=dt.date(2026, 11, 21),
)


def age_words(date: dt.date, today: dt.date) -> str:
    """ "12 days old", "8 months old", "3 years old"; nothing for today and for days to come."""
    days = (today - date).days
    if days <= 0:
        return ""
    if days < _MONTHS_FROM_DAYS:
        return "1 day old" if days == 1 else f"{days} days old"
    if days < _YEARS_FROM_DAYS:
        return f"{round(days / _DAYS_A_MONTH)} months old"
    return f"{round(days / _DAYS_A_MONTH / 12)} years old"
