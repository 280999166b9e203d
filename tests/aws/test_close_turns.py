"""The turns of closing a run: one at a time, free again after a while, and nobody ends another's."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import UnsentEnd
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources

NOW = datetime(2026, 11, 21, 3, 12, 0, 123456, tzinfo=UTC)
UNTIL = NOW + timedelta(seconds=90)


@pytest.fixture
def dynamodb(emulated_aws):
    create_resources([])
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def turns(dynamodb):
    return RunTable(dynamodb, TABLE).close_turns


def test_one_at_a_time_closes_a_run_and_another_run_is_another_matter(turns):
    assert turns.take("one", now=NOW, until=UNTIL)
    assert not turns.take("one", now=NOW, until=UNTIL + timedelta(seconds=1))
    assert turns.take("two", now=NOW, until=UNTIL)


def test_a_turn_that_was_given_back_is_free(turns):
    turns.take("one", now=NOW, until=UNTIL)
    turns.give_back("one", until=UNTIL)
    assert turns.take("one", now=NOW, until=UNTIL)


def test_a_turn_that_nobody_gave_back_runs_out(turns):
    turns.take("one", now=NOW, until=UNTIL)
    assert not turns.take("one", now=UNTIL - timedelta(microseconds=1), until=UNTIL + timedelta(seconds=90))
    assert turns.take("one", now=UNTIL, until=UNTIL + timedelta(seconds=90))


def test_who_is_too_slow_does_not_end_the_turn_of_the_next(turns):
    later = UNTIL + timedelta(seconds=90)
    turns.take("one", now=NOW, until=UNTIL)
    turns.take("one", now=UNTIL, until=later)
    turns.give_back("one", until=UNTIL)
    assert not turns.take("one", now=UNTIL, until=later + timedelta(seconds=1))


def test_an_end_is_untold_from_the_beginning_of_the_telling_to_its_end(turns):
    assert turns.untold("one") is None
    turns.begin_to_tell("one", NOW)
    turns.begin_to_tell("one", UNTIL)
    assert turns.untold("one") == UnsentEnd(since=UNTIL)
    assert turns.untold("two") is None
    turns.has_told("one")
    turns.has_told("one")
    assert turns.untold("one") is None


def test_an_end_that_lacks_its_notice_alone_is_marked_so(turns):
    turns.begin_to_tell("one", NOW)
    turns.has_counted("one")
    turns.has_counted("one")
    assert turns.untold("one") == UnsentEnd(since=NOW, is_counted=True)


def test_what_is_told_meanwhile_is_not_marked_again(turns):
    turns.has_counted("one")
    assert turns.untold("one") is None


def test_a_mark_of_an_older_version_has_stood_for_long(turns, dynamodb):
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "RUN#one"}, "sk": {"S": "UNTOLD"}})
    untold = turns.untold("one")
    assert untold.since < NOW - timedelta(days=365)
    assert not untold.is_counted
