"""What AWS is asked of prices for, what of it reaches a plan, and what is told where the list has no price."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from nightspot.aws.price_list import Listed, PricesUnknownError
from nightspot.aws.prices import KeptPrices, LivePrices, Sources, read_price_book
from nightspot.job.model import Capacity, OverrideLimits
from nightspot.lambdas.ask_prices import AskingDependencies, handler
from nightspot.local.stage.emulated_aws import LocalContext
from nightspot.run.model import run_from_json
from nightspot.run.pricing import PriceSource

NOW = datetime(2026, 11, 21, tzinfo=UTC)
G5, P4D, P5 = "ml.g5.xlarge", "ml.p4d.24xlarge", "ml.p5.48xlarge"
BOOK = read_price_book({"blocks": []})


@dataclass
class Aws:
    """The Price List; of plans and Spot it says nothing."""

    listed: dict[str, float] = field(default_factory=lambda: {G5: 1.4, P4D: 30.0, P5: 98.0})
    asked: list[str] = field(default_factory=list)
    silent: bool = False

    def training(self, instance_type, region, at):
        self.asked.append(instance_type)
        if self.silent:
            raise PricesUnknownError("the Price List did not answer")
        usd = self.listed.get(instance_type)
        return None if usd is None else Listed(usd, f"EU-Train:{instance_type}")

    def ec2(self, instance_type, region, at):
        return None

    def rates(self, usage_types, at):
        return {}

    def mean_usd_per_hour(self, instance_type, at):
        return None


@pytest.fixture
def aws():
    return Aws()


@pytest.fixture
def ask(world, aws):
    """One call of the function, on the world's jobs, table and clock."""
    prices = LivePrices(Sources(aws, aws, aws), BOOK, world.table, region="eu-west-1", now=lambda: world.now)
    use = AskingDependencies(lambda: world.jobs, prices.known, lambda: world.now)
    return lambda: handler({}, LocalContext("AskPrices"), use=use)


def counted(capsys):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "PriceMissing" in line]
    return [line["PriceMissing"] for line in lines]


def test_every_type_that_a_run_may_buy_is_asked_for_once_a_day(world, ask, aws, capsys):
    job = world.jobs["recommender"]
    capacity = Capacity.model_validate({"spot": [G5, P4D], "on_demand": [G5]})
    limits = OverrideLimits.model_validate({"instance_types": {"on_demand": [P5]}})
    world.jobs["recommender"] = job.model_copy(update={"capacity": capacity, "overrides": limits})
    assert ask() == {"types": 3, "missing": []}
    assert aws.asked == [G5, P4D, P5]
    assert counted(capsys) == []
    world.pass_time(minutes=23 * 60)
    ask()
    assert len(aws.asked) == 3
    world.pass_time(minutes=60)
    ask()
    assert len(aws.asked) == 6


def test_what_it_learnt_is_what_the_next_plan_counts_with(world, ask):
    ask()
    world.live_prices = KeptPrices(BOOK, world.table, region="eu-west-1", now=lambda: world.now).known
    rung = run_from_json(world.plan()["run"]).rungs[0]
    assert (rung.usd_per_hour, rung.price_source) == (1.4, PriceSource.PRICE_LIST)


def test_a_type_that_the_list_does_not_name_is_counted_and_named(ask, aws, capsys):
    aws.listed = {}
    assert ask() == {"types": 1, "missing": [G5]}
    assert counted(capsys) == [[1.0]]


def test_a_list_that_is_silent_is_asked_again_an_hour_later_and_hurts_nobody(world, ask, aws, capsys):
    aws.silent = True
    assert ask()["missing"] == [G5]
    world.pass_time(minutes=60)
    aws.silent = False
    assert ask()["missing"] == []
    assert len(aws.asked) == 2
    assert counted(capsys) == [[1.0]]


def test_what_the_list_said_counts_for_two_days_of_silence(world, ask, aws):
    ask()
    aws.silent = True
    world.pass_time(minutes=48 * 60)
    assert ask()["missing"] == []
    world.pass_time(minutes=24 * 60)
    assert ask()["missing"] == [G5]
