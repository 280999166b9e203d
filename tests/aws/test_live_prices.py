"""Which prices a plan works with: AWS's own, AWS's of an earlier day, or the book's; and what asking costs it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nightspot.aws.price_list import Listed, PricesUnknownError
from nightspot.aws.prices import KeptPrices, LivePrices, Sources, read_price_book, unlisted
from nightspot.aws.table.run_table import RunTable
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.pricing import Basis, PlanRate, Price, PriceSource

NIGHT = datetime(2026, 11, 21, tzinfo=UTC)
DAY = timedelta(days=1)
G5, P4D, NEVER = "ml.g5.xlarge", "ml.p4d.24xlarge", "ml.never.heard"
BOOK = read_price_book(
    {
        "blocks": [
            {
                "region": REGION,
                "source": "a bill",
                "date": "2023-12-31",
                "assumed": False,
                "usd_per_hour": {G5: 1.57, P4D: 33.0},
            }
        ]
    }
)
FROM_THE_BOOK = Price(1.57, "a bill", date(2023, 12, 31), assumed=False)
FROM_THE_LIST = Price(
    1.4,
    "AWS Price List API, usage type EU-Train:ml.g5.xlarge",
    date(2026, 11, 21),
    assumed=False,
    origin=PriceSource.PRICE_LIST,
)


@dataclass
class Aws:
    """The services: what they say, what they were asked, and how long each answer takes."""

    training: dict[str, float] = field(default_factory=dict)  # USD by type
    ec2: dict[str, float] = field(default_factory=dict)
    spot: dict[str, float] = field(default_factory=dict)
    plans: dict[str, tuple[PlanRate, ...]] = field(default_factory=dict)  # by usage type
    used: dict[str, float] = field(default_factory=dict)  # by a plan's ARN
    silent: set[str] = field(default_factory=set)  # "training", "ec2", "spot", "plans", "use"
    answer_takes: timedelta = timedelta(0)
    now: datetime = NIGHT
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def prices(self, table=None, **changes) -> LivePrices:
        sources = Sources(List(self), Plans(self), Spot(self))
        return LivePrices(sources, BOOK, table, region=REGION, now=lambda: self.now, **changes)

    def questions(self) -> list[tuple[str, ...]]:
        """What was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked

    def say(self, service: str, *about: str):
        self.asked.append((service, *about))
        self.now += self.answer_takes
        if service in self.silent:
            raise PricesUnknownError(f"{service} is silent")


@dataclass
class List:
    aws: Aws

    def training(self, instance_type, region, at):
        assert region == REGION
        self.aws.say("training", instance_type)
        usd = self.aws.training.get(instance_type)
        return None if usd is None else Listed(usd, f"EU-Train:{instance_type}")

    def ec2(self, instance_type, region, at):
        self.aws.say("ec2", instance_type)
        usd = self.aws.ec2.get(instance_type)
        return None if usd is None else Listed(usd, f"EU-BoxUsage:{instance_type}")


@dataclass
class Plans:
    aws: Aws

    def rates(self, usage_types, at):
        self.aws.say("plans", *usage_types)
        return self.aws.plans

    def used_share(self, plan_arn, at):
        self.aws.say("use", plan_arn)
        return self.aws.used.get(plan_arn)


@dataclass
class Spot:
    aws: Aws

    def mean_usd_per_hour(self, instance_type, at):
        self.aws.say("spot", instance_type)
        return self.aws.spot.get(instance_type)


@pytest.fixture
def aws() -> Aws:
    """Knows ml.g5.xlarge in every way."""
    return Aws(training={G5: 1.4}, ec2={"g5.xlarge": 1.0}, spot={"g5.xlarge": 0.4})


@dataclass
class Memory:
    """The table's part about prices: what goes in comes out as JSON."""

    records: dict[tuple[str, str], str] = field(default_factory=dict)

    def price_records(self, region):
        return {each: json.loads(text) for (of, each), text in self.records.items() if of == region}

    def record_price(self, region, instance_type, record):
        self.records[region, instance_type] = json.dumps(record)


@pytest.fixture
def table() -> Memory:
    return Memory()


@pytest.fixture
def real_table(emulated_aws):
    create_resources(())
    return RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)


def test_aws_s_own_price_beats_the_book_s_and_carries_today_s_date(aws, table):
    known = aws.prices(table).known([G5])
    assert known.price(G5, REGION) == FROM_THE_LIST
    assert known.problems == ()


def test_a_price_of_another_region_is_not_known(aws):
    assert aws.prices().known([G5]).price(G5, "us-east-1") is None


def test_within_a_day_nothing_is_asked_twice_by_any_process(aws, table):
    first = aws.prices(table).known([G5])
    assert aws.questions()
    aws.now += DAY - timedelta(seconds=1)
    assert aws.prices(table).known([G5]) == first
    assert aws.questions() == []


def test_after_a_day_it_is_asked_again_and_the_newer_price_counts(aws, table):
    prices = aws.prices(table)
    prices.known([G5])
    aws.now, aws.training[G5] = NIGHT + DAY, 1.5
    price = prices.known([G5]).price(G5, REGION)
    assert (price.usd_per_hour, price.date) == (1.5, date(2026, 11, 22))


def test_a_type_is_asked_once_however_often_it_is_named(aws):
    aws.prices().known(iter([G5, G5]))
    assert aws.asked.count(("training", G5)) == 1


def test_without_a_table_everything_is_asked_every_time(aws):
    prices = aws.prices()
    assert prices.known([G5]) == prices.known([G5])
    assert aws.asked.count(("training", G5)) == 2


def kept(aws, table):
    """What a plan knows: it reads the table, and asks nobody."""
    return KeptPrices(BOOK, table, region=REGION, now=lambda: aws.now)


def test_a_plan_reads_what_was_asked_and_asks_nobody(aws, table):
    asked = aws.prices(table).known([G5])
    aws.questions()
    assert kept(aws, table).known([G5]) == asked
    assert aws.questions() == []


def test_before_anybody_has_asked_the_book_s_price_counts_and_the_plan_says_so(aws, table):
    known = kept(aws, table).known([G5, NEVER, G5])
    assert known.price(G5, REGION) == FROM_THE_BOOK
    assert known.price(NEVER, REGION) is None
    first, second = known.problems
    assert (G5 in first, "the price of 2023-12-31 counts" in first) == (True, True)
    assert (NEVER in second, "no price is known" in second) == (True, True)


def test_a_kept_price_counts_on_with_its_date_and_is_said_to_be_old_after_two_days(aws, table):
    aws.prices(table).known([G5])
    aws.now = NIGHT + 2 * DAY
    assert kept(aws, table).known([G5]).problems == ()
    aws.now = NIGHT + 3 * DAY
    known = kept(aws, table).known([G5])
    assert known.price(G5, REGION) == FROM_THE_LIST
    assert [f"the price of {NIGHT.date()} counts" in said for said in known.problems] == [True]


def test_a_table_that_does_not_answer_leaves_the_book(aws):
    class Silent:
        def price_records(self, region):
            raise EndpointConnectionError(endpoint_url="https://example.org")

    known = kept(aws, Silent()).known([G5])
    assert known.price(G5, REGION) == FROM_THE_BOOK
    assert known.problems[0].startswith("the table did not tell what AWS said of prices before")


def test_what_the_list_does_not_name_or_has_not_said_lately_is_unlisted(aws, table):
    prices = aws.prices(table)
    assert unlisted(prices.known([G5, P4D, NEVER]), [G5, P4D, NEVER], aws.now) == [P4D, NEVER]
    aws.silent, aws.now = {"training"}, NIGHT + 2 * DAY
    assert unlisted(prices.known([G5]), [G5], aws.now) == []
    aws.now = NIGHT + 3 * DAY
    assert unlisted(prices.known([G5]), [G5], aws.now) == [G5]


def test_where_the_list_is_silent_the_book_s_price_stands_in_with_its_date(aws, table):
    aws.silent = {"training"}
    known = aws.prices(table).known([G5])
    assert known.price(G5, REGION) == FROM_THE_BOOK
    assert known.problems == ("training is silent",)


def test_a_stale_price_of_aws_beats_the_book_and_keeps_its_date(aws, table):
    aws.prices(table).known([G5])
    aws.now, aws.silent = NIGHT + 90 * DAY, {"training"}
    assert aws.prices(table).known([G5]).price(G5, REGION) == FROM_THE_LIST


def test_a_stale_price_older_than_the_book_s_does_not_count(aws, table):
    aws.now = datetime(2023, 12, 30, tzinfo=UTC)
    aws.prices(table).known([G5])
    aws.silent = {"training"}
    assert aws.prices(table).known([G5]).price(G5, REGION) == FROM_THE_BOOK


def test_a_price_that_nobody_knows_is_none_and_a_problem(aws, table):
    known = aws.prices(table).known([NEVER])
    assert known.price(NEVER, REGION) is None
    assert known.problems == ("the Price List has no USD price of training on ml.never.heard in eu-west-1",)


def test_a_type_that_the_list_no_longer_has_keeps_its_last_price(aws, table):
    aws.prices(table).known([G5])
    aws.now, aws.training = NIGHT + DAY, {}
    assert aws.prices(table).known([G5]).price(G5, REGION) == FROM_THE_LIST


def test_a_silent_list_is_asked_once_a_plan_and_again_after_an_hour(aws, table):
    aws.silent = {"training"}
    prices = aws.prices(table)
    prices.known([G5, P4D])
    assert [asked for asked in aws.questions() if asked[0] == "training"] == [("training", G5)]
    aws.now += timedelta(minutes=59)
    prices.known([G5, P4D])
    assert aws.questions() == []
    aws.now += timedelta(minutes=1)
    aws.silent = set()
    assert prices.known([G5]).price(G5, REGION).usd_per_hour == 1.4


def test_asking_ends_after_its_time_and_the_next_time_asks_the_rest(aws, table):
    aws.training[P4D] = 30.0
    aws.answer_takes = timedelta(seconds=15)
    known = aws.prices(table, longest_asking=timedelta(seconds=15)).known([G5, P4D])
    assert aws.questions() == [("training", G5)]
    assert known.price(G5, REGION).usd_per_hour == 1.4
    assert known.price(P4D, REGION).usd_per_hour == 33.0
    later = aws.prices(table, longest_asking=timedelta(seconds=15)).known([G5, P4D])
    assert later.price(P4D, REGION).usd_per_hour == 30.0
    assert aws.questions() == [("training", P4D)]


def test_prices_are_asked_before_plans_and_hints(aws):
    aws.prices().known([G5, P4D])
    assert [asked[0] for asked in aws.asked] == ["training", "training", "plans", "spot", "ec2", "spot"]


def test_savings_plans_are_asked_for_with_the_list_s_usage_types(aws, table):
    plan = PlanRate(1.0, 50.0, NIGHT + 30 * DAY)
    aws.plans = {"EU-Train:ml.g5.xlarge": (plan,)}
    known = aws.prices(table).known([G5, NEVER])
    assert ("plans", "EU-Train:ml.g5.xlarge") in aws.asked
    assert known.price(G5, REGION) == replace(FROM_THE_LIST, plans=(plan,))
    assert aws.prices(table).known([G5]).price(G5, REGION).plans == (plan,)


def test_without_any_listed_type_no_plan_is_asked_for(aws):
    aws.prices().known([NEVER])
    assert "plans" not in {asked[0] for asked in aws.asked}


def test_a_plan_that_has_ended_since_it_was_asked_for_counts_no_more(aws, table):
    aws.plans = {"EU-Train:ml.g5.xlarge": (PlanRate(1.0, 50.0, NIGHT + timedelta(hours=2)),)}
    aws.prices(table).known([G5])
    aws.now = NIGHT + timedelta(hours=2)
    assert aws.prices(table).known([G5]).price(G5, REGION).plans == ()


def test_a_plan_that_aws_no_longer_lists_is_forgotten_and_one_it_cannot_list_is_kept(aws, table):
    plan = PlanRate(1.0, 50.0, NIGHT + 30 * DAY)
    aws.plans = {"EU-Train:ml.g5.xlarge": (plan,)}
    aws.prices(table).known([G5])
    aws.now, aws.silent, aws.plans = NIGHT + DAY, {"plans"}, {}
    known = aws.prices(table).known([G5])
    assert (known.price(G5, REGION).plans, known.problems) == ((plan,), ("plans is silent",))
    aws.now, aws.silent = NIGHT + 2 * DAY, set()
    assert aws.prices(table).known([G5]).price(G5, REGION).plans == ()


SHARED = PlanRate(1.0, 50.0, NIGHT + 30 * DAY, plan_arn="arn:of:shared")


@pytest.fixture
def under_plan(aws):
    """One plan of the account covers both types; other work uses it up."""
    aws.training[P4D] = 30.0
    aws.plans = {f"EU-Train:{each}": (SHARED,) for each in (G5, P4D)}
    aws.used = {"arn:of:shared": 1.0}
    return aws


def uses_asked(aws):
    return [asked for asked in aws.questions() if asked[0] == "use"]


def test_where_no_plan_is_active_nobody_is_asked_how_much_of_it_is_used(aws):
    aws.prices().known([G5])
    assert uses_asked(aws) == []


def test_a_plan_that_other_work_uses_up_makes_nothing_cheaper(under_plan, table):
    price = under_plan.prices(table).known([G5]).price(G5, REGION)
    assert (price.plans[0].used_share, price.least_usd_per_hour(1)) == (1.0, 1.4)


@pytest.mark.parametrize("used", [{"arn:of:shared": 0.833}, {}], ids=["with room", "not known"])
def test_a_plan_that_has_room_or_may_have_makes_an_hour_free(under_plan, table, used):
    under_plan.used = used
    price = under_plan.prices(table).known([G5]).price(G5, REGION)
    assert price.least_usd_per_hour(1) == 0


def test_a_plan_s_use_is_asked_once_a_day_for_all_types_and_processes(under_plan, table):
    under_plan.prices(table).known([G5])
    assert uses_asked(under_plan) == [("use", "arn:of:shared")]
    under_plan.now += DAY - timedelta(seconds=1)
    other = under_plan.prices(table).known([P4D]).price(P4D, REGION)
    assert (uses_asked(under_plan), other.least_usd_per_hour(1)) == ([], 30.0)
    under_plan.now += timedelta(seconds=1)
    under_plan.used = {"arn:of:shared": 0.5}
    assert under_plan.prices(table).known([G5]).price(G5, REGION).least_usd_per_hour(1) == 0
    assert uses_asked(under_plan) == [("use", "arn:of:shared")]


def test_a_cost_explorer_that_does_not_answer_costs_no_price_and_is_not_asked_again_that_day(
    under_plan, table
):
    under_plan.silent = {"use"}
    known = under_plan.prices(table).known([G5])
    assert known.problems == ("use is silent",)
    assert known.price(G5, REGION).least_usd_per_hour(1) == 0
    assert known.spot_hints
    assert len(uses_asked(under_plan)) == 1
    under_plan.prices(table).known([P4D])
    assert uses_asked(under_plan) == []


def test_the_use_is_not_asked_once_the_time_for_asking_is_over(under_plan, table):
    under_plan.answer_takes = timedelta(seconds=20)  # list and plans, and the forty seconds are over
    under_plan.prices(table).known([G5])
    assert uses_asked(under_plan) == []
    under_plan.answer_takes = timedelta(0)
    under_plan.prices(table).known([P4D])
    assert len(uses_asked(under_plan)) == 1


def test_a_use_that_could_not_be_asked_again_for_two_days_counts_no_more(under_plan, table):
    under_plan.prices(table).known([G5])
    under_plan.silent = {"plans"}
    under_plan.now = NIGHT + 2 * DAY - timedelta(seconds=1)
    assert under_plan.prices(table).known([G5]).price(G5, REGION).least_usd_per_hour(1) == 1.4
    under_plan.now = NIGHT + 2 * DAY
    assert under_plan.prices(table).known([G5]).price(G5, REGION).least_usd_per_hour(1) == 0


def test_ec2_s_spot_prices_hint_at_the_discount(aws, table):
    aws.prices(table).known([G5])
    hint = aws.prices(table).known([G5]).spot_hints[G5]
    assert (hint.value, hint.basis, hint.date) == (pytest.approx(0.6), Basis.PRICED, NIGHT.date())


@pytest.mark.parametrize("unknown", ["ec2", "spot"])
def test_without_one_of_ec2_s_two_prices_there_is_no_hint(aws, unknown):
    setattr(aws, unknown, {})
    assert aws.prices().known([G5]).spot_hints == {}


@pytest.mark.parametrize("silent", ["ec2", "spot"])
def test_a_hint_that_cannot_be_renewed_is_kept_and_costs_no_price(aws, table, silent):
    before = aws.prices(table).known([G5]).spot_hints[G5]
    aws.now, aws.silent = NIGHT + DAY, {silent}
    known = aws.prices(table).known([G5])
    assert known.spot_hints[G5] == before
    assert known.price(G5, REGION).date == date(2026, 11, 22)
    assert known.problems == (f"{silent} is silent",)


def test_nobody_who_was_silent_is_asked_again_in_the_same_plan(aws):
    aws.training[P4D] = 30.0
    aws.silent = {"spot"}
    aws.prices().known([G5, P4D])
    assert [asked for asked in aws.asked if asked[0] == "spot"] == [("spot", "g5.xlarge")]


class NoTable:
    """A table that cannot be reached, or must not be."""

    def __init__(self, fault):
        self._fault = fault

    def price_records(self, region):
        raise self._fault

    def record_price(self, region, instance_type, record):
        raise self._fault


@pytest.mark.parametrize(
    "fault",
    [
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Query"),
        EndpointConnectionError(endpoint_url="https://example.org"),
    ],
)
def test_without_its_table_a_plan_still_has_aws_s_price(aws, fault):
    known = aws.prices(NoTable(fault)).known([G5])
    assert known.price(G5, REGION) == FROM_THE_LIST
    assert len(known.problems) == 2
    assert "did not tell" in known.problems[0]
    assert "did not take" in known.problems[1]


@pytest.mark.parametrize("record", [{}, {"ask_after": "soon"}, {"ask_after": 7, "price": {}}])
def test_a_record_that_cannot_be_read_is_asked_anew_and_written_again(aws, table, record):
    table.record_price(REGION, G5, record)
    known = aws.prices(table).known([G5])
    assert known.price(G5, REGION) == FROM_THE_LIST
    assert known.problems[0].startswith("the table's price of ml.g5.xlarge cannot be read: ")
    assert aws.prices(table).known([G5]).problems == ()


def test_dynamodb_gives_back_what_was_known(aws, real_table):
    aws.plans = {"EU-Train:ml.g5.xlarge": (PlanRate(1.0, 50.0, NIGHT + 30 * DAY),)}
    first = aws.prices(real_table).known([G5])
    assert aws.questions()
    assert first.spot_hints
    assert aws.prices(real_table).known([G5]) == first
    assert aws.questions() == []


def test_records_are_kept_by_region(real_table):
    table = real_table
    table.record_price(REGION, G5, {"ask_after": "2026-11-22T00:00:00Z", "usd": 1.5})
    table.record_price("us-east-1", G5, {"usd": 2})
    assert table.price_records(REGION) == {G5: {"ask_after": "2026-11-22T00:00:00Z", "usd": 1.5}}
    assert table.price_records("us-east-1") == {G5: {"usd": 2}}
    assert table.price_records("mars-1") == {}
