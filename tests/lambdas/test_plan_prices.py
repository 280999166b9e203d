"""A plan's prices: AWS's where the deployment asks for them, with their date in the ledger; never a failed run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from nightspot.aws.price_list import PriceList, SavingsPlans, SpotPrices
from nightspot.aws.prices import KeptPrices, KnownPrices, LivePrices, Sources, read_price_book
from nightspot.job.model import Budget
from nightspot.run.model import run_from_json
from nightspot.run.pricing import ASSUMED_SPOT_DISCOUNT, Basis, PlanRate, Price, PriceSource, SpotDiscount

G5 = "ml.g5.xlarge"
TODAY = date(2026, 11, 21)
LISTED = Price(1.4, "the list", TODAY, assumed=False, origin=PriceSource.PRICE_LIST)
PLAN = PlanRate(1.0, 50.0, datetime(2027, 1, 1, tzinfo=UTC))
HINT = SpotDiscount(0.4, Basis.PRICED, "priced", TODAY)


@pytest.fixture
def plan(world):
    """plan(known) -> the ledger planned where AWS says `known` of prices; None: the deployment does not ask."""
    asked = []

    def plan(known, job=None):
        if job is not None:
            world.jobs["recommender"] = job

        def live_prices(instance_types):
            asked.append(tuple(instance_types))
            return known

        world.live_prices = None if known is None else live_prices
        return run_from_json(world.plan()["run"])

    plan.asked = asked
    return plan


def test_a_plan_asks_for_the_prices_of_its_whole_ladder_once(world, plan):
    job = world.jobs["recommender"]
    plan(KnownPrices("eu-west-1"), job.model_copy(update={"budget": Budget(per_month_usd=500.0)}))
    assert plan.asked == [(G5, G5)]


def test_the_ledger_has_the_price_its_source_and_its_date(plan):
    spot, on_demand = plan(KnownPrices("eu-west-1", {G5: LISTED}, {G5: HINT})).rungs
    assert (spot.usd_per_hour, spot.price_source, spot.price_date, spot.price_assumed) == (
        1.4,
        PriceSource.PRICE_LIST,
        TODAY,
        False,
    )
    assert (spot.spot_discount, spot.spot_discount_basis) == (0.4, Basis.PRICED)
    assert (on_demand.usd_per_hour, on_demand.spot_discount) == (1.4, None)


def test_the_ledger_has_the_least_and_the_most_that_an_on_demand_hour_adds_under_a_savings_plan(plan):
    for rung in plan(KnownPrices("eu-west-1", {G5: replace(LISTED, plans=(PLAN,))})).rungs:
        assert (rung.least_usd_per_hour, rung.usd_per_hour) == (0.0, 1.4)


def test_a_price_that_nobody_knows_leaves_costs_unknown_and_the_run_goes_on(plan):
    for rung in plan(KnownPrices("eu-west-1")).rungs:
        assert (rung.usd_per_hour, rung.price_source, rung.price_date) == (None, None, None)
        assert rung.least_usd_per_hour is None


def test_without_live_prices_the_shipped_ones_count_and_the_discount_is_assumed(plan):
    spot, _ = plan(None).rungs
    assert (spot.usd_per_hour, spot.price_source) == (2.0, None)
    assert (spot.spot_discount, spot.spot_discount_basis) == (ASSUMED_SPOT_DISCOUNT.value, Basis.ASSUMED)


def test_what_aws_did_not_say_is_logged_and_no_reason_to_fail(plan, caplog):
    run = plan(KnownPrices("eu-west-1", {G5: LISTED}, problems=("the Price List did not answer",)))
    assert run.rungs[0].usd_per_hour == 1.4
    (record,) = (each for each in caplog.records if each.levelname == "WARNING")
    assert record.getMessage() == "planned with the prices known before"
    assert record.error == ["the Price List did not answer"]


class Refusing:
    """boto3's client of an account that may ask nothing."""

    def __init__(self, fault):
        self._fault = fault

    def __getattr__(self, name):
        raise self._fault


def test_where_aws_may_not_be_asked_a_plan_has_the_book_s_prices_and_it_is_asked_an_hour_later(
    world, aws_fault
):
    refusing = Refusing(aws_fault("AccessDeniedException", "no"))
    book = read_price_book(
        {
            "blocks": [
                {
                    "region": "eu-west-1",
                    "source": "a bill",
                    "date": "2023-12-31",
                    "assumed": False,
                    "usd_per_hour": {G5: 1.57},
                }
            ]
        }
    )
    sources = Sources(PriceList(refusing), SavingsPlans(refusing), SpotPrices(refusing))
    prices = LivePrices(sources, book, world.table, region="eu-west-1", now=lambda: world.now)
    assert prices.known([G5]).problems
    world.live_prices = KeptPrices(book, world.table, region="eu-west-1", now=lambda: world.now).known
    rung = run_from_json(world.plan()["run"]).rungs[0]
    assert (rung.usd_per_hour, rung.price_source) == (1.57, PriceSource.BOOK)
    assert rung.price_date == date(2023, 12, 31)
    world.pass_time(minutes=59)
    assert prices.known([G5]).problems == ()
    world.pass_time(minutes=1)
    assert prices.known([G5]).problems
