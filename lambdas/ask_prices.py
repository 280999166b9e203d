"""Every hour, and after each deployment: asks AWS what the instance types of the job files cost, each once a day.

What it learns lies in the table, where plans read it: so no plan waits for a price, and a Price List that takes
long, or does not answer, hurts no run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from nightspot.aws.price_list import PLANS_API_REGION, PriceList, SavingsPlans, SpotPrices, api_region
from nightspot.aws.prices import KnownPrices, LivePrices, Sources, load_price_book, unlisted
from nightspot.aws.table.run_table import RunTable
from nightspot.lambdas.dependencies import deployed_jobs, late_client, read_environment
from nightspot.lambdas.observability import count, emit, logger, uncounted_entry

if TYPE_CHECKING:
    from nightspot.job.model import Job

# botocore's Config of the clients. Nobody publishes how long the Price List takes. The last question is begun
# within 40 seconds (`nightspot.aws.prices.LONGEST_ASKING`), and its answer may take 15; the function has 60.
# fact: pricing.seconds, savingsplans.seconds, ec2.spotprices.seconds
PATIENT: Mapping[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 12,
    "retries": {"mode": "standard", "total_max_attempts": 1},
}


@dataclass(frozen=True)
class AskingDependencies:
    """What asking works with. A test passes its own."""

    jobs: Callable[[], Mapping[str, Job]]
    known: Callable[[list[str]], KnownPrices]  # (instance types) -> asked where it is time, and kept
    now: Callable[[], datetime]  # aware UTC


@uncounted_entry
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: AskingDependencies | None = None
) -> dict[str, Any]:
    """`{"types": how many were looked at, "missing": [those without a price of AWS's list that is of these days]}`.

    No fault of AWS is raised: the next hour asks again.
    """
    use = use or asking_dependencies()
    types = sorted({each for job in use.jobs().values() for each in job.instance_types})
    known = use.known(types)
    missing = unlisted(known, types, use.now())
    if known.problems or missing:
        extra = {"error": known.problems, "missing": missing}
        logger.warning("not all prices are known", extra=extra)
    if missing:
        # A metric is paid for by the hour in which it is sent.
        count("PriceMissing", len(missing))
        emit()
    return {"types": len(types), "missing": missing}


@cache
def asking_dependencies() -> AskingDependencies:
    """The deployed function's."""
    environment = read_environment()
    near = api_region(environment.region)

    def now() -> datetime:
        return datetime.now(UTC)

    sources = Sources(
        PriceList(late_client("pricing", region_name=near, config=PATIENT)),
        SavingsPlans(
            late_client("savingsplans", region_name=PLANS_API_REGION, config=PATIENT),
            late_client("ce", region_name=near, config=PATIENT),
        ),
        SpotPrices(late_client("ec2", region_name=environment.region, config=PATIENT)),
    )
    table = RunTable(late_client("dynamodb"), environment.table_name)
    prices = LivePrices(sources, load_price_book(), table, region=environment.region, now=now)
    return AskingDependencies(lambda: deployed_jobs(environment), prices.known, now)
