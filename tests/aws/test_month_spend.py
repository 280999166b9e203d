"""What a job's runs of one month have cost, and what its open runs may still come to."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import boto3
import pytest

from nightspot.aws.table.run_table import MonthSpend, RunTable
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import Outcome

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
NOVEMBER = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


@pytest.fixture
def dynamodb(emulated_aws):
    create_resources(())
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def table(dynamodb) -> RunTable:
    return RunTable(dynamodb, TABLE)


@pytest.fixture
def record(dynamodb):
    """Put a run into the job's history, with what its summary says of money."""

    def put(started_at: datetime, *, run_id: str | None = None, outcome: str = "succeeded", **money) -> str:
        run_id = run_id or f"{started_at:%Y%m%d}-abc123"
        summary = {"run_id": run_id, "outcome": outcome, **money}
        item = {
            "pk": "JOB#recommender",
            "sk": f"RUN#{started_at:%Y-%m-%dT%H:%M:%SZ}#{run_id}",
            "summary": json.loads(json.dumps(summary), parse_float=Decimal),
        }
        boto3.resource("dynamodb", region_name=REGION).Table(TABLE).put_item(Item=item)
        return run_id

    return put


def test_a_month_without_runs_has_cost_nothing(table):
    month = table.month("recommender", *NOVEMBER)
    assert month == MonthSpend(spent_usd=0.0, open_run_ids=(), committed_usd=0.0)
    assert month.total_usd == 0


def test_a_month_is_what_its_runs_have_spent_or_have_cost_where_that_is_all_that_is_known(table, record):
    record(MIDNIGHT, spent_usd=12.5, cost_usd=10.0)
    record(MIDNIGHT + timedelta(days=1), cost_usd=3.25)
    record(MIDNIGHT + timedelta(days=2), spent_usd=None, cost_usd=2.0)
    record(MIDNIGHT + timedelta(days=3), cost_usd=None)
    record(MIDNIGHT + timedelta(days=4))
    record(MIDNIGHT + timedelta(days=5), spent_usd=0, cost_usd=99.0)
    month = table.month("recommender", *NOVEMBER)
    assert (month.spent_usd, month.committed_usd, month.open_run_ids) == (17.75, 0.0, ())


def test_an_open_run_counts_with_the_most_that_it_may_come_to(table, record):
    record(MIDNIGHT, spent_usd=1.0)
    promised = record(MIDNIGHT + timedelta(days=1), outcome="running", spent_usd=5.0, committed_usd=40.0)
    overdrawn = record(MIDNIGHT + timedelta(days=2), outcome="running", spent_usd=50.5, committed_usd=40.0)
    unknown = record(MIDNIGHT + timedelta(days=3), outcome="running", spent_usd=2.0, committed_usd=None)
    month = table.month("recommender", *NOVEMBER)
    assert month.open_run_ids == (promised, overdrawn, unknown)
    assert (month.spent_usd, month.committed_usd, month.total_usd) == (1.0, 92.5, 93.5)


def test_the_run_that_asks_is_left_out_of_its_month(table, record):
    record(MIDNIGHT, spent_usd=1.0)
    asking = record(MIDNIGHT + timedelta(days=1), outcome="running", committed_usd=40.0)
    month = table.month("recommender", *NOVEMBER, without_run_id=asking)
    assert month == MonthSpend(spent_usd=1.0, open_run_ids=(), committed_usd=0.0)


def test_a_month_goes_from_its_first_second_to_its_last(table, record):
    second = timedelta(seconds=1)
    first, end = NOVEMBER
    for number, started_at in enumerate([first - second, first, end - second, end, end + second]):
        record(started_at, run_id=f"run-{number}", outcome="running", committed_usd=10.0**number)
    assert table.month("recommender", *NOVEMBER).open_run_ids == ("run-1", "run-2")
    assert table.month("another", *NOVEMBER).open_run_ids == ()


def test_a_month_of_another_zone_is_the_same_moments(table, record):
    record(NOVEMBER[0], spent_usd=1.0)
    record(NOVEMBER[0] - timedelta(seconds=1), spent_usd=10.0)
    there = timezone(timedelta(hours=5))
    moments = [moment.astimezone(there) for moment in NOVEMBER]
    assert table.month("recommender", *moments).spent_usd == 1.0


class TwoAPage:
    """DynamoDB that returns two items a page, as it returns a megabyte."""

    def __init__(self, client) -> None:
        self._client = client
        self.pages = 0

    def query(self, **arguments):
        self.pages += 1
        return self._client.query(**{**arguments, "Limit": 2})


def test_a_month_of_many_runs_is_read_to_the_last_page(dynamodb, record):
    for day in range(1, 6):
        record(datetime(2026, 11, day, tzinfo=UTC), spent_usd=0.1)
    paged = TwoAPage(dynamodb)
    assert RunTable(paged, TABLE).month("recommender", *NOVEMBER).spent_usd == 0.5
    assert paged.pages == 3


def test_a_run_is_in_its_month_from_its_plan_on_and_open_until_its_outcome(table, story):
    run = story.run()
    table.record_plan(run)
    assert table.month("recommender", *NOVEMBER).open_run_ids == (run.run_id,)
    table.record_outcome(replace(run, steps=3, outcome=Outcome.FAILED, outcome_because="so"))
    assert table.month("recommender", *NOVEMBER).open_run_ids == ()


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (
            datetime(2026, 11, 1),  # noqa: DTZ001
            NOVEMBER[1],
            "month_start: 2026-11-01T00:00:00 must have a time zone",
        ),
        (
            NOVEMBER[0],
            datetime(2026, 12, 1),  # noqa: DTZ001
            "month_end: 2026-12-01T00:00:00 must have a time zone",
        ),
        (
            NOVEMBER[1],
            NOVEMBER[1],
            "month_end: 2026-12-01T00:00:00+00:00 must be after month_start, 2026-12-01T00:00:00+00:00",
        ),
    ],
)
def test_a_month_that_is_none_is_refused_with_the_rule(table, start, end, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        table.month("recommender", start, end)
