"""Decides which rates the account's Savings Plans give it on SageMaker training, on-demand.

The figures are the plans' own, as AWS lists them for plans that are active now. Offers are not looked at.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.prices.price_list import PricesUnknownError
from nightspot.run.pricing import PlanRate

# One endpoint for all regions, signed for this one: https://docs.aws.amazon.com/general/latest/gr/savingsplans.html
API_REGION = "us-east-1"
SAGEMAKER = "SageMaker"  # product type and type of plan alike
SERVICE_CODE = "AmazonSageMaker"

_MOST_PAGES = 10


class SavingsPlans:
    """The account's Savings Plans. `client` is boto3's Savings Plans client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def rates(self, usage_types: Iterable[str], at: dt.datetime) -> Mapping[str, tuple[PlanRate, ...]]:
        """By usage type ("USE1-Train:ml.g5.xlarge"), what each active plan makes of it; one without any is absent.

        `at` is aware. Raises PricesUnknownError where AWS does not say.
        """
        wanted = sorted(set(usage_types))
        if not wanted:
            return {}
        rates: dict[str, tuple[PlanRate, ...]] = {}
        try:
            plans = list(self._pages("describe_savings_plans", "savingsPlans", states=["active"]))
            for plan in plans:
                for usage_type, rate in self._rates_of(plan, wanted, at):
                    rates[usage_type] = (*rates.get(usage_type, ()), rate)
        except (ClientError, BotoCoreError) as error:
            raise PricesUnknownError(f"the account's Savings Plans are not known: {error}") from error
        return rates

    def _rates_of(
        self, plan: Mapping[str, Any], wanted: list[str], at: dt.datetime
    ) -> Iterator[tuple[str, PlanRate]]:
        commitment, ends_at = _amount(plan, "commitment"), _moment(plan.get("end"))
        if commitment is None or ends_at is None or ends_at <= at or not _covers_sagemaker(plan):
            return
        # One filter, because AWS documents no way to combine them; the rest is looked at here.
        found = self._pages(
            "describe_savings_plan_rates",
            "searchResults",
            savingsPlanId=plan["savingsPlanId"],
            filters=[{"name": "usageType", "values": wanted}],
        )
        for each in found:
            usd, usage_type = _amount(each, "rate"), each.get("usageType")
            is_ours = (each.get("serviceCode"), each.get("unit")) == (SERVICE_CODE, "Hrs")
            if is_ours and usd is not None and usage_type in wanted:
                yield usage_type, PlanRate(usd, commitment, ends_at)

    def _pages(self, operation: str, name: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        # botocore has no paginators for this service.
        for _ in range(_MOST_PAGES):
            page = getattr(self._client, operation)(**arguments)
            yield from page.get(name, ())
            if not page.get("nextToken"):
                return
            arguments["nextToken"] = page["nextToken"]


def _covers_sagemaker(plan: Mapping[str, Any]) -> bool:
    return plan.get("savingsPlanType") == SAGEMAKER or SAGEMAKER in plan.get("productTypes", ())


def _amount(record: Mapping[str, Any], name: str) -> float | None:
    """USD above zero, else None. AWS writes amounts as text."""
    if record.get("currency") != "USD":
        return None
    try:
        amount = float(record[name])
    except (KeyError, TypeError, ValueError):
        return None
    return amount if isfinite(amount) and amount > 0 else None


def _moment(text: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
